//! What a restore tells those who watch it. Owns the events; never prints.

use crate::journal::RestoreShape;
use crate::model::{DeltaDate, DeltaNum, RunId, TableName};

/// Something a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The run begins, or goes on.
    Started {
        /// Which run.
        run: RunId,
        /// It was begun before.
        resumed: bool,
        /// What shapes it.
        shape: RestoreShape,
    },
    /// The topic is being read to know what it holds.
    TopicRead {
        /// How much of it was read.
        percent: u8,
    },
    /// The deltas to restore.
    Range {
        /// All of them, in order.
        deltas: Vec<DeltaNum>,
        /// How many of them are done already.
        done: usize,
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
    /// What is left of a delta is known.
    Loading {
        /// The delta.
        delta: DeltaNum,
        /// Loads to be made.
        loads: usize,
    },
    /// A load topic is filled and sealed.
    Filled(Amount),
    /// The node begins to load it.
    LoadBegun(Amount),
    /// It is loaded.
    Loaded(Amount),
    /// A hot delta was rolled back.
    RolledBack {
        /// Which.
        delta: DeltaNum,
    },
    /// A delta is closed.
    DeltaRestored {
        /// Which.
        delta: DeltaNum,
        /// The date it was committed with.
        date: DeltaDate,
    },
    /// Something the operator should know.
    Warning {
        /// What.
        text: String,
    },
}

/// What a load amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    /// The delta.
    pub delta: DeltaNum,
    /// The table.
    pub table: TableName,
    /// The part of a pair with repeated keys; 0 where there are none.
    pub part: u8,
    /// Rows.
    pub rows: u64,
    /// Bytes of the bodies.
    pub bytes: u64,
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
