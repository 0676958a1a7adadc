//! Increments that our backup did not write: those of the older tool, and pairs with repeated keys
//! in three parts (D4.13), made by hand.

use apache_avro::types::Value;
use apache_avro::{Schema, Writer};
use deltakeep::deliver::Message;
use deltakeep::format::changelog::CHANGELOG_SCHEMA;
use deltakeep::format::{
    ChangeRecord, Labeller, Manifest, PreviousDelta, TableManifest, decode_changelog, decode_key,
    encode_changelog, encode_key,
};
use deltakeep::model::{
    Change, ChunkNumber, Datamart, Delta, IncrementId, MessageKey, Partition, RunId, StreamNumber,
    TableName,
};
use deltakeep::restore::{Fault, Wanting};
use deltakeep::testing::{Stored, TestRow, read_rows, staging_body, table};
use uuid::Uuid;

use super::history;
use super::judge;
use super::scenario::{Ended, Scenario};

/// The same container with another sync marker, as writers that draw theirs by lot make it.
fn other_marker(container: &[u8], marker: [u8; 16]) -> Vec<u8> {
    let old = container[container.len() - 16..].to_vec();
    let mut new = container.to_vec();
    for at in 0..=new.len() - 16 {
        if new[at..at + 16] == old {
            new[at..at + 16].copy_from_slice(&marker);
        }
    }
    new
}

fn changelog(records: &[ChangeRecord]) -> Vec<u8> {
    let schema = Schema::parse_str(CHANGELOG_SCHEMA).unwrap();
    let mut writer = Writer::new(&schema, Vec::new()).unwrap();
    for record in records {
        let fields = vec![
            ("changeNum".into(), Value::Long(record.num as i64)),
            ("entityName".into(), Value::String(record.entity.clone())),
            ("changeQuery".into(), Value::String(record.query.clone())),
        ];
        writer.append_value(Value::Record(fields)).unwrap();
    }
    writer.into_inner().unwrap()
}

/// The message as the older tool would have written it: streams from 0, nothing of ours in the
/// headers, other markers and record names, any partition.
fn as_the_older_tool(message: &Message, seed: u64) -> Message {
    let mut key = decode_key(&message.key).unwrap();
    key.stream = StreamNumber(key.stream.0 - 1);
    let body = match &key.table {
        Some(_) => staging_body(&read_rows(&message.body)),
        None => changelog(&decode_changelog(&message.body).unwrap()),
    };
    let marker = Uuid::from_u128(u128::from(seed) << 64 | u128::from(key.chunk.0)).into_bytes();
    let key = other_marker(&encode_key(&key), marker);
    Message { partition: message.partition, key, body }
}

pub fn rewrite(scenario: &Scenario) {
    let mut inner = scenario.memory.lock();
    let written = std::mem::take(&mut inner.topic);
    let mut topic = vec![Vec::new(); written.len()];
    let messages = written.into_iter().flatten().filter_map(|stored| match stored {
        Stored::Visible(message) => Some(message),
        _ => None,
    });
    for message in messages {
        let at = inner.random() as usize % topic.len();
        topic[at].push(Stored::Visible(as_the_older_tool(&message, inner.random())));
    }
    inner.topic = topic;
}

#[tokio::test(start_paused = true)]
async fn increments_of_the_older_tool_are_restored_or_refused_by_name() {
    let (mut restored, mut refused) = (0, 0);
    for seed in 1..150 {
        let mut scenario = Scenario::calm(seed).await;
        rewrite(&scenario);
        match scenario.execute(None).await {
            Ended::Done(summary) => {
                let filled = summary.findings.rows > 0;
                assert_eq!(filled, !summary.findings.unverified.is_empty(), "seed {seed}");
                let target = scenario.target.with(|store| store.clone());
                for delta in &scenario.source.deltas {
                    for name in scenario.source.tables.keys() {
                        let wanted = scenario.source.as_of(delta.num, name);
                        assert_eq!(target.as_of(delta.num, name), wanted, "seed {seed} {name}");
                    }
                }
                restored += 1;
            }
            Ended::Failed(error) => {
                let unknown = matches!(error.fault, Fault::Wanting(Wanting::Order(_)));
                assert!(unknown && !error.touched, "seed {seed}: {error:?}");
                refused += 1;
            }
            Ended::Killed => unreachable!(),
        }
    }
    assert!(restored > 30 && refused > 1, "{restored} restored, {refused} refused");
}

