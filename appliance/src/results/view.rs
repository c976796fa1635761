//! What was seen, as pages and JSON show it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use portolan_scanner::wire::{Reason, State};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::diff::{Change, Counts, Kind};
use super::recall::Recall;
use super::{Hint, Observation, Said};
use crate::clock::Timestamp;
use crate::noun::Link;
use crate::scans::{self, Scan};
use crate::scope::Count;

/// A day, in µs.
const DAY: i64 = 86_400_000_000;

/// The five states of a port, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PortState {
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

impl From<State> for PortState {
    fn from(state: State) -> Self {
        match state {
            State::Open => Self::Open,
            State::Closed => Self::Closed,
            State::Filtered => Self::Filtered,
            State::Unreachable => Self::Unreachable,
            State::NotProbed => Self::NotProbed,
        }
    }
}

impl From<PortState> for State {
    fn from(state: PortState) -> Self {
        match state {
            PortState::Open => Self::Open,
            PortState::Closed => Self::Closed,
            PortState::Filtered => Self::Filtered,
            PortState::Unreachable => Self::Unreachable,
            PortState::NotProbed => Self::NotProbed,
        }
    }
}

/// The reason of a port's state, in its word on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ReasonWord(pub Reason);

impl TryFrom<String> for ReasonWord {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        word.parse().map(Self).map_err(|_| {
            let words = Reason::ALL.map(Reason::as_str).join(", ");
            format!("“{word}” is not a reason: {words}")
        })
    }
}

impl JsonSchema for ReasonWord {
    fn schema_name() -> Cow<'static, str> {
        "Reason".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Reason::ALL.map(Reason::as_str) })
    }
}

/// A scan, as far as it stands over its results.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ScanHead {
    /// Its id.
    pub id: Uuid,
    /// The template at the launch.
    pub template: Link,
    /// Where it stands.
    pub state: scans::State,
    /// When it was launched.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl From<Scan> for ScanHead {
    fn from(scan: Scan) -> Self {
        let Scan { id, template, template_name, state, created_at, ended_at, .. } = scan;
        Self {
            id,
            template: Link { id: template, name: template_name },
            state,
            started_at: created_at,
            ended_at,
        }
    }
}

/// An open port.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct OpenView {
    /// The port.
    pub port: u16,
    /// From what it is known.
    pub reason: &'static str,
    /// How long the answer took, in µs.
    pub rtt_us: u32,
    /// What it said of itself, if the scan wanted to know and it said something.
    pub hint: Option<HintView>,
}

/// What an open port said of itself; one of the two. Nothing of it is verified.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct HintView {
    /// The beginning of what it said unasked: printable ASCII, other bytes as `\x0a`, a backslash as two.
    pub says: Option<String>,
    /// The certificate that it showed.
    pub certificate: Option<CertificateView>,
}

/// The leaf certificate of a TLS server; what could not be read of it is missing. Texts as in [`HintView::says`].
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CertificateView {
    /// SHA-256 over the certificate (DER), hex.
    pub sha256: String,
    /// Its subject, as RFC 4514 writes it.
    pub subject: Option<String>,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// In how many whole days from now; negative when that is over.
    pub expires_in_days: Option<i64>,
}

impl HintView {
    fn of(hint: &Hint, now: Timestamp) -> Self {
        match &hint.said {
            Said::Banner(says) => Self { says: Some(says.clone()), certificate: None },
            Said::Certificate(leaf) => {
                let days = |at: Timestamp| at.micros().saturating_sub(now.micros()).div_euclid(DAY);
                let certificate = CertificateView {
                    sha256: leaf.sha256.clone(),
                    subject: leaf.subject.clone(),
                    names: leaf.names.clone(),
                    expires_at: leaf.expires,
                    expires_in_days: leaf.expires.map(days),
                };
                Self { says: None, certificate: Some(certificate) }
            }
        }
    }
}

