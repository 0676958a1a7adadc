//! Owns the HTTP interface beyond the recordings: tokens, the sandbox's own paths, discovery; never SQL results.

use clap::Parser;
use deltakeep::sandbox::{Datasource, Options};
use serde_json::{Value, json};

use crate::harness::Rig;

async fn get(rig: &Rig, path: &str) -> Value {
    rig.client.get(rig.url(path)).send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_wanted_when_set() {
    let rig = Rig::with(Options { token: Some("secret".into()), ..Options::default() }).await;
    let post = |auth: Option<&str>| {
        let mut call = rig.client.post(rig.url("/query/execute"));
        if let Some(auth) = auth {
            call = call.header("Authorization", auth);
        }
        call.body(json!({"sql": "CHECK_VERSIONS()"}).to_string()).send()
    };
    assert_eq!(post(None).await.unwrap().status(), 401);
    assert_eq!(post(Some("Bearer other")).await.unwrap().status(), 401);
    assert_eq!(post(Some("Bearer secret")).await.unwrap().status(), 200);
    assert_eq!(rig.client.get(rig.url("/meta")).send().await.unwrap().status(), 401);
    assert_eq!(get(&rig, "/sandbox/calls").await, json!(["CHECK_VERSIONS()"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_and_calls_are_reachable_from_outside() {
    let rig = Rig::new().await;
    let add = |body: &str| rig.client.post(rig.url("/sandbox/faults")).body(body.to_owned()).send();
    assert_eq!(add(r#"{"fault":"slow-load=5@2"}"#).await.unwrap().status(), 200);
    assert_eq!(add(r#"{"fault":"no-such"}"#).await.unwrap().status(), 400);
    assert_eq!(add("{").await.unwrap().status(), 400);
    assert_eq!(get(&rig, "/sandbox/faults").await, json!(["slow-load=5@2"]));
    rig.client.delete(rig.url("/sandbox/faults")).send().await.unwrap();
    assert_eq!(get(&rig, "/sandbox/faults").await, json!([]));
    rig.ok("", "CREATE DATABASE d").await;
    assert_eq!(rig.sandbox.calls(), ["CREATE DATABASE d"]);
    assert_eq!(get(&rig, "/sandbox/calls").await, json!(["CREATE DATABASE d"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_follows_the_options() {
    let options = Options {
        zookeeper: Some("zk1:2181,zk2".into()),
        datasources: vec![Datasource::Adqm, Datasource::Adp],
        ..Options::default()
    };
    let rig = Rig::with(options).await;
    let value = async |name: &str| {
        let rows = rig.rows("", &format!("CONFIG_SHOW('{name}')")).await;
        rows[0]["parameter_value"].clone()
    };
    assert_eq!(value("ZOOKEEPER_KAFKA_ADDRESS").await, "zk1:2181,zk2");
    assert_eq!(value("zookeeper_kafka_chroot").await, "");
    assert_eq!(value("core:plugins:active").await, "ADP, ADQM");
    assert_eq!(value("SANDBOX_KAFKA_BROKERS").await, json!(rig.broker.bootstrap_servers()));
    assert_eq!(rig.rows("", "CHECK_VERSIONS()").await.len(), 8);
    assert_eq!(rig.rows("", "CONFIG_SHOW()").await.len(), 136);
}

const BAD: &[&str] = &[
    "",
    ";",
    "\0",
    "'",
    "SELECT",
    "SELECT FROM",
    "SELECT * FROM t FOR SYSTEM_TIME",
    "CREATE TABLE",
    "SELECT * FROM t FOR SYSTEM_TIME STARTED IN (1",
    "SELECT id FROM t LIMIT 'x'",
    "INSERT INTO t VALUES",
    "INSERT INTO t VALUES (99999999999999999999)",
    "SELECT t.* FROM u",
    "DELETE FROM t WHERE nope = 1",
    "CREATE TABLE \"x\"\"; DROP\" (id int not null, PRIMARY KEY (id)) DISTRIBUTED BY (id)",
    "CREATE TABLE x (\"a\"\"b\" int not null, PRIMARY KEY (id)) DISTRIBUTED BY (id)",
    "SELECT id FROM t WHERE id = \u{1}0",
    "SELECT id FROM \"t\u{1}0\"",
    "CHECK_SUM(0,0)",
    "CHECK_SUM(-1)",
    "GET_DELTA_BY_NUM(99999999999999999999)",
    "COMMIT DELTA SET '2020-99-01 00:00:00'",
    "SELECT 9223372036854775808 + id FROM t WHERE",
    "BEGIN DELTA SET 'x'",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_never_kill_the_node() {
    let rig = Rig::new().await;
    rig.ok("", "CREATE DATABASE d").await;
    rig.ok("d", "CREATE TABLE t (id int not null, PRIMARY KEY (id)) DISTRIBUTED BY (id)").await;
    let deep = format!("SELECT id FROM t WHERE {}id = 1{}", "(".repeat(3000), ")".repeat(3000));
    let nested =
        (0..60).fold("SELECT id FROM t".to_owned(), |q, _| format!("SELECT id FROM ({q}) AS x"));
    for sql in BAD.iter().copied().chain([deep.as_str(), nested.as_str()]) {
        let body = json!({"datamartMnemonic": "d", "sql": sql}).to_string();
        let answer = rig.client.post(rig.url("/query/execute")).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 500, "{sql:.80}");
        assert!(answer.json::<Value>().await.unwrap()["exceptionMessage"].is_string(), "{sql:.80}");
    }
    for raw in
        ["[]", "1", "null", "{\"sql\":[]}", "{\"sql\":1}", "{", "\u{feff}{}", "{\"sql\":\"x\"} y"]
    {
        let call = rig.client.post(rig.url("/query/execute")).body(raw.to_owned());
        assert_eq!(call.send().await.unwrap().status(), 500, "{raw}");
    }
    assert_eq!(rig.rows("d", "SELECT count(*) AS c FROM t").await[0]["c"], 0);
}

/// A command line as the program would have it.
#[derive(clap::Parser)]
pub struct Line {
    #[command(flatten)]
    pub sandbox: deltakeep::sandbox::SandboxArgs,
}

#[test]
fn the_command_line_becomes_options() {
    let parse =
        |words: &str| Line::try_parse_from(words.split(' ')).map(|l| Options::from(l.sandbox));
    let options = parse("x --kafka b:9092 --listen 127.0.0.1:0 --dialect 6 --datasources adp,adqm --shards 2 --data /d --fault hang-unload@2 --fault slow-load=5@always").unwrap();
    assert_eq!(options.dialect, deltakeep::sandbox::Dialect::V6);
    assert_eq!(options.datasources, [Datasource::Adp, Datasource::Adqm]);
    assert_eq!(options.data.as_deref(), Some(std::path::Path::new("/d")));
    let faults: Vec<_> = options.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        (faults, options.shards),
        (vec!["hang-unload@2".into(), "slow-load=5@always".into()], 2)
    );
    for bad in
        ["x", "x --kafka b --dialect 7", "x --kafka b --datasources adb", "x --kafka b --fault no"]
    {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
