//! Owns the seed's step-by-step example on a dialect 6 node with ADQM; never anything recorded from 5.5.

use deltakeep::sandbox::{Datasource, Dialect, Options};
use serde_json::json;

use crate::harness::Rig;
use crate::messages::unloaded;

const CREATE: &str = "CREATE TABLE sourcedb.table1_adqm
    (
      id bigint not null,
      boolean_col boolean,
      int32_col int32,
      int_col int,
      bigint_col bigint,
      float_col float,
      double_col double,
      char_col char(10),
      varchar_col varchar,
      uuid_col uuid,
      link_col link,
      date_col date,
      time_col time,
      timestamp_col timestamp,
      PRIMARY KEY (id)
    )
DISTRIBUTED BY (id)
DATASOURCE_TYPE ('adqm');";

const INSERT: &str = "INSERT INTO sourcedb.table1_adqm
VALUES (1, false, 32768, 65537, 1280000, 3.141526, 2.718281828,
 'char_value', 'varchar_value','12345678-1234-abcd-ef00-1234567899ab',
 'https://www.google.com', '1970-01-11', '13:10:30', '1970-01-01 13:10:30');";

const COLUMNS: &str = "id, boolean_col, int32_col, int_col, bigint_col, float_col, double_col, char_col, varchar_col, uuid_col, link_col, date_col, time_col, timestamp_col";

fn options(dialect: Dialect) -> Options {
    Options { dialect, datasources: vec![Datasource::Adqm], ..Options::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_runs_and_its_values_come_out() {
    let rig = Rig::with(options(Dialect::V6)).await;
    rig.ok("", "CREATE DATABASE sourcedb;").await;
    rig.ok("", "USE sourcedb;").await;
    rig.ok("sourcedb", CREATE).await;
    rig.ok("sourcedb", "BEGIN DELTA;").await;
    rig.ok("sourcedb", INSERT).await;
    rig.ok("sourcedb", "COMMIT DELTA;").await;
    let changes = rig.rows("sourcedb", "GET_CHANGES()").await;
    let text = changes[0]["change_query"].as_str().unwrap();
    assert!(text.ends_with("DISTRIBUTED BY (id) DATASOURCE_TYPE (adqm)"), "{text}");

    let types = "id bigint, boolean_col boolean, int32_col int32, int_col int, bigint_col bigint, float_col float, double_col double, char_col char(10), varchar_col varchar, uuid_col uuid, link_col link, date_col date, time_col time, timestamp_col timestamp, sys_op int32";
    rig.ok("sourcedb", &format!("CREATE DOWNLOAD EXTERNAL TABLE ext ({types}) LOCATION 'kafka://$kafka/seed' FORMAT 'AVRO' CHUNK_SIZE 1000")).await;
    rig.ok("sourcedb", &format!("INSERT INTO ext SELECT {COLUMNS}, 0 AS sys_op FROM table1_adqm FOR SYSTEM_TIME STARTED IN (0,0) DATASOURCE_TYPE = 'adqm'")).await;
    let messages = unloaded(&rig, "seed");
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].key_schema["namespace"], "ru.datamart.kafka.clickhouse.avro.model");
    assert_eq!(
        json!(messages[0].rows),
        json!([{
            "id": 1, "boolean_col": false, "int32_col": 32768, "int_col": 65537,
            "bigint_col": 1_280_000, "float_col": f64::from(3.141_526_f32),
            "double_col": "2.718281828".parse::<f64>().unwrap(), "char_col": "char_value",
            "varchar_col": "varchar_value", "uuid_col": "12345678-1234-abcd-ef00-1234567899ab",
            "link_col": "https://www.google.com", "date_col": 10,
            "time_col": 47_430_000_000_i64, "timestamp_col": 47_430_000_000_i64, "sys_op": 0,
        }])
    );
    rig.ok("", "DROP DATABASE sourcedb").await;
    assert_eq!(rig.err("", "USE sourcedb").await, "Database sourcedb does not exist");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dialect_5_5_takes_no_quotes() {
    let rig = Rig::with(options(Dialect::V5_5)).await;
    rig.ok("", "CREATE DATABASE sourcedb").await;
    assert_eq!(rig.err("sourcedb", CREATE).await, "Error parsing query");
    rig.ok("sourcedb", &CREATE.replace('\'', "")).await;
    rig.ok("sourcedb", &CREATE.replace('\'', "\"").replace("table1", "table2")).await;
}
