//! A checkpoint: the chain's head at one moment, signed by the appliance, in a text that a person can print or
//! photograph. Kept elsewhere, it proves later that nothing before it was changed, taken out or cut off.
//!
//! The text is lines of `key: value` in a fixed order; the signature covers every byte before its own line. There
//! is one spelling: what is read encodes to the same bytes. `docs/formats/checkpoint.md` describes it.

use portolan_scanner::wire::{base64, hex};

use super::chain::Head;
use crate::clock::Timestamp;
use crate::secrets::signing::{self, CheckpointKey};

/// The longest text that is read.
pub const MAX_TEXT: usize = 1024;

/// Why this version makes a checkpoint. What another version made is read with whatever word it has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// An hour had gone by.
    Hourly,
    /// The appliance stopped.
    Shutdown,
    /// Someone asked for it.
    Asked,
    /// It goes with an export.
    Export,
    /// It goes with a backup.
    Backup,
}

impl Why {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Shutdown => "shutdown",
            Self::Asked => "asked",
            Self::Export => "export",
            Self::Backup => "backup",
        }
    }
}

/// The longest word that says why.
const WHY_MAX: usize = 20;

/// A word that says why: small letters and hyphens, so that what a later version writes there is read by this one.
fn is_why(text: &str) -> bool {
    (1..=WHY_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// A signed head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where the chain ended.
    pub head: Head,
    /// When.
    pub at: Timestamp,
    /// Why it was made: one of [`Why`]'s words, or another version's.
    pub why: String,
    /// The public key that signed it, Ed25519.
    pub key: [u8; 32],
    text: String,
}

/// Why a text is no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACheckpoint {
    /// It is longer than any.
    #[error("is longer than a checkpoint: at most {MAX_TEXT} bytes")]
    TooLong,
    /// A line is missing, in another place, or cannot be read.
    #[error("line {0}: \"{1}: …\" belongs here")]
    Line(usize, &'static str),
    /// It is not in its one spelling.
    #[error("is not written as a checkpoint is: something was added or respelt")]
    Spelling,
    /// The signature is not of the key it names.
    #[error("its signature does not hold: it was changed after it was signed")]
    Signature,
}

impl Checkpoint {
    /// Signs a head.
    #[must_use]
    pub fn sign(head: Head, at: Timestamp, why: Why, key: &CheckpointKey) -> Self {
        let public = key.public();
        let why = why.as_str().to_owned();
        let body = body(head, at, &why, &public);
        let signature = base64::encode(&key.sign(body.as_bytes()));
        Self { head, at, why, key: public, text: format!("{body}signature: ed25519 {signature}\n") }
    }

    /// Reads a text and checks its signature by the key that it names: whether that key is the appliance's is for
    /// the caller to compare. Spaces and line ends around it, and CR LF, as copying leaves them, are forgiven.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(text: &str) -> Result<Self, NotACheckpoint> {
        if text.len() > MAX_TEXT {
            return Err(NotACheckpoint::TooLong);
        }
        let text = text.trim().replace("\r\n", "\n") + "\n";
        let mut lines = text.lines().zip(1..);
        let mut value = |key: &'static str| match lines.next() {
            Some((line, number)) => line
                .strip_prefix(key)
                .and_then(|rest| rest.strip_prefix(": "))
                .ok_or(NotACheckpoint::Line(number, key)),
            None => Err(NotACheckpoint::Line(text.lines().count() + 1, key)),
        };
        value("portolan-checkpoint").and_then(|v| parsed(v.parse::<u8>().ok().filter(|v| *v == 1)))?;
        let seq = value("entries").and_then(|v| parsed(v.parse().ok()))?;
        let hash = value("head").and_then(|v| parsed(hex::decode::<32>(v).ok()))?;
        let at = value("at").and_then(|v| parsed(Timestamp::parse(v).ok()))?;
        let why = value("why").and_then(|v| parsed(is_why(v).then(|| v.to_owned())))?;
        let key: [u8; 32] = value("key").and_then(|v| parsed(ed25519(v)))?;
        let signature: [u8; 64] = value("signature").and_then(|v| parsed(ed25519(v)))?;
        let head = Head { seq, hash };
        let body = body(head, at, &why, &key);
        if format!("{body}signature: ed25519 {}\n", base64::encode(&signature)) != text {
            return Err(NotACheckpoint::Spelling);
        }
        if !signing::verify(&key, body.as_bytes(), &signature) {
            return Err(NotACheckpoint::Signature);
        }
        Ok(Self { head, at, why, key, text })
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn body(head: Head, at: Timestamp, why: &str, key: &[u8; 32]) -> String {
    format!(
        "portolan-checkpoint: 1\nentries: {}\nhead: {}\nat: {at}\nwhy: {}\nkey: ed25519 {}\n",
        head.seq,
        hex::encode(&head.hash),
        why,
        base64::encode(key)
    )
}

fn parsed<T>(value: Option<T>) -> Result<T, NotACheckpoint> {
    value.ok_or(NotACheckpoint::Spelling)
}

fn ed25519<const N: usize>(value: &str) -> Option<[u8; N]> {
    base64::decode_array(value.strip_prefix("ed25519 ")?).ok()
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::secrets::MasterKey;

    fn key(seed: u8) -> CheckpointKey {
        CheckpointKey::of(&MasterKey::from_bytes(Zeroizing::new([seed; 32])))
    }

    fn made() -> Checkpoint {
        let at = Timestamp::parse("2026-11-22T10:00:00Z").unwrap();
        Checkpoint::sign(Head { seq: 128, hash: [0x9f; 32] }, at, Why::Hourly, &key(7))
    }

    #[test]
    fn a_text_reads_back_even_as_copying_leaves_it() {
        let made = made();
        assert_eq!(Checkpoint::read(made.text()), Ok(made.clone()));
        let copied = format!("\r\n  {}\r\n\r\n", made.text().replace('\n', "\r\n"));
        assert_eq!(Checkpoint::read(&copied), Ok(made));
    }

    #[test]
    fn no_byte_of_it_can_be_changed_added_or_taken_out() {
        let text = made().text().to_owned();
        for at in 0..text.len() - 1 {
            for bad in [
                format!(
                    "{}{}{}",
                    &text[..at],
                    if &text[at..=at] == "1" { "2" } else { "1" },
                    &text[at + 1..]
                ),
                format!("{}{}", &text[..at], &text[at + 1..]),
                format!("{}x{}", &text[..at], &text[at..]),
            ] {
                assert!(Checkpoint::read(&bad).is_err(), "{bad}");
            }
        }
        assert_eq!(Checkpoint::read(""), Err(NotACheckpoint::Line(1, "portolan-checkpoint")));
        assert_eq!(Checkpoint::read(&"x".repeat(2_000)), Err(NotACheckpoint::TooLong));
    }

    #[test]
    fn another_key_signs_another_text_and_a_swapped_key_does_not_hold() {
        let (ours, other) = (made(), key(8));
        let theirs = Checkpoint::sign(ours.head, ours.at, Why::Hourly, &other);
        assert_ne!(ours.key, theirs.key);
        let swapped = ours.text().replace(&base64::encode(&ours.key), &base64::encode(&theirs.key));
        assert_eq!(Checkpoint::read(&swapped), Err(NotACheckpoint::Signature));
    }

    fn saying(why: &str) -> String {
        let Checkpoint { head, at, key: public, .. } = made();
        let body = body(head, at, why, &public);
        format!("{body}signature: ed25519 {}\n", base64::encode(&key(7).sign(body.as_bytes())))
    }

    #[test]
    fn a_reason_of_a_later_version_is_read_as_it_stands() {
        let page = include_str!("../../../docs/formats/checkpoint.md");
        for known in [Why::Hourly, Why::Shutdown, Why::Asked, Why::Export, Why::Backup] {
            assert_eq!(Checkpoint::read(&saying(known.as_str())).unwrap().why, known.as_str());
            assert!(page.contains(&format!("`{}`", known.as_str())), "{known:?}");
        }
        let later = saying("key-renewed");
        assert_eq!(Checkpoint::read(&later).unwrap().why, "key-renewed");
        assert!(page.contains(&later), "not on the page:\n{later}");
        for bad in ["", "Hourly", "a b", "ä", "x\nkey: y", &"a".repeat(21)] {
            assert!(Checkpoint::read(&saying(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_published_example_is_what_we_write() {
        let page = include_str!("../../../docs/formats/checkpoint.md");
        assert!(page.contains(made().text()), "not on the page:\n{}", made().text());
    }
}
