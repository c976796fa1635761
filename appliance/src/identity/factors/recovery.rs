//! Recovery codes: for the day the device is lost. Each works once.
//!
//! A code has 60 bits; what is kept is an HMAC of it under a key that is not in the database, so that whoever reads
//! the database cannot try codes.

use crate::ids::Random;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

/// Codes of one set.
pub const COUNT: usize = 10;
/// Letters and digits of a code.
const LENGTH: usize = 12;

/// Hashes codes under a key derived from the master key.
#[derive(Clone)]
pub struct Codes {
    key: [u8; 32],
}

impl Codes {
    /// Codes hashed with this key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// What is kept of a code: the same code of two people gives two hashes.
    #[must_use]
    pub fn hash(&self, user: Uuid, code: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(b"portolan-recovery-v1");
        mac.update(user.as_bytes());
        mac.update(code.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// A new set of codes, as they are shown.
#[must_use]
pub fn make(random: &Random) -> Vec<String> {
    (0..COUNT).map(|_| crate::identity::setup::code(random)).collect()
}

/// A typed code as it was shown: letters of either case, hyphens and white space as one likes.
#[must_use]
pub fn parse(typed: &str) -> Option<String> {
    let letters: Vec<char> = typed
        .chars()
        .filter(|letter| !letter.is_whitespace() && *letter != '-')
        .map(|letter| letter.to_ascii_uppercase())
        .collect();
    let fits = letters.len() == LENGTH && letters.iter().all(char::is_ascii_alphanumeric);
    fits.then(|| {
        letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_known_however_it_is_typed_and_only_as_its_owners() {
        let codes = Codes::new([1; 32]);
        let (ada, eve) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let made = make(&Random::seeded(1));
        let one = &made[0];
        let typed = format!(" {} ", one.to_ascii_lowercase().replace('-', " "));
        assert_eq!(parse(&typed).as_deref(), Some(one.as_str()));
        assert_eq!(codes.hash(ada, &parse(&typed).unwrap()), codes.hash(ada, one));
        assert_ne!(codes.hash(ada, one), codes.hash(eve, one));
        assert_ne!(codes.hash(ada, one), Codes::new([2; 32]).hash(ada, one));
    }

    #[test]
    fn a_set_has_ten_codes_of_which_no_two_are_alike() {
        let made = make(&Random::seeded(1));
        let once: std::collections::BTreeSet<_> = made.iter().collect();
        assert_eq!((made.len(), once.len()), (10, 10));
        assert!(made.iter().all(|code| parse(code).as_ref() == Some(code)));
    }

    #[test]
    fn what_is_no_code_is_not_read_as_one() {
        for other in ["", "123456", "ABCD-EFGH-JKL", "ABCD-EFGH-JKLMN", "ABCD-EFGH-JKL_", "ÄBCD-EFGH-JKLM"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }
}
