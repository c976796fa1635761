//! A block: a bounded number of hosts, every port of each, and what is known of every pair.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::ops::Range;

use portolan_scanner::net::{Permutation, addr_to_u128, u128_to_addr};
use portolan_scanner::wire::hint::MAX_HINTS;
use portolan_scanner::wire::{Hint, HostRecord, Job, PortRecord, Reason, Said, Sample, State};

use super::guard::{Spared, fragile_ports};
use super::pace::{Instant, Pace};
use super::patience::RoundTrip;
use super::watch::{DECOYS, Watch};

/// A (host, port) of a block: `host x ports + port`, both as places in their ascending order.
pub type Pair = u32;

/// What is known of one host while its block is worked on.
#[derive(Debug)]
pub struct Host {
    /// Where it is.
    pub address: IpAddr,
    /// When it may be probed next.
    pub pace: Pace,
    /// How many of its probes have no answer yet.
    pub in_flight: u32,
    /// Whether it stands in the queue of hosts that will be ready.
    pub queued: bool,
    /// The turns that wait for it.
    pub waiting: VecDeque<Turn>,
    /// How many of its open ports were asked what they are, and how many bytes of lines it takes to tell.
    pub asked: u32,
    said: usize,
    /// Nothing more goes to it, for this reason.
    pub over: Option<Reason>,
    /// How long its answers take.
    pub round_trip: RoundTrip,
    /// What its answers say of it.
    pub watch: Watch,
}

/// A pair that is to be probed, and what went before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// Which.
    pub pair: Pair,
    /// Attempts that had no answer.
    pub attempt: u32,
    /// Attempts that this machine had no room for.
    pub put_off: u32,
    /// The place of its first attempt among those to the host, from 1; 0 before that.
    pub order: u32,
    /// What for.
    pub look: Look,
}

/// What a turn is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// To settle a pair.
    First,
    /// To settle a pair of the sample: there will be a second look.
    Sampled,
    /// To see a pair of the sample again, a quarter of a second after it was settled.
    Second,
    /// To see whether the pair's host opens ports that the job does not ask for: not the pair's port is probed.
    Decoy(u8),
}

impl Turn {
    /// One of which nothing went before.
    pub fn new(pair: Pair, look: Look) -> Self {
        Self { pair, attempt: 0, put_off: 0, order: 0, look }
    }

    /// Whether it is to settle its pair.
    pub fn settles(self) -> bool {
        matches!(self.look, Look::First | Look::Sampled)
    }
}

/// What came of a second look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Second {
    /// It does not count: the pair was not probed, or this look was not answered.
    Nothing,
    /// It answered, as it had the first time.
    Again,
    /// It answered only now, and is settled as this.
    Missed(Reason),
}

fn open(reason: Reason) -> bool {
    reason.state() == State::Open
}

/// Whether it is an answer of the host itself.
pub fn answer(reason: Reason) -> bool {
    matches!(reason.state(), State::Open | State::Closed)
}

/// How a pair stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Fresh,
    Drawn,
    Settled(Reason),
}

impl Slot {
    fn reason(self) -> Option<Reason> {
        if let Self::Settled(reason) = self { Some(reason) } else { None }
    }
}

/// What is kept of a block that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// How far the random order was drawn.
    pub drawn: u32,
    /// The reason of every pair drawn, but those of the two lists.
    pub base: Reason,
    /// Pairs with another reason, and their round trip in microseconds.
    pub others: Vec<(Pair, Reason, u32)>,
    /// Pairs that were drawn and have no reason yet.
    pub again: Vec<Pair>,
    /// Pairs of the sample that still have their second look to come.
    pub looks: Vec<Pair>,
    /// What open ports said of themselves.
    pub said: BTreeMap<Pair, Said>,
}

