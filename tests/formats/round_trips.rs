//! What is written is read back equal: by ourselves and by apache-avro; and what other tools may
//! write is read too.

use apache_avro::types::{Record, Value};
use apache_avro::{Codec, Reader, Schema, Writer};
use deltakeep::format::changelog::CHANGELOG_SCHEMA;
use deltakeep::format::key::KEY_SCHEMA;
use deltakeep::format::{
    ChangeRecord, FormatError, Labeller, Manifest, decode_changelog, decode_key, encode_changelog,
    encode_key, partition_of, partition_of_key, read_label, row_schema, verify_crc,
};
use deltakeep::model::{
    Change, ChunkNumber, Column, ColumnType, Datamart, DeltaDate, DeltaNum, IncrementId,
    MessageKey, StreamNumber, TableName,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::support::{key, rows};

prop_compose! {
    pub fn any_key()(
        increment in "[0-9a-f]{8}-[0-9a-f]{4}",
        datamart in "[a-z][a-z0-9_]{0,12}",
        delta in 0..=i64::MAX as u64,
        date in any::<i64>(),
        table in option::of("[a-z0-9_а-я]{1,12}"),
        stream in any::<u32>(),
        stream_total in any::<u32>(),
        chunk in 0..=i64::MAX as u64,
        is_last in any::<bool>(),
    ) -> MessageKey {
        MessageKey {
            increment: IncrementId(increment),
            datamart: Datamart::parse(&datamart).unwrap(),
            delta: DeltaNum(delta),
            date: DeltaDate(date),
            table: table.map(TableName),
            stream: StreamNumber(stream),
            stream_total,
            chunk: ChunkNumber(chunk),
            is_last,
        }
    }
}

prop_compose! {
    pub fn any_change()(num in 0..=i64::MAX as u64, entity in ".*", query in ".*") -> Change {
        Change { num, entity, query, delta: None, finished: true }
    }
}

/// The values of a key in the order of the seed's fields.
fn values(key: &MessageKey) -> Vec<(&'static str, Value)> {
    let table = match &key.table {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(table) => Value::Union(1, Box::new(Value::String(table.0.clone()))),
    };
    vec![
        ("incrementId", Value::String(key.increment.0.clone())),
        ("messageType", Value::Long(i64::from(key.table.is_none()))),
        ("datamart", Value::String(key.datamart.to_string())),
        ("deltaNum", Value::Long(key.delta.0 as i64)),
        ("deltaDate", Value::Long(key.date.0)),
        ("tableName", table),
        ("streamNumber", Value::Long(key.stream.0.into())),
        ("streamTotal", Value::Long(key.stream_total.into())),
        ("chunkNumber", Value::Long(key.chunk.0 as i64)),
        ("isLastChunk", Value::Boolean(key.is_last)),
    ]
}

/// A key as another tool might write it: by apache-avro under `schema`.
fn foreign_key(key: &MessageKey, schema: &str, codec: Codec) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    let mut record = Record::new(&schema).unwrap();
    for (name, value) in values(key) {
        record.put(name, value);
    }
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
    writer.append_value(record).unwrap();
    writer.into_inner().unwrap()
}

