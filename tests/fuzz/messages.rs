//! Keys and bodies of messages, of ours and of connectors.

use deltakeep::format::{
    Labeller, Manifest, check_staging, decode_changelog, decode_key, decode_staging_key,
    encode_key, read_label, staging_rows, verify_crc,
};
use deltakeep::model::{
    ChunkNumber, Column, ColumnType, Datamart, DeltaDate, DeltaNum, IncrementId, MessageKey,
    StreamNumber, TableName,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{any_harm, cases, harmed, require_small};

/// Messages that a connector of a real node wrote, and one of ours.
fn meant() -> Vec<Vec<u8>> {
    let text = include_str!("../fixtures/unload/messages.tsv");
    let unhex = |hex: &str| -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len() / 2).map(|at| digit(at * 2)).collect()
    };
    let fields = text.lines().flat_map(|line| line.split('\t').skip(1));
    let mut meant: Vec<_> = fields.map(unhex).collect();
    let key = key();
    let key_bytes = encode_key(&key);
    let mut body = Vec::new();
    Labeller::new(&columns()).label_empty(&key, &key_bytes, &mut body).unwrap();
    meant.extend([key_bytes, body]);
    meant
}

fn columns() -> Vec<Column> {
    vec![Column { name: "id".into(), kind: ColumnType::Bigint }]
}

fn key() -> MessageKey {
    MessageKey {
        increment: IncrementId("f81d4fae-7dec-11d0-a765-00a0c91e6bf6".into()),
        datamart: Datamart::parse("db").unwrap(),
        delta: DeltaNum(0),
        date: DeltaDate(1),
        table: Some(TableName("t".into())),
        stream: StreamNumber(1),
        stream_total: 1,
        chunk: ChunkNumber(1),
        is_last: true,
    }
}

fn read_all(bytes: &[u8]) {
    if let Ok(key) = decode_key(bytes) {
        encode_key(&key);
    }
    let _ = decode_staging_key(bytes);
    let _ = deltakeep::extract::source::connector_key(bytes);
    let _ = decode_changelog(bytes).map(|records| records.len());
    let _ = staging_rows(bytes);
    let _ = verify_crc(b"key", bytes);
    if let Ok(label) = read_label(bytes)
        && let Some(json) = label.manifest
    {
        let _ = Manifest::parse(json);
    }
    let mut body = Vec::new();
    let mut labeller = Labeller::new(&columns());
    let _ = labeller.label(&key(), b"key", "a/0/0", None, bytes, &mut body);
    assert!(body.len() <= bytes.len() + 4096, "{} bytes of {}", body.len(), bytes.len());
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn harmed_messages(
        which in any::<prop::sample::Index>(),
        harms in any_harm(),
        random in vec(any::<u8>(), 0..200),
    ) {
        let meant = meant();
        read_all(&harmed(&meant[which.index(meant.len())], &harms));
        read_all(&random);
        require_small();
    }

    #[test]
    fn manifests_and_schemas(harms in any_harm(), random in "\\PC{0,80}", depth in 0..5000_usize) {
        let manifest = r#"{"format":1,"tool":"1","node":"5","run":"f81d4fae7dec11d0a76500a0c91e6bf6",
            "datamart":"db","replayBefore":3,"changelogComplete":true,"tables":[{"name":"t",
            "streams":1,"chunks":[18446744073709551615],"rowsAdded":1,"rowsRemoved":0,"exact":true}]}"#;
        let schema = r#"{"type":"record","name":"row","fields":[{"name":"id","type":["null","long"]},
            {"name":"sys_op","type":["null","int"]}]}"#;
        for text in [manifest, schema, &random, &"[".repeat(depth), &"{\"type\":".repeat(depth)] {
            let text = String::from_utf8_lossy(&harmed(text.as_bytes(), &harms)).into_owned();
            let _ = Manifest::parse(&text);
            let _ = check_staging(&text, &columns());
        }
        require_small();
    }
}
