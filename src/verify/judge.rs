//! One increment after everything was read: whether all of it is there, and is what its manifest
//! and its changelog say. Only increments whose changelog ended are held to that: the others are
//! what stopped runs left behind.

use std::collections::{BTreeMap, BTreeSet};

use super::increment::{Increment, Writer};
use super::log::Made;
use super::numbers::ranges;
use super::stream::Stream;
use super::{Kind, Place, Verifier};
use crate::format::{Manifest, TableManifest};
use crate::model::TableName;

/// What is wrong, at a place of the increment.
type Wrong = Vec<(Kind, Place, String)>;

impl Verifier {
    /// Judges an increment, and notes whether it is whole.
    pub(super) fn judge_increment(&mut self, number: usize) {
        let increment = &self.increments[number];
        if !increment.has_ended() {
            return;
        }
        let mut wrong = Wrong::new();
        self.judge_streams(number, &mut wrong);
        match increment.writer {
            Writer::Own => self.judge_own(number, &mut wrong),
            Writer::Other => {}
        }
        self.increments[number].is_whole = !self.increments[number].is_damaged
            && wrong.iter().all(|(kind, ..)| *kind == Kind::Unchecked);
        for (kind, place, text) in wrong {
            self.findings.add(kind, place, text);
        }
    }

    /// Streams and chunks, by the keys' own numbers.
    fn judge_streams(&self, number: usize, wrong: &mut Wrong) {
        let increment = &self.increments[number];
        let mut tables: BTreeMap<Option<&TableName>, Vec<&Stream>> = BTreeMap::new();
        for stream in self.streams_of(number) {
            let place = stream.place(increment);
            wrong
                .extend(stream.wrong().into_iter().map(|(kind, text)| (kind, place.clone(), text)));
            tables.entry(stream.table.as_ref()).or_default().push(stream);
        }
        for (table, streams) in tables {
            let place = increment.place().at_table(table);
            if let Some((kind, text)) = wrong_streams(&streams, increment.writer) {
                wrong.push((kind, place.clone(), text));
            }
            if streams.iter().any(|stream| stream.schema != streams[0].schema) {
                let text = "streams of the table have different schemas".to_owned();
                wrong.push((Kind::Differs, place, text));
            }
        }
    }

    /// What only our increments promise.
    fn judge_own(&self, number: usize, wrong: &mut Wrong) {
        let increment = &self.increments[number];
        if let Some((partition, offset)) = increment.stranger {
            let place =
                Place { partition: Some(partition), offset: Some(offset), ..increment.place() };
            wrong.push((Kind::Foreign, place, "a message that another tool wrote".to_owned()));
        }
        self.judge_order(number, wrong);
        let Some(manifest) = &increment.manifest else {
            // A last body that is damaged was told of already.
            if !increment.is_damaged {
                let text = "the increment has no manifest".to_owned();
                wrong.push((Kind::Lost, increment.place(), text));
            }
            return;
        };
        let mut differs = |text: &str| {
            wrong.push((Kind::Differs, increment.place(), text.to_owned()));
        };
        if manifest.datamart != increment.datamart {
            differs("the manifest is one of another datamart");
        }
        if Some(manifest.replay_before) != increment.replay_before {
            differs("deltakeep.replayBefore is not that of the manifest");
        }
        if manifest.replay_before > increment.log.len() as u64 {
            differs("the changelog has fewer records than ran before the delta");
        }
        self.judge_tables(number, manifest, wrong);
        self.judge_schemas(number, manifest, wrong);
    }

    /// The changelog is written last: nothing of the increment lies behind its beginning.
    fn judge_order(&self, number: usize, wrong: &mut Wrong) {
        let increment = &self.increments[number];
        let changelogs = self.streams_of(number).filter(|stream| stream.table.is_none());
        let Some(changelog) = changelogs.min_by_key(|stream| stream.number) else { return };
        let data = self.streams_of(number).filter(|stream| stream.table.is_some());
        for stream in data {
            if stream.partition == changelog.partition && stream.last > changelog.first {
                let place = Place { offset: Some(stream.last), ..stream.place(increment) };
                let text = format!("it lies behind the changelog at offset {}", changelog.first);
                wrong.push((Kind::Order, place, text));
            }
        }
    }

    /// Tables, streams, chunks, rows and parts are those of the manifest.
    fn judge_tables(&self, number: usize, manifest: &Manifest, wrong: &mut Wrong) {
        let increment = &self.increments[number];
        let mut found: BTreeMap<&TableName, Vec<&Stream>> = BTreeMap::new();
        for stream in self.streams_of(number) {
            if let Some(table) = &stream.table {
                found.entry(table).or_default().push(stream);
            }
        }
        let mut named = BTreeSet::new();
        for table in &manifest.tables {
            let place = increment.place().at_table(Some(&table.name));
            if !named.insert(&table.name) {
                let text = "the manifest names the table twice".to_owned();
                wrong.push((Kind::Differs, place, text));
            } else if let Some(streams) = found.remove(&table.name) {
                let texts = unlike(table, &streams, increment.is_damaged);
                wrong.extend(texts.into_iter().map(|(kind, text)| (kind, place.clone(), text)));
            } else {
                let text = "nothing of the table is there".to_owned();
                wrong.push((Kind::Lost, place, text));
            }
        }
        for table in found.into_keys() {
            let place = increment.place().at_table(Some(table));
            wrong.push((Kind::Extra, place, "a table that the manifest does not name".to_owned()));
        }
    }

