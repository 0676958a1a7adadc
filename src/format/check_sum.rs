//! The value of a row in CHECK_SUM and CHECK_SUM_SNAPSHOT, as a node computes it (PROSTORE.md 2.9).
//! Which rows count is decided elsewhere; the text of a row is made in `rows`.

use md5::{Digest, Md5};

/// The value of a row of this text: the first four hexadecimal digits of its MD5, lower case, as
/// ASCII bytes read little-endian. It has 65 536 values: one changed row in so many is not seen.
pub fn row_value(text: &[u8]) -> u32 {
    let digest = Md5::digest(text);
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    let [one, two] = [digest[0], digest[1]];
    u32::from_le_bytes([digit(one >> 4), digit(one & 15), digit(two >> 4), digit(two & 15)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_those_of_the_hash_in_the_order_they_are_written() {
        // MD5 of nothing is d41d8cd9...
        assert_eq!(row_value(b""), u32::from_le_bytes(*b"d41d"));
        // Of the documented row; its normalization is 10 (PROSTORE.md, vector V18).
        assert_eq!(row_value(b"10021;1605647472000000;ABC1830") / 10, 165_074_672);
    }
}
