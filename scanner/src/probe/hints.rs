//! Service hints: what open ports say of themselves.
//!
//! It stands around the method of a scan. A port that the method found open is not told of at once: it is connected
//! to once more, within the same rates, and told of when it has spoken, or stayed silent long enough. Ports of
//! fragile equipment are left alone.

use std::collections::VecDeque;
use std::io;

use portolan_scanner::net::{Ranges, addr_to_u128};
use portolan_scanner::wire::{Job, Reason, Said};

use super::clock::Clock;
use super::guard::is_fragile;
use super::method::{Ask, Ends, Method, Room};
use super::pace::Instant;
use super::preset::{Close, numbers};
use super::schedule::Probe;
use super::talk::{Config, Talk};

/// The most ports that are listened to at a time.
pub const MOST: usize = 64;

/// How long to wait at most before those under way are looked at again, in milliseconds.
const LOOK_MS: u32 = 10;

/// How many that wait are looked at in a turn.
const TURN: usize = 256;

/// A method whose open ports are asked what they are, if that is wanted.
pub struct Hinted<'a, M> {
    method: &'a mut M,
    talks: Option<Talks>,
}

impl<'m, M> Hinted<'m, M> {
    /// Around the method of this job.
    pub fn new(method: &'m mut M, job: &Job) -> Self {
        let talks = || Talks {
            waiting: VecDeque::new(),
            under_way: Vec::new(),
            config: Config::new(),
            close: numbers(job.preset).close,
        };
        Self { method, talks: job.hints.then(talks) }
    }

    /// The method, and who hears of its ends instead.
    fn parts<'a, E>(&'a mut self, ends: &'a mut E) -> (&'a mut M, Between<'a, E>) {
        let waiting = self.talks.as_mut().map(|talks| &mut talks.waiting);
        (self.method, Between { ends, waiting })
    }
}

/// An open port, and its round trip in microseconds.
type Open = (Probe, u32);

/// The open ports that are not told of yet.
struct Talks {
    waiting: VecDeque<Open>,
    under_way: Vec<(Open, Talk)>,
    config: Config,
    close: Close,
}

impl Talks {
    fn look(&mut self, now: Instant, ends: &mut impl Ends) {
        self.under_way.retain_mut(|((probe, round_trip), talk)| {
            let Some(said) = talk.look(now, &self.config) else { return true };
            talk.hang_up(self.close);
            tell(ends, (*probe, *round_trip), said);
            false
        });
        for _ in 0..self.waiting.len().min(TURN) {
            if self.under_way.len() == MOST {
                return;
            }
            let Some(open) = self.waiting.pop_front() else { return };
            match ends.ask(open.0, now) {
                Ask::Later => self.waiting.push_back(open),
                Ask::Never => tell(ends, open, None),
                Ask::Now => match Talk::begin(open.0.target, now) {
                    Some(talk) => self.under_way.push((open, talk)),
                    None => tell(ends, open, None),
                },
            }
        }
    }
}

fn tell(ends: &mut impl Ends, (probe, round_trip): Open, said: Option<Said>) {
    if let Some(said) = said {
        ends.said(probe, said);
    }
    ends.answered(probe, Reason::SynAck, round_trip);
}

/// Keeps open ports back.
struct Between<'a, E> {
    ends: &'a mut E,
    waiting: Option<&'a mut VecDeque<Open>>,
}

impl<E: Ends> Ends for Between<'_, E> {
    fn answered(&mut self, probe: Probe, reason: Reason, round_trip: u32) {
        match &mut self.waiting {
            Some(waiting) if reason == Reason::SynAck && !is_fragile(probe.target.port()) => {
                waiting.push_back((probe, round_trip));
            }
            _ => self.ends.answered(probe, reason, round_trip),
        }
    }

    fn unanswered(&mut self, probe: Probe, now: Instant) -> Instant {
        self.ends.unanswered(probe, now)
    }

    /// It has no hint: what was given up is not waited for.
    fn late(&mut self, probe: Probe, reason: Reason, round_trip: u32) {
        self.ends.late(probe, reason, round_trip);
    }

    fn put_off(&mut self, probe: Probe, now: Instant) {
        self.ends.put_off(probe, now);
    }
}

impl<M: Method> Method for Hinted<'_, M> {
    fn room(&self, now: Instant) -> Room {
        self.method.room(now)
    }

    fn send(&mut self, probe: Probe, now: Instant, ends: &mut impl Ends) {
        let (method, mut between) = self.parts(ends);
        method.send(probe, now, &mut between);
    }

    fn flush(&mut self, now: Instant, ends: &mut impl Ends) {
        let (method, mut between) = self.parts(ends);
        method.flush(now, &mut between);
    }

    fn wait(&mut self, at_most_ms: u32, clock: &Clock, ends: &mut impl Ends) -> io::Result<bool> {
        let idle = |talks: &Talks| talks.waiting.is_empty() && talks.under_way.is_empty();
        let at_most_ms =
            if self.talks.as_ref().is_none_or(idle) { at_most_ms } else { at_most_ms.min(LOOK_MS) };
        let (method, mut between) = self.parts(ends);
        let ordered = method.wait(at_most_ms, clock, &mut between)?;
        if let Some(talks) = &mut self.talks {
            talks.look(clock.now(), ends);
        }
        Ok(ordered)
    }

    fn expire(&mut self, now: Instant, ends: &mut impl Ends) {
        let (method, mut between) = self.parts(ends);
        method.expire(now, &mut between);
    }

    fn next_expiry(&self) -> Option<Instant> {
        self.method.next_expiry()
    }

    fn relax(&mut self) {
        self.method.relax();
    }

    fn starved(&self) -> Option<Instant> {
        self.method.starved()
    }

    fn conclude(&mut self, ends: &mut impl Ends) {
        if let Some(talks) = &mut self.talks {
            let under_way = talks.under_way.drain(..).map(|(open, _)| open);
            under_way.chain(talks.waiting.drain(..)).for_each(|open| tell(ends, open, None));
        }
    }

    fn abandon(&mut self) {
        self.method.abandon();
        if let Some(talks) = &mut self.talks {
            talks.waiting.clear();
            talks.under_way.clear();
        }
    }

    fn abandon_to(&mut self, addresses: &Ranges, ends: &mut impl Ends) {
        self.method.abandon_to(addresses, ends);
        let Some(talks) = &mut self.talks else { return };
        let mut stays = |open: &Open| {
            let stays = !addresses.contains(addr_to_u128(open.0.target.ip()));
            if !stays {
                tell(ends, *open, None);
            }
            stays
        };
        talks.waiting.retain(|open| stays(open));
        talks.under_way.retain(|(open, _)| stays(open));
    }
}