proptest! {
    #[test]
    fn keys_survive_and_apache_avro_reads_the_same(key in any_key()) {
        let bytes = encode_key(&key);
        prop_assert_eq!(decode_key(&bytes), Ok(key.clone()));
        let mut reader = Reader::new(bytes.as_slice()).unwrap();
        let Some(Ok(Value::Record(fields))) = reader.next() else { panic!("no record") };
        let expected = values(&key);
        prop_assert_eq!(fields.len(), expected.len());
        for ((name, value), (expected_name, expected)) in fields.into_iter().zip(expected) {
            prop_assert_eq!((name.as_str(), value), (expected_name, expected));
        }
        prop_assert!(reader.next().is_none());
    }

    #[test]
    fn keys_of_other_writers_are_read_by_field_name(key in any_key(), deflate in any::<bool>()) {
        let codec = if deflate { Codec::Deflate(Default::default()) } else { Codec::Null };
        let plain = foreign_key(&key, KEY_SCHEMA, codec);
        prop_assert_eq!(decode_key(&plain), Ok(key.clone()));
        let renamed = KEY_SCHEMA
            .replace("\"topicA\"", "\"BackupKey\",\"namespace\":\"a.b\"")
            .replace("\"type\":\"string\"}", "\"type\":{\"type\":\"string\",\"avro.java.string\":\"String\"}}");
        prop_assert_eq!(decode_key(&foreign_key(&key, &renamed, codec)), Ok(key.clone()));
    }

    #[test]
    fn changelogs_survive_and_apache_avro_reads_the_same(
        changes in vec(any_change(), 0..8),
        replay_before in any::<u64>(),
    ) {
        let body = encode_changelog(&changes, b"key", replay_before, None);
        let records: Vec<ChangeRecord> = changes.iter().map(ChangeRecord::from).collect();
        prop_assert_eq!(decode_changelog(&body), Ok(records));
        prop_assert_eq!(verify_crc(b"key", &body), Ok(true));
        prop_assert_eq!(read_label(&body).unwrap().replay_before, Some(replay_before));
        let expected: Vec<_> = changes.iter().map(|change| vec![
            ("changeNum".to_owned(), Value::Long(change.num as i64)),
            ("entityName".to_owned(), Value::String(change.entity.clone())),
            ("changeQuery".to_owned(), Value::String(change.query.clone())),
        ]).collect();
        prop_assert_eq!(rows(&body), expected);
    }

    #[test]
    fn changelogs_of_other_writers_are_read_by_field_name(changes in vec(any_change(), 0..8)) {
        let schema = Schema::parse_str(&CHANGELOG_SCHEMA.replace("changeLog", "Log")).unwrap();
        let codec = Codec::Deflate(Default::default());
        let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
        for change in &changes {
            let mut record = Record::new(&schema).unwrap();
            record.put("changeNum", change.num as i64);
            record.put("entityName", change.entity.as_str());
            record.put("changeQuery", change.query.as_str());
            writer.append_value(record).unwrap();
        }
        let body = writer.into_inner().unwrap();
        let records: Vec<ChangeRecord> = changes.iter().map(ChangeRecord::from).collect();
        prop_assert_eq!(decode_changelog(&body), Ok(records));
    }

    #[test]
    fn a_stream_keeps_its_partition_and_the_changelog_has_no_stream(
        key in any_key(),
        partitions in 1..200u32,
    ) {
        let partition = partition_of_key(&key, partitions);
        prop_assert!((0..partitions as i32).contains(&partition.0));
        let mut next = key.clone();
        next.chunk = ChunkNumber(7);
        next.is_last = true;
        prop_assert_eq!(partition_of_key(&next, partitions), partition);
        let stream = key.table.is_some().then_some(key.stream);
        let by_hand =
            partition_of(&key.datamart, key.delta, key.table.as_ref(), stream, partitions);
        prop_assert_eq!(by_hand, partition);
    }

    #[test]
    fn bodies_of_any_codec_and_block_count_are_relabelled(
        ids in vec(option::of(any::<i64>()), 0..50),
        deflate in any::<bool>(),
        block in 1..200usize,
    ) {
        let columns = [Column { name: "id".into(), kind: ColumnType::Bigint }];
        let schema = Schema::parse_str(&row_schema(&columns)).unwrap();
        let codec = if deflate { Codec::Deflate(Default::default()) } else { Codec::Null };
        let mut writer =
            Writer::builder().schema(&schema).writer(Vec::new()).codec(codec).block_size(block)
            .build().unwrap();
        for id in &ids {
            let mut record = Record::new(&schema).unwrap();
            record.put("id", *id);
            record.put("sys_op", Some(0));
            writer.append_value(record).unwrap();
        }
        let staging = writer.into_inner().unwrap();
        let key = key(Some("t"), 1, true);
        let mut out = Vec::new();
        let labelled = Labeller::new(&columns)
            .label(&key, b"k", "s/0/0", None, &staging, &mut out).unwrap();
        prop_assert_eq!(labelled.rows, ids.len() as u64);
        prop_assert_eq!(rows(&out), rows(&staging));
    }
}

#[test]
fn an_empty_chunk_is_a_body_of_no_rows_with_the_same_bytes_every_time() {
    let columns = [Column { name: "id".into(), kind: ColumnType::Bigint }];
    let key = key(Some("t"), 1, true);
    let key_bytes = encode_key(&key);
    let labeller = Labeller::new(&columns);
    let (mut one, mut two) = (Vec::new(), vec![9; 9]);
    assert_eq!(labeller.label_empty(&key, &key_bytes, &mut one).unwrap().rows, 0);
    labeller.label_empty(&key, &key_bytes, &mut two).unwrap();
    assert_eq!(one, two);
    assert_eq!(rows(&one).len(), 0);
    assert_eq!(read_label(&one).unwrap().src, Some("empty"));
    assert_eq!(verify_crc(&key_bytes, &one), Ok(true));
}

#[test]
fn a_changelog_key_is_no_key_of_a_data_body() {
    let key = key(None, 1, true);
    let mut labeller = Labeller::new(&[]);
    let mut out = Vec::new();
    assert_eq!(labeller.label_empty(&key, b"", &mut out), Err(FormatError::NotADataKey));
    let labelled = labeller.label(&key, b"", "", None, b"", &mut out);
    assert_eq!(labelled, Err(FormatError::NotADataKey));
}

#[test]
fn streams_of_other_writers_may_count_from_zero_and_names_may_be_upper_case() {
    let mut key = key(Some("Sales"), 1, true);
    key.stream = StreamNumber(0);
    let bytes = foreign_key(&key, KEY_SCHEMA, Codec::Null);
    key.table = Some(TableName("sales".into()));
    assert_eq!(decode_key(&bytes), Ok(key));
}

#[test]
fn a_body_of_another_tool_has_an_empty_label_and_no_crc() {
    let schema = Schema::parse_str(CHANGELOG_SCHEMA).unwrap();
    let body = Writer::new(&schema, Vec::new()).unwrap().into_inner().unwrap();
    assert_eq!(read_label(&body), Ok(Default::default()));
    assert_eq!(verify_crc(b"", &body), Err(FormatError::MissingEntry { name: "deltakeep.crc" }));
}

#[test]
fn a_manifest_travels_in_the_changelog_body() {
    let manifest = crate::golden::manifest();
    let body = encode_changelog(&[], b"key", 0, Some(&manifest));
    let label = read_label(&body).unwrap();
    assert_eq!(label.replay_before, Some(0));
    assert_eq!(Manifest::parse(label.manifest.unwrap()), Ok(manifest));
    assert_eq!(decode_changelog(&body), Ok(Vec::new()));
}
