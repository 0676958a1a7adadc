//! Messages that do not belong where they lie: strangers, forgeries made with our own code, and
//! increments in the shape of another tool.

use deltakeep::format::{
    Labeller, Manifest, decode_changelog, encode_changelog, encode_key, read_label,
};
use deltakeep::model::{
    Change, ChunkNumber, Column, ColumnType, Datamart, DeltaDate, IncrementId, MessageKey,
    StreamNumber, TableName,
};
use deltakeep::verify::{Asked, Kind};

use crate::topic::{Message, Topic, kinds};

/// A chunk without rows that carries every check sum.
fn forged(key: &MessageKey) -> Message {
    let columns = [
        Column { name: "id".into(), kind: ColumnType::Bigint },
        Column { name: "v".into(), kind: ColumnType::Varchar(None) },
    ];
    let bytes = encode_key(key);
    let mut body = Vec::new();
    Labeller::new(&columns).label_empty(key, &bytes, &mut body).unwrap();
    Message { key: bytes, body }
}

/// Writes the last changelog message of a delta anew, with another manifest and another log.
fn rewrite(
    topic: &mut Topic,
    delta: u64,
    change: impl FnOnce(&mut Manifest, &mut Vec<Change>, &mut MessageKey),
) {
    let at = topic.manifest_of(delta);
    let message = topic.at(at).clone();
    let label = read_label(&message.body).unwrap();
    let mut manifest = Manifest::parse(label.manifest.unwrap()).unwrap();
    let change_of = |record: deltakeep::format::ChangeRecord| Change {
        num: record.num,
        entity: record.entity,
        query: record.query,
        delta: None,
        finished: true,
    };
    let records = decode_changelog(&message.body).unwrap();
    let mut records: Vec<_> = records.into_iter().map(change_of).collect();
    let mut key = message.says();
    change(&mut manifest, &mut records, &mut key);
    let bytes = encode_key(&key);
    let before = manifest.replay_before;
    let body = encode_changelog(&records, &bytes, before, Some(&manifest));
    *topic.at_mut(at) = Message { key: bytes, body };
}

fn check_rewritten(
    expected: Kind,
    change: impl FnOnce(&mut Manifest, &mut Vec<Change>, &mut MessageKey),
) {
    let mut topic = Topic::of_engine(1);
    rewrite(&mut topic, 0, change);
    let report = topic.verify();
    assert!(!report.is_good());
    assert!(report.findings.counts().contains_key(&expected), "{expected:?}: {report:#?}");
}

#[test]
fn a_rewritten_changelog_that_says_the_same_is_the_same() {
    let mut topic = Topic::of_engine(1);
    let before = topic.at(topic.manifest_of(0)).clone();
    rewrite(&mut topic, 0, |_, _, _| ());
    assert_eq!(*topic.at(topic.manifest_of(0)), before);
}

#[test]
fn a_manifest_that_does_not_fit_is_found_although_its_check_sum_is_right() {
    check_rewritten(Kind::Differs, |m, _, _| m.tables[0].rows_added += 1);
    check_rewritten(Kind::Differs, |m, _, _| m.tables[0].chunks[0] += 1);
    check_rewritten(Kind::Differs, |m, _, _| m.tables[0].streams += 1);
    check_rewritten(Kind::Differs, |m, _, _| m.tables[0].parts = Some(vec![1, 1, 1]));
    check_rewritten(Kind::Differs, |m, _, _| m.datamart = Datamart::parse("other").unwrap());
    check_rewritten(Kind::Differs, |m, _, _| m.replay_before += 1000);
    check_rewritten(Kind::Differs, |m, _, _| m.tables.push(m.tables[0].clone()));
    check_rewritten(Kind::Extra, |m, _, _| drop(m.tables.pop()));
    check_rewritten(Kind::Lost, |m, _, _| {
        let ghost = TableName("ghost".into());
        m.tables.push(deltakeep::format::TableManifest { name: ghost, ..m.tables[0].clone() });
    });
    check_rewritten(Kind::Differs, |_, _, key| key.date = DeltaDate(key.date.0 + 1));
    check_rewritten(Kind::Differs, |_, _, key| key.stream_total = 2);
}

