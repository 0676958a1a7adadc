//! Whether an unload came whole, counted while its chunks pass by (DESIGN D4.8). Pure: the counts
//! fit in a journal record of fixed size, whatever the number of chunks.

use std::collections::BTreeMap;

use crate::extract::{Half, StagedChunk};
use crate::journal::Tally;

/// By half (0 added, 1 removed) and connector stream.
pub type Tallies = BTreeMap<(u8, u32), Tally>;

/// A connector ends a stream at most a few times; more is no connector's doing.
const MOST_LASTS: usize = 16;

/// What an unload lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// No message of one half came.
    #[error("no message of the {} rows came", half_name(*half))]
    HalfMissing {
        /// 0 added, 1 removed.
        half: u8,
    },
    /// A stream is missing, or there are more than announced.
    #[error("the {} rows came in streams {found:?} of {total}", half_name(*half))]
    Streams {
        /// 0 added, 1 removed.
        half: u8,
        /// Stream numbers seen.
        found: Vec<u32>,
        /// Streams announced.
        total: u32,
    },
    /// A stream has holes, doubled chunks, or no end.
    #[error("stream {stream} of the {} rows has holes, doubles or no end", half_name(*half))]
    Chunks {
        /// 0 added, 1 removed.
        half: u8,
        /// The connector's stream number.
        stream: u32,
    },
}

fn half_name(half: u8) -> &'static str {
    if half == 0 { "added" } else { "removed" }
}

/// Number of a half in journal records.
pub fn half_number(half: Half) -> u8 {
    match half {
        Half::Added => 0,
        Half::Removed => 1,
    }
}

/// Counts a chunk of `rows` rows in.
pub fn count(tallies: &mut Tallies, chunk: &StagedChunk, rows: u64) {
    let tally = tallies.entry((half_number(chunk.half), chunk.stream)).or_default();
    tally.total = chunk.stream_total;
    if !chunk.is_last {
        tally.chunks += 1;
        tally.hash = tally.hash.wrapping_add(scatter(chunk.chunk));
    } else if tally.lasts.len() < MOST_LASTS {
        tally.lasts.push((chunk.chunk, rows));
    }
}

/// Adds the counts of another staging partition.
pub fn add(sum: &mut Tallies, other: &Tallies) {
    for (key, tally) in other {
        let into = sum.entry(*key).or_default();
        into.total = tally.total;
        into.chunks += tally.chunks;
        into.hash = into.hash.wrapping_add(tally.hash);
        into.lasts.extend(&tally.lasts);
    }
}

/// Requires both halves, each with all its streams, each stream with the chunks 1 to its last.
///
/// # Errors
/// [`Incomplete`] names the first thing that is missing.
pub fn require_whole(tallies: &Tallies) -> Result<(), Incomplete> {
    [0, 1].into_iter().try_for_each(|half| require_half(tallies, half))
}

/// As [`require_whole`], for one half: a part of a pair with repeated keys has no other (D4.13).
///
/// # Errors
/// [`Incomplete`] names the first thing that is missing.
pub fn require_half(tallies: &Tallies, half: u8) -> Result<(), Incomplete> {
    let of_half = tallies.iter().filter(|((h, _), _)| *h == half);
    let streams: Vec<(u32, &Tally)> = of_half.map(|((_, stream), t)| (*stream, t)).collect();
    let Some((first, tally)) = streams.first() else {
        return Err(Incomplete::HalfMissing { half });
    };
    let total = tally.total;
    let numbered = streams.iter().zip(*first..).all(|((stream, _), n)| *stream == n);
    if *first > 1 || !numbered || streams.len() != total as usize {
        let found = streams.iter().map(|(stream, _)| *stream).collect();
        return Err(Incomplete::Streams { half, found, total });
    }
    if let Some((stream, _)) = streams.iter().find(|(_, tally)| !is_whole(tally)) {
        return Err(Incomplete::Chunks { half, stream: *stream });
    }
    Ok(())
}

