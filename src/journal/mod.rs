//! The journal: what a run has done, remembered across its deaths. Owns the trait and its error;
//! the records are in [`record`], [`restore_record`], [`drill_record`], [`operation`] and [`task`],
//! the store in `sled_store`. Never reads a clock.

pub mod drill_record;
pub mod envelope;
pub mod operation;
pub mod record;
pub mod restore_record;
pub mod sled_store;
pub mod task;

pub use drill_record::{DrillFact, DrillShape, Place};
pub use operation::{
    OnCluster, Operation, OperationEnd, OperationFailure, OperationKind, OperationSize,
    OperationStep, Operations, TableCheck,
};
pub use record::{Fact, Progress, Record, Saved, Shape, StreamKey, Tally};
pub use restore_record::{RestoreFact, RestoreShape};
pub use task::{QueueTask, TaskState, Tasks};

/// How the journal fails.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has the store open.
    #[error("the journal in {path} is in use{}", holder.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    InUse {
        /// The store's folder.
        path: std::path::PathBuf,
        /// The process, where its status file tells.
        holder: Option<u32>,
    },
    /// The store cannot be read; it was moved aside, never deleted.
    #[error("the journal in {path} is damaged ({reason})")]
    Damaged {
        /// The store's folder, or where it was moved to.
        path: std::path::PathBuf,
        /// What was found.
        reason: String,
    },
    /// Written by a later version of deltakeep.
    #[error("the journal in {path} has format {found}, this version knows up to {known}")]
    Newer {
        /// The store's folder.
        path: std::path::PathBuf,
        /// Its format.
        found: u16,
        /// Ours.
        known: u16,
    },
    /// The disk refuses.
    #[error("cannot write the journal in {path}: {reason}")]
    Disk {
        /// The store's folder.
        path: std::path::PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// Durable memory of one run at a time. One writer; reading happens once, at the start.
pub trait Journal: Send + 'static {
    /// Everything written by the run that is not ended; empty where there is none.
    fn saved(&self) -> Result<Saved, JournalError>;

    /// Writes all records or none, durable when it returns. What comes later never survives
    /// without what came before.
    fn write(&mut self, batch: &[Record]) -> Result<(), JournalError>;

    /// Forgets the run's records and keeps `summary` (JSON) as its memory among the ended runs.
    fn end(&mut self, summary: &str) -> Result<(), JournalError>;
}
