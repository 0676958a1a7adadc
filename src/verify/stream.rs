//! One stream of one increment as it is read: which chunks, where, how many rows. Knows no message
//! but by its key's numbers; judges nothing before the end.

use std::sync::Arc;

use super::numbers::{Numbers, Turn};
use crate::model::{ChunkNumber, MessageKey, Offset, Partition, StreamNumber, TableName};

/// What was seen of a stream.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// Place of its increment among the increments.
    pub(super) increment: usize,
    /// Its table; none for the changelog.
    pub(super) table: Option<TableName>,
    /// Its number.
    pub(super) number: StreamNumber,
    /// How many streams its first message promised.
    pub(super) total: u32,
    /// Where its first message lies.
    pub(super) partition: Partition,
    /// Offset of the first message seen, in the partition.
    pub(super) first: Offset,
    /// Offset of the last message seen, in that partition, copies not counted.
    pub(super) last: Offset,
    /// Whether messages of it lie in other partitions too.
    pub(super) is_scattered: bool,
    /// Chunks seen.
    pub(super) chunks: Numbers,
    /// The chunk that says it is the last.
    pub(super) end: Option<ChunkNumber>,
    /// Rows or records, copies not counted.
    pub(super) records: u64,
    /// The rows' schema.
    pub(super) schema: Option<Arc<str>>,
    /// Chunks without a part, and those of parts 1, 2 and 3.
    pub(super) parts: [u64; 4],
}

/// What a message was to its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Met {
    /// In the order of its chunks.
    pub(super) turn: Turn,
    /// It lies in another partition than those before it.
    pub(super) elsewhere: bool,
    /// It promises another number of streams, this one, than those before it.
    pub(super) other_total: Option<u32>,
    /// It says that it is the last, and another chunk, this one, said so before.
    pub(super) other_end: Option<ChunkNumber>,
}

impl Stream {
    /// A stream whose first message has this key and lies there.
    pub(super) fn new(increment: usize, key: &MessageKey, at: (Partition, Offset)) -> Self {
        Self {
            increment,
            table: key.table.clone(),
            number: key.stream,
            total: key.stream_total,
            partition: at.0,
            first: at.1,
            last: at.1,
            is_scattered: false,
            chunks: Numbers::default(),
            end: None,
            records: 0,
            schema: None,
            parts: [0; 4],
        }
    }

    /// Takes a message in.
    pub(super) fn meet(&mut self, key: &MessageKey, at: (Partition, Offset)) -> Met {
        let elsewhere = at.0 != self.partition;
        self.is_scattered |= elsewhere;
        let turn = self.chunks.insert(key.chunk.0);
        if !elsewhere && turn != Turn::Again {
            self.last = at.1;
        }
        let other_total = (key.stream_total != self.total).then_some(self.total);
        let before = if key.is_last { self.end.replace(key.chunk) } else { None };
        let other_end = before.filter(|before| *before != key.chunk);
        Met { turn, elsewhere, other_total, other_end }
    }
}
