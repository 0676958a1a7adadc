//! CHECK_SUM of a (delta, table) from its rows in the topic (PROSTORE.md 2.9), row by row. Owns the
//! rule that a version which the delta both added and removed counts once, as far as the topic
//! tells such versions apart; never asks a node for its sum.

use std::collections::{BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use crate::format::{FormatError, Row, RowReader, row_value};
use crate::model::StreamNumber;

/// Rows of one pair that are remembered to find those that were both added and removed.
const MOST: usize = 500_000;
/// Rows both added and removed whose values are kept.
const TWICE: usize = 12;
/// Schemas whose readers are kept.
const READERS: usize = 256;

/// Rows that the delta added and that are not there at its end (D4.13).
const DEAD: u8 = 1;
/// Rows that the delta removed.
const REMOVED: u8 = 2;

/// Reads the rows of bodies, one reader for each schema.
#[derive(Debug, Default)]
pub(super) struct Readers(HashMap<String, RowReader>);

impl Readers {
    /// The reader of this schema.
    ///
    /// # Errors
    /// [`FormatError::BadSchema`].
    pub(super) fn of(&mut self, schema: &str) -> Result<&mut RowReader, FormatError> {
        if !self.0.contains_key(schema) {
            let reader = RowReader::of(schema)?;
            if self.0.len() >= READERS {
                self.0.clear();
            }
            self.0.insert(schema.to_owned(), reader);
        }
        self.0.get_mut(schema).ok_or(FormatError::NotADataKey)
    }
}

/// The sum of a pair as its rows are read.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    columns: Vec<String>,
    rows: u64,
    sum: u128,
    parts: Parts,
}

/// What is known of the versions of a pair.
#[derive(Clone, Debug, Default)]
enum Parts {
    /// Two halves: whether a row was added and removed again is not said.
    #[default]
    None,
    /// Three parts.
    Three(Box<Versions>),
    /// Three parts with more rows than are remembered.
    TooMany,
    /// Three parts, all of them read: what rows that were both added and removed amount to.
    Read {
        /// Counted once more than they should be.
        surplus: u128,
        /// Their values.
        twice: Twice,
    },
}

/// Rows by their hashes, as long as rows that were not seen yet can be the same versions.
#[derive(Clone, Debug, Default)]
struct Versions {
    counts: HashMap<[u8; 16], Count>,
    /// Streams that have come beyond the first part.
    beyond: BTreeSet<StreamNumber>,
    are_all_beyond: bool,
    /// Streams that have come to their end.
    ended: BTreeSet<StreamNumber>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    value: u32,
    dead: u32,
    removed: u32,
}

/// Where a message of rows belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its part; none where there are no parts.
    pub part: Option<u8>,
    /// Its stream.
    pub stream: StreamNumber,
    /// How many streams there are.
    pub stream_total: u32,
    /// The last message of its stream.
    pub is_last: bool,
}

impl Tally {
    /// Takes the rows of a body in.
    ///
    /// # Errors
    /// [`FormatError`] where they cannot be read.
    pub fn take(
        &mut self,
        reader: &mut RowReader,
        body: &[u8],
        chunk: Chunk,
    ) -> Result<(), FormatError> {
        if self.columns.is_empty() {
            self.columns = reader.columns().to_vec();
        }
        reader.read(body, |row| self.take_row(row, chunk.part))?;
        if let Parts::Three(versions) = &mut self.parts
            && versions.go_on(chunk)
        {
            self.parts = versions.resolve();
        }
        Ok(())
    }

    fn take_row(&mut self, row: Row<'_>, part: Option<u8>) {
        let value = row_value(row.text);
        self.rows += 1;
        self.sum += u128::from(value);
        let Some(part @ (DEAD | REMOVED)) = part else { return };
        if let Parts::None = self.parts {
            self.parts = Parts::Three(Box::default());
        }
        let Parts::Three(versions) = &mut self.parts else { return };
        versions.take(row.bytes, value, part == DEAD);
        if versions.counts.len() > MOST {
            self.parts = Parts::TooMany;
        }
    }

    /// What the rows amount to, once all were taken in.
    pub fn finish(self) -> PairSum {
        let Self { columns, rows, sum: all, parts } = self;
        let parts = match parts {
            Parts::Three(versions) => versions.resolve(),
            other => other,
        };
        let (surplus, twice) = match parts {
            Parts::Read { surplus, twice } => (surplus, twice),
            _ => (0, Twice::Unknown),
        };
        PairSum { columns, rows, sum: all - surplus, all, twice }
    }
}

