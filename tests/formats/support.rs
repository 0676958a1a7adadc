//! What the tests of this binary share: recorded messages, columns of a staging schema, keys, and
//! apache-avro as oracle.

use apache_avro::Reader;
use apache_avro::types::Value;
use deltakeep::model::{
    ChunkNumber, Column, ColumnType, Datamart, DeltaDate, DeltaNum, IncrementId, MessageKey,
    StreamNumber, TableName,
};

/// A message that a connector of a real node wrote.
pub struct Recorded {
    pub name: String,
    pub key: Vec<u8>,
    pub body: Vec<u8>,
}

/// Every recorded message, by tests/fixtures/unload/README.md.
pub fn recorded() -> Vec<Recorded> {
    let text = include_str!("../fixtures/unload/messages.tsv");
    let message = |line: &str| {
        let [name, key, body] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        Recorded { name: name.into(), key: unhex(key), body: unhex(body) }
    };
    text.lines().map(message).collect()
}

/// The recorded message of that name.
pub fn recording(name: &str) -> Recorded {
    recorded().into_iter().find(|message| message.name == name).expect("a recorded message")
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of a hex text, white space ignored.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The columns of a recorded staging schema, if they are those of an unload by the design: all
/// nullable, `sys_op` int last, which is left out.
pub fn columns(body: &[u8]) -> Option<Vec<Column>> {
    let schema = serde_json::to_value(Reader::new(body).unwrap().writer_schema()).unwrap();
    let mut columns = Vec::new();
    for field in schema["fields"].as_array()? {
        let [null, kind] = field["type"].as_array()?.as_slice() else { return None };
        let base = kind["type"].as_str().or(kind.as_str())?;
        let kind = match (base, kind["logicalType"].as_str()) {
            ("boolean", _) => ColumnType::Boolean,
            ("int", Some("date")) => ColumnType::Date,
            ("int", _) => ColumnType::Int32,
            ("long", Some("time-micros")) => ColumnType::Time(None),
            ("long", Some("timestamp-micros")) => ColumnType::Timestamp(Some(6)),
            ("long", _) => ColumnType::Bigint,
            ("float", _) => ColumnType::Float,
            ("double", _) => ColumnType::Double,
            ("string", _) => ColumnType::Varchar(None),
            _ => return None,
        };
        (null == "null").then_some(())?;
        columns.push(Column { name: field["name"].as_str()?.to_owned(), kind });
    }
    let last = columns.pop()?;
    (last.name == "sys_op" && last.kind == ColumnType::Int32).then_some(columns)
}

/// The rows of a container by apache-avro, as names and bare values: the bits of floats, and no
/// logical types, because a data body has none.
pub fn rows(body: &[u8]) -> Vec<Vec<(String, Value)>> {
    let row = |row: Result<Value, apache_avro::Error>| {
        let Value::Record(fields) = row.unwrap() else { panic!("not a record") };
        fields.into_iter().map(|(name, value)| (name, bare(value))).collect()
    };
    Reader::new(body).unwrap().map(row).collect()
}

fn bare(value: Value) -> Value {
    match value {
        Value::Union(branch, value) => Value::Union(branch, Box::new(bare(*value))),
        Value::Date(days) => Value::Int(days),
        Value::TimeMicros(micros) | Value::TimestampMicros(micros) => Value::Long(micros),
        Value::Float(float) => Value::Bytes(float.to_bits().to_be_bytes().to_vec()),
        Value::Double(float) => Value::Bytes(float.to_bits().to_be_bytes().to_vec()),
        other => other,
    }
}

/// A key of delta 0 of `sourcedb`; a changelog's without a table.
pub fn key(table: Option<&str>, chunk: u64, is_last: bool) -> MessageKey {
    MessageKey {
        increment: IncrementId("f81d4fae-7dec-11d0-a765-00a0c91e6bf6".into()),
        datamart: Datamart::parse("sourcedb").unwrap(),
        delta: DeltaNum(0),
        date: DeltaDate(1_638_360_336_000_000),
        table: table.map(|name| TableName(name.into())),
        stream: StreamNumber(1),
        stream_total: 1,
        chunk: ChunkNumber(chunk),
        is_last,
    }
}