/// The first last chunk ends the stream; further ones must be empty and come after it, because a
/// stock reader sometimes sends one more (ADQM report 3).
fn is_whole(tally: &Tally) -> bool {
    let mut lasts = tally.lasts.clone();
    lasts.sort_unstable();
    let Some(((end, _), further)) = lasts.split_first() else { return false };
    let numbers: Vec<u32> = lasts.iter().map(|(number, _)| *number).collect();
    let distinct = numbers.windows(2).all(|pair| pair[0] < pair[1]);
    let before = u64::from(end.saturating_sub(1));
    *end >= 1
        && distinct
        && further.iter().all(|(_, rows)| *rows == 0)
        && tally.chunks == before
        && tally.hash == hash_to(end.saturating_sub(1))
}

fn hash_to(last: u32) -> u64 {
    (1..=last).fold(0, |sum, number| sum.wrapping_add(scatter(number)))
}

/// Spreads a chunk number over 64 bits (the finalizer of SplitMix64), so that sums of different
/// sets of equal size differ.
fn scatter(number: u32) -> u64 {
    let mut x = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(half: Half, stream: u32, total: u32, chunk: u32, is_last: bool) -> StagedChunk {
        StagedChunk { offset: 0, half, stream, stream_total: total, chunk, is_last, body: vec![] }
    }

    fn whole_unload() -> Vec<(StagedChunk, u64)> {
        vec![
            (chunk(Half::Added, 0, 2, 2, false), 10),
            (chunk(Half::Added, 0, 2, 1, false), 10),
            (chunk(Half::Added, 0, 2, 3, true), 0),
            (chunk(Half::Added, 1, 2, 1, true), 4),
            (chunk(Half::Removed, 0, 1, 1, true), 0),
        ]
    }

    fn check(chunks: &[(StagedChunk, u64)]) -> Result<(), Incomplete> {
        let mut tallies = Tallies::new();
        chunks.iter().for_each(|(chunk, rows)| count(&mut tallies, chunk, *rows));
        require_whole(&tallies)
    }

    #[test]
    fn a_whole_unload_is_whole_also_when_counted_in_two_partitions() {
        assert_eq!(check(&whole_unload()), Ok(()));
        let (mut left, mut right) = (Tallies::new(), Tallies::new());
        for (number, (chunk, rows)) in whole_unload().iter().enumerate() {
            count(if number % 2 == 0 { &mut left } else { &mut right }, chunk, *rows);
        }
        add(&mut left, &right);
        assert_eq!(require_whole(&left), Ok(()));
    }

    #[test]
    fn every_single_loss_and_every_single_double_is_seen() {
        for which in 0..whole_unload().len() {
            let mut lost = whole_unload();
            let double = lost.remove(which);
            assert!(check(&lost).is_err(), "lost {which}");
            let mut doubled = whole_unload();
            doubled.push(double);
            assert!(check(&doubled).is_err(), "doubled {which}");
        }
    }

    #[test]
    fn a_chunk_that_stands_for_another_is_seen() {
        let mut chunks = whole_unload();
        chunks[0].0.chunk = 1;
        assert!(check(&chunks).is_err());
    }

    #[test]
    fn a_stream_that_ends_twice_is_accepted_only_without_rows() {
        let mut chunks = whole_unload();
        chunks.push((chunk(Half::Added, 1, 2, 2, true), 0));
        assert_eq!(check(&chunks), Ok(()));
        chunks.push((chunk(Half::Added, 1, 2, 3, true), 1));
        assert!(check(&chunks).is_err());
    }

    #[test]
    fn the_lie_of_an_oversize_unload_is_seen() {
        let lie =
            [(chunk(Half::Added, 0, 1, 5, true), 0), (chunk(Half::Removed, 0, 1, 1, true), 0)];
        assert_eq!(check(&lie), Err(Incomplete::Chunks { half: 0, stream: 0 }));
    }
}
