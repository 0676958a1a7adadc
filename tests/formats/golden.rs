//! The golden increment: its bytes are compared, and an independent reader must find it whole.
//! The files in tests/golden/topic are never edited and never written by a test.

use std::path::{Path, PathBuf};
use std::process::Command;

use deltakeep::format::{
    Labeller, Manifest, TableManifest, decode_changelog, decode_key, encode_changelog, encode_key,
    partition_of, read_label, verify_crc,
};
use deltakeep::model::{
    Change, Column, ColumnType, Datamart, DeltaNum, MessageKey, RunId, StreamNumber, TableName,
};

use crate::support::{columns, hex, key, recording, unhex};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn golden(file: &str) -> String {
    let path = root("tests/golden/topic/v1").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn manifest() -> Manifest {
    let table = |name: &str, chunks: u64, rows_added, sum: Option<&str>| TableManifest {
        name: TableName(name.into()),
        streams: 1,
        chunks: vec![chunks],
        rows_added,
        rows_removed: 0,
        parts: None,
        check_sum: sum.map(str::to_owned),
        check_sum_snapshot: None,
        check_sum_columns: sum.map(|_| vec!["id".into(), "varchar_col".into()]),
        exact: true,
    };
    Manifest {
        format: Manifest::FORMAT,
        tool: "0.1.0".into(),
        node: "5.5.0".into(),
        run: RunId(uuid::Uuid::from_u128(0xf81d_4fae_7dec_11d0_a765_00a0_c91e_6bf6)),
        datamart: Datamart::parse("sourcedb").unwrap(),
        previous_delta: None,
        replay_before: 2,
        changelog_complete: true,
        tables: vec![table("table1_adp", 2, 4, Some("-1234567890")), table("stores", 1, 0, None)],
    }
}

fn changes() -> Vec<Change> {
    let change = |num, entity: &str, query: &str| Change {
        num,
        entity: entity.into(),
        query: query.into(),
        delta: None,
        finished: true,
    };
    vec![
        change(0, "table1_adp", "CREATE TABLE sourcedb.table1_adp (id BIGINT NOT NULL)"),
        change(
            1,
            "stores",
            "CREATE TABLE sourcedb.stores (id INT NOT NULL, opened TIMESTAMP) -- магазины",
        ),
    ]
}

/// The golden increment by name: key and body of each message.
fn messages() -> Vec<(&'static str, MessageKey, Vec<u8>)> {
    let mut out = Vec::new();
    let mut messages = Vec::new();
    let added = recording("adp/exp_types_sysop/0-0").body;
    let removed = recording("adp/exp_types_sysop/0-1").body;
    let mut labeller = Labeller::new(&columns(&added).unwrap());
    for (name, body, chunk) in [("1_rows", added, 1), ("2_no_rows", removed, 2)] {
        let key = key(Some("table1_adp"), chunk, chunk == 2);
        let source = format!("deltakeep_f81d4fae_0_0_1_0000002a/0/{}", chunk - 1);
        labeller.label(&key, &encode_key(&key), &source, None, &body, &mut out).unwrap();
        messages.push((name, key, out.clone()));
    }
    let empty = key(Some("stores"), 1, true);
    let columns = [
        Column { name: "id".into(), kind: ColumnType::Int },
        Column { name: "opened".into(), kind: ColumnType::Timestamp(Some(6)) },
    ];
    Labeller::new(&columns).label_empty(&empty, &encode_key(&empty), &mut out).unwrap();
    messages.push(("3_empty", empty, out));
    let last = key(None, 1, true);
    let body = encode_changelog(&changes(), &encode_key(&last), 2, Some(&manifest()));
    messages.push(("4_changelog", last, body));
    messages
}

#[test]
fn the_bytes_are_the_golden_ones() {
    let mut differences = String::new();
    for (name, key, body) in messages() {
        for (kind, bytes) in [("key", encode_key(&key)), ("body", body)] {
            let file = format!("{name}.{kind}.hex");
            if bytes != unhex(&golden(&file)) {
                differences += &format!("{file} by this version: {}\n", hex(&bytes));
            }
        }
    }
    assert!(differences.is_empty(), "golden bytes differ:\n{differences}");
}

#[test]
fn golden_messages_are_read() {
    for (name, key, _) in messages() {
        let key_bytes = unhex(&golden(&format!("{name}.key.hex")));
        let body = unhex(&golden(&format!("{name}.body.hex")));
        assert_eq!(decode_key(&key_bytes).as_ref(), Ok(&key));
        assert_eq!(verify_crc(&key_bytes, &body), Ok(true));
        let label = read_label(&body).unwrap();
        assert_eq!(label.src.is_some(), key.table.is_some());
        if key.table.is_none() {
            assert_eq!(Manifest::parse(label.manifest.unwrap()), Ok(manifest()));
            assert_eq!(decode_changelog(&body).unwrap().len(), 2);
        }
    }
}

#[test]
fn partitions_are_the_golden_ones() {
    let vectors: Vec<serde_json::Value> = serde_json::from_str(&golden("partitions.json")).unwrap();
    for vector in &vectors {
        let table = vector["table"].as_str().map(|name| TableName(name.into()));
        let stream = vector["stream"].as_u64().map(|number| StreamNumber(number as u32));
        let found = partition_of(
            &Datamart::parse(vector["datamart"].as_str().unwrap()).unwrap(),
            DeltaNum(vector["delta"].as_u64().unwrap()),
            table.as_ref(),
            stream,
            vector["partitions"].as_u64().unwrap() as u32,
        );
        assert_eq!(i64::from(found.0), vector["partition"].as_i64().unwrap(), "{vector}");
    }
    assert!(vectors.len() >= 10);
}

/// Runs the judge on a folder of golden files: its verdict, and what it says on stderr.
/// `DELTAKEEP_PYTHON` names an interpreter that has scripts/requirements.txt; default python3.
fn judge(folder: &Path) -> (bool, serde_json::Value, String) {
    let python = std::env::var("DELTAKEEP_PYTHON").unwrap_or_else(|_| "python3".into());
    let setup = "python3 -m venv .venv && .venv/bin/pip install -r scripts/requirements.txt, then \
                 DELTAKEEP_PYTHON=$PWD/.venv/bin/python cargo test --test formats";
    let has_avro = Command::new(&python).args(["-c", "import fastavro"]).output();
    let is_ready = has_avro.is_ok_and(|output| output.status.success());
    assert!(is_ready, "{python} has no fastavro; set up with: {setup}");
    let mut command = Command::new(&python);
    command.arg(root("scripts/judge.py")).arg("--golden").arg(folder);
    command.arg("--expect").arg(root("tests/golden/topic/v1/judged.json"));
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let verdict = serde_json::from_slice(&output.stdout);
    (output.status.success(), verdict.unwrap_or_else(|_| panic!("{errors}")), errors)
}

#[test]
fn an_independent_reader_finds_the_golden_increment_whole() {
    let (is_good, verdict, errors) = judge(&root("tests/golden/topic/v1"));
    assert!(is_good && errors.is_empty(), "the judge says:\n{errors}");
    assert_eq!(verdict["messages"], 4);
    assert_eq!(verdict["deltas"]["0"]["tables"]["table1_adp"]["0"]["rows"], 4);
}

/// What the judge says of the golden increment after `damage` was done to a copy of its files.
fn judge_damaged(damage: impl Fn(&Path)) -> String {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(root("tests/golden/topic/v1")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    damage(copy.path());
    let (is_good, _, errors) = judge(copy.path());
    assert!(!is_good);
    errors
}

fn put(folder: &Path, name: &str, key: &[u8], body: &[u8]) {
    std::fs::write(folder.join(format!("{name}.key.hex")), hex(key)).unwrap();
    std::fs::write(folder.join(format!("{name}.body.hex")), hex(body)).unwrap();
}

#[test]
fn the_judge_sees_what_is_lost_doubled_or_changed() {
    let remove = |name: &'static str| {
        move |folder: &Path| {
            std::fs::remove_file(folder.join(format!("{name}.key.hex"))).unwrap();
        }
    };
    assert!(judge_damaged(remove("1_rows")).contains("chunks [1] absent"));
    assert!(judge_damaged(remove("2_no_rows")).contains("last chunks [] of 1"));
    assert!(judge_damaged(remove("3_empty")).contains("manifest: tables"));
    assert!(judge_damaged(remove("4_changelog")).contains("no changelog"));

    let [(_, key, body), (_, next, _), ..] = &messages()[..] else { panic!("no messages") };
    let key_bytes = encode_key(key);
    let doubled = judge_damaged(|folder| put(folder, "9_copy", &key_bytes, body));
    assert!(doubled.contains("identical copy"), "{doubled}");

    let mut flipped = body.clone();
    let last_value = flipped.len() - 17;
    flipped[last_value] ^= 2;
    let changed = judge_damaged(|folder| put(folder, "1_rows", &key_bytes, &flipped));
    assert!(changed.contains("deltakeep.crc is"), "{changed}");
    assert!(changed.contains("expected: delta 0 table table1_adp"), "{changed}");

    // The bodies of two chunks change places: each is whole, but not where it belongs.
    let moved = judge_damaged(|folder| put(folder, "2_no_rows", &encode_key(next), body));
    assert!(moved.contains("deltakeep.crc is") && moved.contains("rows of table1_adp"), "{moved}");
}

#[test]
fn the_document_shows_the_golden_bytes_and_schemas() {
    let document = include_str!("../../docs/format.md");
    for file in ["1_rows.key", "1_rows.body", "4_changelog.key", "4_changelog.body"] {
        assert!(document.contains(&golden(&format!("{file}.hex"))), "{file}");
    }
    assert!(document.contains(deltakeep::format::key::KEY_SCHEMA));
    assert!(document.contains(deltakeep::format::changelog::CHANGELOG_SCHEMA));
    let vectors: Vec<serde_json::Value> = serde_json::from_str(&golden("partitions.json")).unwrap();
    for vector in vectors {
        let text = |name: &str| vector[name].to_string().replace("null", "").replace('"', "");
        let place = ["datamart", "delta", "table", "stream"].map(text).join("/");
        let row = format!("| `{place}` | {} | {} |", vector["partitions"], vector["partition"]);
        assert!(document.contains(&row), "{row}");
    }
}