impl Kept {
    /// Nothing yet, of a block most of whose pairs have this reason.
    pub fn new(drawn: u32, base: Reason) -> Self {
        let (others, again, looks) = (Vec::new(), Vec::new(), Vec::new());
        Self { drawn, base, others, again, looks, said: BTreeMap::new() }
    }
}

/// A block being worked on.
#[derive(Debug)]
pub struct Block {
    /// Its number in the job.
    pub number: u64,
    /// Its hosts, ascending.
    pub hosts: Vec<Host>,
    /// When it was begun.
    pub started: Instant,
    /// Connection attempts made for it.
    pub sent: u64,
    /// What probing some of its pairs a second time showed.
    pub sample: Sample,
    /// How many bytes of lines it takes to tell what open ports said.
    pub hinted: usize,
    /// How many pairs are not decided.
    pub left: u32,
    /// How many pairs wait for their hosts.
    pub waiting: u32,
    order: Permutation,
    drawn: u32,
    ports: u32,
    slots: Vec<Slot>,
    /// Drawn before the scan was interrupted, and to be taken again.
    redraw: Vec<Turn>,
    /// The next place in the random order whose pair is of the sample, and how far it is from one to the next.
    next_sampled: u64,
    every: u64,
    /// Places of ports behind which equipment is fragile: they are never looked at a second time.
    fragile: Vec<u32>,
    /// Pairs of the sample that still have their second look to come.
    looks: BTreeSet<Pair>,
    /// Decoys that are still to be answered.
    decoys: u32,
    round_trips: Vec<(Pair, u32)>,
    said: BTreeMap<Pair, Said>,
}

impl Block {
    /// Begins block `number` of `job`, which must have such a block of fewer than 2^32 pairs. One pair of `every` of
    /// the job is of the sample.
    pub fn new(job: &Job, number: u64, every: u64, now: Instant) -> Self {
        let hosts: Vec<Host> = job
            .block_targets(number)
            .iter()
            .flat_map(|range| range.first..=range.last)
            .map(|address| Host {
                address: u128_to_addr(address),
                pace: Pace::default(),
                in_flight: 0,
                queued: false,
                waiting: VecDeque::new(),
                asked: 0,
                said: 0,
                over: None,
                round_trip: RoundTrip::default(),
                watch: Watch::default(),
            })
            .collect();
        let ports = job.ports.count();
        let left = u32::try_from(hosts.len()).expect("a job counts a block's hosts in 32 bits") * ports;
        Self {
            number,
            hosts,
            started: now,
            sent: 0,
            sample: Sample::default(),
            hinted: 0,
            left,
            waiting: 0,
            order: job.pairs(number),
            drawn: 0,
            ports,
            slots: vec![Slot::Fresh; left as usize],
            redraw: Vec::new(),
            next_sampled: first_sampled(job, number, every),
            fragile: fragile_ports(&job.ports)
                .iter()
                .filter_map(|(port, _)| job.ports.index_of(*port))
                .collect(),
            every,
            looks: BTreeSet::new(),
            decoys: 0,
            round_trips: Vec::new(),
            said: BTreeMap::new(),
        }
    }

    /// Settles what the guard takes out of what is not settled yet; returns how many pairs.
    pub fn spare(&mut self, spared: &Spared) -> u32 {
        let before = self.left;
        for host in 0..u32::try_from(self.hosts.len()).expect("a job counts a block's hosts in 32 bits") {
            let first = host * self.ports;
            if spared.hosts.contains(addr_to_u128(self.hosts[host as usize].address)) {
                (first..first + self.ports).for_each(|pair| _ = self.settle(pair, Reason::Excluded, 0));
                let host = host as usize;
                self.decoys -= u32::from(std::mem::take(&mut self.hosts[host].watch.decoys));
                self.looks.retain(|pair| (pair / self.ports) as usize != host);
                let host = &mut self.hosts[host];
                host.over = Some(Reason::Excluded);
                self.waiting -= u32::try_from(host.waiting.len()).expect("fewer wait than there are pairs");
                host.waiting.clear();
            } else {
                spared.ports.iter().for_each(|port| _ = self.settle(first + port, Reason::Excluded, 0));
            }
        }
        before - self.left
    }

