//! The engine: a run from its first record to its last. Reads as the life of a run (DESIGN D4);
//! every interruption leads back to the start of a pass, so a fresh run, a resume and a retry are
//! the same road (ADR 1).

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tokio::sync::watch as signal;

use crate::catalog::{CatalogCache, Forgetful};
use crate::deliver::SinkError;
use crate::journal::{Fact, JournalError, Shape};
use crate::model::{ChangeLog, DeltaNum, RunId, TableName};
use crate::plan;

use super::context::{Context, Settings, Totals, World};
use super::delta::{self, Lanes, Pass};
use super::entry;
use super::estimate::{self, Estimate};
use super::fault::{Fault, RunError};
use super::ledger::Ledger;
use super::own;
use super::planning::{self, Draft};
use super::reading::Reading;
use super::state::Planned;
use super::sweep::Sweep;
use super::watch::{Event, Watch};

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The run; none where there was nothing to do.
    pub run: Option<RunId>,
    /// It was begun before.
    pub resumed: bool,
    /// Deltas it exported, over all its resumes.
    pub deltas: Vec<DeltaNum>,
    /// Rows delivered by this execution.
    pub rows: u64,
    /// Bytes of bodies delivered by this execution.
    pub bytes: u64,
    /// Messages delivered by this execution.
    pub chunks: u64,
    /// Deltas written again, and how often.
    pub reissued: Vec<(DeltaNum, u32)>,
    /// Staging topics left behind because connectors write to them.
    pub quarantined: Vec<String>,
    /// Tables that the changelog never created: it is not complete.
    pub older_than_log: Vec<String>,
    /// Tables of deltas delivered in two halves although their keys may repeat (D4.13).
    pub in_halves: Vec<(DeltaNum, TableName)>,
}

/// A run, ready to go.
pub struct Backup<W: World> {
    run: Arc<Context<W>>,
}

