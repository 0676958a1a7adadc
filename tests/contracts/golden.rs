//! The bytes of journal entries: as released versions wrote them, for ever readable, and any
//! flipped bit refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use deltakeep::journal::drill_record::{Doing, Failing, PairCompared, Span, Sums, Told};
use deltakeep::journal::envelope::{EnvelopeError, FORMAT, decode, encode};
use deltakeep::journal::{
    DrillFact, DrillShape, Fact, Place, Progress, Record, RestoreFact, RestoreShape, Shape,
    StreamKey, Tally,
};
use deltakeep::model::{
    Attempt, AttemptName, Column, ColumnType, Datamart, Datasource, Delta, DeltaDate, DeltaNum,
    KeyCounts, LockCode, Moment, Offset, Owner, Part, Partition, RunId, StreamNumber, Table,
    TableName,
};
use uuid::Uuid;

fn path(format: u16) -> PathBuf {
    let root = env!("CARGO_MANIFEST_DIR");
    PathBuf::from(format!("{root}/tests/golden/journal/v{format}/records.hex"))
}

fn run() -> RunId {
    RunId(Uuid::from_u128(0x1234_5678_9abc_4ef0_9122_3344_5566_7788))
}

fn attempt() -> Attempt {
    Attempt {
        name: AttemptName::new(run(), DeltaNum(3), 1, 2, 0xabcd),
        delta: DeltaNum(3),
        table: TableName("sales".into()),
        datasource: Some(Datasource("adqm".into())),
        partitions: 4,
        chunk_size: 1000,
    }
}

fn table() -> Table {
    let kinds = [
        ColumnType::Boolean,
        ColumnType::Int32,
        ColumnType::Int,
        ColumnType::Bigint,
        ColumnType::Float,
        ColumnType::Double,
        ColumnType::Char(9),
        ColumnType::Varchar(None),
        ColumnType::Varchar(Some(300)),
        ColumnType::Uuid,
        ColumnType::Link,
        ColumnType::Date,
        ColumnType::Time(Some(6)),
        ColumnType::Timestamp(None),
    ];
    let column = |(n, kind)| Column { name: format!("c{n}"), kind };
    Table {
        name: TableName("sales".into()),
        columns: kinds.into_iter().enumerate().map(column).collect(),
        datasources: vec![Datasource("adp".into()), Datasource("adqm".into())],
        primary_key: vec![],
    }
}

fn started() -> Fact {
    let datamart = Datamart::parse("marketing").unwrap();
    Fact::Started {
        owner: Owner { run: run(), day: 9, started: "20261121t0525z".into() },
        datamart: "marketing".into(),
        topic: "backup".into(),
        code: LockCode::new(&datamart, 9),
        shape: Shape {
            datasource: Some("adqm".into()),
            datasource_fallback: true,
            chunk_size: 1000,
            threads: 4,
            partitions: 3,
            checksums: true,
            asked: Some((DeltaNum(2), 5)),
            fill_gaps: false,
        },
    }
}

fn planning() -> Vec<(&'static str, Fact)> {
    let delta =
        Delta { num: DeltaNum(3), date: DeltaDate(1_795_000_000_000_000), cn_from: -1, cn_to: 300 };
    let planned = Fact::Planned {
        changes: 8,
        hash: [0xa5; 32],
        newest: DeltaNum(9),
        node: "5.5.0".into(),
        partitions: 3,
    };
    vec![
        ("started", started()),
        ("locked", Fact::Locked),
        ("released", Fact::Released),
        ("table_planned", Fact::TablePlanned(table())),
        ("delta_planned", Fact::DeltaPlanned(delta)),
        ("planned", planned),
    ]
}

fn working() -> Vec<(&'static str, Fact)> {
    let (name, delta, table) = (attempt().name, DeltaNum(3), TableName("sales".into()));
    let sums = (Some("123456789012345678901234567890".into()), None);
    vec![
        ("delta_begun", Fact::DeltaBegun { delta, issue: 1 }),
        ("attempt_opened", Fact::AttemptOpened { attempt: attempt(), issue: 1 }),
        ("sealed", Fact::Sealed { name: name.clone(), ends: vec![0, 300, 70_000] }),
        ("attempt_dropped", Fact::AttemptDropped { name: name.clone(), answered: false }),
        ("attempt_gone", Fact::AttemptGone { name: name.clone() }),
        ("attempt_quarantined", Fact::AttemptQuarantined { name }),
        ("empty_pair", Fact::EmptyPair { delta, issue: 1, table: table.clone() }),
        ("table_done", Fact::TableDone { delta, issue: 1, table, sums }),
        ("delta_done", Fact::DeltaDone { delta, issue: 1 }),
        ("finished", Fact::Finished),
        ("chunks_shrunk", Fact::ChunksShrunk { delta, rows: 500 }),
        ("gaps_asked", Fact::GapsAsked),
    ]
}

