//! What is asked of the store, and where a page of answers goes on.

use portolan_scanner::net::Range;
use portolan_scanner::wire::{Reason, State};
use uuid::Uuid;

use super::STRIDE;
use crate::clock::Timestamp;

/// Which hosts of a scan; what is `None` does not narrow.
#[derive(Clone, Debug)]
pub struct HostQuery {
    /// The scan.
    pub scan: Uuid,
    /// As seen from there only.
    pub vantage: Option<Uuid>,
    /// Hosts, or ranges of hosts, that touch this range.
    pub within: Option<Range>,
    /// Hosts that were asked about this port.
    pub port: Option<u16>,
    /// Hosts with a port (or, if one is named, that port) in this state.
    pub state: Option<State>,
    /// Hosts with a port (or, if one is named, that port) that has its state for this reason.
    pub reason: Option<Reason>,
    /// Only what comes after this.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: usize,
    /// What open ports said comes along.
    pub hints: bool,
}

impl HostQuery {
    /// All hosts of a scan.
    pub fn of(scan: Uuid) -> Self {
        Self {
            scan,
            vantage: None,
            within: None,
            port: None,
            state: None,
            reason: None,
            after: None,
            limit: STRIDE,
            hints: false,
        }
    }
}

/// Which observations of one host; what is `None` does not narrow.
#[derive(Clone, Debug)]
pub struct SeenQuery {
    /// The host.
    pub address: u128,
    /// In this scan only.
    pub scan: Option<Uuid>,
    /// From each vantage the newest only.
    pub newest: bool,
    /// Only what comes after this.
    pub after: Option<Moment>,
    /// At most so many.
    pub limit: usize,
}

impl SeenQuery {
    /// The newest observations of a host, in whatever scan.
    pub fn of(address: u128, limit: usize) -> Self {
        Self { address, scan: None, newest: false, after: None, limit }
    }
}

/// A place in the order of [`super::Store::host`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When the block of the host was ended.
    pub ended: Timestamp,
    /// The store's own number for (scan, vantage).
    pub sweep: i32,
}

/// A place in the order of [`super::Store::hosts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First address of the entry.
    pub address: u128,
    /// The store's own number for (scan, vantage).
    pub sweep: i32,
}
