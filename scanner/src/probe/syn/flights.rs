//! The probes that are under way, and those given up of late, whose answers may still come.
//!
//! Each has a slot, and the slot chooses the source port: so an answer leads to its probe without a search, and two
//! attempts at a port are told apart. Slots of probes that were given up are used again only when there is no other.

use std::net::IpAddr;

use portolan_scanner::net::Ranges;

use crate::probe::flights::{Flight, Flights, Place};
use crate::probe::pace::Instant;
use crate::probe::schedule::Probe;

/// The flights, at most so many.
#[derive(Debug)]
pub struct Ported {
    flights: Flights,
    /// By slot, the way by which it went.
    ways: Vec<usize>,
    free: Vec<Place>,
    most: usize,
    /// The source ports: the first, and how many.
    ports: (u16, u16),
}

impl Ported {
    /// Room for `most` that fly, and for some that are gone.
    pub fn new(most: usize, ports: (u16, u16)) -> Self {
        Self { flights: Flights::default(), ways: Vec::new(), free: Vec::new(), most, ports }
    }

    /// How many may fly besides.
    pub fn room(&self) -> usize {
        self.most - self.flights.flying()
    }

    /// A probe flies from now on; gives its slot. There must be room.
    pub fn begin(&mut self, probe: Probe, now: Instant, way: usize) -> Place {
        let slot = if let Some(slot) = self.free.pop() {
            slot
        } else if self.ways.len() < self.most + self.most / 4 {
            self.ways.push(way);
            Place::try_from(self.ways.len() - 1).expect("there are fewer flights than 2^32")
        } else {
            let slot = self.flights.first_gone().expect("fewer fly than there are flights");
            self.flights.end(slot);
            slot
        };
        self.ways[slot as usize] = way;
        self.flights.begin(slot, probe, now);
        slot
    }

    /// The source port of a slot.
    pub fn port(&self, slot: Place) -> u16 {
        self.ports.0 + u16::try_from(slot % u32::from(self.ports.1)).expect("below a number of 16 bits")
    }

    /// The way by which the probe of a slot went.
    pub fn way(&self, slot: Place) -> usize {
        self.ways[slot as usize]
    }

    /// The slot and the flight of the probe of this socket that had this source port. Of several, one that is not late.
    pub fn find(&self, target: (IpAddr, u16), port: u16) -> Option<(Place, Flight)> {
        let first = Place::from(port.checked_sub(self.ports.0).filter(|port| *port < self.ports.1)?);
        let slots = (first..).step_by(usize::from(self.ports.1));
        let slots = slots.take_while(|slot| (*slot as usize) < self.ways.len());
        let flights = slots.filter_map(|slot| Some((slot, self.flights.at(slot)?)));
        let hits =
            flights.filter(|(_, Flight { probe, .. })| (probe.target.ip(), probe.target.port()) == target);
        hits.min_by_key(|(_, flight)| flight.is_late())
    }

    /// The one that is to be given up next.
    pub fn next_expiry(&self) -> Option<(Place, Flight)> {
        self.flights.next_expiry().filter(|(_, flight)| !flight.is_late())
    }

    /// A flight was given up; its answer may still come.
    pub fn give_up(&mut self, slot: Place) {
        self.flights.let_linger(slot, Instant::MAX);
    }

    /// A slot is needed no longer; gives what flew there.
    pub fn end(&mut self, slot: Place) -> Option<Flight> {
        let flight = self.flights.end(slot)?;
        self.free.push(slot);
        Some(flight)
    }

    /// Ends what goes to these addresses.
    pub fn end_to(&mut self, addresses: &Ranges) {
        for slot in self.flights.to(addresses).collect::<Vec<_>>() {
            self.end(slot);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::new(self.most, self.ports);
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
        let mut flights = Ported::new(8, (30_000, 4));
        let probes = probes(20);
        let found = |flights: &Ported, probe: &Probe, port| {
            let target = (probe.target.ip(), probe.target.port());
            flights.find(target, port).map(|(slot, flight)| (slot, flight.is_late()))
        };
        let slots: Vec<Place> = probes[..8].iter().map(|probe| flights.begin(*probe, 0, 0)).collect();
        for (probe, slot) in probes.iter().zip(&slots) {
            assert_eq!(found(&flights, probe, flights.port(*slot)), Some((*slot, false)));
            assert_eq!(found(&flights, probe, flights.port(*slot) ^ 1), None, "another port");
            assert_eq!(found(&flights, probe, 30_004), None, "none of the ports");
        }
        for slot in &slots {
            flights.give_up(*slot);
        }
        assert_eq!(8 - flights.room(), 0);
        // Two slots are left that had none; then those that are gone longest are used again.
        for probe in &probes[8..12] {
            flights.begin(*probe, 1, 0);
        }
        let late = |place: usize| found(&flights, &probes[place], flights.port(slots[place]));
        assert_eq!([late(0), late(1)], [None, None]);
        assert_eq!(late(2), Some((slots[2], true)));
        assert_eq!(8 - flights.room(), 4);
        flights.end_to(&Ranges::parse("10.0.0.8").unwrap());
        assert_eq!(8 - flights.room(), 4);
        flights.end_to(&Ranges::parse("10.0.0.8/29").unwrap());
        assert_eq!((8 - flights.room(), flights.next_expiry()), (0, None));
    }
}