impl Versions {
    fn take(&mut self, row: &[u8], value: u32, is_dead: bool) {
        let mut hash = [0; 16];
        hash.copy_from_slice(&Sha256::digest(row)[..16]);
        if is_dead {
            let count = self.counts.entry(hash).or_default();
            (count.value, count.dead) = (value, count.dead.saturating_add(1));
        } else if !self.are_all_beyond {
            let count = self.counts.entry(hash).or_default();
            (count.value, count.removed) = (value, count.removed.saturating_add(1));
        } else if let Some(count) = self.counts.get_mut(&hash) {
            count.removed = count.removed.saturating_add(1);
        }
    }

    /// Once all streams are beyond the first part, a removed row that was not added by then is one
    /// of an earlier delta, and is forgotten. True once all have come to their end.
    fn go_on(&mut self, chunk: Chunk) -> bool {
        if chunk.is_last || chunk.part.is_some_and(|part| part > DEAD) {
            self.beyond.insert(chunk.stream);
        }
        if chunk.is_last {
            self.ended.insert(chunk.stream);
        }
        let are_all = |streams: &BTreeSet<_>| streams.len() as u64 >= chunk.stream_total.into();
        if !self.are_all_beyond && are_all(&self.beyond) {
            self.are_all_beyond = true;
            self.counts.retain(|_, count| count.dead > 0);
        }
        are_all(&self.ended)
    }

    fn resolve(&self) -> Parts {
        let mut values = Vec::new();
        let mut surplus = 0;
        for Count { value, dead, removed } in self.counts.values() {
            let both = (*dead).min(*removed);
            surplus += u128::from(*value) * u128::from(both);
            let room = (TWICE + 1).saturating_sub(values.len());
            values.extend(std::iter::repeat_n(*value, room.min(both as usize)));
        }
        let twice = if values.len() > TWICE { Twice::Many } else { Twice::Rows(values) };
        Parts::Read { surplus, twice }
    }
}

/// CHECK_SUM of a pair by its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairSum {
    /// The columns that it is over, in order.
    pub columns: Vec<String>,
    /// Rows.
    pub rows: u64,
    /// The sum: rows both added and removed are counted once, where they are known.
    pub sum: u128,
    /// The sum in which they are counted twice.
    all: u128,
    twice: Twice,
}

/// Rows that were both added and removed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Twice {
    /// The topic does not say which.
    Unknown,
    /// Their values, few.
    Rows(Vec<u32>),
    /// Too many to try all cases.
    Many,
}

/// What a pair's sum and a node's amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same rows.
    Equal,
    /// Other rows.
    Different,
    /// The node's sum is possible: a key that was removed and added again with the same values
    /// counts twice, one that was added and removed again counts once, and the topic does not say
    /// which it was.
    Undecided,
}

impl PairSum {
    /// Compares with the node's sum over the same columns. `repeats` says whether the delta can
    /// have changed a key more than once.
    pub fn compare(&self, node: u128, repeats: bool) -> Verdict {
        if node == self.sum {
            return Verdict::Equal;
        }
        let is_possible = node <= self.all;
        match &self.twice {
            Twice::Unknown if is_possible && repeats => Verdict::Undecided,
            Twice::Many if is_possible && node > self.sum => Verdict::Undecided,
            Twice::Rows(values) if is_possible && node > self.sum => {
                let more = node - self.sum;
                let cases = 0u32..1 << values.len();
                let sum = |case: u32| -> u128 {
                    let chosen = values.iter().enumerate().filter(|(at, _)| case >> at & 1 == 1);
                    chosen.map(|(_, value)| u128::from(*value)).sum()
                };
                let mut cases = cases.map(sum);
                if cases.any(|sum| sum == more) { Verdict::Equal } else { Verdict::Different }
            }
            _ => Verdict::Different,
        }
    }