impl<W: World> Backup<W> {
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
        let issues_before = ledger.look(|state| state.issues.clone());
        let totals = Totals::default();
        let catalog_cache = Box::new(Forgetful);
        let run = Context {
            world,
            ledger,
            settings,
            watch,
            stop,
            resumed,
            issues_before,
            totals,
            catalog_cache,
        };
        Ok(Self { run: Arc::new(run) })
    }

    /// The same, remembering from run to run what is in the topic.
    #[must_use]
    pub fn remembering(mut self, cache: impl CatalogCache) -> Self {
        if let Some(run) = Arc::get_mut(&mut self.run) {
            run.catalog_cache = Box::new(cache);
        }
        self
    }

    /// The unfinished run of the journal, with what shaped it.
    pub fn unfinished(&self) -> Option<(RunId, Shape)> {
        self.run.ledger.look(|state| {
            state.started.as_ref().map(|started| (started.owner.run, started.shape.clone()))
        })
    }

    /// What a fresh run would do; nothing is touched.
    ///
    /// # Errors
    /// As [`Backup::execute`].
    pub async fn draft(&self) -> Result<Draft, RunError> {
        let drafted = planning::draft(&self.run, &mut Reading::default()).await;
        drafted.map_err(untouched)
    }

    /// What a draft amounts to, asking the node at most about `most` times; nothing is touched.
    ///
    /// # Errors
    /// As [`Backup::execute`].
    pub async fn estimate(&self, draft: &Draft, most: u64) -> Result<Estimate, RunError> {
        estimate::estimate(&self.run, draft, most).await.map_err(untouched)
    }

    /// Brings the run to its end, from wherever its journal says it is.
    ///
    /// # Errors
    /// [`RunError`]; the journal then knows where to go on, unless nothing was touched.
    pub async fn execute(&self) -> Result<Summary, RunError> {
        match self.passes().await {
            Ok(None) => Ok(Summary::default()),
            Ok(Some(())) => self.end().await,
            Err(fault) => Err(self.fail(fault).await),
        }
    }

    /// Passes until one comes through; none where there is nothing to do.
    async fn passes(&self) -> Result<Option<()>, Fault> {
        let run = &self.run;
        let mut reading = Reading::default();
        if !run.resumed {
            let draft = planning::draft(run, &mut reading).await?;
            if draft.deltas.is_empty() {
                draft.topic.iter().for_each(|topic| planning::warn(run, &draft, topic));
                return Ok(None);
            }
        }
        self.begin()?;
        let mut left = run.settings.retries;
        loop {
            let before = run.totals.chunks.load(Ordering::Relaxed);
            let issues = self.issues();
            let fault = match self.pass(&mut reading).await {
                Ok(()) => return Ok(Some(())),
                Err(fault) if fault.can_reenter() => fault,
                Err(fault) => return Err(fault),
            };
            let progress =
                run.totals.chunks.load(Ordering::Relaxed) > before || self.issues() > issues;
            left = if progress { run.settings.retries } else { left };
            if left == 0 {
                return Err(fault);
            }
            left -= 1;
            run.tell(Event::Warning { text: format!("{fault}; going on from the journal") });
            tokio::select! {
                () = tokio::time::sleep(run.settings.pause) => {}
                () = run.stopped() => return Err(Fault::Stopped),
            }
        }
    }

    fn issues(&self) -> u32 {
        self.run.ledger.look(|state| state.issues.values().sum())
    }

    /// The first record: from here on the run exists.
    fn begin(&self) -> Result<(), Fault> {
        let run = &self.run;
        let resumed = run.resumed;
        if !resumed {
            let settings = &run.settings;
            let started = Fact::Started {
                owner: settings.owner.clone(),
                datamart: settings.datamart.to_string(),
                topic: settings.topic.clone(),
                code: settings.code.clone(),
                // As it will be read: the next fact tells of gaps.
                shape: Shape { fill_gaps: false, ..settings.shape.clone() },
            };
            let gaps = settings.shape.fill_gaps.then_some(Fact::GapsAsked);
            run.ledger.note([started].into_iter().chain(gaps))?;
        }
        run.tell(Event::Started { run: run.run(), resumed, shape: run.shape() });
        Ok(())
    }

    async fn pass(&self, reading: &mut Reading) -> Result<(), Fault> {
        let run = &self.run;
        own::take(run).await?;
        if run.ledger.look(|state| state.planned.is_none()) {
            if run.resumed {
                entry::fence(run).await?;
            }
            let draft = planning::draft(run, reading).await?;
            planning::fix(run, &draft).await?;
        }
        let Some(planned) = run.ledger.look(|state| state.planned.clone()) else {
            return Err(Fault::Unexpected("the plan is not in the journal".into()));
        };
        let log = planning::verify(run, &planned).await?;
        planning::announce(run, &planned);
        self.note_older(&planned, &log);
        // Reading the topic can take as long as another writer's transaction is open.
        let entry = tokio::select! {
            entry = entry::enter(run, &planned) => entry?,
            () = run.stopped() => return Err(Fault::Stopped),
        };
        let sweep = Arc::new(Sweep::new(run.clone()));
        let (run, planned, tail) = (run.clone(), Arc::new(planned), Arc::new(entry.tail));
        let pass = Pass { run, planned, log, tail, sweep: sweep.clone() };
        let done = match export_all(&pass, entry.lanes).await {
            Ok(()) => sweep.end().await,
            fault => fault,
        };
        if done.is_err() {
            sweep.halt().await;
        }
        done
    }

    fn note_older(&self, planned: &Planned, log: &ChangeLog) {
        let older = plan::older_than_log(&planned.tables, log).into_iter().map(str::to_owned);
        let older = older.chain(planned.older_views.iter().cloned());
        let mut known =
            self.run.totals.older_than_log.lock().unwrap_or_else(PoisonError::into_inner);
        *known = older.collect();
    }

    /// Everything is delivered: gives the datamart back, and ends the journal of the run.
    async fn end(&self) -> Result<Summary, RunError> {
        let run = &self.run;
        let ours = own::require_ours(run).await;
        if let Err(fault @ Fault::Held(_)) = ours {
            let (touched, complete) = (true, false);
            return Err(RunError { fault, touched, complete, unreleased: None });
        }
        if let Err(fault) = own::release(run).await {
            let unreleased = Some(run.code());
            return Err(RunError { fault, touched: true, complete: true, unreleased });
        }
        let summary = self.summary();
        let ended = run.ledger.end(&summary.to_json(&run.settings).to_string());
        ended.map_err(|error| RunError {
            fault: error.into(),
            touched: true,
            complete: false,
            unreleased: None,
        })?;
        Ok(summary)
    }

    fn summary(&self) -> Summary {
        let totals = &self.run.totals;
        let (deltas, reissued, mut quarantined, in_halves) = self.run.ledger.look(|state| {
            let deltas: Vec<DeltaNum> = state.done.keys().copied().collect();
            let reissued = state.done.iter().filter(|(_, issue)| **issue > 0);
            let quarantined = state
                .attempts
                .values()
                .filter(|a| matches!(a.fate, super::state::Fate::Quarantined));
            (
                deltas,
                reissued.map(|(delta, issue)| (*delta, *issue)).collect(),
                quarantined.map(|a| a.attempt.name.0.clone()).collect::<Vec<_>>(),
                state.in_halves.iter().cloned().collect(),
            )
        });
        let strays = totals.strays.lock().unwrap_or_else(PoisonError::into_inner);
        quarantined.extend(strays.iter().cloned());
        let older = totals.older_than_log.lock().unwrap_or_else(PoisonError::into_inner);
        Summary {
            run: Some(self.run.run()),
            resumed: self.run.resumed,
            deltas,
            rows: totals.rows.load(Ordering::Relaxed),
            bytes: totals.bytes.load(Ordering::Relaxed),
            chunks: totals.chunks.load(Ordering::Relaxed),
            reissued,
            quarantined,
            older_than_log: older.clone(),
            in_halves,
        }
    }

    /// An orderly end gives lock and marker back; a resume takes them again. A run that was
    /// refused under its own lock has delivered nothing and is forgotten.
    async fn fail(&self, fault: Fault) -> RunError {
        let run = &self.run;
        if self.unfinished().is_none() {
            return untouched(fault);
        }
        let released = match &fault {
            // Whoever holds the marker now decides about the lock; who fenced us is a later
            // execution of this very run, and holds both.
            Fault::Held(_) | Fault::Sink(SinkError::Fenced { .. }) => Ok(()),
            _ => own::release(run).await,
        };
        // Even where the journal knows of no lock: the answer to DENY may have been lost.
        let unreleased = released.is_err().then(|| run.code());
        let planned = run.ledger.look(|state| state.planned.is_some());
        let forgotten = !run.resumed && !planned && released.is_ok() && run.ledger.end("").is_ok();
        RunError { fault, touched: !forgotten, complete: false, unreleased }
    }

    /// Gives the run up: clears away what it made, gives lock and marker back, forgets it. What it
    /// delivered stays in the topic as incomplete increments.
    ///
    /// # Errors
    /// As [`Backup::execute`]; the run is then still there.
    pub async fn abandon(&self) -> Result<(), RunError> {
        let fail = |fault| RunError { fault, touched: true, complete: false, unreleased: None };
        entry::fence(&self.run).await.map_err(fail)?;
        Sweep::new(self.run.clone()).end().await.map_err(fail)?;
        own::release(&self.run).await.map_err(fail)?;
        // What it made and left is still to be found; that it ended as asked is not said.
        let mut summary = self.summary().to_json(&self.run.settings);
        summary["abandoned"] = true.into();
        self.run.ledger.end(&summary.to_string()).map_err(|error| fail(error.into()))
    }
}

