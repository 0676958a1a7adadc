//! Bytes that nobody meant: random ones, cut ones, flipped ones. Readers give a value or an error,
//! and no flip in a key or body goes unseen by the check sum.

use deltakeep::format::container::{Header, MAGIC, only_record, put_block, put_entry};
use deltakeep::format::{
    FormatError, Labeller, Manifest, RowReader, decode_changelog, decode_key, decode_staging_key,
    encode_changelog, encode_key, read_label, row_schema, staging_rows, verify_crc,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::golden::manifest;
use crate::round_trips::{any_change, any_key};
use crate::support::{columns, key, recorded, recording};

/// Hands bytes to every reader there is; panics are the only failure.
fn read_all(bytes: &[u8]) {
    let _ = decode_key(bytes);
    let _ = decode_staging_key(bytes);
    let _ = decode_changelog(bytes);
    let _ = staging_rows(bytes);
    let _ = verify_crc(b"", bytes);
    read_rows(bytes);
    if let Ok(label) = read_label(bytes)
        && let Some(json) = label.manifest
    {
        let _ = Manifest::parse(json);
    }
}

/// Reads rows by the schema that the bytes name, and by one that they may not have.
fn read_rows(bytes: &[u8]) {
    let own = Header::read(bytes).ok().and_then(|header| header.schema().ok().map(str::to_owned));
    for schema in own.into_iter().chain([row_schema(&[])]) {
        if let Ok(mut reader) = RowReader::of(&schema) {
            let _ = reader.read(bytes, |_| ());
        }
    }
}

/// A container of these bytes behind a header with this schema.
fn container(schema: &str, codec: &str, blocks: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(4);
    put_entry(&mut bytes, "avro.schema", schema.as_bytes());
    put_entry(&mut bytes, "avro.codec", codec.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&[5; 16]);
    bytes.extend_from_slice(blocks);
    bytes
}

proptest! {
    #[test]
    fn random_bytes_are_no_panic(bytes in vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
        read_all(&[&MAGIC[..], &bytes].concat());
        let key = deltakeep::format::key::KEY_SCHEMA.replace("topicA", "k");
        let own = ["null", "deflate", "zstandard"].map(|codec| (&*key, codec));
        for (schema, codec) in own.into_iter().chain([(&*row_schema(&[]), "null")]) {
            read_all(&container(schema, codec, &bytes));
            let block = [&[2, bytes.len() as u8 & 63], &bytes[..], &[5; 16]].concat();
            read_all(&container(schema, codec, &block));
        }
    }

    #[test]
    fn a_flip_in_key_or_body_is_seen(
        key in any_key(),
        changes in vec(any_change(), 0..3),
        place in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let mut key = encode_key(&key);
        let mut body = encode_changelog(&changes, &key, 3, Some(&manifest()));
        prop_assert_eq!(verify_crc(&key, &body), Ok(true));
        let place = place.index(key.len() + body.len());
        match place.checked_sub(key.len()) {
            None => key[place] ^= 1 << bit,
            Some(place) => body[place] ^= 1 << bit,
        }
        prop_assert_ne!(verify_crc(&key, &body), Ok(true));
        read_all(&key);
        read_all(&body);
    }

    #[test]
    fn recorded_messages_that_are_cut_or_flipped_are_no_panic(
        message in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let messages = recorded();
        let message = &messages[message.index(messages.len())];
        let table = columns(&message.body).unwrap_or_default();
        for bytes in [&message.key, &message.body] {
            let place = place.index(bytes.len());
            let mut flipped = bytes.clone();
            flipped[place] = byte;
            for bytes in [&bytes[..place], &flipped] {
                read_all(bytes);
                let mut out = Vec::new();
                let key = key(Some("t"), 1, true);
                let _ = Labeller::new(&table).label(&key, b"", "s", None, bytes, &mut out);
            }
        }
    }
}

#[test]
fn every_single_byte_flip_of_a_data_body_is_seen() {
    let message = recording("adp/exp_types_sysop/0-0");
    let key = key(Some("table1_adp"), 1, false);
    let key_bytes = encode_key(&key);
    let mut body = Vec::new();
    Labeller::new(&columns(&message.body).unwrap())
        .label(&key, &key_bytes, "s/0/0", None, &message.body, &mut body)
        .unwrap();
    for place in 0..body.len() {
        for mask in [0x01, 0x20, 0x80, 0xff] {
            body[place] ^= mask;
            assert_ne!(verify_crc(&key_bytes, &body), Ok(true), "flip at {place} unseen");
            body[place] ^= mask;
        }
        assert_ne!(verify_crc(&key_bytes, &body[..place]), Ok(true), "cut at {place} unseen");
    }
    assert_eq!(verify_crc(&key_bytes, &body), Ok(true));
}

#[test]
fn a_staging_body_cut_anywhere_is_refused() {
    let message = recording("adp/exp_types_sysop/0-0");
    let table = columns(&message.body).unwrap();
    let key = key(Some("t"), 1, true);
    let mut labeller = Labeller::new(&table);
    let mut accepted = Vec::new();
    for end in 0..message.body.len() {
        let cut = &message.body[..end];
        if labeller.label(&key, b"", "s", None, cut, &mut vec![]).is_ok() {
            accepted.push(end);
        }
    }
    // Only a cut between header and block leaves a sound container, one of no rows; the seal of
    // a topic knows offsets, so whole messages are all there is.
    assert_eq!(accepted, [0x4d4 + 16]);
}

/// A key with one more byte in its record, so that nothing else is wrong with it.
fn longer_record(key: &[u8]) -> Vec<u8> {
    let header = Header::read(key).unwrap();
    let record = only_record(key, header.len, header.sync).unwrap();
    let mut longer = key[..header.len].to_vec();
    put_block(&mut longer, 1, &[record, &[0]].concat());
    longer.extend_from_slice(header.sync);
    longer
}

#[test]
fn a_record_that_is_longer_than_its_fields_is_refused() {
    let left_over = FormatError::LeftOver { what: "the key's record", count: 1 };
    let own = longer_record(&encode_key(&key(Some("t"), 1, true)));
    assert_eq!(decode_key(&own), Err(left_over.clone()));
    for name in ["adp/exp_types_sysop/0-0", "adqm/r1_table1_adqm_d0/0-0"] {
        let staging = longer_record(&recording(name).key);
        assert_eq!(decode_staging_key(&staging), Err(left_over.clone()));
    }
}

#[test]
fn a_schema_that_contains_itself_is_refused() {
    let schema = r#"{"type":"record","name":"A","fields":[{"name":"incrementId","type":"A"}]}"#;
    let error = decode_key(&container(schema, "null", &[&[2, 0][..], &[5; 16]].concat()));
    assert!(matches!(error, Err(FormatError::BadSchema { .. })), "{error:?}");
}

#[test]
fn a_count_that_its_block_cannot_hold_is_refused() {
    let message = recording("adp/exp_types_sysop/0-0");
    let mut body = message.body.clone();
    let count = 0x4d4 + 16;
    assert_eq!(body[count], 8, "four rows");
    body[count] = 0x7e;
    let key = key(Some("t"), 1, true);
    let mut labeller = Labeller::new(&columns(&body).unwrap());
    let error = labeller.label(&key, b"", "s", None, &body, &mut vec![]);
    assert!(matches!(error, Err(FormatError::BadLength { .. })), "{error:?}");
}

#[test]
fn a_number_of_records_beyond_all_bytes_is_refused_at_once() {
    let schema = deltakeep::format::changelog::CHANGELOG_SCHEMA.replace("changeLog", "c");
    let huge = [&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0][..], &[5; 16]];
    let error = decode_changelog(&container(&schema, "null", &huge.concat()));
    assert!(matches!(error, Err(FormatError::Truncated { .. })), "{error:?}");
}
