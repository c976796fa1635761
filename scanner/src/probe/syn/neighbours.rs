//! Who has which address on a link: what is known, what was asked, and which probes wait for the answer.
//!
//! Without a clock and a socket: what is to be asked is given back.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use portolan_scanner::net::packet::Mac;
use portolan_scanner::net::{Ranges, addr_to_u128};

use crate::probe::pace::{Instant, SECOND};
use crate::probe::schedule::Probe;

/// How often is asked before there is nobody, and how long each answer is waited for.
const TRIES: u32 = 4;
const GAP: u64 = 3 * SECOND / 10;

/// How long an answer holds, and how long its absence: a host may be replaced, or started, during a scan.
const HOLDS: u64 = 60 * SECOND;
const ABSENCE_HOLDS: u64 = 5 * SECOND;

/// The most addresses that are remembered; of more, what is not being asked is forgotten.
const MOST: usize = 1 << 15;

/// The most probes that wait for one answer, as they all go at once when it comes.
const MOST_WAITING: usize = 64;

/// An address, on the link that packets go by, as the place of the way.
pub type Place = (usize, IpAddr);

#[derive(Debug)]
enum State {
    Known(Mac, Instant),
    Absent(Instant),
    Asked { tries: u32, waiting: Vec<Probe> },
}

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Its card.
    Card(Mac),
    /// Nobody answered.
    Absent,
    /// It was asked, and the probe waits.
    Waits,
    /// It was asked, and enough wait already.
    Busy,
    /// It must be asked now; the probe waits.
    Ask,
}

/// The neighbours.
#[derive(Debug, Default)]
pub struct Neighbours {
    all: HashMap<Place, State>,
    /// When the answers that are waited for are due; each question waits as long, so this ascends.
    due: VecDeque<(Instant, Place)>,
    waiting: usize,
}

impl Neighbours {
    /// How many probes wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// When [`Neighbours::overdue`] has something to give.
    pub fn due(&self) -> Option<Instant> {
        self.due.front().map(|(at, _)| *at)
    }

    /// What is known of one; where that is nothing yet, the probe waits with it.
    pub fn find(&mut self, place: Place, probe: Probe, now: Instant) -> Known {
        match self.all.get_mut(&place) {
            Some(State::Known(mac, since)) if now < *since + HOLDS => return Known::Card(*mac),
            Some(State::Absent(since)) if now < *since + ABSENCE_HOLDS => return Known::Absent,
            Some(State::Asked { waiting, .. }) if waiting.len() >= MOST_WAITING => return Known::Busy,
            Some(State::Asked { waiting, .. }) => {
                waiting.push(probe);
                self.waiting += 1;
                return Known::Waits;
            }
            _ => {}
        }
        if self.all.len() >= MOST {
            self.all.retain(|_, state| matches!(state, State::Asked { .. }));
        }
        self.all.insert(place, State::Asked { tries: 1, waiting: vec![probe] });
        self.due.push_back((now + GAP, place));
        self.waiting += 1;
        Known::Ask
    }

    /// A neighbour has this card; gives the probes that waited for it. One that was not asked is not believed.
    pub fn learn(&mut self, place: Place, mac: Mac, now: Instant) -> Vec<Probe> {
        match self.all.get(&place) {
            Some(State::Asked { .. }) => self.settle(place, State::Known(mac, now)),
            _ => Vec::new(),
        }
    }

    /// What the kernel knows.
    pub fn trust(&mut self, place: Place, mac: Mac) {
        self.all.insert(place, State::Known(mac, 0));
    }

    /// One that did not answer in time: either it is to be asked again, or nobody is there, and these probes waited.
    pub fn overdue(&mut self, now: Instant) -> Option<(Place, Option<Vec<Probe>>)> {
        while let Some((_, place)) = self.due.pop_front_if(|(at, _)| *at <= now) {
            match self.all.get_mut(&place) {
                Some(State::Asked { tries, .. }) if *tries < TRIES => {
                    *tries += 1;
                    self.due.push_back((now + GAP, place));
                    return Some((place, None));
                }
                Some(State::Asked { .. }) => {
                    return Some((place, Some(self.settle(place, State::Absent(now)))));
                }
                _ => {}
            }
        }
        None
    }

