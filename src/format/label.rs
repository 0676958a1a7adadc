//! Data bodies: an unloaded container gets the documented schema and our metadata in a new header,
//! its blocks are copied byte for byte (DESIGN D4.9). Every byte of a backup passes through here;
//! so rows are never decoded, and a schema is compared once per table, not once per chunk.

use super::FormatError;
use super::bytes::Cursor;
use super::container::{CODEC, Header, SCHEMA, SYNC_LEN, blocks, derived_sync, put_entry};
use super::metadata::{Entries, SRC_EMPTY, put_crc};
use super::schema::{check_staging, row_schema};
use crate::model::{Column, MessageKey, MessageType};

/// What became of a staging body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// Rows in it, by the counts of its blocks.
    pub rows: u64,
}

/// Makes the data bodies of one table.
#[derive(Clone, Debug)]
pub struct Labeller {
    columns: Vec<Column>,
    /// The encoded schema entry.
    schema: Vec<u8>,
    known: Option<Known>,
}

/// A staging header that was checked, and what takes its place.
#[derive(Clone, Debug)]
struct Known {
    /// Its bytes without the sync marker. Metadata ends itself, so a body that begins with them
    /// has this header and no other.
    header: Vec<u8>,
    /// Schema and codec, encoded.
    fixed: Vec<u8>,
    fixed_count: usize,
    packed: bool,
}

impl Labeller {
    /// For a table with these columns, `sys_op` not among them.
    pub fn new(columns: &[Column]) -> Self {
        let mut schema = Vec::new();
        put_entry(&mut schema, SCHEMA, row_schema(columns).as_bytes());
        Self { columns: columns.to_vec(), schema, known: None }
    }

    /// Writes the data body of `key` to `out`, replacing what was there. `key_bytes` are the key
    /// as [`super::encode_key`] makes it; `source` is staging topic/partition/offset.
    ///
    /// # Errors
    /// [`FormatError::Schema`] where the staging body has other columns or types, and others where
    /// it is no sound container; `out` is then of no use.
    pub fn label(
        &mut self,
        key: &MessageKey,
        key_bytes: &[u8],
        source: &str,
        part: Option<u8>,
        staging_body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Labelled, FormatError> {
        require_data(key)?;
        let known = match self.known.take() {
            Some(known) if staging_body.starts_with(&known.header) => known,
            _ => self.learn(staging_body)?,
        };
        let known = self.known.insert(known);
        let width = if known.packed { 0 } else { self.columns.len() as u64 + 1 };
        let rows = count_rows(staging_body, known.header.len(), width)?;

        out.clear();
        out.reserve(staging_body.len() + self.schema.len() + source.len() + 256);
        let (fixed, fixed_count) = (known.fixed.as_slice(), known.fixed_count);
        let src = Some(source);
        let crc_at = Entries { fixed, fixed_count, part, src, ..Entries::default() }.put(out);
        out.extend_from_slice(&staging_body[known.header.len()..]);
        put_crc(key_bytes, out, crc_at);
        Ok(Labelled { rows })
    }

    /// Writes the data body of a chunk without rows that no staging message stands behind (D4.5).
    ///
    /// # Errors
    /// [`FormatError::NotADataKey`].
    pub fn label_empty(
        &self,
        key: &MessageKey,
        key_bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Labelled, FormatError> {
        require_data(key)?;
        out.clear();
        let src = Some(SRC_EMPTY);
        let entries = Entries { fixed: &self.schema, fixed_count: 1, src, ..Entries::default() };
        let crc_at = entries.put(out);
        let sync = derived_sync(out, &[]);
        out.extend_from_slice(&sync);
        put_crc(key_bytes, out, crc_at);
        Ok(Labelled { rows: 0 })
    }

    /// Checks a staging header that was not seen before.
    fn learn(&self, staging_body: &[u8]) -> Result<Known, FormatError> {
        let header = Header::read(staging_body)?;
        check_staging(header.schema()?, &self.columns)?;
        let codec = header.codec()?;
        let mut fixed = self.schema.clone();
        if let Some(codec) = codec {
            put_entry(&mut fixed, CODEC, codec.as_bytes());
        }
        Ok(Known {
            header: staging_body[..header.len - SYNC_LEN].to_vec(),
            fixed,
            fixed_count: 1 + usize::from(codec.is_some()),
            packed: codec.is_some_and(|codec| codec != "null"),
        })
    }
}

/// Rows of an unloaded body, by the counts of its blocks.
///
/// # Errors
/// [`FormatError`] where it is no sound container.
pub fn staging_rows(body: &[u8]) -> Result<u64, FormatError> {
    let header = Header::read(body)?;
    // A row takes at least a byte, unless it is packed.
    let width = u64::from(header.codec()?.is_none_or(|codec| codec == "null"));
    count_rows(body, header.len - SYNC_LEN, width)
}

/// Walks the blocks behind the marker at `marker_at`. A row of `width` nullable columns takes at
/// least a byte for each, so a count that its block cannot hold is damage.
fn count_rows(body: &[u8], marker_at: usize, width: u64) -> Result<u64, FormatError> {
    let mut cursor = Cursor::new(body, marker_at);
    let sync = cursor.take(SYNC_LEN, "sync marker")?;
    let mut rows = 0u64;
    for block in blocks(body, cursor.at(), sync) {
        let block = block?;
        let fits = block.records.checked_mul(width).is_some_and(|n| n <= block.data.len() as u64);
        rows = rows.checked_add(block.records).filter(|_| fits).ok_or_else(|| {
            let found = i64::try_from(block.records).unwrap_or(i64::MAX);
            FormatError::BadLength { what: "record count", at: cursor.at(), found }
        })?;
    }
    Ok(rows)
}

fn require_data(key: &MessageKey) -> Result<(), FormatError> {
    match key.message_type() {
        MessageType::Data => Ok(()),
        MessageType::Changelog => Err(FormatError::NotADataKey),
    }
}
