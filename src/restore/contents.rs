//! What a backup topic holds of one datamart, as a restore needs it: which increments are whole,
//! where their messages lie, what their changelogs and manifests say. Pure; never reads a topic
//! and keeps no row: memory grows with streams and records of manifests, not with messages.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::catalog::Seen;
use crate::format::{self, ChangeRecord, FormatError, Manifest, decode_changelog, read_label};
use crate::model::{
    Datamart, DeltaDate, DeltaNum, IncrementId, MessageKey, Offset, Partition, TableName,
};

/// Damaged messages that are kept with their places: a topic can be damaged from end to end.
const NAMED: usize = 1000;

/// Numbers seen of a stream, as ranges: memory grows with the holes, not with the messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers(BTreeMap<u64, u64>);

impl Numbers {
    /// Takes a number in; false where it was there before.
    pub fn insert(&mut self, number: u64) -> bool {
        let before = self.0.range(..=number).next_back().map(|(&first, &last)| (first, last));
        let first = match before {
            Some((_, last)) if number <= last => return false,
            Some((first, last)) if last + 1 == number => first,
            _ => number,
        };
        let last = self.0.remove(&(number + 1)).unwrap_or(number);
        self.0.insert(first, last);
        true
    }

    fn are_all_to(&self, last: u64) -> bool {
        self.0.len() == 1 && self.0.first_key_value() == Some((&1, &last))
    }
}

/// Order does not matter to it: the sum of the hashes of the changelog records of an increment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSum {
    /// How many records.
    pub count: u64,
    sum: u128,
}

impl LogSum {
    /// Takes a record in.
    pub fn add(&mut self, record: &ChangeRecord) {
        let mut hash = Sha256::new().chain_update(record.num.to_be_bytes());
        for part in [&record.entity, &record.query] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut first = [0; 16];
        first.copy_from_slice(&hash.finalize()[..16]);
        self.count += 1;
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(first));
    }

    /// The sum over records.
    pub fn of(records: &[ChangeRecord]) -> Self {
        let mut sum = Self::default();
        records.iter().for_each(|record| sum.add(record));
        sum
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct StreamView {
    seen: Numbers,
    last: Option<u64>,
}

/// What the topic holds of one table of an increment, or of its changelog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableView {
    totals: BTreeSet<u32>,
    streams: BTreeMap<u32, StreamView>,
    /// Rows of its messages by part (0 where there are no parts), by the counts of their blocks.
    pub rows: BTreeMap<u8, u64>,
    /// By partition: the first and the last offset at which a message of it lies.
    pub places: BTreeMap<Partition, (Offset, Offset)>,
}

impl TableView {
    /// Streams are numbered from 1, by the old tool perhaps from 0 (DTM_TOOLS 2.6).
    fn is_whole(&self) -> bool {
        let whole = |s: &StreamView| s.last.is_some_and(|last| s.seen.are_all_to(last));
        let counted = self.totals.iter().eq([&(self.streams.len() as u32)]);
        counted && self.streams.values().all(whole)
    }

    fn chunks(&self) -> Vec<u64> {
        self.streams.values().map(|stream| stream.last.unwrap_or(0)).collect()
    }

    /// Messages of all its streams.
    pub fn messages(&self) -> u64 {
        self.chunks().into_iter().fold(0, u64::saturating_add)
    }

    /// Rows of all its parts.
    pub fn all_rows(&self) -> u64 {
        self.rows.values().copied().fold(0, u64::saturating_add)
    }

    /// False where the message was there before.
    fn see(&mut self, key: &MessageKey, at: (Partition, Offset)) -> bool {
        self.totals.insert(key.stream_total);
        let stream = self.streams.entry(key.stream.0).or_default();
        if key.is_last {
            stream.last = Some(stream.last.unwrap_or(0).max(key.chunk.0));
        }
        let place = self.places.entry(at.0).or_insert((at.1, at.1));
        *place = (place.0.min(at.1), place.1.max(at.1));
        stream.seen.insert(key.chunk.0)
    }
}

/// What the topic holds of one increment of one delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Increment {
    /// When the delta was closed, by the keys.
    pub date: DeltaDate,
    /// Where its changelog ends.
    pub end: Option<(Partition, Offset)>,
    /// How many records ran before the delta; none where the old tool wrote it.
    pub replay_before: Option<u64>,
    /// Its manifest; none where the old tool wrote it.
    pub manifest: Option<Manifest>,
    /// The changelog's records.
    pub log: LogSum,
    tables: BTreeMap<Option<TableName>, TableView>,
    contradicts: bool,
    /// A message carries a check sum.
    summed: bool,
    /// One does not, and where it lies.
    unsummed: Option<(Partition, Offset)>,
}

