//! What was seen, as pages and JSON show it.

use std::collections::BTreeMap;

use portolan_scanner::net::u128_to_addr;
use portolan_scanner::wire::{Reason, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Observation;
use super::diff::{Change, Counts, Kind};
use crate::clock::Timestamp;
use crate::noun::Link;
use crate::scans::{self, Scan};
use crate::scope::Count;

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
    /// An observation with the names of vantages.
    pub fn of(it: &Observation, vantages: &BTreeMap<Uuid, String>) -> Self {
        let open = |open: &super::OpenPort| OpenView {
            port: open.port,
            reason: Reason::SynAck.as_str(),
            rtt_us: open.rtt_us,
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

/// One line of the CSV: a header, or a change. Cells that a spreadsheet would run as a formula are defused by an
/// apostrophe, as OWASP advises.
pub fn csv_line(cells: &[&str]) -> String {
    let cell = |text: &&str| {
        let defused = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        if defused.is_empty() && !text.contains(['"', ',', '\r', '\n']) {
            (*text).to_owned()
        } else {
            format!("\"{defused}{}\"", text.replace('"', "\"\""))
        }
    };
    let mut line = cells.iter().map(cell).collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// The header of the CSV of a diff.
pub const CSV_HEADER: [&str; 9] =
    ["kind", "vantage", "first_address", "last_address", "hosts", "ports", "probes", "before", "after"];

/// A change as a line of the CSV.
pub fn csv_change(change: &Change, vantage: &str) -> String {
    let kind = match change.kind {
        Kind::Opened => "opened",
        Kind::Closed => "closed",
        Kind::Changed => "changed",
        Kind::NotComparable => "not-comparable",
    };
    let address = |address| u128_to_addr(address).to_string();
    let hosts = Count::from(change.hosts.count());
    let state = |state: Option<State>| state.map_or("not-covered", State::as_str);
    csv_line(&[
        kind,
        vantage,
        &address(change.hosts.first),
        &address(change.hosts.last),
        &hosts.to_string(),
        &change.ports.to_string(),
        &hosts.times(change.ports.count()).to_string(),
        state(change.before),
        state(change.after),
    ])
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::results::fixture::address;
    use portolan_scanner::net::{Ports, Range};

    #[test]
    fn a_cell_is_never_a_formula_and_never_two_cells() {
        assert_eq!(csv_line(&["a", "b c", ""]), "a,b c,\r\n");
        assert_eq!(csv_line(&["22,80", "say \"x\"", "a\nb"]), "\"22,80\",\"say \"\"x\"\"\",\"a\nb\"\r\n");
        for formula in ["=1+1", "+1", "-1", "@x", "\tx", "\rx"] {
            assert!(csv_line(&[formula]).starts_with("\"'"), "{formula}");
        }
    }

    #[test]
    fn a_line_of_the_csv_keeps_the_five_states_and_no_word_apart() {
        let hosts = Range { first: address("10.0.0.1"), last: address("10.0.0.3") };
        let ports = Ports::parse("22,80-81").unwrap();
        let change = Change {
            kind: Kind::NotComparable,
            hosts,
            ports,
            before: Some(State::NotProbed),
            after: Some(State::Open),
        };
        assert_eq!(
            csv_change(&change, "=plant"),
            "not-comparable,\"'=plant\",10.0.0.1,10.0.0.3,3,\"22,80-81\",9,not-probed,open\r\n"
        );
        let change = Change { before: None, ..change };
        assert!(csv_change(&change, "plant").ends_with(",not-covered,open\r\n"));
    }
}
