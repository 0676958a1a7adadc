//! Whose a task is. Owns the ack point: the journal says ACKING, then the broker hears the ack, then
//! the journal says ACKED; where an ack may have come or not, the claim decides. What is irreversible
//! waits for that.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::reply::{self, Answer, Asker};
use super::worker::{DeliveryOf, Inner, World};
use super::{Broker, Delivery, Outgoing, Published};
use crate::clickhouse::{OperationId, Watch};
use crate::journal::{Operation, QueueTask, TaskState};

/// First and longest pause while the broker cannot be spoken to.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Whose a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The broker's.
    Open,
    /// This worker's.
    Owned,
    /// Another worker's.
    Lost,
    /// To be found out after the next start: it was stopped, or the journal cannot be written.
    Left,
}

/// A task that is worked on.
pub(super) struct Ticket<'a, W: World> {
    pub(super) inner: &'a Inner<W>,
    delivery: Option<&'a DeliveryOf<W>>,
    /// A second delivery of it may be with somebody else.
    again: bool,
    /// Where progress is told; only where the sender wants to hear of it.
    progress: Option<watch::Sender<Option<String>>>,
    stop: watch::Receiver<bool>,
    hold: Mutex<(QueueTask, Fate)>,
}

impl<'a, W: World> Ticket<'a, W> {
    /// One for a task that came.
    pub(super) fn of_delivery(
        inner: &'a Inner<W>,
        delivery: &'a DeliveryOf<W>,
        task: QueueTask,
        again: bool,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let hold = Mutex::new((task, Fate::Open));
        Self { inner, delivery: Some(delivery), again, progress: None, stop, hold }
    }

    /// One for a task that a former process had.
    pub(super) fn of_journal(
        inner: &'a Inner<W>,
        task: QueueTask,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let fate = if task.state == TaskState::Acking { Fate::Open } else { Fate::Owned };
        let hold = Mutex::new((task, fate));
        Self { inner, delivery: None, again: true, progress: None, stop, hold }
    }

    /// Progress is told from here on.
    pub(super) fn tell_progress(&mut self) -> watch::Receiver<Option<String>> {
        let (told, hear) = watch::channel(None);
        self.progress = Some(told);
        hear
    }

    /// The task as it stands.
    pub(super) fn task(&self) -> QueueTask {
        self.hold().0.clone()
    }

    /// Whose it is.
    pub(super) fn fate(&self) -> Fate {
        self.hold().1
    }

    /// Says when the worker is asked to stop.
    pub(super) fn stop(&self) -> &watch::Receiver<bool> {
        &self.stop
    }

    /// Whether the worker was asked to stop.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits; true where the worker was asked to stop meanwhile.
    pub(super) async fn pause(&self, time: Duration) -> bool {
        pause(&self.stop, time).await
    }

    /// Waits until the worker is asked to stop.
    pub(super) async fn stopped(&self) {
        stopped(&self.stop).await;
    }

    fn hold(&self) -> MutexGuard<'_, (QueueTask, Fate)> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the task in the journal; false where that cannot be written.
    pub(super) fn write(&self, change: impl FnOnce(&mut QueueTask)) -> bool {
        let mut hold = self.hold();
        change(&mut hold.0);
        match self.inner.ledger.put(&mut hold.0) {
            Ok(()) => true,
            Err(error) => {
                hold.1 = Fate::Left;
                drop(hold);
                self.inner.break_with(error);
                false
            }
        }
    }

    /// Makes the task this worker's, if it can be. `reply`: it is at its end with this.
    pub(super) async fn take_over(&self, reply: Option<String>) -> Fate {
        let at_end = reply.is_some();
        match self.fate() {
            Fate::Open => {}
            Fate::Owned if !at_end => return Fate::Owned,
            Fate::Owned => {
                self.write(|task| (task.state, task.reply) = (TaskState::Answered, reply));
                return self.fate();
            }
            lost => return lost,
        }
        if !self.write(|task| (task.state, task.reply) = (TaskState::Acking, reply)) {
            return Fate::Left;
        }
        let fate = self.find_owner().await;
        self.hold().1 = fate;
        match fate {
            Fate::Owned => {
                let next = if at_end { TaskState::Answered } else { TaskState::Acked };
                self.write(|task| task.state = next);
            }
            Fate::Lost => self.give_up(),
            Fate::Open | Fate::Left => {}
        }
        self.fate()
    }

    async fn find_owner(&self) -> Fate {
        let of_claim = |claimed| match claimed {
            Some(true) => Fate::Owned,
            Some(false) => Fate::Lost,
            None => Fate::Left,
        };
        let mut claimed = None;
        if self.again {
            claimed = self.claim().await;
            if claimed.is_none() {
                return Fate::Left;
            }
        }
        // Also where it is somebody else's: that one has its own delivery of it.
        let heard = match self.delivery {
            Some(delivery) => delivery.ack().await,
            None => false,
        };
        match claimed {
            Some(mine) => of_claim(Some(mine)),
            None if heard => Fate::Owned,
            // The ack may have come, and then nobody else gets the task.
            None => of_claim(self.claim().await),
        }
    }

