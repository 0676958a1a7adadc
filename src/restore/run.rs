//! The engine: a restore from its first record to its last, as passes. A pass takes the target,
//! reads what the topic holds, waits for what a dead client left running, and decides what is
//! left; so a fresh run, a retry and a resume are one road (ADR 1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch as signal;

use crate::extract::{Node, SourceError};
use crate::journal::{JournalError, RestoreFact, RestoreShape};
use crate::load::{Loads, Target};
use crate::model::{AttemptName, DeltaNum, RunId};

use super::context::{Context, Findings, Settings, World};
use super::delta::{self, Pass};
use super::fault::{Fault, Holder, RunError};
use super::freeze::{Frozen, freeze};
use super::ledger::Ledger;
use super::loading::discard;
use super::own;
use super::preflight;
use super::state::Chosen;
use super::watch::{Event, Watch};

/// How long an execution that ends early clears away what it made.
const PARTING: Duration = Duration::from_secs(10);

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The run.
    pub run: Option<RunId>,
    /// It was begun before.
    pub resumed: bool,
    /// Deltas it restored, over all its resumes.
    pub deltas: Vec<DeltaNum>,
    /// What this execution found out.
    pub findings: Findings,
    /// External and standalone tables that are to be made by hand, each with the views on it.
    pub outside: BTreeMap<String, BTreeSet<String>>,
    /// Materialized views: they fill by themselves, and their synchronisation should be off
    /// meanwhile.
    pub matviews: Vec<String>,
}

/// What a restore would do, before anything is touched: printed by `--dryRun`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Deltas with the dates they would be committed with.
    pub deltas: Vec<Chosen>,
    /// Changes that would be replayed before each of them.
    pub changes: Vec<u64>,
    /// Changes that would be replayed after the last one.
    pub trailing: u64,
}

/// A restore, ready to go.
pub struct Restore<W: World> {
    pub(super) run: Arc<Context<W>>,
}

