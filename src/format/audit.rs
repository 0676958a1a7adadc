//! The strict reading of a body: everything that its bytes promise is held to them in one go.
//! Owns what "written by us" means for a body; never decides whether it belongs where it lies.

use super::FormatError;
use super::container::{CODEC, Header, SCHEMA, SYNC_LEN, blocks, put_entry};
use super::metadata::{Entries, Label};

/// What a body says of itself, and whether that is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit<'a> {
    /// Our entries of its header.
    pub label: Label<'a>,
    /// Its schema.
    pub schema: &'a str,
    /// Records, by the headers of its blocks.
    pub records: u64,
    /// Whether the check sum is right; none where the body carries none.
    pub crc: Option<bool>,
    /// Whether the header is byte for byte the one that we write for these entries.
    pub is_rendered: bool,
}

/// Audits bodies one after the other and keeps its buffers between them.
#[derive(Clone, Debug, Default)]
pub struct Auditor {
    fixed: Vec<u8>,
    header: Vec<u8>,
}

impl Auditor {
    /// Reads the body of the message whose key has the bytes `key`.
    ///
    /// # Errors
    /// [`FormatError`] where it is no sound container, or an entry of ours says the impossible.
    pub fn audit<'a>(&mut self, key: &[u8], body: &'a [u8]) -> Result<Audit<'a>, FormatError> {
        let header = Header::read(body)?;
        let label = Label::of(&header)?;
        let crc = label.crc.is_some().then(|| label.is_crc_of(&header, key, body));
        let (schema, codec) = (header.schema()?, header.codec()?);
        let records = count(&header, codec, body)?;
        let is_rendered = self.renders(&header, &label, (schema, codec), body);
        Ok(Audit { label, schema, records, crc, is_rendered })
    }

    fn renders(
        &mut self,
        header: &Header<'_>,
        label: &Label<'_>,
        (schema, codec): (&str, Option<&str>),
        body: &[u8],
    ) -> bool {
        self.fixed.clear();
        put_entry(&mut self.fixed, SCHEMA, schema.as_bytes());
        if let Some(codec) = codec {
            put_entry(&mut self.fixed, CODEC, codec.as_bytes());
        }
        let entries = Entries {
            fixed: &self.fixed,
            fixed_count: 1 + usize::from(codec.is_some()),
            manifest: label.manifest,
            part: label.part,
            replay_before: label.replay_before,
            src: label.src,
        };
        self.header.clear();
        let crc_at = entries.put(&mut self.header);
        let (before, after) = (&self.header[..crc_at], &self.header[crc_at + 8..]);
        let found = &body[..header.len - SYNC_LEN];
        found.len() == self.header.len() && found.starts_with(before) && found.ends_with(after)
    }
}

/// Records of a body. A record takes at least a byte, so a count that its block cannot hold is
/// damage.
fn count(header: &Header<'_>, codec: Option<&str>, body: &[u8]) -> Result<u64, FormatError> {
    let is_packed = codec.is_some_and(|codec| codec != "null");
    let mut records = 0u64;
    for block in blocks(body, header.len, header.sync) {
        let block = block?;
        let fits = is_packed || block.records <= block.data.len() as u64;
        records = records.checked_add(block.records).filter(|_| fits).ok_or_else(|| {
            let found = i64::try_from(block.records).unwrap_or(i64::MAX);
            FormatError::BadLength { what: "record count", at: header.len, found }
        })?;
    }
    Ok(records)
}
