//! Keys that repeat inside one delta (D4.13), through real brokers: the backup is killed between
//! the parts and while they are delivered, and loading them in order over what was there before
//! makes the rows of the node. Owns the statements that make keys repeat, and the replay.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::Keep;
use crate::rig::Rig;
use crate::round_trip::require_clean;

/// Rows by key, as one text each.
type Rows = BTreeMap<String, String>;

const COLUMNS: &str = "k1, k2, v, n";

/// One write of rows whose key begins with these numbers; every third value is NULL.
fn write(statement: &str, keys: std::ops::Range<u32>, value: &str) -> String {
    let row = |k: u32| {
        let v = if k.is_multiple_of(3) { "NULL".to_owned() } else { format!("'{value} {k}'") };
        let n = if k.is_multiple_of(5) { "NULL".to_owned() } else { format!("{}", value.len()) };
        format!("({k}, 'k{}', {v}, {n})", k % 2)
    };
    format!("{statement} INTO pairs VALUES {}", keys.map(row).collect::<Vec<_>>().join(", "))
}

/// Fills `pairs` in three further deltas, 2 to 4; in the middle one keys are written up to four
/// times.
pub fn fill(rig: &Rig) {
    let columns = "(k1 bigint not null, k2 varchar not null, v varchar, n int, \
                   PRIMARY KEY (k1, k2)) DISTRIBUTED BY (k1)";
    rig.node.script("d", &format!("CREATE TABLE pairs {columns}"));
    rig.delta(&write("INSERT", 1..61, "one"));
    rig.delta(
        &[
            write("UPSERT", 1..41, "three"),
            "DELETE FROM pairs WHERE k1 < 26".to_owned(),
            write("INSERT", 1..11, "again"),
            write("UPSERT", 1..8, "and again"),
            write("UPSERT", 1..4, "at last"),
            write("INSERT", 100..130, "new"),
            write("UPSERT", 110..140, "newer"),
            "DELETE FROM pairs WHERE k1 > 55".to_owned(),
            // As it was before the delta.
            write("UPSERT", 30..33, "one"),
        ]
        .join("\n"),
    );
    rig.delta(&write("UPSERT", 5..30, "later"));
}

/// The table's chunks in a delta: part and rows, in their order.
fn chunks(verdict: &Value, delta: u64) -> Vec<(u64, Vec<Value>)> {
    let of_table = |m: &&Value| {
        m["key"]["tableName"] == json!("pairs") && m["key"]["deltaNum"] == json!(delta)
    };
    let messages = verdict["dump"].as_array().expect("messages").iter().filter(of_table);
    let mut chunks: Vec<_> = messages.collect();
    chunks.sort_by_key(|m| (m["key"]["streamNumber"].as_u64(), m["key"]["chunkNumber"].as_u64()));
    let part = |m: &Value| m["part"].as_str().map_or(0, |part| part.parse().expect("a number"));
    let rows = |m: &Value| m["rows"].as_array().expect("rows").clone();
    chunks.into_iter().map(|m| (part(m), rows(m))).collect()
}

fn key_and_row(row: &Value) -> (String, String) {
    let text = |names: &[&str]| json!(names.iter().map(|n| &row[*n]).collect::<Vec<_>>());
    (text(&["k1", "k2"]).to_string(), text(&["v", "n"]).to_string())
}

/// One load after the other: a removal takes the key away, an addition replaces it.
fn load(state: &mut Rows, chunks: &[(u64, Vec<Value>)], parts: &[u64]) {
    for part in parts {
        let of_part = chunks.iter().filter(|(number, _)| number == part);
        for row in of_part.flat_map(|(_, rows)| rows) {
            let (key, content) = key_and_row(row);
            match row["sys_op"].as_u64() {
                Some(0) => drop(state.insert(key, content)),
                _ => drop(state.remove(&key)),
            }
        }
    }
}

fn rows_of_node(rig: &Rig, datamart: &str, delta: u64) -> Rows {
    let sql = format!("SELECT {COLUMNS} FROM pairs FOR SYSTEM_TIME AS OF DELTA_NUM {delta}");
    rig.node.sql(datamart, &sql).iter().map(key_and_row).collect()
}