impl<W: World> Restore<W> {
    /// Opens the journal; what it holds decides whether this is a fresh run or a resume.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn open(
        world: W,
        journal: W::Journal,
        settings: Settings,
        watch: Arc<dyn Watch>,
        stop: signal::Receiver<bool>,
    ) -> Result<Self, JournalError> {
        let ledger = Ledger::open(journal)?;
        let resumed = ledger.look(|state| state.started.is_some());
        let findings = Default::default();
        let frozen = Default::default();
        let run = Context { world, ledger, settings, watch, stop, resumed, findings, frozen };
        Ok(Self { run: Arc::new(run) })
    }

    /// The unfinished run of the journal, with what shaped it.
    pub fn unfinished(&self) -> Option<(RunId, RestoreShape)> {
        self.run.ledger.look(|state| {
            state.started.as_ref().map(|started| (started.owner.run, started.shape.clone()))
        })
    }

    /// What a fresh run would do; nothing is touched.
    ///
    /// # Errors
    /// As [`Restore::execute`].
    pub async fn draft(&self) -> Result<Draft, RunError> {
        let draft = async {
            let frozen = freeze(&self.run).await?;
            let deltas = preflight::check(&self.run, &frozen).await?;
            let changes = frozen.counts(0)?;
            let last = changes.last().copied().unwrap_or(0);
            let trailing = if frozen.trailing { frozen.source.len() as u64 - last } else { 0 };
            Ok(Draft { deltas, changes, trailing })
        };
        draft.await.map_err(untouched)
    }

    /// Brings the restore to its end, from wherever its journal says it is.
    ///
    /// # Errors
    /// [`RunError`]; the journal then knows where to go on, unless nothing was touched.
    pub async fn execute(&self) -> Result<Summary, RunError> {
        match self.passes().await {
            Ok(summary) => self.end(summary).await,
            Err(fault) => Err(self.fail(fault).await),
        }
    }

    async fn passes(&self) -> Result<Summary, Fault> {
        let run = &self.run;
        let mut left = run.settings.retries;
        loop {
            let progress = self.progress();
            let fault = match self.pass().await {
                Ok(summary) => return Ok(summary),
                Err(fault) if fault.can_reenter() => fault,
                Err(fault) => return Err(fault),
            };
            left = if self.progress() > progress { run.settings.retries } else { left };
            if left == 0 {
                return Err(fault);
            }
            left -= 1;
            run.tell(Event::Warning { text: format!("{fault}; going on from the journal") });
            run.pause().await?;
        }
    }

    fn progress(&self) -> (Option<DeltaNum>, u64) {
        (self.run.ledger.look(|state| state.done), self.run.findings().loads)
    }

    async fn pass(&self) -> Result<Summary, Fault> {
        let run = &self.run;
        let frozen = freeze(run).await?;
        let chosen = match run.ledger.look(|state| state.planned.clone()) {
            Some(planned) => planned.deltas,
            None => {
                let chosen = preflight::check(run, &frozen).await?;
                self.begin(&frozen, &chosen)?;
                chosen
            }
        };
        let deltas = chosen.iter().map(|chosen| chosen.delta).collect();
        let newest_done = run.ledger.look(|state| state.done);
        let done = chosen.iter().filter(|chosen| Some(chosen.delta) <= newest_done).count();
        run.tell(Event::Started { run: run.run(), resumed: run.resumed, shape: run.shape() });
        run.tell(Event::Range { deltas, done });
        skip(run)?;
        if !run.world.target().exists().await? {
            run.world.target().create_datamart().await?;
        }
        let marked = own::take(run).await?;
        settle(run).await?;
        let script = frozen.script(run)?;
        let known = run.world.target().changes().await?.0.len() as u64;
        let counts = frozen.counts(known)?;
        let pass = Pass { run: run.clone(), frozen, script, marked };
        for (chosen, count) in chosen.iter().zip(&counts) {
            // Of those that are done the newest speaks for all.
            if newest_done.is_none_or(|done| chosen.delta >= done) {
                delta::bring(&pass, chosen, *count).await?;
            }
        }
        self.finish(&pass, &chosen).await
    }

    /// The first records: from here on the run exists, with all that is fixed of it.
    fn begin(&self, frozen: &Frozen, chosen: &[Chosen]) -> Result<(), Fault> {
        let run = &self.run;
        let (owner, shape) = (run.owner(), run.shape());
        let topic = run.settings.topic.clone();
        let mut facts = vec![RestoreFact::Started { owner, topic, shape }];
        facts.extend(chosen.iter().cloned().map(|Chosen { delta, increment, date }| {
            RestoreFact::DeltaChosen { delta, increment, date }
        }));
        let (ends, trailing) = (frozen.ends.clone(), frozen.trailing);
        facts.push(RestoreFact::Planned { ends, trailing });
        Ok(run.ledger.note(facts)?)
    }

    /// Changes that came after the last delta; then nothing of the run is left behind.
    async fn finish(&self, pass: &Pass<W>, chosen: &[Chosen]) -> Result<Summary, Fault> {
        let run = &self.run;
        if pass.frozen.trailing && !run.ledger.look(|state| state.finished) {
            own::require_ours(run).await?;
            delta::replay(pass, pass.script.len()).await?;
        }
        if !run.ledger.look(|state| state.finished) {
            run.note(RestoreFact::Finished)?;
        }
        sweep(run).await?;
        Ok(Summary {
            run: Some(run.run()),
            resumed: run.resumed,
            deltas: chosen.iter().map(|chosen| chosen.delta).collect(),
            findings: run.findings().clone(),
            outside: pass.script.outside(&run.shape().target),
            matviews: pass.script.matviews(),
        })
    }

    async fn end(&self, summary: Summary) -> Result<Summary, RunError> {
        let run = &self.run;
        let fail =
            |fault, complete, unreleased| RunError { fault, touched: true, complete, unreleased };
        let released = own::release(run).await;
        released.map_err(|fault| fail(fault, true, true))?;
        let document = summary.to_json(&run.settings.topic, &run.shape());
        let ended = run.ledger.end(&document.to_string());
        ended.map_err(|error| fail(error.into(), false, false))?;
        Ok(summary)
    }

    /// An orderly end leaves the target at a closed delta, and gives it back. A run that was
    /// refused before the target was touched is forgotten.
    async fn fail(&self, fault: Fault) -> RunError {
        let run = &self.run;
        if self.unfinished().is_none() {
            return untouched(fault);
        }
        let unreleased = match &fault {
            Fault::Held(_) => false,
            _ => own::release(run).await.is_err(),
        };
        if !unreleased && !matches!(fault, Fault::Held(_)) {
            // What stays is in the journal, and the next execution clears it away.
            let _ = tokio::time::timeout(PARTING, sweep(run)).await;
        }
        let foreign = matches!(fault, Fault::Held(Holder::Run(_) | Holder::UnknownMarker));
        let nothing = run.ledger.look(|state| state.begun.is_none() && state.done.is_none());
        let forgotten = foreign && nothing && !run.resumed && run.ledger.end("").is_ok();
        RunError { fault, touched: !forgotten, complete: false, unreleased }
    }

    /// Gives the run up: rolls its hot delta back, clears away what it made, gives the target
    /// back. Closed deltas stay.
    ///
    /// # Errors
    /// As [`Restore::execute`]; the run is then still there.
    pub async fn abandon(&self) -> Result<(), RunError> {
        let run = &self.run;
        let fail = |fault| RunError { fault, touched: true, complete: false, unreleased: true };
        if run.world.target().exists().await.map_err(|error| fail(error.into()))? {
            if own::is_ours(run).await.map_err(fail)? {
                settle(run).await.map_err(fail)?;
            }
            own::release(run).await.map_err(fail)?;
            sweep(run).await.map_err(fail)?;
        } else {
            // Whoever dropped the datamart left the load topics.
            delete_topics(run).await.map_err(fail)?;
        }
        run.ledger.end("{}").map_err(|error| fail(error.into()))
    }
}

