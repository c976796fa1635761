//! SYN packets over a real link: two network namespaces of this test, and a cable between them.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::probe::clock::Clock;
use crate::probe::guard::Guard;
use crate::probe::method::Method;
use crate::probe::method::contract_tests::{Site, kept};
use crate::probe::pace::SECOND;
use crate::probe::schedule::{Next, Schedule};
use crate::probe::testing::job;
use portolan_scanner::wire;

/// Two namespaces; the one called `near` scans the one called `far`. They go when this does.
struct Cable(String);

impl Cable {
    /// `None`, with the reason printed, where none can be made.
    fn lay(name: &str) -> Option<Self> {
        let cable = Self(format!("portolan-unit-{name}-{}", std::process::id()));
        let made = Command::new("ip").args(["netns", "add", &cable.end("near")]).output();
        if !made.as_ref().is_ok_and(|output| output.status.success()) {
            println!("skipped: no network namespace can be made here ({made:?})");
            return None;
        }
        let (near, far) = (cable.end("near"), cable.end("far"));
        ip(&format!("netns add {far}"));
        ip(&format!("-n {near} link add cable type veth peer name cable netns {far}"));
        for (end, host) in [(&near, 1), (&far, 2)] {
            ip(&format!("-n {end} link set lo up"));
            ip(&format!("-n {end} link set cable up"));
            ip(&format!("-n {end} addr add 10.96.0.{host}/24 dev cable"));
            ip(&format!("-n {end} addr add fd96::{host}/64 dev cable nodad"));
        }
        ip(&format!("-n {near} route add 10.96.1.0/24 via 10.96.0.2"));
        ip(&format!("-n {near} route add fd96:1::/64 via fd96::2"));
        ip(&format!("-n {far} route add blackhole 10.96.1.1"));
        ip(&format!("-n {far} route add blackhole fd96:1::1"));
        Some(cable)
    }

    fn end(&self, which: &str) -> String {
        format!("{}-{which}", self.0)
    }

    /// Runs a helper of this file at one end.
    fn run(&self, which: &str, helper: &str) -> Child {
        let test = format!("probe::syn::tests::{helper}");
        Command::new("ip")
            .args(["netns", "exec", &self.end(which)])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &test, "--nocapture"])
            .env("PORTOLAN_TEST_END", which)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for which in ["near", "far"] {
            let _ = Command::new("ip").args(["netns", "delete", &self.end(which)]).status();
        }
    }
}

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Not a test of its own: what listens at the far end.
#[test]
fn helper_listens() {
    if std::env::var("PORTOLAN_TEST_END").is_err() {
        return;
    }
    let _listeners = ["10.96.0.2:80", "[fd96::2]:80"].map(|at| TcpListener::bind(at).unwrap());
    println!("listening");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Not a test of its own: what scans at the near end.
#[test]
fn helper_scans() {
    if std::env::var("PORTOLAN_TEST_END").is_err() {
        return;
    }
    for [open, closed, silent] in
        [["10.96.0.2:80", "10.96.0.2:81", "10.96.1.1:80"], ["[fd96::2]:80", "[fd96::2]:81", "[fd96:1::1]:80"]]
    {
        let [open, closed, silent] = [open, closed, silent].map(|at| at.parse::<SocketAddr>().unwrap());
        let site = Site { open, closed, silent: Some(silent) };
        for by in [wire::Method::Syn, wire::Method::Connect] {
            let job = Job { method: by, ..job(&format!("{}, {}", open.ip(), silent.ip()), "1") };
            kept(&site, |input| {
                let method = Method::open(&job, input).unwrap();
                assert_eq!(method.sockets().is_empty(), by == wire::Method::Connect);
                method
            });
        }
    }
    println!("kept");
}

#[test]
fn it_keeps_the_contract_of_a_method() {
    let Some(cable) = Cable::lay("syn") else { return };
    let mut far = cable.run("far", "helper_listens");
    let mut lines = BufReader::new(far.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().ends_with("listening")));
    let near = cable.run("near", "helper_scans").wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&near.stdout);
    assert!(near.status.success() && said.contains("kept\n"), "{said}");
    drop(far.stdin.take());
    far.wait().unwrap();
}

#[test]
fn source_ports_lie_beside_those_of_the_kernel() {
    assert_eq!(beside(32_768, 60_999), (24_576, 8_192));
    assert_eq!(beside(1_024, 50_000), (50_001, 8_192));
    assert_eq!(beside(1_024, 65_535), (57_344, 8_192));
}

/// How each probe ended, by the port that was asked.
#[derive(Default)]
struct Told {
    ends: Vec<(u16, Option<Reason>)>,
    late: Vec<(u16, Reason)>,
}

impl Ends for Told {
    fn answered(&mut self, probe: Probe, reason: Reason, _round_trip: u32) {
        self.ends.push((probe.target.port(), Some(reason)));
    }

    fn unanswered(&mut self, probe: Probe, now: Instant) -> Instant {
        self.ends.push((probe.target.port(), None));
        now
    }

