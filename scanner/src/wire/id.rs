//! Names of things: UUIDs.

use std::fmt;
use std::str::FromStr;

use super::hex;
use super::words::Unreadable;

const NOT_ONE: Unreadable = Unreadable("a lower-case UUID with hyphens");

/// A UUID, written lower-case with hyphens and read only so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// The id of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = hex::encode(&self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|at| bytes[*at] != b'-') {
            return Err(NOT_ONE);
        }
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        hex::decode(&digits).map(Self).map_err(|_| NOT_ONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn there_is_one_spelling() {
        let text = "0192f3a0-0000-7000-8000-00000000000a";
        assert_eq!(text.parse::<Id>().unwrap().to_string(), text);
        for bad in [
            "0192F3A0-0000-7000-8000-00000000000A",
            "0192f3a0000070008000000000000000000a",
            "0192f3a0-0000-7000-8000-00000000000",
            "0192f3a-00000-7000-8000-00000000000a",
            "{192f3a0-0000-7000-8000-00000000000}",
            "",
        ] {
            assert_eq!(bad.parse::<Id>(), Err(NOT_ONE), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn it_comes_back(bytes: [u8; 16]) {
            prop_assert_eq!(Id::from_bytes(bytes).to_string().parse(), Ok(Id::from_bytes(bytes)));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{30,40}") {
            let _ = text.parse::<Id>();
        }
    }
}
