//! The loop of a scan: what the schedule wants goes out by a method, blocks that are settled are handed over, orders
//! are obeyed.

use std::io;

use portolan_scanner::net::Ranges;
use portolan_scanner::wire::Reason;

use super::clock::Clock;
use super::hints::Listening;
use super::method::Method;
use super::pace::{Instant, SECOND};
use super::schedule::{Finished, Next, Progress, Schedule};
use crate::sys;

/// What drives a scan and hears of it.
pub trait Driver {
    /// What it was told; `readable` says that the input has something to read, else nothing is read.
    ///
    /// # Errors
    /// Whatever reading says; it ends the scan.
    fn orders(&mut self, _readable: bool) -> io::Result<Vec<Order>> {
        Ok(Vec::new())
    }
    /// A block is settled.
    ///
    /// # Errors
    /// Whatever writing says; it ends the scan.
    fn block(&mut self, block: &Finished, clock: &Clock, now: Instant) -> io::Result<()>;
    /// Called once a second, with the attempts in the last one.
    ///
    /// # Errors
    /// Whatever writing says; it ends the scan.
    fn progress(&mut self, _progress: Progress, _rate: u64, _now: Instant) -> io::Result<()> {
        Ok(())
    }
    /// Something that whoever runs the scan should read, in one line.
    fn note(&mut self, text: &str) {
        crate::say!("portolan-scanner probe: {text}");
    }
    /// Called once a second, after blocks were handed over, and before the scan is cut short: for whoever keeps the
    /// schedule, to go on another time.
    ///
    /// # Errors
    /// Whatever writing says; it ends the scan.
    fn keep(&mut self, _schedule: &Schedule, _now: Instant) -> io::Result<()> {
        Ok(())
    }
    /// Whether what is begun at this premature end is for another time, and not handed over.
    fn keeps_the_rest(&self, _end: End) -> bool {
        false
    }
}

/// What a driver can ask for while a scan runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// End, and say what was not probed, for this reason.
    Cancel(Reason),
    /// Let no further probe go.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Let nothing further go to these addresses.
    Exclude(Ranges),
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

/// What is said when probes wait for sockets.
const SHORT: &str =
    "this machine has no socket or port to spare: what cannot go yet waits, up to ten seconds";

/// What is said of [`End::NoSockets`].
pub const NO_SOCKETS: &str = "no socket could be opened for ten seconds (descriptors or memory are used up)";

/// How many probes go before what came in is looked at.
const TURN: usize = 64;

/// The longest sleep: a signal that comes just before it is noticed after it.
const NAP_MS: u32 = 200;

/// How long not a single socket can be had before the scan ends.
const DROUGHT: u64 = 10 * SECOND;

/// Works on a schedule by a method until it is done, cancelled, or the machine has nothing to give; says what came in that
/// nobody was asked for.
///
/// # Errors
/// Whatever the driver or the method says; results not handed over until then are lost.
pub fn run(schedule: Schedule, method: Method, driver: &mut impl Driver, clock: &Clock) -> io::Result<End> {
    let mut engine = Engine { ends: Listening::new(schedule), method, driver, clock };
    let end = engine.run();
    let forged = engine.method.forged();
    if forged > 0 {
        crate::say!("{forged} answers were to nothing that was asked, and are not counted");
    }
    end
}

struct Engine<'a, D> {
    ends: Listening,
    method: Method,
    driver: &'a mut D,
    clock: &'a Clock,
}