/// Exports what is planned, delta after delta.
async fn export_all<W: World>(pass: &Pass<W>, mut lanes: Lanes<W>) -> Result<(), Fault> {
    pass.sweep.catch_up().await?;
    for delta in &pass.planned.deltas {
        lanes = delta::export(pass, *delta, lanes).await?;
    }
    if !pass.run.ledger.look(|state| state.finished) {
        pass.run.ledger.note([Fact::Finished])?;
    }
    Ok(())
}

fn untouched(fault: Fault) -> RunError {
    RunError { fault, touched: false, complete: false, unreleased: None }
}

impl Summary {
    /// The document kept of an ended run.
    pub fn to_json(&self, settings: &Settings) -> serde_json::Value {
        serde_json::json!({
            "run": self.run.map(|run| run.to_string()),
            "datamart": settings.datamart.as_str(),
            "topic": settings.topic,
            "resumed": self.resumed,
            "deltas": self.deltas.iter().map(|d| d.0).collect::<Vec<_>>(),
            "rows": self.rows,
            "bytes": self.bytes,
            "chunks": self.chunks,
            "reissued": self.reissued.iter().map(|(d, n)| (d.0, *n)).collect::<Vec<_>>(),
            "quarantined": self.quarantined,
            "changelogComplete": self.run.map(|_| self.older_than_log.is_empty()),
            "olderThanChangelog": self.older_than_log,
            "inHalves": self.in_halves.iter().map(|(d, t)| (d.0, &t.0)).collect::<Vec<_>>(),
        })
    }
}
