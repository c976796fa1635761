//! The manner of probing, the numbers that a scan starts from, and how a port is asked.

use super::words::words;

/// How fast and how patiently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Connection attempts a second, over all hosts.
    pub rate: u32,
    /// Connection attempts a second to one host.
    pub host_rate: u32,
    /// How long an answer is waited for, in milliseconds. The kernel by itself repeats an unanswered SYN after
    /// one second.
    pub timeout_ms: u32,
    /// How often a probe without an answer is tried again.
    pub retries: u32,
}

words! {
    /// The manner of probing.
    Preset, "a preset: gentle, normal or fast":
    /// One connection a host at a time, closed in order.
    Gentle = "gentle",
    /// What most networks bear.
    Normal = "normal",
    /// As fast as the rate allows.
    Fast = "fast",
}

words! {
    /// How a port is asked.
    #[derive(Default)]
    Method, "a method: connect or syn":
    /// By connecting to it as any program does; needs no privileges.
    #[default]
    Connect = "connect",
    /// By half a handshake of the scanner's own making (RFC 9293, 3.5): SYN out, SYN-ACK or RST in. Needs
    /// `CAP_NET_RAW`; a scanner without it connects instead and says so.
    Syn = "syn",
}

impl Preset {
    /// The numbers it stands for when nothing else is asked for.
    #[rustfmt::skip]
    pub const fn timing(self) -> Timing {
        match self {
            Self::Gentle => Timing { rate:     500, host_rate:     10, timeout_ms: 3_000, retries: 1 },
            Self::Normal => Timing { rate:   5_000, host_rate:    500, timeout_ms: 1_000, retries: 2 },
            Self::Fast   => Timing { rate: 100_000, host_rate: 20_000, timeout_ms:   800, retries: 2 },
        }
    }
}