/// Restores into another datamart: the parts one after the other, and the rows of the node.
fn require_restored(rig: &Rig) {
    let keep = Keep::new(rig.folder.path(), &rig.node.address, "copy").elsewhere("copy");
    let words = ["restore_from_kafka", "--topic", &rig.topic, "--kafkaBrokersCore", &rig.brokers];
    let done = keep.expect(0, &[&words[..], &["--sourceDatamart", "d"]].concat());
    let loads = |delta: u64| {
        let line = format!("Successfully loaded delta table: delta {delta}, table pairs,");
        done.stdout.matches(&line).count()
    };
    assert_eq!([2, 3, 4].map(loads), [1, 3, 1], "{done}");
    for delta in 2..5 {
        let [restored, right] = ["copy", "d"].map(|datamart| rows_of_node(rig, datamart, delta));
        assert_eq!(restored, right, "delta {delta}");
        let sum = format!("CHECK_SUM_SNAPSHOT({delta}, pairs)");
        assert_eq!(rig.node.sql("copy", &sum), rig.node.sql("d", &sum), "delta {delta}");
    }
    require_clean(&rig.node, "copy", done.run().as_deref(), "copy");
}

/// Kills the backup inside the first part, inside later ones and while the parts are delivered, and
/// then lets it be done.
fn back_up_under_kills(rig: &Rig, words: &[&str]) -> usize {
    // Names of unloads hold the delta, and only one table has changes in this one.
    let (unload, message) = ("_3_", "Trying to send data message");
    let moments = [(unload, 1), (unload, 5), (unload, 4), (message, 2), (message, 4)];
    let mut kills = 0;
    rig.slow(20);
    for (line, nth) in moments {
        let mut process = rig.keep.start(words);
        process.meet_line(line, nth, Duration::from_secs(30));
        kills += usize::from(process.wait_for(Duration::from_millis(15)).is_err());
    }
    rig.node.clear_faults();
    rig.keep.expect(0, words);
    kills
}

#[test]
fn repeated_keys_come_in_three_parts_that_make_the_nodes_rows_again() {
    let rig = Rig::new("parts");
    fill(&rig);
    let expect = rig.undisturbed();
    let words = rig.words(&["--threadsCount", "2", "--partitionsCount", "2"]);
    let kills = back_up_under_kills(&rig, &words);
    assert!(kills > 2, "only {kills} kills");
    rig.judge_against(&expect);
    let verdict = rig.judge(&[0, 1, 2, 3, 4]).verdict;
    let mut state = Rows::new();
    for delta in 2..5 {
        let before = state.clone();
        let chunks = chunks(&verdict, delta);
        let parts: Vec<_> = chunks.iter().map(|(part, _)| *part).collect();
        assert_eq!(parts.contains(&0), delta != 3, "delta {delta}: {parts:?}");
        load(&mut state, &chunks, &[0, 1, 2, 3]);
        assert_eq!(state, rows_of_node(&rig, "d", delta), "delta {delta}: {parts:?}");
        if delta == 3 {
            check_parts(&parts, &before, &chunks, &state);
        }
    }
    rig.keep.expect(0, &["verify", "--topic", &rig.topic, "--kafkaBrokers", &rig.brokers]);
    require_restored(&rig);
}

/// The parts of the delta are worth their order: each has several chunks, and no other order of
/// loading makes the same rows.
fn check_parts(parts: &[u64], before: &Rows, chunks: &[(u64, Vec<Value>)], right: &Rows) {
    assert!(parts.is_sorted(), "{parts:?}");
    for part in 1..4 {
        assert!(parts.iter().filter(|p| **p == part).count() > 1, "{parts:?}");
    }
    for order in [[2, 1, 3], [1, 3, 2], [3, 2, 1]] {
        let mut state = before.clone();
        load(&mut state, chunks, &order);
        assert_ne!(&state, right, "{order:?}");
    }
}
