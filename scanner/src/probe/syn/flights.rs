//! The probes that are under way, and those given up of late, whose answers may still come.
//!
//! Each has a slot, and the slot chooses the source port: so an answer leads to its probe without a search, and two
//! attempts at a port are told apart. Slots of probes that were given up are used again only when there is no other.

use std::net::IpAddr;

use portolan_scanner::net::{Ranges, addr_to_u128};

use crate::probe::pace::Instant;
use crate::probe::queues::{GONE, Place, Queues};
use crate::probe::schedule::Probe;

/// A place among the flights.
pub type Slot = Place;

/// A probe that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    /// Which.
    pub probe: Probe,
    /// When.
    pub since: Instant,
    /// By which way.
    pub way: u32,
    /// When it is to be given up.
    pub until: Instant,
    state: State,
}

/// How a slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its probe is waited for.
    Flying,
    /// Its probe was given up.
    Gone,
    /// It has none.
    Free,
}

/// The flights, at most so many.
#[derive(Debug)]
pub struct Flights {
    all: Vec<Flight>,
    free: Vec<Slot>,
    queues: Queues,
    flying: usize,
    most: usize,
    /// The source ports: the first, and how many.
    ports: (u16, u16),
}

impl Flights {
    /// Room for `most` that fly, and for some that are gone.
    pub fn new(most: usize, ports: (u16, u16)) -> Self {
        Self { all: Vec::new(), free: Vec::new(), queues: Queues::new(), flying: 0, most, ports }
    }

    /// How many fly.
    pub fn flying(&self) -> usize {
        self.flying
    }

    /// A probe flies from now on; gives its slot. There must be room.
    pub fn begin(&mut self, probe: Probe, since: Instant, way: u32) -> Slot {
        let until = since + (probe.span.until - probe.span.since);
        let flight = Flight { probe, since, way, until, state: State::Free };
        let slot = if let Some(slot) = self.free.pop() {
            slot
        } else if self.all.len() < self.most + self.most / 4 {
            self.all.push(flight);
            Slot::try_from(self.all.len() - 1).expect("there are fewer flights than 2^32")
        } else {
            let slot = self.queues.first(GONE).expect("fewer fly than there are flights");
            self.unlink(slot);
            slot
        };
        self.all[slot as usize] = flight;
        self.link(slot, State::Flying);
        slot
    }

    /// The source port of a slot.
    pub fn port(&self, slot: Slot) -> u16 {
        self.ports.0 + u16::try_from(slot % u32::from(self.ports.1)).expect("below a number of 16 bits")
    }

    /// The flight at a slot.
    pub fn at(&self, slot: Slot) -> &Flight {
        &self.all[slot as usize]
    }

    /// The slot of the probe of this socket that had this source port, and whether it flies or is gone. Of several,
    /// one that flies.
    pub fn find(&self, target: (IpAddr, u16), port: u16) -> Option<(Slot, State)> {
        let first = Slot::from(port.checked_sub(self.ports.0).filter(|port| *port < self.ports.1)?);
        let mut found = None;
        for slot in (first..).step_by(usize::from(self.ports.1)) {
            let Some(flight) = self.all.get(slot as usize) else { break };
            let hit = flight.state != State::Free
                && (flight.probe.target.ip(), flight.probe.target.port()) == target;
            if hit && (found.is_none() || flight.state == State::Flying) {
                found = Some((slot, flight.state));
            }
        }
        found
    }

    /// The slot that is to be given up next.
    pub fn next_expiry(&self) -> Option<Slot> {
        let flying = self.queues.firsts().filter(|slot| self.at(*slot).state == State::Flying);
        flying.min_by_key(|slot| self.at(*slot).until)
    }

    /// The list of a slot.
    fn list(&self, slot: Slot) -> usize {
        let flight = self.at(slot);
        if flight.state == State::Gone { GONE } else { usize::from(flight.probe.span.class) }
    }

    /// A flight was given up.
    pub fn give_up(&mut self, slot: Slot) {
        self.unlink(slot);
        self.link(slot, State::Gone);
    }

    /// A slot is needed no longer.
    pub fn end(&mut self, slot: Slot) {
        self.unlink(slot);
        self.free.push(slot);
    }

    /// Ends what flies to these addresses.
    pub fn end_to(&mut self, addresses: &Ranges) {
        for slot in 0..Slot::try_from(self.all.len()).expect("there are fewer flights than 2^32") {
            let Flight { state, probe, .. } = self.at(slot);
            if *state == State::Flying && addresses.contains(addr_to_u128(probe.target.ip())) {
                self.end(slot);
            }
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::new(self.most, self.ports);
    }

    fn link(&mut self, slot: Slot, state: State) {
        self.all[slot as usize].state = state;
        self.queues.push(self.list(slot), slot);
        self.flying += usize::from(state == State::Flying);
    }

    fn unlink(&mut self, slot: Slot) {
        self.queues.remove(self.list(slot), slot);
        let state = std::mem::replace(&mut self.all[slot as usize].state, State::Free);
        self.flying -= usize::from(state == State::Flying);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::guard::Guard;
    use crate::probe::schedule::{Next, Schedule};
    use crate::probe::testing::job;

    fn probes(count: usize) -> Vec<Probe> {
        let mut schedule = Schedule::new(job("10.0.0.9", "1-1000"), &Guard::default()).unwrap();
        let probe = |i: usize| match schedule.next(i as u64 * 1_000_000) {
            Next::Probe(probe) => probe,
            other => panic!("{other:?}"),
        };
        (0..count).map(probe).collect()
    }

    #[test]
    fn an_answer_leads_to_its_probe_while_that_flies_and_for_a_while_after() {
        let mut flights = Flights::new(8, (30_000, 4));
        let probes = probes(20);
        let at = |probe: &Probe| (probe.target.ip(), probe.target.port());
        let slots: Vec<Slot> = probes[..8].iter().map(|probe| flights.begin(*probe, 0, 0)).collect();
        for (probe, slot) in probes.iter().zip(&slots) {
            assert_eq!(flights.find(at(probe), flights.port(*slot)), Some((*slot, State::Flying)));
            assert_eq!(flights.find(at(probe), flights.port(*slot) ^ 1), None, "another port");
            assert_eq!(flights.find(at(probe), 30_004), None, "none of the ports");
        }
        for slot in &slots {
            flights.give_up(*slot);
        }
        assert_eq!(flights.flying(), 0);
        // Two slots are left that had none; then those that are gone longest are used again.
        for probe in &probes[8..12] {
            flights.begin(*probe, 1, 0);
        }
        let found = |place: usize| flights.find(at(&probes[place]), flights.port(slots[place]));
        assert_eq!([found(0), found(1)], [None, None]);
        assert_eq!(found(2), Some((slots[2], State::Gone)));
        assert_eq!(flights.flying(), 4);
        flights.end_to(&Ranges::parse("10.0.0.8").unwrap());
        assert_eq!(flights.flying(), 4);
        flights.end_to(&Ranges::parse("10.0.0.8/29").unwrap());
        assert_eq!((flights.flying(), flights.next_expiry()), (0, None));
    }
}
