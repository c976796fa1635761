//! What the pages of scans show.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{BatchState, State};
use crate::clock::Timestamp;
use crate::noun::Link;
use crate::results::recall::Recall;
use crate::scope::{Manner, Timing};

/// A scan in a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ScanRow {
    /// The id.
    pub id: Uuid,
    /// The template at the launch.
    pub template: Link,
    /// Where it stands.
    pub state: State,
    /// When it was launched.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Hosts x ports x vantages.
    pub probes: u64,
    /// Of those, how many are done: as its scanners say while it runs, as the results say once it has ended.
    pub done: u64,
    /// Open ports.
    pub open: u64,
    /// Who launched it.
    pub by: String,
}

/// A scan with everything its page shows.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ScanView {
    /// What a list shows.
    #[serde(flatten)]
    pub row: ScanRow,
    /// Hosts in scope.
    pub hosts: u64,
    /// Probes per second, all scanners together.
    pub rate: u64,
    /// How long it may still take, in seconds, at that rate.
    pub seconds_left: Option<u64>,
    /// Probes without a result; counted once it has ended.
    pub not_covered_probes: u64,
    /// Why it did not complete.
    pub detail: Option<String>,
    /// The addresses, canonical.
    pub targets: String,
    /// What the site's exclusions took out of them at the launch, canonical.
    pub excluded: String,
    /// Those of the targets that have been excluded since: not probed from then on.
    pub excluded_since: String,
    /// The ports, canonical.
    pub ports: String,
    /// SHA-256 of the frozen scope, hex.
    pub scope_sha256: String,
    /// How fast and how patiently, each number decided.
    pub timing: Timing,
    /// What is done to a port, and to whose.
    #[serde(flatten)]
    pub manner: Manner,
    /// By vantage.
    pub vantages: Vec<VantageView>,
    /// What was not covered, once it has ended; at most 200 rows.
    pub not_covered: Vec<NotCovered>,
    /// Its batches, at most 1,000: beyond that, those that are not done come first.
    pub batches: Vec<BatchView>,
    /// How many it has.
    pub batches_total: usize,
}

/// A scan as seen from one vantage.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VantageView {
    /// The vantage.
    pub id: Uuid,
    /// Its name at the launch.
    pub name: String,
    /// Hosts x ports.
    pub probes: u64,
    /// Of those, how many are done.
    pub done: u64,
    /// Open, in the results.
    pub open: u64,
    /// Closed: refused.
    pub closed: u64,
    /// Filtered: no answer.
    pub filtered: u64,
    /// Unreachable.
    pub unreachable: u64,
    /// Not probed, or no word of it (yet).
    pub not_probed: u64,
    /// Hosts that take connections on every port: what is behind which was not learned.
    pub open_all_hosts: u64,
    /// Hosts that were left alone because they showed distress.
    pub distress_hosts: u64,
    /// How complete the answer is.
    pub recall: Recall,
}

/// A part of the scope without a result.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NotCovered {
    /// From where.
    pub vantage: String,
    /// The hosts.
    pub hosts: String,
    /// Why.
    pub reason: String,
    /// Pairs of host and port.
    pub probes: u64,
    /// The reason by which the page of hosts names them; none for hosts of which there is no word at all.
    pub named_by: Option<&'static str>,
}

/// A batch with its latest job.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BatchView {
    /// The number in the scan.
    pub number: u32,
    /// Where it stands.
    pub state: BatchState,
    /// Who has or had its latest job.
    pub scanner: Option<Link>,
    /// Hosts x ports.
    pub probes: u64,
    /// Of those, how many are done.
    pub done: u64,
    /// Open ports.
    pub open: u64,
    /// Probes per second.
    pub rate: u64,
    /// How many jobs were signed for it.
    pub epoch: u32,
    /// The scanner's last sign of life under the latest.
    pub renewed_at: Option<Timestamp>,
    /// Why it is not done.
    pub detail: Option<String>,
}
