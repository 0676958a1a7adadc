//! How bytes can be wrong. Never says what to do about it: callers know where the bytes came from.

use super::SchemaMismatch;

/// Why bytes are not what the format says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes do not begin with the four bytes of an Avro container.
    #[error("not an Avro object container")]
    NotAContainer,
    /// The bytes end too early.
    #[error("the bytes end inside {what} at byte {at}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where the reading began.
        at: usize,
    },
    /// A variable-length number has more than 64 bits.
    #[error("{what} at byte {at} is no 64-bit number")]
    BadNumber {
        /// What was being read.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// A count or size is negative, larger than the bytes that follow, or contradicts them.
    #[error("{what} at byte {at} is {found}, which the bytes contradict")]
    BadLength {
        /// What was being read.
        what: &'static str,
        /// Where.
        at: usize,
        /// The number.
        found: i64,
    },
    /// Bytes follow where there should be none.
    #[error("{count} bytes are left over after {what}")]
    LeftOver {
        /// What ended before them.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// A text is not UTF-8.
    #[error("{what} at byte {at} is not UTF-8")]
    NotUtf8 {
        /// What was being read.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// A block does not end with the container's sync marker.
    #[error("the sync marker at byte {at} is not the one of the header")]
    SyncMismatch {
        /// Where.
        at: usize,
    },
    /// The header has more metadata than any known writer's.
    #[error("more than {limit} metadata entries")]
    TooManyEntries {
        /// The most that are read.
        limit: usize,
    },
    /// A metadata entry stands twice in a header.
    #[error("metadata {name:?} stands twice")]
    DuplicateEntry {
        /// Its name.
        name: String,
    },
    /// A metadata entry is missing.
    #[error("metadata {name} is missing")]
    MissingEntry {
        /// Its name.
        name: &'static str,
    },
    /// A metadata entry has a value that its name does not allow.
    #[error("metadata {name} has the value {value:?}")]
    BadEntry {
        /// Its name.
        name: &'static str,
        /// What it says.
        value: String,
    },
    /// A container of one record has another number of them.
    #[error("{found} records instead of one")]
    NotOneRecord {
        /// How many there are in the blocks read so far.
        found: u64,
    },
    /// The writer's schema is not a record of plain fields.
    #[error("unusable schema: {reason}")]
    BadSchema {
        /// What is wrong with it.
        reason: String,
    },
    /// A field is missing from the writer's schema, or has a value it must not have.
    #[error("field {field}: {reason}")]
    BadField {
        /// The field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The codec is unknown to this build.
    #[error("codec {codec:?} cannot be read")]
    UnknownCodec {
        /// Its name.
        codec: String,
    },
    /// Compressed bytes cannot be unpacked, or grow beyond the limit.
    #[error("a block packed by {codec} cannot be unpacked: {reason}")]
    Unpack {
        /// The codec.
        codec: String,
        /// What it said.
        reason: String,
    },
    /// A staging schema is not the one expected (DESIGN D4.9).
    #[error(transparent)]
    Schema(#[from] SchemaMismatch),
    /// A data body was asked for under a key that names no table.
    #[error("the key of a data body must name a table")]
    NotADataKey,
    /// A manifest cannot be read.
    #[error("unreadable manifest: {reason}")]
    BadManifest {
        /// What is wrong.
        reason: String,
    },
    /// A manifest was written by a later version.
    #[error("the manifest has format {found}, this version knows up to {known}")]
    NewerManifest {
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
}
