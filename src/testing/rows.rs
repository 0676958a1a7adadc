//! Rows of the tests' tables, as the connectors' containers hold them. Written and read with
//! apache-avro, so that the product's own container code is held to it.

use apache_avro::types::Value;
use apache_avro::{Reader, Schema, Writer};

/// A row: key, text, `sys_op`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TestRow {
    /// Column `id`.
    pub id: i64,
    /// Column `v`; none is NULL.
    pub v: Option<String>,
    /// 0 added, 1 removed.
    pub sys_op: i32,
}

const STAGING: &str = r#"{"type":"record","name":"ext","namespace":"db","fields":[
 {"name":"id","type":["null","long"],"default":null},
 {"name":"v","type":["null",{"type":"string","avro.java.string":"String"}],"default":null},
 {"name":"sys_op","type":["null","int"],"default":null}]}"#;

fn union(value: Option<Value>) -> Value {
    match value {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(value) => Value::Union(1, Box::new(value)),
    }
}

/// A connector's container of these rows.
pub fn staging_body(rows: &[TestRow]) -> Vec<u8> {
    let schema = Schema::parse_str(STAGING).expect("the schema is a constant");
    let mut writer = Writer::new(&schema, Vec::new()).expect("a Vec takes everything");
    for row in rows {
        let record = Value::Record(vec![
            ("id".into(), union(Some(Value::Long(row.id)))),
            ("v".into(), union(row.v.clone().map(Value::String))),
            ("sys_op".into(), union(Some(Value::Int(row.sys_op)))),
        ]);
        writer.append_value(record).expect("the record has the schema's fields");
    }
    writer.into_inner().expect("a Vec takes everything")
}

/// The rows of a data body of the backup topic.
pub fn read_rows(body: &[u8]) -> Vec<TestRow> {
    let reader = Reader::new(body).expect("a container");
    reader.map(|row| row_of(row.expect("a row"))).collect()
}

fn row_of(value: Value) -> TestRow {
    let Value::Record(fields) = value else { panic!("a record, not {value:?}") };
    let mut row = TestRow { id: 0, v: None, sys_op: -1 };
    for (name, value) in fields {
        let Value::Union(_, value) = value else { panic!("a union, not {value:?}") };
        match (name.as_str(), *value) {
            ("id", Value::Long(id)) => row.id = id,
            ("v", Value::String(text)) => row.v = Some(text),
            ("v", Value::Null) => row.v = None,
            ("sys_op", Value::Int(op)) => row.sys_op = op,
            other => panic!("unexpected field {other:?}"),
        }
    }
    row
}
