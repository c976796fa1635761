//! Lists of places, each place in at most one of them: what is in flight, in the order in which it is given up. Any
//! place can be taken out at once, and none of it allocates once there were as many.

use super::patience::CLASSES;

/// A place for what is in flight.
pub type Place = u32;

/// The list of those that were given up and may still be answered; the others have their class of patience.
pub const GONE: usize = CLASSES;

/// Where a list ends.
const NONE: Place = Place::MAX;

/// The lists.
#[derive(Debug)]
pub struct Queues {
    /// The place before each and the place after it.
    links: Vec<(Place, Place)>,
    /// The first and the last of each list.
    ends: [(Place, Place); CLASSES + 1],
}

impl Queues {
    /// With nothing in them.
    pub const fn new() -> Self {
        Self { links: Vec::new(), ends: [(NONE, NONE); CLASSES + 1] }
    }

    /// The first of a list.
    pub fn first(&self, list: usize) -> Option<Place> {
        Some(self.ends[list].0).filter(|place| *place != NONE)
    }

    /// The first of every list that has one.
    pub fn firsts(&self) -> impl Iterator<Item = Place> + '_ {
        (0..=CLASSES).filter_map(|list| self.first(list))
    }

    /// Puts a place, which is in no list, behind the last of one.
    pub fn push(&mut self, list: usize, place: Place) {
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
    pub fn remove(&mut self, list: usize, place: Place) {
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
            let mut queues = Queues::new();
            (0..3).for_each(|place| queues.push(1, place));
            queues.push(GONE, 7);
            for (at, place) in gone.into_iter().enumerate() {
                queues.remove(1, place);
                assert_eq!(queues.first(1), (0..3).find(|place| !gone[..=at].contains(place)), "{gone:?}");
            }
            queues.push(1, 1);
            assert!(queues.firsts().eq([1, 7]));
        }
    }
}
