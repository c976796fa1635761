//! What is in flight: each probe at a place, and the places in the order in which they are given up. Any can be taken
//! out at once, and none of it allocates once there were as many.

use portolan_scanner::net::{Ranges, addr_to_u128};

use super::pace::Instant;
use super::patience::CLASSES;
use super::schedule::Probe;

/// A place for what is in flight.
pub type Place = u32;

/// The list of those that were given up and may still be answered; the others have their class of patience.
const GONE: usize = CLASSES;

/// Where a list ends.
const NONE: Place = Place::MAX;

/// A probe in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Which.
    pub probe: Probe,
    /// When it was sent.
    pub since: Instant,
    /// When it is given up, for good if it is late.
    pub until: Instant,
    list: usize,
}

impl Flight {
    /// Whether it was given up once, and nothing but an answer is of interest.
    pub fn is_late(&self) -> bool {
        self.list == GONE
    }
}

/// The flights, by place.
#[derive(Debug, Default)]
pub struct Flights {
    all: Vec<Option<Flight>>,
    lists: Lists,
    flying: usize,
}

impl Flights {
    /// How many fly that are not late.
    pub fn flying(&self) -> usize {
        self.flying
    }

    /// What flies at a place, if anything does.
    pub fn at(&self, place: Place) -> Option<Flight> {
        *self.all.get(place as usize)?
    }

    /// The one that is given up next.
    pub fn next_expiry(&self) -> Option<(Place, Flight)> {
        let firsts = (0..=GONE).filter_map(|list| self.lists.first(list));
        firsts.filter_map(|place| Some((place, self.at(place)?))).min_by_key(|(_, flight)| flight.until)
    }

    /// The place of the one that was given up first of those that are late.
    pub fn first_gone(&self) -> Option<Place> {
        self.lists.first(GONE)
    }

    /// The places of those to these addresses.
    pub fn to<'a>(&'a self, addresses: &'a Ranges) -> impl Iterator<Item = Place> + 'a {
        let hit = |flight: &Flight| addresses.contains(addr_to_u128(flight.probe.target.ip()));
        (0..)
            .zip(&self.all)
            .filter(move |(_, flight)| flight.as_ref().is_some_and(hit))
            .map(|(place, _)| place)
    }

    /// A probe flies from now on, at a place where nothing does.
    pub fn begin(&mut self, place: Place, probe: Probe, now: Instant) {
        let until = now + (probe.span.until - probe.span.since);
        self.put(place, Flight { probe, since: now, until, list: usize::from(probe.span.class) });
    }

    /// A flight is given up, but for an answer that comes before `until`.
    pub fn let_linger(&mut self, place: Place, until: Instant) {
        if let Some(flight) = self.end(place) {
            self.put(place, Flight { until, list: GONE, ..flight });
        }
    }

    /// The flight at a place is over.
    pub fn end(&mut self, place: Place) -> Option<Flight> {
        let flight = self.all.get_mut(place as usize)?.take()?;
        self.lists.remove(flight.list, place);
        self.flying -= usize::from(!flight.is_late());
        Some(flight)
    }

    fn put(&mut self, place: Place, flight: Flight) {
        if self.all.len() <= place as usize {
            self.all.resize(place as usize + 1, None);
        }
        self.lists.push(flight.list, place);
        self.flying += usize::from(!flight.is_late());
        self.all[place as usize] = Some(flight);
    }
}

/// Lists of places, each place in at most one of them.
#[derive(Debug)]
struct Lists {
    /// The place before each and the place after it.
    links: Vec<(Place, Place)>,
    /// The first and the last of each list.
    ends: [(Place, Place); GONE + 1],
}

impl Default for Lists {
    fn default() -> Self {
        Self { links: Vec::new(), ends: [(NONE, NONE); GONE + 1] }
    }
}

impl Lists {
    fn first(&self, list: usize) -> Option<Place> {
        Some(self.ends[list].0).filter(|place| *place != NONE)
    }

    /// Puts a place, which is in no list, behind the last of one.
    fn push(&mut self, list: usize, place: Place) {
        if self.links.len() <= place as usize {
            self.links.resize(place as usize + 1, (NONE, NONE));
        }
        let before = std::mem::replace(&mut self.ends[list].1, place);
        self.links[place as usize] = (before, NONE);
        match self.links.get_mut(before as usize) {
            Some(link) => link.1 = place,
            None => self.ends[list].0 = place,
        }
    }

    /// Takes a place out of the list in which it is.
    fn remove(&mut self, list: usize, place: Place) {
        let (before, after) = self.links[place as usize];
        match self.links.get_mut(before as usize) {
            Some(link) => link.1 = after,
            None => self.ends[list].0 = after,
        }
        match self.links.get_mut(after as usize) {
            Some(link) => link.0 = before,
            None => self.ends[list].1 = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_keeps_its_order_whichever_goes() {
        for gone in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
            let mut lists = Lists::default();
            (0..3).for_each(|place| lists.push(1, place));
            lists.push(GONE, 7);
            for (at, place) in gone.into_iter().enumerate() {
                lists.remove(1, place);
                assert_eq!(lists.first(1), (0..3).find(|place| !gone[..=at].contains(place)), "{gone:?}");
            }
            lists.push(1, 1);
            assert_eq!([lists.first(1), lists.first(GONE)], [Some(1), Some(7)]);
        }
    }
}