impl Increment {
    fn new(date: DeltaDate) -> Self {
        let (log, tables) = (LogSum::default(), BTreeMap::new());
        let (end, replay_before, manifest) = (None, None, None);
        let (contradicts, summed, unsummed) = (false, false, None);
        Self { date, end, replay_before, manifest, log, tables, contradicts, summed, unsummed }
    }

    /// True when the changelog and every table seen are whole and, where a manifest says so, no
    /// table is missing (D2 "increment").
    pub fn is_complete(&self) -> bool {
        let changelog = self.tables.get(&None).is_some_and(TableView::is_whole);
        let whole = self.tables.values().all(TableView::is_whole);
        let sound = !self.contradicts && self.lost_sum().is_none();
        changelog && whole && sound && self.has_what_was_promised()
    }

    /// Where a message lies without a check sum although we wrote the increment: not even the
    /// damage of the sum's own name may pass for another tool's message.
    fn lost_sum(&self) -> Option<(Partition, Offset)> {
        self.unsummed.filter(|_| self.is_ours())
    }

    /// True where we wrote it: every message carries a check sum.
    pub fn is_ours(&self) -> bool {
        self.summed || self.manifest.is_some()
    }

    fn has_what_was_promised(&self) -> bool {
        let Some(manifest) = &self.manifest else { return true };
        let named: BTreeSet<&TableName> = manifest.tables.iter().map(|table| &table.name).collect();
        let no_other = self.tables().all(|(name, _)| named.contains(name));
        no_other
            && manifest.tables.iter().all(|table| {
                let view = self.tables.get(&Some(table.name.clone()));
                let rows = table.rows_added.saturating_add(table.rows_removed);
                view.is_some_and(|view| view.chunks() == table.chunks && view.all_rows() == rows)
            })
    }

    /// Its tables, the changelog left out.
    pub fn tables(&self) -> impl Iterator<Item = (&TableName, &TableView)> {
        self.tables.iter().filter_map(|(name, view)| name.as_ref().map(|name| (name, view)))
    }

    /// Its changelog.
    pub fn changelog(&self) -> Option<&TableView> {
        self.tables.get(&None)
    }
}

/// A message that is not what was written, or a changelog that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where.
    pub partition: Partition,
    /// Where in it.
    pub offset: Offset,
    /// The delta it says it is of.
    pub delta: DeltaNum,
    /// What is wrong.
    pub reason: String,
}

/// All increments of one datamart in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The datamart.
    pub datamart: Datamart,
    /// Other datamarts in the topic.
    pub others: BTreeSet<Datamart>,
    damage: Vec<Damage>,
    /// Damaged messages beyond those that are named.
    pub unnamed: u64,
    /// Messages whose key cannot be read.
    pub foreign: u64,
    increments: BTreeMap<(DeltaNum, IncrementId), Increment>,
}

impl Contents {
    /// Of a datamart, nothing seen yet.
    pub fn new(datamart: Datamart) -> Self {
        let (others, damage, increments) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        Self { datamart, others, damage, unnamed: 0, foreign: 0, increments }
    }

    /// Takes a message of the topic in.
    pub fn see(&mut self, seen: Seen<'_>) {
        let Ok(key) = format::decode_key(seen.key) else {
            self.foreign += 1;
            return;
        };
        if key.datamart != self.datamart {
            self.others.insert(key.datamart);
            return;
        }
        let (summed, body) = match read_body(&key, &seen) {
            Ok(found) => found,
            Err(reason) => return self.damaged(&key, &seen, reason),
        };
        let named = (key.delta, key.increment.clone());
        let increment = self.increments.entry(named).or_insert_with(|| Increment::new(key.date));
        increment.contradicts |= increment.date != key.date;
        match summed {
            true => increment.summed = true,
            false => increment.unsummed = Some((seen.partition, seen.offset)),
        }
        let view = increment.tables.entry(key.table.clone()).or_default();
        let fresh = view.see(&key, (seen.partition, seen.offset));
        match body {
            _ if !fresh => {}
            Body::Changelog(found) => increment.take(&key, &seen, *found),
            Body::Rows { part, rows } => {
                let of_part = view.rows.entry(part).or_default();
                *of_part = of_part.saturating_add(rows);
            }
        }
    }

    fn damaged(&mut self, key: &MessageKey, seen: &Seen<'_>, reason: String) {
        if self.damage.len() < NAMED {
            let (partition, offset, delta) = (seen.partition, seen.offset, key.delta);
            self.damage.push(Damage { partition, offset, delta, reason });
        } else {
            self.unnamed += 1;
        }
    }

