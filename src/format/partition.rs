//! Which partition of the backup topic a message goes to (DESIGN D5): a stream lies in one
//! partition, in order, whoever computes it. Never asks how many partitions there are.

use std::fmt::Write;

use crate::model::{Datamart, DeltaNum, MessageKey, Partition, StreamNumber, TableName};

/// The partition of a stream in a topic of `partitions`: murmur2 of `datamart/delta/table/stream`,
/// for the changelog (no table, no stream) of `datamart/delta//`, without its sign, modulo
/// `partitions`. A topic without partitions counts as one with one.
pub fn partition_of(
    datamart: &Datamart,
    delta: DeltaNum,
    table: Option<&TableName>,
    stream: Option<StreamNumber>,
    partitions: u32,
) -> Partition {
    let mut text = format!("{datamart}/{delta}/");
    if let Some(table) = table {
        text.push_str(&table.0);
    }
    text.push('/');
    if let Some(stream) = stream {
        // Writing to a String cannot fail.
        let _ = write!(text, "{stream}");
    }
    let hash = murmur2(text.as_bytes()) & 0x7fff_ffff;
    // Both sides are below 2^31, and so is the rest of a division by either.
    Partition((hash % partitions.clamp(1, i32::MAX as u32)) as i32)
}

/// The partition of a message, by its key.
pub fn partition_of_key(key: &MessageKey, partitions: u32) -> Partition {
    let stream = key.table.is_some().then_some(key.stream);
    partition_of(&key.datamart, key.delta, key.table.as_ref(), stream, partitions)
}

/// MurmurHash2 of 32 bits with the seed that Kafka's clients use.
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        word = word.wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test may panic")]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_own_tests() {
        let cases = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, hash) in cases {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn a_topic_without_partitions_is_no_panic() {
        let datamart = Datamart::parse("marketing").unwrap();
        assert_eq!(partition_of(&datamart, DeltaNum(0), None, None, 0), Partition(0));
    }
}
