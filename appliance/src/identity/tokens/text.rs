//! How a token is spelled: a prefix that tells its kind, 256 random bits, and a checksum, so that a scanner of source
//! code finds it without asking here, and a mistyped one is told from a foreign one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ids::Random;
use crate::secrets::{equal, sha256};

/// Letters of the 256 bits, as unpadded URL-safe base64.
const SECRET: usize = 43;
/// Letters of the checksum: the first 36 bits of the SHA-256 of all before it.
const CHECK: usize = 6;

/// What a token begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Someone made it for their scripts, or for a service account.
    Api,
    /// The manager made it for this machine's own command line.
    Operator,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Api => "ptl_",
            Self::Operator => "pto_",
        }
    }

    /// A new token of this kind.
    #[must_use]
    pub fn mint(self, random: &Random) -> String {
        let text = format!("{}{}", self.prefix(), random.token());
        let check = check(&text);
        text + &check
    }

    /// The kind of a text that is spelled as a token.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let kind = [Self::Api, Self::Operator].into_iter().find(|kind| text.starts_with(kind.prefix()))?;
        let whole = text.is_ascii() && text.len() == kind.prefix().len() + SECRET + CHECK;
        let (before, after) = whole.then(|| text.split_at(text.len() - CHECK))?;
        equal(check(before).as_bytes(), after.as_bytes()).then_some(kind)
    }
}

fn check(text: &str) -> String {
    let mut check = URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()));
    check.truncate(CHECK);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_spelling_and_a_mistyped_one_is_not() {
        let token = Kind::Api.mint(&Random::seeded(1));
        assert_eq!((token.len(), &token[..4], Kind::of(&token)), (53, "ptl_", Some(Kind::Api)));
        assert_ne!(token, Kind::Api.mint(&Random::seeded(2)));
        for at in 0..token.len() {
            let mut bent = token.clone();
            bent.replace_range(at..=at, if &token[at..=at] == "x" { "y" } else { "x" });
            assert_eq!(Kind::of(&bent), None, "letter {at}");
            assert_eq!(Kind::of(&token[..at]), None, "cut at {at}");
        }
        assert_eq!(Kind::of(&format!("{token} ")), None);
        assert_eq!(Kind::of("ptl_é"), None);
        assert_eq!(Kind::of(&Kind::Operator.mint(&Random::seeded(1))), Some(Kind::Operator));
    }

    /// A public test vector: what a secret scanner computes.
    #[test]
    fn the_checksum_is_the_beginning_of_the_sha256() {
        let body = format!("ptl_{}", "A".repeat(43));
        assert_eq!(check(&body), "bu3xd7");
    }
}
