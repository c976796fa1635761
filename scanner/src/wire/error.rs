//! Why a text is not a frame.

use std::fmt;

use crate::net::cut;

/// Why something was refused. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// More than [`super::MAX_FRAME`] bytes: how many.
    TooLarge(usize),
    /// Not UTF-8.
    NotUtf8,
    /// The first line is not that of a frame.
    NotAFrame,
    /// A version this program does not know: its name.
    Version(String),
    /// Another kind than asked for: its name.
    Kind(String),
    /// There is no well-formed signature line at the end.
    Signature,
    /// The text ends in the middle.
    Truncated,
    /// A header line that is not `key: value` with the key that belongs there.
    Header {
        /// Which line.
        line: usize,
        /// The key that belongs there.
        key: &'static str,
    },
    /// A value that cannot be read, or is not in its one spelling.
    Value {
        /// Of which key or field.
        key: &'static str,
        /// What was written.
        value: String,
    },
    /// A body line that cannot stand where it stands.
    Body {
        /// Which line of the body.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It can be read, but it is not how it would be written.
    NotCanonical,
    /// It can be read, but it contradicts itself, or the job it answers.
    Inconsistent(&'static str),
}

impl Error {
    /// [`Error::Value`], with as much of what was written as may be shown.
    pub(crate) fn value(key: &'static str, written: &str) -> Self {
        Self::Value { key, value: cut(written) }
    }
}

/// Refuses what contradicts itself, in the words for it.
pub(super) fn must(holds: bool, otherwise: &'static str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Inconsistent(otherwise)) }
}

/// Likewise, but of a line of the body.
pub(super) fn line_must(line: usize) -> impl Fn(bool, &'static str) -> Result<(), Error> {
    move |holds, what| if holds { Ok(()) } else { Err(Error::Body { line, what }) }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(bytes) => {
                write!(f, "the frame has {bytes} bytes; at most {} are read", super::MAX_FRAME)
            }
            Self::NotUtf8 => f.write_str("not valid UTF-8"),
            Self::NotAFrame => f.write_str("not a Portolan frame: it must begin with \"portolan-frame: \""),
            Self::Version(version) => write!(f, "frame version {version:?} is not known here; version 1 is"),
            Self::Kind(kind) => write!(f, "a frame of kind {kind:?} does not belong here"),
            Self::Signature => f.write_str("the frame does not end in a well-formed signature line"),
            Self::Truncated => f.write_str("the text ends in the middle"),
            Self::Header { line, key } => write!(f, "line {line}: \"{key}: …\" belongs here"),
            Self::Value { key, value } => write!(f, "{key}: {value:?} is not a proper value"),
            Self::Body { line, what } => write!(f, "line {line} of the body: {what}"),
            Self::NotCanonical => f.write_str("the text is not in its one spelling"),
            Self::Inconsistent(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}