/// A delta in which keys are written up to three times.
pub fn busy_delta(scenario: &mut Scenario) {
    let num = scenario.source.deltas.len() as u64;
    scenario.source.begin(deltakeep::model::DeltaNum(num)).unwrap();
    let memory = scenario.memory.clone();
    history::busy(&mut scenario.source, &memory, "t");
    let date = 1_700_000_000_000_000 + num as i64 * 1_000_000;
    scenario.source.commit(deltakeep::model::DeltaDate(date)).unwrap();
}

/// Adds that did not survive, removals, adds that did.
fn parts(scenario: &Scenario, delta: &Delta) -> [Vec<TestRow>; 3] {
    let alive = scenario.source.as_of(delta.num, "t");
    let rows = scenario.source.increment(delta.num, "t");
    let survives = |row: &TestRow| alive.contains(&(row.id, row.v.clone()));
    let of = |op, kept| {
        let some = rows.iter().filter(|row| row.sys_op == op && (op == 1 || survives(row) == kept));
        some.cloned().collect::<Vec<_>>()
    };
    [of(0, false), of(1, false), of(0, true)]
}

/// The delta before, as a manifest names it.
fn previous(scenario: &Scenario, delta: &Delta) -> Option<PreviousDelta> {
    let before = scenario.source.deltas.iter().rfind(|before| before.num < delta.num)?;
    Some(PreviousDelta { number: before.num, date: before.date })
}

pub fn write_in_parts(scenario: &Scenario, delta: &Delta) {
    let key = |name: Option<&str>, chunk, is_last| MessageKey {
        increment: IncrementId("by hand".into()),
        datamart: Datamart::parse("db").unwrap(),
        delta: delta.num,
        date: delta.date,
        table: name.map(|name| TableName(name.into())),
        stream: StreamNumber(1),
        stream_total: 1,
        chunk: ChunkNumber(chunk),
        is_last,
    };
    let mut messages = Vec::new();
    let parts = parts(scenario, delta);
    let mut labeller = Labeller::new(&table("t").columns);
    for (part, rows) in (1u8..).zip(&parts) {
        let key = encode_key(&key(Some("t"), u64::from(part), part == 3));
        let (decoded, mut body) = (decode_key(&key).unwrap(), Vec::new());
        let source = format!("by hand/0/{part}");
        let staged = staging_body(rows);
        labeller.label(&decoded, &key, &source, Some(part), &staged, &mut body).unwrap();
        messages.push((key, body));
    }
    let records: Vec<Change> = scenario.source.changes.clone();
    let count = records.len() as u64;
    let of_table = TableManifest {
        name: TableName("t".into()),
        streams: 1,
        chunks: vec![3],
        rows_added: (parts[0].len() + parts[2].len()) as u64,
        rows_removed: parts[1].len() as u64,
        parts: Some(vec![1, 1, 1]),
        check_sum: Some("not to be compared".into()),
        check_sum_snapshot: Some(scenario.source.snapshot(delta.num, "t")),
        check_sum_columns: Some(vec!["id".into(), "v".into()]),
        exact: false,
    };
    let manifest = Manifest {
        format: Manifest::FORMAT,
        tool: "test".into(),
        node: "memory".into(),
        run: RunId(Uuid::from_u128(1)),
        datamart: Datamart::parse("db").unwrap(),
        previous_delta: previous(scenario, delta),
        replay_before: count,
        changelog_complete: true,
        tables: vec![of_table],
    };
    let key = encode_key(&key(None, 1, true));
    let body = encode_changelog(&records, &key, count, Some(&manifest));
    messages.push((key, body));
    let mut inner = scenario.memory.lock();
    inner.topic.resize(1, Vec::new());
    let stored = messages
        .into_iter()
        .map(|(key, body)| Stored::Visible(Message { partition: Partition(0), key, body }));
    inner.topic[0].extend(stored);
}

#[tokio::test(start_paused = true)]
async fn parts_are_loaded_one_after_the_other_also_when_killed_in_between() {
    for seed in 1..60 {
        let mut scenario = Scenario::empty(seed);
        scenario.source.change("CREATE TABLE db.t (id bigint, v varchar)").unwrap();
        for _ in 0..4 {
            busy_delta(&mut scenario);
        }
        for delta in scenario.source.deltas.clone() {
            write_in_parts(&scenario, &delta);
        }
        let steps = 1 + scenario.random(400) as i64;
        match scenario.execute(Some(steps)).await {
            Ended::Done(_) => {}
            _ => drop(scenario.finish().await),
        }
        judge::check(&scenario, None);
    }
}
