//! Owns what survives a restart, SIGKILL included; never what a single statement answers.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Parser;
use deltakeep::sandbox::{Fault, FaultKind, Options, Sandbox};
use rdkafka::mocking::MockCluster;
use serde_json::{Value, json};

use crate::interface::Line;

fn options(data: &Path, kafka: &str) -> Options {
    Options { data: Some(data.to_owned()), kafka: kafka.to_owned(), ..Options::default() }
}

async fn ok(sandbox: &Sandbox, sql: &str) -> Vec<Value> {
    let answer = sandbox.execute("d", sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    answer["result"].as_array().unwrap().clone()
}

const SCRIPT: &[&str] = &[
    "CREATE DATABASE d",
    "CREATE TABLE t (id int not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)",
    "BEGIN DELTA",
    "INSERT INTO t VALUES (1,'a')",
    "COMMIT DELTA",
    "DENY_CHANGES(d,'code')",
    "BEGIN DELTA",
    "INSERT INTO t VALUES (2,'b')",
];

async fn survived(sandbox: &Sandbox) {
    assert_eq!(ok(sandbox, "SELECT id FROM t").await, [json!({"id": 1})]);
    assert_eq!(ok(sandbox, "GET_DELTA_HOT()").await[0]["delta_num"], 1);
    assert_eq!(ok(sandbox, "GET_CHANGES()").await.len(), 1);
    let text = sandbox.execute("d", "ALLOW_CHANGES(d,'wrong')").await.unwrap_err();
    assert_eq!(text, "Wrong code");
    ok(sandbox, "ROLLBACK DELTA").await;
    ok(sandbox, "ALLOW_CHANGES(d,'code')").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let first = Sandbox::start(options(dir.path(), "127.0.0.1:1")).await.unwrap();
    for sql in SCRIPT {
        ok(&first, sql).await;
    }
    first.stop().await;
    let second = Sandbox::start(options(dir.path(), "127.0.0.1:1")).await.unwrap();
    survived(&second).await;
}

/// The victim of the next test: serves until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by a_killed_node_goes_on_where_it_was"]
async fn victim() {
    let Ok(dir) = std::env::var("SANDBOX_VICTIM_DIR") else {
        return;
    };
    let sandbox = Sandbox::start(options(Path::new(&dir), "127.0.0.1:1")).await.unwrap();
    println!("\nlistening {}", sandbox.address());
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "storage::victim", "--ignored", "--nocapture"])
        .env("SANDBOX_VICTIM_DIR", dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|l| l.starts_with("listening ")).unwrap();
    let address: SocketAddr = line["listening ".len()..].parse().unwrap();
    let client = reqwest::Client::new();
    for sql in SCRIPT {
        let body = json!({"datamartMnemonic": "d", "sql": sql}).to_string();
        let call = client.post(format!("http://{address}/query/execute")).body(body);
        assert_eq!(call.send().await.unwrap().status(), 200, "{sql}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let again = Sandbox::start(options(dir.path(), "127.0.0.1:1")).await.unwrap();
    survived(&again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_cut_short_is_finished_after_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = MockCluster::new(1).unwrap();
    let kafka = broker.bootstrap_servers();
    let first = Sandbox::start(options(dir.path(), &kafka)).await.unwrap();
    for sql in &SCRIPT[..5] {
        ok(&first, sql).await;
    }
    let script = [
        "CREATE TABLE copy (id int not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)",
        "CREATE DOWNLOAD EXTERNAL TABLE x (id int, v varchar, sys_op int32) LOCATION 'kafka://$kafka/x' FORMAT 'AVRO'",
        "INSERT INTO x SELECT id, v, 0 AS sys_op FROM t",
        "CREATE UPLOAD EXTERNAL TABLE u (id int, v varchar) LOCATION 'kafka://$kafka/x' FORMAT 'AVRO'",
        "BEGIN DELTA",
    ];
    for sql in script {
        ok(&first, sql).await;
    }
    first.add_fault(Fault::next(FaultKind::HangLoad));
    let load = first.execute("d", "INSERT INTO copy SELECT * FROM u");
    tokio::time::timeout(std::time::Duration::from_millis(300), load).await.unwrap_err();
    first.stop().await;
    let second = Sandbox::start(options(dir.path(), &kafka)).await.unwrap();
    for _ in 0..100 {
        if ok(&second, "GET_WRITE_OPERATIONS()").await.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let sql = "SELECT id FROM copy FOR SYSTEM_TIME AS OF LATEST_UNCOMMITTED_DELTA";
    assert_eq!(ok(&second, sql).await, [json!({"id": 1})]);
}

/// The victim of the next test: the whole command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the_command_serves_until_it_is_told_to_stop"]
async fn command() {
    if std::env::var("SANDBOX_COMMAND").is_err() {
        return;
    }
    println!();
    let line = Line::try_parse_from(["x", "--listen", "127.0.0.1:0", "--kafka", "127.0.0.1:1"]);
    deltakeep::sandbox::run(line.unwrap().sandbox).await.unwrap();
    println!("\nstopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_serves_until_it_is_told_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "storage::command", "--ignored", "--nocapture"])
        .env("SANDBOX_COMMAND", "1")
        .env("TMPDIR", dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let start = "sandbox listening on http://";
    let line = lines.find(|l| l.starts_with(start)).unwrap();
    let url = format!("http://{}/meta", &line[start.len()..]);
    assert_eq!(reqwest::get(url).await.unwrap().status(), 200);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(lines.any(|l| l == "stopped"));
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "temporary state is removed");
}
