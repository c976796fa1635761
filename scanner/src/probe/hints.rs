//! Service hints: what open ports say of themselves.
//!
//! It stands between the method of a scan and its schedule. A port that the method found open is not told of at once: it is
//! connected to once more, within the same rates, and told of when it has spoken, or stayed silent long enough. Ports of
//! fragile equipment are left alone.

use std::collections::VecDeque;

use portolan_scanner::net::{Ranges, addr_to_u128};
use portolan_scanner::wire::{Reason, Said};

use super::guard::is_fragile;
use super::method::Ends;
use super::pace::Instant;
use super::preset::{Close, numbers};
use super::schedule::{Ask, Probe, Schedule};
use super::talk::{Config, Talk};

/// The most ports that are listened to at a time.
pub const MOST: usize = 64;

/// How long to wait at most before those under way are looked at again, in milliseconds.
const LOOK_MS: u32 = 10;

/// How many that wait are looked at in a turn.
const TURN: usize = 256;

/// A schedule, and its open ports that are asked what they are before it is told of them, if that is wanted.
pub struct Listening {
    /// Told of the rest at once.
    pub schedule: Schedule,
    talks: Option<Talks>,
}

/// An open port, and its round trip in microseconds.
type Open = (Probe, u32);

/// The open ports that the schedule is not told of yet.
struct Talks {
    waiting: VecDeque<Open>,
    under_way: Vec<(Open, Talk)>,
    config: Config,
    close: Close,
}

impl Talks {
    fn look(&mut self, now: Instant, schedule: &mut Schedule) {
        self.under_way.retain_mut(|((probe, round_trip), talk)| {
            let Some(said) = talk.look(now, &self.config) else { return true };
            talk.hang_up(self.close);
            tell(schedule, (*probe, *round_trip), said);
            false
        });
        for _ in 0..self.waiting.len().min(TURN) {
            if self.under_way.len() == MOST {
                return;
            }
            let Some(open) = self.waiting.pop_front() else { return };
            match schedule.ask(open.0, now) {
                Ask::Later => self.waiting.push_back(open),
                Ask::Never => tell(schedule, open, None),
                Ask::Now => match Talk::begin(open.0.target, now) {
                    Some(talk) => self.under_way.push((open, talk)),
                    None => tell(schedule, open, None),
                },
            }
        }
    }
}

fn tell(schedule: &mut Schedule, (probe, round_trip): Open, said: Option<Said>) {
    if let Some(said) = said {
        schedule.said(probe, said);
    }
    schedule.answered(probe, Reason::SynAck, round_trip);
}

impl Listening {
    /// To what the job of this schedule wants.
    pub fn new(schedule: Schedule) -> Self {
        let (hints, close) = (schedule.job().hints, numbers(schedule.job().preset).close);
        let (waiting, under_way) = (VecDeque::new(), Vec::new());
        let talks = hints.then(|| Talks { waiting, under_way, config: Config::new(), close });
        Self { schedule, talks }
    }

    /// How long to wait at most, in milliseconds.
    pub fn nap(&self, at_most_ms: u32) -> u32 {
        let busy = |talks: &Talks| !talks.waiting.is_empty() || !talks.under_way.is_empty();
        if self.talks.as_ref().is_some_and(busy) { at_most_ms.min(LOOK_MS) } else { at_most_ms }
    }

    /// Goes on with what is asked.
    pub fn look(&mut self, now: Instant) {
        if let Some(talks) = &mut self.talks {
            talks.look(now, &mut self.schedule);
        }
    }

    /// The scan ends early: tells what is known and was kept back.
    pub fn conclude(&mut self) {
        self.let_go(|_| false);
    }

    /// Asks nothing further of these addresses; tells what is known of them and was kept back.
    pub fn let_go_of(&mut self, addresses: &Ranges) {
        self.let_go(|open| !addresses.contains(addr_to_u128(open.0.target.ip())));
    }

    fn let_go(&mut self, keeps: impl Fn(&Open) -> bool) {
        let Some(talks) = &mut self.talks else { return };
        let mut stays = |open: &Open| {
            let stays = keeps(open);
            if !stays {
                tell(&mut self.schedule, *open, None);
            }
            stays
        };
        talks.waiting.retain(&mut stays);
        talks.under_way.retain(|(open, _)| stays(open));
    }
}

impl Ends for Listening {
    fn answered(&mut self, probe: Probe, reason: Reason, round_trip: u32) {
        match &mut self.talks {
            Some(talks) if reason == Reason::SynAck && !is_fragile(probe.target.port()) => {
                talks.waiting.push_back((probe, round_trip));
            }
            _ => self.schedule.answered(probe, reason, round_trip),
        }
    }

    fn unanswered(&mut self, probe: Probe, now: Instant) -> Instant {
        self.schedule.unanswered(probe, now)
    }

    /// It has no hint: what was given up is not waited for.
    fn late(&mut self, probe: Probe, reason: Reason, round_trip: u32) {
        self.schedule.late(probe, reason, round_trip);
    }

    fn put_off(&mut self, probe: Probe, now: Instant) {
        self.schedule.put_off(probe, now);
    }
}
