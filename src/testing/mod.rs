//! Worlds in memory for the core's tests: a node, its unloads, a backup topic with transactions,
//! a journal, and a fuse that stops a run at any effect. Compiled always because integration tests
//! cannot see `cfg(test)`; no part of the product uses it.

#[cfg(feature = "clickhouse")]
pub mod clickhouse;
mod drill;
mod fuse;
mod journal;
mod node;
#[cfg(feature = "queue")]
pub mod queue;
mod rows;
mod store;
mod target;
mod topic;
mod unload;
mod world;

pub use drill::{DrillWorld, MemoryReports};
pub use fuse::Fuse;
pub use journal::MemoryJournal;
pub use rows::{TestRow, read_rows, staging_body};
pub use store::{Store, Version};
pub use target::{Intruder, MemoryTarget, RestoreWorld, TargetFaults, table};
pub use topic::Stored;
pub use world::{Faults, Inner, Memory, MemoryWorld};