    /// Leaves a host alone: what was not drawn of it is not probed, for this reason, nor what waits, once its turn
    /// comes. Returns how many pairs that settled.
    pub fn leave(&mut self, host: usize, reason: Reason) -> u32 {
        let before = self.left;
        self.hosts[host].over = Some(reason);
        for pair in self.pairs_of(host) {
            if self.slots[pair as usize] == Slot::Fresh {
                self.settle(pair, reason, 0);
            }
        }
        before - self.left
    }

    /// The host opens everything: its open pairs are not, and the rest is left. Returns how many pairs were open,
    /// and how many that settled.
    pub fn opens_all(&mut self, host: usize) -> (u64, u32) {
        let pairs = self.pairs_of(host);
        let before = self.round_trips.len();
        self.round_trips.retain(|(pair, _)| !pairs.contains(pair));
        for slot in &mut self.slots[pairs.start as usize..pairs.end as usize] {
            if slot.reason().is_some_and(open) {
                *slot = Slot::Settled(Reason::OpenAll);
            }
        }
        ((before - self.round_trips.len()) as u64, self.leave(host, Reason::OpenAll))
    }

    /// What becomes of a turn whose host is left alone. Returns whether that settled its pair.
    pub fn give_up(&mut self, turn: Turn) -> bool {
        let host = self.host_of(turn.pair);
        match turn.look {
            Look::Decoy(_) => _ = self.decoy(host, false),
            // It counts as one that was not answered.
            Look::Second => _ = self.second(turn.pair, Reason::NoAnswer, 0),
            Look::First | Look::Sampled => {
                self.looks.remove(&turn.pair);
                return self.hosts[host].over.is_some_and(|reason| self.settle(turn.pair, reason, 0));
            }
        }
        false
    }

    /// So many ports outside the job will be asked of a host; gives a turn for each.
    pub fn begin_decoys(&mut self, host: usize) -> impl Iterator<Item = Turn> + use<> {
        self.hosts[host].watch.decoys = DECOYS;
        self.decoys += u32::from(DECOYS);
        let pair = self.pairs_of(host).start;
        (0..DECOYS).map(move |number| Turn::new(pair, Look::Decoy(number)))
    }

    /// A decoy was open or not; returns whether all of them were, with the last.
    pub fn decoy(&mut self, host: usize, open: bool) -> bool {
        let watch = &mut self.hosts[host].watch;
        if watch.decoys == 0 {
            return false;
        }
        self.decoys -= 1;
        watch.decoy(open)
    }

    /// A second look ended with this, after `round_trip` microseconds; an answer settles a pair that had none.
    pub fn second(&mut self, pair: Pair, reason: Reason, round_trip: u32) -> Second {
        let first = self.slots[pair as usize].reason();
        let counts = first.is_some_and(|first| first.state() != State::NotProbed);
        if !self.looks.remove(&pair) || !counts || reason == Reason::LocalLimit {
            return Second::Nothing;
        }
        self.sample.probed += 1;
        if !answer(reason) {
            return Second::Nothing;
        }
        self.sample.answered += 1;
        let Some(reason) = self.resettle(pair, reason, round_trip) else { return Second::Again };
        self.sample.missed += 1;
        Second::Missed(reason)
    }

    /// More was heard of a pair that was settled as silent, or an answer of one that was not to be reached; returns
    /// as what it is settled if it was. Of a host that opens everything an open port says nothing.
    pub fn resettle(&mut self, pair: Pair, reason: Reason, round_trip: u32) -> Option<Reason> {
        let wrong = match self.slots[pair as usize].reason()?.state() {
            State::Filtered => true,
            State::Unreachable => answer(reason),
            _ => false,
        };
        let open_all = self.hosts[self.host_of(pair)].over == Some(Reason::OpenAll);
        let reason = if open_all && open(reason) { Reason::OpenAll } else { reason };
        wrong.then(|| {
            self.slots[pair as usize] = Slot::Settled(reason);
            self.note(pair, reason, round_trip);
            reason
        })
    }