fn progress() -> Record {
    let tally = Tally { total: 2, chunks: 7, hash: u64::MAX - 5, lasts: vec![(8, 300), (9, 0)] };
    Record::Progress(
        StreamKey {
            delta: DeltaNum(3),
            issue: 1,
            table: Some(TableName("sales".into())),
            stream: StreamNumber(2),
        },
        Progress {
            chunks: 70_000,
            last: Some((Partition(2), Offset(1 << 40))),
            bytes: 1 << 36,
            added: 5,
            removed: 4,
            tallies: BTreeMap::from([((0, 1), tally.clone()), ((1, 0), tally)]),
        },
    )
}

/// Facts about repeated keys.
fn in_parts() -> Vec<(&'static str, Fact)> {
    let (name, delta, table) = (attempt().name, DeltaNum(3), TableName("sales".into()));
    let datasource = Some(Datasource("adqm".into()));
    let (alive, dead, replaced) = (Some(300), Some(1 << 40), None);
    let counts = KeyCounts { started: 70_000, finished: 1, keys: 250, alive, dead, replaced };
    let counted = |datasource, counts| {
        let table = TableName("sales".into());
        Fact::KeysCounted { delta, issue: 1, table, datasource, counts }
    };
    let columns = vec!["id".into(), "date".into()];
    vec![
        ("key_planned", Fact::KeyPlanned { table: table.clone(), columns }),
        ("keys_counted", counted(datasource, Some(counts))),
        ("keys_not_counted", counted(None, None)),
        ("part_opened", Fact::PartOpened { attempt: attempt(), issue: 1, part: Part::Removed }),
        ("part_sealed", Fact::PartSealed { name, ends: vec![300], rows: 70_000 }),
        ("parts_refused", Fact::PartsRefused { delta, issue: 1, table }),
    ]
}

fn restore_started() -> RestoreFact {
    let shape = RestoreShape {
        source: "marketing".into(),
        target: "copy".into(),
        threads: 4,
        partitions: 2,
        message_limit: Some(500),
        datasource: Some("adp".into()),
        accept_differences: true,
    };
    let owner = Owner { run: run(), day: 9, started: "20261121t0525z".into() };
    RestoreFact::Started { owner, topic: "backup".into(), shape }
}

fn restoring() -> Vec<(&'static str, Fact)> {
    let (name, delta, table) = (attempt().name, DeltaNum(3), TableName("sales".into()));
    let increment = deltakeep::model::IncrementId::of(run(), delta, 1);
    let date = DeltaDate(1_795_000_000_000_000);
    let facts = [
        ("restore_started", restore_started()),
        ("restore_delta_chosen", RestoreFact::DeltaChosen { delta, increment, date }),
        ("restore_planned", RestoreFact::Planned { ends: vec![Offset(300)], trailing: true }),
        ("restore_skipped", RestoreFact::Skipped { num: 300 }),
        ("restore_delta_begun", RestoreFact::DeltaBegun { delta }),
        ("restore_delta_given_up", RestoreFact::DeltaGivenUp { delta }),
        (
            "restore_load_opened",
            RestoreFact::LoadOpened { name: name.clone(), delta, table, part: 3 },
        ),
        ("restore_load_sent", RestoreFact::LoadSent { name: name.clone(), messages: 9, rows: 300 }),
        ("restore_load_done", RestoreFact::LoadDone { name: name.clone() }),
        ("restore_load_failed", RestoreFact::LoadFailed { name: name.clone() }),
        ("restore_load_gone", RestoreFact::LoadGone { name }),
        ("restore_commit_intended", RestoreFact::CommitIntended { delta }),
        ("restore_delta_done", RestoreFact::DeltaDone { delta }),
        ("restore_finished", RestoreFact::Finished),
    ];
    facts.into_iter().map(|(name, fact)| (name, Fact::Restore(fact))).collect()
}

