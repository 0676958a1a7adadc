//! A ClickHouse server in memory that behaves as the real one was measured to (docs/clickhouse.md):
//! ids are good for one statement, a restart empties system.backups, a failed RESTORE leaves a part
//! of the database, and a view of a database that was moved fires again after a restart.

mod cluster;
mod journal;
mod server;
mod world;

pub use journal::MemoryOperations;
pub use server::MemoryServer;
pub use world::{Db, Faults, Tbl, World};
