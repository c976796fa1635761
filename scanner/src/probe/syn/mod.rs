//! Probes by SYN packets of the scanner's own making: one goes out, and a SYN-ACK, a reset or an ICMP message comes
//! back. Sockets that send whole frames take `CAP_NET_RAW` to open.
//!
//! Nobody who did not see a SYN can answer it: its sequence number is a keyed hash of both addresses and ports, with
//! a key of this run, and an answer has to acknowledge it (a reset too, RFC 9293, 3.10.7.1), or to quote it. What does
//! not is counted as forged and dropped. An answer that comes after its probe was given up still counts, as long as
//! its block is worked on and its slot is not needed.
//!
//! The kernel knows nothing of these connections: it answers a SYN-ACK with a reset, and so closes what the SYN had
//! opened. The source ports lie outside the range from which it takes its own.
//!
//! Loopback, this machine's own addresses, and what is not reached over Ethernet have no way here: they are connected to.

mod filter;
mod flights;
mod frames;
mod neighbours;
mod netlink;
mod routes;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use portolan_scanner::net::packet::{self, Mac, Message, Why};
use portolan_scanner::net::{Ranges, addr_to_u128};
use portolan_scanner::wire::{Job, Reason};

use self::flights::Ported;
use self::frames::{Template, who_has};
use self::neighbours::{Known, Neighbours};
use self::netlink::Netlink;
use self::routes::Routes;
use super::flights::Place;
use super::method::Ends;
use super::pace::Instant;
use super::preset::{Numbers, numbers};
use super::schedule::Probe;
use crate::sys::errno;
use crate::sys::packet::{BATCH, FRAME, Frames, PacketSocket};

/// How many probes may fly for each connect that the preset allows: they need no descriptors.
pub const FLYING: u32 = 4;

/// How many frames are read of one socket before something else is done.
const MOST_HEARD: usize = 1 << 10;

/// How often a card that is full is tried again at once: about a millisecond.
const MOST_TRIES: u32 = 1_000;

/// How many source ports are used, if there are so many.
const PORTS: u16 = 1 << 13;

/// An interface in use.
#[derive(Debug)]
struct Wire {
    socket: PacketSocket,
    card: Mac,
    out: Frames,
    /// The slots of the frames in `out`.
    slots: Vec<Place>,
}

/// Sends SYN packets.
#[derive(Debug)]
pub struct Syn {
    routes: Routes,
    /// As many as there are ways.
    templates: Vec<Template>,
    /// As many as there are links.
    wires: Vec<Wire>,
    flights: Ported,
    neighbours: Neighbours,
    key: RandomState,
    /// Not everything that came in was read.
    behind: bool,
    forged: u64,
}

impl Syn {
    /// Opens what it takes to reach the targets of a job; nothing is sent yet. Says what is connected to instead.
    pub fn open_or_say(job: &Job) -> Option<Self> {
        match Self::open(numbers(job.preset), &job.targets) {
            Ok(syn) => {
                let others = job.targets.subtract(&syn.routes.reached());
                if !others.is_empty() {
                    crate::say!("connecting to {others}: this machine itself, or not reached over Ethernet");
                }
                return Some(syn);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                crate::say!("syn needs CAP_NET_RAW; connecting instead");
            }
            Err(error) => crate::say!("syn cannot be had here ({error}); connecting instead"),
        }
        None
    }

    fn open(numbers: &Numbers, targets: &Ranges) -> io::Result<Self> {
        let mut kernel = Netlink::open()?;
        let routes = Routes::find(&mut kernel, targets)?;
        let ports = source_ports()?;
        let filter = filter::filter(ports.0, ports.1);
        let mut wires = Vec::new();
        for link in &routes.links {
            let socket = PacketSocket::open(link.number, &filter).map_err(io::Error::from_raw_os_error)?;
            wires.push(Wire { socket, card: link.mac, out: Frames::new(), slots: Vec::new() });
        }
        let mut neighbours = Neighbours::default();
        for (number, address, card) in kernel.neighbours()? {
            if let Some(link) = routes.links.iter().position(|link| link.number == number) {
                neighbours.trust((link, address), card);
            }
        }
        let templates = routes.ways.iter().map(|way| Template::new(wires[way.link].card, way.source));
        let most = (numbers.in_flight * FLYING) as usize;
        Ok(Self {
            templates: templates.collect(),
            flights: Ported::new(most, ports),
            routes,
            wires,
            neighbours,
            key: RandomState::new(),
            behind: false,
            forged: 0,
        })
    }

