//! Lower-case hexadecimal.

use std::fmt;
use std::str::FromStr;

use super::words::Unreadable;

const INVALID: Unreadable = Unreadable("lower-case hexadecimal of the proper length");

/// Writes bytes as lower-case hexadecimal.
pub fn encode(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(b"0123456789abcdef"[usize::from(n)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Reads exactly `N` bytes of lower-case hexadecimal.
///
/// # Errors
/// [`Unreadable`] for anything [`encode`] would not write, or another length.
pub fn decode<const N: usize>(text: &str) -> Result<[u8; N], Unreadable> {
    if text.len() != 2 * N {
        return Err(INVALID);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Ok(bytes)
}

fn value(digit: u8) -> Result<u8, Unreadable> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(INVALID),
    }
}

/// `N` bytes that read and write themselves as hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        decode(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_spelling() {
        assert_eq!(encode(&[0, 0xaf, 0xff]), "00afff");
        assert_eq!(decode("00afff"), Ok([0, 0xaf, 0xff]));
        for bad in ["00AFFF", "00aff", "00afff0", "00af f", ""] {
            assert_eq!(decode::<3>(bad), Err(INVALID), "{bad:?}");
        }
    }
}
