//! What a resume finds in the backup topic beyond what the journal knows. Pure.

use std::collections::BTreeMap;

use crate::journal::StreamKey;
use crate::model::{DeltaNum, Offset, Partition, StreamNumber, TableName};

use super::horizon::Pin;

/// A message of this run, found in the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it lies.
    pub partition: Partition,
    /// Where in it.
    pub offset: Offset,
    /// The staging message it was made from (`deltakeep.src`); none in changelogs.
    pub source: Option<String>,
    /// Last of its stream.
    pub is_last: bool,
    /// Checksum of key and body, to tell an identical copy from a different one.
    pub crc: Option<u32>,
}

/// Messages of this run by stream and chunk number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    streams: BTreeMap<StreamKey, BTreeMap<u64, Found>>,
    /// Identical second copies, possible only without transactions (D5).
    pub copies: u64,
}

/// Two messages claim to be the same chunk and differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chunk {chunk} of delta {} stands twice, at partition {} offset {} and at partition {} \
         offset {}, and differs", key.delta, first.0, first.1, second.0, second.1)]
pub struct Twice {
    /// The stream.
    pub key: StreamKey,
    /// The chunk.
    pub chunk: u64,
    /// Where it stands first.
    pub first: (Partition, Offset),
    /// Where it stands again.
    pub second: (Partition, Offset),
}

impl Tail {
    /// Takes a message in.
    ///
    /// # Errors
    /// [`Twice`] where another message claims to be the same chunk with other bytes.
    pub fn see(&mut self, key: StreamKey, chunk: u64, found: Found) -> Result<(), Box<Twice>> {
        let stream = self.streams.entry(key.clone()).or_default();
        let Some(known) = stream.get(&chunk) else {
            stream.insert(chunk, found);
            return Ok(());
        };
        if known.crc == found.crc && known.source == found.source {
            self.copies += 1;
            return Ok(());
        }
        let first = (known.partition, known.offset);
        Err(Box::new(Twice { key, chunk, first, second: (found.partition, found.offset) }))
    }

    /// What keeps the horizon back until each stream's progress tells of it.
    pub fn pins(&self) -> BTreeMap<StreamKey, Pin> {
        let pin = |chunks: &BTreeMap<u64, Found>| {
            let first = chunks.values().map(|found| (found.partition, found.offset)).min()?;
            let highest = *chunks.last_key_value()?.0;
            Some(Pin { first, highest })
        };
        let pinned = |(key, chunks): (&StreamKey, _)| Some((key.clone(), pin(chunks)?));
        self.streams.iter().filter_map(pinned).collect()
    }

    /// What was found of a stream, by chunk number.
    pub fn stream(&self, key: &StreamKey) -> Option<&BTreeMap<u64, Found>> {
        self.streams.get(key)
    }

    /// The highest issue of a delta of which anything was found.
    pub fn highest_issue(&self, delta: DeltaNum) -> Option<u32> {
        self.streams.keys().filter(|key| key.delta == delta).map(|key| key.issue).max()
    }

    /// The highest stream number found of a pair; 0 where nothing was.
    pub fn streams_of(&self, delta: &DeltaNum, issue: u32, table: &TableName) -> u32 {
        let of_pair = self.streams.keys().filter(|key| {
            key.delta == *delta && key.issue == issue && key.table.as_ref() == Some(table)
        });
        of_pair.map(|key| key.stream.0).max().unwrap_or(0)
    }

    /// Anything found of a pair?
    pub fn holds_pair(&self, delta: DeltaNum, issue: u32, table: &TableName) -> bool {
        self.streams.keys().any(|key| {
            key.delta == delta && key.issue == issue && key.table.as_ref() == Some(table)
        })
    }

    /// Anything found of a delta's changelog?
    pub fn holds_changelog(&self, delta: DeltaNum, issue: u32) -> bool {
        let of_it = |key: &StreamKey| key.delta == delta && key.issue == issue;
        self.streams.keys().any(|key| of_it(key) && key.table.is_none())
    }

    /// The issue whose changelog ends in the topic: its increment is complete, because the last
    /// changelog chunk is written only after everything else is durable (D4.10).
    pub fn completed_issue(&self, delta: DeltaNum) -> Option<u32> {
        let ended = |(key, chunks): &(&StreamKey, &BTreeMap<u64, Found>)| {
            key.delta == delta && key.table.is_none() && chunks.values().any(|f| f.is_last)
        };
        self.streams.iter().filter(ended).map(|(key, _)| key.issue).max()
    }

    /// The only thing found of a pair is the empty chunk of a pair without changes.
    pub fn is_empty_pair(&self, delta: DeltaNum, issue: u32, table: &TableName) -> bool {
        let key = StreamKey { delta, issue, table: Some(table.clone()), stream: StreamNumber(1) };
        let single = self.stream(&key).is_some_and(|chunks| {
            let only = chunks.values().next();
            chunks.len() == 1
                && only.is_some_and(|f| f.is_last && f.source.as_deref() == Some(EMPTY_SOURCE))
        });
        let streams = self
            .streams
            .keys()
            .filter(|k| k.delta == delta && k.issue == issue && k.table.as_ref() == Some(table));
        single && streams.count() == 1
    }
}

/// `deltakeep.src` of a chunk that no unload made.
pub const EMPTY_SOURCE: &str = "empty";
