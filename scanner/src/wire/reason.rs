//! What a probe learned, and from what.

use std::fmt;
use std::str::FromStr;

/// The five states of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Something listens.
    Open,
    /// Refused: covered, and nothing listens.
    Closed,
    /// No answer.
    Filtered,
    /// The network said that it cannot be reached.
    Unreachable,
    /// Not covered: says nothing about the port.
    NotProbed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Open, Self::Closed, Self::Filtered, Self::Unreachable, Self::NotProbed];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Filtered => "filtered",
            Self::Unreachable => "unreachable",
            Self::NotProbed => "not-probed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a port has its state; each reason belongs to one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The handshake was answered (by connect as by SYN).
    SynAck,
    /// A reset came at once.
    Refused,
    /// Nothing came in time, retries included.
    NoAnswer,
    /// ICMP or the local stack: no such host.
    HostUnreachable,
    /// ICMP or the local stack: no way to that network.
    NetUnreachable,
    /// Administratively prohibited (EACCES, EPERM, ICMP).
    Prohibited,
    /// ICMP from the host itself: no such port. Seen in SYN scans; a connect sees a refusal.
    PortUnreachable,
    /// Another error of the network.
    OtherError,
    /// On a never-scan list.
    Excluded,
    /// The scan was cancelled first.
    Cancelled,
    /// The scanner's own machine was at a limit.
    LocalLimit,
    /// Left alone because the host showed distress.
    Distress,
    /// The job's time was over first.
    Expired,
    /// The host takes connections on every port, as a SYN proxy or a tarpit does: what stands behind it on this one
    /// was not learned.
    OpenAll,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::SynAck,
        Self::Refused,
        Self::NoAnswer,
        Self::HostUnreachable,
        Self::NetUnreachable,
        Self::Prohibited,
        Self::PortUnreachable,
        Self::OtherError,
        Self::Excluded,
        Self::Cancelled,
        Self::LocalLimit,
        Self::Distress,
        Self::Expired,
        Self::OpenAll,
    ];

    /// The state that follows from it.
    #[must_use]
    pub const fn state(self) -> State {
        match self {
            Self::SynAck => State::Open,
            Self::Refused => State::Closed,
            Self::NoAnswer => State::Filtered,
            Self::HostUnreachable
            | Self::NetUnreachable
            | Self::Prohibited
            | Self::PortUnreachable
            | Self::OtherError => State::Unreachable,
            Self::Excluded
            | Self::Cancelled
            | Self::LocalLimit
            | Self::Distress
            | Self::Expired
            | Self::OpenAll => State::NotProbed,
        }
    }

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SynAck => "syn-ack",
            Self::Refused => "refused",
            Self::NoAnswer => "no-answer",
            Self::HostUnreachable => "host-unreachable",
            Self::NetUnreachable => "net-unreachable",
            Self::Prohibited => "prohibited",
            Self::PortUnreachable => "port-unreachable",
            Self::OtherError => "other-error",
            Self::Excluded => "excluded",
            Self::Cancelled => "cancelled",
            Self::LocalLimit => "local-limit",
            Self::Distress => "distress",
            Self::Expired => "expired",
            Self::OpenAll => "open-all",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownReason;

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a known reason")
    }
}

impl std::error::Error for UnknownReason {}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(UnknownReason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_and_every_state_has_one() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
        for state in State::ALL {
            assert!(Reason::ALL.iter().any(|reason| reason.state() == state), "{state}");
        }
    }
}
