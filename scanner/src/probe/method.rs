//! The way probes go out and their ends come back: by connecting, or by SYN packets of one's own.
//!
//! The engine asks the schedule what is due and hands it to a method; the method tells the schedule what became of
//! it. No call of these is made through a pointer, so a method costs what its system calls cost.

use std::io;
use std::os::fd::BorrowedFd;

use portolan_scanner::net::Ranges;
use portolan_scanner::wire::{self, Job, Reason};

use super::clock::Clock;
use super::connect::Connect;
use super::engine::{self, Driver, End};
use super::own;
use super::pace::Instant;
use super::preset::numbers;
use super::schedule::{Probe, Schedule};
use super::syn::Syn;

/// Sends probes and hears how they end. Each probe that was sent is ended once, in any order, unless all are
/// abandoned; one that was given up may be answered late.
pub trait Method {
    /// Whether another probe can be sent `now`.
    fn room(&self, now: Instant) -> Room;
    /// Sends a probe, for which there is room; or keeps it for the next [`Method::flush`]. An end that is known at
    /// once is told at once.
    fn send(&mut self, probe: Probe, now: Instant, ends: &mut impl Ends);
    /// Sends what is kept.
    fn flush(&mut self, now: Instant, ends: &mut impl Ends);
    /// Waits for something to come in, at most so many milliseconds, and tells the ends. Gives whether orders came
    /// in as well, which are left unread.
    ///
    /// # Errors
    /// What the kernel says to waiting as such.
    fn wait(&mut self, at_most_ms: u32, clock: &Clock, ends: &mut impl Ends) -> io::Result<bool>;
    /// Gives up what has had its time `now`. Answers that had come by then, as a wait that began after `now` has
    /// heard, are told.
    fn expire(&mut self, now: Instant, ends: &mut impl Ends);
    /// When the next probe has had its time. Of one class of patience it is always the one that was sent first.
    fn next_expiry(&self) -> Option<Instant>;
    /// Called once a second: what the machine could not give a while ago, it may give now.
    fn relax(&mut self);
    /// Since when this machine has had nothing to send a single probe with.
    fn starved(&self) -> Option<Instant>;
    /// Gives up everything in flight, and tells of nothing.
    fn abandon(&mut self);
    /// Gives up what is in flight to these addresses, as far as something would still be sent for it.
    fn abandon_to(&mut self, addresses: &Ranges);
}

/// Whether a probe can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It can.
    Now,
    /// Not before this moment.
    At(Instant),
    /// Not before one in flight has ended.
    Later,
}

/// What hears of the ends of probes.
pub trait Ends {
    /// It was answered, or there is a reason why it cannot be; `round_trip` is in microseconds.
    fn answered(&mut self, probe: Probe, reason: Reason, round_trip: u32);
    /// No answer came in time. Gives until when a late one is welcome; a method that can hear it may tell it.
    fn unanswered(&mut self, probe: Probe, now: Instant) -> Instant;
    /// It was answered after it had been given up.
    fn late(&mut self, probe: Probe, reason: Reason, round_trip: u32);
    /// It did not go out, as this machine had no room for it.
    fn put_off(&mut self, probe: Probe, now: Instant);
}

/// The method of a job, opened.
#[derive(Debug)]
pub enum Opened {
    /// It connects.
    Connect(Box<Connect>),
    /// It sends SYN packets, and connects where they do not reach.
    Syn(Box<Syn>),
}

impl Opened {
    /// Opens what a job wants; where SYN packets cannot be sent, it says so and connects. Orders on `input` end a
    /// wait.
    ///
    /// # Errors
    /// As [`Connect::open`].
    pub fn open(job: &Job, input: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        let numbers = numbers(job.preset);
        if job.method == wire::Method::Syn {
            match Syn::open(numbers, &job.targets, input) {
                Ok(syn) => {
                    let others = job.targets.subtract(&syn.reached());
                    if !others.is_empty() {
                        crate::say!(
                            "connecting to {others}: this machine itself, or not reached over Ethernet"
                        );
                    }
                    return Ok(Self::Syn(syn.into()));
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    crate::say!("syn needs CAP_NET_RAW; connecting instead");
                }
                Err(error) => crate::say!("syn cannot be had here ({error}); connecting instead"),
            }
        }
        let mut connect = Connect::open(numbers, input)?;
        own::sources(&job.targets)?.into_iter().for_each(|source| connect.prepare(source));
        Ok(Self::Connect(connect.into()))
    }

    /// The sockets that send frames.
    pub fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Connect(_) => Vec::new(),
            Self::Syn(syn) => syn.sockets().collect(),
        }
    }

    /// Works on a schedule to its end, and says what came in that nobody was asked for.
    ///
    /// # Errors
    /// As [`engine::run`].
    pub fn run(self, schedule: Schedule, driver: &mut impl Driver, clock: &Clock) -> io::Result<End> {
        match self {
            Self::Connect(mut connect) => engine::run(schedule, connect.as_mut(), driver, clock),
            Self::Syn(mut syn) => {
                let end = engine::run(schedule, syn.as_mut(), driver, clock);
                if syn.forged() > 0 {
                    crate::say!(
                        "{} answers were to nothing that was asked, and are not counted",
                        syn.forged()
                    );
                }
                end
            }
        }
    }
}

#[cfg(test)]
pub mod contract_tests;
