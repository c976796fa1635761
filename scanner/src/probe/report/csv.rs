//! Comma-separated values: a row for each run of neighbouring ports that are alike, on one host or a range of
//! hosts that are alike. Every pair of the scan is in exactly one row; only the last field, what an open port said of
//! itself, is in quotes where there is something.

use std::fmt::Write as _;

use portolan_scanner::net::{Ports, u128_to_addr};
use portolan_scanner::wire::{HostRecord, Reason, State};

use super::{hint_of, words_of};

/// The first line.
pub const HEADER: &str = "first_address,last_address,first_port,last_port,state,reason,rtt_us,hint\n";

/// The rows of a record.
pub fn host(host: &HostRecord, ports: &Ports, text: &mut String) {
    let (first, last) = (u128_to_addr(host.first), u128_to_addr(host.last));
    let mut row = |from: u16, to: u16, reason: Reason, rtt: u32| {
        let state = reason.state();
        let rtt = if state == State::Open { rtt.to_string() } else { String::new() };
        let said = hint_of(host, from).map(|said| words_of(said, "; ").replace('"', "\"\""));
        let said = said.map_or(String::new(), |said| format!("\"{said}\""));
        put!(text, "{first},{last},{from},{to},{state},{reason},{rtt},{said}");
    };
    let mut exceptions = host.exceptions.iter().peekable();
    for (from, to) in ports.iter() {
        // What of this run is not yet written; in 32 bits, as it may end beyond the last port.
        let (mut next, to) = (u32::from(from), u32::from(to));
        while next <= to {
            let ahead = exceptions.peek().filter(|run| u32::from(run.first) <= to);
            let end = ahead.map_or(to + 1, |run| u32::from(run.first));
            if next < end {
                row(narrow(next), narrow(end - 1), host.base, 0);
            }
            if ahead.is_some()
                && let Some(run) = exceptions.next()
            {
                row(run.first, run.last, run.reason, run.rtt_us);
                next = u32::from(run.last) + 1;
            } else {
                next = end;
            }
        }
    }
}

fn narrow(port: u32) -> u16 {
    u16::try_from(port).expect("between two ports lie ports")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::report::tests::{hinted, host as example};
    use portolan_scanner::wire::PortRecord;

    #[test]
    fn every_port_is_in_one_row() {
        let (record, ports) = example();
        let mut text = String::new();
        host(&record, &ports, &mut text);
        assert_eq!(
            text,
            "::1,::1,20,21,closed,refused,,\n::1,::1,22,22,open,syn-ack,1050,\n::1,::1,23,29,closed,refused,,\n\
             ::1,::1,80,82,filtered,no-answer,,\n::1,::1,83,90,closed,refused,,\n"
        );
    }

    #[test]
    fn what_a_port_says_is_in_quotes() {
        let (record, ports) = hinted();
        let mut text = String::new();
        host(&record, &ports, &mut text);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], r#"::1,::1,22,22,open,syn-ack,1050,"says \x1b[1m""SSH""<&\\>""#);
        assert!(
            lines[2].starts_with(r#"::1,::1,23,23,open,syn-ack,900,"TLS CN=plc,O=S\xc3\xbcd; for "#),
            "{text}"
        );
    }

    #[test]
    fn the_last_port_of_all_can_be_an_exception() {
        let last = PortRecord { first: 65_535, last: 65_535, reason: Reason::NoAnswer, rtt_us: 0 };
        let record = HostRecord {
            first: 1,
            last: 1,
            base: Reason::Refused,
            exceptions: vec![last],
            hints: Vec::new(),
        };
        let mut text = String::new();
        host(&record, &Ports::parse("65534-65535").unwrap(), &mut text);
        assert_eq!(text.lines().count(), 2);
    }
}