fn drilling() -> Vec<(&'static str, Fact)> {
    let (delta, table, date) = (DeltaNum(3), TableName("sales".into()), DeltaDate(1 << 50));
    let place = |node: &str| Place { node: node.into(), datamart: "marketing".into() };
    let RestoreFact::Started { owner, topic, shape: restore } = restore_started() else {
        unreachable!()
    };
    let shape = DrillShape {
        source: place("node:9090"),
        scratch: place("other:9090"),
        keep: true,
        report: Some("/var/lib/drill".into()),
        restore,
    };
    let at = Moment(1_795_000_000_000_001);
    let message = Some((Partition(2), Offset(300)));
    let failing =
        Failing { text: "lost".into(), delta: Some(delta), table: Some(table.clone()), message };
    let span = |doing, table| {
        let (from, to) = (Moment(300), Moment(70_000));
        DrillFact::Spent(Span { doing, delta, table, from, to, rows: 9, bytes: 1 << 40 })
    };
    let sums = Sums {
        manifest: Told::Sum("12".into()),
        scratch: Told::Refused("no".into()),
        source: Told::NoDelta,
    };
    let others = Sums { manifest: Told::NoSum, scratch: Told::NoTable, source: Told::NoSum };
    let pair = PairCompared {
        table: table.clone(),
        rows: 5,
        exact: true,
        changes: sums,
        snapshot: others,
    };
    let (backup, scratch, source) = (date, Some(date), None);
    let compared = DrillFact::DeltaCompared { delta, backup, scratch, source, pairs: vec![pair] };
    let names = |name: &str| vec![name.to_owned()];
    let (backup, scratch, source) = (names("a"), names("b"), vec![]);
    let facts = [
        ("drill_started", DrillFact::Started { owner, topic, shape: Box::new(shape), at }),
        ("drill_resumed", DrillFact::Resumed { at }),
        ("drill_scratch_intended", DrillFact::ScratchIntended),
        ("drill_scratch_owned", DrillFact::ScratchOwned { at }),
        ("drill_started_over", DrillFact::StartedOver),
        ("drill_spent_delta", span(Doing::Delta, None)),
        ("drill_spent_fill", span(Doing::Fill, Some(table.clone()))),
        ("drill_spent_load", span(Doing::Load, Some(table))),
        ("drill_spent_rolled_back", span(Doing::RolledBack, None)),
        ("drill_restored", DrillFact::Restored { at, failing: None }),
        ("drill_restored_in_part", DrillFact::Restored { at, failing: Some(failing) }),
        ("drill_entities", DrillFact::EntitiesCompared { backup, scratch, source }),
        ("drill_delta_compared", compared),
        ("drill_compared", DrillFact::Compared { at, newest: Some((delta, date)) }),
        ("drill_drop_intended", DrillFact::DropIntended),
        ("drill_scratch_done", DrillFact::ScratchDone { at, dropped: true }),
    ];
    facts.into_iter().map(|(name, fact)| (name, Fact::Drill(fact))).collect()
}

/// One record of each kind, by name.
fn samples() -> Vec<(&'static str, Record)> {
    let facts = planning().into_iter().chain(working()).chain(in_parts());
    let mut samples: Vec<_> = facts.map(|(name, fact)| (name, Record::Fact(fact))).collect();
    samples.push(("progress", progress()));
    samples.push(("horizon", Record::Horizon(vec![Offset(0), Offset(-1), Offset(i64::MAX)])));
    let later = restoring().into_iter().chain(drilling());
    samples.extend(later.map(|(name, fact)| (name, Record::Fact(fact))));
    let view = Fact::ViewPlanned { view: "totals".into() };
    samples.push(("view_planned", Record::Fact(view)));
    samples
}

fn goldens() -> Vec<(String, Vec<u8>)> {
    let text = std::fs::read_to_string(path(1)).unwrap();
    let line = |line: &str| {
        let (name, hex) = line.split_once(' ').unwrap();
        let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (name.to_owned(), (0..hex.len()).step_by(2).map(digits).collect())
    };
    text.lines().map(line).collect()
}

#[test]
fn entries_of_format_1_are_read_as_they_were_meant() {
    let goldens = goldens();
    assert_eq!(goldens.len(), samples().len());
    for ((name, bytes), (expected_name, expected)) in goldens.iter().zip(samples()) {
        assert_eq!(name, expected_name);
        assert_eq!(decode::<Record>(bytes).as_ref(), Ok(&expected), "{name}");
    }
}

#[test]
fn entries_are_still_written_as_format_1() {
    assert_eq!(FORMAT, 1, "a new format needs goldens of its own");
    for ((name, bytes), (_, value)) in goldens().iter().zip(samples()) {
        assert_eq!(encode(&value).as_ref(), Ok(bytes), "{name}");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for (name, bytes) in goldens() {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = decode::<Record>(&flipped);
            let refused = matches!(read, Err(EnvelopeError::Checksum | EnvelopeError::Foreign));
            assert!(refused, "{name} bit {bit}: {read:?}");
        }
    }
}
