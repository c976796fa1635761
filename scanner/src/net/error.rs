//! What can be wrong with a written address or port.

use std::fmt;

/// Why a text is not an address, a range, a subnet or a port list. Each variant carries the offending piece, cut to
/// a length that can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Neither an IPv4 nor an IPv6 address.
    Address(String),
    /// A subnet without `/prefix`, or with one that is not a number in the family's bounds.
    Prefix {
        /// What was written.
        piece: String,
        /// The greatest prefix of this family: 32 or 128.
        max: u8,
    },
    /// A subnet whose host bits are not zero.
    HostBits {
        /// What was written.
        piece: String,
        /// The subnet that holds it.
        canonical: String,
    },
    /// The range ends before it begins.
    Reversed(String),
    /// The range begins in one family and ends in the other.
    Mixed(String),
    /// Not a port number from 1 to 65535, nor a range of them.
    Port(String),
    /// More pieces than the limit given.
    TooMany(usize),
}

/// A text as it may be shown: at most 64 characters.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(piece) => write!(f, "{piece:?} is not an IPv4 or IPv6 address"),
            Self::Prefix { piece, max } => {
                let family = if *max == 32 { "IPv4" } else { "IPv6" };
                write!(
                    f,
                    "{piece:?} is not a subnet: write address/prefix, the prefix of {family} being 0 to {max}"
                )
            }
            Self::HostBits { piece, canonical } => {
                write!(f, "{piece:?} has bits beyond its prefix: the subnet is {canonical}")
            }
            Self::Reversed(piece) => write!(f, "{piece:?} ends before it begins"),
            Self::Mixed(piece) => write!(f, "{piece:?} mixes IPv4 and IPv6"),
            Self::Port(piece) => {
                write!(f, "{piece:?} is not a port: write numbers from 1 to 65535, or ranges like 80-90")
            }
            Self::TooMany(limit) => write!(f, "too many entries: at most {limit}"),
        }
    }
}

impl std::error::Error for Error {}
