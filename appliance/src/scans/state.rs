//! Where a scan and each of its batches stand, as words of the JSON and the database.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a scan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No scanner has taken any of it yet.
    Queued,
    /// At least one job was signed.
    Running,
    /// A person let it rest: no probe goes until it is resumed.
    Paused,
    /// A stop was asked for; its scanners have not all stopped yet.
    Cancelling,
    /// Every probe of the scope has a result, from every vantage.
    Completed,
    /// It ended, and something was not covered.
    Partial,
    /// A person stopped it.
    Cancelled,
    /// It ended without any result.
    Failed,
}

impl State {
    /// As it is written in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Partial => "partial",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Whether something can still happen.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Paused | Self::Cancelling)
    }
}

impl FromStr for State {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        use State::{Cancelled, Cancelling, Completed, Failed, Partial, Paused, Queued, Running};
        let all = [Queued, Running, Paused, Cancelling, Completed, Partial, Cancelled, Failed];
        all.into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BatchState {
    /// For any scanner of its vantage to take.
    Waiting,
    /// A job for it was signed.
    Running,
    /// All its blocks are in the results.
    Done,
    /// Tried as often as it will be.
    GivenUp,
    /// The scan was cancelled before it was done.
    Cancelled,
}

impl BatchState {
    /// As it is written in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::GivenUp => "given-up",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether something can still happen.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Running)
    }
}

impl FromStr for BatchState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Waiting, Self::Running, Self::Done, Self::GivenUp, Self::Cancelled];
        all.into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}
