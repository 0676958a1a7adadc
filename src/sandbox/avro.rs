//! Owns the bytes of unload messages: keys and bodies as Avro container files; never sends them.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::Datasource;
use super::entity::External;
use super::failure::Failure;
use super::types::{Column, Kind};
use super::value;

const MAGIC: &[u8] = b"Obj\x01";

/// Appends a number as Avro's zigzag varint.
pub(crate) fn long(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        out.push((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn bytes(out: &mut Vec<u8>, data: &[u8]) {
    // A slice never is longer than i64::MAX.
    long(out, data.len() as i64);
    out.extend_from_slice(data);
}

/// A container file with `rows` encoded rows; the only metadata is the schema.
pub(crate) fn container(schema: &str, rows: u64, data: &[u8]) -> Vec<u8> {
    let sync = *uuid::Uuid::new_v4().as_bytes();
    let mut out = Vec::with_capacity(schema.len() + data.len() + 80);
    out.extend_from_slice(MAGIC);
    long(&mut out, 1);
    bytes(&mut out, b"avro.schema");
    bytes(&mut out, schema.as_bytes());
    out.push(0);
    out.extend_from_slice(&sync);
    if rows > 0 {
        long(&mut out, i64::try_from(rows).unwrap_or(i64::MAX));
        bytes(&mut out, data);
        out.extend_from_slice(&sync);
    }
    out
}

/// Where in an unload a message belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) stream: i32,
    pub(crate) streams: i32,
    pub(crate) chunk: i32,
    pub(crate) last: bool,
}

/// The key of a message; `statement` is the whole INSERT.
pub(crate) fn key(datasource: Datasource, statement: &str, place: Place) -> Vec<u8> {
    let namespace = match datasource {
        Datasource::Adp => "io.arenadata.kafka.postgres.avro.model",
        Datasource::Adqm => "ru.datamart.kafka.clickhouse.avro.model",
    };
    let schema = format!(
        r#"{{"type":"record","name":"DtmQueryResponseMetadata","namespace":"{namespace}","fields":[{{"name":"tableName","type":"string"}},{{"name":"streamNumber","type":"int"}},{{"name":"streamTotal","type":"int"}},{{"name":"chunkNumber","type":"int"}},{{"name":"isLastChunk","type":"boolean"}}]}}"#
    );
    let mut data = Vec::with_capacity(statement.len() + 16);
    bytes(&mut data, statement.as_bytes());
    long(&mut data, place.stream.into());
    long(&mut data, place.streams.into());
    long(&mut data, place.chunk.into());
    data.push(u8::from(place.last));
    container(&schema, 1, &data)
}

/// The schema of bodies: the record is the external table, its namespace the datamart.
pub(crate) fn schema(datamart: &str, name: &str, external: &External) -> String {
    let fields: Vec<_> = external.columns.iter().map(field).collect();
    format!(
        r#"{{"type":"record","name":"{name}","namespace":"{datamart}","fields":[{}]}}"#,
        fields.join(",")
    )
}

fn field(column: &Column) -> String {
    let (name, kind) = (&column.name, type_name(column.kind));
    if column.nullable {
        format!(r#"{{"name":"{name}","type":["null",{kind}],"default":null}}"#)
    } else {
        format!(r#"{{"name":"{name}","type":{kind}}}"#)
    }
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => r#""boolean""#,
        Kind::Varchar | Kind::Char | Kind::Link | Kind::Uuid => {
            r#"{"type":"string","avro.java.string":"String"}"#
        }
        Kind::Int32 => r#""int""#,
        Kind::Int | Kind::Bigint => r#""long""#,
        Kind::Float => r#""float""#,
        Kind::Double => r#""double""#,
        Kind::Date => r#"{"type":"int","logicalType":"date"}"#,
        Kind::Time => r#"{"type":"long","logicalType":"time-micros"}"#,
        Kind::Timestamp => r#"{"type":"long","logicalType":"timestamp-micros"}"#,
    }
}

/// Appends one row in the types of the external table.
pub(crate) fn row(out: &mut Vec<u8>, columns: &[Column], row: &Row<'_>) -> Result<(), Failure> {
    for (i, column) in columns.iter().enumerate() {
        cell(out, column, row.get_ref(i)?)?;
    }
    Ok(())
}

fn cell(out: &mut Vec<u8>, column: &Column, value: ValueRef<'_>) -> Result<(), Failure> {
    if let ValueRef::Null = value {
        if !column.nullable {
            return Err(Failure::NullValue(column.name.clone()));
        }
        out.push(0);
        return Ok(());
    }
    if column.nullable {
        out.push(2);
    }
    let bad = || Failure::BadValue {
        kind: column.kind.name().to_lowercase(),
        value: format!("{value:?}"),
    };
    match column.kind {
        Kind::Boolean => out.push(u8::from(matches!(value, ValueRef::Integer(1..)))),
        Kind::Float => {
            let number = value::real(value).ok_or_else(bad)? as f32;
            out.extend_from_slice(&number.to_le_bytes());
        }
        Kind::Double => {
            out.extend_from_slice(&value::real(value).ok_or_else(bad)?.to_le_bytes());
        }
        kind if kind.is_text() => match value {
            ValueRef::Text(text) => bytes(out, text),
            ValueRef::Integer(number) => bytes(out, number.to_string().as_bytes()),
            _ => return Err(bad()),
        },
        _ => match value {
            ValueRef::Integer(number) => long(out, number),
            _ => return Err(bad()),
        },
    }
    Ok(())
}
