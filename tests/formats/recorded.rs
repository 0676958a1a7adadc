//! Every recorded unload message of a real node, relabelled and read back.

use apache_avro::Reader;
use apache_avro::types::Value;
use deltakeep::format::{
    FormatError, Labeller, decode_staging_key, encode_key, read_label, row_schema, staging_rows,
    verify_crc,
};
use deltakeep::model::{Column, ColumnType};

use crate::support::{columns, key, recorded, recording, rows};

#[test]
fn a_relabelled_message_holds_the_rows_of_the_recorded_one() {
    let key = key(Some("t"), 1, true);
    let key_bytes = encode_key(&key);
    let (mut bodies, mut fields) = (0, 0);
    for message in recorded() {
        let Some(columns) = columns(&message.body) else { continue };
        let mut labeller = Labeller::new(&columns);
        let mut out = vec![1, 2, 3];
        // Twice: a header that is met again takes a shorter way to the same bytes.
        let source = format!("{}/0/7", message.name);
        for part in [None, Some(2)] {
            let labelled = labeller
                .label(&key, &key_bytes, &source, part, &message.body, &mut out)
                .unwrap_or_else(|error| panic!("{}: {error}", message.name));
            let expected = rows(&message.body);
            assert_eq!(labelled.rows, expected.len() as u64, "{}", message.name);
            assert_eq!(staging_rows(&message.body), Ok(labelled.rows));
            assert_eq!(rows(&out), expected, "{}", message.name);
            let reader = Reader::new(out.as_slice()).unwrap();
            let schema = apache_avro::Schema::parse_str(&row_schema(&columns)).unwrap();
            assert_eq!(reader.writer_schema(), &schema);
            assert_eq!(reader.user_metadata()["deltakeep.src"], source.as_bytes());
            assert_eq!(read_label(&out).unwrap().part, part);
            assert_eq!(verify_crc(&key_bytes, &out), Ok(true));
            fields += expected.iter().map(Vec::len).sum::<usize>();
        }
        bodies += 1;
    }
    println!("{bodies} bodies, {fields} fields compared");
    assert!(bodies > 140 && fields > 1000, "only {bodies} bodies with {fields} fields");
}

#[test]
fn a_relabelled_body_ends_with_the_very_bytes_of_the_recorded_one() {
    let message = recording("adp/exp_types_sysop/0-0");
    let columns = columns(&message.body).unwrap();
    let key = key(Some("t"), 1, true);
    let mut out = Vec::new();
    Labeller::new(&columns).label(&key, b"", "t/0/0", None, &message.body, &mut out).unwrap();
    // 0x4d4 is where the metadata of this recording ends: marker and blocks follow.
    let tail = &message.body[0x4d4..];
    assert!(out.ends_with(tail) && tail.len() == 0x64a - 0x4d4);
}

#[test]
fn a_message_unloaded_by_other_rules_is_refused_with_both_schemas() {
    let key = key(Some("t"), 1, true);
    let mut refused = 0;
    for message in recorded().iter().filter(|message| columns(&message.body).is_none()) {
        // Right names and types, but some column is not nullable or there is no sys_op.
        let any = [Column { name: "id".into(), kind: ColumnType::Bigint }];
        let result =
            Labeller::new(&any).label(&key, b"", "t/0/0", None, &message.body, &mut vec![]);
        let Err(FormatError::Schema(mismatch)) = result else { panic!("{}", message.name) };
        assert_eq!(mismatch.expected, row_schema(&any));
        assert!(mismatch.found.contains("\"fields\""));
        refused += 1;
    }
    assert!(refused >= 10, "only {refused} such messages");
}

#[test]
fn the_columns_of_one_table_are_refused_for_another() {
    let types = recording("adp/exp_types_sysop/0-0");
    let key = key(Some("t"), 1, true);
    let good = columns(&types.body).unwrap();
    let mut swapped = good.clone();
    swapped.swap(3, 4);
    let mut narrower = good.clone();
    narrower[3].kind = ColumnType::Int32;
    let mut shorter = good.clone();
    shorter.pop();
    for wrong in [swapped, narrower, shorter, Vec::new()] {
        let mut labeller = Labeller::new(&wrong);
        let result = labeller.label(&key, b"", "t/0/0", None, &types.body, &mut vec![]);
        assert!(matches!(result, Err(FormatError::Schema(_))), "{wrong:?}");
    }
}

#[test]
fn a_header_that_is_not_the_one_before_is_checked_anew() {
    let types = recording("adp/exp_types_sysop/0-0");
    let table = columns(&types.body).unwrap();
    let key = key(Some("t"), 1, true);
    let mut labeller = Labeller::new(&table);
    let mut label = |body: &[u8]| {
        let mut out = Vec::new();
        labeller.label(&key, b"", "t/0/0", None, body, &mut out).map(|_| rows(&out))
    };
    // The same columns under a record name of another length, and another table.
    let same = recording("adqm/r1_table1_adqm_d0/0-0");
    let other = recording("adp/rs_comp_d0/0-0");
    for _ in 0..2 {
        assert_eq!(label(&types.body), Ok(rows(&types.body)));
        assert_eq!(label(&same.body), Ok(rows(&same.body)));
        assert!(matches!(label(&other.body), Err(FormatError::Schema(_))));
    }
}

#[test]
fn staging_keys_say_what_apache_avro_reads_in_them() {
    for message in recorded() {
        let staging = decode_staging_key(&message.key).unwrap();
        let value = Reader::new(message.key.as_slice()).unwrap().next().unwrap().unwrap();
        let Value::Record(fields) = value else { panic!("not a record") };
        let ours = [
            Value::String(staging.statement.into_owned()),
            Value::Int(staging.stream as i32),
            Value::Int(staging.stream_total as i32),
            Value::Int(staging.chunk as i32),
            Value::Boolean(staging.is_last),
        ];
        let theirs: Vec<_> = fields.into_iter().map(|(_, value)| value).collect();
        assert_eq!(theirs, ours, "{}", message.name);
    }
}

#[test]
fn a_staging_key_of_an_unknown_schema_text_is_read_by_field_name() {
    use apache_avro::{Schema, Writer, types::Record};
    let schema = Schema::parse_str(
        r#"{"type":"record","name":"K","fields":[{"name":"isLastChunk","type":"boolean"},
        {"name":"extra","type":["null","double"]},{"name":"chunkNumber","type":"long"},
        {"name":"streamTotal","type":"int"},{"name":"streamNumber","type":"int"},
        {"name":"tableName","type":{"type":"string","avro.java.string":"String"}}]}"#,
    )
    .unwrap();
    let mut record = Record::new(&schema).unwrap();
    record.put("isLastChunk", true);
    record.put("extra", Some(0.5));
    record.put("chunkNumber", 9i64);
    record.put("streamTotal", 2);
    record.put("streamNumber", 1);
    record.put("tableName", "INSERT INTO x SELECT 1");
    let mut writer = Writer::new(&schema, Vec::new()).unwrap();
    writer.append_value(record).unwrap();
    let bytes = writer.into_inner().unwrap();
    let key = decode_staging_key(&bytes).unwrap();
    assert_eq!(key.statement, "INSERT INTO x SELECT 1");
    let numbers = (key.stream, key.stream_total, key.chunk, key.is_last);
    assert_eq!(numbers, (1, 2, 9, true));
}
