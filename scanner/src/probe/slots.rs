//! The sockets of a scan: idle ones to be used again, and those in flight in the order in which they are given up.

use std::net::IpAddr;

use portolan_scanner::net::{Ranges, addr_to_u128};

use crate::sys::{Epoll, Socket};

use super::pace::Instant;
use super::queues::{GONE, Queues};
use super::schedule::Probe;

/// A place for one connection; also its token in the set of watched descriptors.
pub use super::queues::Place;

/// The ports of prepared sockets, from far down in what the kernel takes for its own connections; and how many are
/// tried.
const PREPARED: std::ops::Range<u16> = 33_000..60_000;
const MOST_PREPARED: usize = 128;

/// A probe in flight.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    /// Which.
    pub probe: Probe,
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

#[derive(Debug, Default)]
struct Slot {
    socket: Option<Socket>,
    flight: Option<Flight>,
}

/// The sockets of a scan, at most so many.
#[derive(Debug)]
pub struct Slots {
    all: Vec<Slot>,
    /// Slots whose socket can connect: of IPv4, of IPv6.
    idle: [Vec<Place>; 2],
    /// Slots without a socket.
    empty: Vec<Place>,
    queues: Queues,
    /// Those in flight that are not late.
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
            queues: Queues::new(),
            flying: 0,
            most: bound.max(1),
            bound: bound.max(1),
        }
    }

    /// Opens sockets that always have this address as their own, and each a port that the kernel does not give to
    /// others: it then has neither to look for them with each connect. What cannot be had is done without.
    pub fn prepare(&mut self, source: IpAddr, epoll: &Epoll) {
        for port in PREPARED.take(self.bound.min(MOST_PREPARED)) {
            let Ok(place) = self.open(source.is_ipv6(), epoll) else { return };
            let bound = self.socket(place).is_some_and(|socket| socket.bind((source, port).into()).is_ok());
            self.give_back(place, bound);
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
        self.open(v6, epoll)
    }

    /// A place with a new socket.
    fn open(&mut self, v6: bool, epoll: &Epoll) -> Result<Place, i32> {
        let place = match self.empty.pop() {
            Some(place) => place,
            None if self.all.len() < self.bound => {
                self.all.push(Slot::default());
                Place::try_from(self.all.len() - 1).expect("there are fewer slots than descriptors")
            }
            // The rest idle with sockets of the other family, or wait for late answers; one of them makes place.
            None => self.idle[usize::from(!v6)].pop().unwrap_or_else(|| {
                let place = self.queues.first(GONE).expect("else as many fly as there is room for");
                self.unlink(place);
                place
            }),
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

    /// The flight that is given up next.
    pub fn next_expiry(&self) -> Option<(Place, Flight)> {
        let firsts = self.queues.firsts().filter_map(|place| Some((place, self.flight(place)?)));
        firsts.min_by_key(|(_, flight)| flight.until)
    }

    /// A place that was taken flies from now on.
    pub fn begin(&mut self, place: Place, probe: Probe) {
        self.link(place, Flight { probe, until: probe.span.until, list: usize::from(probe.span.class) });
        self.flying += 1;
    }

    /// A flight is given up, but for an answer that comes before `until`.
    pub fn let_linger(&mut self, place: Place, until: Instant) {
        if let Some(flight) = self.unlink(place) {
            self.link(place, Flight { until, list: GONE, ..flight });
        }
    }

    fn link(&mut self, place: Place, flight: Flight) {
        self.queues.push(flight.list, place);
        self.all[place as usize].flight = Some(flight);
    }

    fn unlink(&mut self, place: Place) -> Option<Flight> {
        let flight = self.all[place as usize].flight.take()?;
        self.queues.remove(flight.list, place);
        self.flying -= usize::from(!flight.is_late());
        Some(flight)
    }

    /// The flight at a place is over; its socket, if it can connect again, is kept.
    pub fn end(&mut self, place: Place, reusable: bool) {
        self.unlink(place);
        self.give_back(place, reusable);
    }

    /// Ends every flight to these addresses.
    pub fn end_to(&mut self, addresses: &Ranges) {
        for place in 0..Place::try_from(self.all.len()).expect("there are fewer slots than descriptors") {
            let target = self.flight(place).map(|flight| addr_to_u128(flight.probe.target.ip()));
            if target.is_some_and(|target| addresses.contains(target)) {
                self.end(place, false);
            }
        }
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
