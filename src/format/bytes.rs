//! Avro's primitive values as bytes: a reader that checks every bound, and writers. Knows nothing
//! of containers or schemas (Avro 1.11 specification, "Binary Encoding").

use super::FormatError;

/// Reads primitive values from a slice, in order.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at byte `at`; beyond the end counts as the end.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at: at.min(bytes.len()) }
    }

    /// Position of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` bytes.
    pub(super) fn take(
        &mut self,
        count: usize,
        what: &'static str,
    ) -> Result<&'a [u8], FormatError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or(FormatError::Truncated { what, at: self.at })?;
        self.at += count;
        Ok(taken)
    }

    /// A zigzag number of at most ten bytes and 64 bits.
    pub(super) fn long(&mut self, what: &'static str) -> Result<i64, FormatError> {
        let start = self.at;
        let mut raw = 0u64;
        for (place, byte) in self.bytes[start..].iter().take(10).enumerate() {
            let low = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit only.
            if place == 9 && *byte > 1 {
                return Err(FormatError::BadNumber { what, at: start });
            }
            raw |= low << (7 * place);
            if byte & 0x80 == 0 {
                self.at = start + place + 1;
                return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
        }
        Err(FormatError::Truncated { what, at: start })
    }

    /// A length that the remaining bytes can hold.
    pub(super) fn length(&mut self, what: &'static str) -> Result<usize, FormatError> {
        let at = self.at;
        let found = self.long(what)?;
        match usize::try_from(found) {
            Ok(length) if length <= self.left() => Ok(length),
            _ => Err(FormatError::BadLength { what, at, found }),
        }
    }

    /// Length-prefixed bytes.
    pub(super) fn blob(&mut self, what: &'static str) -> Result<&'a [u8], FormatError> {
        let length = self.length(what)?;
        self.take(length, what)
    }

    /// Length-prefixed UTF-8.
    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str, FormatError> {
        let at = self.at;
        let blob = self.blob(what)?;
        std::str::from_utf8(blob).map_err(|_| FormatError::NotUtf8 { what, at })
    }

    /// One byte, 0 or 1.
    pub(super) fn boolean(&mut self, what: &'static str) -> Result<bool, FormatError> {
        let at = self.at;
        match self.take(1, what)? {
            [0] => Ok(false),
            [1] => Ok(true),
            other => Err(FormatError::BadLength { what, at, found: i64::from(other[0]) }),
        }
    }

    /// Refuses bytes that are left.
    pub(super) fn finish(&self, what: &'static str) -> Result<(), FormatError> {
        match self.left() {
            0 => Ok(()),
            count => Err(FormatError::LeftOver { what, count }),
        }
    }
}

/// Writes a zigzag number.
pub(super) fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// Writes a count or a number of ours. Avro's longs end at 2^63-1, and so do the node's numbers.
pub(super) fn put_number(out: &mut Vec<u8>, value: u64) {
    put_long(out, i64::try_from(value).unwrap_or(i64::MAX));
}

/// Writes length-prefixed bytes.
pub(super) fn put_blob(out: &mut Vec<u8>, value: &[u8]) {
    put_number(out, value.len() as u64);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_and_are_those_of_the_specification() {
        let cases: [(i64, &[u8]); 6] = [
            (0, &[0]),
            (-1, &[1]),
            (1, &[2]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ];
        for (value, bytes) in cases {
            let mut out = Vec::new();
            put_long(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(Cursor::new(&out, 0).long("number"), Ok(value));
        }
    }

    #[test]
    fn numbers_that_are_cut_or_too_long_are_refused() {
        let what = "number";
        let cut = Cursor::new(&[0x80, 0x80], 0).long(what);
        assert_eq!(cut, Err(FormatError::Truncated { what, at: 0 }));
        let mut long = [0x80u8; 11];
        long[9] = 2;
        assert_eq!(Cursor::new(&long, 0).long(what), Err(FormatError::BadNumber { what, at: 0 }));
        let negative = Cursor::new(&[1, 0], 0).length(what);
        assert_eq!(negative, Err(FormatError::BadLength { what, at: 0, found: -1 }));
        let beyond = Cursor::new(&[4, 0], 0).length(what);
        assert_eq!(beyond, Err(FormatError::BadLength { what, at: 0, found: 2 }));
    }
}
