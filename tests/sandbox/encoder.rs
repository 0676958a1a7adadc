//! Owns random values on their way through the sandbox, with apache-avro as the judge; never fixed examples.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::harness::Rig;
use crate::messages::unloaded;

type Row = (Option<i64>, Option<i32>, Option<f64>, Option<f32>, Option<bool>, Option<String>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let float = prop::num::f32::NORMAL;
    let double = prop::num::f64::NORMAL;
    let row = (
        option::of(any::<i64>()),
        option::of(any::<i32>()),
        option::of(double),
        option::of(float),
        option::of(any::<bool>()),
        option::of("[^\u{0}]{0,40}"),
    );
    vec(row, 0..12)
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    }
}

fn cells(id: usize, row: &Row) -> Vec<Value> {
    let (a, b, c, d, e, f) = row;
    vec![
        json!(id),
        json!(a),
        json!(b),
        json!(c),
        json!(d.map(|f| f.to_string().parse::<f64>().unwrap())),
        json!(e),
        json!(f),
    ]
}

async fn round_trip(rig: &Rig, case: usize, rows: &[Row]) {
    let datamart = format!("d{case}");
    rig.ok("", &format!("CREATE DATABASE {datamart}")).await;
    let columns = "a bigint, b int32, c double, d float, e boolean, f varchar";
    rig.ok(
        &datamart,
        &format!(
            "CREATE TABLE t (id int not null, {columns}, PRIMARY KEY (id)) DISTRIBUTED BY (id)"
        ),
    )
    .await;
    rig.ok(&datamart, "BEGIN DELTA").await;
    for (id, row) in rows.iter().enumerate() {
        let values: Vec<_> = cells(id, row).iter().map(literal).collect();
        rig.ok(&datamart, &format!("INSERT INTO t VALUES ({})", values.join(", "))).await;
    }
    rig.ok(&datamart, "COMMIT DELTA").await;
    rig.ok(&datamart, &format!("CREATE DOWNLOAD EXTERNAL TABLE x (id int not null, {columns}) LOCATION 'kafka://$kafka/{datamart}' FORMAT 'AVRO' CHUNK_SIZE 5")).await;
    rig.ok(&datamart, "INSERT INTO x SELECT * FROM t").await;
    let got: Vec<_> = unloaded(rig, &datamart).into_iter().flat_map(|m| m.rows).collect();
    assert_eq!(got.len(), rows.len());
    let selected = rig.rows(&datamart, "SELECT * FROM t ORDER BY id").await;
    for (id, row) in rows.iter().enumerate() {
        let names = ["id", "a", "b", "c", "d", "e", "f"];
        for (name, want) in names.iter().zip(cells(id, row)) {
            assert_eq!(selected[id][name], want, "selected {name}");
            let want = if *name == "d" { json!(row.3.map(f64::from)) } else { want };
            assert_eq!(got[id][name], want, "unloaded {name}");
        }
    }
}

#[test]
fn random_rows_come_out_of_an_unload_as_they_went_in() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let rig = runtime.block_on(Rig::new());
    let mut runner =
        TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let case = std::cell::Cell::new(0);
    let result = runner.run(&rows(), |rows| {
        case.set(case.get() + 1);
        runtime.block_on(round_trip(&rig, case.get(), &rows));
        Ok(())
    });
    result.unwrap();
}
