//! Owns replaying the recordings of a node with the datasource ADQM; what differs is an exception
//! with its reason, never a number of differences.

use std::collections::BTreeMap;

use deltakeep::sandbox::{Datasource, Fault, FaultKind, Options};
use serde_json::{Value, json};

use crate::harness::{Rig, json_fixture};
use crate::messages::{Unloaded, recorded, unloaded};
use crate::recordings::entry_equals;
use crate::unloads::{filled, insert};

/// Why an entry is answered in another way, or not asked at all.
type Exceptions = &'static [(usize, &'static str)];

/// Replays a recording but for its exceptions; each of these must really differ.
async fn replay(rig: &Rig, file: &str, compared: usize, exceptions: Exceptions) {
    let entries = json_fixture(&format!("adqm/{file}"));
    let (mut differences, mut equal) = (Vec::new(), 0);
    for (number, entry) in entries.as_array().expect("a list").iter().enumerate() {
        let differs = entry_equals(rig, entry).await.err();
        let excepted = exceptions.iter().find(|(excepted, _)| *excepted == number);
        match (differs, excepted) {
            (None, None) => equal += 1,
            (Some(_), Some(_)) => {}
            (Some(how), None) => {
                let sql = &entry["request"]["body"]["sql"];
                differences.push(format!("{file} [{number}] {sql}: {how}"));
            }
            (None, Some((_, reason))) => {
                differences.push(format!("{file} [{number}] does not differ: {reason}"));
            }
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    assert_eq!(equal, compared, "entries compared in {file}");
}

/// What is the same however rows are spread over shards: the streams of each statement, how each
/// ends, and all rows.
fn outline(messages: &[Unloaded]) -> (BTreeMap<String, Vec<Value>>, Vec<String>) {
    let mut streams: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for message in messages.iter().filter(|message| message.is_last()) {
        let key = &message.key;
        let ends = streams.entry(key["tableName"].to_string()).or_default();
        ends.push(json!([key["streamNumber"], key["streamTotal"]]));
    }
    let rows = messages.iter().flat_map(|message| &message.rows);
    let mut rows: Vec<_> = rows.map(|row| json!(row).to_string()).collect();
    rows.sort();
    (streams, rows)
}

fn same_outlines(rig: &Rig, topics: &[&str]) {
    for topic in topics {
        let want = recorded(&format!("../adqm/topics/{topic}"));
        assert_eq!(outline(&unloaded(rig, topic)), outline(&want), "{topic}");
    }
}

fn same_topics(rig: &Rig, topics: &[&str]) {
    for topic in topics {
        let (got, want) = (unloaded(rig, topic), recorded(&format!("../adqm/topics/{topic}")));
        assert_eq!(got, want, "{topic}");
    }
}

async fn rig(datasources: &[Datasource], shards: u32) -> Rig {
    let zookeeper = Some("127.0.0.1:14181".to_owned());
    let datasources = datasources.to_vec();
    Rig::with(Options { zookeeper, datasources, shards, ..Options::default() }).await
}

/// ClickHouse prints floating numbers in another way than PostgreSQL, and the stand-in prints them
/// as the latter does; no backup takes sums over them (D4.5).
const FLOATS: &str = "a sum over FLOAT and DOUBLE";
/// The stand-in lists datasources by name, the node in the order of a set.
const ORDER: &str = "the order of datasources";
const PLACE: &str = "where the recorded servers were";
/// Rows of that delta were put into ClickHouse by hand, under one number.
const NUMBERS: &str = "how many write operations the delta has";

const HISTORY: Exceptions = &[
    (25, FLOATS),
    (84, FLOATS),
    (85, FLOATS),
    (91, FLOATS),
    (97, FLOATS),
    (103, FLOATS),
    (109, FLOATS),
];
const FORMS: Exceptions = &[(6, NUMBERS), (78, PLACE), (79, PLACE), (80, ORDER)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_shard_is_answered_as_recorded() {
    let rig = rig(&[Datasource::Adp, Datasource::Adqm], 1).await;
    rig.ok("", "CREATE DATABASE adb1").await;
    replay(&rig, "a01_ddl_history.json", 198, HISTORY).await;
    replay(&rig, "a02_unload.json", 32, &[]).await;
    same_topics(&rig, &["q_types_d0", "q_types_fin_d1", "q_types_empty", "q_both", "q_cast"]);
    same_topics(&rig, &["q_nn", "q_nn_nullable_ext"]);
    // ClickHouse sends rows in the order of their keys; no reader may rely on any.
    same_outlines(&rig, &["q_comp_two_inserts", "q_comp_union"]);
    further_deltas(&rig).await;
    replay(&rig, "a16_system_time_forms.json", 77, FORMS).await;
}

/// Deltas 5 and 6 of recording a02b. Rows of the latter were put into ClickHouse by hand, its
/// merges stopped, so that they are made by statements here.
async fn further_deltas(rig: &Rig) {
    for (date, statements) in [
        (1_795_241_775, &["INSERT INTO comp VALUES (50,'u','u0',0)"][..]),
        (
            1_795_241_776,
            &["INSERT INTO comp VALUES (51,'w','new',1)", "DELETE FROM comp WHERE k1 IN (6, 50)"],
        ),
    ] {
        rig.ok("adb1", "BEGIN DELTA").await;
        for statement in statements {
            rig.ok("adb1", statement).await;
        }
        rig.sandbox.set_clock(Some(date));
        rig.ok("adb1", "COMMIT DELTA").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_shards_are_answered_as_recorded() {
    let rig = rig(&[Datasource::Adp, Datasource::Adqm], 2).await;
    rig.ok("", "CREATE DATABASE two1").await;
    rig.ok("", "CREATE DATABASE two2").await;
    replay(&rig, "a10_two_shards.json", 108, &[]).await;
    // The node's shards split rows by a hash of ClickHouse, the stand-in by one of its own.
    let topics = ["d0", "d2", "d3", "two", "order", "where", "cast"];
    let topics = topics.map(|topic| format!("s1795242937_{topic}"));
    same_outlines(&rig, &topics.each_ref().map(String::as_str));
}

/// A stream of a real connector that ended twice (recording a13), and one of the stand-in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ends_twice_looks_as_recorded() {
    let ends = |messages: &[Unloaded]| -> Vec<(i64, bool, bool)> {
        messages.iter().map(|m| (m.chunk(), m.is_last(), m.rows.is_empty())).rev().take(2).collect()
    };
    let mut recorded: Vec<_> = recorded("../adqm/topics/double_last_c");
    recorded.retain(|message| message.key["streamNumber"] == 0);
    assert_eq!(ends(&recorded), [(5, true, true), (4, true, false)]);
    let rig = rig(&[Datasource::Adqm], 1).await;
    filled(&rig, 7).await;
    let wide = "CREATE DOWNLOAD EXTERNAL TABLE x (id bigint, v varchar, sys_op int32) LOCATION";
    rig.ok("d", &format!("{wide} 'kafka://$kafka/x' FORMAT 'AVRO' CHUNK_SIZE 2")).await;
    rig.sandbox.add_fault(Fault::next(FaultKind::DoubleLast));
    rig.ok("d", &insert("x")).await;
    assert_eq!(ends(&unloaded(&rig, "x")), ends(&recorded));
}
