//! Where increments come from: the node of a datamart ([`Node`]) and the unloads it makes
//! ([`Source`]). Owns the two traits; never names a protocol, a broker or a staging topic's home.

mod arrival;
pub mod prostore;
pub mod source;
pub mod sql;
pub mod staging;
pub mod zookeeper;

use std::future::Future;

use crate::model::{
    Attempt, AttemptName, ChangeLog, Datasource, Delta, DeltaNum, LockCode, Owner, Part, Partition,
    RunId, Table,
};

/// What a node or its unloads refuse or fail at.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The node cannot be reached, or the connection broke before an answer.
    #[error("node {node} is unreachable: {reason}")]
    Unreachable {
        /// host:port
        node: String,
        /// What the connection said.
        reason: String,
    },
    /// The node answered a statement with an error.
    #[error("node refused {statement}: {message}")]
    Refused {
        /// The statement, shortened.
        statement: String,
        /// The node's own text.
        message: String,
    },
    /// The node answered an unload with an error after its connector had written a part of it, or
    /// because a message is too large: fewer rows per message may cure it (D5, recording 19).
    #[error("node refused {statement} half way: {message}")]
    CutShort {
        /// The statement, shortened.
        statement: String,
        /// The node's own text.
        message: String,
    },
    /// The token is missing, wrong or not enough.
    #[error("node denies access to {statement}: {message}")]
    NoRights {
        /// The statement, shortened.
        statement: String,
        /// The node's own text.
        message: String,
    },
    /// The datamart does not exist on the node.
    #[error("datamart {datamart} does not exist on the node")]
    NoDatamart {
        /// The datamart asked for.
        datamart: String,
    },
    /// The node does not take the statement of a part at all (D4.13), however often it is asked.
    #[error("node does not take {statement}: {message}")]
    PartRefused {
        /// The statement, shortened.
        statement: String,
        /// The node's own text.
        message: String,
    },
    /// The node's answer has not the documented shape.
    #[error("node answered {statement} in an unknown form: {reason}")]
    Unreadable {
        /// The statement, shortened.
        statement: String,
        /// Which field disagrees.
        reason: String,
    },
    /// An unload did not grow for so long that it is given up (D4.12).
    #[error("unload {attempt} stood still for {seconds} s")]
    Stalled {
        /// The attempt given up.
        attempt: AttemptName,
        /// How long nothing came.
        seconds: u64,
    },
    /// A sealed staging topic no longer holds what was sealed.
    #[error("staging topic {attempt} partition {partition} lost offsets below {end}")]
    StagingLost {
        /// The attempt.
        attempt: AttemptName,
        /// The partition.
        partition: Partition,
        /// Its sealed end.
        end: u64,
    },
    /// A message in a staging topic is not what a connector writes.
    #[error("staging topic {attempt} partition {partition} offset {offset}: {reason}")]
    BadChunk {
        /// The attempt.
        attempt: AttemptName,
        /// The partition.
        partition: Partition,
        /// The offset.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The brokers of the staging and load topics fail.
    #[error("brokers of the node: {reason}")]
    Brokers {
        /// What they said.
        reason: String,
    },
}

/// Answer to DENY_CHANGES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deny {
    /// Changes are denied now, by us.
    Done,
    /// Somebody (perhaps we ourselves) denied them before, or a DDL runs.
    Blocked,
}

/// Answer to ALLOW_CHANGES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allow {
    /// The lock had this code and is gone.
    Done,
    /// There was no lock.
    NotBlocked,
    /// The lock has another code.
    WrongCode,
    /// The lock belongs to a running or unfinished DDL.
    Blocked,
}

/// Answer to the creation of the owner marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The marker is there and ours.
    Done,
    /// A marker was there before: read whose.
    Exists,
}

/// What the marker table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// No such table.
    Absent,
    /// The owner's columns.
    Of(Owner),
    /// A table of that name whose columns name no owner.
    Foreign,
}

/// The tables of a datamart that hold data of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Logical tables, in the node's order.
    pub tables: Vec<Table>,
    /// Views, materialized ones among them: their statements are backed up, their rows are not.
    pub views: Vec<String>,
    /// Entities of a type this version does not know: reported, never skipped in silence (D4.4).
    pub unknown: Vec<String>,
}

