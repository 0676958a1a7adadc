//! The worker: takes tasks from the broker, one future each, until it is asked to stop. Owns the
//! order of things at the start and at the end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};

use super::counts::Meter;
use super::ledger::Ledger;
use super::limits::Slots;
use super::{Broker, CommandRule, Counts, Limits, Runner};
use crate::clickhouse::{BackupManager, Policy, Server};
use crate::journal::{JournalError, Operations, QueueTask, TaskState, Tasks};

/// What a worker works with.
pub trait World: 'static {
    /// The queue of tasks.
    type Broker: Broker<Delivery: 'static> + 'static;
    /// The ClickHouse server.
    type Server: Server + 'static;
    /// The memory of operations.
    type Operations: Operations;
    /// The memory of tasks.
    type Tasks: Tasks;
    /// What runs commands.
    type Runner: Runner<Running: 'static> + 'static;
}

/// A task that a worker holds.
pub(super) type DeliveryOf<W> = <<W as World>::Broker as Broker>::Delivery;

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
pub struct Worker<W: World> {
    inner: Arc<Inner<W>>,
}

/// What all tasks of a worker share.
pub(super) struct Inner<W: World> {
    pub(super) broker: W::Broker,
    pub(super) manager: Arc<BackupManager<W::Server, W::Operations>>,
    pub(super) ledger: Ledger<W::Tasks>,
    pub(super) runner: W::Runner,
    pub(super) settings: Settings,
    pub(super) slots: Slots,
    pub(super) meter: Meter,
    now: fn() -> i64,
    /// Why the journal cannot be written, once it cannot.
    broken: Mutex<Option<JournalError>>,
    bell: Notify,
}

impl<W: World> Worker<W> {
    /// A worker. `now` gives milliseconds since 1970.
    ///
    /// # Errors
    /// [`JournalError`] where the tasks that are remembered cannot be read.
    pub fn new(
        broker: W::Broker,
        manager: Arc<BackupManager<W::Server, W::Operations>>,
        tasks: W::Tasks,
        runner: W::Runner,
        settings: Settings,
        now: fn() -> i64,
    ) -> Result<Self, JournalError> {
        let inner = Inner {
            broker,
            manager,
            ledger: Ledger::new(tasks, settings.remembered, now)?,
            runner,
            slots: Slots::new(settings.limits),
            settings,
            meter: Meter::default(),
            now,
            broken: Mutex::new(None),
            bell: Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Goes on with what is this worker's, sends replies that are not confirmed, and takes tasks
    /// until it is asked to stop.
    pub async fn serve(&self, stop: watch::Receiver<bool>) -> Served {
        let inner = &self.inner;
        let mut jobs = JoinSet::new();
        inner.go_on(&mut jobs, &stop);
        loop {
            let delivery = tokio::select! {
                delivery = inner.broker.next() => delivery,
                () = inner.broken() => None,
            };
            let Some(delivery) = delivery else { break };
            let (inner, stop) = (inner.clone(), stop.clone());
            jobs.spawn(async move { inner.handle(delivery, stop).await });
            while let Some(job) = jobs.try_join_next() {
                note(job);
            }
        }
        let error = inner.lock().take();
        if error.is_some() {
            // Nothing of what is still at work could be remembered.
            jobs.shutdown().await;
        }
        while let Some(job) = jobs.join_next().await {
            note(job);
        }
        let open = |task: &QueueTask| {
            matches!(task.state, TaskState::Acking | TaskState::Acked | TaskState::Answered)
        };
        let left = inner.ledger.all().iter().filter(|task| open(task)).count();
        Served { left, error: error.or_else(|| inner.lock().take()) }
    }

    /// What it did and does; cheap.
    pub fn counts(&self) -> Counts {
        self.inner.meter.counts()
    }
}

fn note(job: Result<(), JoinError>) {
    // The task that it had goes back to its queue.
    if let Err(error) = job
        && error.is_panic()
    {
        tracing::error!("a task ended in a panic; please report this");
    }
}

impl<W: World> Inner<W> {
    /// Milliseconds since 1970.
    pub(super) fn now(&self) -> i64 {
        (self.now)()
    }

    /// The journal cannot be written: the worker ends.
    pub(super) fn break_with(&self, error: JournalError) {
        tracing::error!(%error, "the worker ends");
        self.lock().get_or_insert(error);
        self.bell.notify_one();
    }

    async fn broken(&self) {
        self.bell.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Option<JournalError>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