#[test]
fn rows_that_the_changelog_does_not_create_are_found() {
    check_rewritten(Kind::Schema, |_, log, _| {
        let change = log.last_mut().unwrap();
        change.query = change.query.replace("varchar", "bigint");
    });
    check_rewritten(Kind::Schema, |_, log, _| {
        let change = log.last_mut().unwrap();
        change.query = "DROP TABLE db.gone".into();
    });
    check_rewritten(Kind::Differs, |_, log, _| log.last_mut().unwrap().num += 1);
}

#[test]
fn changelogs_that_do_not_repeat_one_another_are_found() {
    check_rewritten(Kind::History, |_, log, _| log[0].query.push(' '));
    check_rewritten(Kind::History, |m, _, _| {
        let (number, date) = (deltakeep::model::DeltaNum(7), DeltaDate(1));
        m.previous_delta = Some(deltakeep::format::PreviousDelta { number, date });
    });
}

#[test]
fn forged_chunks_streams_tables_and_copies_are_found() {
    let topic = Topic::of_engine(1);
    let at = topic.find(|key| key.delta.0 == 0 && key.table.is_some() && key.is_last);
    let key = topic.at(at).says();
    let forgeries = [
        (
            "a chunk beyond the last",
            Kind::Extra,
            MessageKey { chunk: ChunkNumber(key.chunk.0 + 1), is_last: false, ..key.clone() },
        ),
        (
            "a second last chunk",
            Kind::Extra,
            MessageKey { chunk: ChunkNumber(key.chunk.0 + 1), ..key.clone() },
        ),
        (
            "a stream too many",
            Kind::Extra,
            MessageKey {
                stream: StreamNumber(key.stream_total + 1),
                chunk: ChunkNumber(1),
                ..key.clone()
            },
        ),
        (
            "a table too many",
            Kind::Extra,
            MessageKey {
                table: Some(TableName("forged".into())),
                chunk: ChunkNumber(1),
                stream: StreamNumber(1),
                stream_total: 1,
                ..key.clone()
            },
        ),
        (
            "chunk 0",
            Kind::Extra,
            MessageKey { chunk: ChunkNumber(0), is_last: false, ..key.clone() },
        ),
        (
            "an unfinished delta",
            Kind::Missing,
            MessageKey { delta: deltakeep::model::DeltaNum(99), ..key.clone() },
        ),
    ];
    for (what, kind, key) in forgeries {
        let mut damaged = topic.clone();
        damaged.0[at.0].insert(at.1 + 1, forged(&key));
        let report = damaged.verify();
        assert!(!report.is_good(), "{what} is a silent success");
        assert!(report.findings.counts().contains_key(&kind), "{what}: {report:#?}");
    }
    let mut conflict = topic.clone();
    let copy = forged(&key);
    assert_ne!(copy.body, topic.at(at).body);
    conflict.0[at.0].insert(at.1 + 1, copy);
    assert_eq!(kinds(&conflict.verify()), [Kind::Conflict, Kind::Missing]);
}

#[test]
fn strangers_are_found_wherever_they_lie() {
    let topic = Topic::of_engine(3);
    let own = topic.at((0, 0)).clone();
    let strangers = [
        ("no key", Message { key: vec![], body: b"x".to_vec() }),
        ("nothing", Message { key: vec![], body: vec![] }),
        ("text", Message { key: b"hello".to_vec(), body: b"world".to_vec() }),
        ("a body as key", Message { key: own.body.clone(), body: own.key.clone() }),
    ];
    for (what, stranger) in strangers {
        for at in topic.places() {
            let mut damaged = topic.clone();
            damaged.0[at.0].insert(at.1, stranger.clone());
            let report = damaged.verify();
            assert_eq!(kinds(&report), [Kind::Foreign], "{what}");
            let place = report.findings.list().next().unwrap().place.clone();
            assert_eq!(place.offset.map(|o| o.0 as usize), Some(at.1), "{what}");
            assert_eq!(damaged.shown().1, 1, "topic show: {what}");
        }
    }
}

#[test]
fn a_tombstone_is_found() {
    let topic = Topic::of_engine(1);
    for at in topic.places() {
        let mut damaged = topic.clone();
        damaged.0[at.0].push(Message { body: vec![], ..topic.at(at).clone() });
        let report = damaged.verify();
        assert!(!report.is_good() && kinds(&report).contains(&Kind::Body), "{report:#?}");
    }
}

