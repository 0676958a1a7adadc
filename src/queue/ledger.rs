//! What this worker remembers of tasks, and which it is at. Owns the rule that a task is worked on
//! by one future at a time. Never decides whose a task is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::decide::{Known, Meeting, meet};
use super::envelope::Envelope;
use crate::journal::{JournalError, QueueTask, TaskState, Tasks};

/// How many ended tasks are remembered at most.
const KEPT: usize = 10_000;

/// The memory.
pub(super) struct Ledger<T> {
    memory: Mutex<Memory<T>>,
    /// Rings when something was written, and when a task is not at work any more.
    changed: Notify,
    now: fn() -> i64,
}

struct Memory<T> {
    tasks: T,
    known: BTreeMap<String, QueueTask>,
    /// Tasks that are worked on; with a bell those that only wait for their redelivery.
    at_work: BTreeMap<String, Option<Arc<Notify>>>,
    done: usize,
}

/// A task that is worked on, until this is dropped.
pub(super) struct AtWork<'a, T> {
    ledger: &'a Ledger<T>,
    key: String,
}

impl<T> Drop for AtWork<'_, T> {
    fn drop(&mut self) {
        self.ledger.memory().at_work.remove(&self.key);
        self.ledger.changed.notify_waiters();
    }
}

impl<T> Ledger<T> {
    fn memory(&self) -> MutexGuard<'_, Memory<T>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What rings when something changed. To be enabled before what is waited for is looked at.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Everything that is known.
    pub(super) fn all(&self) -> Vec<QueueTask> {
        self.memory().known.values().cloned().collect()
    }

    /// Meets a task that came. One that is taken on is at work from here on.
    pub(super) fn meet(
        &self,
        envelope: &Envelope,
        again: bool,
    ) -> (Meeting, Option<QueueTask>, Option<AtWork<'_, T>>) {
        let mut memory = self.memory();
        let known = memory.known.get(&envelope.key).cloned();
        let copy = envelope.named || again;
        let bell = match memory.at_work.get(&envelope.key) {
            Some(Some(bell)) if copy => Some(bell.clone()),
            _ => None,
        };
        let at_work = bell.is_none() && memory.at_work.contains_key(&envelope.key);
        let same = known.as_ref().is_none_or(|known| known.asked == envelope.asked);
        let state = match &known {
            Some(known) => Some(known.state),
            // Its record is written once it is certain that there is work.
            None => at_work.then_some(TaskState::Taken),
        };
        let meeting = meet(Known { state, at_work, same, copy });
        if meeting != Meeting::TakeOn {
            return (meeting, known, None);
        }
        if let Some(bell) = bell {
            bell.notify_one();
        }
        memory.at_work.insert(envelope.key.clone(), None);
        drop(memory);
        (meeting, known, Some(AtWork { ledger: self, key: envelope.key.clone() }))
    }

    /// Goes on with a remembered task; none where it is at work.
    pub(super) fn go_on(&self, key: &str) -> Option<AtWork<'_, T>> {
        let mut memory = self.memory();
        if memory.at_work.contains_key(key) {
            return None;
        }
        memory.at_work.insert(key.to_owned(), None);
        drop(memory);
        Some(AtWork { ledger: self, key: key.to_owned() })
    }

    /// A task in doubt is waited for: the bell rings when it comes again, and whoever met it has it.
    /// To be called before tasks are taken.
    pub(super) fn expect(&self, key: &str) -> Arc<Notify> {
        let bell = Arc::new(Notify::new());
        self.memory().at_work.insert(key.to_owned(), Some(bell.clone()));
        bell
    }

    /// Ends that waiting and takes the task; none where it came.
    pub(super) fn end_waiting(&self, key: &str, bell: &Arc<Notify>) -> Option<AtWork<'_, T>> {
        let mut memory = self.memory();
        let entry = memory.at_work.get_mut(key)?;
        match entry {
            Some(waiting) if Arc::ptr_eq(waiting, bell) => *entry = None,
            _ => return None,
        }
        drop(memory);
        Some(AtWork { ledger: self, key: key.to_owned() })
    }
}

impl<T: Tasks> Ledger<T> {
    /// Reads what is remembered.
    pub(super) fn new(
        mut tasks: T,
        remembered: Duration,
        now: fn() -> i64,
    ) -> Result<Self, JournalError> {
        let oldest = now() - i64::try_from(remembered.as_millis()).unwrap_or(i64::MAX);
        let open = |task: &QueueTask| {
            matches!(task.state, TaskState::Acking | TaskState::Acked | TaskState::Answered)
        };
        let all = tasks.all()?.into_iter();
        let (kept, old): (Vec<_>, Vec<_>) =
            all.partition(|task| open(task) || task.updated >= oldest);
        if !old.is_empty() {
            tasks.forget(&old.into_iter().map(|task| task.key).collect::<Vec<_>>())?;
        }
        let done = kept.iter().filter(|task| task.state == TaskState::Done).count();
        let known = kept.into_iter().map(|task| (task.key.clone(), task)).collect();
        let memory = Memory { tasks, known, at_work: BTreeMap::new(), done };
        Ok(Self { memory: Mutex::new(memory), changed: Notify::new(), now })
    }

    /// Remembers a task, durably when it returns.
    pub(super) fn put(&self, task: &mut QueueTask) -> Result<(), JournalError> {
        task.updated = (self.now)();
        let mut memory = self.memory();
        memory.tasks.put(task)?;
        let before = memory.known.insert(task.key.clone(), task.clone());
        let was_done = before.is_some_and(|before| before.state == TaskState::Done);
        memory.done -= usize::from(was_done);
        memory.done += usize::from(task.state == TaskState::Done);
        memory.shrink()?;
        drop(memory);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Remembers a task that just came, as long as this process lives.
    pub(super) fn remember(&self, task: &mut QueueTask) {
        task.updated = (self.now)();
        let mut memory = self.memory();
        let before = memory.known.insert(task.key.clone(), task.clone());
        memory.done -= usize::from(before.is_some_and(|before| before.state == TaskState::Done));
        drop(memory);
        self.changed.notify_waiters();
    }

    /// Forgets a task.
    pub(super) fn forget(&self, key: &str) -> Result<(), JournalError> {
        let mut memory = self.memory();
        memory.forget(&[key.to_owned()])
    }
}

impl<T: Tasks> Memory<T> {
    fn forget(&mut self, keys: &[String]) -> Result<(), JournalError> {
        self.tasks.forget(keys)?;
        for key in keys {
            let known = self.known.remove(key);
            self.done -= usize::from(known.is_some_and(|task| task.state == TaskState::Done));
        }
        Ok(())
    }

    /// Many at once: looking for the oldest reads all of them.
    fn shrink(&mut self) -> Result<(), JournalError> {
        if self.done <= KEPT + KEPT / 10 {
            return Ok(());
        }
        let done = self.known.values().filter(|task| task.state == TaskState::Done);
        let mut done: Vec<_> = done.map(|task| (task.updated, task.key.clone())).collect();
        done.sort_unstable();
        let old: Vec<_> = done.into_iter().take(self.done - KEPT).map(|(_, key)| key).collect();
        self.forget(&old)
    }
}
