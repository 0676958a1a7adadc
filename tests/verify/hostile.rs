//! Topics that nobody wrote: keys with any numbers, bodies with any bytes. Verification and what a
//! restore makes of a topic end soon, without a panic, and never call such a topic sound.

use deltakeep::catalog::Seen;
use deltakeep::format::container::{MAGIC, put_block, put_entry};
use deltakeep::format::{encode_changelog, encode_key, row_schema};
use deltakeep::model::{
    ChunkNumber, Datamart, DeltaDate, DeltaNum, IncrementId, MessageKey, Offset, Partition,
    StreamNumber, TableName,
};
use deltakeep::restore::Wanted;
use deltakeep::restore::choose::choose;
use deltakeep::restore::contents::Contents;
use deltakeep::restore::gaps;
use deltakeep::verify::{Asked, Kind, Report, Verifier};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::foreign::{with_other_marker, without_label};

const LARGEST: u64 = i64::MAX as u64;

fn key(delta: u64, table: Option<&str>, (stream, total): (u32, u32), chunk: u64) -> MessageKey {
    MessageKey {
        increment: IncrementId("i".into()),
        datamart: Datamart::parse("db").unwrap(),
        delta: DeltaNum(delta),
        date: DeltaDate(7),
        table: table.map(|table| TableName(table.into())),
        stream: StreamNumber(stream),
        stream_total: total,
        chunk: ChunkNumber(chunk),
        is_last: true,
    }
}

/// A key of another tool.
fn foreign(key: &MessageKey) -> Vec<u8> {
    with_other_marker(&encode_key(key))
}

/// A body whose block says that it holds so many rows of no columns.
fn lying(records: u64, data: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(2);
    put_entry(&mut bytes, "avro.schema", row_schema(&[]).as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&[5; 16]);
    let mut block = Vec::new();
    put_block(&mut block, 0, data);
    // The count is written anew: a zigzag number of up to ten bytes.
    let mut rest = records << 1;
    while rest > 0x7f {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes.extend_from_slice(&block[1..]);
    bytes.extend_from_slice(&[5; 16]);
    bytes
}

/// Reads messages as `verify` and as a restore do.
fn read_all(messages: &[(Vec<u8>, Vec<u8>)]) -> (Report, Contents) {
    let mut verifier = Verifier::new(Asked { sums: true, ..Asked::default() });
    let mut contents = Contents::new(Datamart::parse("db").unwrap());
    for (offset, (key, body)) in (0..).map(Offset).zip(messages) {
        let seen = Seen { partition: Partition(0), offset, key, body };
        verifier.see(seen);
        contents.see(seen);
    }
    let report = gaps::report(&contents, &[]);
    assert!(!report.lines().is_empty() && report.to_json().is_object());
    let _ = choose(&contents, &Wanted::default());
    (verifier.finish(&[Offset(0)]), contents)
}

fn changelog(delta: u64, streams: (u32, u32)) -> (Vec<u8>, Vec<u8>) {
    let key = foreign(&key(delta, None, streams, 1));
    let body = without_label(&encode_changelog(&[], &key, 0, None));
    (key, body)
}

#[test]
fn numbers_beyond_all_measure_take_no_time_and_no_memory() {
    let far = [changelog(0, (1, 1)), changelog(LARGEST, (1, 1))];
    let (report, contents) = read_all(&far);
    assert!(report.findings.counts()[&Kind::Missing] > 0, "{report:#?}");
    assert_eq!(gaps::report(&contents, &[]).gaps.missing.count(), LARGEST - 1);

    let (report, contents) = read_all(&[changelog(0, (1, u32::MAX))]);
    assert!(report.findings.counts().contains_key(&Kind::Lost), "{report:#?}");
    assert!(contents.whole().is_empty());
}

#[test]
fn rows_that_a_body_cannot_hold_are_damage_and_not_added_up() {
    let data =
        |chunk, records| (foreign(&key(0, Some("t"), (1, 1), chunk)), lying(records, &[2, 0]));
    let (report, contents) = read_all(&[data(1, 1), changelog(0, (1, 1))]);
    assert!(report.is_good(), "{report:#?}");
    assert_eq!(contents.whole().len(), 1);
    // A row takes a byte at least: more rows than bytes are seen without decoding any.
    for records in [3, 1000, LARGEST] {
        let messages = [data(1, records), data(2, records), changelog(0, (1, 1))];
        let (report, contents) = read_all(&messages);
        assert!(!report.is_good(), "{records}: {report:#?}");
        let offsets: Vec<_> = contents.damage().iter().map(|damage| damage.offset.0).collect();
        assert_eq!(offsets, [0, 1], "{records}");
    }
    let (report, _) = read_all(&[data(1, 2), changelog(0, (1, 1))]);
    assert!(report.findings.counts().contains_key(&Kind::Body), "rows are decoded: {report:#?}");
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4u64, Just(LARGEST), Just(LARGEST - 1), any::<u32>().prop_map(u64::from)]
}

fn any_message() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let table = prop_oneof![Just(None), Just(Some("t")), Just(Some("u"))];
    let streams = prop_oneof![(0..3u32, 0..3u32), (any::<u32>(), any::<u32>())];
    let body = prop_oneof![
        Just(0u8).prop_map(|_| Vec::new()),
        vec(any::<u8>(), 0..60),
        (any_number(), vec(any::<u8>(), 0..8)).prop_map(|(count, data)| lying(count, &data)),
        any_number().prop_map(|_| changelog(0, (1, 1)).1),
    ];
    (any_number(), table, streams, any_number(), any::<bool>(), any::<bool>(), body).prop_map(
        |(delta, table, streams, chunk, is_last, own, body)| {
            let key = MessageKey { is_last, ..key(delta, table, streams, chunk) };
            (if own { encode_key(&key) } else { foreign(&key) }, body)
        },
    )
}

proptest! {
    #[test]
    fn whatever_a_topic_holds_reading_it_ends(messages in vec(any_message(), 0..12)) {
        read_all(&messages);
    }
}