    /// Whether there is nothing to be done for it any more.
    pub fn is_done(&self) -> bool {
        self.left == 0 && self.looks.is_empty() && self.decoys == 0
    }

    /// Whether a pair is settled.
    pub fn is_settled(&self, pair: Pair) -> bool {
        matches!(self.slots[pair as usize], Slot::Settled(_))
    }

    /// The next pair in the block's random order that is not settled; each pair comes once.
    pub fn draw(&mut self) -> Option<Turn> {
        if let Some(turn) = self.redraw.pop() {
            return Some(turn);
        }
        loop {
            let (pair, sampled) = self.step()?;
            if self.slots[pair as usize] == Slot::Fresh {
                self.slots[pair as usize] = Slot::Drawn;
                if sampled {
                    self.looks.insert(pair);
                }
                return Some(Turn::new(pair, if sampled { Look::Sampled } else { Look::First }));
            }
        }
    }

    /// The next pair in the random order, whatever is known of it, and whether it is of the sample.
    fn step(&mut self) -> Option<(Pair, bool)> {
        let at = u128::from(self.drawn);
        if at >= self.order.count() {
            return None;
        }
        let drawn = u64::from(self.drawn) == self.next_sampled;
        self.next_sampled += if drawn { self.every } else { 0 };
        self.drawn += 1;
        let pair =
            Pair::try_from(self.order.at(at)).expect("a permutation stays within its count, which fits");
        Some((pair, drawn && !self.is_fragile(pair)))
    }

    /// Whether equipment behind a pair's port is fragile.
    pub fn is_fragile(&self, pair: Pair) -> bool {
        self.fragile.contains(&(pair % self.ports))
    }

    /// The pairs of a host.
    fn pairs_of(&self, host: usize) -> Range<Pair> {
        let first = Pair::try_from(host).expect("a job counts a block's hosts in 32 bits") * self.ports;
        first..first + self.ports
    }

    /// The host of a pair, as its place among [`Block::hosts`].
    pub fn host_of(&self, pair: Pair) -> usize {
        (pair / self.ports) as usize
    }

    /// The port of a pair, as its place among the job's ports.
    pub fn port_of(&self, pair: Pair) -> usize {
        (pair % self.ports) as usize
    }

    /// How many pairs it has.
    pub fn pairs(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("a block has fewer than 2^32 pairs")
    }

    /// How many of its ports are open.
    pub fn open(&self) -> u64 {
        self.round_trips.len() as u64
    }

    /// What is to be kept of it; what the guard took out is not.
    pub fn keep(&self) -> Kept {
        let mut counts = [0u32; Reason::ALL.len()];
        self.slots.iter().filter_map(|slot| slot.reason()).for_each(|reason| counts[reason as usize] += 1);
        let probed = |reason: &Reason| reason.state() != State::NotProbed || *reason == Reason::LocalLimit;
        let bases = Reason::ALL.into_iter().filter(|reason| !open(*reason) && probed(reason));
        let base = bases.max_by_key(|reason| counts[*reason as usize]).unwrap_or(Reason::Refused);
        let round_trips: BTreeMap<Pair, u32> = self.round_trips.iter().copied().collect();
        let mut kept = Kept { said: self.said.clone(), ..Kept::new(self.drawn, base) };
        kept.looks.extend(&self.looks);
        for (pair, slot) in (0..).zip(&self.slots) {
            match *slot {
                Slot::Drawn => kept.again.push(pair),
                Slot::Settled(reason) if reason != Reason::Excluded && reason != base => {
                    kept.others.push((pair, reason, round_trips.get(&pair).copied().unwrap_or(0)));
                }
                _ => {}
            }
        }
        kept
    }

