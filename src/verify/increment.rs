//! One increment as it is read. Owns what is kept of it until the end; the judgement is made in
//! `judge`.

use std::collections::BTreeMap;

use super::log::RecordId;
use super::sums::Tally;
use crate::catalog::Seen;
use crate::format::Manifest;
use crate::model::{
    Datamart, DeltaDate, DeltaNum, IncrementId, MessageKey, Offset, Partition, TableName,
};

/// Which tool wrote an increment, by its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// deltakeep: keys and bodies have our bytes.
    Own,
    /// Another one: fields are read as far as they go.
    Other,
}

/// What was seen of an increment of a delta.
#[derive(Clone, Debug)]
pub(super) struct Increment {
    /// The datamart.
    pub(super) datamart: Datamart,
    /// The delta.
    pub(super) delta: DeltaNum,
    /// Its id.
    pub(super) id: IncrementId,
    /// When the delta was closed, by the first message seen.
    pub(super) date: DeltaDate,
    /// Who wrote it: deltakeep where any message of it is ours.
    pub(super) writer: Writer,
    /// Its first message that is not ours.
    pub(super) stranger: Option<(Partition, Offset)>,
    /// The manifest.
    pub(super) manifest: Option<Manifest>,
    /// Records that ran before the delta, by the changelog's bodies.
    pub(super) replay_before: Option<u64>,
    /// The changelog's records in order.
    pub(super) log: Vec<RecordId>,
    /// Something of it was found damaged while it was read.
    pub(super) is_damaged: bool,
    /// Messages of it, copies too.
    pub(super) messages: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Where its changelog ends.
    pub(super) ended_at: Option<(Partition, Offset)>,
    /// The sums of its rows by table, where they are wanted.
    pub(super) tallies: BTreeMap<TableName, Tally>,
    /// The judgement: whether it ended and everything of it is there and right.
    pub(super) is_whole: bool,
}

impl Increment {
    /// An increment whose first message has this key.
    pub(super) fn new(key: &MessageKey, writer: Writer) -> Self {
        Self {
            datamart: key.datamart.clone(),
            delta: key.delta,
            id: key.increment.clone(),
            date: key.date,
            writer,
            stranger: None,
            manifest: None,
            replay_before: None,
            log: Vec::new(),
            is_damaged: false,
            messages: 0,
            bytes: 0,
            ended_at: None,
            tallies: BTreeMap::new(),
            is_whole: false,
        }
    }

    /// Counts a message of it.
    pub(super) fn count(&mut self, seen: &Seen<'_>, writer: Writer) {
        self.messages += 1;
        self.bytes += (seen.key.len() + seen.body.len()) as u64;
        if writer == Writer::Own {
            self.writer = Writer::Own;
        } else if self.stranger.is_none() {
            self.stranger = Some((seen.partition, seen.offset));
        }
    }

    /// The delta before.
    pub(super) fn delta_before(&self) -> Option<DeltaNum> {
        self.delta.0.checked_sub(1).map(DeltaNum)
    }

    /// Whether its changelog came to its end: then everything else was written before.
    pub(super) fn has_ended(&self) -> bool {
        self.ended_at.is_some()
    }
}
