//! The container around keys and bodies (Avro 1.11, "Object Container Files"): a strict reader
//! that borrows, and a writer of headers. Never looks inside a block, never copies one.

use sha2::{Digest, Sha256};

use super::FormatError;
use super::bytes::{Cursor, put_blob, put_number};

/// First bytes of every container.
pub const MAGIC: [u8; 4] = *b"Obj\x01";
/// Length of a sync marker.
pub const SYNC_LEN: usize = 16;
/// Metadata name of the writer's schema.
pub const SCHEMA: &str = "avro.schema";
/// Metadata name of the codec.
pub const CODEC: &str = "avro.codec";
/// More metadata than this no known writer has; it bounds what a hostile header can cost.
const MAX_ENTRIES: usize = 256;

/// One metadata entry of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: &'a [u8],
    /// Position of the value's first byte in the container.
    pub at: usize,
}

/// The header of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Metadata in the order written.
    pub entries: Vec<Entry<'a>>,
    /// The sync marker.
    pub sync: &'a [u8],
    /// Length of the header, marker included: where the blocks begin.
    pub len: usize,
}

impl<'a> Header<'a> {
    /// Reads a header; what follows it is not looked at.
    ///
    /// # Errors
    /// [`FormatError`] where it is cut, contradicts itself, or names an entry twice.
    pub fn read(bytes: &'a [u8]) -> Result<Self, FormatError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(FormatError::NotAContainer);
        }
        let mut cursor = Cursor::new(bytes, MAGIC.len());
        let mut entries = Vec::new();
        while read_entries(&mut cursor, &mut entries)? {}
        let sync = cursor.take(SYNC_LEN, "sync marker")?;
        Ok(Self { entries, sync, len: cursor.at() })
    }

    /// The entry of that name.
    pub fn get(&self, name: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The value of an entry as text; none where there is no such entry.
    ///
    /// # Errors
    /// [`FormatError::NotUtf8`].
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, FormatError> {
        let Some(entry) = self.get(name) else { return Ok(None) };
        let at = entry.at;
        let text = std::str::from_utf8(entry.value);
        text.map(Some).map_err(|_| FormatError::NotUtf8 { what: "metadata", at })
    }

    /// The writer's schema.
    ///
    /// # Errors
    /// [`FormatError::MissingEntry`] where there is none.
    pub fn schema(&self) -> Result<&'a str, FormatError> {
        self.text(SCHEMA)?.ok_or(FormatError::MissingEntry { name: SCHEMA })
    }

    /// The codec; none where the header names none, which means `null`.
    ///
    /// # Errors
    /// [`FormatError::NotUtf8`].
    pub fn codec(&self) -> Result<Option<&'a str>, FormatError> {
        self.text(CODEC)
    }
}

/// Reads one block of the metadata map; false at the map's end.
fn read_entries<'a>(
    cursor: &mut Cursor<'a>,
    entries: &mut Vec<Entry<'a>>,
) -> Result<bool, FormatError> {
    let count = cursor.long("metadata count")?;
    if count == 0 {
        return Ok(false);
    }
    // A negative count says that the size of its entries in bytes follows.
    let sized_at = cursor.at();
    let size = if count < 0 { Some(cursor.length("metadata size")?) } else { None };
    let begin = cursor.at();
    for _ in 0..count.unsigned_abs() {
        if entries.len() == MAX_ENTRIES {
            return Err(FormatError::TooManyEntries { limit: MAX_ENTRIES });
        }
        let name = cursor.text("metadata name")?;
        let value = cursor.blob("metadata value")?;
        if entries.iter().any(|entry| entry.name == name) {
            return Err(FormatError::DuplicateEntry { name: name.to_owned() });
        }
        entries.push(Entry { name, value, at: cursor.at() - value.len() });
    }
    match size {
        Some(size) if cursor.at() - begin != size => {
            let found = size as i64;
            Err(FormatError::BadLength { what: "metadata size", at: sized_at, found })
        }
        _ => Ok(true),
    }
}

/// One block of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// How many records it says it holds.
    pub records: u64,
    /// Their bytes, packed by the codec if there is one.
    pub data: &'a [u8],
}

/// The blocks of a container, each checked as it is met. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    cursor: Cursor<'a>,
    sync: &'a [u8],
    broken: bool,
}

/// The blocks from byte `from` to the end of `bytes`, every one closed by `sync`.
pub fn blocks<'a>(bytes: &'a [u8], from: usize, sync: &'a [u8]) -> Blocks<'a> {
    Blocks { cursor: Cursor::new(bytes, from), sync, broken: false }
}

impl<'a> Blocks<'a> {
    fn read(&mut self) -> Result<Block<'a>, FormatError> {
        let at = self.cursor.at();
        let found = self.cursor.long("record count")?;
        let Ok(records) = u64::try_from(found) else {
            return Err(FormatError::BadLength { what: "record count", at, found });
        };
        let data = self.cursor.blob("block")?;
        let at = self.cursor.at();
        if self.cursor.take(SYNC_LEN, "sync marker")? != self.sync {
            return Err(FormatError::SyncMismatch { at });
        }
        Ok(Block { records, data })
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<Block<'a>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken || self.cursor.left() == 0 {
            return None;
        }
        let block = self.read();
        self.broken = block.is_err();
        Some(block)
    }
}