    /// Names and types of the rows are those that the changelog creates.
    fn judge_schemas(&self, number: usize, manifest: &Manifest, wrong: &mut Wrong) {
        let increment = &self.increments[number];
        let Some(records) = self.records.get(&increment.datamart) else { return };
        for stream in self.streams_of(number).filter(|stream| stream.number.0 <= 1) {
            let (Some(table), Some(schema)) = (&stream.table, &stream.schema) else { continue };
            let made = records.made(&increment.log, manifest.replay_before, table);
            let place = increment.place().at_table(Some(table));
            match made {
                Made::Schema(made) if *made == **schema => {}
                Made::Schema(made) => {
                    let text = format!("the changelog creates rows of {made}, found are {schema}");
                    wrong.push((Kind::Schema, place, text));
                }
                Made::Nothing if manifest.changelog_complete => {
                    let text = "the changelog does not create the table before the delta";
                    wrong.push((Kind::Schema, place, text.to_owned()));
                }
                Made::Nothing => {
                    let text = "its columns: the table is older than the changelog";
                    wrong.push((Kind::Unchecked, place, text.to_owned()));
                }
                Made::Unknown => {
                    let text = "its columns: the CREATE TABLE is not understood";
                    wrong.push((Kind::Unchecked, place, text.to_owned()));
                }
            }
        }
    }
}

impl Increment {
    /// Where it is.
    pub(super) fn place(&self) -> Place {
        Place {
            datamart: Some(self.datamart.clone()),
            delta: Some(self.delta),
            increment: Some(self.id.clone()),
            ..Place::default()
        }
    }
}

impl Stream {
    /// Where it is.
    pub(super) fn place(&self, of: &Increment) -> Place {
        let place = of.place().at_table(self.table.as_ref());
        Place { partition: Some(self.partition), stream: Some(self.number), ..place }
    }

    /// What its own chunks tell of it.
    fn wrong(&self) -> Vec<(Kind, String)> {
        let mut wrong = Vec::new();
        let max = self.chunks.max();
        let last = self.end.map_or(max, |end| end.0);
        if self.chunks.is_scattered() {
            let text = "its chunks lie too scattered to be counted".to_owned();
            wrong.push((Kind::Lost, text));
            return wrong;
        }
        let missing = self.chunks.missing(last);
        if !missing.is_empty() {
            wrong.push((Kind::Lost, format!("chunks {} are not there", ranges(&missing))));
        }
        if self.end.is_none() {
            wrong.push((Kind::Lost, format!("the chunks after {max} are not there")));
        }
        if max > last {
            let text = format!("there are chunks up to {max}, but {last} is the last one");
            wrong.push((Kind::Extra, text));
        }
        wrong
    }
}

/// Streams 1 to the promised number; of another tool also 0 to one less. What a key promises can be
/// any number, so they are compared as ranges.
fn wrong_streams(streams: &[&Stream], writer: Writer) -> Option<(Kind, String)> {
    let total = u64::from(streams[0].total);
    let numbers: BTreeSet<u64> = streams.iter().map(|s| u64::from(s.number.0)).collect();
    let from_zero = writer == Writer::Other && numbers.contains(&0);
    let first = u64::from(!from_zero);
    let end = first + total;
    if streams.iter().any(|stream| u64::from(stream.total) != total) {
        return Some((Kind::Differs, "streams promise different numbers of streams".to_owned()));
    }
    let mut missing = Vec::new();
    let mut next = first;
    for number in numbers.range(first..end).copied().chain([end]) {
        if next < number {
            missing.push((next, number - 1));
        }
        next = number + 1;
    }
    if !missing.is_empty() {
        let text = format!("of {total} streams, {} are not there", ranges(&missing));
        return Some((Kind::Lost, text));
    }
    let extra: Vec<_> = numbers.into_iter().filter(|n| !(first..end).contains(n)).collect();
    let list = || ranges(&extra.iter().map(|n| (*n, *n)).collect::<Vec<_>>());
    (!extra.is_empty())
        .then(|| (Kind::Extra, format!("there should be {total} streams, not {}", list())))
}

/// Where a table is not what its manifest says. Rows of a damaged increment are not compared: what
/// could not be read was not counted.
fn unlike(table: &TableManifest, streams: &[&Stream], is_damaged: bool) -> Vec<(Kind, String)> {
    let mut wrong = Vec::new();
    let mut compare = |what: &str, promised: String, found: String| {
        if promised != found {
            let text = format!("the manifest says {promised} {what}, found are {found}");
            wrong.push((Kind::Differs, text));
        }
    };
    compare("streams", table.streams.to_string(), streams.len().to_string());
    let chunks: Vec<u64> = streams.iter().map(|stream| stream.chunks.max()).collect();
    compare("chunks", format!("{:?}", table.chunks), format!("{chunks:?}"));
    if !is_damaged {
        let rows = streams.iter().map(|stream| stream.records).fold(0, u64::saturating_add);
        let promised = table.rows_added.saturating_add(table.rows_removed);
        compare("rows", promised.to_string(), rows.to_string());
        let parts: Vec<u64> =
            (1..4).map(|part| streams.iter().map(|s| s.parts[part]).sum()).collect();
        let promised = table.parts.clone().unwrap_or_else(|| vec![0; 3]);
        compare("chunks in parts", format!("{promised:?}"), format!("{parts:?}"));
    }
    wrong
}
