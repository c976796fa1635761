//! What can go wrong between a scanner and its appliance.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::{args, wire};

/// One sentence that says what to do.
#[derive(Debug)]
pub enum Error {
    /// The command line.
    Usage(args::Error),
    /// A file or folder.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The appliance cannot be reached, or the connection broke.
    Network(io::Error),
    /// It shows another CA than the one that is pinned.
    Untrusted,
    /// The appliance answered with something that is not understood.
    Protocol(String),
    /// Something else, in a sentence.
    Other(String),
    /// The appliance refused.
    Refused {
        /// HTTP status.
        status: u16,
        /// Its word for the reason.
        slug: String,
        /// Its sentence.
        detail: String,
    },
    /// A signal asked this process to end.
    Stopped,
    /// The probe process cannot be started, or fails over and over.
    Probe(String),
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    pub(crate) fn option(name: &str, what: impl fmt::Display) -> Self {
        Self::Usage(args::Error::of(name, what))
    }

    /// A file or folder of the scanner that cannot be used, and what to do.
    pub(crate) fn at(path: &Path, what: &str) -> Self {
        Self::Other(format!("{}: {what}", path.display()))
    }

    #[cfg(feature = "network")]
    /// Whether the appliance said this word.
    pub(crate) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Refused { slug, .. } if slug == word)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => write!(f, "{error}"),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Network(error) => write!(f, "the appliance cannot be reached: {error}"),
            Self::Untrusted => f.write_str(
                "the appliance shows another CA than the one that is pinned: check the address, and compare the CA's \
                 SHA-256 with the appliance's page",
            ),
            Self::Protocol(what) => {
                write!(f, "the answer is not that of a Portolan appliance ({what}): check address and port")
            }
            Self::Refused { slug, .. } if slug == "revoked" => {
                f.write_str("this scanner was revoked: enrol it anew, into another folder, with a new token")
            }
            Self::Refused { slug, detail, .. } if slug.starts_with("token-") => {
                write!(f, "the token was refused ({slug}: {detail}): make a new one on the appliance's page")
            }
            Self::Refused { status, slug, detail } => {
                write!(f, "the appliance refused: {status} {slug}: {detail}")
            }
            Self::Other(what) => f.write_str(what),
            Self::Stopped => f.write_str("stopped by a signal"),
            Self::Probe(what) => write!(f, "the probe process failed: {what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Usage(error) => Some(error),
            Self::File { source: error, .. } | Self::Network(error) => Some(error),
            _ => None,
        }
    }
}

impl From<args::Error> for Error {
    fn from(error: args::Error) -> Self {
        Self::Usage(error)
    }
}

impl From<wire::Error> for Error {
    fn from(error: wire::Error) -> Self {
        Self::Protocol(error.to_string())
    }
}