    /// Messages that cannot be used; their increments are not complete.
    pub fn damage(&self) -> Vec<Damage> {
        let lost = self.increments.iter().filter_map(|((delta, _), increment)| {
            let (partition, offset) = increment.lost_sum()?;
            let reason = "it has no check sum, unlike the rest of its increment".to_owned();
            Some(Damage { partition, offset, delta: *delta, reason })
        });
        self.damage.iter().cloned().chain(lost).collect()
    }

    /// Increments of a delta that are complete.
    pub fn complete(&self, delta: DeltaNum) -> BTreeMap<&IncrementId, &Increment> {
        let from = (delta, IncrementId(String::new()));
        let of_delta = self.increments.range(from..).take_while(|((found, _), _)| *found == delta);
        of_delta.filter(|(_, i)| i.is_complete()).map(|((_, id), i)| (id, i)).collect()
    }

    /// Deltas with a complete increment.
    pub fn whole(&self) -> BTreeSet<DeltaNum> {
        let whole = self.increments.iter().filter(|(_, increment)| increment.is_complete());
        whole.map(|((delta, _), _)| *delta).collect()
    }

    /// An increment, complete or not.
    pub fn get(&self, delta: DeltaNum, id: &IncrementId) -> Option<&Increment> {
        self.increments.get(&(delta, id.clone()))
    }

    /// Every delta of which something is there, in order, and whether an increment is complete.
    pub fn deltas(&self) -> BTreeMap<DeltaNum, bool> {
        let mut deltas = BTreeMap::new();
        for ((delta, _), increment) in &self.increments {
            *deltas.entry(*delta).or_default() |= increment.is_complete();
        }
        deltas
    }

    /// The newest delta that something is there of.
    pub fn newest(&self) -> Option<DeltaNum> {
        self.increments.keys().next_back().map(|(delta, _)| *delta)
    }
}

impl Increment {
    fn take(&mut self, key: &MessageKey, seen: &Seen<'_>, found: Changelog) {
        found.records.iter().for_each(|record| self.log.add(record));
        self.replay_before = self.replay_before.or(found.replay_before);
        if key.is_last {
            self.end = Some((seen.partition, seen.offset));
            self.manifest = found.manifest;
        }
    }
}

/// What a body holds.
enum Body {
    /// Of a changelog.
    Changelog(Box<Changelog>),
    /// Of a table: its part, 0 where there are none, and how many rows.
    Rows { part: u8, rows: u64 },
}

/// Reads a body, and whether it carries a check sum. All that a count of rows rests on is read: a
/// body that is cut inside its rows must not pass for one without any.
fn read_body(key: &MessageKey, seen: &Seen<'_>) -> Result<(bool, Body), String> {
    let text = |error: FormatError| error.to_string();
    let summed = check_crc(seen.key, seen.body).map_err(|error| error.to_string())?;
    let body = match key.table {
        None => Body::Changelog(Box::new(read_changelog(seen)?)),
        Some(_) => {
            let part = read_label(seen.body).map_err(text)?.part.unwrap_or(0);
            Body::Rows { part, rows: format::staging_rows(seen.body).map_err(text)? }
        }
    };
    Ok((summed, body))
}

/// What a changelog body says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changelog {
    /// Its records.
    pub records: Vec<ChangeRecord>,
    /// How many records ran before the delta.
    pub replay_before: Option<u64>,
    /// The manifest.
    pub manifest: Option<Manifest>,
}

/// Reads a changelog message.
///
/// # Errors
/// What is wrong, as text.
pub fn read_changelog(seen: &Seen<'_>) -> Result<Changelog, String> {
    let read = || -> Result<Changelog, FormatError> {
        let label = read_label(seen.body)?;
        let manifest = label.manifest.map(Manifest::parse).transpose()?;
        let replay_before = label.replay_before;
        Ok(Changelog { records: decode_changelog(seen.body)?, replay_before, manifest })
    };
    read().map_err(|error| error.to_string())
}

/// A body that is not the one that was written with its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    /// The check sum does not match.
    #[error("the check sum over key and body does not match")]
    Crc,
    /// It cannot be read at all.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// Checks the sum over key and body; false where there is none, as in bodies of the old tool.
///
/// # Errors
/// [`Unsound`].
pub fn check_crc(key: &[u8], body: &[u8]) -> Result<bool, Unsound> {
    match format::verify_crc(key, body) {
        Ok(true) => Ok(true),
        Err(FormatError::MissingEntry { .. }) => Ok(false),
        Ok(false) => Err(Unsound::Crc),
        Err(error) => Err(error.into()),
    }
}
