//! What holds of the method, however it sends.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::*;
use crate::probe::guard::Guard;
use crate::probe::pace::SECOND;
use crate::probe::schedule::{Next, Schedule};
use crate::probe::testing::job;

/// Sockets that behave as named.
pub struct Site {
    pub open: SocketAddr,
    pub closed: SocketAddr,
    /// One that does not answer, where there is one.
    pub silent: Option<SocketAddr>,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Answered(Reason),
    Late(Reason),
    Unanswered,
    PutOff,
}

#[derive(Default)]
struct Heard(Vec<(Probe, Told)>);

impl Ends for Heard {
    fn answered(&mut self, probe: Probe, reason: Reason, round_trip: u32) {
        assert!(round_trip < 1_000_000, "{round_trip} µs here");
        self.0.push((probe, Told::Answered(reason)));
    }

    fn unanswered(&mut self, probe: Probe, now: Instant) -> Instant {
        assert!(now >= probe.span.until, "it has its time");
        self.0.push((probe, Told::Unanswered));
        now
    }

    fn late(&mut self, probe: Probe, reason: Reason, _round_trip: u32) {
        self.0.push((probe, Told::Late(reason)));
    }

    fn put_off(&mut self, probe: Probe, _now: Instant) {
        self.0.push((probe, Told::PutOff));
    }
}

/// One that is given up half a second after `now`.
fn probe_at(target: SocketAddr, now: Instant) -> Probe {
    let mut job = job(&target.ip().to_string(), &target.port().to_string());
    job.timeout_ms = 500;
    match Schedule::new(job, &Guard::default()).unwrap().next(now) {
        Next::Probe(probe) => probe,
        other => panic!("{other:?}"),
    }
}

/// Goes on until so many probes have ended.
fn until(count: usize, method: &mut Method, clock: &Clock, heard: &mut Heard) {
    let begun = clock.now();
    while heard.0.len() < count {
        let now = clock.now();
        assert!(now < begun + 10 * SECOND, "{count} were to end, {:?} have", heard.0);
        method.flush(now, heard);
        method.wait(10, clock, heard).unwrap();
        method.expire(now, heard);
    }
}

/// Passes if the method that `open` makes keeps the contract.
pub fn kept(site: &Site, open: impl Fn(Option<BorrowedFd<'_>>) -> Method) {
    every_probe_ends_once_and_as_its_port_is(site, &mut open(None));
    one_that_is_silent_is_given_up_in_its_time(site, &mut open(None));
    what_is_abandoned_is_not_told_of(site, &mut open(None));
    orders_end_a_wait_and_are_left_to_read(&open);
}

fn every_probe_ends_once_and_as_its_port_is(site: &Site, method: &mut Method) {
    let (clock, mut heard) = (Clock::start(), Heard::default());
    // What it has to learn of the way, it learns by one.
    method.send(probe_at(site.open, clock.now()), clock.now(), &mut heard);
    until(1, method, &clock, &mut heard);
    heard.0.clear();
    for _ in 0..50 {
        for target in [site.open, site.closed] {
            assert_eq!(method.full(clock.now()), None);
            method.send(probe_at(target, clock.now()), clock.now(), &mut heard);
        }
        method.flush(clock.now(), &mut heard);
    }
    until(100, method, &clock, &mut heard);
    method.wait(20, &clock, &mut heard).unwrap();
    method.expire(clock.now() + 10 * SECOND, &mut heard);
    let told = |target, reason| {
        heard
            .0
            .iter()
            .filter(|(probe, told)| (probe.target, *told) == (target, Told::Answered(reason)))
            .count()
    };
    assert_eq!((told(site.open, Reason::SynAck), told(site.closed, Reason::Refused)), (50, 50));
    assert_eq!(heard.0.len(), 100);
    assert_eq!((method.next_expiry(), method.connect.starved()), (None, None));
}

fn one_that_is_silent_is_given_up_in_its_time(site: &Site, method: &mut Method) {
    let Some(silent) = site.silent else { return };
    let (clock, mut heard) = (Clock::start(), Heard::default());
    let sent = clock.now();
    method.send(probe_at(silent, sent), sent, &mut heard);
    method.flush(sent, &mut heard);
    assert_eq!(method.next_expiry(), Some(sent + SECOND / 2));
    while clock.now() < sent + SECOND / 4 {
        method.wait(10, &clock, &mut heard).unwrap();
    }
    method.expire(sent + SECOND / 4, &mut heard);
    assert_eq!(heard.0, [], "it has a quarter of a second left");
    until(1, method, &clock, &mut heard);
    assert!(clock.now() >= sent + SECOND / 2);
    assert_eq!((heard.0[0].0.target, heard.0[0].1), (silent, Told::Unanswered));
}

fn what_is_abandoned_is_not_told_of(site: &Site, method: &mut Method) {
    let (clock, mut heard) = (Clock::start(), Heard::default());
    for target in site.silent.into_iter().chain([site.closed]) {
        method.send(probe_at(target, clock.now()), clock.now(), &mut Heard::default());
    }
    method.abandon();
    method.wait(20, &clock, &mut heard).unwrap();
    method.expire(clock.now() + 10 * SECOND, &mut heard);
    assert_eq!(heard.0, []);
    method.send(probe_at(site.open, clock.now()), clock.now(), &mut heard);
    until(1, method, &clock, &mut heard);
    assert_eq!(heard.0[0].1, Told::Answered(Reason::SynAck), "it goes on after that");
}

fn orders_end_a_wait_and_are_left_to_read(open: impl Fn(Option<BorrowedFd<'_>>) -> Method) {
    let (mut far, mut near) = UnixStream::pair().unwrap();
    let (clock, mut method) = (Clock::start(), open(Some(near.as_fd())));
    assert!(!method.wait(0, &clock, &mut Heard::default()).unwrap());
    far.write_all(b"go").unwrap();
    assert!(method.wait(60_000, &clock, &mut Heard::default()).unwrap());
    let mut order = [0; 2];
    near.read_exact(&mut order).unwrap();
    assert_eq!(&order, b"go");
    assert!(clock.now() < 30 * SECOND, "the wait was cut short");
}
