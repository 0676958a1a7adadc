//! The `deltakeep.*` entries in the header of a body (DESIGN D6, docs/format.md): writing them,
//! reading them, and the check sum that binds a body to its key. Never looks at rows or records.

use crc_fast::{CrcAlgorithm, Digest};

use super::FormatError;
use super::container::{Header, begin_map, end_map, put_entry};

/// Check sum over key and body: 8 lower-case hex digits.
pub const CRC: &str = "deltakeep.crc";
/// The manifest, in the last changelog body of an increment.
pub const MANIFEST: &str = "deltakeep.manifest";
/// Which of the three parts of a pair with repeated keys (D4.13).
pub const PART: &str = "deltakeep.part";
/// How many changelog records ran before the delta (D4.10).
pub const REPLAY_BEFORE: &str = "deltakeep.replayBefore";
/// Where a data body was unloaded to: staging topic/partition/offset.
pub const SRC: &str = "deltakeep.src";
/// What [`SRC`] says of a chunk that no staging message stands behind (D4.5).
pub const SRC_EMPTY: &str = "empty";

/// The crc's digits while it is computed.
const UNSET: &[u8; 8] = b"00000000";

/// What the header of a body says of it. All absent in bodies of other tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label<'a> {
    /// The check sum.
    pub crc: Option<u32>,
    /// Where a data body was unloaded to.
    pub src: Option<&'a str>,
    /// The part of a pair with repeated keys: 1, 2 or 3.
    pub part: Option<u8>,
    /// How many changelog records ran before the delta.
    pub replay_before: Option<u64>,
    /// JSON of the manifest; see [`super::Manifest::parse`].
    pub manifest: Option<&'a str>,
}

/// Reads the label of a body; its blocks are not looked at.
///
/// # Errors
/// [`FormatError`] where the header is damaged or an entry has an impossible value.
pub fn read_label(body: &[u8]) -> Result<Label<'_>, FormatError> {
    Label::of(&Header::read(body)?)
}

impl<'a> Label<'a> {
    /// What a header says.
    pub(super) fn of(header: &Header<'a>) -> Result<Self, FormatError> {
        Ok(Label {
            crc: header.get(CRC).map(|entry| digits(entry.value)).transpose()?,
            src: header.text(SRC)?,
            part: number(header, PART, |part: &u8| (1..=3).contains(part))?,
            replay_before: number(header, REPLAY_BEFORE, |_| true)?,
            manifest: header.text(MANIFEST)?,
        })
    }

    /// Whether its check sum is that of `key` and the `body` that begins with `header`.
    pub(super) fn is_crc_of(&self, header: &Header<'_>, key: &[u8], body: &[u8]) -> bool {
        let Some(entry) = header.get(CRC) else { return false };
        let (before, after) = (&body[..entry.at], &body[entry.at + UNSET.len()..]);
        self.crc == Some(crc32c(&[key, before, UNSET, after]))
    }
}

/// Whether key and body are the bytes that were written together.
///
/// # Errors
/// [`FormatError`] where the header is damaged, or [`FormatError::MissingEntry`] where the body
/// carries no check sum (the Java tool's have none).
pub fn verify_crc(key: &[u8], body: &[u8]) -> Result<bool, FormatError> {
    let header = Header::read(body)?;
    let entry = header.get(CRC).ok_or(FormatError::MissingEntry { name: CRC })?;
    let written = digits(entry.value)?;
    let (before, after) = (&body[..entry.at], &body[entry.at + UNSET.len()..]);
    Ok(crc32c(&[key, before, UNSET, after]) == written)
}

/// The entries of a body to be written. `fixed` are entries already encoded (schema and codec).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entries<'a> {
    pub(super) fixed: &'a [u8],
    pub(super) fixed_count: usize,
    pub(super) manifest: Option<&'a str>,
    pub(super) part: Option<u8>,
    pub(super) replay_before: Option<u64>,
    pub(super) src: Option<&'a str>,
}