    /// Whether [`PairSum::compare`] depends on `repeats`.
    pub fn wants_repeats(&self, node: u128) -> bool {
        self.twice == Twice::Unknown && node < self.sum
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test may panic")]
mod tests {
    use super::*;
    use crate::format::{Labeller, encode_key};
    use crate::model::{
        ChunkNumber, Column, ColumnType, Datamart, DeltaDate, DeltaNum, IncrementId, MessageKey,
        TableName,
    };

    /// A body of rows (id, v, sys_op), as bytes of its own: nothing but the format's document is
    /// asked what they are.
    fn body(rows: &[(i64, &str, bool)]) -> Vec<u8> {
        let columns = [
            Column { name: "id".into(), kind: ColumnType::Bigint },
            Column { name: "v".into(), kind: ColumnType::Varchar(None) },
        ];
        let key = MessageKey {
            increment: IncrementId("i".into()),
            datamart: Datamart::parse("d").unwrap(),
            delta: DeltaNum(0),
            date: DeltaDate(0),
            table: Some(TableName("t".into())),
            stream: StreamNumber(1),
            stream_total: 1,
            chunk: ChunkNumber(1),
            is_last: true,
        };
        let mut out = Vec::new();
        Labeller::new(&columns).label_empty(&key, &encode_key(&key), &mut out).unwrap();
        let sync = out[out.len() - 16..].to_vec();
        let mut block = Vec::new();
        for (id, v, removed) in rows {
            block.extend([2, (*id as u8) << 1, 2, (v.len() as u8) << 1]);
            block.extend(v.bytes());
            block.extend([2, u8::from(*removed) << 1]);
        }
        out.extend([(rows.len() as u8) << 1, (block.len() as u8) << 1]);
        assert!(rows.len() < 64 && block.len() < 64);
        out.extend(block);
        out.extend(sync);
        out
    }

    fn value(text: &str) -> u128 {
        u128::from(row_value(text.as_bytes()))
    }

    /// Messages: part, stream, last one, rows.
    type Made<'a> = (Option<u8>, u32, bool, &'a [(i64, &'a str, bool)]);

    fn sum(streams: u32, made: &[Made<'_>]) -> PairSum {
        let (mut tally, mut readers) = (Tally::default(), Readers::default());
        for (part, stream, is_last, rows) in made {
            let body = body(rows);
            let header = crate::format::container::Header::read(&body).unwrap();
            let reader = readers.of(header.schema().unwrap()).unwrap();
            let (part, is_last) = (*part, *is_last);
            let stream = StreamNumber(*stream);
            let chunk = Chunk { part, stream, stream_total: streams, is_last };
            tally.take(reader, &body, chunk).unwrap();
        }
        tally.finish()
    }

    #[test]
    fn a_version_added_and_removed_counts_once_in_whatever_order_streams_are_read() {
        let (dead, gone) = ((4, "d1", false), (4, "d1", true));
        let (old, alive) = ((2, "b", true), (2, "b-again", false));
        let wanted = value("4;d1") + value("2;b") + value("2;b-again");
        let parts: [Made<'_>; 3] = [
            (Some(1), 1, false, &[dead]),
            (Some(2), 1, false, &[old, gone]),
            (Some(3), 1, true, &[alive]),
        ];
        assert_eq!(sum(1, &parts).sum, wanted);
        // The removal is read in one stream before the addition in the other.
        let late: [Made<'_>; 4] = [
            (Some(2), 2, false, &[gone, old]),
            (Some(3), 2, true, &[alive]),
            (Some(1), 1, false, &[dead]),
            (Some(2), 1, true, &[]),
        ];
        assert_eq!(sum(2, &late).sum, wanted);
        assert_eq!(sum(2, &late).compare(wanted, true), Verdict::Equal);
    }

    #[test]
    fn a_version_removed_and_another_of_the_same_values_count_twice_if_the_node_says_so() {
        let same: [Made<'_>; 2] =
            [(Some(1), 1, false, &[(1, "a", false)]), (Some(2), 1, true, &[(1, "a", true)])];
        let pair = sum(1, &same);
        let once = value("1;a");
        assert_eq!(pair.compare(once, true), Verdict::Equal);
        assert_eq!(pair.compare(2 * once, true), Verdict::Equal);
        assert_eq!(pair.compare(2 * once - 1, true), Verdict::Different);
        assert_eq!(pair.compare(once - 1, true), Verdict::Different);
    }

    #[test]
    fn halves_differ_for_certain_only_where_no_key_can_repeat() {
        let halves: [Made<'_>; 2] =
            [(None, 1, false, &[(1, "a", false)]), (None, 1, true, &[(1, "a", true)])];
        let pair = sum(1, &halves);
        let once = value("1;a");
        assert_eq!(pair.compare(2 * once, false), Verdict::Equal);
        assert!(pair.wants_repeats(once));
        assert_eq!(pair.compare(once, true), Verdict::Undecided);
        assert_eq!(pair.compare(once, false), Verdict::Different);
        assert_eq!(pair.compare(2 * once + 1, true), Verdict::Different);
    }
}
