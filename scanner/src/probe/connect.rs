//! Probes by connecting, with non-blocking sockets and epoll. No privileges are needed.
//!
//! A connect costs two system calls where the port is closed, the commonest case: one starts it and one asks how
//! it ended, and the socket that was refused connects again. More sockets are only opened when nothing waits to
//! be read, so the number in flight follows the round-trip time by itself, up to its bound.
//!
//! Where this machine has one address only, sockets are given it and a port before the scan: each connect then asks for one
//! route, not three, and looks for no port, which took an eighth off its time. `io_uring` was measured too (a refused
//! connect by `IORING_OP_CONNECT`, 64 at a time, on Linux 6.18: 97,000 probes per CPU-second, where epoll had 81,000, and
//! epoll with sockets prepared so 95,000). It is not used: what a ring does, no seccomp filter sees, and hardened kernels
//! switch it off.
//!
//! What a connect cannot tell: an ICMP "port unreachable" looks like a refusal, because the kernel says
//! ECONNREFUSED for both.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use portolan_scanner::net::Ranges;
use portolan_scanner::wire::Reason;

use super::clock::Clock;
use super::flights::Place;
use super::method::Ends;
use super::outcome::{Outcome, outcome};
use super::pace::{Instant, SECOND};
use super::preset::{Close, Numbers};
use super::schedule::{Next, Probe};
use super::slots::Slots;
use crate::sys::{self, Epoll, Event};

/// Descriptors that are left for everything else in the process, the connections of the hints included.
const SPARE: u64 = 32 + super::hints::MOST as u64;

/// The token of the orders, and of what else is watched; slots have their place as token.
const INPUT: u64 = u64::MAX;
const OTHER: u64 = u64::MAX - 1;

/// How long nothing is sent after the machine had no descriptor to give.
const HOLD: u64 = SECOND / 10;

/// Connects.
#[derive(Debug)]
pub struct Connect {
    epoll: Epoll,
    events: [Event; 256],
    /// At the last wait there may have been more events than there was place for.
    full: bool,
    slots: Slots,
    close: Close,
    held_until: Instant,
    /// Since when not a single socket could be had.
    dry_since: Option<Instant>,
    /// Whether there ever was no socket, or no port for one.
    short: bool,
}

impl Connect {
    /// With as many sockets at once as the preset and the machine allow; none is open yet. Orders on `input` end a
    /// wait.
    ///
    /// # Errors
    /// What asking for descriptors says, or for the set in which they are watched.
    pub fn open(numbers: &Numbers, input: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        let wanted = u64::from(numbers.in_flight) + SPARE;
        let limit = sys::descriptor_limit(wanted)?.min(wanted).saturating_sub(SPARE);
        let epoll = Epoll::new()?;
        if let Some(input) = input {
            epoll.watch_input(input, INPUT)?;
        }
        Ok(Self {
            epoll,
            events: [Event::NONE; 256],
            full: false,
            slots: Slots::new(usize::try_from(limit).unwrap_or(usize::MAX)),
            close: numbers.close,
            held_until: 0,
            dry_since: None,
            short: false,
        })
    }

    /// Connects from this address, as far as that is quicker; all targets of its family must be reached from it.
    pub fn prepare(&mut self, source: IpAddr) {
        self.slots.prepare(source, &self.epoll);
    }

    /// Has a wait end too when there is something to read here.
    ///
    /// # Errors
    /// What watching says.
    pub fn watch(&self, other: BorrowedFd<'_>) -> io::Result<()> {
        self.epoll.watch_input(other, OTHER)
    }

    /// Ends that.
    ///
    /// # Errors
    /// What ending it says.
    pub fn unwatch(&self, other: BorrowedFd<'_>) -> io::Result<()> {
        self.epoll.unwatch(other)
    }

    /// No socket could be had: for want of descriptors or memory, or because there is no such family here.
    fn no_socket(&mut self, probe: Probe, number: i32, now: Instant, ends: &mut impl Ends) {
        if let Outcome::Answer(reason) = outcome(Err(number)) {
            return ends.answered(probe, reason, 0);
        }
        self.put_off(probe, now, ends);
        self.slots.shrink();
        self.held_until = now + HOLD;
        if self.slots.flights.flying() == 0 {
            self.dry_since.get_or_insert(now);
        }
    }

    fn put_off(&mut self, probe: Probe, now: Instant, ends: &mut impl Ends) {
        self.short = true;
        ends.put_off(probe, now);
    }

    /// Something happened at a place: asks what became of the connect there, if there is one.
    fn look(&mut self, place: Place, now: Instant, ends: &mut impl Ends) {
        let Some(flight) = self.slots.flights.at(place) else { return };
        let Some(socket) = self.slots.socket(place) else { return };
        self.judge(place, outcome(socket.connect(flight.probe.target)), now, ends);
    }

