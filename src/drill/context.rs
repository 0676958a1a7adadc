//! What every part of a drill needs: the outside worlds, the ledger, the settings, the watchers.
//! Owns no logic.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::extract::Node;
use crate::journal::DrillShape;
use crate::load::Scratch;
use crate::model::{Moment, Owner, RunId};
use crate::restore;

use super::fault::Fault;
use super::ledger::{Ledger, Nested};
use super::report::Report;
use super::timeline::Timeline;
use super::watch::{Event, Watch};

/// The outside worlds of a drill.
pub trait World: Send + Sync + 'static {
    /// The worlds of its restore; the target is the scratch.
    type Restore: restore::World<Target: Scratch>;
    /// The node of the live source.
    type Source: Node;
    /// The worlds of its restore.
    fn restore(&self) -> &Arc<Self::Restore>;
    /// The live source.
    fn source(&self) -> &Self::Source;
}

/// The journal of a world.
pub type JournalOf<W> = <<W as World>::Restore as restore::World>::Journal;

/// Where reports go. Writing one again replaces it.
pub trait Publish: Send + Sync {
    /// Writes the reports.
    ///
    /// # Errors
    /// What the system said.
    fn publish(&self, report: &Report) -> Result<(), String>;
}

/// Settings of a drill, checked and complete.
#[derive(Clone)]
pub struct Settings {
    /// The backup topic.
    pub topic: String,
    /// Who a fresh drill is; a resume is who its journal says.
    pub owner: Owner,
    /// What shapes a fresh drill.
    pub shape: DrillShape,
    /// Drills that this journal remembers: their kept scratches may be dropped.
    pub known: BTreeSet<RunId>,
    /// How often a pass may be begun again without progress.
    pub retries: u32,
    /// Waiting time before a further pass, and between looks at operations under way.
    pub pause: Duration,
    /// How long operations of a dead client are waited for.
    pub patience: Duration,
    /// Version of deltakeep, for the reports.
    pub tool: String,
    /// Numbers that nobody else has.
    pub nonce: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The time of day.
    pub now: Arc<dyn Fn() -> Moment + Send + Sync>,
}

/// A drill at work.
pub struct Context<W: World> {
    /// The outside worlds.
    pub world: W,
    /// The journal and what it says.
    pub ledger: Ledger<JournalOf<W>>,
    /// The settings.
    pub settings: Settings,
    /// Who watches.
    pub watch: Arc<dyn Watch>,
    /// Where the reports go.
    pub publish: Arc<dyn Publish>,
    /// Turns true when the drill is asked to stop.
    pub stop: watch::Receiver<bool>,
}

impl<W: World> Context<W> {
    /// Who this drill is: by its journal, else by its settings.
    pub fn owner(&self) -> Owner {
        let journalled = self.ledger.look(|s| s.started.as_ref().map(|s| s.owner.clone()));
        journalled.unwrap_or_else(|| self.settings.owner.clone())
    }

    /// What shapes the drill: by the journal, else by the settings.
    pub fn shape(&self) -> DrillShape {
        let journalled = self.ledger.look(|s| s.started.as_ref().map(|s| s.shape.clone()));
        journalled.unwrap_or_else(|| self.settings.shape.clone())
    }

    /// The time of day.
    pub fn now(&self) -> Moment {
        (self.settings.now)()
    }

    /// Stops the caller when the drill is asked to stop.
    ///
    /// # Errors
    /// [`Fault::Stopped`].
    pub fn go_on(&self) -> Result<(), Fault> {
        if *self.stop.borrow() { Err(Fault::Stopped) } else { Ok(()) }
    }

    /// Waits for a while, or until the drill is asked to stop.
    ///
    /// # Errors
    /// [`Fault::Stopped`].
    pub async fn pause(&self) -> Result<(), Fault> {
        let mut stop = self.stop.clone();
        let stopped = async {
            if stop.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(self.settings.pause) => Ok(()),
            () = stopped => Err(Fault::Stopped),
        }
    }
}

/// The worlds of the restore, with the drill's journal in place of their own.
pub struct Inside<W: restore::World>(pub Arc<W>);

impl<W: restore::World> restore::World for Inside<W> {
    type Target = W::Target;
    type Loads = W::Loads;
    type Topic = W::Topic;
    type Journal = Nested<W::Journal>;

    fn target(&self) -> &W::Target {
        self.0.target()
    }

    fn loads(&self) -> &W::Loads {
        self.0.loads()
    }

    fn topic(&self) -> &W::Topic {
        self.0.topic()
    }
}

/// Passes the events of the restore on, and remembers what took time.
pub struct Recorder<J> {
    /// Where spans go.
    pub ledger: Ledger<J>,
    /// What is under way.
    pub timeline: Mutex<Timeline>,
    /// The time of day.
    pub now: Arc<dyn Fn() -> Moment + Send + Sync>,
    /// Who watches the drill.
    pub watch: Arc<dyn Watch>,
}

impl<J: crate::journal::Journal> restore::Watch for Recorder<J> {
    fn tell(&self, event: restore::Event) {
        let mut timeline = self.timeline.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(span) = timeline.see(&event, (self.now)()) {
            self.ledger.remember(span);
        }
        self.watch.tell(Event::Restore(event));
    }
}
