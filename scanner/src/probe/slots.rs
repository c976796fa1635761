//! The sockets of a scan: idle ones to be used again, and those in flight in the order they began.

use crate::sys::{Epoll, Socket};

use super::pace::Instant;
use super::schedule::Probe;

/// A place for one connection; also its token in the set of watched descriptors.
pub type Place = u32;

/// Where a list ends.
const NONE: Place = u32::MAX;

/// A probe in flight.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    /// Which.
    pub probe: Probe,
    /// When its connect began.
    pub since: Instant,
}

#[derive(Debug)]
struct Slot {
    socket: Option<Socket>,
    flight: Option<Flight>,
    before: Place,
    after: Place,
}

/// The sockets of a scan, at most so many.
#[derive(Debug)]
pub struct Slots {
    all: Vec<Slot>,
    /// Slots whose socket can connect: of IPv4, of IPv6.
    idle: [Vec<Place>; 2],
    /// Slots without a socket.
    empty: Vec<Place>,
    first: Place,
    last: Place,
    flying: usize,
    most: usize,
    bound: usize,
}

impl Slots {
    /// Room for at most `bound` sockets, of which none is open yet.
    pub fn new(bound: usize) -> Self {
        Self {
            all: Vec::new(),
            idle: [Vec::new(), Vec::new()],
            empty: Vec::new(),
            first: NONE,
            last: NONE,
            flying: 0,
            most: bound.max(1),
            bound: bound.max(1),
        }
    }

    /// Whether one more may fly.
    pub fn has_room(&self) -> bool {
        self.flying < self.most
    }

    /// How many fly.
    pub fn flying(&self) -> usize {
        self.flying
    }

    /// No more than fly now, as the machine has no more to give.
    pub fn shrink(&mut self) {
        self.most = self.flying.max(1);
    }

    /// Twice as many as now, up to the bound: the machine may have recovered.
    pub fn relax(&mut self) {
        self.most = (self.most * 2).min(self.bound);
    }

    /// A place with a socket of the family that can connect: the one used last, or a new one.
    ///
    /// # Errors
    /// The error number, when no socket can be opened or watched.
    pub fn take(&mut self, v6: bool, epoll: &Epoll) -> Result<Place, i32> {
        if let Some(place) = self.idle[usize::from(v6)].pop() {
            return Ok(place);
        }
        let place = match self.empty.pop() {
            Some(place) => place,
            None if self.all.len() < self.bound => {
                self.all.push(Slot { socket: None, flight: None, before: NONE, after: NONE });
                Place::try_from(self.all.len() - 1).expect("there are fewer slots than descriptors")
            }
            // The rest idle with sockets of the other family; one of them makes place.
            None => {
                self.idle[usize::from(!v6)].pop().expect("has_room was asked: fewer fly than there are slots")
            }
        };
        let slot = &mut self.all[place as usize];
        slot.socket = None;
        let opened =
            Socket::open(v6).and_then(|socket| epoll.watch_socket(&socket, place.into()).map(|()| socket));
        match opened {
            Ok(socket) => {
                slot.socket = Some(socket);
                Ok(place)
            }
            Err(number) => {
                self.empty.push(place);
                Err(number)
            }
        }
    }

    /// The socket at a place, if there is one.
    pub fn socket(&self, place: Place) -> Option<&Socket> {
        self.all.get(place as usize)?.socket.as_ref()
    }

    /// What flies at a place, if anything does.
    pub fn flight(&self, place: Place) -> Option<Flight> {
        self.all.get(place as usize)?.flight
    }

    /// The flight that began first.
    pub fn oldest(&self) -> Option<(Place, Flight)> {
        let flight = self.flight(self.first)?;
        Some((self.first, flight))
    }

    /// A place that was taken flies from now on.
    pub fn begin(&mut self, place: Place, flight: Flight) {
        let before = self.last;
        let slot = &mut self.all[place as usize];
        slot.flight = Some(flight);
        slot.before = before;
        slot.after = NONE;
        match self.all.get_mut(before as usize) {
            Some(slot) => slot.after = place,
            None => self.first = place,
        }
        self.last = place;
        self.flying += 1;
    }

    /// The flight at a place is over; its socket, if it can connect again, is kept.
    pub fn end(&mut self, place: Place, reusable: bool) {
        let slot = &mut self.all[place as usize];
        let (before, after) = (slot.before, slot.after);
        slot.flight = None;
        match self.all.get_mut(before as usize) {
            Some(slot) => slot.after = after,
            None => self.first = after,
        }
        match self.all.get_mut(after as usize) {
            Some(slot) => slot.before = before,
            None => self.last = before,
        }
        self.flying -= 1;
        self.give_back(place, reusable);
    }

    /// A place that was taken is not needed, or no longer; its socket, if it can connect again, is kept.
    pub fn give_back(&mut self, place: Place, reusable: bool) {
        let slot = &mut self.all[place as usize];
        if reusable && let Some(socket) = &slot.socket {
            self.idle[usize::from(socket.is_v6())].push(place);
        } else {
            slot.socket = None;
            self.empty.push(place);
        }
    }
}
