//! The connect scan: a schedule's probes, made with non-blocking sockets and epoll.
//!
//! A connect costs two system calls where the port is closed, the commonest case: one starts it and one asks how
//! it ended, and the socket that was refused connects again. More sockets are only opened when nothing waits to
//! be read, so the number in flight follows the round-trip time by itself, up to its bound.
//!
//! What a connect cannot tell: an ICMP "port unreachable" looks like a refusal, because the kernel says
//! ECONNREFUSED for both.

use std::io;
use std::os::fd::BorrowedFd;

use portolan_scanner::wire::Reason;

use super::clock::Clock;
use super::outcome::{Outcome, outcome};
use super::pace::{Instant, SECOND};
use super::preset::{Close, numbers};
use super::schedule::{Finished, Next, Probe, Progress, Schedule};
use super::slots::{Flight, Place, Slots};
use crate::sys::{self, Epoll, Event};

/// What drives a scan and hears of it.
pub trait Driver {
    /// Where orders come from, if they come from anywhere.
    fn input(&self) -> Option<BorrowedFd<'_>>;
    /// What it was told; `readable` says that the input has something to read, else nothing is read.
    ///
    /// # Errors
    /// Whatever reading says; it ends the scan.
    fn orders(&mut self, readable: bool) -> io::Result<Vec<Order>>;
    /// A block is settled.
    ///
    /// # Errors
    /// Whatever writing says; it ends the scan.
    fn block(&mut self, block: &Finished, clock: &Clock, now: Instant) -> io::Result<()>;
    /// Called once a second.
    ///
    /// # Errors
    /// Whatever writing says; it ends the scan.
    fn progress(&mut self, progress: Progress, now: Instant) -> io::Result<()>;
    /// Called once a second, after blocks were handed over, and before the scan is cut short. Whoever keeps the
    /// schedule, to go on another time, says so; what is begun is then not handed over at a premature end.
    ///
    /// # Errors
    /// Whatever writing says; it ends the scan.
    fn keep(&mut self, _schedule: &Schedule, _now: Instant) -> io::Result<bool> {
        Ok(false)
    }
}

/// What a driver can ask for while a scan runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End, and say what was not probed.
    Cancel,
    /// Let no further probe go.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Go on from this step of the walk.
    Start(u64),
    /// No order will come any more: nobody controls this scan.
    Gone,
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every pair is settled.
    Done,
    /// It was asked to end.
    Cancelled,
    /// This machine could not open a single socket for a long time.
    NoSockets,
}

/// Descriptors that are left for everything else in the process.
const SPARE: u64 = 32;

/// How many probes go before what came in is looked at.
const TURN: usize = 64;

/// The longest sleep: a signal that comes just before it is noticed after it.
const NAP_MS: u32 = 200;

/// How long not a single socket can be had before the scan ends.
const DROUGHT: u64 = 10 * SECOND;

/// The token of the driver's input; slots have their place as token.
const INPUT: u64 = u64::MAX;

/// How long nothing is sent after the machine had no descriptor to give.
const HOLD: u64 = SECOND / 10;

/// Works on a schedule until it is done, cancelled, or the machine has nothing to give.
///
/// # Errors
/// Whatever the driver or epoll says; results not handed over until then are lost.
pub fn run(schedule: Schedule, driver: &mut impl Driver, clock: &Clock) -> io::Result<End> {
    let numbers = numbers(schedule.job().preset);
    let wanted = u64::from(numbers.in_flight) + SPARE;
    let limit = sys::descriptor_limit(wanted)?.min(wanted).saturating_sub(SPARE);
    let epoll = Epoll::new()?;
    if let Some(input) = driver.input() {
        epoll.watch_input(input, INPUT)?;
    }
    let mut engine = Engine {
        timeout: u64::from(schedule.job().timeout_ms) * (SECOND / 1_000),
        close: numbers.close,
        slots: Slots::new(usize::try_from(limit).unwrap_or(usize::MAX)),
        schedule,
        driver,
        clock,
        epoll,
        held_until: 0,
        dry_since: None,
    };
    engine.run()
}

