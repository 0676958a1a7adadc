//! The changelog records of a datamart as its increments carry them: each text is kept once, an
//! increment keeps numbers of texts, because every increment repeats all earlier records.

use std::collections::BTreeMap;

use super::definition::{self, Definition};
use crate::format::{ChangeRecord, row_schema};
use crate::model::TableName;

/// Place of a record among those of its datamart.
pub(super) type RecordId = u32;

/// What the changelog makes of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Made<'a> {
    /// Rows with this schema.
    Schema(&'a str),
    /// A table, in words that are not understood.
    Unknown,
    /// It does not create the table.
    Nothing,
}

#[derive(Clone, Debug)]
enum Known {
    Schema(String),
    Unknown,
    Other,
}

/// All records that the increments of a datamart carry.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    records: Vec<ChangeRecord>,
    known: Vec<Known>,
    by_number: BTreeMap<u64, Vec<RecordId>>,
}

impl Records {
    /// The id of a record; the same for the same number, entity and statement.
    pub(super) fn intern(&mut self, record: ChangeRecord) -> RecordId {
        let same = self.by_number.entry(record.num).or_default();
        if let Some(id) = same.iter().find(|id| self.records[**id as usize] == record) {
            return *id;
        }
        let id = self.records.len() as RecordId;
        same.push(id);
        self.known.push(match definition::read(&record.query) {
            Definition::Table(columns) => Known::Schema(row_schema(&columns)),
            Definition::Unknown => Known::Unknown,
            Definition::Other => Known::Other,
        });
        self.records.push(record);
        id
    }

    /// A record.
    pub(super) fn get(&self, id: RecordId) -> &ChangeRecord {
        &self.records[id as usize]
    }

    /// What the newest CREATE TABLE of `table` makes, of those among `log` that ran before the
    /// delta: whose numbers are below `replay_before`.
    pub(super) fn made(&self, log: &[RecordId], replay_before: u64, table: &TableName) -> Made<'_> {
        let ran = log.iter().rev().filter(|id| self.get(**id).num < replay_before);
        let mut of_table = ran.filter(|id| self.get(**id).entity.eq_ignore_ascii_case(&table.0));
        let made = of_table.find_map(|id| match &self.known[*id as usize] {
            Known::Schema(schema) => Some(Made::Schema(schema)),
            Known::Unknown => Some(Made::Unknown),
            Known::Other => None,
        });
        made.unwrap_or(Made::Nothing)
    }

    /// The first place where two logs differ, as far as both go.
    pub(super) fn difference(&self, one: &[RecordId], other: &[RecordId]) -> Option<u64> {
        let pairs = one.iter().zip(other);
        pairs.into_iter().find(|(a, b)| a != b).map(|(a, _)| self.get(*a).num)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(num: u64, entity: &str, query: &str) -> ChangeRecord {
        ChangeRecord { num, entity: entity.into(), query: query.into() }
    }

    #[test]
    fn a_table_is_what_its_newest_creation_before_the_delta_makes_of_it() {
        let mut records = Records::default();
        let log: Vec<_> = [
            record(0, "t", "CREATE TABLE d.t (id bigint)"),
            record(1, "u", "CREATE TABLE d.u (id int)"),
            record(2, "t", "DROP TABLE d.t"),
            record(3, "t", "CREATE TABLE d.t (id int32)"),
            record(4, "w", "CREATE TABLE d.w (id money)"),
        ]
        .into_iter()
        .map(|record| records.intern(record))
        .collect();
        let base = |made: Made<'_>| match made {
            Made::Schema(schema) if schema.contains(r#"["null","long"]"#) => "long",
            Made::Schema(_) => "int",
            Made::Unknown => "unknown",
            Made::Nothing => "nothing",
        };
        let made =
            |before: u64, table: &str| base(records.made(&log, before, &TableName(table.into())));
        assert_eq!((made(1, "t"), made(3, "t"), made(4, "t")), ("long", "long", "int"));
        assert_eq!((made(1, "u"), made(5, "w"), made(5, "x")), ("nothing", "unknown", "nothing"));
    }

    #[test]
    fn equal_records_are_kept_once_and_others_tell_logs_apart() {
        let mut records = Records::default();
        let one: Vec<_> = (0..3).map(|n| records.intern(record(n, "t", "DROP"))).collect();
        let same: Vec<_> = (0..2).map(|n| records.intern(record(n, "t", "DROP"))).collect();
        let other: Vec<_> =
            (0..3).map(|n| records.intern(record(n, "t", ["DROP", "X"][n as usize % 2]))).collect();
        assert_eq!(records.records.len(), 4);
        assert_eq!(records.difference(&one, &same), None);
        assert_eq!(records.difference(&one, &other), Some(1));
    }
}