/// Ports in one state, for one reason.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GroupView {
    /// Their state.
    pub state: PortState,
    /// From what it is known.
    pub reason: &'static str,
    /// The ports: `22,80-90`.
    pub ports: String,
    /// How many.
    pub count: u32,
}

/// What one scan saw from one vantage of a host, or of a range of hosts that are all alike.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct HostView {
    /// The address, or `first-last`.
    pub hosts: String,
    /// How many addresses.
    pub count: Count,
    /// From where.
    pub vantage: Link,
    /// When, by the appliance's clock.
    pub at: Timestamp,
    /// Its open ports.
    pub open: Vec<OpenView>,
    /// All its other ports.
    pub others: Vec<GroupView>,
}

impl HostView {
    /// An observation with the names of vantages; days are counted from `now`.
    pub fn of(it: &Observation, vantages: &BTreeMap<Uuid, String>, now: Timestamp) -> Self {
        let open = |open: &super::OpenPort| OpenView {
            port: open.port,
            reason: Reason::SynAck.as_str(),
            rtt_us: open.rtt_us,
            hint: it.hint(open.port).map(|hint| HintView::of(hint, now)),
        };
        let others = it.by_reason().into_iter().filter(|(reason, _)| *reason != Reason::SynAck);
        Self {
            hosts: it.hosts.to_string(),
            count: Count::from(it.hosts.count()),
            vantage: named(it.vantage, vantages),
            at: it.ended,
            open: it.open.iter().map(open).collect(),
            others: others
                .map(|(reason, ports)| GroupView {
                    state: reason.state().into(),
                    reason: reason.as_str(),
                    count: ports.count(),
                    ports: ports.to_string(),
                })
                .collect(),
        }
    }
}

/// How complete two scans are, as seen from one vantage.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RecallPair {
    /// From where.
    pub vantage: Link,
    /// Of the earlier scan.
    pub before: Recall,
    /// Of the later scan.
    pub after: Recall,
}

/// One line of a diff.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ChangeView {
    /// What became of these ports.
    pub kind: Kind,
    /// The address, or `first-last`.
    pub hosts: String,
    /// Whether that is one address.
    pub single: bool,
    /// The ports of each: `22,80-90`.
    pub ports: String,
    /// As seen from there.
    pub vantage: Link,
    /// The state in the earlier scan; none when that scan brought no word of them.
    pub before: Option<PortState>,
    /// The state in the later scan.
    pub after: Option<PortState>,
}

impl ChangeView {
    /// A change with the names of vantages.
    pub fn of(change: &Change, vantage: Uuid, vantages: &BTreeMap<Uuid, String>) -> Self {
        Self {
            kind: change.kind,
            hosts: change.hosts.to_string(),
            single: change.hosts.first == change.hosts.last,
            ports: change.ports.to_string(),
            vantage: named(vantage, vantages),
            before: change.before.map(PortState::from),
            after: change.after.map(PortState::from),
        }
    }
}

/// How many pairs of address and port, exactly.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CountsView {
    /// Opened.
    pub opened: Count,
    /// Closed.
    pub closed: Count,
    /// Changed between states that are not open.
    pub changed: Count,
    /// Covered by one of the two only.
    pub not_comparable: Count,
    /// Of those, covered by the earlier scan only.
    pub only_before: Count,
    /// Of those, covered by the later scan only.
    pub only_after: Count,
    /// Covered by both, in the same state.
    pub same: Count,
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        Self {
            opened: counts.opened.into(),
            closed: counts.closed.into(),
            changed: counts.changed.into(),
            not_comparable: counts.not_comparable().into(),
            only_before: counts.only_before.into(),
            only_after: counts.only_after.into(),
            same: counts.same.into(),
        }
    }
}

/// A vantage by its name; by its id, should the name be gone.
pub fn named(id: Uuid, vantages: &BTreeMap<Uuid, String>) -> Link {
    Link { id, name: vantages.get(&id).cloned().unwrap_or_else(|| id.to_string()) }
}