    /// Claims the task; none where the worker was asked to stop before the broker answered.
    async fn claim(&self) -> Option<bool> {
        let key = self.hold().0.key.clone();
        let mut wait = longer(None);
        loop {
            match self.inner.broker.claim(&key, &self.inner.settings.worker).await {
                Ok(mine) => return Some(mine),
                Err(error) => tracing::debug!(%error, "a claim waits"),
            }
            if self.pause(wait).await {
                return None;
            }
            wait = longer(Some(wait));
        }
    }

    /// It is another worker's: what this one knows of it would only stand in the way.
    fn give_up(&self) {
        let task = self.task();
        tracing::info!("task {} of operation {} is another worker's", task.task_id, task.id);
        if let Some(run) = &task.run {
            tracing::warn!(
                "run {run} was begun here all the same: deltakeep resume {run}, or abandon"
            );
        }
        if task.words.is_empty()
            && let Err(error) = self.inner.manager.disown(&OperationId::known(&task.id))
        {
            tracing::warn!(%error, "operation {} cannot be forgotten", task.id);
        }
        if let Err(error) = self.inner.ledger.forget(&task.key) {
            self.inner.break_with(error);
        }
    }

    /// Ends the task: makes it this worker's where it is not yet, and sends the final reply.
    pub(super) async fn settle(&self, answer: &Answer) {
        let body = self.body(answer, true);
        if self.take_over(Some(body)).await == Fate::Owned {
            let task = self.task();
            self.inner.meter.ended(Some(&task.kind), answer.outcome(), self.inner.now());
            tracing::info!(
                kind = task.kind,
                operation = task.id,
                outcome = answer.outcome(),
                "task {} is at its end",
                task.task_id
            );
            self.inner.send_final(task, &self.stop).await;
        }
    }

    fn body(&self, answer: &Answer, is_final: bool) -> String {
        let task = self.task();
        let meta: Option<Value> = task.meta.as_deref().and_then(|m| serde_json::from_str(m).ok());
        let asker = Asker {
            task_id: &task.task_id,
            kind: Some(&task.kind),
            operation: Some(&task.id),
            meta: meta.as_ref(),
        };
        answer.body(asker, is_final)
    }

    /// Tells who wants to hear of it that the task is accepted. Nothing hangs on its arrival.
    pub(super) async fn tell_accepted(&self) {
        if self.progress.is_some() {
            let answer = Answer { status: "accepted", result: Value::Null, error: Value::Null };
            self.tell_event("accepted", self.body(&answer, false)).await;
        }
    }

    /// Sends what is told of progress, at most one message a second.
    pub(super) async fn pump(&self, mut heard: watch::Receiver<Option<String>>) {
        while heard.changed().await.is_ok() {
            let event = heard.borrow_and_update().clone();
            if let Some(event) = event {
                self.tell_event("progress", event).await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        std::future::pending::<()>().await;
    }

    async fn tell_event(&self, what: &str, body: String) {
        let task = self.task();
        let results = self.inner.settings.results.as_deref();
        let Some(to) = reply::address(task.reply_to.as_deref(), results) else { return };
        let event = Outgoing {
            to,
            body: body.into_bytes(),
            message_id: Some(format!("{}/{what}", task.task_id)),
            correlation_id: task.correlation_id,
            reply_to: None,
            kind: Some(task.kind),
            headers: Default::default(),
        };
        match self.inner.broker.publish(&event).await {
            Ok(Published::Taken) => {}
            Ok(Published::NoSuchQueue) | Err(_) => tracing::debug!("nobody hears of {what}"),
        }
    }
}

impl<W: World> Watch for Ticket<'_, W> {
    async fn own(&self, _operation: &Operation) -> bool {
        let before = self.fate();
        let owned = self.take_over(None).await == Fate::Owned;
        if owned && before == Fate::Open {
            self.tell_accepted().await;
        }
        owned
    }

    fn tell(&self, operation: &Operation) {
        if let Some(progress) = &self.progress
            && self.fate() == Fate::Owned
        {
            let event = self.body(&Answer::of_operation(operation), false);
            progress.send_if_modified(|told| {
                let is_new = told.as_ref() != Some(&event);
                *told = Some(event);
                is_new
            });
        }
    }

    fn is_kept(&self) -> bool {
        self.delivery.is_some()
    }

    fn is_redelivered(&self) -> bool {
        self.again
    }

    fn is_stopped(&self) -> bool {
        self.is_stopping()
    }
}

/// Waits; true where it is stopped meanwhile.
pub(super) async fn pause(stop: &watch::Receiver<bool>, time: Duration) -> bool {
    tokio::select! {
        () = stopped(stop) => true,
        () = tokio::time::sleep(time) => false,
    }
}

/// Waits until it is stopped.
pub(super) async fn stopped(stop: &watch::Receiver<bool>) {
    let mut stop = stop.clone();
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody can ask any more.
        std::future::pending::<()>().await;
    }
}

/// A pause after which the broker is tried again; the next one is longer.
pub(super) fn longer(wait: Option<Duration>) -> Duration {
    wait.map_or(PAUSES.0, |wait| (wait * 2).min(PAUSES.1))
}
