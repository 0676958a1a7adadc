//! The exact bytes of a backup topic: keys, data bodies, changelog bodies, the manifest, and the
//! partition a message goes to. Owns every byte that a reader of another language depends on
//! (docs/format.md). Never waits, reads a clock, or talks to brokers; foreign bytes may be
//! anything, so reading them gives a value or an error and never a panic.

pub mod audit;
mod bytes;
pub mod changelog;
pub mod check_sum;
pub mod container;
mod error;
mod flat;
pub mod key;
pub mod label;
pub mod manifest;
pub mod metadata;
pub mod partition;
pub mod rows;
pub mod schema;
pub mod staging_key;

pub use audit::{Audit, Auditor};
pub use changelog::{ChangeRecord, decode_changelog, encode_changelog};
pub use check_sum::row_value;
pub use error::FormatError;
pub use key::{decode_key, encode_key, has_own_schema};
pub use label::{Labelled, Labeller, staging_rows};
pub use manifest::{Manifest, PreviousDelta, TableManifest};
pub use metadata::{Label, read_label, verify_crc};
pub use partition::{partition_of, partition_of_key};
pub use rows::{Row, RowReader};
pub use schema::{SchemaMismatch, check_staging, row_schema};
pub use staging_key::{StagingKey, decode_staging_key};
