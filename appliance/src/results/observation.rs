//! What was seen of a host: the state of its ports, and what open ones said.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_scanner::net::{Ports, Range};
use portolan_scanner::wire::Reason;
use uuid::Uuid;

use super::diff::Seen;
use super::portset::{self, Run};
use super::{Moment, Place};
use crate::clock::Timestamp;

/// What was seen of one host, or of a range of hosts that are all alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The store's own number for (scan, vantage).
    pub sweep: i32,
    /// In which scan.
    pub scan: Uuid,
    /// From where.
    pub vantage: Uuid,
    /// The hosts.
    pub hosts: Range,
    /// The ports asked about.
    pub ports: Arc<Ports>,
    /// State and reason of every port that neither `runs` nor `open` names.
    pub base: Reason,
    /// How many ports that is.
    pub rest: u16,
    /// Runs of ports in another state, ascending.
    pub runs: Vec<(Run, Reason)>,
    /// Open ports, ascending.
    pub open: Vec<OpenPort>,
    /// What some of them said of themselves, ascending by port.
    pub hints: Vec<Hint>,
    /// When the block of these hosts was begun, by the appliance's clock.
    pub started: Timestamp,
    /// When it was ended.
    pub ended: Timestamp,
}

/// One open port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenPort {
    /// The port.
    pub port: u16,
    /// How long the answer took, in µs.
    pub rtt_us: u32,
}

/// What an open port said of itself. Texts are escaped as in the frame: printable ASCII. Nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The port.
    pub port: u16,
    /// What was learned there.
    pub said: Said,
}

/// What was learned of an open port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The beginning of what it said unasked.
    Banner(String),
    /// The certificate that it showed.
    Certificate(Certificate),
}

/// The leaf certificate of a TLS server; what could not be read of it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 over the certificate (DER), hex.
    pub sha256: String,
    /// When it expires.
    pub expires: Option<Timestamp>,
    /// Its subject, as RFC 4514 writes it.
    pub subject: Option<String>,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
}

/// A hint that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hinted {
    /// In which scan.
    pub scan: Uuid,
    /// From where.
    pub vantage: Uuid,
    /// Of which host.
    pub address: u128,
    /// When the block of this host was ended, by the appliance's clock.
    pub ended: Timestamp,
    /// What it said.
    pub hint: Hint,
}

impl Observation {
    /// Where it stands in the order of [`super::Store::hosts`].
    pub fn place(&self) -> Place {
        Place { address: self.hosts.first, sweep: self.sweep }
    }

    /// Where it stands in the order of [`super::Store::host`].
    pub fn moment(&self) -> Moment {
        Moment { ended: self.ended, sweep: self.sweep }
    }

    /// What an open port said.
    pub fn hint(&self, port: u16) -> Option<&Hint> {
        let at = self.hints.binary_search_by_key(&port, |hint| hint.port).ok()?;
        self.hints.get(at)
    }

    /// All runs but the base, open ports among them, ascending.
    pub fn exceptions(&self) -> Vec<(Run, Reason)> {
        let open = self.open.iter().map(|open| ((open.port, open.port), Reason::SynAck));
        let mut all: Vec<_> = self.runs.iter().copied().chain(open).collect();
        all.sort_unstable();
        all
    }

    /// The ports by reason, each port once: what is true of each of the hosts.
    pub fn by_reason(&self) -> Vec<(Reason, Ports)> {
        let all = portset::runs(&self.ports);
        let mut groups = BTreeMap::<Reason, Vec<Run>>::new();
        let mut named = Vec::new();
        for (run, reason) in self.exceptions() {
            let ports = portset::within(&all, run);
            for piece in ports {
                named.push(piece);
                groups.entry(reason).or_default().push(piece);
            }
        }
        if self.rest > 0 {
            groups.entry(self.base).or_default().extend(portset::subtract(&all, &named));
        }
        groups.into_iter().map(|(reason, runs)| (reason, portset::ports(&runs))).collect()
    }

    pub(super) fn seen(self) -> Seen {
        let exceptions = self.exceptions().into_iter().map(|(run, reason)| (run, reason.state())).collect();
        let Range { first, last } = self.hosts;
        Seen { first, last, ports: self.ports, base: self.base.state(), exceptions }
    }
}
