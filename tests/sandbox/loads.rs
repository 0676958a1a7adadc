//! Owns what the node accepts in a topic and what becomes of it; never the row rules of other writes.

use deltakeep::sandbox::{Datasource, Options};
use serde_json::{Value, json};

use crate::harness::Rig;
use crate::messages::{body, produce};

/// A datamart `d` with a table `t (id, v)` and a new topic for each load.
pub struct Loader<'a> {
    rig: &'a Rig,
    used: std::cell::Cell<usize>,
}

pub const PLAIN: &str = r#"{"type":"record","name":"row","fields":[
    {"name":"id","type":"long"},{"name":"v","type":["null","string"]},{"name":"sys_op","type":"int"}]}"#;

impl<'a> Loader<'a> {
    pub async fn new(rig: &'a Rig, datasource: &str) -> Loader<'a> {
        rig.ok("", "CREATE DATABASE d").await;
        let sql = format!(
            "CREATE TABLE t (id bigint not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id) DATASOURCE_TYPE ({datasource})"
        );
        rig.ok("d", &sql).await;
        Loader { rig, used: std::cell::Cell::new(0) }
    }

    /// Loads messages of one new topic.
    pub async fn load(&self, values: &[Vec<u8>]) -> Result<Value, String> {
        let topic = self.topic(values);
        self.load_topic(&topic).await
    }

    /// A new topic of these messages.
    pub fn topic(&self, values: &[Vec<u8>]) -> String {
        self.used.set(self.used.get() + 1);
        let topic = format!("load_{}", self.used.get());
        self.rig.broker.create_topic(&topic, 1, 1).unwrap();
        produce(self.rig, &topic, values);
        topic
    }

    pub async fn load_topic(&self, topic: &str) -> Result<Value, String> {
        let rig = self.rig;
        rig.ok("d", &format!("CREATE UPLOAD EXTERNAL TABLE u (id bigint, v varchar) LOCATION 'kafka://$kafka/{topic}' FORMAT 'AVRO'")).await;
        let result = rig.sandbox.execute("d", "INSERT INTO t SELECT * FROM u").await;
        rig.ok("d", "DROP UPLOAD EXTERNAL TABLE u").await;
        result
    }

    pub async fn state(&self) -> Vec<Value> {
        let sql = "SELECT id, v FROM t FOR SYSTEM_TIME AS OF LATEST_UNCOMMITTED_DELTA ORDER BY id";
        self.rig.rows("d", sql).await.iter().map(|r| json!([r["id"], r["v"]])).collect()
    }
}

/// Loads rows `[id, v, sys_op]` that must be accepted.
pub async fn load_rows(loader: &Loader<'_>, rows: &[Value]) {
    let rows: Vec<_> =
        rows.iter().map(|r| json!({"id": r[0], "v": r[1], "sys_op": r[2]})).collect();
    loader.load(&[body(PLAIN, &rows, false)]).await.unwrap();
}

fn rows(items: &[(i64, &str, i64)]) -> Vec<Value> {
    items.iter().map(|(id, v, op)| json!({"id": id, "v": v, "sys_op": op})).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_all_recorded_kinds_are_loaded() {
    let rig = Rig::new().await;
    let loader = Loader::new(&rig, "adp").await;
    rig.ok("d", "BEGIN DELTA").await;
    let union = r#"{"type":"record","name":"x","namespace":"n","fields":[
        {"name":"a","type":["null","long"]},{"name":"b","type":["null","string"]},
        {"name":"c","type":["null","int"]}]}"#;
    let long_op = PLAIN.replace(r#""sys_op","type":"int""#, r#""sys_op","type":"long""#);
    loader.load(&[body(PLAIN, &rows(&[(1, "plain", 0)]), false)]).await.unwrap();
    loader.load(&[body(PLAIN, &rows(&[(2, "deflate", 0)]), true)]).await.unwrap();
    let other_names = [json!({"a": 3, "b": "other names", "c": 0})];
    loader.load(&[body(union, &other_names, false)]).await.unwrap();
    loader.load(&[body(&long_op, &rows(&[(4, "long", 0)]), false)]).await.unwrap();
    let empty = body(PLAIN, &[], false);
    let with_empty = [empty, body(PLAIN, &rows(&[(5, "beside empty", 0)]), false), Vec::new()];
    loader.load(&with_empty).await.unwrap();
    let want = ["plain", "deflate", "other names", "long", "beside empty"];
    let want: Vec<_> = want.iter().enumerate().map(|(i, v)| json!([i + 1, v])).collect();
    assert_eq!(loader.state().await, want);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_the_writer_cannot_read_time_out_and_leave_the_delta_usable() {
    let rig = Rig::new().await;
    let loader = Loader::new(&rig, "adp").await;
    assert_eq!(loader.load(&[]).await.unwrap_err(), "Delta closed");
    rig.ok("d", "BEGIN DELTA").await;
    let no_op = r#"{"type":"record","name":"row","fields":[
        {"name":"id","type":"long"},{"name":"v","type":"string"}]}"#;
    let bad = [
        vec![],
        vec![body(PLAIN, &[], false)],
        vec![b"not Avro".to_vec()],
        vec![body(no_op, &[json!({"id": 1, "v": "x"})], false)],
        vec![body(PLAIN, &rows(&[(1, "good", 0)]), false), b"Obj\x01\xff".to_vec()],
    ];
    for values in &bad {
        let text = loader.load(values).await.unwrap_err();
        assert!(text.contains("FIRST_OFFSET_TIMEOUT"), "{text}");
        assert!(text.starts_with("Mppw load failed: \n Plugin: ADP, status:"), "{text}");
    }
    assert_eq!(loader.state().await, Vec::<Value>::new());
    rig.ok("d", "COMMIT DELTA").await;
    let delta = &rig.rows("d", "GET_DELTA_OK()").await[0];
    assert_eq!(
        (&delta["cn_from"], &delta["cn_to"]),
        (&json!(0), &json!(4)),
        "failed loads use up numbers"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_loaded_once_even_after_rollback() {
    let rig = Rig::new().await;
    let loader = Loader::new(&rig, "adp").await;
    rig.broker.create_topic("once", 1, 1).unwrap();
    produce(&rig, "once", &[body(PLAIN, &rows(&[(1, "a", 0)]), false)]);
    rig.ok("d", "BEGIN DELTA").await;
    loader.load_topic("once").await.unwrap();
    assert_eq!(loader.state().await, [json!([1, "a"])]);
    rig.ok("d", "ROLLBACK DELTA").await;
    rig.ok("d", "BEGIN DELTA").await;
    loader.load_topic("once").await.unwrap();
    assert_eq!(loader.state().await, Vec::<Value>::new(), "answers 200 and loads nothing");
    produce(&rig, "once", &[body(PLAIN, &rows(&[(2, "later", 0)]), false)]);
    loader.load_topic("once").await.unwrap();
    assert_eq!(loader.state().await, [json!([2, "later"])], "only later messages count");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_keys_follow_the_datasource() {
    for (datasource, first, closed) in [("adp", "first", 1), ("adqm", "second", 0)] {
        let both = vec![Datasource::Adp, Datasource::Adqm];
        let rig = Rig::with(Options { datasources: both, ..Options::default() }).await;
        let loader = Loader::new(&rig, datasource).await;
        rig.ok("d", "BEGIN DELTA").await;
        load_rows(
            &loader,
            &[json!([1, "first", 0]), json!([1, "second", 0]), json!([2, "old", 0])],
        )
        .await;
        rig.ok("d", "COMMIT DELTA SET '2020-01-01 00:00:00'").await;
        rig.ok("d", "BEGIN DELTA").await;
        load_rows(&loader, &[json!([2, "new", 0]), json!([2, null, 1]), json!([9, null, 1])]).await;
        rig.ok("d", "COMMIT DELTA SET '2020-01-02 00:00:00'").await;
        assert_eq!(loader.state().await, [json!([1, first]), json!([2, "new"])], "{datasource}");
        let gone = rig.rows("d", "SELECT id FROM t FOR SYSTEM_TIME FINISHED IN (1,1)").await;
        assert_eq!(gone.len(), closed, "{datasource}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_of_empty_messages_is_fine_on_adqm_only() {
    let options = Options { datasources: vec![Datasource::Adqm], ..Options::default() };
    let rig = Rig::with(options).await;
    let loader = Loader::new(&rig, "adqm").await;
    rig.ok("d", "BEGIN DELTA").await;
    loader.load(&[body(PLAIN, &[], false)]).await.unwrap();
    let text = loader.load(&[]).await.unwrap_err();
    assert!(text.contains("Plugin: ADQM, status: FIRST_OFFSET_TIMEOUT"), "{text}");
    let text = rig.err("d", "UPSERT INTO t VALUES (1,'a')").await;
    assert_eq!(text, "Feature is not implemented [adqm upsert values]");
}