#[test]
fn another_datamart_is_passed_over_where_one_was_asked_for() {
    let mut topic = Topic::of_engine(1);
    let datamart = Datamart::parse("other").unwrap();
    let key = MessageKey { datamart, ..topic.at((0, 0)).says() };
    topic.0[0].push(forged(&key));
    assert_eq!(kinds(&topic.verify()), [Kind::Missing]);
    let asked = |name: &str| Asked { datamart: Datamart::parse(name).ok(), ..Asked::default() };
    let report = topic.verify_as(asked("db"));
    assert!(report.is_good(), "{report:#?}");
    assert_eq!(report.passed_over, 1);
    assert_eq!(kinds(&topic.verify_as(asked("nobody"))), [Kind::Missing]);
}

/// Messages as another tool writes them: other key bytes, no metadata of ours, streams from 0.
fn of_another_tool(topic: &Topic) -> Topic {
    let mut other = topic.clone();
    for message in other.0.iter_mut().flatten() {
        let key = message.says();
        let key = MessageKey { stream: StreamNumber(key.stream.0 - 1), ..key };
        let increment = IncrementId("b2b3c8e2-0000-4000-8000-000000000001".into());
        message.key = with_other_marker(&encode_key(&MessageKey { increment, ..key }));
        message.body = without_label(&message.body);
    }
    other
}

/// The same record under a schema with white space and another sync marker.
pub fn with_other_marker(key: &[u8]) -> Vec<u8> {
    let header = deltakeep::format::container::Header::read(key).unwrap();
    let schema = header.schema().unwrap().replace(',', ", ");
    rebuilt(&schema, &header, key)
}

pub fn without_label(body: &[u8]) -> Vec<u8> {
    let header = deltakeep::format::container::Header::read(body).unwrap();
    rebuilt(header.schema().unwrap(), &header, body)
}

fn rebuilt(
    schema: &str,
    header: &deltakeep::format::container::Header<'_>,
    bytes: &[u8],
) -> Vec<u8> {
    use deltakeep::format::container::{SCHEMA, begin_map, blocks, end_map, put_block, put_entry};
    let marker = [7u8; 16];
    let mut out = Vec::new();
    begin_map(&mut out, 1);
    put_entry(&mut out, SCHEMA, schema.as_bytes());
    end_map(&mut out);
    out.extend_from_slice(&marker);
    for block in blocks(bytes, header.len, header.sync) {
        let block = block.unwrap();
        put_block(&mut out, block.records as usize, block.data);
        out.extend_from_slice(&marker);
    }
    out
}

#[test]
fn increments_of_another_tool_are_checked_as_far_as_they_go() {
    let whole = of_another_tool(&Topic::of_engine(1));
    let report = whole.verify();
    assert_eq!(kinds(&report), [], "{report:#?}");
    let of = &report.datamarts[0];
    assert_eq!(of.of_other_tools, of.increments);
    assert!(!of.whole.is_empty());
    for at in whole.places() {
        let key = whole.at(at).says();
        let mut lost = whole.clone();
        lost.0[at.0].remove(at.1);
        // A table with one message can vanish unseen: nothing else names it.
        let is_alone =
            key.table.is_some() && key.stream_total == 1 && key.chunk.0 == 1 && key.is_last;
        assert_eq!(lost.verify().is_good(), is_alone, "the loss of {key:?}");
        let mut doubled = whole.clone();
        doubled.0[at.0].push(whole.at(at).clone());
        assert_eq!(kinds(&doubled.verify()), [Kind::Copy]);
        let mut cut = whole.clone();
        cut.at_mut(at).body.pop();
        assert!(!cut.verify().is_good());
    }
}

#[test]
fn a_message_of_another_tool_inside_an_increment_of_ours_is_found() {
    let topic = Topic::of_engine(1);
    for at in topic.places() {
        let mut damaged = topic.clone();
        let message = damaged.at_mut(at);
        message.key = with_other_marker(&message.key);
        message.body = without_label(&message.body);
        let report = damaged.verify();
        assert!(!report.is_good(), "at {at:?}");
        assert!(kinds(&report).contains(&Kind::Foreign), "{report:#?}");
    }
}