    /// The sockets that send and hear frames.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.wires.iter().map(|wire| wire.socket.as_fd())
    }

    /// How many messages came that answer nothing that was sent.
    pub fn forged(&self) -> u64 {
        self.forged
    }

    /// The sequence number of a SYN.
    fn cookie(&self, own: (IpAddr, u16), target: (IpAddr, u16)) -> u32 {
        let mut bytes = [0; 36];
        bytes[..16].copy_from_slice(&addr_to_u128(own.0).to_ne_bytes());
        bytes[16..32].copy_from_slice(&addr_to_u128(target.0).to_ne_bytes());
        bytes[32..34].copy_from_slice(&own.1.to_ne_bytes());
        bytes[34..].copy_from_slice(&target.1.to_ne_bytes());
        let mut hasher = self.key.build_hasher();
        hasher.write(&bytes);
        (hasher.finish() >> 32) as u32
    }

    /// Puts a SYN over this neighbour among what goes next.
    fn launch(&mut self, probe: Probe, way: usize, card: Mac, now: Instant, ends: &mut impl Ends) {
        let (link, source) = (self.routes.ways[way].link, self.routes.ways[way].source);
        if self.wires[link].slots.len() == BATCH {
            self.flush_wire(link, now, ends);
        }
        let slot = self.flights.begin(probe, now, way);
        let port = self.flights.port(slot);
        let sequence = self.cookie((source, port), (probe.target.ip(), probe.target.port()));
        let (template, wire) = (&self.templates[way], &mut self.wires[link]);
        template.write(wire.out.add(template.length()), card, probe.target, port, sequence);
        wire.slots.push(slot);
    }

    fn flush_wire(&mut self, link: usize, now: Instant, ends: &mut impl Ends) {
        let wire = &mut self.wires[link];
        let (mut sent, mut tries) = (0, 0);
        while sent < wire.out.count() {
            match wire.socket.send(&mut wire.out, sent) {
                Ok(count) => sent += count,
                // The card is full: it needs microseconds for a frame.
                Err(errno::ENOBUFS | errno::EAGAIN) if tries < MOST_TRIES => tries += 1,
                // It stays so, or is gone: the schedule knows how often to come back.
                Err(_) => break,
            }
        }
        for slot in &wire.slots[sent..] {
            if let Some(flight) = self.flights.end(*slot) {
                ends.put_off(flight.probe, now);
            }
        }
        wire.out.clear();
        wire.slots.clear();
    }

    /// Asks who has an address on a link. What cannot be asked for is not there.
    fn ask(&mut self, (link, address): neighbours::Place) {
        let wire = &mut self.wires[link];
        let mut ways = self.routes.ways.iter().filter(|way| way.link == link);
        let Some(question) = ways.find_map(|way| who_has(address, wire.card, way.source)) else { return };
        let mut frames = Frames::new();
        frames.add(question.len()).copy_from_slice(&question);
        // One that is lost is asked again.
        let _ = wire.socket.send(&mut frames, 0);
    }

    /// Takes in what came; returns whether there was anything.
    pub fn receive(&mut self, now: Instant, ends: &mut impl Ends) -> bool {
        let mut frame = [0; FRAME];
        let mut count = 0;
        self.behind = false;
        for link in 0..self.wires.len() {
            let most = count + MOST_HEARD;
            while let Some(length) = self.wires[link].socket.receive(&mut frame) {
                if let Some(message) = packet::read(&frame[..length]) {
                    self.hear(link, message, now, ends);
                }
                count += 1;
                if count == most {
                    self.behind = true;
                    break;
                }
            }
        }
        count > 0
    }

    fn hear(&mut self, link: usize, message: Message, now: Instant, ends: &mut impl Ends) {
        let (own, target, sequence, reason) = match message {
            Message::Neighbour(address, card) => {
                for probe in self.neighbours.learn((link, address), card, now) {
                    if let Some(way) = self.routes.way(addr_to_u128(probe.target.ip())) {
                        self.launch(probe, way, card, now, ends);
                    }
                }
                return;
            }
            Message::Tcp { from, to, acknowledged, open } => {
                (to, from, acknowledged.wrapping_sub(1), if open { Reason::SynAck } else { Reason::Refused })
            }
            Message::Unreachable { from, to, sequence, why } => (from, to, sequence, reason(why)),
        };
        let found = self.flights.find(target, own.1);
        let elsewhere = found.is_some_and(|(slot, _)| self.routes.ways[self.flights.way(slot)].link != link);
        if elsewhere || sequence != self.cookie(own, target) {
            self.forged += 1;
            return;
        }
        // Else it was answered before, and this is the same again.
        let Some((slot, flight)) = found else { return };
        let micros = u32::try_from(now.saturating_sub(flight.since) / 1_000).unwrap_or(u32::MAX);
        if flight.is_late() {
            ends.late(flight.probe, reason, micros);
        } else {
            ends.answered(flight.probe, reason, micros);
        }
        self.flights.end(slot);
    }

    /// Whether one more may fly.
    pub fn has_room(&self) -> bool {
        self.neighbours.waiting() < self.flights.room()
    }

    /// The way of a probe; none if it is to be connected to.
    pub fn way(&self, probe: &Probe) -> Option<usize> {
        self.routes.way(addr_to_u128(probe.target.ip()))
    }

    /// Sends a probe by its way, with what is flushed next, or keeps it until its neighbour is known.
    pub fn send(&mut self, probe: Probe, way: usize, now: Instant, ends: &mut impl Ends) {
        let place = (self.routes.ways[way].link, self.routes.ways[way].gateway.unwrap_or(probe.target.ip()));
        match self.neighbours.find(place, probe, now) {
            Known::Card(card) => self.launch(probe, way, card, now, ends),
            Known::Absent => ends.answered(probe, Reason::HostUnreachable, 0),
            Known::Busy => ends.put_off(probe, now),
            Known::Waits => {}
            Known::Ask => self.ask(place),
        }
    }

    /// Sends what is kept.
    pub fn flush(&mut self, now: Instant, ends: &mut impl Ends) {
        for link in 0..self.wires.len() {
            self.flush_wire(link, now, ends);
        }
    }

    /// Gives up what has had its time.
    pub fn expire(&mut self, now: Instant, ends: &mut impl Ends) {
        if self.behind {
            return;
        }
        while let Some((slot, flight)) = self.flights.next_expiry().filter(|(_, flight)| flight.until <= now)
        {
            ends.unanswered(flight.probe, now);
            self.flights.give_up(slot);
        }
        while let Some((place, waited)) = self.neighbours.overdue(now) {
            match waited {
                None => self.ask(place),
                Some(probes) => {
                    for probe in probes {
                        ends.answered(probe, Reason::HostUnreachable, 0);
                    }
                }
            }
        }
    }

    /// When something has had its time.
    pub fn next_expiry(&self) -> Option<Instant> {
        let flight = self.flights.next_expiry().map(|(_, flight)| flight.until);
        flight.into_iter().chain(self.neighbours.due()).min()
    }

    /// Gives up everything.
    pub fn abandon(&mut self) {
        self.flights.clear();
        self.neighbours.abandon();
        for wire in &mut self.wires {
            wire.out.clear();
            wire.slots.clear();
        }
    }

    /// Gives up what is on its way to these addresses.
    pub fn abandon_to(&mut self, addresses: &Ranges) {
        self.neighbours.abandon_to(addresses);
        self.flights.end_to(addresses);
    }
}

fn reason(why: Why) -> Reason {
    match why {
        Why::Net => Reason::NetUnreachable,
        Why::Host => Reason::HostUnreachable,
        Why::Port => Reason::PortUnreachable,
        Why::Prohibited => Reason::Prohibited,
        Why::Other => Reason::OtherError,
    }
}

/// The source ports: the first and how many, below or above those that the kernel takes for its own connections.
fn source_ports() -> io::Result<(u16, u16)> {
    let file = "/proc/sys/net/ipv4/ip_local_port_range";
    let text =
        fs::read_to_string(file).map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))?;
    let mut words = text.split_whitespace().filter_map(|word| word.parse().ok());
    Ok(beside(words.next().unwrap_or(32_768), words.next().unwrap_or(60_999)))
}

/// So many ports beside a range; where that leaves too few, those least likely to be taken.
fn beside(first: u16, last: u16) -> (u16, u16) {
    if first >= 1_024 + PORTS {
        (first - PORTS, PORTS)
    } else if last <= u16::MAX - PORTS {
        (last + 1, PORTS)
    } else {
        (u16::MAX - PORTS + 1, PORTS)
    }
}

#[cfg(test)]
mod tests;
