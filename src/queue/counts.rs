//! What a worker did and does, as numbers. Owns no name of a metric.

use std::collections::BTreeMap;

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
