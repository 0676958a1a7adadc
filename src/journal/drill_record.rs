//! The facts of a drill: what it did with its scratch datamart, how long the recovery took, what
//! was compared. They travel as one variant of [`super::Fact`], among the facts of the restore
//! that the drill makes. Never changes a released meaning in place: a new meaning is a new variant
//! at the end.

use serde::{Deserialize, Serialize};

use crate::model::{DeltaDate, DeltaNum, Moment, Offset, Owner, Partition, TableName};

use super::restore_record::RestoreShape;

/// A datamart on a node, as it was named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// host:port
    pub node: String,
    /// The datamart.
    pub datamart: String,
}

/// Settings that shape a drill; a resume takes them from here (D7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillShape {
    /// What was backed up: the live datamart.
    pub source: Place,
    /// What is filled, compared and dropped.
    pub scratch: Place,
    /// The scratch stays.
    pub keep: bool,
    /// Folder of the reports.
    pub report: Option<String>,
    /// What shapes the restore.
    pub restore: RestoreShape,
}

/// What took time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Doing {
    /// A delta, from its BEGIN to its COMMIT.
    Delta,
    /// The messages of a table went into its load topic.
    Fill,
    /// The node loaded them.
    Load,
    /// A delta that was rolled back.
    RolledBack,
}

/// Something of the recovery that began and ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// What.
    pub doing: Doing,
    /// Of which delta.
    pub delta: DeltaNum,
    /// Of which table; none where it is about the whole delta.
    pub table: Option<TableName>,
    /// When it began.
    pub from: Moment,
    /// When it ended.
    pub to: Moment,
    /// Rows that were moved.
    pub rows: u64,
    /// Bytes of their messages.
    pub bytes: u64,
}

/// Why the restore of a drill did not come to its end: the backup is wanting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// What happened.
    pub text: String,
    /// The delta, where one can be named.
    pub delta: Option<DeltaNum>,
    /// The table, where one can be named.
    pub table: Option<TableName>,
    /// The message in the topic, where one can be named.
    pub message: Option<(Partition, Offset)>,
}

/// What somebody said of a sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// The sum.
    Sum(String),
    /// There is no such delta.
    NoDelta,
    /// The table is not there any more: a later change dropped it or made it again.
    NoTable,
    /// There is no sum: none was written, or the node cannot compute it.
    NoSum,
    /// The node refuses the question.
    Refused(String),
}

/// One kind of sum, by everybody who can say something of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// The increment's manifest.
    pub manifest: Told,
    /// The scratch datamart.
    pub scratch: Told,
    /// The live source.
    pub source: Told,
}

/// One (delta, table), compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairCompared {
    /// The table.
    pub table: TableName,
    /// Rows that the increment adds and removes.
    pub rows: u64,
    /// CHECK_SUM has to be equal, too; false where a key may have had several versions (D4.13).
    pub exact: bool,
    /// CHECK_SUM.
    pub changes: Sums,
    /// CHECK_SUM_SNAPSHOT.
    pub snapshot: Sums,
}

/// A transition of a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrillFact {
    /// The drill exists. First record of its journal.
    Started {
        /// Who it is; the scratch's marker names it, and the restore goes under the same name.
        owner: Owner,
        /// The backup topic.
        topic: String,
        /// What shapes it.
        shape: Box<DrillShape>,
        /// When.
        at: Moment,
    },
    /// A further execution.
    Resumed {
        /// When.
        at: Moment,
    },
    /// The scratch was seen absent; CREATE DATABASE may have been sent.
    ScratchIntended,
    /// The scratch carries the marker of this drill; the recovery begins.
    ScratchOwned {
        /// When.
        at: Moment,
    },
    /// The scratch was lost or was not as it was left: all of it is made again. Facts of the
    /// restore and of the comparison before this one count no more.
    StartedOver,
    /// Something of the recovery ended.
    Spent(Span),
    /// The restore ended: everything asked is there, or the backup is wanting.
    Restored {
        /// When.
        at: Moment,
        /// Why not everything is there.
        failing: Option<Failing>,
    },
    /// The names of tables and views were compared.
    EntitiesCompared {
        /// By the changelog of the backup.
        backup: Vec<String>,
        /// In the scratch, without what a run leaves there.
        scratch: Vec<String>,
        /// By the changelog of the live source.
        source: Vec<String>,
    },
    /// The pairs of a delta were compared.
    DeltaCompared {
        /// The delta.
        delta: DeltaNum,
        /// When it was closed, by the backup.
        backup: DeltaDate,
        /// In the scratch; none where it is not closed there.
        scratch: Option<DeltaDate>,
        /// In the live source; none where it is not closed there.
        source: Option<DeltaDate>,
        /// Its tables.
        pairs: Vec<PairCompared>,
    },
    /// Everything is compared.
    Compared {
        /// When.
        at: Moment,
        /// The newest closed delta of the live source.
        newest: Option<(DeltaNum, DeltaDate)>,
    },
    /// DROP DATABASE may have been sent.
    DropIntended,
    /// The scratch is gone, or is left as it was asked.
    ScratchDone {
        /// When.
        at: Moment,
        /// True where it was dropped.
        dropped: bool,
    },
}
