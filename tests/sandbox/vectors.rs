//! Owns the conformance vectors: each step is one of the replayed entries, each model is run; never skips a vector.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Rig, json_fixture, masked};
use crate::loads::{Loader, load_rows};
use crate::messages::{recorded, unloaded};
use crate::recordings::{FIRST_TRIES, MAIN_LINE};

fn vectors() -> Vec<Value> {
    json_fixture("vectors.json")["vectors"].as_array().unwrap().clone()
}

fn vector(id: &str) -> Value {
    vectors().into_iter().find(|v| v["id"] == id).unwrap()
}

/// A request and its answer without what may differ: ids, times and the order of rows.
fn fingerprint(request: &Value, status: &Value, response: &Value) -> String {
    let mut response = masked(response);
    if let Some(fields) = response.as_object_mut() {
        fields.remove("requestId");
        if let Some(rows) = fields.get_mut("result").and_then(Value::as_array_mut) {
            rows.sort_by_key(ToString::to_string);
        }
    }
    let mut body = request["body"].clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("requestId");
    }
    json!([request["method"], request["path"], body, status, response]).to_string()
}

#[test]
fn every_step_is_an_entry_that_is_replayed_and_compared() {
    let mut replayed = BTreeSet::new();
    for recording in MAIN_LINE.iter().chain(FIRST_TRIES) {
        for (i, e) in json_fixture(recording.file).as_array().unwrap().iter().enumerate() {
            if !recording.excepted.contains(&i) {
                replayed.insert(fingerprint(&e["request"], &e["status"], &e["response"]));
            }
        }
    }
    let mut steps = 0;
    for vector in vectors() {
        for step in vector["steps"].as_array().into_iter().flatten() {
            let print = fingerprint(&step["request"], &step["status"], &step["response"]);
            assert!(replayed.contains(&print), "{}: {print}", vector["id"]);
            steps += 1;
        }
    }
    assert_eq!((vectors().len(), steps), (21, 70));
}