pub(super) fn untouched(fault: Fault) -> RunError {
    RunError { fault, touched: false, complete: false, unreleased: false }
}

/// Changes that this execution is told to skip are skipped by all further ones.
fn skip<W: World>(run: &Context<W>) -> Result<(), Fault> {
    let known = run.ledger.look(|state| state.skipped.clone());
    let new = run.settings.skip.difference(&known).copied();
    Ok(run.ledger.note(new.map(|num| RestoreFact::Skipped { num }).collect::<Vec<_>>())?)
}

/// Fences what a dead execution, or one whose answer was lost, left on its way, and waits for what
/// the node has begun: only then does the hot delta stand still.
async fn settle<W: World>(run: &Context<W>) -> Result<(), Fault> {
    let target = run.world.target();
    let prefix = AttemptName::prefix(run.run());
    for name in target.entities().await?.into_iter().filter(|name| name.starts_with(&prefix)) {
        target.drop_upload(&AttemptName(name)).await?;
    }
    if run.ledger.look(|state| state.begun).is_none() {
        return Ok(());
    }
    let begun = tokio::time::Instant::now();
    while target.running().await? > 0 {
        if begun.elapsed() > run.settings.patience {
            let reason = "write operations of the hot delta do not end".to_owned();
            return Err(SourceError::Brokers { reason }.into());
        }
        run.pause().await?;
    }
    Ok(())
}

/// Clears away what the journal knows of, and what it has forgotten.
async fn sweep<W: World>(run: &Context<W>) -> Result<(), Fault> {
    for name in run.ledger.look(|state| state.leftovers()) {
        discard(run, &name).await?;
    }
    for name in run.world.loads().leftovers(run.run()).await? {
        discard(run, &name).await?;
    }
    Ok(())
}

async fn delete_topics<W: World>(run: &Context<W>) -> Result<(), Fault> {
    let loads = run.world.loads();
    for name in loads.leftovers(run.run()).await? {
        loads.delete(&name).await?;
    }
    Ok(())
}

impl Summary {
    /// The document kept of an ended run.
    pub fn to_json(&self, topic: &str, shape: &RestoreShape) -> serde_json::Value {
        let pairs = |pairs: &BTreeSet<(DeltaNum, crate::model::TableName)>| {
            pairs.iter().map(|(delta, table)| (delta.0, table.0.clone())).collect::<Vec<_>>()
        };
        serde_json::json!({
            "run": self.run.map(|run| run.to_string()),
            "topic": topic,
            "source": shape.source,
            "target": shape.target,
            "resumed": self.resumed,
            "deltas": self.deltas.iter().map(|delta| delta.0).collect::<Vec<_>>(),
            "rows": self.findings.rows,
            "bytes": self.findings.bytes,
            "loads": self.findings.loads,
            "unverified": pairs(&self.findings.unverified),
            "different": pairs(&self.findings.different),
            "outside": self.outside,
            "matviews": self.matviews,
        })
    }
}
