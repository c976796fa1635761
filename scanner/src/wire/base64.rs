//! Base64 in its standard alphabet, padded, in one spelling.

use super::words::Unreadable;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const INVALID: Unreadable = Unreadable("Base64 (standard alphabet, padded)");

/// Writes bytes as padded Base64.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().enumerate().fold(0u32, |sum, (i, byte)| sum | u32::from(*byte) << (16 - 8 * i));
        for i in 0..4 {
            let sextet = (group >> (18 - 6 * i) & 63) as usize;
            text.push(if i <= chunk.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}

/// Reads padded Base64; the unused bits must be zero, so that there is one spelling.
///
/// # Errors
/// [`Unreadable`] for anything [`encode`] would not write.
pub fn decode(text: &str) -> Result<Vec<u8>, Unreadable> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return Err(INVALID);
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let last = text.len() / 4;
    for (number, chunk) in text.chunks_exact(4).enumerate() {
        let padding = chunk.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && number + 1 != last) {
            return Err(INVALID);
        }
        let mut group = 0u32;
        for byte in &chunk[..4 - padding] {
            group = group << 6 | value(*byte)?;
        }
        group <<= 6 * padding;
        let [_, three @ ..] = group.to_be_bytes();
        if three[3 - padding..].iter().any(|byte| *byte != 0) {
            return Err(INVALID);
        }
        bytes.extend_from_slice(&three[..3 - padding]);
    }
    Ok(bytes)
}

/// Reads exactly `N` bytes.
///
/// # Errors
/// [`Unreadable`] for another length too.
pub fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], Unreadable> {
    if text.len() != N.div_ceil(3) * 4 {
        return Err(INVALID);
    }
    decode(text)?.try_into().map_err(|_| INVALID)
}

fn value(byte: u8) -> Result<u32, Unreadable> {
    Ok(match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return Err(INVALID),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
    }

    #[test]
    fn there_is_one_spelling() {
        for bad in ["Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zm9v\n", "Zm-_"] {
            assert_eq!(decode(bad), Err(INVALID), "{bad:?}");
        }
        assert_eq!(decode_array::<2>("Zm9v"), Err(INVALID));
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Ok(bytes));
        }

        #[test]
        fn what_decodes_encodes_to_itself(text in "[A-Da-d+/=]{0,12}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