    fn judge(&mut self, place: Place, outcome: Outcome, now: Instant, ends: &mut impl Ends) {
        let Some(flight) = self.slots.flights.at(place) else { return };
        let probe = flight.probe;
        let micros = u32::try_from(now.saturating_sub(probe.span.since) / 1_000).unwrap_or(u32::MAX);
        let (reason, micros) = match outcome {
            Outcome::Pending => return,
            Outcome::Answer(reason) => {
                self.slots.end(place, true);
                (reason, micros)
            }
            Outcome::Open => {
                let (reason, measured) = self.hang_up(place);
                (reason, measured.unwrap_or(micros))
            }
            Outcome::NoAnswer | Outcome::NoRoom => {
                self.slots.end(place, true);
                return match outcome {
                    _ if flight.is_late() => {}
                    Outcome::NoRoom => self.put_off(probe, now, ends),
                    _ => _ = ends.unanswered(probe, now),
                };
            }
        };
        if flight.is_late() {
            ends.late(probe, reason, micros);
        } else {
            ends.answered(probe, reason, micros);
        }
    }

    /// Ends an open connection as the preset wants it, and gives the kernel's own measure of its round trip.
    /// One that the kernel made with itself, by choosing the very port as the source, shows that nobody
    /// listens there.
    fn hang_up(&mut self, place: Place) -> (Reason, Option<u32>) {
        let mut found = (Reason::SynAck, None);
        if let Some(socket) = self.slots.socket(place) {
            if socket.is_connected_to_itself() {
                found.0 = Reason::Refused;
            }
            found.1 = socket.round_trip();
        }
        // To disconnect an open connection resets it.
        let reset = self.close == Close::Reset;
        let reusable = reset && self.slots.socket(place).is_some_and(|socket| socket.disconnect().is_ok());
        self.slots.end(place, reusable);
        found
    }

    /// As [`super::method::Method`] has it; so are those below.
    pub fn full(&self, now: Instant) -> Option<Next> {
        if now < self.held_until {
            Some(Next::At(self.held_until))
        } else if self.slots.has_room() {
            None
        } else {
            Some(Next::Wait)
        }
    }

    pub fn send(&mut self, probe: Probe, now: Instant, ends: &mut impl Ends) {
        let place = match self.slots.take(probe.target.is_ipv6(), &self.epoll) {
            Ok(place) => place,
            Err(number) => return self.no_socket(probe, number, now, ends),
        };
        self.dry_since = None;
        let Some(socket) = self.slots.socket(place) else { return };
        let begun = socket.connect(probe.target);
        self.slots.flights.begin(place, probe, now);
        self.judge(place, outcome(begun), now, ends);
    }

    pub fn wait(&mut self, at_most_ms: u32, clock: &Clock, ends: &mut impl Ends) -> io::Result<bool> {
        let filled = self.epoll.wait(&mut self.events, at_most_ms)?;
        self.full = filled == self.events.len();
        let now = clock.now();
        let mut ordered = false;
        for at in 0..filled {
            match self.events[at].token() {
                INPUT => ordered = true,
                OTHER => {}
                place => self.look(Place::try_from(place).expect("slots have 32 bits"), now, ends),
            }
        }
        Ok(ordered)
    }

    pub fn expire(&mut self, now: Instant, ends: &mut impl Ends) {
        if self.full {
            return;
        }
        while let Some((place, flight)) =
            self.slots.flights.next_expiry().filter(|(_, flight)| flight.until <= now)
        {
            let Some(socket) = self.slots.socket(place) else { return };
            match outcome(socket.connect(flight.probe.target)) {
                Outcome::Pending => {
                    let welcome = if flight.is_late() { now } else { ends.unanswered(flight.probe, now) };
                    if welcome > now {
                        self.slots.flights.let_linger(place, welcome);
                    } else {
                        let reusable = socket.disconnect().is_ok();
                        self.slots.end(place, reusable);
                    }
                }
                ended => self.judge(place, ended, now, ends),
            }
        }
    }

    pub fn next_expiry(&self) -> Option<Instant> {
        self.slots.flights.next_expiry().map(|(_, flight)| flight.until)
    }

    /// Called once a second: what the machine could not give a while ago, it may give now.
    pub fn relax(&mut self) {
        self.slots.relax();
    }

    /// Since when this machine has had nothing to send a single probe with.
    pub fn starved(&self) -> Option<Instant> {
        self.dry_since
    }

    /// Whether this machine ever had no socket, or no port for one: then probes wait.
    pub fn is_short(&self) -> bool {
        self.short
    }

    pub fn abandon(&mut self) {
        while let Some((place, _)) = self.slots.flights.next_expiry() {
            self.slots.end(place, false);
        }
    }

    pub fn abandon_to(&mut self, addresses: &Ranges) {
        self.slots.end_to(addresses);
    }
}

#[cfg(test)]
mod tests {
    use crate::probe::method::Method;
    use crate::probe::method::contract_tests::{Site, kept};
    use crate::probe::testing::job;
    use std::net::TcpListener;

    #[test]
    fn it_keeps_the_contract_of_a_method() {
        for address in ["127.0.0.1", "::1"] {
            let listener = TcpListener::bind((address, 0)).unwrap();
            let open = listener.local_addr().unwrap();
            let closed = TcpListener::bind((address, 0)).unwrap().local_addr().unwrap();
            let site = Site { open, closed, silent: None };
            kept(&site, |input| Method::open(&job(address, "1"), input).unwrap());
        }
    }
}
