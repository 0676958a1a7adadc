//! What a worker did and does, as numbers. Owns no name of a metric.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ended tasks by type and outcome: `succeeded` or the code of the error. A type that is not
    /// known counts as `unknown`.
    pub tasks: BTreeMap<(String, String), u64>,
    /// Tasks that are worked on now, by type.
    pub running: BTreeMap<String, u64>,
    /// Final replies that are written and not confirmed.
    pub unsent: u64,
    /// Messages that were sent to where unreadable ones are kept.
    pub dead: u64,
    /// Tasks that were sent back because a limit was reached.
    pub later: u64,
    /// When the last task ended, milliseconds since 1970.
    pub last: Option<i64>,
}

/// Counts while the worker works.
#[derive(Default)]
pub(super) struct Meter(Mutex<Counts>);

impl Meter {
    /// A snapshot.
    pub(super) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// Counts something.
    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock());
    }

    /// A task ended.
    pub(super) fn ended(&self, kind: Option<&str>, outcome: &str, now: i64) {
        let kind = kind.unwrap_or("unknown").to_owned();
        self.count(|counts| {
            *counts.tasks.entry((kind, outcome.to_owned())).or_default() += 1;
            counts.last = Some(now);
        });
    }

    /// A task is worked on until what is returned is dropped.
    pub(super) fn running(&self, kind: &str) -> Running<'_> {
        self.count(|counts| *counts.running.entry(kind.to_owned()).or_default() += 1);
        Running { meter: self, kind: kind.to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that is worked on.
pub(super) struct Running<'a> {
    meter: &'a Meter,
    kind: String,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.meter.count(|counts| {
            if let Some(number) = counts.running.get_mut(&self.kind) {
                *number -= 1;
            }
        });
    }
}