    /// Brings a fresh block, of which the guard has taken out its part, to where it was; `None` if it cannot
    /// have been there.
    pub fn restore(&mut self, kept: Kept) -> Option<()> {
        for (pair, reason, round_trip) in kept.others {
            ((pair as usize) < self.slots.len()).then(|| self.settle(pair, reason, round_trip))?;
            if matches!(reason, Reason::Distress | Reason::OpenAll) {
                let host = self.host_of(pair);
                self.hosts[host].over = Some(reason);
            }
        }
        kept.said.into_iter().for_each(|(pair, said)| self.hint(pair, said));
        let looks: BTreeSet<Pair> = kept.looks.into_iter().collect();
        for pair in kept.again {
            let slot = self.slots.get_mut(pair as usize)?;
            if *slot == Slot::Fresh {
                *slot = Slot::Drawn;
                let look = if looks.contains(&pair) { Look::Sampled } else { Look::First };
                self.redraw.push(Turn::new(pair, look));
            }
        }
        while self.drawn < kept.drawn {
            let (pair, _) = self.step()?;
            if self.slots[pair as usize] == Slot::Fresh {
                self.settle(pair, kept.base, 0);
            }
        }
        for pair in looks {
            match self.slots.get(pair as usize)? {
                Slot::Settled(Reason::Excluded) => continue,
                Slot::Settled(_) => self.redraw.push(Turn::new(pair, Look::Second)),
                Slot::Drawn => {}
                Slot::Fresh => return None,
            }
            self.looks.insert(pair);
        }
        Some(())
    }

    /// Settles a pair for good; one that is settled stays as it is. `round_trip` is in microseconds and kept
    /// for open ports. Returns whether this settled it.
    pub fn settle(&mut self, pair: Pair, reason: Reason, round_trip: u32) -> bool {
        let slot = &mut self.slots[pair as usize];
        if matches!(slot, Slot::Settled(_)) {
            return false;
        }
        *slot = Slot::Settled(reason);
        self.left -= 1;
        self.note(pair, reason, round_trip);
        true
    }

    fn note(&mut self, pair: Pair, reason: Reason, round_trip: u32) {
        let host = self.host_of(pair);
        let watch = &mut self.hosts[host].watch;
        match reason.state() {
            State::Open => {
                watch.open += 1;
                self.round_trips.push((pair, round_trip));
            }
            State::Closed => watch.closed += 1,
            _ => {}
        }
    }

    /// Keeps what an open port said of itself, as far as a host may have that much.
    pub fn hint(&mut self, pair: Pair, said: Said) {
        let (mut lines, hint) = (String::new(), Hint { port: 0, said });
        hint.write(&mut lines);
        let host = self.host_of(pair);
        let host = &mut self.hosts[host];
        if host.said + lines.len() <= MAX_HINTS {
            host.said += lines.len();
            self.hinted += lines.len();
            self.said.insert(pair, hint.said);
        }
    }

    /// Settles every pair that is not yet, for the same reason.
    pub fn settle_rest(&mut self, reason: Reason) {
        for slot in self.slots.iter_mut().filter(|slot| !matches!(slot, Slot::Settled(_))) {
            *slot = Slot::Settled(reason);
        }
        (self.left, self.decoys) = (0, 0);
        self.looks.clear();
    }

