//! Keys: a container of exactly one record (seed, "Формат ключа сообщения"). Owns the key's schema
//! text. Never decides whether a key belongs anywhere; it only says what the key says.

use std::sync::LazyLock;

use super::FormatError;
use super::bytes::{Cursor, put_blob, put_long, put_number};
use super::container::{
    Header, SCHEMA, SYNC_LEN, begin_map, blocks, derived_sync, end_map, only_record, put_block,
    put_entry,
};
use super::flat::read_records;
use crate::model::{
    ChunkNumber, Datamart, DeltaDate, DeltaNum, IncrementId, MessageKey, MessageType, StreamNumber,
    TableName,
};

/// Schema of every key: the seed's without white space (DESIGN D6). Like the seed's, the logical
/// type stands beside `type`, where Avro readers ignore it.
pub const KEY_SCHEMA: &str = concat!(
    r#"{"name":"topicA","type":"record","fields":["#,
    r#"{"name":"incrementId","type":"string"},"#,
    r#"{"name":"messageType","type":"long"},"#,
    r#"{"name":"datamart","type":"string"},"#,
    r#"{"name":"deltaNum","type":"long"},"#,
    r#"{"name":"deltaDate","type":"long","logicalType":"timestamp-micros"},"#,
    r#"{"name":"tableName","type":["null","string"]},"#,
    r#"{"name":"streamNumber","type":"long"},"#,
    r#"{"name":"streamTotal","type":"long"},"#,
    r#"{"name":"chunkNumber","type":"long"},"#,
    r#"{"name":"isLastChunk","type":"boolean"}]}"#,
);

/// The fields by name, in the seed's order.
const FIELDS: [&str; 10] = [
    "incrementId",
    "messageType",
    "datamart",
    "deltaNum",
    "deltaDate",
    "tableName",
    "streamNumber",
    "streamTotal",
    "chunkNumber",
    "isLastChunk",
];

/// The header of our keys up to the sync marker.
static HEADER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut header = Vec::new();
    begin_map(&mut header, 1);
    put_entry(&mut header, SCHEMA, KEY_SCHEMA.as_bytes());
    end_map(&mut header);
    header
});

/// The key's bytes: the same for the same key, always (DESIGN D6).
pub fn encode_key(key: &MessageKey) -> Vec<u8> {
    let mut record = Vec::with_capacity(160);
    put_blob(&mut record, key.increment.0.as_bytes());
    put_long(&mut record, i64::from(key.message_type() == MessageType::Changelog));
    put_blob(&mut record, key.datamart.as_str().as_bytes());
    put_number(&mut record, key.delta.0);
    put_long(&mut record, key.date.0);
    put_long(&mut record, i64::from(key.table.is_some()));
    if let Some(table) = &key.table {
        put_blob(&mut record, table.0.as_bytes());
    }
    put_number(&mut record, u64::from(key.stream.0));
    put_number(&mut record, u64::from(key.stream_total));
    put_number(&mut record, key.chunk.0);
    record.push(u8::from(key.is_last));

    let mut out = Vec::with_capacity(HEADER.len() + record.len() + 2 * SYNC_LEN + 8);
    let mut block = Vec::with_capacity(record.len() + 8);
    put_block(&mut block, 1, &record);
    let sync = derived_sync(&HEADER, &block);
    out.extend_from_slice(&HEADER);
    out.extend_from_slice(&sync);
    out.extend_from_slice(&block);
    out.extend_from_slice(&sync);
    out
}

/// Whether a key begins as ours do: then [`encode_key`] of what it says must give its bytes.
pub fn has_own_schema(bytes: &[u8]) -> bool {
    bytes.starts_with(&HEADER)
}

/// Reads a key of ours, or of any other writer with the seed's fields: they are found by name,
/// streams may count from 0, the sync marker may be any, and blocks may be packed.
///
/// # Errors
/// [`FormatError`] where the bytes are no container of one such record.
pub fn decode_key(bytes: &[u8]) -> Result<MessageKey, FormatError> {
    if bytes.starts_with(&HEADER) {
        return decode_own(bytes);
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
        Raw {
            increment: fields.text(0)?,
            message_type: fields.number(1)?,
            datamart: fields.text(2)?,
            delta: fields.number(3)?,
            date: fields.number(4)?,
            table: fields.optional_text(5)?,
            stream: fields.number(6)?,
            stream_total: fields.number(7)?,
            chunk: fields.number(8)?,
            is_last: fields.boolean(9)?,
        }
        .check()
    })?;
    keys.pop().ok_or(FormatError::NotOneRecord { found: 0 })
}

