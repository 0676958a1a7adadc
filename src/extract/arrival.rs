//! What a staging topic proves of an unload whose answer is missing or was an error (DESIGN D4.12).
//! Pure: counts messages, asks nobody. Whether what arrived is whole is counted once more while it
//! is delivered.

use std::collections::{BTreeMap, BTreeSet};

use super::StagedChunk;

/// Messages of one half of an attempt.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    rows: u64,
    streams: BTreeMap<u32, Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    total: u32,
    chunks: BTreeSet<u32>,
    messages: usize,
    has_end: bool,
}

impl Arrival {
    /// Counts a message of `rows` rows in.
    pub(super) fn take(&mut self, chunk: &StagedChunk, rows: u64) {
        self.rows += rows;
        let stream = self.streams.entry(chunk.stream).or_default();
        stream.total = chunk.stream_total;
        stream.chunks.insert(chunk.chunk);
        stream.messages += 1;
        stream.has_end |= chunk.is_last;
    }

    /// True where no message came at all.
    pub(super) fn is_nothing(&self) -> bool {
        self.streams.is_empty()
    }

    /// True where every stream has its chunks from 1 on, each once, and its end, and all rows are
    /// there.
    pub(super) fn is_whole(&self, rows: u64) -> bool {
        let counted = self.streams.len() as u64;
        let whole = |stream: &Stream| {
            let highest = stream.chunks.last().copied().unwrap_or(0);
            let each_once = stream.messages == stream.chunks.len();
            let no_hole = u64::from(highest) == stream.chunks.len() as u64;
            stream.has_end && each_once && no_hole && u64::from(stream.total) == counted
        };
        self.rows == rows && !self.is_nothing() && self.streams.values().all(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::Half;

    fn arrival(messages: &[(u32, u32, bool, u64)], total: u32) -> Arrival {
        let mut arrival = Arrival::default();
        for (stream, chunk, is_last, rows) in messages {
            let (half, body) = (Half::Added, vec![]);
            let (stream, chunk, is_last) = (*stream, *chunk, *is_last);
            let staged =
                StagedChunk { offset: 0, half, stream, stream_total: total, chunk, is_last, body };
            arrival.take(&staged, *rows);
        }
        arrival
    }

    #[test]
    fn only_all_rows_in_whole_streams_are_the_whole() {
        let whole = [(0, 1, false, 4), (0, 2, true, 2)];
        assert!(arrival(&whole, 1).is_whole(6));
        assert!(arrival(&[(0, 1, true, 0)], 1).is_whole(0));
        assert!(!arrival(&[], 1).is_whole(0), "even an empty half has a last message");
        assert!(!arrival(&whole, 1).is_whole(7));
        assert!(!arrival(&whole, 2).is_whole(6), "a stream did not come");
        assert!(!arrival(&whole[..1], 1).is_whole(4), "its end did not come");
        assert!(!arrival(&[(0, 2, true, 0)], 1).is_whole(0), "a hole");
        let doubled = [(0, 1, false, 0), (0, 1, false, 0), (0, 2, true, 0)];
        assert!(!arrival(&doubled, 1).is_whole(0), "a chunk twice");
        let two_ends = [(0, 1, true, 3), (0, 2, true, 0)];
        assert!(arrival(&two_ends, 1).is_whole(3), "a stock reader ends a stream twice");
        assert!(arrival(&[(0, 1, true, 1), (1, 1, true, 1)], 2).is_whole(2));
    }
}