/// V12 and V13, and the recorded raw messages: called with a sandbox that replayed the main line.
pub fn topics_equal(rig: &Rig) {
    let mut compared = 0;
    for topic in ["exp_chunks", "exp_types_sysop", "edge_d0", "exp_star"] {
        let (got, want) = (unloaded(rig, topic), recorded(topic));
        assert_eq!(got.len(), want.len(), "messages in {topic}");
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(got, want, "{topic}");
            compared += 1;
        }
    }
    assert_eq!(compared, 15);
    for (id, topic) in [("V12", "exp_chunks"), ("V13", "edge_d0")] {
        let got = unloaded(rig, topic);
        let vector = vector(id);
        let mut wanted: Vec<_> = vector["messages"].as_array().unwrap().clone();
        wanted
            .sort_by_key(|m| (m["key"]["tableName"].to_string(), m["key"]["chunkNumber"].as_i64()));
        assert_eq!(got.len(), wanted.len());
        for (got, want) in got.iter().zip(wanted) {
            assert_eq!((&got.key, &json!(got.rows)), (&want["key"], &want["value_rows"]));
        }
    }
    assert_eq!(unloaded(rig, "exp_chunks")[0].key_schema, vector("V12")["key_schema"]);
    assert_eq!(unloaded(rig, "exp_chunks")[0].schema, vector("V12")["value_schema"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v14_number_of_messages() {
    let rig = Rig::new().await;
    rig.ok("", "CREATE DATABASE d").await;
    rig.ok("d", "CREATE TABLE t (id int not null, PRIMARY KEY (id)) DISTRIBUTED BY (id)").await;
    let cases = vector("V14")["cases"].as_array().unwrap().clone();
    assert_eq!(cases.len(), 4);
    let mut done = 0;
    for (delta, case) in cases.iter().enumerate() {
        let (rows, chunk) = (case["rows"].as_i64().unwrap(), case["chunk"].as_i64().unwrap());
        rig.ok("d", "BEGIN DELTA").await;
        rig.ok("d", &format!("SANDBOX_FILL(t, {rows})")).await;
        rig.sandbox.set_clock(Some(1_000 + i64::try_from(delta).unwrap()));
        rig.ok("d", "COMMIT DELTA").await;
        let topic = format!("v14_{delta}");
        rig.ok("d", &format!("CREATE DOWNLOAD EXTERNAL TABLE x (id int) LOCATION 'kafka://$kafka/{topic}' FORMAT 'AVRO' CHUNK_SIZE {chunk}")).await;
        rig.ok(
            "d",
            &format!("INSERT INTO x SELECT id FROM t FOR SYSTEM_TIME STARTED IN ({delta},{delta})"),
        )
        .await;
        rig.ok("d", "DROP DOWNLOAD EXTERNAL TABLE x").await;
        let got = unloaded(&rig, &topic);
        assert_eq!(json!(got.len()), case["messages"]);
        assert_eq!(json!(got.last().unwrap().rows.len()), case["rows_in_last"]);
        assert_eq!(got.iter().filter(|m| m.is_last()).count(), 1);
        done += 1;
    }
    assert_eq!(done, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v18_sums_follow_from_the_row_texts() {
    let rig = Rig::new().await;
    rig.ok("", "CREATE DATABASE d").await;
    let vector = vector("V18");
    let mut done = 0;
    for sums in vector["sums"].as_array().unwrap() {
        // A table of one text column: the row text is then the value itself.
        rig.ok("d", "CREATE TABLE s (v varchar not null, PRIMARY KEY (v)) DISTRIBUTED BY (v)")
            .await;
        rig.ok("d", "BEGIN DELTA").await;
        for text in sums["row_texts"].as_array().unwrap() {
            rig.ok("d", &format!("INSERT INTO s VALUES ('{}')", text.as_str().unwrap())).await;
        }
        rig.sandbox.set_clock(Some(done + 1));
        rig.ok("d", "COMMIT DELTA").await;
        let rows = rig.rows("d", &format!("CHECK_SUM({done},{},s)", sums["norm"])).await;
        assert_eq!(rows[0]["check_result"], sums["check_result"]);
        rig.ok("d", "DROP TABLE s").await;
        done += 1;
    }
    assert_eq!(done, 7);
    let row = &vector["rows"][0];
    rig.ok("d", "CREATE TABLE s (v varchar not null, PRIMARY KEY (v)) DISTRIBUTED BY (v)").await;
    rig.ok("d", "BEGIN DELTA").await;
    rig.ok("d", &format!("INSERT INTO s VALUES ('{}')", row["text"].as_str().unwrap())).await;
    let rows = rig.rows("d", &format!("CHECK_SUM({done},{},s)", row["norm"])).await;
    assert_eq!(rows[0]["check_result"], json!(row["value"].to_string()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v21_row_versions_after_loads() {
    let rig = Rig::new().await;
    let vector = vector("V21");
    let loader = Loader::new(&rig, "adp").await;
    let loads = vector["model"].as_array().unwrap();
    for (cn, step) in loads.iter().enumerate() {
        if cn % 2 == 0 {
            rig.ok("d", "BEGIN DELTA").await;
        }
        assert_eq!(step["load"]["cn"], json!(cn));
        load_rows(&loader, step["load"]["rows"].as_array().unwrap()).await;
        if cn % 2 == 1 {
            rig.sandbox.set_clock(Some(i64::try_from(cn).unwrap() + 10));
            rig.ok("d", "COMMIT DELTA").await;
        }
    }
    for delta in vector["deltas"].as_array().unwrap() {
        let rows = rig.rows("d", &format!("GET_DELTA_BY_NUM({})", delta["delta"])).await;
        assert_eq!((&rows[0]["cn_from"], &rows[0]["cn_to"]), (&delta["cn_from"], &delta["cn_to"]));
    }
    let mut done = 0;
    for query in vector["queries"].as_array().unwrap() {
        let period = query["q"].as_str().unwrap();
        let sql = format!("SELECT id, v FROM t FOR SYSTEM_TIME {period}");
        let rows = rig.rows("d", &sql).await;
        let got: BTreeSet<_> = rows.iter().map(|r| json!([r["id"], r["v"]]).to_string()).collect();
        let want: BTreeSet<_> =
            query["rows"].as_array().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(got, want, "{period}");
        done += 1;
    }
    assert_eq!(done, 6);
}
