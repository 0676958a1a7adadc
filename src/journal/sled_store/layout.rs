//! Keys and parts of a store. Pure. Never changed in place: the head carries the format number.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::journal::StreamKey;
use crate::journal::envelope::{self, EnvelopeError};
use crate::model::DeltaNum;

/// What an entry is known by. In the store, the number of a part follows it.
pub(super) type Key = Vec<u8>;

/// Largest part, bytes. sled puts pages above 128 KB (17 entries at most) into files of their own
/// and does not sync those; with parts of this size it never does.
pub(super) const PART: usize = 4096;

const FACT: u8 = b'f';
const PROGRESS: u8 = b'p';
const HORIZON: u8 = b'h';
const ENDED: u8 = b'e';
const OPERATION: u8 = b'o';
const TASK: u8 = b't';

/// Key of the head.
pub(super) const HEAD: &[u8] = b"m";

/// What the store as a whole should hold; written with every batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// How many batches were written.
    pub batch: u64,
    /// Number of the next fact.
    pub next_fact: u64,
    /// Number of the next summary of an ended run.
    pub next_ended: u64,
    /// Number of entries, without the head.
    pub entries: u64,
    /// Wrapping sum of [`hash`] over them.
    pub sum: u64,
}

/// Key of a fact: facts sort as they were written.
pub(super) fn fact_key(number: u64) -> Key {
    numbered(FACT, number)
}

/// Key of an ended run's summary.
pub(super) fn ended_key(number: u64) -> Key {
    numbered(ENDED, number)
}

/// Key of the horizon.
pub(super) fn horizon_key() -> Key {
    vec![HORIZON]
}

/// Key of a stream's progress; begins with its delta.
pub(super) fn progress_key(stream: &StreamKey) -> Result<Key, EnvelopeError> {
    let mut key = numbered(PROGRESS, stream.delta.0);
    let hash = Sha256::digest(envelope::encode(stream)?);
    key.extend_from_slice(&hash[..16]);
    Ok(key)
}

/// Keys of the progress in a delta.
pub(super) fn progress_of(delta: DeltaNum) -> Range<Key> {
    let after = match delta.0.checked_add(1) {
        Some(next) => numbered(PROGRESS, next),
        None => vec![PROGRESS + 1],
    };
    numbered(PROGRESS, delta.0)..after
}

/// Keys of the run's records, kind by kind.
pub(super) fn records() -> [Range<Key>; 3] {
    [FACT, PROGRESS, HORIZON].map(|kind| vec![kind]..vec![kind + 1])
}

/// Keys of the summaries before a number.
pub(super) fn ended_before(number: u64) -> Range<Key> {
    vec![ENDED]..ended_key(number)
}

/// Whether a key is a summary's.
pub(super) fn is_ended(key: &[u8]) -> bool {
    key.first() == Some(&ENDED)
}

/// Key of a ClickHouse operation.
pub(super) fn operation_key(id: &str) -> Key {
    let mut key = vec![OPERATION];
    key.extend_from_slice(id.as_bytes());
    key
}

/// Whether a key is an operation's.
pub(super) fn is_operation(key: &[u8]) -> bool {
    key.first() == Some(&OPERATION)
}

/// Key of a task of a queue.
pub(super) fn task_key(key: &str) -> Key {
    let mut stored = vec![TASK];
    stored.extend_from_slice(key.as_bytes());
    stored
}

/// Whether a key is a task's.
pub(super) fn is_task(key: &[u8]) -> bool {
    key.first() == Some(&TASK)
}

/// Whether a key is that of a record of the run.
pub(super) fn is_record(key: &[u8]) -> bool {
    matches!(key.first(), Some(&FACT | &PROGRESS | &HORIZON))
}

fn numbered(kind: u8, number: u64) -> Key {
    let mut key = vec![kind];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// What an entry adds to the head's sum.
pub(super) fn hash(key: &[u8], entry: &[u8]) -> u64 {
    let digest = Sha256::new()
        .chain_update((key.len() as u64).to_be_bytes())
        .chain_update(key)
        .chain_update(entry)
        .finalize();
    let mut first = [0u8; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// How many parts an entry has.
pub(super) fn parts(bytes: usize) -> u16 {
    // Entries are limited to 16 MiB, 4096 parts.
    u16::try_from(bytes.div_ceil(PART).max(1)).unwrap_or(u16::MAX)
}

/// Key of a part in the store.
pub(super) fn part_key(key: &[u8], part: u16) -> Key {
    let mut stored = key.to_vec();
    stored.extend_from_slice(&part.to_be_bytes());
    stored
}

/// The entry's key and the part's number; none for a key that we never write.
pub(super) fn split_part_key(stored: &[u8]) -> Option<(&[u8], u16)> {
    let (key, part) = stored.split_last_chunk::<2>()?;
    Some((key, u16::from_be_bytes(*part)))
}
