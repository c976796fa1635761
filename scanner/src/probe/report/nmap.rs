//! XML as nmap writes it (its DTD, version 1.05, but that the scanner goes by its own name), for programs that
//! read that.
//!
//! It says less than the other formats: a host is listed if anything answered on it, the others are counted as
//! down; what was unreachable is `filtered` with nmap's name for the reason; what was not probed is left out.
//! What an open port said of itself stands where nmap's scripts `banner` and `ssl-cert` have it, in our own words.

use std::fmt::Write as _;
use std::net::IpAddr;

use portolan_scanner::net::{Ports, u128_to_addr};
use portolan_scanner::wire::{HostRecord, Job, Reason, Said, State};

use super::{Closing, hint_of, words_of};

/// The document's beginning; `command` is the command line, `started` µs UTC.
pub fn begin(job: &Job, command: &str, started: i64, text: &mut String) {
    put!(text, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE nmaprun>");
    put!(
        text,
        r#"<nmaprun scanner="portolan-scanner" args="{}" start="{}" version="{}" xmloutputversion="1.05">"#,
        escape(command),
        started / 1_000_000,
        env!("CARGO_PKG_VERSION")
    );
    put!(
        text,
        r#"<scaninfo type="{}" protocol="tcp" numservices="{}" services="{}"/>"#,
        job.method,
        job.ports.count(),
        job.ports
    );
    put!(text, "<verbose level=\"0\"/>\n<debugging level=\"0\"/>");
}

/// The hosts of a record, if anything answered there; returns how many.
pub fn host(host: &HostRecord, ports: &Ports, text: &mut String) -> u128 {
    let counts = host.counts(ports);
    let answer = [(State::Open, "syn-ack"), (State::Closed, "conn-refused")]
        .into_iter()
        .find(|(state, _)| counts[*state as usize] > 0);
    let Some((_, answer)) = answer else { return 0 };
    let inside = body(host, ports);
    for address in host.first..=host.last {
        let address = u128_to_addr(address);
        let family = if matches!(address, IpAddr::V4(_)) { "ipv4" } else { "ipv6" };
        put!(
            text,
            "<host><status state=\"up\" reason=\"{answer}\" reason_ttl=\"0\"/>\n\
                 <address addr=\"{address}\" addrtype=\"{family}\"/>\n<hostnames>\n</hostnames>\n{inside}</host>"
        );
    }
    host.range().count()
}

/// The ports of a host: open ones and other exceptions one by one, the rest as a sum.
fn body(host: &HostRecord, ports: &Ports) -> String {
    let mut text = String::from("<ports>");
    let excepted: u32 = host.exceptions.iter().map(|run| ports.count_within(run.first, run.last)).sum();
    let (rest, base) = (ports.count() - excepted, words(host.base));
    if let Some((state, reason)) = base.filter(|_| rest > 0) {
        text += &format!(
            "<extraports state=\"{state}\" count=\"{rest}\">\n\
             <extrareasons reason=\"{reason}\" count=\"{rest}\"/>\n</extraports>\n"
        );
    }
    for run in &host.exceptions {
        let Some((state, reason)) = words(run.reason) else { continue };
        for port in run.first..=run.last {
            text += &format!(
                "<port protocol=\"tcp\" portid=\"{port}\">\
                 <state state=\"{state}\" reason=\"{reason}\" reason_ttl=\"0\"/>"
            );
            if let Some(said) = hint_of(host, port) {
                let (id, words) = match said {
                    Said::Banner(text) => ("banner", text.to_string()),
                    Said::Certificate(_) => ("ssl-cert", words_of(said, "; ")),
                };
                text += &format!("<script id=\"{id}\" output=\"{}\"/>", escape(&words));
            }
            text += "</port>\n";
        }
    }
    text + "</ports>\n"
}

/// The document's end; `up` hosts were listed.
pub fn end(closing: &Closing<'_>, up: u128, ended: i64, text: &mut String) {
    let exit = if closing.end == "done" { "success" } else { "error" };
    let elapsed = format!("{}.{:02}", closing.millis / 1_000, closing.millis % 1_000 / 10);
    put!(
        text,
        "<runstats><finished time=\"{}\" elapsed=\"{elapsed}\" summary=\"{}: {} hosts in {elapsed} seconds, \
             {up} up; {}\" exit=\"{exit}\"/><hosts up=\"{up}\" down=\"{}\" total=\"{}\"/>\n</runstats>\n</nmaprun>",
        ended / 1_000_000,
        closing.end,
        closing.hosts,
        closing.recall(),
        closing.hosts - up,
        closing.hosts
    );
}

/// The state and the reason in nmap's words; it has none for what was not probed.
fn words(reason: Reason) -> Option<(&'static str, &'static str)> {
    Some(match reason {
        Reason::SynAck => ("open", "syn-ack"),
        Reason::Refused => ("closed", "conn-refused"),
        Reason::NoAnswer => ("filtered", "no-response"),
        Reason::HostUnreachable => ("filtered", "host-unreach"),
        Reason::NetUnreachable => ("filtered", "net-unreach"),
        Reason::Prohibited => ("filtered", "admin-prohibited"),
        Reason::OtherError => ("filtered", "unknown-response"),
        _ => return None,
    })
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            // No document may hold these, however written.
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::report::tests::hinted as example;
    use crate::probe::testing::job;
    use portolan_scanner::wire::Sample;

    /// The document that the parsers of others were tried on: python-libnmap 0.7.3, python-nmap 0.7.1 and nmap's
    /// DTD, which takes no scanner's name but nmap's own.
    const VECTOR: &str = include_str!("../../../tests/vectors/nmap.xml");

    #[test]
    fn the_document_is_the_one_that_other_parsers_read() {
        let (record, ports) = example();
        let mut job = job("::1, 10.0.0.1-10.0.0.3", "1");
        job.ports = ports.clone();
        let closed = HostRecord { exceptions: Vec::new(), hints: Vec::new(), ..record.clone() };
        let v4 = 0xffff_0a00_0001;
        let mut text = String::new();
        begin(&job, "portolan-scanner probe --targets \"a&<b>\"\n", 1_700_000_000_000_000, &mut text);
        let mut up = host(&record, &ports, &mut text);
        up += host(&HostRecord { first: v4, last: v4 + 1, ..closed.clone() }, &ports, &mut text);
        let silent = HostRecord { first: v4 + 2, last: v4 + 2, base: Reason::NoAnswer, ..closed };
        up += host(&silent, &ports, &mut text);
        let counts = [2, 58, 24, 0, 0];
        let sample = Sample { probed: 3, answered: 2, missed: 0 };
        let closing = Closing {
            end: "done",
            hosts: 4,
            unreached: 0,
            probes: 84,
            counts,
            sent: 84,
            millis: 1_250,
            sample,
        };
        end(&closing, up, 1_700_000_001_250_000, &mut text);
        assert_eq!(text, VECTOR);
    }

    #[test]
    fn what_was_not_probed_is_not_in_it() {
        let (record, ports) = example();
        let mut text = String::new();
        let spared = HostRecord { base: Reason::Excluded, ..record.clone() };
        assert_eq!(host(&spared, &ports, &mut text), 1);
        assert!(text.contains("portid=\"22\"") && !text.contains("extraports"), "{text}");
        text.clear();
        let excluded = HostRecord { base: Reason::Excluded, exceptions: Vec::new(), ..record };
        assert_eq!((host(&excluded, &ports, &mut text), text.as_str()), (0, ""));
    }
}