/// The bytes of the only record of a container whose header ends at `from`, still packed.
///
/// # Errors
/// [`FormatError::NotOneRecord`] where there are none or more, and those of [`Blocks`].
pub fn only_record<'a>(
    bytes: &'a [u8],
    from: usize,
    sync: &'a [u8],
) -> Result<&'a [u8], FormatError> {
    let mut blocks = blocks(bytes, from, sync);
    let first = blocks.next().unwrap_or(Err(FormatError::NotOneRecord { found: 0 }))?;
    match (first.records, blocks.next().transpose()?) {
        (1, None) => Ok(first.data),
        (found, more) => {
            let found = found.saturating_add(more.map_or(0, |block| block.records));
            Err(FormatError::NotOneRecord { found })
        }
    }
}

/// Writes one metadata entry.
pub fn put_entry(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    put_blob(out, name.as_bytes());
    put_blob(out, value);
}

/// Writes magic and the count of a map of one block; the entries follow, then [`end_map`].
pub fn begin_map(out: &mut Vec<u8>, entries: usize) {
    out.extend_from_slice(&MAGIC);
    put_number(out, entries as u64);
}

/// Ends the metadata map; the sync marker follows.
pub fn end_map(out: &mut Vec<u8>) {
    out.push(0);
}

/// Writes the count and size of a block and its bytes; the sync marker follows.
pub fn put_block(out: &mut Vec<u8>, records: usize, data: &[u8]) {
    put_number(out, records as u64);
    put_blob(out, data);
}

/// The marker of a container of ours: the first 16 bytes of SHA-256 over the header without
/// marker and the block without marker (DESIGN D6), so that the same content has the same bytes.
pub fn derived_sync(header: &[u8], block: &[u8]) -> [u8; SYNC_LEN] {
    let hash = Sha256::new().chain_update(header).chain_update(block).finalize();
    let mut sync = [0; SYNC_LEN];
    sync.copy_from_slice(&hash[..SYNC_LEN]);
    sync
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test may panic")]
mod tests {
    use super::*;

    const SYNC: [u8; 16] = *b"0123456789abcdef";

    fn container(map: &[u8], blocks: &[u8]) -> Vec<u8> {
        [&MAGIC, map, &SYNC, blocks].concat()
    }

    #[test]
    fn maps_of_several_blocks_and_of_negative_counts_are_read() {
        // {a: "1"} in a counted block, {bc: ""} in a sized one of 4 bytes.
        let map = [2, 2, b'a', 2, b'1', 1, 8, 4, b'b', b'c', 0, 0];
        let bytes = container(&map, &[]);
        let header = Header::read(&bytes).unwrap();
        let found: Vec<_> = header.entries.iter().map(|e| (e.name, e.value, e.at)).collect();
        assert_eq!(found, [("a", &b"1"[..], 8), ("bc", &b""[..], 15)]);
        assert_eq!(header.len, bytes.len());
    }

    #[test]
    fn headers_that_contradict_themselves_are_refused() {
        let sized_wrong = [1, 10, 4, b'b', b'c', 0, 0, 0];
        let twice = [4, 2, b'a', 0, 2, b'a', 0, 0];
        let least_count = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0];
        for (map, case) in
            [(&sized_wrong[..], "size"), (&twice[..], "duplicate"), (&least_count[..], "count")]
        {
            assert!(Header::read(&container(map, &[])).is_err(), "{case} was taken");
        }
        assert_eq!(Header::read(b"PAR1"), Err(FormatError::NotAContainer));
    }

    #[test]
    fn every_block_must_end_with_the_marker_and_nothing_may_follow() {
        let block = [&[4, 2, b'x'][..], &SYNC].concat();
        let both = [&block[..], &block].concat();
        let rows = |bytes: &[u8]| -> Result<u64, FormatError> {
            blocks(bytes, 0, &SYNC).map(|b| b.map(|b| b.records)).sum()
        };
        assert_eq!(rows(&both), Ok(4));
        assert_eq!(rows(&[]), Ok(0));
        let mut other = both.clone();
        other[30] ^= 1;
        assert_eq!(rows(&other), Err(FormatError::SyncMismatch { at: 22 }));
        assert!(rows(&both[..both.len() - 1]).is_err());
        assert!(rows(&[&both[..], &[0]].concat()).is_err());
        assert!(rows(&[&[1, 0][..], &SYNC].concat()).is_err(), "a negative count was taken");
    }

    #[test]
    fn a_container_of_one_record_has_one_block_of_one() {
        let one = [&[2, 2, b'x'][..], &SYNC].concat();
        assert_eq!(only_record(&one, 0, &SYNC), Ok(&b"x"[..]));
        let two = [&one[..], &one].concat();
        assert_eq!(only_record(&two, 0, &SYNC), Err(FormatError::NotOneRecord { found: 2 }));
        assert_eq!(only_record(&[], 0, &SYNC), Err(FormatError::NotOneRecord { found: 0 }));
    }
}
