//! The way probes go out and their ends come back: by connecting, and by SYN packets of one's own where a job wants them
//! and they reach.
//!
//! The engine asks the schedule what is due and hands it on to here; here the schedule is told what became of it.

use std::io;
use std::os::fd::BorrowedFd;

use portolan_scanner::net::Ranges;
use portolan_scanner::wire::{self, Job, Reason};

use super::clock::Clock;
use super::connect::Connect;
use super::own;
use super::pace::Instant;
use super::preset::numbers;
use super::schedule::{Next, Probe};
use super::syn::Syn;

/// Sends probes and hears how they end. Each probe that was sent is ended once, in any order, unless all are
/// abandoned; one that was given up may be answered late.
#[derive(Debug)]
pub struct Method {
    /// What works for either.
    pub connect: Connect,
    syn: Option<Syn>,
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

impl Method {
    /// Opens what a job wants; where SYN packets cannot be sent, it says so and connects. Orders on `input` end a
    /// wait.
    ///
    /// # Errors
    /// As [`Connect::open`].
    pub fn open(job: &Job, input: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        let mut connect = Connect::open(numbers(job.preset), input)?;
        let syn = if job.method == wire::Method::Syn { Syn::open_or_say(job) } else { None };
        if syn.is_none() {
            own::sources(&job.targets)?.into_iter().for_each(|source| connect.prepare(source));
        }
        Ok(Self { connect, syn })
    }

    /// The sockets that send frames.
    pub fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.syn.iter().flat_map(Syn::sockets).collect()
    }

    /// How many messages came that answer nothing that was sent.
    pub fn forged(&self) -> u64 {
        self.syn.as_ref().map_or(0, Syn::forged)
    }

    /// What is to be waited for before another probe can be sent; nothing if one can `now`.
    pub fn full(&self, now: Instant) -> Option<Next> {
        if self.syn.as_ref().is_none_or(Syn::has_room) { self.connect.full(now) } else { Some(Next::Wait) }
    }

    /// Sends a probe, for which there is room; or keeps it for the next [`Method::flush`]. An end that is known at
    /// once is told at once.
    pub fn send(&mut self, probe: Probe, now: Instant, ends: &mut impl Ends) {
        let syn = self.syn.as_mut().and_then(|syn| syn.way(&probe).map(|way| (way, syn)));
        match syn {
            Some((way, syn)) => syn.send(probe, way, now, ends),
            None => self.connect.send(probe, now, ends),
        }
    }

    /// Sends what is kept.
    pub fn flush(&mut self, now: Instant, ends: &mut impl Ends) {
        if let Some(syn) = &mut self.syn {
            syn.flush(now, ends);
        }
    }

    /// Waits for something to come in, at most so many milliseconds, and tells the ends. Gives whether orders came
    /// in as well, which are left unread.
    ///
    /// # Errors
    /// What the kernel says to waiting as such.
    pub fn wait(&mut self, at_most_ms: u32, clock: &Clock, ends: &mut impl Ends) -> io::Result<bool> {
        let Some(syn) = &mut self.syn else { return self.connect.wait(at_most_ms, clock, ends) };
        // While frames come, nobody needs to be woken for each of them.
        if syn.receive(clock.now(), ends) || at_most_ms == 0 {
            syn.flush(clock.now(), ends);
            return self.connect.wait(0, clock, ends);
        }
        syn.sockets().try_for_each(|socket| self.connect.watch(socket))?;
        let ordered = self.connect.wait(at_most_ms, clock, ends)?;
        syn.sockets().try_for_each(|socket| self.connect.unwatch(socket))?;
        syn.receive(clock.now(), ends);
        syn.flush(clock.now(), ends);
        Ok(ordered)
    }

    /// Gives up what has had its time `now`. Answers that had come by then, as a wait that began after `now` has
    /// heard, are told.
    pub fn expire(&mut self, now: Instant, ends: &mut impl Ends) {
        self.connect.expire(now, ends);
        if let Some(syn) = &mut self.syn {
            syn.expire(now, ends);
        }
    }

    /// When the next probe has had its time. Of one class of patience it is always the one that was sent first.
    pub fn next_expiry(&self) -> Option<Instant> {
        let syn = self.syn.as_ref().and_then(Syn::next_expiry);
        self.connect.next_expiry().into_iter().chain(syn).min()
    }

    /// Gives up everything in flight, and tells of nothing.
    pub fn abandon(&mut self) {
        self.connect.abandon();
        if let Some(syn) = &mut self.syn {
            syn.abandon();
        }
    }

    /// Gives up what is in flight to these addresses, as far as something would still be sent for it.
    pub fn abandon_to(&mut self, addresses: &Ranges) {
        self.connect.abandon_to(addresses);
        if let Some(syn) = &mut self.syn {
            syn.abandon_to(addresses);
        }
    }
}

#[cfg(test)]
pub mod contract_tests;
