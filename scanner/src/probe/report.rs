//! What a scan by hand prints: text for people, JSON lines for programs, and the formats of [`output`].

mod csv;
mod nmap;
pub mod output;

use std::fmt::Write as _;

use portolan_scanner::net::{Ports, u128_to_addr};
use portolan_scanner::wire::{HostRecord, State};
use std::net::SocketAddr;

/// How many pairs have each state, in the order of [`State::ALL`].
pub type Counts = [u128; 5];

/// How a scan by hand ended.
#[derive(Clone, Copy, Debug)]
pub struct Closing<'a> {
    /// `done`, `cancelled` or `failed`.
    pub end: &'a str,
    /// Hosts asked for.
    pub hosts: u128,
    /// Hosts of which nothing was probed.
    pub unreached: u128,
    /// Pairs asked for.
    pub probes: u128,
    /// What they were found to be.
    pub counts: Counts,
    /// Connection attempts.
    pub sent: u64,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// One line for each open port, one for the host or the range of hosts.
pub fn host_text(host: &HostRecord, ports: &Ports, text: &mut String) {
    let address = u128_to_addr(host.first);
    for port in host.exceptions.iter().filter(|port| port.reason.state() == State::Open) {
        let socket = SocketAddr::new(address, port.first);
        line(text, format_args!("{socket} open {}.{:03} ms", port.rtt_us / 1_000, port.rtt_us % 1_000));
    }
    if host.exceptions.is_empty() {
        line(text, format_args!("{}: every port {} ({})", host.range(), words(host.base.state()), host.base));
    } else {
        line(text, format_args!("{}: {}", host.range(), nonzero(&host.counts(ports))));
    }
}

/// One line for each open port, one for the host or the range of hosts, with every port's state.
pub fn host_json(host: &HostRecord, ports: &Ports, text: &mut String) {
    let address = u128_to_addr(host.first);
    for port in host.exceptions.iter().filter(|port| port.reason.state() == State::Open) {
        line(
            text,
            format_args!(
                r#"{{"type":"port","address":"{address}","port":{},"state":"open","reason":"{}","rtt_us":{}}}"#,
                port.first, port.reason, port.rtt_us
            ),
        );
    }
    let mut exceptions = String::new();
    for run in &host.exceptions {
        let comma = if exceptions.is_empty() { "" } else { "," };
        let (state, reason) = (run.reason.state(), run.reason);
        let run =
            format!(r#"{{"first":{},"last":{},"state":"{state}","reason":"{reason}"}}"#, run.first, run.last);
        exceptions.push_str(comma);
        exceptions.push_str(&run);
    }
    line(
        text,
        format_args!(
            r#"{{"type":"host","first":"{address}","last":"{}","hosts":{},{},"base":{{"state":"{}","reason":"{}"}},"exceptions":[{exceptions}]}}"#,
            u128_to_addr(host.last),
            host.last - host.first + 1,
            json_counts(&host.counts(ports)),
            host.base.state(),
            host.base,
        ),
    );
}

/// The last lines of the text.
pub fn closing_text(closing: &Closing<'_>, text: &mut String) {
    let Closing { end, hosts, unreached, probes, counts, sent, millis } = closing;
    if *end != "done" {
        let missing = counts[State::NotProbed as usize];
        line(
            text,
            format_args!(
                "{end}: {missing} of {probes} probes were not made, among them every port of {unreached} hosts"
            ),
        );
    }
    let all: Vec<String> =
        State::ALL.iter().map(|state| format!("{} {}", counts[*state as usize], words(*state))).collect();
    line(
        text,
        format_args!(
            "{hosts} hosts, {probes} probes, {sent} connection attempts in {}.{} s: {}",
            millis / 1_000,
            millis % 1_000 / 100,
            all.join(", ")
        ),
    );
}

/// The last line of the JSON.
pub fn closing_json(closing: &Closing<'_>, text: &mut String) {
    let Closing { end, hosts, unreached, probes, counts, sent, millis } = closing;
    line(
        text,
        format_args!(
            r#"{{"type":"summary","end":"{end}","hosts":{hosts},"hosts_not_reached":{unreached},"probes":{probes},{},"sent":{sent},"duration_ms":{millis}}}"#,
            json_counts(counts),
        ),
    );
}

/// A state as people write it.
fn words(state: State) -> &'static str {
    match state {
        State::NotProbed => "not probed",
        other => other.as_str(),
    }
}

fn nonzero(counts: &Counts) -> String {
    let parts: Vec<String> = State::ALL
        .iter()
        .filter(|state| counts[**state as usize] > 0)
        .map(|state| format!("{} {}", counts[*state as usize], words(*state)))
        .collect();
    parts.join(", ")
}

fn json_counts(counts: &Counts) -> String {
    let parts: Vec<String> = State::ALL
        .iter()
        .map(|state| format!(r#""{}":{}"#, state.as_str().replace('-', "_"), counts[*state as usize]))
        .collect();
    parts.join(",")
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("writing to a String does not fail");
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use portolan_scanner::net::addr_to_u128;
    use portolan_scanner::wire::{PortRecord, Reason};

    pub fn host() -> (HostRecord, Ports) {
        let at = addr_to_u128("::1".parse().unwrap());
        let open = PortRecord { first: 22, last: 22, reason: Reason::SynAck, rtt_us: 1_050 };
        let run = PortRecord { first: 80, last: 82, reason: Reason::NoAnswer, rtt_us: 0 };
        let host = HostRecord {
            first: at,
            last: at,
            base: Reason::Refused,
            exceptions: vec![open, run],
            hints: Vec::new(),
        };
        (host, Ports::parse("20-29,80-90").unwrap())
    }

    #[test]
    fn an_open_port_can_be_pasted_and_the_host_is_summed_up() {
        let (host, ports) = host();
        let mut text = String::new();
        host_text(&host, &ports, &mut text);
        assert_eq!(text, "[::1]:22 open 1.050 ms\n::1: 1 open, 17 closed, 3 filtered\n");
    }

    #[test]
    fn json_tells_every_port_of_a_host() {
        let (host, ports) = host();
        let mut text = String::new();
        host_json(&host, &ports, &mut text);
        let mut lines = text.lines();
        let port =
            r#"{"type":"port","address":"::1","port":22,"state":"open","reason":"syn-ack","rtt_us":1050}"#;
        assert_eq!(lines.next(), Some(port));
        let host = lines.next().unwrap();
        assert!(
            host.contains(r#""open":1,"closed":17,"filtered":3,"unreachable":0,"not_probed":0,"#),
            "{host}"
        );
        assert!(host.ends_with(
            r#""exceptions":[{"first":22,"last":22,"state":"open","reason":"syn-ack"},{"first":80,"last":82,"state":"filtered","reason":"no-answer"}]}"#
        ));
    }

    #[test]
    fn an_interrupted_scan_says_what_was_not_probed() {
        let closing = Closing {
            end: "interrupted",
            hosts: 4,
            unreached: 2,
            probes: 400,
            counts: [1, 99, 0, 0, 300],
            sent: 100,
            millis: 1_250,
        };
        let mut text = String::new();
        closing_text(&closing, &mut text);
        assert_eq!(
            text,
            "interrupted: 300 of 400 probes were not made, among them every port of 2 hosts\n\
             4 hosts, 400 probes, 100 connection attempts in 1.2 s: \
             1 open, 99 closed, 0 filtered, 0 unreachable, 300 not probed\n"
        );
    }
}
