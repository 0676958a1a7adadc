//! Keys that connectors write beside unloaded bodies (PROSTORE.md 5). Never decides whether a
//! stream is whole.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::FormatError;
use super::bytes::Cursor;
use super::container::{
    Header, SCHEMA, SYNC_LEN, begin_map, blocks, end_map, only_record, put_entry,
};
use super::flat::read_records;

/// Fields of a connector's key, in the order of both known schemas.
const FIELDS: [&str; 5] =
    ["tableName", "streamNumber", "streamTotal", "chunkNumber", "isLastChunk"];

/// Namespaces of the two connectors that are known: ADQM's and ADP's.
const NAMESPACES: [&str; 2] =
    ["ru.datamart.kafka.clickhouse.avro.model", "io.arenadata.kafka.postgres.avro.model"];

/// Headers of the two known schema texts, up to the sync marker.
static HEADERS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    NAMESPACES.map(|namespace| {
        let fields = FIELDS.map(|name| {
            let kind = match name {
                "tableName" => "string",
                "isLastChunk" => "boolean",
                _ => "int",
            };
            format!(r#"{{"name":"{name}","type":"{kind}"}}"#)
        });
        let schema = format!(
            r#"{{"type":"record","name":"DtmQueryResponseMetadata","namespace":"{namespace}","fields":[{}]}}"#,
            fields.join(",")
        );
        let mut header = Vec::new();
        begin_map(&mut header, 1);
        put_entry(&mut header, SCHEMA, schema.as_bytes());
        end_map(&mut header);
        header
    })
});

/// What a connector's key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagingKey<'a> {
    /// The key's `tableName`: the text of the INSERT statement, in truth.
    pub statement: Cow<'a, str>,
    /// Number of the connector's stream, from 0.
    pub stream: u32,
    /// How many streams the statement has.
    pub stream_total: u32,
    /// Number of the message in its stream, from 1.
    pub chunk: u32,
    /// Whether the connector calls it the stream's last.
    pub is_last: bool,
}

/// Reads a connector's key.
///
/// # Errors
/// [`FormatError`] where the bytes are no container of one such record.
pub fn decode_staging_key(bytes: &[u8]) -> Result<StagingKey<'_>, FormatError> {
    if let Some(header) = HEADERS.iter().find(|header| bytes.starts_with(header)) {
        return decode_known(bytes, header.len());
    }
    let header = Header::read(bytes)?;
    let mut found = 0u64;
    for block in blocks(bytes, header.len, header.sync) {
        found = found.saturating_add(block?.records);
    }
    if found != 1 {
        return Err(FormatError::NotOneRecord { found });
    }
    let mut keys = read_records(&header, bytes, &FIELDS, |fields| {
        Ok(StagingKey {
            statement: Cow::Owned(fields.text(0)?.to_owned()),
            stream: number("streamNumber", fields.number(1)?)?,
            stream_total: number("streamTotal", fields.number(2)?)?,
            chunk: number("chunkNumber", fields.number(3)?)?,
            is_last: fields.boolean(4)?,
        })
    })?;
    keys.pop().ok_or(FormatError::NotOneRecord { found: 0 })
}

/// A key under one of the two known schema texts, whose header without marker ends at `marker_at`.
fn decode_known(bytes: &[u8], marker_at: usize) -> Result<StagingKey<'_>, FormatError> {
    let mut cursor = Cursor::new(bytes, marker_at);
    let sync = cursor.take(SYNC_LEN, "sync marker")?;
    let mut record = Cursor::new(only_record(bytes, cursor.at(), sync)?, 0);
    let key = StagingKey {
        statement: Cow::Borrowed(record.text("tableName")?),
        stream: number("streamNumber", record.long("streamNumber")?)?,
        stream_total: number("streamTotal", record.long("streamTotal")?)?,
        chunk: number("chunkNumber", record.long("chunkNumber")?)?,
        is_last: record.boolean("isLastChunk")?,
    };
    record.finish("the key's record")?;
    Ok(key)
}

fn number(field: &'static str, value: i64) -> Result<u32, FormatError> {
    let reason = || format!("{value} is out of range");
    u32::try_from(value).map_err(|_| FormatError::BadField { field, reason: reason() })
}
