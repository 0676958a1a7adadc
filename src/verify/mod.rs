//! Whether a backup topic holds what was written to it (DESIGN D9), by its messages alone. Owns the
//! two readings and their order: `see` takes every message once, `compare` those around copies a
//! second time, `finish` judges. Gets messages from its caller and asks nobody; what it remembers
//! grows with (delta, table, stream), never with the number of messages.

pub mod against;
mod copies;
mod definition;
mod finding;
mod history;
mod increment;
mod judge;
mod log;
mod message;
mod numbers;
mod report;
mod stream;
mod sums;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use finding::{Finding, Findings, Kind, Level, Place};
pub use report::{DatamartReport, IncrementSums, NodeSums, Report, UNSEEN};
pub use sums::{Chunk, PairSum, Tally, Verdict};

use crate::catalog::Seen;
use crate::format::Auditor;
use crate::model::{
    Datamart, DeltaNum, IncrementId, MessageKey, Offset, Partition, StreamNumber, TableName,
};

use copies::{Compared, Copies};
use increment::{Increment, Writer};
use log::Records;
use stream::Stream;
use sums::Readers;

/// What is to be verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Only this datamart; all of the topic where there is none.
    pub datamart: Option<Datamart>,
    /// The delta that the backup is meant to begin with; 0 where there is none.
    pub delta_from: Option<DeltaNum>,
    /// Rows are read too, and added up to be compared with a node's CHECK_SUM.
    pub sums: bool,
}

/// An increment's identity in a topic.
type IncrementKey = (Datamart, DeltaNum, IncrementId);
/// A stream's identity in a topic: its increment's place, its table, its number.
type StreamKey = (usize, Option<TableName>, StreamNumber);

/// A verification under way.
#[derive(Default)]
pub struct Verifier {
    asked: Asked,
    auditor: Auditor,
    findings: Findings,
    increments: Vec<Increment>,
    by_id: BTreeMap<IncrementKey, usize>,
    streams: Vec<Stream>,
    by_place: BTreeMap<StreamKey, usize>,
    /// The stream of the message before: most often the next one's too.
    last: Option<usize>,
    records: BTreeMap<Datamart, Records>,
    schemas: BTreeSet<Arc<str>>,
    copies: Copies,
    readers: Readers,
    totals: Totals,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    messages: u64,
    bytes: u64,
    of_others: u64,
}

impl Verifier {
    /// Nothing is read yet.
    pub fn new(asked: Asked) -> Self {
        Self { asked, ..Self::default() }
    }

    /// Takes a message in. Messages of a partition come in the order of their offsets.
    pub fn see(&mut self, seen: Seen<'_>) {
        self.totals.messages += 1;
        self.totals.bytes += (seen.key.len() + seen.body.len()) as u64;
        let Some((key, is_own)) = self.read_key(&seen) else { return };
        if self.asked.datamart.as_ref().is_some_and(|asked| *asked != key.datamart) {
            self.totals.of_others += 1;
            return;
        }
        self.read_message(&seen, &key, is_own);
    }

    /// Where a second reading has to begin, by partition: at `ends` where nothing is to be read.
    /// None where no message was there twice. `lows` and `ends` are those of the first reading.
    pub fn second_reading(&self, lows: &[Offset], ends: &[Offset]) -> Option<Vec<Offset>> {
        let mut from = ends.to_vec();
        let mut is_needed = false;
        for stream in self.copies.streams() {
            is_needed = true;
            let stream = &self.streams[stream];
            if stream.is_scattered {
                return Some(lows.to_vec());
            }
            if let Some(from) = from.get_mut(stream.partition.0 as usize) {
                *from = Offset(from.0.min(stream.first.0));
            }
        }
        is_needed.then_some(from)
    }

    /// Takes a message of the second reading in; only those before the first reading's `ends`.
    pub fn compare(&mut self, seen: Seen<'_>, ends: &[Offset]) {
        let is_new = ends.get(seen.partition.0 as usize).is_none_or(|end| seen.offset >= *end);
        let Some((key, _)) = message::key(&seen).ok().filter(|_| !is_new) else { return };
        let Some(stream) = self.known_stream(&key) else { return };
        let place = || Place::of(&seen).with(&key);
        match self.copies.compare((stream, key.chunk), &seen) {
            None | Some(Compared::First) => {}
            Some(Compared::Same) => {
                self.findings.add(Kind::Copy, place(), "an identical second copy of a message");
            }
            Some(Compared::Other) => {
                let text = "a second message for the same place, with other bytes";
                self.findings.add(Kind::Conflict, place(), text);
                let increment = self.streams[stream].increment;
                self.increments[increment].is_damaged = true;
            }
        }
    }

    /// Judges what was read, after one reading or two. `lows` are the first offsets of the
    /// partitions.
    pub fn finish(mut self, lows: &[Offset]) -> Report {
        for (partition, low) in (0..).map(Partition).zip(lows).filter(|(_, low)| low.0 > 0) {
            let place = Place { partition: Some(partition), ..Place::default() };
            let text = format!("the messages before offset {low} are gone: retention or deletion");
            self.findings.add(Kind::LogStart, place, text);
        }
        if self.copies.unremembered > 0 {
            let text = format!("{} further copies were not compared", self.copies.unremembered);
            self.findings.add(Kind::Conflict, Place::default(), text);
        }
        let uncompared = self.copies.uncompared();
        if uncompared > 0 {
            let text = format!("{uncompared} messages are there twice or more, not compared");
            self.findings.add(Kind::Copy, Place::default(), text);
        }
        for number in 0..self.increments.len() {
            self.judge_increment(number);
        }
        self.judge_history();
        self.report(lows.len())
    }

    fn known_stream(&self, key: &MessageKey) -> Option<usize> {
        let id = (key.datamart.clone(), key.delta, key.increment.clone());
        let increment = *self.by_id.get(&id)?;
        self.by_place.get(&(increment, key.table.clone(), key.stream)).copied()
    }

    /// The stream of a message; it is made where it is new.
    fn stream_of(&mut self, key: &MessageKey, writer: Writer, seen: &Seen<'_>) -> usize {
        if let Some(last) = self.last.filter(|last| self.is_of(*last, key)) {
            return last;
        }
        let id = (key.datamart.clone(), key.delta, key.increment.clone());
        let increment = *self.by_id.entry(id).or_insert_with(|| {
            self.increments.push(Increment::new(key, writer));
            self.increments.len() - 1
        });
        let place = (increment, key.table.clone(), key.stream);
        let stream = *self.by_place.entry(place).or_insert_with(|| {
            self.streams.push(Stream::new(increment, key, (seen.partition, seen.offset)));
            self.streams.len() - 1
        });
        self.last = Some(stream);
        stream
    }

    fn is_of(&self, stream: usize, key: &MessageKey) -> bool {
        let stream = &self.streams[stream];
        let increment = &self.increments[stream.increment];
        stream.number == key.stream
            && stream.table == key.table
            && increment.delta == key.delta
            && increment.id == key.increment
            && increment.datamart == key.datamart
    }

    /// The same text for the same schema, kept once.
    fn schema(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.schemas.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.schemas.insert(Arc::clone(&text));
        text
    }

    /// Streams of an increment, by table and number.
    fn streams_of(&self, increment: usize) -> impl Iterator<Item = &Stream> {
        let from = (increment, None, StreamNumber(0));
        let to = (increment + 1, None, StreamNumber(0));
        self.by_place.range(from..to).map(|(_, stream)| &self.streams[*stream])
    }
}