impl Entries<'_> {
    /// Writes the header up to the sync marker; returns where the crc's digits are to go.
    pub(super) fn put(&self, out: &mut Vec<u8>) -> usize {
        let optional = [
            self.manifest.is_some(),
            self.part.is_some(),
            self.replay_before.is_some(),
            self.src.is_some(),
        ];
        let count = self.fixed_count + 1 + optional.iter().filter(|is_set| **is_set).count();
        begin_map(out, count);
        out.extend_from_slice(self.fixed);
        put_entry(out, CRC, UNSET);
        let crc_at = out.len() - UNSET.len();
        if let Some(manifest) = self.manifest {
            put_entry(out, MANIFEST, manifest.as_bytes());
        }
        if let Some(part) = self.part {
            put_entry(out, PART, part.to_string().as_bytes());
        }
        if let Some(replay_before) = self.replay_before {
            put_entry(out, REPLAY_BEFORE, replay_before.to_string().as_bytes());
        }
        if let Some(src) = self.src {
            put_entry(out, SRC, src.as_bytes());
        }
        end_map(out);
        crc_at
    }
}

/// Puts the crc over `key` and the finished `body` to its place in the body.
pub(super) fn put_crc(key: &[u8], body: &mut [u8], crc_at: usize) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let crc = crc32c(&[key, body]);
    for place in 0..UNSET.len() {
        body[crc_at + place] = HEX[(crc >> (28 - 4 * place) & 0xf) as usize];
    }
}

/// CRC-32C (Castagnoli; CRC-32/ISCSI) over parts that follow one another.
fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    parts.iter().for_each(|part| digest.update(part));
    // A sum of 32 bits in the library's 64.
    digest.finalize() as u32
}

/// Lower-case digits only, so that one check sum has one spelling and no flipped bit is read as
/// another spelling of the same number.
fn digits(value: &[u8]) -> Result<u32, FormatError> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let text = std::str::from_utf8(value).ok().filter(|text| text.len() == UNSET.len());
    let text = text.filter(|_| value.iter().all(is_digit));
    let crc = text.and_then(|text| u32::from_str_radix(text, 16).ok());
    crc.ok_or_else(|| bad(CRC, &String::from_utf8_lossy(value)))
}

fn number<T: std::str::FromStr>(
    header: &Header<'_>,
    name: &'static str,
    allowed: impl Fn(&T) -> bool,
) -> Result<Option<T>, FormatError> {
    let Some(text) = header.text(name)? else { return Ok(None) };
    let number = text.parse().ok().filter(allowed);
    number.map(Some).ok_or_else(|| bad(name, text))
}

fn bad(name: &'static str, value: &str) -> FormatError {
    FormatError::BadEntry { name, value: value.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test may panic")]
mod tests {
    use super::*;

    fn body(entries: &Entries<'_>, key: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let crc_at = entries.put(&mut out);
        out.extend_from_slice(&[7; 16]);
        put_crc(key, &mut out, crc_at);
        out
    }

    #[test]
    fn a_label_is_read_back_and_its_entries_are_alphabetical() {
        let entries = Entries {
            manifest: Some("{}"),
            part: Some(2),
            replay_before: Some(40),
            src: Some("t/0/1"),
            ..Entries::default()
        };
        let body = body(&entries, b"key");
        let header = Header::read(&body).unwrap();
        let names: Vec<_> = header.entries.iter().map(|entry| entry.name).collect();
        assert!(names.is_sorted() && names.len() == 5, "{names:?}");
        let label = read_label(&body).unwrap();
        assert!(label.crc.is_some());
        let label = Label { crc: None, ..label };
        let expected = Label {
            crc: None,
            src: Some("t/0/1"),
            part: Some(2),
            replay_before: Some(40),
            manifest: Some("{}"),
        };
        assert_eq!(label, expected);
    }

    #[test]
    fn the_crc_binds_key_and_body_and_has_one_spelling() {
        let body = body(&Entries::default(), b"key");
        assert_eq!(verify_crc(b"key", &body), Ok(true));
        assert_eq!(verify_crc(b"kez", &body), Ok(false));
        let at = Header::read(&body).unwrap().get(CRC).unwrap().at;
        let upper = {
            let mut upper = body.clone();
            upper[at..at + 8].make_ascii_uppercase();
            upper
        };
        assert_ne!(upper, body, "this crc has no letter to test with");
        assert!(verify_crc(b"key", &upper).is_err());
    }

    #[test]
    fn the_check_sum_is_crc32c() {
        // The check value of the CRC catalogue, and RFC 3720's 32 zeros.
        assert_eq!(crc32c(&[b"1234", b"", b"56789"]), 0xe306_9283);
        assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        let entries = Entries { part: Some(4), ..Entries::default() };
        let error = read_label(&body(&entries, b"")).unwrap_err();
        assert_eq!(error, FormatError::BadEntry { name: PART, value: "4".into() });
    }
}
