//! A scan and what it consists of: its frozen scope, who may do it, its batches.

use portolan_scanner::net::{Ports, Ranges};
use portolan_scanner::wire::hex;
use uuid::Uuid;

use super::{BatchState, State};
use crate::clock::Timestamp;
use crate::scope::{Manner, Timing};
use crate::secrets::sha256;

/// A scan as it was launched and as it stands.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The id.
    pub id: Uuid,
    /// The template it was launched from, which may be gone.
    pub template: Uuid,
    /// The template's name then.
    pub template_name: String,
    /// The hash that names the frozen scope.
    pub frozen_scope: String,
    /// How fast and how patiently it probes.
    pub timing: Timing,
    /// What it does to a port, and to whose.
    pub manner: Manner,
    /// The key of every random order.
    pub seed: [u8; 16],
    /// Hosts in scope.
    pub hosts: u64,
    /// Hosts x ports x vantages.
    pub probes: u64,
    /// Where it stands.
    pub state: State,
    /// Why it did not complete.
    pub detail: Option<String>,
    /// Those of its targets that were excluded by the time it ended.
    pub excluded_since: Ranges,
    /// Who launched it.
    pub by: String,
    /// When.
    pub created_at: Timestamp,
    /// When its first job was signed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A scope as it was when a scan was launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// The addresses.
    pub targets: Ranges,
    /// What the site's exclusions took out of them.
    pub excluded: Ranges,
    /// The ports of each.
    pub ports: Ports,
}

impl Frozen {
    /// SHA-256, hex, over `portolan-scope-v1`, the targets, what was excluded of them, and the ports, a line each.
    #[must_use]
    pub fn name(&self) -> String {
        let Self { targets, excluded, ports } = self;
        hex::encode(&sha256(format!("portolan-scope-v1\n{targets}\n{excluded}\n{ports}\n").as_bytes()))
    }
}

/// A scanner that may do batches of a scan, and where it stood at the launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The scanner.
    pub scanner: Uuid,
    /// Its vantage.
    pub vantage: Uuid,
    /// The vantage's name then.
    pub vantage_name: String,
}

/// A batch as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The number in the scan, from 1.
    pub number: u32,
    /// From where.
    pub vantage: Uuid,
    /// Place of its first host in the scope.
    pub first_host: u64,
    /// How many hosts.
    pub hosts: u64,
    /// Hosts x ports.
    pub probes: u64,
    /// Where it stands.
    pub state: BatchState,
    /// How many jobs were signed for it.
    pub epoch: u32,
    /// Who has or had the last of them.
    pub scanner: Option<Uuid>,
    /// Probes that have a result, once it has ended.
    pub covered: u64,
    /// Open ports, once it has ended.
    pub open: u64,
    /// Why it is not done.
    pub detail: Option<String>,
}
