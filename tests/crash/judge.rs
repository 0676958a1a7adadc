//! Judges a topic in memory against what the node holds. Shares no code with the writer but the
//! reading of keys, which has its own oracle in tests/formats.

use std::collections::{BTreeMap, BTreeSet};

use deltakeep::backup::Summary;
use deltakeep::catalog::Seen;
use deltakeep::deliver::Message;
use deltakeep::format::{
    Manifest, TableManifest, decode_changelog, decode_key, read_label, verify_crc,
};
use deltakeep::model::{DeltaNum, MessageKey, Offset, Part, Partition, TableName};
use deltakeep::testing::{Memory, Stored, TestRow, read_rows};
use deltakeep::verify::{Asked, Level, Verifier};

use super::restore::Target;

type Increments = BTreeMap<(DeltaNum, String), Vec<(MessageKey, Vec<u8>)>>;

pub fn increments(memory: &Memory) -> Increments {
    let mut increments = Increments::new();
    for stored in memory.lock().topic.iter().flatten() {
        let Stored::Visible(message) = stored else { continue };
        assert_eq!(verify_crc(&message.key, &message.body), Ok(true), "crc");
        let key = decode_key(&message.key).expect("a key of ours");
        let increment = increments.entry((key.delta, key.increment.0.clone())).or_default();
        increment.push((key, message.body.clone()));
    }
    increments
}

/// By table and stream: the chunks seen, in order of offsets.
pub fn is_complete(messages: &[(MessageKey, Vec<u8>)]) -> bool {
    messages.iter().any(|(key, _)| key.table.is_none() && key.is_last)
}

/// Asserts the promise of a finished run.
pub fn check(memory: &Memory, summary: &Summary, seed: u64) {
    let increments = increments(memory);
    let deltas: Vec<DeltaNum> = memory.lock().deltas.iter().map(|d| d.num).collect();
    let mut target = Target::default();
    for delta in deltas {
        let of_delta: Vec<_> = increments.iter().filter(|((d, _), _)| *d == delta).collect();
        let complete: Vec<_> = of_delta.iter().filter(|(_, m)| is_complete(m)).collect();
        assert_eq!(complete.len(), 1, "seed {seed}: complete increments of delta {delta}");
        check_increment(memory, delta, complete[0].1, seed);
        let messages = complete[0].1;
        manifest(messages).tables.iter().for_each(|table| {
            target.check(memory, delta, table, &rows_of(messages, &table.name), seed);
        });
    }
    check_verified(memory, seed);
    check_leavings(memory, summary, seed);
}

/// Whatever a run went through, `verify` finds nothing wrong with what it left in the topic.
fn check_verified(memory: &Memory, seed: u64) {
    let mut verifier = Verifier::new(Asked::default());
    let topic = memory.lock().topic.clone();
    for (partition, messages) in (0..).map(Partition).zip(&topic) {
        for (offset, stored) in (0..).map(Offset).zip(messages) {
            let Stored::Visible(Message { key, body, .. }) = stored else { continue };
            verifier.see(Seen { partition, offset, key, body });
        }
    }
    let report = verifier.finish(&vec![Offset(0); topic.len()]);
    let found: Vec<_> = report.findings.list().filter(|f| f.kind.level() < Level::Note).collect();
    assert!(found.is_empty(), "seed {seed}: {found:#?}");
}

fn check_increment(
    memory: &Memory,
    delta: DeltaNum,
    messages: &[(MessageKey, Vec<u8>)],
    seed: u64,
) {
    let mut streams: BTreeMap<_, Vec<&MessageKey>> = BTreeMap::new();
    let mut rows: BTreeMap<String, Vec<TestRow>> = BTreeMap::new();
    let in_parts: BTreeSet<TableName> = manifest(messages)
        .tables
        .into_iter()
        .filter(|table| table.parts.is_some())
        .map(|table| table.name)
        .collect();
    for (key, body) in messages {
        streams.entry((key.table.clone(), key.stream)).or_default().push(key);
        if let Some(table) = &key.table {
            rows.entry(table.0.clone()).or_default().extend(read_rows(body));
        }
    }
    for ((table, stream), keys) in &streams {
        let numbers: Vec<u64> = keys.iter().map(|key| key.chunk.0).collect();
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        let sources: Vec<_> = messages
            .iter()
            .filter(|(key, _)| key.table == *table && key.stream == *stream)
            .map(|(_, body)| read_label(body).unwrap().src.map(str::to_owned))
            .collect();
        assert_eq!(
            numbers, expected,
            "seed {seed}: chunks of {delta} {table:?} {stream} from {sources:?}"
        );
        let lasts: Vec<bool> = keys.iter().map(|key| key.is_last).collect();
        assert_eq!(lasts.iter().filter(|l| **l).count(), 1, "seed {seed}: last chunks");
        assert_eq!(lasts.last(), Some(&true), "seed {seed}: the last chunk is the last");
        let of_table = streams.keys().filter(|(t, _)| t == table).count() as u32;
        assert!(keys.iter().all(|key| key.stream_total == of_table), "seed {seed}: totals");
    }
    let inner = memory.lock();
    let held: BTreeMap<String, Vec<TestRow>> = inner
        .rows
        .iter()
        .filter(|((d, _), _)| *d == delta)
        .map(|((_, table), rows)| {
            let parts = || Part::ALL.map(|part| inner.part(delta, table, part)).concat();
            let rows = if in_parts.contains(table) { parts() } else { rows.clone() };
            (table.0.clone(), rows)
        })
        .collect();
    assert_eq!(sorted(rows), sorted(held), "seed {seed}: rows of delta {delta}");
    let log = inner.changes.clone();
    let newest = inner.deltas.last().map(|d| d.num);
    drop(inner);
    let count = if newest == Some(delta) { log.0.len() } else { log.before(delta) };
    check_changelog(messages, &log.0[..count], seed);
}

