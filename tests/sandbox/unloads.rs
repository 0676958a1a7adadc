//! Owns how unloads behave as a whole: streams, order, concurrency, size; never the bytes of single values.

use std::collections::BTreeSet;
use std::time::Duration;

use deltakeep::sandbox::{Datasource, Fault, FaultKind, Options};
use serde_json::json;

use crate::harness::Rig;
use crate::messages::{ever, raw, unloaded};

/// A datamart `d` with `t (id bigint, v varchar)` of generated rows in delta 0.
pub async fn filled(rig: &Rig, rows: u64) {
    rig.ok("", "CREATE DATABASE d").await;
    rig.ok(
        "d",
        "CREATE TABLE t (id bigint not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)",
    )
    .await;
    rig.ok("d", "BEGIN DELTA").await;
    rig.ok("d", &format!("SANDBOX_FILL(t, {rows})")).await;
    rig.ok("d", "COMMIT DELTA").await;
}

/// Creates a download table for `t`.
pub async fn download(rig: &Rig, name: &str, chunk: u64) {
    rig.ok("d", &format!("CREATE DOWNLOAD EXTERNAL TABLE {name} (id bigint, v varchar, sys_op int32) LOCATION 'kafka://$kafka/{name}' FORMAT 'AVRO' CHUNK_SIZE {chunk}")).await;
}

pub fn insert(name: &str) -> String {
    format!("INSERT INTO {name} SELECT id, v, 0 AS sys_op FROM t FOR SYSTEM_TIME STARTED IN (0,0)")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_are_complete_and_spread_over_partitions() {
    let rig = Rig::new().await;
    filled(&rig, 1000).await;
    rig.broker.create_topic("x", 3, 1).unwrap();
    download(&rig, "x", 10).await;
    rig.ok("d", &format!(" {} ; ", insert("x"))).await;
    let messages = unloaded(&rig, "x");
    assert_eq!(messages[0].key["tableName"], format!("{} ", insert("x")));
    let chunks: Vec<_> = messages.iter().map(|m| m.chunk()).collect();
    assert_eq!(chunks, (1..=101).collect::<Vec<_>>());
    let ids: BTreeSet<_> =
        messages.iter().flat_map(|m| &m.rows).map(|r| r["id"].as_i64()).collect();
    assert_eq!(ids.len(), 1000);
    assert!(messages.last().unwrap().rows.is_empty() && messages.last().unwrap().is_last());
    let order: Vec<_> = raw(&rig, "x")
        .iter()
        .map(|(k, v)| crate::messages::Unloaded::decode(k, v).chunk())
        .collect();
    assert_ne!(order, chunks, "keys are random, so chunks are not in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adqm_unloads_one_stream_for_each_shard() {
    let options = Options { datasources: vec![Datasource::Adqm], shards: 2, ..Options::default() };
    let rig = Rig::with(options).await;
    filled(&rig, 100).await;
    download(&rig, "x", 20).await;
    rig.ok("d", &insert("x")).await;
    let messages = unloaded(&rig, "x");
    let streams: BTreeSet<_> = messages.iter().map(|m| m.key["streamNumber"].as_i64()).collect();
    assert_eq!(streams, BTreeSet::from([Some(0), Some(1)]));
    assert!(messages.iter().all(|m| m.key["streamTotal"] == json!(2)));
    assert_eq!(messages.iter().filter(|m| m.is_last()).count(), 2);
    assert_eq!(messages.iter().map(|m| m.rows.len()).sum::<usize>(), 100);
    // A query that is not simple comes from one host.
    download(&rig, "y", 20).await;
    rig.ok("d", "INSERT INTO y SELECT id, v, 0 AS sys_op FROM t ORDER BY id").await;
    assert!(unloaded(&rig, "y").iter().all(|m| m.key["streamTotal"] == json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn long_unloads_run_side_by_side_and_block_nothing() {
    let rig = Rig::new().await;
    filled(&rig, 2000).await;
    rig.sandbox.add_fault(Fault::always(FaultKind::SlowUnload(100)));
    let names = ["a1", "a2", "a3", "a4"];
    let mut running = Vec::new();
    for name in names {
        rig.broker.create_topic(name, 1, 1).unwrap();
        download(&rig, name, 100).await;
        let body = json!({"datamartMnemonic": "d", "sql": insert(name)}).to_string();
        let call = rig.client.post(rig.url("/query/execute")).body(body);
        running.push(tokio::spawn(call.send()));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.ok("d", "BEGIN DELTA").await;
    rig.ok("d", "INSERT INTO t VALUES (1, 'changed')").await;
    let count = "SELECT count(*) AS c FROM t";
    assert_eq!(rig.rows("d", count).await[0]["c"], 2000);
    rig.ok("d", "ROLLBACK DELTA").await;
    for name in names {
        assert!((1..21).contains(&ever(&rig, name)), "{name} waited for another unload");
    }
    let waiting = running.iter().all(|task| !task.is_finished());
    assert!(waiting, "statements waited for the unloads");
    for (task, name) in running.into_iter().zip(names) {
        assert_eq!(task.await.unwrap().unwrap().status(), 200);
        let rows = unloaded(&rig, name);
        assert_eq!(rows.iter().map(|m| m.rows.len()).sum::<usize>(), 2000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_above_one_megabyte_fails_and_leaves_only_the_empty_last_chunk() {
    let rig = Rig::new().await;
    rig.ok("", "CREATE DATABASE d").await;
    rig.ok(
        "d",
        "CREATE TABLE t (id bigint not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)",
    )
    .await;
    rig.ok("d", "BEGIN DELTA").await;
    for id in 0..4 {
        rig.ok("d", &format!("INSERT INTO t VALUES ({id}, '{}')", "x".repeat(600_000))).await;
    }
    rig.ok("d", "COMMIT DELTA").await;
    download(&rig, "x", 2).await;
    let text = rig.err("d", &insert("x")).await;
    assert!(
        text.contains("which is larger than 1048576, which is the value of the max.request.size"),
        "{text}"
    );
    let messages = unloaded(&rig, "x");
    assert_eq!(messages.len(), 1);
    assert_eq!((messages[0].chunk(), messages[0].is_last(), messages[0].rows.len()), (3, true, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_table_of_an_unload_must_be_in_its_datamart() {
    let rig = Rig::new().await;
    filled(&rig, 1).await;
    rig.ok("", "CREATE DATABASE other").await;
    rig.ok(
        "other",
        "CREATE DOWNLOAD EXTERNAL TABLE x (id bigint) LOCATION 'kafka://$kafka/x' FORMAT 'AVRO'",
    )
    .await;
    let text = rig.err("other", "INSERT INTO x SELECT id FROM d.t").await;
    assert_eq!(text, "Unsupported operation for tables in different datamarts: [other] and [d]");
    assert_eq!(
        rig.err("d", "INSERT INTO t SELECT id FROM t").await.split(':').next(),
        Some("Request parsing error")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_million_rows_unload_in_little_memory() {
    let rig = Rig::new().await;
    filled(&rig, 2_000_000).await;
    let before = resident();
    download(&rig, "x", 10_000).await;
    rig.ok("d", &insert("x")).await;
    // The in-process broker keeps at most 5 MiB of each partition, in this same process.
    let grown = resident().saturating_sub(before);
    assert!(grown < 150_000, "memory grew by {grown} KiB");
    assert_eq!(ever(&rig, "x"), 201);
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
