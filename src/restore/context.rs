//! What every part of a restore needs: the outside worlds, the ledger, the settings, the watchers.
//! Owns no logic.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::catalog::RangeReader;
use crate::journal::{Journal, RestoreFact, RestoreShape};
use crate::load::{Loads, Target};
use crate::model::{DeltaNum, Owner, RunId, TableName};

use super::choose::Wanted;
use super::dates::Dates;
use super::fault::Fault;
use super::freeze::Frozen;
use super::ledger::Ledger;
use super::watch::{Event, Watch};

/// The outside worlds of a restore.
pub trait World: Send + Sync + 'static {
    /// The node of the target.
    type Target: Target;
    /// The topics it loads from.
    type Loads: Loads;
    /// The backup topic.
    type Topic: RangeReader;
    /// The journal.
    type Journal: Journal;
    /// The target.
    fn target(&self) -> &Self::Target;
    /// The load topics.
    fn loads(&self) -> &Self::Loads;
    /// The backup topic.
    fn topic(&self) -> &Self::Topic;
}

/// Settings of a restore, checked and complete.
#[derive(Clone)]
pub struct Settings {
    /// The backup topic.
    pub topic: String,
    /// Who a fresh run is; a resume is who its journal says.
    pub owner: Owner,
    /// What shapes a fresh run.
    pub shape: RestoreShape,
    /// Which deltas a fresh run restores, and by which increments.
    pub wanted: Wanted,
    /// What a fresh run does with dates that the node would refuse.
    pub dates: Dates,
    /// Changes not to be replayed; a resume adds to those of its journal.
    pub skip: BTreeSet<u64>,
    /// How often a pass may be begun again without progress (`--kafkaRetries`).
    pub retries: u32,
    /// Waiting time before a further pass, and between looks at operations under way.
    pub pause: Duration,
    /// How long operations of a dead client are waited for.
    pub patience: Duration,
    /// The owner marker stays at the end: a drill's scratch is marked until it is dropped.
    pub keep_marker: bool,
    /// Numbers that nobody else has.
    pub nonce: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// What an execution found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Rows loaded by this execution.
    pub rows: u64,
    /// Bytes of the bodies loaded by this execution.
    pub bytes: u64,
    /// Loads done by this execution.
    pub loads: u64,
    /// Pairs whose sums nobody could compare.
    pub unverified: BTreeSet<(DeltaNum, TableName)>,
    /// Pairs whose sums differ, accepted so.
    pub different: BTreeSet<(DeltaNum, TableName)>,
}

/// A restore at work.
pub struct Context<W: World> {
    /// The outside worlds.
    pub world: W,
    /// The journal and what it says.
    pub ledger: Ledger<W::Journal>,
    /// The settings.
    pub settings: Settings,
    /// Who watches.
    pub watch: Arc<dyn Watch>,
    /// Turns true when the run is asked to stop.
    pub stop: watch::Receiver<bool>,
    /// The journal held this run already when it was opened.
    pub resumed: bool,
    /// What was found out.
    pub findings: Mutex<Findings>,
    /// What is taken from the topic: what lies below the frozen ends does not change, so that an
    /// execution reads it once, over all its passes.
    pub frozen: OnceLock<Arc<Frozen>>,
}

impl<W: World> Context<W> {
    /// Tells the watchers.
    pub fn tell(&self, event: Event) {
        self.watch.tell(event);
    }

    /// Writes one fact.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn note(&self, fact: RestoreFact) -> Result<(), Fault> {
        Ok(self.ledger.note([fact])?)
    }

    /// Who this run is: by its journal, else by its settings.
    pub fn owner(&self) -> Owner {
        let journalled = self.ledger.look(|s| s.started.as_ref().map(|s| s.owner.clone()));
        journalled.unwrap_or_else(|| self.settings.owner.clone())
    }

    /// The run.
    pub fn run(&self) -> RunId {
        self.owner().run
    }

    /// What shapes the run: by the journal, else by the settings.
    pub fn shape(&self) -> RestoreShape {
        let journalled = self.ledger.look(|s| s.started.as_ref().map(|s| s.shape.clone()));
        journalled.unwrap_or_else(|| self.settings.shape.clone())
    }

    /// Whether sums that differ are reported only: by the run, or by who resumes it.
    pub fn accepts_differences(&self) -> bool {
        self.shape().accept_differences || self.settings.shape.accept_differences
    }

    /// What was found out so far. Never held across a wait.
    pub fn findings(&self) -> MutexGuard<'_, Findings> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the caller when the run is asked to stop.
    ///
    /// # Errors
    /// [`Fault::Stopped`].
    pub fn go_on(&self) -> Result<(), Fault> {
        if *self.stop.borrow() { Err(Fault::Stopped) } else { Ok(()) }
    }

    /// Waits until the run is asked to stop; for ever where it never is.
    pub async fn stopped(&self) {
        let mut stop = self.stop.clone();
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for a while, or until the run is asked to stop.
    ///
    /// # Errors
    /// [`Fault::Stopped`].
    pub async fn pause(&self) -> Result<(), Fault> {
        tokio::select! {
            () = tokio::time::sleep(self.settings.pause) => Ok(()),
            () = self.stopped() => Err(Fault::Stopped),
        }
    }
}