struct Engine<'a, D> {
    schedule: Schedule,
    driver: &'a mut D,
    clock: &'a Clock,
    epoll: Epoll,
    slots: Slots,
    timeout: u64,
    close: Close,
    held_until: Instant,
    /// Since when not a single socket could be had.
    dry_since: Option<Instant>,
}

/// Until when there is nothing to send.
enum Rest {
    Not,
    Until(Instant),
    Events,
    Done,
}

impl<D: Driver> Engine<'_, D> {
    fn run(&mut self) -> io::Result<End> {
        let mut events = [Event::NONE; 256];
        let mut tick = self.clock.now() + SECOND;
        if let Some(end) = self.obey(false)? {
            return self.stop(Reason::Cancelled, end);
        }
        loop {
            let now = self.clock.now();
            let mut rest = self.send();
            if self.hand_over()? > 0 && !matches!(rest, Rest::Done) {
                // There may be place for another block now.
                rest = Rest::Not;
            }
            if matches!(rest, Rest::Done) {
                return Ok(End::Done);
            }
            if self.dry_since.is_some_and(|since| now > since + DROUGHT) {
                return self.stop(Reason::LocalLimit, End::NoSockets);
            }
            if sys::stop_requested() {
                return self.stop(Reason::Cancelled, End::Cancelled);
            }
            let filled = self.epoll.wait(&mut events, self.nap(&rest, now, tick))?;
            let seen = self.clock.now();
            let mut ordered = false;
            for event in &events[..filled] {
                match Place::try_from(event.token()) {
                    Ok(place) => self.look(place, seen),
                    Err(_) => ordered = true,
                }
            }
            if ordered && let Some(end) = self.obey(true)? {
                return self.stop(Reason::Cancelled, end);
            }
            // An answer that came in time was among the events, as the wait began after `now`; unless there
            // were more than fit.
            if filled < events.len() {
                self.expire(now);
            }
            if seen >= tick {
                tick = seen + SECOND;
                self.slots.relax();
                self.driver.progress(self.schedule.progress(), seen)?;
                self.driver.keep(&self.schedule, seen)?;
            }
        }
    }

    /// How long to wait for events, in milliseconds.
    fn nap(&self, rest: &Rest, now: Instant, tick: Instant) -> u32 {
        let until = match rest {
            Rest::Not | Rest::Done => return 0,
            Rest::Until(at) => *at,
            Rest::Events => Instant::MAX,
        };
        let expiry = self.slots.oldest().map_or(Instant::MAX, |(_, flight)| flight.since + self.timeout);
        let nanos = until.min(expiry).min(tick).saturating_sub(now);
        u32::try_from(nanos.div_ceil(1_000_000)).unwrap_or(NAP_MS).min(NAP_MS)
    }

    /// Sends what may go, at most a turn's worth.
    fn send(&mut self) -> Rest {
        for _ in 0..TURN {
            let now = self.clock.now();
            if now < self.held_until {
                return Rest::Until(self.held_until);
            }
            if !self.slots.has_room() {
                return Rest::Events;
            }
            match self.schedule.next(now) {
                Next::Probe(probe) => self.connect(probe, now),
                Next::At(at) => return Rest::Until(at),
                Next::Wait => return Rest::Events,
                Next::Done => return Rest::Done,
            }
        }
        Rest::Not
    }

    fn connect(&mut self, probe: Probe, now: Instant) {
        let place = match self.slots.take(probe.target.is_ipv6(), &self.epoll) {
            Ok(place) => place,
            Err(number) => return self.no_socket(probe, number, now),
        };
        self.dry_since = None;
        let Some(socket) = self.slots.socket(place) else { return };
        let begun = socket.connect(probe.target);
        self.slots.begin(place, Flight { probe, since: now });
        self.judge(place, outcome(begun), now);
    }

    /// No socket could be had: for want of descriptors or memory, or because there is no such family here.
    fn no_socket(&mut self, probe: Probe, number: i32, now: Instant) {
        if let Outcome::Answer(reason) = outcome(Err(number)) {
            return self.schedule.answered(probe, reason, 0);
        }
        self.schedule.put_off(probe, now);
        self.slots.shrink();
        self.held_until = now + HOLD;
        if self.slots.flying() == 0 {
            self.dry_since.get_or_insert(now);
        }
    }

    /// Something happened at a place: asks what became of the connect there, if there is one.
    fn look(&mut self, place: Place, now: Instant) {
        let Some(flight) = self.slots.flight(place) else { return };
        let Some(socket) = self.slots.socket(place) else { return };
        self.judge(place, outcome(socket.connect(flight.probe.target)), now);
    }

    fn judge(&mut self, place: Place, outcome: Outcome, now: Instant) {
        let Some(Flight { probe, since }) = self.slots.flight(place) else { return };
        match outcome {
            Outcome::Pending => {}
            Outcome::Answer(reason) => {
                self.slots.end(place, true);
                self.schedule.answered(probe, reason, 0);
            }
            Outcome::Open => {
                let micros = u32::try_from(now.saturating_sub(since) / 1_000).unwrap_or(u32::MAX);
                let (reason, measured) = self.hang_up(place);
                self.schedule.answered(probe, reason, measured.unwrap_or(micros));
            }
            Outcome::NoAnswer => {
                self.slots.end(place, true);
                self.schedule.unanswered(probe, now);
            }
            Outcome::NoRoom => {
                self.slots.end(place, true);
                self.schedule.put_off(probe, now);
            }
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
            if self.close == Close::Reset {
                // Without it the close is an orderly one, which is no harm.
                let _ = socket.reset_on_close();
            }
        }
        self.slots.end(place, false);
        found
    }

    /// Gives up the connects whose time was over at `now`.
    fn expire(&mut self, now: Instant) {
        while let Some((place, flight)) = self.slots.oldest() {
            if flight.since + self.timeout > now {
                return;
            }
            let Some(socket) = self.slots.socket(place) else { return };
            match outcome(socket.connect(flight.probe.target)) {
                Outcome::Pending => {
                    let reusable = socket.disconnect().is_ok();
                    self.slots.end(place, reusable);
                    self.schedule.unanswered(flight.probe, now);
                }
                ended => self.judge(place, ended, now),
            }
        }
    }

    /// Does what the driver was told; gives the end, if it is that.
    fn obey(&mut self, readable: bool) -> io::Result<Option<End>> {
        for order in self.driver.orders(readable)? {
            match order {
                Order::Pause => self.schedule.pause(true),
                Order::Resume => self.schedule.pause(false),
                Order::Start(step) => {
                    self.abandon();
                    self.schedule.start_at(step);
                }
                Order::Cancel | Order::Gone => return Ok(Some(End::Cancelled)),
            }
        }
        Ok(None)
    }

    /// Gives up everything in flight.
    fn abandon(&mut self) {
        while let Some((place, _)) = self.slots.oldest() {
            self.slots.end(place, false);
        }
    }

    fn stop(&mut self, reason: Reason, end: End) -> io::Result<End> {
        self.abandon();
        if self.driver.keep(&self.schedule, self.clock.now())? {
            return Ok(end);
        }
        self.schedule.stop(reason);
        self.hand_over()?;
        Ok(end)
    }

    /// Gives the driver the blocks that are settled; returns how many.
    fn hand_over(&mut self) -> io::Result<usize> {
        let mut count = 0;
        while let Some(block) = self.schedule.finished() {
            self.driver.block(&block, self.clock, self.clock.now())?;
            count += 1;
        }
        if count > 0 {
            self.driver.keep(&self.schedule, self.clock.now())?;
        }
        Ok(count)
    }
}
