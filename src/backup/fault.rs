//! Why a run ended before its end, as named cases with data. Owns no exit code and no advice:
//! those belong to the command line.

use crate::catalog::CatalogError;
use crate::deliver::SinkError;
use crate::extract::SourceError;
use crate::journal::JournalError;
use crate::model::{DeltaNum, LockCode, Offset, Owner, Partition, TableName};
use crate::plan::{NoRange, NotInDatasource, OtherHistory};

use super::tail::Twice;

/// Where in the work something happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The delta, once one is worked on.
    pub delta: Option<DeltaNum>,
    /// The table.
    pub table: Option<TableName>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.delta, &self.table) {
            (Some(delta), Some(table)) => write!(f, "delta {delta}, table {table}: "),
            (Some(delta), None) => write!(f, "delta {delta}: "),
            _ => Ok(()),
        }
    }
}

/// What is refused before anything is touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The node holds an unfinished schema change.
    #[error("schema change {num} is not finished: {query}")]
    UnfinishedChange {
        /// Its number in the changelog.
        num: u64,
        /// Its statement.
        query: String,
    },
    /// No such range.
    #[error(transparent)]
    Range(#[from] NoRange),
    /// Tables outside the asked datasource.
    #[error(transparent)]
    Datasource(#[from] NotInDatasource),
    /// The topic belongs to another history.
    #[error("the topic holds another history of the datamart: {0}")]
    History(#[from] OtherHistory),
    /// The topic is compacted: increments would lose messages.
    #[error("topic {topic} has cleanup.policy={policy}, which would lose messages of increments")]
    Compacted {
        /// The topic.
        topic: String,
        /// Its policy.
        policy: String,
    },
}

/// What a resume finds changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// The changelog's first records are not those of the plan.
    #[error("the first {count} records of the changelog are not those that the run was planned on")]
    Changelog {
        /// How many were compared.
        count: usize,
    },
    /// A table still to be unloaded was dropped or created again.
    #[error("table {table} of the plan was changed meanwhile: {query}")]
    TableChanged {
        /// The table.
        table: TableName,
        /// The statement.
        query: String,
    },
    /// A delta of the plan has another date now.
    #[error(transparent)]
    History(#[from] OtherHistory),
    /// The message at a journalled position is not the one that was delivered there.
    #[error("partition {partition} offset {offset} holds another message than was delivered there")]
    Position {
        /// The partition.
        partition: Partition,
        /// The offset.
        offset: Offset,
    },
    /// The backup topic has other partitions than the run began with.
    #[error("the topic has {found} partitions, the run began with {planned}")]
    Partitions {
        /// In the journal.
        planned: u32,
        /// Now.
        found: u32,
    },
    /// The backup topic is gone.
    #[error("topic {topic} does not exist any more")]
    TopicGone {
        /// Its name.
        topic: String,
    },
    /// A chunk stands twice and differs.
    #[error(transparent)]
    Twice(#[from] Box<Twice>),
    /// The unloaded columns are not the table's.
    #[error("{0}")]
    Schema(String),
}

/// Who holds what this run needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Holder {
    /// Another run's marker.
    #[error("run {} works on the datamart (started {}, day {})", .0.run, .0.started, .0.day)]
    Run(Owner),
    /// A marker table that names no run.
    #[error("table deltakeep_owner exists in the datamart and names no run")]
    UnknownMarker,
    /// The lock is closed by somebody without a marker.
    #[error("changes are denied by somebody else (our code would be {code})")]
    Lock {
        /// Our code word.
        code: LockCode,
    },
    /// The marker vanished or changed while the run worked.
    #[error("the owner marker is not ours any more")]
    MarkerLost,
}

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Refused before anything was touched.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The node or an unload.
    #[error("{at}{source}")]
    Source {
        /// Where.
        at: Place,
        /// What.
        source: SourceError,
    },
    /// Delivery.
    #[error(transparent)]
    Sink(#[from] SinkError),
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
    /// Asked to stop.
    #[error("stopped by a signal")]
    Stopped,
    /// Every attempt to unload a pair failed.
    #[error("{at}{attempts} unloads failed, the last one: {last}")]
    GaveUp {
        /// Which pair.
        at: Place,
        /// How many.
        attempts: u32,
        /// The last failure.
        last: String,
    },
    /// A worker ended in a way that none should.
    #[error("unexpected: {0}")]
    Unexpected(String),
    /// Not a failure: what is left must be decided anew, from the journal and the topic.
    #[error("{0}")]
    Again(String),
}

impl From<SourceError> for Fault {
    fn from(source: SourceError) -> Self {
        Self::Source { at: Place::default(), source }
    }
}

impl Fault {
    /// True where reading the topic again and going on may cure it (D5, `kafkaRetries`).
    pub fn can_reenter(&self) -> bool {
        match self {
            Self::Again(_) | Self::Sink(SinkError::Interrupted { .. }) => true,
            Self::Catalog(error) => matches!(error, CatalogError::Unreachable { .. }),
            Self::Source { source, .. } => matches!(source, SourceError::Brokers { .. }),
            _ => false,
        }
    }

    /// Names the place of a failure of the node.
    #[must_use]
    pub fn at(self, delta: DeltaNum, table: Option<&TableName>) -> Self {
        match self {
            Self::Source { source, .. } => {
                Self::Source { at: Place { delta: Some(delta), table: table.cloned() }, source }
            }
            other => other,
        }
    }
}

/// How a run ended that did not end well.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct RunError {
    /// Why.
    #[source]
    pub fault: Fault,
    /// False: nothing was touched, not even the journal.
    pub touched: bool,
    /// Everything asked is in the topic; only what comes after failed.
    pub complete: bool,
    /// Set where the lock or marker may still be there: the code word to release it by.
    pub unreleased: Option<LockCode>,
}
