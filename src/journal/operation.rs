//! What is remembered of a ClickHouse operation: one record, overwritten before each step is taken.
//! Never holds a secret. Variants and fields are only appended.

use serde::{Deserialize, Serialize};

use super::JournalError;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationKind {
    /// BACKUP
    Backup,
    /// RESTORE
    Restore,
}

/// How far it came. A step is written before it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationStep {
    /// Taken on; nothing was touched.
    Planned,
    /// The database is being moved aside.
    Aside,
    /// The statement of the journalled attempt is being sent, or works.
    Submitting,
    /// The restored table is being put in its place.
    Placing,
    /// What was there before is being dropped.
    Cleaning,
    /// Everything is being put back.
    RollingBack,
    /// At its end.
    Ended,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationEnd {
    /// As asked.
    Succeeded,
    /// Not as asked; nothing that was there before is touched.
    Failed,
    /// Not as asked; what was moved is back.
    RolledBack,
    /// Somebody cancelled it.
    Cancelled,
    /// Nobody can tell.
    Unknown,
}

/// Why it did not end as asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationFailure {
    /// The code of the reply.
    pub code: String,
    /// The text of the reply.
    pub message: String,
    /// ClickHouse's number.
    pub clickhouse_code: Option<i32>,
}

/// A table after a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCheck {
    /// Its name.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Its bytes on the server's disk.
    pub bytes: u64,
    /// What CHECK TABLE said.
    pub passed: bool,
}

/// How much was written or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationSize {
    /// Files of the backup.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that the store was given.
    pub bytes_stored: u64,
}

/// What is remembered of an operation on a whole cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnCluster {
    /// The cluster.
    pub name: String,
    /// UUIDs that the restored table has on its hosts, once it is there.
    pub fresh: Vec<String>,
}

/// Everything about one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// What it does.
    pub kind: OperationKind,
    /// Hash of what was asked, without secrets.
    pub fingerprint: [u8; 32],
    /// The database that is backed up or filled.
    pub database: String,
    /// The table, where one is meant.
    pub table: Option<String>,
    /// The database's name in the backup, of a restore.
    pub source_database: Option<String>,
    /// The table's name in the backup.
    pub source_table: Option<String>,
    /// Where the backup lies.
    pub path: String,
    /// Where it lies, as ClickHouse is told; no secret is in it.
    pub url: String,
    /// Whether what is there may be replaced.
    pub overwrite: bool,
    /// Whether the restored tables are checked: not where only definitions are restored.
    pub check: bool,
    /// Number of the last statement that was sent, from 1; 0 where none was.
    pub attempt: u32,
    /// How far it came.
    pub step: OperationStep,
    /// UUID of what was at the target's place; none where nothing was.
    pub old: Option<String>,
    /// UUID of the restored table.
    pub fresh: Option<String>,
    /// Materialized views of the database that is moved aside: they must not fire there.
    pub views: Vec<String>,
    /// Whether the task belongs to whoever has this journal, and to no queue any more.
    pub owned: bool,
    /// When it was taken on, milliseconds since 1970.
    pub created: i64,
    /// When it was last written.
    pub updated: i64,
    /// When it ended.
    pub ended: Option<i64>,
    /// How much.
    pub size: OperationSize,
    /// What was checked.
    pub checks: Vec<TableCheck>,
    /// Why it failed, or why it is being rolled back.
    pub failure: Option<OperationFailure>,
    /// How it ended.
    pub end: Option<OperationEnd>,
    /// The cluster, where one is meant. Written beside the rest: stores have operations without it.
    #[serde(skip)]
    pub cluster: Option<OnCluster>,
}

/// Durable memory of operations. One writer.
pub trait Operations: Send + 'static {
    /// Every operation that is remembered.
    ///
    /// # Errors
    /// [`JournalError`].
    fn all(&self) -> Result<Vec<Operation>, JournalError>;

    /// Writes an operation over what was known of it, durable when it returns.
    ///
    /// # Errors
    /// [`JournalError`].
    fn put(&mut self, operation: &Operation) -> Result<(), JournalError>;

    /// As [`Self::put`], but durable only with what is written durably next in the same store, an
    /// operation or a task.
    ///
    /// # Errors
    /// [`JournalError`].
    fn note(&mut self, operation: &Operation) -> Result<(), JournalError> {
        self.put(operation)
    }

    /// Forgets operations.
    ///
    /// # Errors
    /// [`JournalError`].
    fn forget(&mut self, ids: &[String]) -> Result<(), JournalError>;
}
