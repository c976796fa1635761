//! What a scan by hand prints: text for people, JSON lines for programs, and the formats of [`output`].

/// Adds a line to a text.
macro_rules! put {
    ($text:expr, $($line:tt)*) => {
        writeln!($text, $($line)*).expect("writing to a String does not fail")
    };
}

mod csv;
mod nmap;
pub mod output;

use std::fmt::Write as _;

use portolan_scanner::net::{Ports, u128_to_addr};
use portolan_scanner::recall::{percent, percent_of, recall_at_least};
use portolan_scanner::wire::{Certificate, HostRecord, Said, Sample, State, Text, hex};
use std::net::SocketAddr;

/// How many pairs have each state, in the order of [`State::ALL`].
pub type Counts = [u128; 5];

/// How a scan by hand ended.
#[derive(Clone, Copy, Debug)]
pub struct Closing<'a> {
    /// `done`, `interrupted` or `failed`.
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
    /// What probing a sample a second time showed.
    pub sample: Sample,
}

impl Closing<'_> {
    /// How complete the answer is, or why that is not known.
    fn recall(&self) -> String {
        let Sample { probed, answered, .. } = self.sample;
        match recall_at_least(&self.sample) {
            Some(bound) => {
                format!("recall ≥ {} % (95 % confidence, {answered} answered samples)", percent(bound))
            }
            None if probed == 0 => "recall not measured: too few probes for a sample".into(),
            None => {
                format!("recall not measured: of {probed} pairs that were probed a second time none answered")
            }
        }
    }
}

/// One line for each open port, one for the host or the range of hosts.
pub fn host_text(host: &HostRecord, ports: &Ports, text: &mut String) {
    let address = u128_to_addr(host.first);
    for port in host.exceptions.iter().filter(|port| port.reason.state() == State::Open) {
        let socket = SocketAddr::new(address, port.first);
        let (millis, micros) = (port.rtt_us / 1_000, port.rtt_us % 1_000);
        let hint =
            hint_of(host, port.first).map_or(String::new(), |said| format!(" {}", words_of(said, "; ")));
        put!(text, "{socket} open {millis}.{micros:03} ms{hint}");
    }
    if host.exceptions.is_empty() {
        put!(text, "{}: every port {} ({})", host.range(), words(host.base.state()), host.base);
    } else {
        put!(text, "{}: {}", host.range(), worded(&host.counts(ports), |count| count > 0));
    }
}