    /// What was found, as the results say it: per host the commonest reason and what differs from it;
    /// neighbours that are alike in every port are one record. `ports` are the job's, ascending.
    pub fn records(&mut self, ports: &[u16]) -> Vec<HostRecord> {
        self.round_trips.sort_unstable();
        let mut round_trips = self.round_trips.iter().peekable();
        let mut records: Vec<HostRecord> = Vec::new();
        for (at, (host, row)) in (0..).zip(self.hosts.iter().zip(self.slots.chunks(ports.len()))) {
            let row: Vec<Reason> =
                row.iter().map(|slot| slot.reason().unwrap_or(Reason::Cancelled)).collect();
            let base = commonest(&row);
            let exceptions =
                exceptions(ports, &row, base, || round_trips.next().map_or(0, |(_, micros)| *micros));
            let address = addr_to_u128(host.address);
            match records.last_mut() {
                Some(before)
                    if exceptions.is_empty()
                        && before.exceptions.is_empty()
                        && before.base == base
                        && before.last + 1 == address =>
                {
                    before.last = address;
                }
                _ => records.push(HostRecord {
                    first: address,
                    last: address,
                    base,
                    exceptions,
                    hints: self.hints(at, ports),
                }),
            }
        }
        records
    }

    /// What the open ports of a host said of themselves.
    fn hints(&self, host: u32, ports: &[u16]) -> Vec<Hint> {
        let said = self.said.range(host * self.ports..(host + 1) * self.ports);
        said.filter(|(pair, _)| self.slots[**pair as usize] == Slot::Settled(Reason::SynAck))
            .map(|(pair, said)| Hint { port: ports[self.port_of(*pair)], said: said.clone() })
            .collect()
    }
}

/// The place in a block's random order whose pair is the first of the sample: throughout a job they are evenly apart,
/// from where its seed says.
fn first_sampled(job: &Job, number: u64, every: u64) -> u64 {
    let pairs = u128::from(number) * u128::from(job.block_hosts) * u128::from(job.ports.count());
    let (seed, every) = (u128::from_be_bytes(job.seed), u128::from(every.max(1)));
    let away = (seed % every + every - pairs % every) % every;
    u64::try_from(away).expect("less than every, which has 64 bits")
}

/// The reason that most ports of a host share; open ports are never counted in, as each is written by itself.
fn commonest(row: &[Reason]) -> Reason {
    let count = |reason: &Reason| row.iter().filter(|other| *other == reason).count();
    Reason::ALL
        .into_iter()
        .filter(|reason| reason.state() != State::Open)
        .max_by_key(|reason| (count(reason), *reason == Reason::Refused))
        .unwrap_or(Reason::Refused)
}

