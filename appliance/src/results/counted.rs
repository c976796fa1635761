//! What frames brought: of one, of a block, of a scan from one vantage.

use portolan_scanner::wire::{Reason, Sample, State};
use uuid::Uuid;

use crate::clock::Timestamp;

/// What became of a frame in [`super::Store::count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its key was not there yet.
    pub new: bool,
    /// This very frame is what stands under the key: not another with the same key that came before.
    pub same: bool,
    /// Ascends in the order of counting; of what stands under the key.
    pub number: u64,
    /// What it brought; the same however often it is delivered. Of what stands under the key.
    pub brought: Brought,
}

/// What a frame changed of what is known: over all frames of a scan, these sums count every pair of host and port
/// once, whatever the frames say twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// Hosts that its (scan, vantage) did not have yet.
    pub hosts: u64,
    /// Hosts that it had with holes, and now has without.
    pub replaced: u64,
    /// Pairs in one of the four states that a probe finds; less than none, where what was replaced had more.
    pub covered: i64,
    /// Open ports, likewise.
    pub open: i64,
}

/// A frame that was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Hash of the job's frame, in hex.
    pub job: String,
    /// Block of the job.
    pub block: u64,
    /// Part of the block.
    pub part: u32,
    /// Hash of the frame, in hex.
    pub frame: String,
    /// It was the block's last part.
    pub last: bool,
    /// Hosts that were counted of it, and that nobody had brought before.
    pub hosts: u64,
}

/// A scan as seen from one vantage, in sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// From where.
    pub vantage: Uuid,
    /// Hosts that there is word of.
    pub hosts: u64,
    /// Connection attempts.
    pub sent: u64,
    /// When the first probe was sent, by the appliance's clock.
    pub started: Timestamp,
    /// When the last answer came.
    pub ended: Timestamp,
    /// What was found, by reason; reasons that did not occur are left out.
    pub reasons: Vec<OfReason>,
    /// What probing a random sample of it a second time showed.
    pub sample: Sample,
}

/// How much of a sweep has a state for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfReason {
    /// The reason.
    pub reason: Reason,
    /// Pairs of host and port.
    pub probes: u128,
    /// Hosts with at least one such port.
    pub hosts: u64,
}

impl Sweep {
    /// Pairs of host and port with a result.
    pub fn covered(&self) -> u128 {
        self.sum(|reason| reason.state() != State::NotProbed)
    }

    /// Pairs of host and port in one state.
    pub fn in_state(&self, state: State) -> u128 {
        self.sum(|reason| reason.state() == state)
    }

    /// Hosts with at least one port for this reason.
    pub fn hosts_for(&self, reason: Reason) -> u64 {
        self.reasons.iter().find(|of| of.reason == reason).map_or(0, |of| of.hosts)
    }

    fn sum(&self, wanted: impl Fn(Reason) -> bool) -> u128 {
        self.reasons.iter().filter(|of| wanted(of.reason)).map(|of| of.probes).sum()
    }
}

/// Open ports of one scan from one vantage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenPorts {
    /// The scan.
    pub scan: Uuid,
    /// The vantage.
    pub vantage: Uuid,
    /// Open ports.
    pub open: u64,
    /// Hosts with at least one.
    pub hosts: u64,
}
