//! Why a restore ended before its end, as named cases with data. Owns no exit code and no advice:
//! those belong to the command line.

use crate::catalog::CatalogError;
use crate::extract::SourceError;
use crate::journal::JournalError;
use crate::model::{DeltaDate, DeltaNum, IncrementId, Offset, Owner, Partition, TableName};

use super::choose::NoChoice;
use super::contents::Damage;
use super::dates::NoDate;
use super::rename::Ambiguous;
use super::replay::{NoOrder, NoReplay};

/// What is refused before anything is touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such topic.
    #[error("topic {topic} does not exist")]
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// Dates that the node would refuse.
    #[error(transparent)]
    Date(#[from] NoDate),
    /// A statement that cannot be renamed.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
    /// The target's log is not the beginning of the source's.
    #[error(transparent)]
    Replay(#[from] NoReplay),
    /// The target holds something already.
    #[error("the target is not empty: {what}")]
    NotEmpty {
        /// What it holds.
        what: String,
    },
    /// The target is not at the delta before the first one.
    #[error(
        "delta {first} is the first to be restored, but the target's newest is {}",
        .newest.map_or("none".to_owned(), |n| n.to_string())
    )]
    NotAt {
        /// The first delta to be restored.
        first: DeltaNum,
        /// The target's newest closed delta.
        newest: Option<DeltaNum>,
    },
    /// The target's newest delta is not the source's.
    #[error("delta {delta} of the target was closed at {target}, in the topic at {}",
        .topic.map_or("an unknown time".to_owned(), |date| date.to_string()))]
    OtherHistory {
        /// The delta.
        delta: DeltaNum,
        /// The target's date.
        target: DeltaDate,
        /// The topic's.
        topic: Option<DeltaDate>,
    },
    /// A delta is open in the target.
    #[error("delta {delta} is open in the target")]
    Hot {
        /// The delta.
        delta: DeltaNum,
    },
    /// A schema change of the target is not finished.
    #[error("schema change {num} of the target is not finished: {query}")]
    UnfinishedChange {
        /// Its number.
        num: u64,
        /// Its statement.
        query: String,
    },
    /// The source's tables lie in datasources that the target's node does not have.
    #[error("datasources {} are not active in the target", .0.join(", "))]
    Datasources(Vec<String>),
}

/// What was checked in the topic and found wanting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wanting {
    /// No increment can be chosen.
    #[error("{choice}{}", damaged(.damage))]
    Choice {
        /// Why.
        choice: NoChoice,
        /// Messages that cannot be used.
        damage: Vec<Damage>,
    },
    /// The order of changes and deltas cannot be told.
    #[error(transparent)]
    Order(#[from] NoOrder),
    /// The changelog of a delta is not the beginning of that of a later one, or has holes.
    #[error("the changelog of delta {delta} is not that of the later deltas")]
    Changelog {
        /// The delta.
        delta: DeltaNum,
    },
    /// A message that was not written so.
    #[error("partition {partition} offset {offset} (delta {delta}, table {table}): {reason}")]
    Damaged {
        /// Where.
        partition: Partition,
        /// Where in it.
        offset: Offset,
        /// The delta.
        delta: DeltaNum,
        /// The table.
        table: TableName,
        /// What is wrong.
        reason: String,
    },
    /// Rows of a table are missing.
    #[error("delta {delta}, table {table}: the topic gave {found} rows of {wanted}")]
    Lost {
        /// The delta.
        delta: DeltaNum,
        /// The table.
        table: TableName,
        /// Rows that were counted at first.
        wanted: u64,
        /// Rows now.
        found: u64,
    },
}

fn damaged(damage: &[Damage]) -> String {
    let text = |d: &Damage| {
        let Damage { partition, offset, delta, reason } = d;
        format!("; partition {partition} offset {offset} (delta {delta}): {reason}")
    };
    damage.iter().map(text).collect()
}

/// What a resume or a check finds to be otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// The increment chosen for a delta is not in the topic any more.
    #[error("increment {increment} of delta {delta} is not complete in the topic any more")]
    IncrementGone {
        /// The delta.
        delta: DeltaNum,
        /// The increment.
        increment: IncrementId,
    },
    /// The target's delta is not what this run made.
    #[error("delta {delta} of the target: {reason}")]
    Changed {
        /// The delta.
        delta: DeltaNum,
        /// What about it.
        reason: String,
    },
    /// The target's log is not the beginning of the source's any more.
    #[error(transparent)]
    Replay(#[from] NoReplay),
    /// What was loaded is not what was backed up.
    #[error("delta {delta}, table {table}: the sum is {found}, {wanted} in the backup")]
    Sums {
        /// The delta.
        delta: DeltaNum,
        /// The table.
        table: TableName,
        /// By the manifest.
        wanted: String,
        /// By the target.
        found: String,
    },
    /// A table that has rows in the delta does not exist in the target.
    #[error("delta {delta} has rows of table {table}, which the target does not have")]
    NoTable {
        /// The delta.
        delta: DeltaNum,
        /// The table.
        table: TableName,
    },
}

/// Who holds what this run needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Holder {
    /// Another run's marker.
    #[error("run {} works on the target (started {}, day {})", .0.run, .0.started, .0.day)]
    Run(Owner),
    /// A marker table that names no run.
    #[error("table deltakeep_owner exists in the target and names no run")]
    UnknownMarker,
    /// The marker vanished or changed while the run worked.
    #[error("the owner marker is not ours any more")]
    MarkerLost,
    /// A delta is open that this run did not begin.
    #[error("delta {0} is open in the target, and this run did not begin it")]
    Hot(DeltaNum),
}

/// Why a restore stopped.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Refused before anything was touched.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The topic is not whole.
    #[error(transparent)]
    Wanting(#[from] Wanting),
    /// The target's node, or the brokers of its load topics.
    #[error(transparent)]
    Target(#[from] SourceError),
    /// Reading the backup topic.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A resume cannot go on by itself.
    #[error(transparent)]
    Disagrees(#[from] Disagreement),
    /// Somebody else is at work.
    #[error(transparent)]
    Held(#[from] Holder),
    /// The node refuses a schema change of the source.
    #[error("change {num} cannot be replayed: {message}: {query}")]
    NotReplayable {
        /// Its number in the source: `--skipChange` takes it.
        num: u64,
        /// The statement as it was sent.
        query: String,
        /// What the node said.
        message: String,
    },
    /// Asked to stop.
    #[error("stopped by a signal")]
    Stopped,
    /// Ended in a way that none should.
    #[error("unexpected: {0}")]
    Unexpected(String),
    /// Not a failure: what is left must be decided anew.
    #[error("{0}")]
    Again(String),
}

impl Fault {
    /// True where looking at the target again and going on may cure it.
    pub fn can_reenter(&self) -> bool {
        match self {
            Self::Again(_) => true,
            Self::Catalog(error) => matches!(error, CatalogError::Unreachable { .. }),
            Self::Target(error) => {
                matches!(error, SourceError::Unreachable { .. } | SourceError::Brokers { .. })
            }
            _ => false,
        }
    }
}

/// How a restore ended that did not end well.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct RunError {
    /// Why.
    #[source]
    pub fault: Fault,
    /// False: nothing was touched, not even the journal.
    pub touched: bool,
    /// Every delta is closed and every change replayed; only what comes after failed.
    pub complete: bool,
    /// The marker, and perhaps a hot delta, may still be there.
    pub unreleased: bool,
}