/// Sums of one (delta, table) as the node computes them (PROSTORE.md 2.9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// CHECK_SUM; none where the node cannot say (datasources differ).
    pub changes: Option<String>,
    /// CHECK_SUM_SNAPSHOT; none where the node cannot say.
    pub snapshot: Option<String>,
}

/// Something to be counted in a (delta, table), to know whether and how its keys repeat (D4.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Count {
    /// Rows added.
    Started,
    /// Rows removed.
    Finished,
    /// Different keys among both.
    Keys,
    /// Different keys among the rows added that are there at the delta's end.
    Alive,
    /// Different keys among the rows added that are not there at the delta's end.
    Dead,
    /// Those of them of which an older row was removed as well.
    Replaced,
}

/// One datamart on a node: its deltas, its changelog, its lock.
///
/// Every method is one or two statements; none of them waits for the lock of others.
pub trait Node: Send + Sync + 'static {
    /// The newest closed delta by GET_DELTA_OK; it can be stale (D4.3).
    fn last_delta(&self) -> impl Future<Output = Result<Option<Delta>, SourceError>> + Send;

    /// A delta by number; none where the node says "Delta not exist".
    fn delta(
        &self,
        num: DeltaNum,
    ) -> impl Future<Output = Result<Option<Delta>, SourceError>> + Send;

    /// The whole changelog, the unfinished record included.
    fn changes(&self) -> impl Future<Output = Result<ChangeLog, SourceError>> + Send;

    /// Logical tables with their columns and datasources.
    fn tables(&self) -> impl Future<Output = Result<Tables, SourceError>> + Send;

    /// Version of the node, as it names itself.
    fn version(&self) -> impl Future<Output = Result<String, SourceError>> + Send;

    /// The datasource that the node itself would read a (delta, table) from (ESTIMATE_ONLY, D4.4);
    /// none where it cannot say.
    fn preferred(
        &self,
        delta: DeltaNum,
        table: &Table,
    ) -> impl Future<Output = Result<Option<Datasource>, SourceError>> + Send;

    /// Counts rows or keys of a (delta, table) in one datasource; none where the node refuses the
    /// question.
    fn count(
        &self,
        delta: DeltaNum,
        table: &Table,
        datasource: Option<&Datasource>,
        what: Count,
    ) -> impl Future<Output = Result<Option<u64>, SourceError>> + Send;

    /// CHECK_SUM of a whole delta; none where the node cannot say.
    fn delta_sum(
        &self,
        delta: DeltaNum,
    ) -> impl Future<Output = Result<Option<String>, SourceError>> + Send;

    /// CHECK_SUM and, where `snapshot` and there are changes, CHECK_SUM_SNAPSHOT of a table over
    /// `columns`.
    fn table_sums(
        &self,
        delta: DeltaNum,
        table: &Table,
        columns: &[String],
        snapshot: bool,
    ) -> impl Future<Output = Result<Sums, SourceError>> + Send;

    /// DENY_CHANGES with this code.
    fn deny(&self, code: &LockCode) -> impl Future<Output = Result<Deny, SourceError>> + Send;

    /// ALLOW_CHANGES with this code.
    fn allow(&self, code: &LockCode) -> impl Future<Output = Result<Allow, SourceError>> + Send;

    /// Who marked the datamart, if anybody.
    fn marker(&self) -> impl Future<Output = Result<Marker, SourceError>> + Send;

    /// Marks the datamart as ours.
    fn mark(&self, owner: &Owner) -> impl Future<Output = Result<Mark, SourceError>> + Send;

    /// Removes the marker; none there is as good.
    fn unmark(&self) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// Steps of an unload, told as they are taken so that they can be printed in the seed's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnloadStep {
    /// The staging topic is there.
    TopicCreated {
        /// Its partitions.
        partitions: u32,
    },
    /// The download external table is there.
    TableCreated,
    /// A half of the increment was unloaded.
    Inserted {
        /// Which half.
        half: Half,
    },
    /// The external table is gone again.
    TableDropped,
}

/// The two halves of an increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Half {
    /// `STARTED IN (n,n)`, `sys_op` 0.
    Added,
    /// `FINISHED IN (n,n)`, `sys_op` 1.
    Removed,
}