    fn late(&mut self, probe: Probe, reason: Reason, _round_trip: u32) {
        self.late.push((probe.target.port(), reason));
    }

    fn put_off(&mut self, probe: Probe, _now: Instant) {
        panic!("{probe:?} was put off");
    }
}

/// The ports of an address that no kernel answers for, and what the helper at the far end makes of a SYN to each:
/// flags and how far the acknowledgement is from the right one, or an answer half a second too late.
const TRICKS: [(u16, u8, u32); 6] = [
    (1, packet::SYN | packet::ACK, 1),
    (2, packet::RST | packet::ACK, 0x8000_0000),
    (3, packet::RST, 0),
    (4, packet::SYN, 0),
    (5, packet::SYN | packet::ACK, 0),
    (6, packet::RST | packet::ACK, 0),
];
const LATE: u16 = 5;

/// Not a test of its own: answers SYNs with tricks at the far end.
#[test]
fn helper_forges() {
    if std::env::var("PORTOLAN_TEST_END").is_err() {
        return;
    }
    let links = Netlink::open().unwrap().links().unwrap();
    let take_all = [crate::sys::bpf::Instruction { code: 0x06, yes: 0, no: 0, value: 256 }];
    let mut socket = PacketSocket::open(links[0].number, &take_all).unwrap();
    println!("forging");
    let mut frame = [0; FRAME];
    let mut kept = Vec::new();
    let clock = Clock::start();
    while clock.now() < 10 * SECOND {
        kept.retain(|(at, frame): &(Instant, Vec<u8>)| {
            let due = *at <= clock.now();
            if due {
                let mut out = Frames::new();
                out.add(frame.len()).copy_from_slice(frame);
                socket.send(&mut out, 0).unwrap();
            }
            !due
        });
        let Some(length) = socket.receive(&mut frame) else {
            std::thread::sleep(std::time::Duration::from_millis(1));
            continue;
        };
        let syn = &frame[..length];
        if syn.len() == 58 && syn[12..14] == [8, 0] && syn[30..34] == [10, 96, 1, 1] {
            let port = u16::from_be_bytes([syn[36], syn[37]]);
            let Some((_, flags, off)) = TRICKS.iter().find(|trick| trick.0 == port) else { continue };
            let sequence = u32::from_be_bytes(syn[38..42].try_into().unwrap());
            let mut answer = [
                &syn[6..12],
                &syn[..6],
                &syn[12..26],
                &syn[30..34],
                &syn[26..30],
                &syn[36..38],
                &syn[34..36],
            ]
            .concat();
            answer.extend_from_slice(&[0, 0, 0, 9]);
            answer.extend_from_slice(&sequence.wrapping_add(1).wrapping_add(*off).to_be_bytes());
            answer.extend_from_slice(&[0x60, *flags, 0, 0, 0, 0, 0, 0, 2, 4, 0, 0]);
            let wait = if port == LATE { 700_000_000 } else { 0 };
            kept.push((clock.now() + wait, answer));
        }
    }
}

/// Not a test of its own: is not taken in by the tricks.
#[test]
fn helper_is_answered_with_tricks() {
    if std::env::var("PORTOLAN_TEST_END").is_err() {
        return;
    }
    let job = Job { method: wire::Method::Syn, ..job("10.96.1.1", "1-6") };
    let mut schedule = Schedule::new(job.clone(), &Guard::default()).unwrap();
    let mut syn = Method::open(&job, None).unwrap();
    let (clock, mut told) = (Clock::start(), Told::default());
    let mut sent = 0;
    while sent < TRICKS.len() {
        if let Next::Probe(probe) = schedule.next(clock.now()) {
            syn.send(probe, clock.now(), &mut told);
            sent += 1;
        }
    }
    syn.flush(clock.now(), &mut told);
    while clock.now() < 3 * SECOND / 2 {
        let now = clock.now();
        syn.wait(10, &clock, &mut told).unwrap();
        syn.expire(now, &mut told);
    }
    told.ends.sort_unstable_by_key(|(port, _)| *port);
    let mut expected: Vec<_> = (1..6).map(|port| (port, None)).collect();
    expected.push((6, Some(Reason::Refused)));
    assert_eq!(told.ends, expected);
    assert_eq!(told.late, [(LATE, Reason::SynAck)]);
    // Those without an acknowledgement do not come through the filter, or say nothing.
    assert_eq!(syn.forged(), 2);
    println!("not taken in");
}

#[test]
fn a_forged_answer_is_counted_and_not_believed_and_a_late_one_counts() {
    let Some(cable) = Cable::lay("forged") else { return };
    let mut far = cable.run("far", "helper_forges");
    let mut lines = BufReader::new(far.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().ends_with("forging")));
    let near = cable.run("near", "helper_is_answered_with_tricks").wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&near.stdout);
    assert!(near.status.success() && said.contains("not taken in\n"), "{said}");
    far.kill().unwrap();
    far.wait().unwrap();
}