fn sorted(mut rows: BTreeMap<String, Vec<TestRow>>) -> BTreeMap<String, Vec<TestRow>> {
    rows.values_mut().for_each(|rows| rows.sort());
    rows
}

fn check_changelog(
    messages: &[(MessageKey, Vec<u8>)],
    log: &[deltakeep::model::Change],
    seed: u64,
) {
    let changelog = messages.iter().filter(|(key, _)| key.table.is_none());
    let records: Vec<_> =
        changelog.clone().flat_map(|(_, body)| decode_changelog(body).unwrap()).collect();
    let expected: Vec<_> = log.iter().map(deltakeep::format::ChangeRecord::from).collect();
    assert_eq!(records, expected, "seed {seed}: changelog");
    for table in &manifest(messages).tables {
        let of_table: Vec<_> =
            messages.iter().filter(|(key, _)| key.table.as_ref() == Some(&table.name)).collect();
        assert_eq!(of_table.len() as u64, table.chunks.iter().sum::<u64>(), "seed {seed}");
        let rows: Vec<TestRow> = of_table.iter().flat_map(|(_, body)| read_rows(body)).collect();
        let added = rows.iter().filter(|row| row.sys_op == 0).count() as u64;
        assert_eq!((added, rows.len() as u64 - added), (table.rows_added, table.rows_removed));
        check_parts(&of_table, table, seed);
    }
}

/// Parts follow one another in one stream, each with as many chunks as the manifest says.
fn check_parts(messages: &[&(MessageKey, Vec<u8>)], table: &TableManifest, seed: u64) {
    let parts: Vec<Option<u8>> =
        messages.iter().map(|(_, body)| read_label(body).unwrap().part).collect();
    let Some(chunks) = &table.parts else {
        assert!(parts.iter().all(Option::is_none), "seed {seed}: {parts:?}");
        return;
    };
    let numbered = (1..).zip(chunks);
    let wanted: Vec<Option<u8>> =
        numbered.flat_map(|(part, chunks)| vec![Some(part); *chunks as usize]).collect();
    assert_eq!((table.streams, parts), (1, wanted), "seed {seed}: parts of {}", table.name);
}

pub fn manifest(messages: &[(MessageKey, Vec<u8>)]) -> Manifest {
    let changelog = messages.iter().filter(|(key, _)| key.table.is_none());
    let last = changelog.max_by_key(|(key, _)| key.chunk).expect("a changelog");
    Manifest::parse(read_label(&last.1).unwrap().manifest.unwrap()).unwrap()
}

/// Rows of a table by part, in the order in which they are to be loaded; of a table that is not in
/// parts all together.
fn rows_of(messages: &[(MessageKey, Vec<u8>)], table: &TableName) -> BTreeMap<u8, Vec<TestRow>> {
    let mut rows: BTreeMap<u8, Vec<TestRow>> = BTreeMap::new();
    for (_, body) in messages.iter().filter(|(key, _)| key.table.as_ref() == Some(table)) {
        let part = read_label(body).unwrap().part.unwrap_or(0);
        rows.entry(part).or_default().extend(read_rows(body));
    }
    rows
}

fn check_leavings(memory: &Memory, summary: &Summary, seed: u64) {
    let inner = memory.lock();
    assert_eq!(inner.lock, None, "seed {seed}: the lock is open");
    assert_eq!(inner.marker, None, "seed {seed}: the marker is gone");
    assert_eq!(inner.tables_made.len(), 0, "seed {seed}: no external table is left");
    let left: Vec<_> = inner.staging.keys().filter(|t| !summary.quarantined.contains(t)).collect();
    assert_eq!(left, Vec::<&String>::new(), "seed {seed}: no staging topic is left");
    let hidden = inner.lanes.values().map(|open| open.written.len()).sum::<usize>();
    assert_eq!(hidden, 0, "seed {seed}: no transaction is open");
}

/// What the manifests say of the changelog, each answer once.
pub fn logs_complete(memory: &Memory) -> Vec<bool> {
    let bodies = increments(memory).into_values().flatten().map(|(_, body)| body);
    let said = bodies.filter_map(|body| {
        let manifest = read_label(&body).ok()?.manifest?;
        Manifest::parse(manifest).ok().map(|manifest| manifest.changelog_complete)
    });
    let said: std::collections::BTreeSet<bool> = said.collect();
    said.into_iter().collect()
}
