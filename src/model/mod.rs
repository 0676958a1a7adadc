//! The vocabulary: plain values that every stage speaks in. Owns no I/O, no file format, no clock.

mod change;
mod delta;
mod ids;
mod key;
mod lock_code;
mod owner;
mod part;
mod table;

pub use change::{Change, ChangeLog};
pub use delta::Delta;
pub use ids::{
    Attempt, AttemptName, ChunkNumber, Datamart, DatamartError, Datasource, DeltaDate, DeltaNum,
    IncrementId, Moment, Offset, Partition, RunId, StreamNumber, TableName,
};
pub use key::{MessageKey, MessageType};
pub use lock_code::LockCode;
pub use owner::Owner;
pub use part::{KeyCounts, Part};
pub use table::{Column, ColumnType, Table};
