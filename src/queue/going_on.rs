//! What a worker does about what it remembers when it starts, and how it gets rid of a final reply.
//! Owns that only what is this worker's goes on.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::reply;
use super::ticket::{Fate, Ticket, longer, pause, stopped};
use super::worker::{Inner, World};
use super::{Broker, Published};
use crate::clickhouse::{Alone, OperationId};
use crate::journal::{Operation, QueueTask, TaskState};

impl<W: World> Inner<W> {
    /// Goes on with what a former process left.
    pub(super) fn go_on(self: &Arc<Self>, jobs: &mut JoinSet<()>, stop: &watch::Receiver<bool>) {
        let tasks = self.ledger.all();
        self.go_on_with_operations(&tasks, jobs, stop);
        for task in tasks {
            let (inner, stop) = (self.clone(), stop.clone());
            match task.state {
                TaskState::Acking => {
                    let bell = self.ledger.expect(&task.key);
                    jobs.spawn(async move {
                        tokio::select! {
                            () = bell.notified() => return,
                            () = stopped(&stop) => return,
                            () = tokio::time::sleep(inner.settings.doubt) => {}
                        }
                        if let Some(_at_work) = inner.ledger.end_waiting(&task.key, &bell) {
                            inner.end_doubt(task, stop).await;
                        }
                    });
                }
                TaskState::Acked => {
                    let inner = self.clone();
                    jobs.spawn(async move {
                        if let Some(_at_work) = inner.ledger.go_on(&task.key) {
                            inner.resume(Ticket::of_journal(&inner, task, stop)).await;
                        }
                    });
                }
                TaskState::Answered => drop(jobs.spawn(async move {
                    inner.send_final(task, &stop).await;
                })),
                TaskState::Taken | TaskState::Done => {}
            }
        }
    }

    /// Operations that no task waits for. What no ack was asked for is another's by now: whoever
    /// got the task finds it at the server.
    fn go_on_with_operations(
        self: &Arc<Self>,
        tasks: &[QueueTask],
        jobs: &mut JoinSet<()>,
        stop: &watch::Receiver<bool>,
    ) {
        let waited_for = |operation: &Operation| {
            let waits = |task: &&QueueTask| {
                matches!(task.state, TaskState::Acking | TaskState::Acked)
                    && task.id == operation.id
            };
            tasks.iter().find(waits).is_some()
        };
        for operation in self.manager.unfinished() {
            let id = OperationId::known(&operation.id);
            if waited_for(&operation) {
                continue;
            }
            if !operation.owned {
                if let Err(error) = self.manager.disown(&id) {
                    tracing::warn!(%error, "operation {id} cannot be forgotten");
                }
                continue;
            }
            let (inner, stop) = (self.clone(), stop.clone());
            jobs.spawn(async move {
                tokio::select! {
                    done = inner.manager.recover(&id, None, &Alone) => if let Err(error) = done {
                        tracing::warn!(%error, "operation {id} stays as it is");
                    },
                    () = stopped(&stop) => {}
                }
            });
        }
    }

    /// Nobody brought the task again: unless another worker said that it has it, it is this one's.
    async fn end_doubt(&self, task: QueueTask, stop: watch::Receiver<bool>) {
        let reply = task.reply.clone();
        let ticket = Ticket::of_journal(self, task, stop);
        let at_end = reply.is_some();
        if ticket.take_over(reply).await != Fate::Owned {
            return;
        }
        match at_end {
            true => self.send_final(ticket.task(), ticket.stop()).await,
            false => self.resume(ticket).await,
        }
    }

    async fn resume(&self, ticket: Ticket<'_, W>) {
        let task = ticket.task();
        let _running = self.meter.running(&task.kind);
        // A slot where there is one: what was begun does not wait.
        let _slot = self.slots.of(&task.kind).try_acquire_owned().ok();
        match task.words.is_empty() {
            true => ticket.recover(&OperationId::known(&task.id)).await,
            false => ticket.run().await,
        }
    }

    /// Sends a final reply until it is confirmed, or nobody is there who would take it.
    pub(super) async fn send_final(&self, mut task: QueueTask, stop: &watch::Receiver<bool>) {
        if let Some(reply) = reply::of_task(&task, self.settings.results.as_deref()) {
            self.meter.count(|counts| counts.unsent += 1);
            let mut wait = None;
            loop {
                match self.broker.publish(&reply).await {
                    Ok(Published::Taken) => break,
                    Ok(Published::NoSuchQueue) => {
                        tracing::warn!("nobody takes the reply to task {}", task.task_id);
                        break;
                    }
                    Err(error) => tracing::debug!(%error, "a final reply waits"),
                }
                let next = longer(wait);
                if pause(stop, next).await {
                    return;
                }
                wait = Some(next);
            }
            self.meter.count(|counts| counts.unsent -= 1);
        }
        task.state = TaskState::Done;
        if let Err(error) = self.ledger.put(&mut task) {
            self.break_with(error);
        }
    }
}
