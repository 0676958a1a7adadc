//! The facts of a restore. They travel as one variant of [`super::Fact`], because a store holds
//! either kind of run and its bytes are the same format. Never changes a released meaning in
//! place: a new meaning is a new variant at the end.

use serde::{Deserialize, Serialize};

use crate::model::{AttemptName, DeltaDate, DeltaNum, IncrementId, Offset, Owner, TableName};

/// Settings that shape what a restore does; a resume takes them from here (D7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreShape {
    /// The datamart in the topic.
    pub source: String,
    /// The datamart to be filled.
    pub target: String,
    /// Loads at once.
    pub threads: u32,
    /// Partitions of a load topic.
    pub partitions: u32,
    /// `MESSAGE_LIMIT` of upload external tables.
    pub message_limit: Option<u32>,
    /// Datasource of all tables, where another one is asked for.
    pub datasource: Option<String>,
    /// Sums that differ are reported and not refused.
    pub accept_differences: bool,
}

/// A transition of a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestoreFact {
    /// The run exists. First record of every journal of a restore.
    Started {
        /// Who it is.
        owner: Owner,
        /// The backup topic.
        topic: String,
        /// What shapes it.
        shape: RestoreShape,
    },
    /// A delta to be restored: one record each, in order.
    DeltaChosen {
        /// The delta.
        delta: DeltaNum,
        /// The increment that stands for it.
        increment: IncrementId,
        /// The date it is committed with.
        date: DeltaDate,
    },
    /// The choice is whole: the deltas above it are all.
    Planned {
        /// By partition of the backup topic: nothing at or above is read.
        ends: Vec<Offset>,
        /// Changes that came after the last delta are replayed too.
        trailing: bool,
    },
    /// A change of the source that is not to be replayed (`--skipChange`).
    Skipped {
        /// Its number in the source.
        num: u64,
    },
    /// BEGIN DELTA may have been sent. Loads of the delta before this record count no more.
    DeltaBegun {
        /// The delta.
        delta: DeltaNum,
    },
    /// The hot delta is rolled back, or was never opened: one that is met is not ours.
    DeltaGivenUp {
        /// The delta.
        delta: DeltaNum,
    },
    /// A load topic and an upload external table of this name may exist from here on.
    LoadOpened {
        /// Both names.
        name: AttemptName,
        /// The delta.
        delta: DeltaNum,
        /// The table.
        table: TableName,
        /// The part of a pair with repeated keys, 0 where there are none.
        part: u8,
    },
    /// The load topic is sealed, and its INSERT may have been sent.
    LoadSent {
        /// The load.
        name: AttemptName,
        /// Messages in its topic.
        messages: u64,
        /// Rows in them.
        rows: u64,
    },
    /// The INSERT is done.
    LoadDone {
        /// The load.
        name: AttemptName,
    },
    /// The INSERT failed: it loaded nothing.
    LoadFailed {
        /// The load.
        name: AttemptName,
    },
    /// The load's topic and table are gone.
    LoadGone {
        /// The load.
        name: AttemptName,
    },
    /// COMMIT DELTA may have been sent.
    CommitIntended {
        /// The delta.
        delta: DeltaNum,
    },
    /// The delta is closed.
    DeltaDone {
        /// The delta.
        delta: DeltaNum,
    },
    /// Every delta is closed and every change replayed.
    Finished,
}
