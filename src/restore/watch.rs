//! What a restore tells those who watch it. Owns the events; never prints.

use crate::model::{DeltaNum, RunId, TableName};

/// Something a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The run begins, or goes on.
    Started {
        /// Which run.
        run: RunId,
        /// It was begun before.
        resumed: bool,
    },
    /// The deltas to restore.
    Range {
        /// All of them, in order.
        deltas: Vec<DeltaNum>,
    },
    /// A schema change was replayed.
    Replayed {
        /// Its number in the source.
        num: u64,
        /// The statement.
        query: String,
    },
    /// A delta is open.
    DeltaBegun {
        /// Which.
        delta: DeltaNum,
    },
    /// A load topic is filled.
    Filled {
        /// The delta.
        delta: DeltaNum,
        /// The table.
        table: TableName,
        /// Rows in it.
        rows: u64,
    },
    /// A load is done.
    Loaded {
        /// The delta.
        delta: DeltaNum,
        /// The table.
        table: TableName,
        /// Its rows.
        rows: u64,
    },
    /// A hot delta was rolled back.
    RolledBack {
        /// Which.
        delta: DeltaNum,
    },
    /// A delta is closed.
    DeltaRestored {
        /// Which.
        delta: DeltaNum,
    },
    /// Something the operator should know.
    Warning {
        /// What.
        text: String,
    },
}

/// Who watches.
pub trait Watch: Send + Sync {
    /// Takes an event in. Must not wait.
    fn tell(&self, event: Event);
}

/// Nobody watches.
pub struct Unwatched;

impl Watch for Unwatched {
    fn tell(&self, _event: Event) {}
}
