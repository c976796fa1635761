//! What goes over the wire: signed text frames, and the signature of an HTTP request.
//!
//! A frame is text that an auditor can read: header lines in a fixed order, a blank line, body lines, one signature
//! line. There is exactly one spelling of each: what decodes encodes to the same bytes. `docs/formats/frames.md` is
//! the published description, `tests/vectors/` its examples.

pub mod base64;
mod enrol;
mod error;
pub mod fields;
pub mod hex;
pub mod hint;
pub mod http_signature;
mod id;
mod job;
mod lines;
mod preset;
mod reason;
mod receipt;
pub mod results;
pub(crate) mod words;

pub use enrol::{Enrol, enrolment_proof};
pub use error::Error;
pub use hint::{Certificate, Hint, Said, Text};
pub use id::Id;
pub use job::Job;
pub use preset::{Method, Preset, Timing};
pub use reason::{Reason, State};
pub use receipt::Receipt;
pub use results::{HostRecord, PortRecord, Results, Sample};
pub use words::Unreadable;

/// The greatest frame, signature line included: 4 MiB.
pub const MAX_FRAME: usize = 4 << 20;

/// The greatest value of one header line, in bytes.
pub const MAX_VALUE: usize = 1024;

/// The first line of every frame.
pub(crate) const MAGIC: &str = "portolan-frame";
pub(crate) const VERSION: &str = "1";

const SIGNATURE: &str = "signature: ed25519 ";

/// A frame cut in two: what is signed, and the signature. Nothing is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<'a> {
    /// Every byte before the signature line.
    pub text: &'a str,
    /// Ed25519, over [`Signed::text`].
    pub signature: [u8; 64],
}

/// Cuts a frame into what is signed and the signature.
///
/// # Errors
/// Too large, not UTF-8, not a frame, a frame of another version, or no well-formed signature line at its end.
pub fn split(frame: &[u8]) -> Result<Signed<'_>, Error> {
    if frame.len() > MAX_FRAME {
        return Err(Error::TooLarge(frame.len()));
    }
    let whole = str::from_utf8(frame).map_err(|_| Error::NotUtf8)?;
    check_version(whole)?;
    let lines = whole.strip_suffix('\n').ok_or(Error::Signature)?;
    let cut = lines.rfind('\n').ok_or(Error::Signature)? + 1;
    let written = lines[cut..].strip_prefix(SIGNATURE).ok_or(Error::Signature)?;
    let signature = base64::decode_array(written).map_err(|_| Error::Signature)?;
    Ok(Signed { text: &whole[..cut], signature })
}

/// Signs a frame: the encoded text goes in, the whole frame comes out.
pub fn seal(unsigned: String, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> String {
    let signature = base64::encode(&sign(unsigned.as_bytes()));
    let mut frame = unsigned;
    frame.push_str(SIGNATURE);
    frame.push_str(&signature);
    frame.push('\n');
    frame
}

/// The kind that a frame's text names (`job`, `results`, `receipt`, `enrol`), known or not.
///
/// # Errors
/// Not a frame of this version, or no kind in its second line.
pub fn kind(text: &str) -> Result<&str, Error> {
    check_version(text)?;
    let line = text.split('\n').nth(1).unwrap_or_default();
    line.strip_prefix("kind: ").ok_or(Error::Header { line: 2, key: "kind" })
}

fn check_version(text: &str) -> Result<(), Error> {
    let first = text.split('\n').next().unwrap_or_default();
    let version =
        first.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(": ")).ok_or(Error::NotAFrame)?;
    if version == VERSION { Ok(()) } else { Err(Error::Version(crate::net::cut(version))) }
}

#[cfg(test)]
mod tests;
