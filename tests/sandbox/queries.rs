//! Owns SELECT beyond the recordings: set operations over system times, subqueries, types; never unloads.

use deltakeep::sandbox::{Datasource, Options};
use serde_json::{Value, json};

use crate::harness::Rig;

/// Key 1 updated twice, 2 deleted and back, 3 deleted, 4 new, within delta 1.
async fn busy(rig: &Rig) {
    rig.ok("", "CREATE DATABASE d").await;
    rig.ok("d", "CREATE TABLE t (k1 int not null, k2 varchar not null, v varchar, PRIMARY KEY (k1, k2)) DISTRIBUTED BY (k1)").await;
    let script = [
        "BEGIN DELTA",
        "INSERT INTO t VALUES (1,'a','x'),(2,'a',null),(3,'a','z')",
        "COMMIT DELTA SET '2020-01-01 00:00:00'",
        "BEGIN DELTA",
        "INSERT INTO t VALUES (1,'a','x1')",
        "INSERT INTO t VALUES (1,'a','x2')",
        "DELETE FROM t WHERE k1 IN (2, 3)",
        "INSERT INTO t VALUES (2,'a',null)",
        "INSERT INTO t VALUES (4,'b','new')",
        "COMMIT DELTA SET '2020-01-02 00:00:00'",
    ];
    for sql in script {
        rig.ok("d", sql).await;
    }
}

async fn pairs(rig: &Rig, sql: &str) -> Vec<Value> {
    let mut rows: Vec<_> =
        rig.rows("d", sql).await.iter().map(|r| json!([r["k1"], r["v"]])).collect();
    rows.sort_by_key(ToString::to_string);
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_keys_are_counted_over_set_operations() {
    for datasource in [Datasource::Adp, Datasource::Adqm] {
        let options = Options { datasources: vec![datasource], ..Options::default() };
        let rig = Rig::with(options).await;
        busy(&rig).await;
        let sql = "SELECT count(*) AS c FROM (SELECT k1,k2 FROM (SELECT k1,k2 FROM t FOR SYSTEM_TIME STARTED IN (1,1) UNION ALL SELECT k1,k2 FROM t FOR SYSTEM_TIME FINISHED IN (1,1)) AS u GROUP BY k1,k2) AS g";
        assert_eq!(rig.rows("d", sql).await[0]["c"], 4);
        let sql = sql.replace("GROUP BY k1,k2", "GROUP BY k1,k2 HAVING count(*) > 1");
        assert_eq!(rig.rows("d", &sql).await[0]["c"], 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn system_times_are_subtracted_and_intersected_with_nulls_equal() {
    let rig = Rig::new().await;
    busy(&rig).await;
    let dead = "SELECT k1, v FROM t FOR SYSTEM_TIME STARTED IN (1,1) EXCEPT SELECT k1, v FROM t FOR SYSTEM_TIME AS OF DELTA_NUM 1";
    assert_eq!(pairs(&rig, dead).await, [json!([1, "x1"])]);
    let live = dead.replace("EXCEPT", "INTERSECT");
    assert_eq!(pairs(&rig, &live).await, [json!([1, "x2"]), json!([2, null]), json!([4, "new"])]);
    let keys = "SELECT k1, v FROM t FOR SYSTEM_TIME FINISHED IN (1,1) WHERE k1 IN (SELECT k1 FROM t FOR SYSTEM_TIME AS OF '2020-01-01 10:00:00' WHERE v IS NOT NULL)";
    assert_eq!(pairs(&rig, keys).await, [json!([3, "z"])]);
    let joined = "SELECT s.k1, s.v FROM t FOR SYSTEM_TIME STARTED IN (1,1) s LEFT JOIN t FOR SYSTEM_TIME AS OF DELTA_NUM 1 a ON s.k1 = a.k1 AND s.v = a.v WHERE a.k1 IS NULL AND s.v IS NOT NULL";
    assert_eq!(pairs(&rig, joined).await, [json!([1, "x1"])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adqm_refuses_joins_of_system_times_and_absent_tables() {
    let options =
        Options { datasources: vec![Datasource::Adqm, Datasource::Adp], ..Options::default() };
    let rig = Rig::with(options).await;
    busy(&rig).await;
    let join = "SELECT s.k1 FROM t FOR SYSTEM_TIME STARTED IN (1,1) s JOIN t FOR SYSTEM_TIME AS OF DELTA_NUM 1 a ON s.k1 = a.k1 DATASOURCE_TYPE = ";
    assert_eq!(
        rig.err("d", &format!("{join}'adqm'")).await,
        "Clickhouse's global join is restricted"
    );
    assert_eq!(rig.rows("d", &format!("{join}'adp'")).await.len(), 4);
    let exists = "SELECT k1 FROM t WHERE EXISTS (SELECT k1 FROM t) DATASOURCE_TYPE = ";
    assert!(rig.err("d", &format!("{exists}'adqm'")).await.contains("RuntimeException"));
    assert_eq!(rig.rows("d", &format!("{exists}'adp'")).await.len(), 3);
    rig.ok("d", "CREATE TABLE only (id int not null, PRIMARY KEY (id)) DISTRIBUTED BY (id) DATASOURCE_TYPE (adqm)").await;
    let text = rig.err("d", "SELECT id FROM only DATASOURCE_TYPE = 'adp'").await;
    assert_eq!(text, "Queried entity is missing for the specified DATASOURCE_TYPE ADP");
    let tables = rig.rows("", "SELECT table_name, table_datasource_type FROM INFORMATION_SCHEMA.tables WHERE table_schema = 'D' ORDER BY table_name").await;
    assert_eq!(tables[0]["TABLE_DATASOURCE_TYPE"], "ADQM");
    assert_eq!(tables[1]["TABLE_DATASOURCE_TYPE"], "ADP, ADQM");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dates_compare_with_their_texts_and_views_take_the_system_time() {
    let rig = Rig::new().await;
    rig.ok("", "CREATE DATABASE d").await;
    rig.ok("d", "CREATE TABLE t (id int not null, day date, at timestamp, PRIMARY KEY (id)) DISTRIBUTED BY (id)").await;
    rig.ok("d", "CREATE VIEW v AS SELECT id FROM t").await;
    rig.ok("d", "BEGIN DELTA").await;
    rig.ok(
        "d",
        "INSERT INTO t VALUES (1,'2020-01-01','2020-01-01 10:00:00'),(2,'2021-01-01',null)",
    )
    .await;
    rig.ok("d", "COMMIT DELTA").await;
    let ids = async |condition: &str| {
        let rows = rig.rows("d", &format!("SELECT id FROM t WHERE {condition} ORDER BY id")).await;
        rows.iter().map(|r| r["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("day = '2020-01-01'").await, [1]);
    assert_eq!(ids("day BETWEEN '2020-06-01' AND DATE '2021-06-01'").await, [2]);
    assert_eq!(ids("at < TIMESTAMP '2020-01-01 10:00:01'").await, [1]);
    assert_eq!(ids("NOT (id = 1) OR at IS NULL").await, [2]);
    assert_eq!(rig.rows("d", "SELECT id FROM v FOR SYSTEM_TIME STARTED IN (0,0)").await.len(), 2);
    assert_eq!(
        rig.err("d", "SELECT id FROM v FOR SYSTEM_TIME STARTED IN (0,1)").await,
        "Invalid delta range [0, 1]"
    );
}