impl<D: Driver> Engine<'_, D> {
    fn run(&mut self) -> io::Result<End> {
        // When it was last told how far it is, and how many probes had gone; whether it was said that sockets are short.
        let (mut told, mut before, mut said) = (self.clock.now(), 0, false);
        if let Some(reason) = self.obey(false)? {
            return self.stop(reason, End::Cancelled);
        }
        loop {
            let now = self.clock.now();
            let mut rest = self.send();
            let handed_over = self.hand_over()? > 0;
            if rest == Some(Next::Done) {
                return Ok(End::Done);
            }
            if handed_over {
                // There may be place for another block now.
                rest = None;
            }
            if self.method.connect.starved().is_some_and(|since| now > since + DROUGHT) {
                return self.stop(Reason::LocalLimit, End::NoSockets);
            }
            if sys::stop_requested() {
                return self.stop(Reason::Cancelled, End::Cancelled);
            }
            let nap = self.ends.nap(self.nap(rest, now, told + SECOND));
            let ordered = self.method.wait(nap, self.clock, &mut self.ends)?;
            self.ends.look(self.clock.now());
            if ordered && let Some(reason) = self.obey(true)? {
                return self.stop(reason, End::Cancelled);
            }
            self.method.expire(now, &mut self.ends);
            let seen = self.clock.now();
            if seen >= told + SECOND {
                self.method.connect.relax();
                if self.method.connect.is_short() && !std::mem::replace(&mut said, true) {
                    self.driver.note(SHORT);
                }
                let progress = self.ends.schedule.progress();
                let rate = progress.sent.saturating_sub(before) * 1_000 / ((seen - told) / (SECOND / 1_000));
                (told, before) = (seen, progress.sent);
                self.driver.progress(progress, rate, seen)?;
                self.driver.keep(&self.ends.schedule, seen)?;
            }
        }
    }

    /// How long to wait for events, in milliseconds.
    fn nap(&self, rest: Option<Next>, now: Instant, tick: Instant) -> u32 {
        let until = match rest {
            None => return 0,
            Some(Next::At(at)) => at,
            Some(_) => Instant::MAX,
        };
        let expiry = self.method.next_expiry().unwrap_or(Instant::MAX);
        let nanos = until.min(expiry).min(tick).saturating_sub(now);
        u32::try_from(nanos.div_ceil(1_000_000)).unwrap_or(NAP_MS).min(NAP_MS)
    }

    /// Sends what may go, at most a turn's worth; gives what is to be waited for, unless more may go.
    fn send(&mut self) -> Option<Next> {
        let rest = self.send_turn();
        self.method.flush(self.clock.now(), &mut self.ends);
        rest
    }

    fn send_turn(&mut self) -> Option<Next> {
        for _ in 0..TURN {
            let now = self.clock.now();
            match self.method.full(now).unwrap_or_else(|| self.ends.schedule.next(now)) {
                Next::Probe(probe) => self.method.send(probe, now, &mut self.ends),
                rest => return Some(rest),
            }
        }
        None
    }

    /// Does what the driver was told; gives why it is to end, if it is.
    fn obey(&mut self, readable: bool) -> io::Result<Option<Reason>> {
        for order in self.driver.orders(readable)? {
            match order {
                Order::Pause => self.ends.schedule.pause(true),
                Order::Resume => self.ends.schedule.pause(false),
                Order::Exclude(addresses) => {
                    self.method.abandon_to(&addresses);
                    self.ends.let_go_of(&addresses);
                    self.ends.schedule.exclude(&addresses);
                }
                Order::Cancel(reason) => return Ok(Some(reason)),
                Order::Gone => return Ok(Some(Reason::Cancelled)),
            }
        }
        Ok(None)
    }

    fn stop(&mut self, reason: Reason, end: End) -> io::Result<End> {
        self.driver.keep(&self.ends.schedule, self.clock.now())?;
        if self.driver.keeps_the_rest(end) {
            return Ok(end);
        }
        self.ends.conclude();
        self.method.abandon();
        self.ends.schedule.stop(reason);
        self.hand_over()?;
        Ok(end)
    }

    /// Gives the driver the blocks that are settled, and what is to be said; returns how many blocks.
    fn hand_over(&mut self) -> io::Result<usize> {
        let mut count = 0;
        for note in self.ends.schedule.notes() {
            self.driver.note(&note);
        }
        while let Some(block) = self.ends.schedule.finished() {
            self.driver.block(&block, self.clock, self.clock.now())?;
            count += 1;
        }
        if count > 0 {
            self.driver.keep(&self.ends.schedule, self.clock.now())?;
        }
        Ok(count)
    }
}
