//! Enrolment: by stick a scanner's public key, and the proof that it was made by who holds the token; over the network
//! the proof alone.

use super::hex::Hex;
use super::lines::{self, Lines};
use super::{Error, Id};

/// What a scanner without a network hands to the appliance, signed by the key that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrol {
    /// Who the scanner is to be: the appliance chose the id when it made the token.
    pub scanner: Id,
    /// The scanner's key: Ed25519, public.
    pub public_key: [u8; 32],
    /// HMAC-SHA-256 of [`Enrol::proven`]; its key is the SHA-256 of the token, which is what the appliance keeps.
    /// So whoever finds the stick can neither read the token off it nor put another key in this one's place.
    pub proof: [u8; 32],
    /// When it was made: µs UTC, the scanner's clock.
    pub clock: i64,
}

impl Enrol {
    /// The text that the proof is made over.
    pub fn proven(scanner: Id, public_key: &[u8; 32]) -> String {
        format!("portolan-stick-v1\n{scanner}\n{}", super::hex::encode(public_key))
    }

    /// The text to be signed.
    pub fn encode(&self) -> String {
        let mut text = lines::begin("enrol");
        lines::header(&mut text, "scanner", self.scanner);
        lines::header(&mut text, "public-key", Hex(self.public_key));
        lines::header(&mut text, "proof", Hex(self.proof));
        lines::header(&mut text, "clock", self.clock);
        text.push('\n');
        text
    }

    /// Reads the signed part of an enrolment frame.
    ///
    /// # Errors
    /// Anything that [`Enrol::encode`] would not write.
    pub fn decode(text: &str) -> Result<Self, Error> {
        let mut lines = Lines::of_kind(text, "enrol")?;
        let enrol = Self {
            scanner: lines.header("scanner")?,
            public_key: lines.header::<Hex<32>>("public-key")?.0,
            proof: lines.header::<Hex<32>>("proof")?.0,
            clock: lines.header("clock")?,
        };
        lines.no_body()?;
        Ok(enrol)
    }
}

/// The text that a scanner with a network signs to prove that it holds the key it enrols. It names the token by its
/// SHA-256, so that who keeps only that can check the proof too.
pub fn enrolment_proof(token_sha256: &[u8; 32]) -> String {
    format!("portolan-enrol-v1\n{}", super::hex::encode(token_sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_two_lines_without_a_line_feed_at_the_end() {
        assert_eq!(enrolment_proof(&[0xab; 32]), format!("portolan-enrol-v1\n{}", "ab".repeat(32)));
    }
}
