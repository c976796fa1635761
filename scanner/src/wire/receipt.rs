//! A receipt: the appliance has a frame, and will not lose it.

use super::Error;
use super::hex::Hex;
use super::lines::{self, Lines};

/// The appliance's word that a frame is on its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// SHA-256 over the whole frame, signature line included.
    pub frame: [u8; 32],
    /// When it was accepted: µs UTC, the appliance's clock.
    pub accepted: i64,
}

impl Receipt {
    /// The text to be signed.
    pub fn encode(&self) -> String {
        let mut text = lines::begin("receipt");
        lines::header(&mut text, "frame", Hex(self.frame));
        lines::header(&mut text, "accepted", self.accepted);
        text.push('\n');
        text
    }

    /// Reads the signed part of a receipt frame.
    ///
    /// # Errors
    /// Anything that [`Receipt::encode`] would not write.
    pub fn decode(text: &str) -> Result<Self, Error> {
        let mut lines = Lines::of_kind(text, "receipt")?;
        let receipt =
            Self { frame: lines.header::<Hex<32>>("frame")?.0, accepted: lines.header("accepted")? };
        lines.no_body()?;
        Ok(receipt)
    }
}