    /// Forgets who waits.
    pub fn abandon(&mut self) {
        self.all.retain(|_, state| !matches!(state, State::Asked { .. }));
        self.due.clear();
        self.waiting = 0;
    }

    /// Forgets who waits to go to these addresses; a neighbour for whom nobody waits any more is not asked again.
    pub fn abandon_to(&mut self, addresses: &Ranges) {
        self.all.retain(|_, state| {
            let State::Asked { waiting, .. } = state else { return true };
            let before = waiting.len();
            waiting.retain(|probe| !addresses.contains(addr_to_u128(probe.target.ip())));
            self.waiting -= before - waiting.len();
            !waiting.is_empty()
        });
        self.due.retain(|(_, place)| self.all.contains_key(place));
    }

    /// Puts an end to the waiting for one; gives who waited.
    fn settle(&mut self, place: Place, state: State) -> Vec<Probe> {
        let Some(State::Asked { waiting, .. }) = self.all.insert(place, state) else { return Vec::new() };
        self.waiting -= waiting.len();
        let asked = |place: &Place| matches!(self.all.get(place), Some(State::Asked { .. }));
        while self.due.pop_front_if(|(_, place)| !asked(place)).is_some() {}
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::guard::Guard;
    use crate::probe::schedule::{Next, Schedule};
    use crate::probe::testing::job;

    const CARD: Mac = [2, 0, 0, 0, 0, 9];

    fn probe() -> Probe {
        match Schedule::new(job("10.0.0.9", "80"), &Guard::default()).unwrap().next(0) {
            Next::Probe(probe) => probe,
            other => panic!("{other:?}"),
        }
    }

    fn place() -> Place {
        (0, "10.0.0.9".parse().unwrap())
    }

    #[test]
    fn probes_wait_for_one_answer_and_no_more_than_may_go_at_once() {
        let mut all = Neighbours::default();
        assert_eq!(all.find(place(), probe(), 0), Known::Ask);
        for _ in 1..MOST_WAITING {
            assert_eq!(all.find(place(), probe(), 1), Known::Waits);
        }
        assert_eq!(all.find(place(), probe(), 1), Known::Busy);
        assert_eq!(all.learn(place(), CARD, 2).len(), MOST_WAITING);
        assert_eq!((all.waiting(), all.find(place(), probe(), 3)), (0, Known::Card(CARD)));
        assert_eq!(all.find(place(), probe(), 2 + HOLDS), Known::Ask, "it may be another by now");
    }

    #[test]
    fn who_waits_to_go_to_an_excluded_address_is_forgotten() {
        let mut all = Neighbours::default();
        all.find(place(), probe(), 0);
        all.abandon_to(&Ranges::parse("10.0.0.8").unwrap());
        assert_eq!(all.waiting(), 1);
        all.abandon_to(&Ranges::parse("10.0.0.8/29").unwrap());
        assert_eq!((all.waiting(), all.due()), (0, None), "nor is it asked for again");
        assert_eq!(all.learn(place(), CARD, 2), []);
    }

    #[test]
    fn one_that_is_silent_is_asked_a_few_times_and_is_then_absent_for_a_while() {
        let mut all = Neighbours::default();
        assert_eq!(all.find(place(), probe(), 0), Known::Ask);
        let mut asked = 1;
        loop {
            let at = all.due().unwrap();
            assert!(all.overdue(at - 1).is_none());
            match all.overdue(at).unwrap() {
                (_, None) => asked += 1,
                (_, Some(waited)) => break assert_eq!(waited.len(), 1),
            }
        }
        let now = u64::from(TRIES) * GAP;
        assert_eq!((asked, all.waiting(), all.due()), (TRIES, 0, None));
        assert_eq!(all.find(place(), probe(), now + ABSENCE_HOLDS - 1), Known::Absent);
        assert_eq!(all.find(place(), probe(), now + ABSENCE_HOLDS), Known::Ask);
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_not_believed() {
        let mut all = Neighbours::default();
        assert!(all.learn(place(), CARD, 0).is_empty());
        assert_eq!(all.find(place(), probe(), 1), Known::Ask);
        all.learn(place(), CARD, 2);
        assert!(all.learn(place(), [2, 6, 6, 6, 6, 6], 3).is_empty());
        assert_eq!(all.find(place(), probe(), 4), Known::Card(CARD));
    }
}
