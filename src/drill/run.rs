//! The engine: a drill from its first record to its reports, as passes. A pass looks at the scratch
//! and decides what is left, so a fresh drill, a retry and a resume are one road (ADR 1).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch as signal;

use crate::catalog::TopicReader;
use crate::extract::Node;
use crate::journal::{DrillFact, DrillShape, JournalError, RestoreShape};
use crate::model::RunId;
use crate::restore::{self, Dates, Restore, Wanted, World as _};

use super::asking;
use super::context::{Context, Inside, JournalOf, Publish, Recorder, Settings, World};
use super::fault::{Fault, Refusal, RunError, is_astray, judge};
use super::ledger::Ledger;
use super::own::{self, Settled};
use super::report::Report;
use super::scratch::{Phase, is_same};
use super::timeline::Timeline;
use super::watch::{Event, Watch};

/// A drill, ready to go.
pub struct Drill<W: World> {
    run: Context<W>,
    resumed: bool,
    /// This execution does not make the scratch again: it has, or it made it at first.
    astray: AtomicBool,
}

impl<W: World> Drill<W> {
    /// Opens the journal; what it holds decides whether this is a fresh drill or a resume.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn open(
        world: W,
        journal: JournalOf<W>,
        settings: Settings,
        (watch, publish): (Arc<dyn Watch>, Arc<dyn Publish>),
        stop: signal::Receiver<bool>,
    ) -> Result<Self, JournalError> {
        let ledger = Ledger::open(journal)?;
        let resumed = ledger.look(|state| state.started.is_some());
        let run = Context { world, ledger, settings, watch, publish, stop };
        Ok(Self { run, resumed, astray: AtomicBool::new(!resumed) })
    }

    /// The unfinished drill of the journal, with what shaped it.
    pub fn unfinished(&self) -> Option<(RunId, DrillShape)> {
        self.run.ledger.look(|state| {
            state.started.as_ref().map(|started| (started.owner.run, started.shape.clone()))
        })
    }

    /// Brings the drill to its verdict and its reports, from wherever its journal says it is.
    ///
    /// # Errors
    /// [`RunError`] where there is no verdict; the journal then knows where to go on, unless
    /// nothing was touched.
    pub async fn execute(&self) -> Result<Report, RunError> {
        match self.passes().await {
            Ok(report) => Ok(report),
            Err(fault) => Err(self.fail(fault)),
        }
    }

    async fn passes(&self) -> Result<Report, Fault> {
        let run = &self.run;
        self.begin().await?;
        let progress = || run.ledger.look(|state| (state.phase, state.deltas.len()));
        let mut left = run.settings.retries;
        loop {
            let before = progress();
            let fault = match self.pass().await {
                Ok(report) => return Ok(report),
                Err(fault) if fault.can_reenter() => fault,
                Err(fault) => return Err(fault),
            };
            left = if progress() != before { run.settings.retries } else { left };
            if left == 0 {
                return Err(fault);
            }
            left -= 1;
            let text = format!("{fault}; going on from the journal");
            run.watch.tell(Event::Warning { text });
            run.pause().await?;
        }
    }

    /// The first record of this execution. A fresh drill that would be refused writes none.
    async fn begin(&self) -> Result<(), Fault> {
        let run = &self.run;
        let at = run.now();
        if self.resumed {
            return Ok(run.ledger.note([DrillFact::Resumed { at }])?);
        }
        let shape = run.settings.shape.clone();
        if is_same(&shape.source, &shape.scratch) {
            return Err(Refusal::Source(shape.scratch).into());
        }
        let topic = run.settings.topic.clone();
        if run.world.restore().topic().state().await?.is_none() {
            return Err(Refusal::NoTopic { topic }.into());
        }
        run.world.source().last_delta().await?;
        own::require_free(run).await?;
        let (owner, shape) = (run.settings.owner.clone(), Box::new(shape));
        Ok(run.ledger.note([DrillFact::Started { owner, topic, shape, at }])?)
    }

    async fn pass(&self) -> Result<Report, Fault> {
        let run = &self.run;
        if own::settle(run).await? == Settled::Ready {
            self.restore().await?;
            self.compare().await?;
            self.leave_scratch().await?;
        }
        let report = run.ledger.look(|state| Report::of(state, &run.settings.tool));
        run.publish.publish(&report).map_err(Fault::Report)?;
        run.ledger.end(&report.summary())?;
        Ok(report)
    }

    fn open_restore(&self) -> Result<Restore<Inside<W::Restore>>, JournalError> {
        let run = &self.run;
        let (settings, shape) = (&run.settings, run.shape());
        let restore = restore::Settings {
            topic: run
                .ledger
                .look(|s| s.started.as_ref().map(|s| s.topic.clone()))
                .unwrap_or_default(),
            owner: run.owner(),
            // Differences are found by the comparison, all of them.
            shape: RestoreShape { accept_differences: true, ..shape.restore },
            wanted: Wanted::default(),
            dates: Dates::Keep,
            skip: Default::default(),
            retries: settings.retries,
            pause: settings.pause,
            patience: settings.patience,
            keep_marker: true,
            nonce: settings.nonce.clone(),
        };
        let watch = Recorder {
            ledger: run.ledger.clone(),
            timeline: Mutex::new(Timeline::new(run.now())),
            now: settings.now.clone(),
            watch: run.watch.clone(),
        };
        let worlds = Inside(run.world.restore().clone());
        Restore::open(worlds, run.ledger.of_restore(), restore, Arc::new(watch), run.stop.clone())
    }

    async fn restore(&self) -> Result<(), Fault> {
        let run = &self.run;
        if run.ledger.look(|state| state.restored.is_some()) {
            return Ok(());
        }
        let restore = self.open_restore()?;
        let failing = match restore.execute().await {
            Ok(_) => None,
            Err(error) => {
                // Once in an execution: who comes into a scratch again and again fails the drill.
                if is_astray(&error.fault) && !self.astray.swap(true, Ordering::SeqCst) {
                    run.ledger.note([DrillFact::StartedOver])?;
                    return Err(Fault::Again(error.fault));
                }
                let failing = judge(error.fault)?;
                // Nobody goes on with it: its load topics go.
                restore.abandon().await.map_err(|error| Fault::Restore(error.fault))?;
                Some(failing)
            }
        };
        Ok(run.ledger.note([DrillFact::Restored { at: run.now(), failing }])?)
    }

    async fn compare(&self) -> Result<(), Fault> {
        let run = &self.run;
        if run.ledger.look(|state| state.judged.is_some()) {
            return Ok(());
        }
        let restore = self.open_restore()?;
        let taken = match restore.taken().await {
            Ok(taken) => taken,
            Err(error) => {
                let known = run.ledger.look(|state| state.restored.clone());
                let known = known.and_then(|restored| restored.failing);
                // What could not be chosen at first is not chosen now, either.
                let failing = match judge(error.fault) {
                    Ok(failing) => known.unwrap_or(failing),
                    Err(fault) => known.ok_or(fault)?,
                };
                let failing = Some(failing);
                run.ledger.note([DrillFact::Restored { at: run.now(), failing }])?;
                restore::Taken::default()
            }
        };
        asking::compare(run, &taken).await
    }

    async fn leave_scratch(&self) -> Result<(), Fault> {
        let run = &self.run;
        let shape = run.shape();
        if shape.keep {
            run.ledger.note([DrillFact::ScratchDone { at: run.now(), dropped: false }])?;
            run.watch.tell(Event::ScratchKept(shape.scratch));
            return Ok(());
        }
        run.ledger.note([DrillFact::DropIntended])?;
        own::settle(run).await.map(|_| ())
    }

    /// A drill that touched nothing is forgotten.
    fn fail(&self, fault: Fault) -> RunError {
        let ledger = &self.run.ledger;
        let refused = matches!(fault, Fault::Refused(_) | Fault::Held(_));
        let phase = ledger.look(|state| state.phase);
        if refused && !self.resumed && matches!(phase, Phase::Nothing | Phase::Intended) {
            let forgotten = ledger.look(|s| s.started.is_none()) || ledger.end("{}").is_ok();
            return RunError { fault, touched: !forgotten };
        }
        RunError { fault, touched: ledger.look(|state| state.started.is_some()) }
    }

    /// Gives the drill up: the scratch goes where it is ours, and what was loaded from with it.
    /// There is no report.
    ///
    /// # Errors
    /// As [`Drill::execute`]; the drill is then still there.
    pub async fn abandon(&self) -> Result<(), RunError> {
        let run = &self.run;
        let abandoned = async {
            if own::is_there(run).await? {
                let abandoned = self.open_restore()?.abandon().await;
                abandoned.map_err(|error| Fault::Restore(error.fault))?;
                run.ledger.note([DrillFact::DropIntended])?;
                own::settle(run).await?;
            }
            Ok(run.ledger.end("{}")?)
        };
        abandoned.await.map_err(|fault| RunError { fault, touched: true })
    }
}