/// A key whose schema is byte for byte ours: no schema is parsed and nothing is looked up.
fn decode_own(bytes: &[u8]) -> Result<MessageKey, FormatError> {
    let mut cursor = Cursor::new(bytes, HEADER.len());
    let sync = cursor.take(SYNC_LEN, "sync marker")?;
    let mut record = Cursor::new(only_record(bytes, cursor.at(), sync)?, 0);
    let raw = Raw {
        increment: record.text("incrementId")?,
        message_type: record.long("messageType")?,
        datamart: record.text("datamart")?,
        delta: record.long("deltaNum")?,
        date: record.long("deltaDate")?,
        table: match record.long("tableName")? {
            0 => None,
            1 => Some(record.text("tableName")?),
            branch => return Err(bad("tableName", format!("union branch {branch}"))),
        },
        stream: record.long("streamNumber")?,
        stream_total: record.long("streamTotal")?,
        chunk: record.long("chunkNumber")?,
        is_last: record.boolean("isLastChunk")?,
    };
    record.finish("the key's record")?;
    raw.check()
}

/// The values as they stand in a record.
struct Raw<'a> {
    increment: &'a str,
    message_type: i64,
    datamart: &'a str,
    delta: i64,
    date: i64,
    table: Option<&'a str>,
    stream: i64,
    stream_total: i64,
    chunk: i64,
    is_last: bool,
}

impl Raw<'_> {
    /// The key, if its values go together.
    fn check(self) -> Result<MessageKey, FormatError> {
        let typed = i64::from(self.table.is_none());
        if self.message_type != typed {
            let with = if self.table.is_some() { "with" } else { "without" };
            let reason = format!("{} {with} a table", self.message_type);
            return Err(bad("messageType", reason));
        }
        let datamart = Datamart::parse(self.datamart);
        Ok(MessageKey {
            increment: IncrementId(self.increment.to_owned()),
            datamart: datamart.map_err(|error| bad("datamart", error.to_string()))?,
            delta: DeltaNum(number("deltaNum", self.delta)?),
            date: DeltaDate(self.date),
            // Names are lower case in the vocabulary; another writer's need not be.
            table: self.table.map(|name| TableName(name.to_lowercase())),
            stream: StreamNumber(number("streamNumber", self.stream)?),
            stream_total: number("streamTotal", self.stream_total)?,
            chunk: ChunkNumber(number("chunkNumber", self.chunk)?),
            is_last: self.is_last,
        })
    }
}

fn number<T: TryFrom<i64>>(field: &'static str, value: i64) -> Result<T, FormatError> {
    T::try_from(value).map_err(|_| bad(field, format!("{value} is out of range")))
}

fn bad(field: &'static str, reason: String) -> FormatError {
    FormatError::BadField { field, reason }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test may panic")]
mod tests {
    use super::*;

    fn key(table: Option<&str>) -> MessageKey {
        MessageKey {
            increment: IncrementId("f81d4fae-7dec-11d0-a765-00a0c91e6bf6".into()),
            datamart: Datamart::parse("marketing").unwrap(),
            delta: DeltaNum(55),
            date: DeltaDate(1_638_360_336_000_000),
            table: table.map(|name| TableName(name.into())),
            stream: StreamNumber(1),
            stream_total: 2,
            chunk: ChunkNumber(4),
            is_last: false,
        }
    }

    #[test]
    fn keys_of_data_and_changelog_are_read_back() {
        for key in [key(Some("stores")), key(None)] {
            let bytes = encode_key(&key);
            assert_eq!(decode_key(&bytes), Ok(key.clone()));
            assert_eq!(bytes, encode_key(&key));
        }
    }

    #[test]
    fn a_message_type_that_contradicts_the_table_is_refused() {
        let bytes = encode_key(&key(Some("stores")));
        let place = HEADER.len() + SYNC_LEN;
        // Behind count (1 byte), size (2 bytes), and the 36 characters with their length.
        let message_type = place + 1 + 2 + 1 + 36;
        let mut wrong = bytes.clone();
        assert_eq!(wrong[message_type], 0);
        wrong[message_type] = 2;
        let error = decode_key(&wrong).unwrap_err();
        assert!(matches!(error, FormatError::BadField { field: "messageType", .. }), "{error}");
    }

    #[test]
    fn the_schema_has_the_fields_that_are_looked_up() {
        let schema: serde_json::Value = serde_json::from_str(KEY_SCHEMA).unwrap();
        let fields = schema["fields"].as_array().unwrap();
        let names: Vec<_> = fields.iter().map(|f| f["name"].as_str().unwrap()).collect();
        assert_eq!(names, FIELDS);
    }
}
