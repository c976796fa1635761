//! The sockets of a scan: idle ones to be used again, and those in flight in the order in which they are given up.

use std::net::IpAddr;

use portolan_scanner::net::Ranges;

use super::flights::{Flights, Place};
use crate::sys::{Epoll, Socket};

/// The ports of prepared sockets, from far down in what the kernel takes for its own connections; and how many are
/// tried.
const PREPARED: std::ops::Range<u16> = 33_000..60_000;
const MOST_PREPARED: usize = 128;

/// The sockets of a scan, at most so many.
#[derive(Debug)]
pub struct Slots {
    /// By place, which is also the token in the set of watched descriptors.
    sockets: Vec<Option<Socket>>,
    /// Places whose socket can connect: of IPv4, of IPv6.
    idle: [Vec<Place>; 2],
    /// Places without a socket.
    empty: Vec<Place>,
    /// What is under way by which socket.
    pub flights: Flights,
    most: usize,
    bound: usize,
}

impl Slots {
    /// Room for at most `bound` sockets, of which none is open yet.
    pub fn new(bound: usize) -> Self {
        let (idle, bound) = ([Vec::new(), Vec::new()], bound.max(1));
        let (sockets, empty, flights) = (Vec::new(), Vec::new(), Flights::default());
        Self { sockets, idle, empty, flights, most: bound, bound }
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
        self.flights.flying() < self.most
    }

    /// No more than fly now, as the machine has no more to give.
    pub fn shrink(&mut self) {
        self.most = self.flights.flying().max(1);
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
            None if self.sockets.len() < self.bound => {
                self.sockets.push(None);
                Place::try_from(self.sockets.len() - 1).expect("there are fewer slots than descriptors")
            }
            // The rest idle with sockets of the other family, or wait for late answers; one of them makes place.
            None => self.idle[usize::from(!v6)].pop().unwrap_or_else(|| {
                let place = self.flights.first_gone().expect("else as many fly as there is room for");
                self.flights.end(place);
                place
            }),
        };
        self.sockets[place as usize] = None;
        let opened =
            Socket::open(v6).and_then(|socket| epoll.watch_socket(&socket, place.into()).map(|()| socket));
        let socket = opened.inspect_err(|_| self.empty.push(place))?;
        self.sockets[place as usize] = Some(socket);
        Ok(place)
    }

    /// The socket at a place, if there is one.
    pub fn socket(&self, place: Place) -> Option<&Socket> {
        self.sockets.get(place as usize)?.as_ref()
    }

    /// The flight at a place is over; its socket, if it can connect again, is kept.
    pub fn end(&mut self, place: Place, reusable: bool) {
        self.flights.end(place);
        self.give_back(place, reusable);
    }

    /// Ends every flight to these addresses.
    pub fn end_to(&mut self, addresses: &Ranges) {
        for place in self.flights.to(addresses).collect::<Vec<_>>() {
            self.end(place, false);
        }
    }

    /// A place that was taken is not needed, or no longer; its socket, if it can connect again, is kept.
    pub fn give_back(&mut self, place: Place, reusable: bool) {
        let socket = &mut self.sockets[place as usize];
        if let Some(socket) = socket.as_ref().filter(|_| reusable) {
            self.idle[usize::from(socket.is_v6())].push(place);
        } else {
            *socket = None;
            self.empty.push(place);
        }
    }
}