/// One line for each open port, one for the host or the range of hosts, with every port's state.
pub fn host_json(host: &HostRecord, ports: &Ports, text: &mut String) {
    let address = u128_to_addr(host.first);
    for port in host.exceptions.iter().filter(|port| port.reason.state() == State::Open) {
        put!(
            text,
            r#"{{"type":"port","address":"{address}","port":{},"state":"open","reason":"{}","rtt_us":{}{}}}"#,
            port.first,
            port.reason,
            port.rtt_us,
            hint_of(host, port.first).map_or(String::new(), json_hint)
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
    put!(
        text,
        r#"{{"type":"host","first":"{address}","last":"{}","hosts":{},{},"base":{{"state":"{}","reason":"{}"}},"exceptions":[{exceptions}]}}"#,
        u128_to_addr(host.last),
        host.last - host.first + 1,
        json_counts(&host.counts(ports)),
        host.base.state(),
        host.base
    );
}

/// The last lines of the text.
pub fn closing_text(closing: &Closing<'_>, text: &mut String) {
    let Closing { end, hosts, unreached, probes, counts, sent, millis, .. } = closing;
    if *end != "done" {
        let missing = counts[State::NotProbed as usize];
        let hosts = match unreached {
            0 => String::new(),
            hosts => format!(", among them every port of {hosts} hosts"),
        };
        put!(text, "{end}: {missing} of {probes} probes were not made{hosts}");
    }
    put!(text, "{}", closing.recall());
    put!(
        text,
        "{hosts} hosts, {probes} probes, {sent} connection attempts in {}.{} s: {}",
        millis / 1_000,
        millis % 1_000 / 100,
        worded(counts, |_| true)
    );
}

/// The last line of the JSON.
pub fn closing_json(closing: &Closing<'_>, text: &mut String) {
    let Closing { end, hosts, unreached, probes, counts, sent, millis, sample } = closing;
    put!(
        text,
        r#"{{"type":"summary","end":"{end}","hosts":{hosts},"hosts_not_reached":{unreached},"probes":{probes},{},"sent":{sent},"duration_ms":{millis},"recall_at_least":{},"sample":{{"probed":{},"answered":{},"missed":{}}}}}"#,
        json_counts(counts),
        // Four decimals, as the percentage has two.
        recall_at_least(sample).map_or("null".into(), |bound| format!("{:.4}", percent_of(bound) / 100.0)),
        sample.probed,
        sample.answered,
        sample.missed
    );
}

/// A state as people write it.
fn words(state: State) -> &'static str {
    match state {
        State::NotProbed => "not probed",
        other => other.as_str(),
    }
}

/// What an open port said of itself.
fn hint_of(host: &HostRecord, port: u16) -> Option<&Said> {
    host.hints.iter().find(|hint| hint.port == port).map(|hint| &hint.said)
}

/// A hint as people read it. Whatever the peer sent is escaped in it.
fn words_of(said: &Said, between: &str) -> String {
    let leaf = match said {
        Said::Banner(text) => return format!("says {text}"),
        Said::Certificate(leaf) => leaf,
    };
    let mut parts = Vec::new();
    parts.extend(leaf.subject.as_ref().map(|subject| format!("TLS {subject}")));
    if !leaf.names.is_empty() {
        parts.push(format!("for {}", joined(leaf, " ", Text::to_string)));
    }
    parts.extend(leaf.expires.map(|at| format!("until {}", date(at))));
    parts.push(format!("SHA-256 {}", hex::encode(&leaf.sha256)));
    parts.join(between)
}

fn joined(leaf: &Certificate, between: &str, write: impl Fn(&Text) -> String) -> String {
    leaf.names.iter().map(write).collect::<Vec<_>>().join(between)
}

fn json_hint(said: &Said) -> String {
    let leaf = match said {
        Said::Banner(text) => return format!(r#","says":{}"#, json_text(text)),
        Said::Certificate(leaf) => leaf,
    };
    let or_null = |value: Option<String>| value.unwrap_or_else(|| "null".into());
    format!(
        r#","tls":{{"sha256":"{}","expires_us":{},"subject":{},"names":[{}]}}"#,
        hex::encode(&leaf.sha256),
        or_null(leaf.expires.map(|at| at.to_string())),
        or_null(leaf.subject.as_ref().map(json_text)),
        joined(leaf, ",", json_text)
    )
}

/// A text as a JSON string: printable ASCII, in which only these two have a meaning.
fn json_text(text: &Text) -> String {
    format!("\"{}\"", text.as_str().replace('\\', "\\\\").replace('"', "\\\""))
}

/// The day of a moment, in UTC.
fn date(micros: i64) -> String {
    // Days from 0000-03-01, in eras of 400 years and years that begin in March.
    let days = micros.div_euclid(86_400_000_000) + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + i64::from(month <= 2))
}

/// The counts that are to be shown, in words.
fn worded(counts: &Counts, shown: impl Fn(u128) -> bool) -> String {
    let all = State::ALL.map(|state| (counts[state as usize], words(state)));
    let shown = all.into_iter().filter(|(count, _)| shown(*count));
    shown.map(|(count, state)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
}

fn json_counts(counts: &Counts) -> String {
    let parts: Vec<String> = State::ALL
        .iter()
        .map(|state| format!(r#""{}":{}"#, state.as_str().replace('-', "_"), counts[*state as usize]))
        .collect();
    parts.join(",")
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use portolan_scanner::net::addr_to_u128;
    use portolan_scanner::wire::{Hint, PortRecord, Reason};

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

    /// The same, but that two ports are open and say what they are.
    pub fn hinted() -> (HostRecord, Ports) {
        let (mut host, ports) = host();
        let text = |bytes: &[u8]| Text::escape(bytes, 256).unwrap();
        host.exceptions.insert(1, PortRecord { first: 23, last: 23, rtt_us: 900, ..host.exceptions[0] });
        let leaf = Certificate {
            sha256: [0xab; 32],
            expires: Some(1_790_000_000_000_000),
            subject: Some(text("CN=plc,O=Süd".as_bytes())),
            names: vec![text(b"plc.example"), text(b"::7")],
        };
        host.hints = vec![
            Hint { port: 22, said: Said::Banner(text(b"\x1b[1m\"SSH\"<&\\>")) },
            Hint { port: 23, said: Said::Certificate(leaf) },
        ];
        (host, ports)
    }

    #[test]
    fn what_a_port_says_is_shown_escaped() {
        let (host, ports) = hinted();
        let mut text = String::new();
        host_text(&host, &ports, &mut text);
        assert_eq!(
            text.lines().collect::<Vec<_>>()[..2],
            [
                "[::1]:22 open 1.050 ms says \\x1b[1m\"SSH\"<&\\\\>".to_owned(),
                format!(
                    "[::1]:23 open 0.900 ms TLS CN=plc,O=S\\xc3\\xbcd; for plc.example ::7; until 2026-09-21; SHA-256 {}",
                    "ab".repeat(32)
                ),
            ]
        );
        text.clear();
        host_json(&host, &ports, &mut text);
        let mut lines = text.lines();
        assert!(
            lines.next().unwrap().ends_with(r#""rtt_us":1050,"says":"\\x1b[1m\"SSH\"<&\\\\>"}"#),
            "{text}"
        );
        let tls = format!(
            r#""tls":{{"sha256":"{}","expires_us":1790000000000000,"subject":"CN=plc,O=S\\xc3\\xbcd","names":["plc.example","::7"]}}}}"#,
            "ab".repeat(32)
        );
        assert!(lines.next().unwrap().ends_with(&tls), "{text}");
    }

    #[test]
    fn a_day_is_written_as_the_calendar_has_it() {
        let days =
            [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (951_868_800, "2000-03-01"), (-1, "1969-12-31")];
        for (seconds, day) in
            days.into_iter().chain([(253_402_300_799, "9999-12-31"), (1_709_251_199, "2024-02-29")])
        {
            assert_eq!(date(seconds * 1_000_000), day);
        }
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
            sample: Sample { probed: 3, answered: 2, missed: 0 },
        };
        let mut text = String::new();
        closing_text(&closing, &mut text);
        assert_eq!(
            text,
            "interrupted: 300 of 400 probes were not made, among them every port of 2 hosts\n\
             recall ≥ 22.36 % (95 % confidence, 2 answered samples)\n\
             4 hosts, 400 probes, 100 connection attempts in 1.2 s: \
             1 open, 99 closed, 0 filtered, 0 unreachable, 300 not probed\n"
        );
        text.clear();
        closing_json(&closing, &mut text);
        assert!(
            text.trim_end()
                .ends_with(r#""recall_at_least":0.2236,"sample":{"probed":3,"answered":2,"missed":0}}"#),
            "{text}"
        );
        let silent = Closing { sample: Sample { answered: 0, ..closing.sample }, ..closing };
        assert_eq!(
            silent.recall(),
            "recall not measured: of 3 pairs that were probed a second time none answered"
        );
    }
}
