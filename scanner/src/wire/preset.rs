//! The manner of probing, and the numbers that a scan starts from.

use std::fmt;
use std::str::FromStr;

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

/// The manner of probing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// One connection a host at a time, closed in order.
    Gentle,
    /// What most networks bear.
    Normal,
    /// As fast as the rate allows.
    Fast,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gentle, Self::Normal, Self::Fast];

    /// The numbers it stands for when nothing else is asked for.
    #[must_use]
    #[rustfmt::skip]
    pub const fn timing(self) -> Timing {
        match self {
            Self::Gentle => Timing { rate:     500, host_rate:     10, timeout_ms: 3_000, retries: 1 },
            Self::Normal => Timing { rate:   5_000, host_rate:    500, timeout_ms: 1_000, retries: 2 },
            Self::Fast   => Timing { rate: 100_000, host_rate: 20_000, timeout_ms:   800, retries: 2 },
        }
    }

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gentle => "gentle",
            Self::Normal => "normal",
            Self::Fast => "fast",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownPreset;

impl fmt::Display for UnknownPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a preset: gentle, normal or fast")
    }
}

impl std::error::Error for UnknownPreset {}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(text: &str) -> Result<Self, UnknownPreset> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == text).ok_or(UnknownPreset)
    }
}
