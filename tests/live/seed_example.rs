//! The seed's step-by-step example as it is written there, from CREATE DATABASE to the values in
//! the backup topic. Owns the expected values.

use serde_json::{Value, json};

use crate::process::Keep;
use crate::sandbox::Sandbox;
use crate::support::{judge, registered_brokers, setting, unique};

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

#[test]
fn the_seeds_example_comes_out_value_by_value() {
    let folder = tempfile::tempdir().expect("a folder");
    let (brokers, zookeeper) = (registered_brokers(), setting("DELTAKEEP_TEST_ZOOKEEPER"));
    let words = ["--dialect", "6", "--datasources", "adqm", "--zookeeper", &zookeeper];
    let node = Sandbox::start(folder.path(), &brokers, &words);
    for statement in ["CREATE DATABASE sourcedb;", "USE sourcedb;"] {
        node.sql("", statement);
    }
    for statement in [CREATE, "BEGIN DELTA;", INSERT] {
        node.sql("sourcedb", statement);
    }
    let date = node.sql("sourcedb", "COMMIT DELTA;")[0]["delta_date"].clone();
    let keep = Keep::new(folder.path(), &node.address, "sourcedb");
    let topic = unique("backup_topic_sourcedb");
    let words = ["backup_to_kafka", "--datasourceType", "adqm", "--topic", &topic];
    let words = [&words[..], &["--partitionsCount", "1", "--threadsCount", "1"]].concat();
    let done = keep.expect(0, &words);
    let run = done.run().expect("a run");
    let found = judge((&brokers, &topic, "sourcedb"), None, folder.path(), &topic);
    let messages = found.verdict["dump"].as_array().expect("messages");
    // The half that is empty has a message too: an empty one.
    let [data, empty, changelog] = &messages[..] else { panic!("{messages:#?}") };
    check_data(data, &run, &date);
    assert_eq!(empty["key"], key(&run, &date, json!("table1_adqm"), (2, true)));
    assert_eq!((&empty["rows"], &empty["schema"]), (&json!([]), &data["schema"]));
    check_changelog(changelog, &run, &date);
    node.sql("", "DROP DATABASE sourcedb");
}

fn key(run: &str, date: &Value, table: Value, (chunk, is_last): (u64, bool)) -> Value {
    json!({
        "incrementId": run, "messageType": u8::from(table.is_null()), "datamart": "sourcedb",
        "deltaNum": 0, "deltaDate": date, "tableName": table, "streamNumber": 1,
        "streamTotal": 1, "chunkNumber": chunk, "isLastChunk": is_last,
    })
}

fn check_data(message: &Value, run: &str, date: &Value) {
    assert_eq!(message["key"], key(run, date, json!("table1_adqm"), (1, false)));
    assert_eq!(message["partition"], 0);
    let row = json!({
        "id": 1, "boolean_col": false, "int32_col": 32768, "int_col": 65537,
        "bigint_col": 1_280_000, "float_col": f64::from(3.141_526_f32),
        "double_col": "2.718281828".parse::<f64>().expect("a number"), "char_col": "char_value",
        "varchar_col": "varchar_value", "uuid_col": "12345678-1234-abcd-ef00-1234567899ab",
        "link_col": "https://www.google.com", "date_col": 10, "time_col": 47_430_000_000_i64,
        "timestamp_col": 47_430_000_000_i64, "sys_op": 0,
    });
    assert_eq!(message["rows"], json!([row]));
    let fields = message["schema"]["fields"].as_array().expect("fields");
    let kinds: Vec<_> = fields.iter().map(|field| field["type"][1].clone()).collect();
    let expected = json!([
        "long", "boolean", "int", "long", "long", "float", "double", "string", "string", "string",
        "string", "int", "long", "long", "int"
    ]);
    assert_eq!(json!(kinds), expected);
}

fn check_changelog(message: &Value, run: &str, date: &Value) {
    assert_eq!(message["key"], key(run, date, Value::Null, (1, true)));
    let rows = message["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 1);
    let text = rows[0].to_string();
    assert!(text.contains("CREATE TABLE") && text.contains("table1_adqm"), "{text}");
}
