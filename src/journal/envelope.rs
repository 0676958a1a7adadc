//! Bytes of one journal entry: magic, format number, checksum, then bincode. Pure; owns no file.
//! A released format is never changed: a new one gets a higher number, and a reader for each old
//! number stays: bincode alone takes swapped fields
//! and most flipped bits for values.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format number this version writes, and the highest it reads.
pub const FORMAT: u16 = 1;
/// Largest entry that is written or read, bytes.
pub const LIMIT: usize = 16 << 20;

const MAGIC: [u8; 2] = *b"dk";
/// Magic, format, checksum. The same in every format, so that a later one can be told from damage.
const HEAD: usize = 8;

/// Why bytes are no journal entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Too short, or another magic.
    #[error("not a journal entry")]
    Foreign,
    /// The bytes are not those that were written.
    #[error("checksum does not match")]
    Checksum,
    /// Whole, but written by a later version.
    #[error("entry has format {found}, this version knows up to {FORMAT}")]
    Newer {
        /// Its format.
        found: u16,
    },
    /// Whole, but its content cannot be read.
    #[error("entry cannot be read: {reason}")]
    Content {
        /// What was found.
        reason: String,
    },
    /// Whole, but something follows the content.
    #[error("{bytes} bytes follow the entry")]
    Leftover {
        /// How many.
        bytes: usize,
    },
    /// Larger than [`LIMIT`].
    #[error("entry of {bytes} bytes is larger than {LIMIT}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<LIMIT>()
}

/// Writes a value in the current format.
///
/// # Errors
/// [`EnvelopeError::TooLarge`], or [`EnvelopeError::Content`] for a value that serde cannot write.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, EnvelopeError> {
    let content = bincode::serde::encode_to_vec(value, config())
        .map_err(|e| EnvelopeError::Content { reason: e.to_string() })?;
    let bytes = HEAD + content.len();
    if bytes > LIMIT {
        return Err(EnvelopeError::TooLarge { bytes });
    }
    let mut entry = Vec::with_capacity(bytes);
    entry.extend_from_slice(&MAGIC);
    entry.extend_from_slice(&FORMAT.to_be_bytes());
    entry.extend_from_slice(&checksum(FORMAT, &content).to_be_bytes());
    entry.extend_from_slice(&content);
    Ok(entry)
}

/// Reads a value of any format up to the current one.
///
/// # Errors
/// [`EnvelopeError`]; damage is told from a later version, since the checksum covers the number.
pub fn decode<T: DeserializeOwned>(entry: &[u8]) -> Result<T, EnvelopeError> {
    let (head, content) = entry.split_first_chunk::<HEAD>().ok_or(EnvelopeError::Foreign)?;
    let [m0, m1, f0, f1, c0, c1, c2, c3] = *head;
    if [m0, m1] != MAGIC {
        return Err(EnvelopeError::Foreign);
    }
    if entry.len() > LIMIT {
        return Err(EnvelopeError::TooLarge { bytes: entry.len() });
    }
    let format = u16::from_be_bytes([f0, f1]);
    if checksum(format, content) != u32::from_be_bytes([c0, c1, c2, c3]) {
        return Err(EnvelopeError::Checksum);
    }
    match format {
        FORMAT => read(content),
        0 => Err(EnvelopeError::Content { reason: "format 0 was never written".into() }),
        found => Err(EnvelopeError::Newer { found }),
    }
}

fn read<T: DeserializeOwned>(content: &[u8]) -> Result<T, EnvelopeError> {
    let (value, used) = bincode::serde::decode_from_slice(content, config())
        .map_err(|e| EnvelopeError::Content { reason: e.to_string() })?;
    match content.len() - used {
        0 => Ok(value),
        bytes => Err(EnvelopeError::Leftover { bytes }),
    }
}

/// CRC-32 over everything but itself.
fn checksum(format: u16, content: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&MAGIC);
    hash.update(&format.to_be_bytes());
    hash.update(content);
    hash.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_format_is_told_from_damage() {
        let mut entry = encode(&7u32).unwrap_or_default();
        entry[3] = 9;
        assert_eq!(decode::<u32>(&entry), Err(EnvelopeError::Checksum));
        let sum = checksum(9, &entry[HEAD..]);
        entry[4..8].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(decode::<u32>(&entry), Err(EnvelopeError::Newer { found: 9 }));
    }

    #[test]
    fn nothing_may_follow_and_nothing_may_miss() {
        let entry = encode(&(7u32, "abc")).unwrap_or_default();
        assert_eq!(decode::<(u32, String)>(&entry), Ok((7, "abc".into())));
        assert_eq!(decode::<u32>(&entry), Err(EnvelopeError::Leftover { bytes: 4 }));
        for end in 0..entry.len() {
            assert!(decode::<(u32, String)>(&entry[..end]).is_err(), "{end} bytes were taken");
        }
    }

    #[test]
    fn more_than_the_limit_is_neither_written_nor_read() {
        assert!(matches!(encode(&vec![1u8; LIMIT]), Err(EnvelopeError::TooLarge { .. })));
        let mut huge = encode(&1u8).unwrap_or_default();
        huge.resize(LIMIT + 1, 0);
        assert!(matches!(decode::<u8>(&huge), Err(EnvelopeError::TooLarge { .. })));
    }
}