/// The ports of a host that differ from its base, ascending: open ones alone, others in runs of neighbouring
/// numbers. `round_trip` gives the next open port's.
fn exceptions(
    ports: &[u16],
    row: &[Reason],
    base: Reason,
    mut round_trip: impl FnMut() -> u32,
) -> Vec<PortRecord> {
    let mut list: Vec<PortRecord> = Vec::new();
    for (port, reason) in ports.iter().copied().zip(row.iter().copied()).filter(|(_, reason)| *reason != base)
    {
        let open = reason.state() == State::Open;
        match list.last_mut() {
            Some(run) if !open && run.reason == reason && run.last + 1 == port => run.last = port,
            _ => {
                let rtt_us = if open { round_trip() } else { 0 };
                list.push(PortRecord { first: port, last: port, reason, rtt_us });
            }
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::job;
    use proptest::prelude::*;

    fn block(targets: &str, ports: &str) -> (Block, Vec<u16>) {
        let job = job(targets, ports);
        let ports = job.ports.each().collect();
        (Block::new(&job, 0, 1_000, 0), ports)
    }

    #[test]
    fn every_pair_is_drawn_once() {
        let (mut block, _) = block("10.0.0.0/29", "1-100");
        let mut drawn: Vec<Pair> = std::iter::from_fn(|| block.draw()).map(|turn| turn.pair).collect();
        assert_ne!(drawn[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        drawn.sort_unstable();
        assert!(drawn.into_iter().eq(0..800));
    }

    #[test]
    fn neighbours_that_are_alike_are_one_record_and_the_odd_one_stands_alone() {
        let (mut block, ports) = block("10.0.0.0-10.0.0.3", "20-29,443");
        assert!(block.settle(2 * 11 + 2, Reason::SynAck, 99));
        assert!(!block.settle(2 * 11 + 2, Reason::NoAnswer, 1), "a settled pair stays settled");
        block.settle(2 * 11 + 8, Reason::NoAnswer, 0);
        block.settle(2 * 11 + 9, Reason::NoAnswer, 0);
        block.settle(2 * 11 + 10, Reason::NoAnswer, 0);
        block.settle_rest(Reason::Refused);
        let text: Vec<String> = block
            .records(&ports)
            .iter()
            .map(|host| {
                let ports: Vec<String> = host
                    .exceptions
                    .iter()
                    .map(|p| format!("{}-{} {} {}", p.first, p.last, p.reason, p.rtt_us))
                    .collect();
                let span = (u128_to_addr(host.first), u128_to_addr(host.last));
                format!("{}-{} {} [{}]", span.0, span.1, host.base, ports.join(", "))
            })
            .collect();
        assert_eq!(
            text,
            [
                "10.0.0.0-10.0.0.1 refused []",
                "10.0.0.2-10.0.0.2 refused [22-22 syn-ack 99, 28-29 no-answer 0, 443-443 no-answer 0]",
                "10.0.0.3-10.0.0.3 refused []",
            ]
        );
    }

    #[test]
    fn what_is_open_late_on_a_host_that_opens_everything_is_not_listed() {
        let (mut block, _) = block("10.0.0.1", "20-29");
        block.settle(0, Reason::SynAck, 5);
        block.settle(1, Reason::NoAnswer, 0);
        assert_eq!(block.opens_all(0), (1, 8));
        assert_eq!(block.resettle(1, Reason::SynAck, 5), Some(Reason::OpenAll));
        assert_eq!(block.open(), 0);
    }

    #[test]
    fn a_second_look_that_is_given_up_counts_as_not_answered() {
        let (mut block, _) = block("10.0.0.1", "20-29");
        block.looks.extend([0, 1]);
        block.settle(0, Reason::Refused, 5);
        block.leave(0, Reason::Distress);
        for pair in [0, 1] {
            assert!(!block.give_up(Turn::new(pair, Look::Second)));
        }
        let seen = Sample { probed: 1, answered: 0, missed: 0 };
        assert_eq!((block.sample, block.is_done()), (seen, true), "the other was not even looked at once");
    }

    #[test]
    fn a_host_that_is_open_everywhere_is_written_port_by_port() {
        let (mut block, ports) = block("::1", "1-3");
        block.settle_rest(Reason::SynAck);
        let records = block.records(&ports);
        assert_eq!(records[0].exceptions.len(), 3);
        assert_ne!(records[0].base.state(), State::Open);
    }

    proptest! {
        #[test]
        fn the_records_say_of_every_pair_what_was_settled(reasons in proptest::collection::vec(0usize..12, 4 * 7)) {
            let (mut block, ports) = block("10.0.0.254-10.0.1.1", "1-3,5,8-10");
            for (pair, reason) in (0u32..).zip(&reasons) {
                block.settle(pair, Reason::ALL[*reason], pair);
            }
            let mut said = Vec::new();
            for record in block.records(&ports) {
                for _ in record.first..=record.last {
                    said.extend(ports.iter().map(|port| {
                        let except = record.exceptions.iter().find(|e| (e.first..=e.last).contains(port));
                        except.map_or(record.base, |e| e.reason)
                    }));
                    prop_assert!(record.exceptions.is_empty() || record.first == record.last);
                }
                for open in record.exceptions.iter().filter(|e| e.reason.state() == State::Open) {
                    prop_assert_eq!(open.first, open.last);
                }
            }
            prop_assert_eq!(said, reasons.iter().map(|r| Reason::ALL[*r]).collect::<Vec<_>>());
        }
    }
}
