//! Changelog bodies (seed, "Схема Avro в сообщениях, содержащих данные журнала"; DESIGN D4.10).
//! Never decides which records belong to a delta.

use super::FormatError;
use super::bytes::{Cursor, put_blob, put_number};
use super::container::{Header, SCHEMA, blocks, derived_sync, put_block, put_entry};
use super::flat::read_records;
use super::manifest::Manifest;
use super::metadata::{Entries, put_crc};
use crate::model::Change;

/// Schema of every changelog body: the seed's without white space.
pub const CHANGELOG_SCHEMA: &str = concat!(
    r#"{"type":"record","name":"changeLog","fields":["#,
    r#"{"name":"changeNum","type":"long"},"#,
    r#"{"name":"entityName","type":"string"},"#,
    r#"{"name":"changeQuery","type":"string"}]}"#,
);

const FIELDS: [&str; 3] = ["changeNum", "entityName", "changeQuery"];

/// What a body keeps of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeRecord {
    /// Number in the datamart's changelog.
    pub num: u64,
    /// The entity it is about.
    pub entity: String,
    /// The statement.
    pub query: String,
}

impl From<&Change> for ChangeRecord {
    fn from(change: &Change) -> Self {
        let Change { num, entity, query, .. } = change;
        Self { num: *num, entity: entity.clone(), query: query.clone() }
    }
}

/// The changelog body of the message whose key has the bytes `key`: one block, or none where there
/// are no records. The manifest goes into the last body of an increment.
pub fn encode_changelog(
    records: &[Change],
    key: &[u8],
    replay_before: u64,
    manifest: Option<&Manifest>,
) -> Vec<u8> {
    let mut fixed = Vec::new();
    put_entry(&mut fixed, SCHEMA, CHANGELOG_SCHEMA.as_bytes());
    let manifest = manifest.map(Manifest::to_json);
    let entries = Entries {
        fixed: &fixed,
        fixed_count: 1,
        manifest: manifest.as_deref(),
        replay_before: Some(replay_before),
        ..Entries::default()
    };
    let mut out = Vec::new();
    let crc_at = entries.put(&mut out);
    let block = encode_block(records);
    let sync = derived_sync(&out, &block);
    out.extend_from_slice(&sync);
    if !block.is_empty() {
        out.extend_from_slice(&block);
        out.extend_from_slice(&sync);
    }
    put_crc(key, &mut out, crc_at);
    out
}

fn encode_block(records: &[Change]) -> Vec<u8> {
    let mut data = Vec::new();
    for record in records {
        put_number(&mut data, record.num);
        put_blob(&mut data, record.entity.as_bytes());
        put_blob(&mut data, record.query.as_bytes());
    }
    let mut block = Vec::new();
    if !records.is_empty() {
        put_block(&mut block, records.len(), &data);
    }
    block
}

/// The records of a changelog body of any writer that has the seed's fields.
///
/// # Errors
/// [`FormatError`] where it is no sound container of such records.
pub fn decode_changelog(body: &[u8]) -> Result<Vec<ChangeRecord>, FormatError> {
    let header = Header::read(body)?;
    if header.schema()? == CHANGELOG_SCHEMA && header.codec()?.is_none() {
        return decode_own(&header, body);
    }
    read_records(&header, body, &FIELDS, |fields| {
        record(fields.number(0)?, fields.text(1)?, fields.text(2)?)
    })
}

/// Records under our own schema text: none is parsed.
fn decode_own(header: &Header<'_>, body: &[u8]) -> Result<Vec<ChangeRecord>, FormatError> {
    let mut records = Vec::new();
    for block in blocks(body, header.len, header.sync) {
        let block = block?;
        let mut cursor = Cursor::new(block.data, 0);
        for _ in 0..block.records {
            let num = cursor.long("changeNum")?;
            records.push(record(num, cursor.text("entityName")?, cursor.text("changeQuery")?)?);
        }
        cursor.finish("the records of a block")?;
    }
    Ok(records)
}

fn record(num: i64, entity: &str, query: &str) -> Result<ChangeRecord, FormatError> {
    let Ok(num) = u64::try_from(num) else {
        let reason = format!("{num} is negative");
        return Err(FormatError::BadField { field: "changeNum", reason });
    };
    Ok(ChangeRecord { num, entity: entity.to_owned(), query: query.to_owned() })
}
