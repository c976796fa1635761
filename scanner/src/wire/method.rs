//! How a port is asked.

use std::fmt;
use std::str::FromStr;

/// How a port is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Method {
    /// By connecting to it as any program does; needs no privileges.
    #[default]
    Connect,
    /// By half a handshake of the scanner's own making (RFC 9293, 3.5): SYN out, SYN-ACK or RST in. Needs
    /// `CAP_NET_RAW`; a scanner without it connects instead and says so.
    Syn,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Connect, Self::Syn];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Syn => "syn",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownMethod;

impl fmt::Display for UnknownMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a method: connect or syn")
    }
}

impl std::error::Error for UnknownMethod {}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        Self::ALL.into_iter().find(|method| method.as_str() == text).ok_or(UnknownMethod)
    }
}
