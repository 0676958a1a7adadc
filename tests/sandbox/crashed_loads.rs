//! Owns the recordings of clients and nodes that die while a load runs, and of a topic that is read
//! a second time; never compares anything but the recorded answers.

use std::time::Duration;

use deltakeep::sandbox::{Fault, FaultKind};
use serde_json::{Value, json};

use crate::harness::{Rig, json_fixture};
use crate::messages::{body, produce};
use crate::recordings::entry_equals;

const SCHEMA: &str = r#"{"type":"record","name":"row","fields":[{"name":"id","type":"long"},
    {"name":"v","type":"string"},{"name":"n","type":"long"},{"name":"d","type":"double"},
    {"name":"t","type":"long"},{"name":"sys_op","type":"int"}]}"#;

/// Rows of each recorded topic, and of one message.
const ROWS: i64 = 200_000;
const CHUNK: i64 = 20_000;

fn fill(rig: &Rig, topic: &str) {
    rig.broker.create_topic(topic, 3, 1).unwrap();
    let row = |id| json!({"id": id, "v": "v", "n": id, "d": 0.5, "t": 0, "sys_op": 0});
    for from in (0..ROWS).step_by(CHUNK as usize) {
        let rows: Vec<_> = (from..from + CHUNK).map(row).collect();
        produce(rig, topic, &[body(SCHEMA, &rows, true)]);
    }
}

/// A load ends in its own time: its end is waited for, everything before is asked at once.
async fn compared(rig: &Rig, entry: &Value) -> Result<(), String> {
    let sql = entry["request"]["body"]["sql"].as_str().unwrap_or_default();
    if entry["status"].is_null() {
        // The recorded client gave up after 2 s, the recorded node was killed: the load goes on.
        rig.sandbox.add_fault(Fault::next(FaultKind::ZombieLoad(3000)));
        let sent = rig.client.post(rig.url("/query/execute"));
        let answer = sent.body(entry["request"]["body"].to_string()).send().await;
        return answer.map_or(Ok(()), |answer| Err(format!("answered {answer:?}")));
    }
    let ends = sql == "GET_WRITE_OPERATIONS()" && entry["response"]["result"] == json!([]);
    let mut found = entry_equals(rig, entry).await;
    for _ in 0..400 {
        if found.is_ok() || !ends {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        found = entry_equals(rig, entry).await;
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_outlive_their_clients_and_a_topic_is_read_once_as_recorded() {
    let rig = Rig::new().await;
    fill(&rig, "big_u1");
    fill(&rig, "big_u2");
    for (file, wanted) in [("17_crash_upload.json", 39), ("18_upload_topic_reuse.json", 14)] {
        let entries = json_fixture(file).as_array().unwrap().clone();
        assert_eq!(entries.len(), wanted, "{file}");
        for (i, entry) in entries.iter().enumerate() {
            let sql = &entry["request"]["body"]["sql"];
            assert_eq!(compared(&rig, entry).await, Ok(()), "{file} [{i}] {sql}");
        }
    }
}
