//! Results as CSV (RFC 4180): one line for each thing that can be told apart.

use portolan_scanner::net::u128_to_addr;
use portolan_scanner::wire::{Reason, State};

use super::diff::{Change, Kind};
use super::recall::Recall;
use super::view::RecallPair;
use super::{Hint, Observation, Said};
use crate::scope::Count;
use crate::web::csv;

/// The header of the CSV of a diff.
pub const DIFF_HEADER: [&str; 11] = [
    "kind",
    "vantage",
    "first_address",
    "last_address",
    "hosts",
    "ports",
    "probes",
    "before",
    "after",
    "recall_before_percent",
    "recall_after_percent",
];

/// A change as a line of the CSV.
pub fn csv_change(change: &Change, vantage: &str, recall: Option<&RecallPair>) -> String {
    let kind = match change.kind {
        Kind::Opened => "opened",
        Kind::Closed => "closed",
        Kind::Changed => "changed",
        Kind::NotComparable => "not-comparable",
    };
    let address = |address| u128_to_addr(address).to_string();
    let hosts = Count::from(change.hosts.count());
    let state = |state: Option<State>| state.map_or("not-covered", State::as_str);
    csv::line(&[
        kind,
        vantage,
        &address(change.hosts.first),
        &address(change.hosts.last),
        &hosts.to_string(),
        &change.ports.to_string(),
        &hosts.times(change.ports.count()).to_string(),
        state(change.before),
        state(change.after),
        &recall.map(|pair| pair.before.cell()).unwrap_or_default(),
        &recall.map(|pair| pair.after.cell()).unwrap_or_default(),
    ])
}

/// The header of the CSV of hosts. The last five are what an open port said of itself, names with spaces between.
pub const HOSTS_HEADER: [&str; 16] = [
    "vantage",
    "first_address",
    "last_address",
    "hosts",
    "state",
    "reason",
    "ports",
    "probes",
    "rtt_us",
    "seen_at",
    "recall_percent",
    "says",
    "tls_sha256",
    "tls_subject",
    "tls_names",
    "tls_expires_at",
];

/// An observation as lines of the CSV: one for each open port, one for the ports of each other reason.
///
/// # Errors
/// The first of `emit`.
pub fn csv_host<E>(
    it: &Observation,
    vantage: &str,
    recall: &Recall,
    mut emit: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let address = |address| u128_to_addr(address).to_string();
    let (first, last) = (address(it.hosts.first), address(it.hosts.last));
    let hosts = Count::from(it.hosts.count());
    let (many, at, recall) = (hosts.to_string(), it.ended.to_string(), recall.cell());
    let mut line = |reason: Reason, ports: &str, count: u32, rtt: &str, hint: [&str; 5]| {
        let probes = hosts.times(count).to_string();
        let (state, reason) = (reason.state().as_str(), reason.as_str());
        let seen = [vantage, &first, &last, &many, state, reason, ports, &probes, rtt, &at, &recall];
        emit(&csv::line(&[&seen[..], &hint[..]].concat()))
    };
    for open in &it.open {
        let cells = it.hint(open.port).map(hint_cells).unwrap_or_default();
        let cells = cells.each_ref().map(String::as_str);
        line(Reason::SynAck, &open.port.to_string(), 1, &open.rtt_us.to_string(), cells)?;
    }
    for (reason, ports) in it.by_reason() {
        if reason != Reason::SynAck {
            line(reason, &ports.to_string(), ports.count(), "", [""; 5])?;
        }
    }
    Ok(())
}

fn hint_cells(hint: &Hint) -> [String; 5] {
    match &hint.said {
        Said::Banner(says) => [says.clone(), String::new(), String::new(), String::new(), String::new()],
        Said::Certificate(leaf) => [
            String::new(),
            leaf.sha256.clone(),
            leaf.subject.clone().unwrap_or_default(),
            leaf.names.join(" "),
            leaf.expires.map(|at| at.to_string()).unwrap_or_default(),
        ],
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::results::fixture::address;
    use portolan_scanner::net::{Ports, Range};

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
            csv_change(&change, "=plant", None),
            "not-comparable,\"'=plant\",10.0.0.1,10.0.0.3,3,\"22,80-81\",9,not-probed,open,,\r\n"
        );
        let change = Change { before: None, ..change };
        assert!(csv_change(&change, "plant", None).ends_with(",not-covered,open,,\r\n"));
    }
}
