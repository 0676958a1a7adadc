//! Backups of ClickHouse databases and tables into an object store, by ClickHouse's own BACKUP and
//! RESTORE. Owns the trait of the server and its error; [`BackupManager`] joins the rest. Never
//! moves a row itself and never keeps a key longer than a task needs it.

mod backup;
mod cluster;
pub mod decide;
pub mod failure;
pub mod json;
pub mod list;
mod look;
mod manager;
pub mod manifest;
pub mod name;
mod patience;
pub mod place;
mod preflight;
mod question;
pub mod report;
pub mod request;
mod restore;
mod secret;
pub mod server;
pub mod statement;
mod told;
mod waiting;
mod watch;

pub use failure::{Code, ServerError, TaskError};
pub use list::{Entry, Page, Query, Source, Status};
pub use manager::BackupManager;
pub use manifest::{Contents, Manifest};
pub use name::{Name, Object, OperationId};
pub use patience::Patience;
pub use place::{Collection, Place, Places};
pub use request::{Common, CreateBackup, Policy, RestoreBackup, Task};
pub use secret::{Keys, Secret};
pub use statement::{Command, Statement};
pub use told::entry_of;
pub use watch::{Alone, Watch};

use crate::journal::OperationSize;

/// How ClickHouse says that an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerStatus {
    /// CREATING_BACKUP
    CreatingBackup,
    /// BACKUP_CREATED
    BackupCreated,
    /// BACKUP_FAILED
    BackupFailed,
    /// RESTORING
    Restoring,
    /// RESTORED
    Restored,
    /// RESTORE_FAILED
    RestoreFailed,
    /// BACKUP_CANCELLED
    BackupCancelled,
    /// RESTORE_CANCELLED
    RestoreCancelled,
}

impl ServerStatus {
    /// By ClickHouse's own word.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "CREATING_BACKUP" => Self::CreatingBackup,
            "BACKUP_CREATED" => Self::BackupCreated,
            "BACKUP_FAILED" => Self::BackupFailed,
            "RESTORING" => Self::Restoring,
            "RESTORED" => Self::Restored,
            "RESTORE_FAILED" => Self::RestoreFailed,
            "BACKUP_CANCELLED" => Self::BackupCancelled,
            "RESTORE_CANCELLED" => Self::RestoreCancelled,
            _ => return None,
        })
    }

    /// Whether it works.
    pub fn is_running(self) -> bool {
        matches!(self, Self::CreatingBackup | Self::Restoring)
    }

    /// Whether it came to its end as asked.
    pub fn is_done(self) -> bool {
        matches!(self, Self::BackupCreated | Self::Restored)
    }

    /// Whether it is a RESTORE.
    pub fn is_restore(self) -> bool {
        use ServerStatus as S;
        matches!(self, S::Restoring | S::Restored | S::RestoreFailed | S::RestoreCancelled)
    }
}

/// A row of system.backups, or of system.backup_log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOperation {
    /// The id of the statement.
    pub id: String,
    /// The URL; nothing else of its name, which shows the access key.
    pub url: String,
    /// The query that began it.
    pub query: String,
    /// How it stands.
    pub status: ServerStatus,
    /// Its error, cut.
    pub error: String,
    /// When it began, milliseconds since 1970.
    pub started: i64,
    /// When it ended.
    pub ended: Option<i64>,
    /// How much is written or known.
    pub size: OperationSize,
    /// Bytes that a RESTORE has read.
    pub bytes_read: u64,
    /// Only the server's log tells of it: the server was restarted since, so what had not ended
    /// then has not ended at all.
    pub logged: bool,
}

/// A database on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseRow {
    /// Its name.
    pub name: Name,
    /// Its identity; it keeps it when it is renamed.
    pub uuid: String,
    /// Its engine.
    pub engine: String,
}

/// A table, view or dictionary on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRow {
    /// Its name.
    pub name: Name,
    /// Its identity.
    pub uuid: String,
    /// Its engine.
    pub engine: String,
    /// Rows, where the engine counts them.
    pub rows: Option<u64>,
    /// Bytes on disk, where the engine counts them.
    pub bytes: Option<u64>,
}

impl TableRow {
    /// Whether it holds rows of its own on disk, which CHECK TABLE can look at.
    pub fn holds_data(&self) -> bool {
        self.engine.ends_with("MergeTree")
            || matches!(self.engine.as_str(), "Log" | "TinyLog" | "StripeLog")
    }

    /// Whether it fires when others are inserted into.
    pub fn fires(&self) -> bool {
        self.engine == "MaterializedView"
    }
}

/// A ClickHouse server, as small as the manager needs it.
pub trait Server: Send + Sync {
    /// Carries a command out; a BACKUP or RESTORE is only begun.
    fn run(&self, command: Command<'_>) -> impl Future<Output = Result<(), ServerError>> + Send;

    /// All databases.
    fn databases(&self) -> impl Future<Output = Result<Vec<DatabaseRow>, ServerError>> + Send;

    /// What is in a database; nothing where there is none.
    fn tables(
        &self,
        database: &Name,
    ) -> impl Future<Output = Result<Vec<TableRow>, ServerError>> + Send;

    /// Databases of every host of a cluster; [`ServerError::Unreachable`] where one does not answer.
    fn databases_of(
        &self,
        cluster: &Name,
    ) -> impl Future<Output = Result<Vec<DatabaseRow>, ServerError>> + Send;

    /// What is in a database on every host of a cluster; [`ServerError::Unreachable`] where one does
    /// not answer.
    fn tables_of(
        &self,
        cluster: &Name,
        database: &Name,
    ) -> impl Future<Output = Result<Vec<TableRow>, ServerError>> + Send;

    /// Databases and tables whose names operations gave, of any journal.
    fn beside(&self) -> impl Future<Output = Result<Vec<Object>, ServerError>> + Send;

    /// Of these, the databases beside a database and the tables in it. Every backup waits for that.
    fn beside_of(
        &self,
        database: &Name,
    ) -> impl Future<Output = Result<Vec<Object>, ServerError>> + Send;

    /// The operation of this id, as far as the server remembers it; its log is not looked at.
    fn operation(
        &self,
        id: &str,
    ) -> impl Future<Output = Result<Option<ServerOperation>, ServerError>> + Send;

    /// What the server's log tells of the operation of this id, where it keeps a log.
    fn logged(
        &self,
        id: &str,
    ) -> impl Future<Output = Result<Option<ServerOperation>, ServerError>> + Send;

    /// A number that grows while the statement of this query works; none where no statement works.
    fn movement(
        &self,
        query: &str,
    ) -> impl Future<Output = Result<Option<u64>, ServerError>> + Send;

    /// The newest operations that the server remembers or has in its log, at most so many.
    fn operations(
        &self,
        most: usize,
    ) -> impl Future<Output = Result<Vec<ServerOperation>, ServerError>> + Send;

    /// What lies at a place of an object store.
    fn contents(
        &self,
        place: &Place,
        keys: Option<&Keys>,
    ) -> impl Future<Output = Result<Contents, ServerError>> + Send;

    /// Whether a table's data are whole.
    fn check(
        &self,
        database: &Name,
        table: &Name,
    ) -> impl Future<Output = Result<bool, ServerError>> + Send;
}