impl Half {
    /// The half that a part's rows belong to.
    pub fn of(part: Part) -> Self {
        match part {
            Part::Dead | Part::Alive => Self::Added,
            Part::Removed => Self::Removed,
        }
    }
}

/// What one statement of an unload asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// One half.
    Half(Half),
    /// One part of a pair with repeated keys.
    Part(Part),
}

impl Rows {
    /// The half that the rows belong to.
    pub fn half(self) -> Half {
        match self {
            Self::Half(half) => half,
            Self::Part(part) => Half::of(part),
        }
    }
}

/// End of each partition of a staging topic once its unload is complete. Nothing is delivered
/// before it is known and nothing beyond it is ever read (D4.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// By partition: number of messages.
    pub ends: Vec<u64>,
}

/// A message of a staging topic, its key already read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedChunk {
    /// Its offset in the staging partition.
    pub offset: u64,
    /// Which half it belongs to.
    pub half: Half,
    /// The connector's stream number, from 0 or 1.
    pub stream: u32,
    /// How many streams the connector says there are.
    pub stream_total: u32,
    /// The connector's chunk number, from 1.
    pub chunk: u32,
    /// The connector's last-chunk flag, which proves nothing by itself (D4.8).
    pub is_last: bool,
    /// The container, as the connector wrote it.
    pub body: Vec<u8>,
}

/// What became of an attempt's leavings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// External table and staging topic are gone.
    Gone,
    /// The topic still grows: a connector that nobody can stop writes to it (D4.12).
    Quarantined,
}

/// Reads the sealed chunks of one staging partition, in order.
pub trait ChunkReader: Send {
    /// The next chunk below the seal; none after the last.
    fn next(&mut self) -> impl Future<Output = Result<Option<StagedChunk>, SourceError>> + Send;
}

/// Unloads of a datamart. An attempt is opened, sealed, and then read as often as needed by
/// position.
pub trait Source: Send + Sync + 'static {
    /// Reader of one sealed partition.
    type Reader: ChunkReader;

    /// Makes the staging topic and the external table, unloads both halves, drops the table, and
    /// returns the seal. `columns` of `table` are declared nullable, `sys_op` last (D4.6).
    ///
    /// # Errors
    /// Any; what was made until then is left for [`Source::discard`].
    fn unload(
        &self,
        attempt: &Attempt,
        table: &Table,
        tell: &(dyn Fn(UnloadStep) + Send + Sync),
    ) -> impl Future<Output = Result<Seal, SourceError>> + Send;

    /// As [`Source::unload`], for one part of a pair with repeated keys (D4.13).
    ///
    /// # Errors
    /// [`SourceError::PartRefused`] where there can be no such part; others as of any unload.
    fn unload_part(
        &self,
        attempt: &Attempt,
        table: &Table,
        part: Part,
        tell: &(dyn Fn(UnloadStep) + Send + Sync),
    ) -> impl Future<Output = Result<Seal, SourceError>> + Send;

    /// How many rows a half of a (delta, table) has in this datasource: what an unload would bring.
    fn rows(
        &self,
        delta: DeltaNum,
        table: &Table,
        datasource: Option<&Datasource>,
        half: Half,
    ) -> impl Future<Output = Result<u64, SourceError>> + Send;

    /// Opens a sealed partition for reading from `from` (an offset) up to `end`.
    fn read(
        &self,
        attempt: &Attempt,
        partition: Partition,
        from: u64,
        end: u64,
    ) -> impl Future<Output = Result<Self::Reader, SourceError>> + Send;

    /// Drops the external table and the staging topic of an attempt; absent ones are gone already.
    /// `answered` is false for an attempt whose unload never answered: its topic is deleted only
    /// once it is quiet (D4.12).
    fn discard(
        &self,
        name: &AttemptName,
        answered: bool,
    ) -> impl Future<Output = Result<Discard, SourceError>> + Send;

    /// Names of staging topics and external tables on the node and its brokers that carry this
    /// run's prefix.
    fn leftovers(
        &self,
        run: RunId,
    ) -> impl Future<Output = Result<Vec<AttemptName>, SourceError>> + Send;
}
