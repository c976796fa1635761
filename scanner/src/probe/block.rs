//! A block: a bounded number of hosts, every port of each, and what is known of every pair.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use portolan_scanner::net::Permutation;
use portolan_scanner::wire::hint::MAX_HINTS;
use portolan_scanner::wire::{Hint, Job, Reason, Said, Sample, State};

use super::guard::{Spared, fragile_ports};
use super::pace::{Instant, Pace};
use super::patience::RoundTrip;
use super::watch::{DECOYS, Watch};

mod kept;
mod records;

pub use kept::Reading;

/// A (host, port) of a block: `host x ports + port`, both as places in their ascending order.
pub type Pair = u32;

/// What is known of one host while its block is worked on.
#[derive(Debug, Default)]
pub struct Host {
    /// Where it is.
    pub address: u128,
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

/// A block being worked on.
#[derive(Debug)]
pub struct Block {
    /// Its number in the job.
    pub number: u64,
    /// Its hosts, ascending.
    pub hosts: Vec<Host>,
    /// When it was begun: µs since the clock's start, less than 0 if an earlier process did.
    pub started: i64,
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
    /// What open ports said of themselves.
    pub said: BTreeMap<Pair, Said>,
}

impl Block {
    /// Begins block `number` of `job`, which must have such a block of fewer than 2^32 pairs. One pair of `every` of
    /// the job is of the sample.
    pub fn new(job: &Job, number: u64, every: u64, now: Instant) -> Self {
        let hosts: Vec<Host> = job
            .block_targets(number)
            .iter()
            .flat_map(|range| range.first..=range.last)
            .map(|address| Host { address, ..Host::default() })
            .collect();
        let ports = job.ports.count();
        let left = u32::try_from(hosts.len()).expect("a job counts a block's hosts in 32 bits") * ports;
        Self {
            number,
            hosts,
            started: i64::try_from(now / 1_000).unwrap_or(i64::MAX),
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
        for host in 0..self.hosts.len() {
            let pairs = self.pairs_of(host);
            if !spared.hosts.contains(self.hosts[host].address) {
                spared.ports.iter().for_each(|port| _ = self.settle(pairs.start + port, Reason::Excluded, 0));
                continue;
            }
            pairs.clone().for_each(|pair| _ = self.settle(pair, Reason::Excluded, 0));
            self.looks.retain(|pair| !pairs.contains(pair));
            let host = &mut self.hosts[host];
            self.decoys -= u32::from(std::mem::take(&mut host.watch.decoys));
            host.over = Some(Reason::Excluded);
            self.waiting -= u32::try_from(host.waiting.len()).expect("fewer wait than there are pairs");
            host.waiting.clear();
        }
        before - self.left
    }

    /// Leaves a host alone: what was not drawn of it is not probed, for this reason, nor what waits, once its turn
    /// comes. Returns how many pairs that settled.
    pub fn leave(&mut self, host: usize, reason: Reason) -> u32 {
        let before = self.left;
        self.hosts[host].over = Some(reason);
        self.pairs_of(host).for_each(|pair| self.settle_fresh(pair, reason));
        before - self.left
    }

    /// Settles a pair that was not drawn.
    fn settle_fresh(&mut self, pair: Pair, reason: Reason) {
        if self.slots[pair as usize] == Slot::Fresh {
            self.settle(pair, reason, 0);
        }
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

    /// A second look ended with this, after `round_trip` microseconds; an answer settles a pair that had none. Returns
    /// whether there was none before; `None` if it does not count: the pair was not probed, or this look not answered.
    pub fn second(&mut self, pair: Pair, reason: Reason, round_trip: u32) -> Option<bool> {
        let first = self.slots[pair as usize].reason();
        let counts = first.is_some_and(|first| first.state() != State::NotProbed);
        if !self.looks.remove(&pair) || !counts || reason == Reason::LocalLimit {
            return None;
        }
        self.sample.probed += 1;
        if !answer(reason) {
            return None;
        }
        self.sample.answered += 1;
        let missed = self.resettle(pair, reason, round_trip);
        self.sample.missed += u64::from(missed);
        Some(missed)
    }

    /// More was heard of a pair that was settled as silent, or an answer of one that was not to be reached; returns
    /// whether it was. Of a host that opens everything an open port says nothing.
    pub fn resettle(&mut self, pair: Pair, reason: Reason, round_trip: u32) -> bool {
        let first = self.slots[pair as usize].reason();
        let wrong = first.is_some_and(|first| match first.state() {
            State::Filtered => true,
            State::Unreachable => answer(reason),
            _ => false,
        });
        let open_all = self.hosts[self.host_of(pair)].over == Some(Reason::OpenAll);
        let reason = if open_all && open(reason) { Reason::OpenAll } else { reason };
        if wrong {
            self.slots[pair as usize] = Slot::Settled(reason);
            self.note(pair, reason, round_trip);
        }
        wrong
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
}

/// The place in a block's random order whose pair is the first of the sample: throughout a job they are evenly apart,
/// from where its seed says.
fn first_sampled(job: &Job, number: u64, every: u64) -> u64 {
    let pairs = u128::from(number) * u128::from(job.block_hosts) * u128::from(job.ports.count());
    let (seed, every) = (u128::from_be_bytes(job.seed), u128::from(every.max(1)));
    let away = (seed % every + every - pairs % every) % every;
    u64::try_from(away).expect("less than every, which has 64 bits")
}

/// The commonest reason of these pairs among those that `may` be; a refusal before another that is as common.
fn commonest(slots: &[Slot], may: impl Fn(Reason) -> bool) -> Reason {
    let mut counts = [0u32; Reason::ALL.len()];
    slots.iter().filter_map(|slot| slot.reason()).for_each(|reason| counts[reason as usize] += 1);
    let all = Reason::ALL.into_iter().filter(|reason| may(*reason));
    all.max_by_key(|reason| (counts[*reason as usize], *reason == Reason::Refused)).unwrap_or(Reason::Refused)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::probe::testing::job;

    pub fn block(targets: &str, ports: &str) -> (Block, Vec<u16>) {
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
    fn what_is_open_late_on_a_host_that_opens_everything_is_not_listed() {
        let (mut block, _) = block("10.0.0.1", "20-29");
        block.settle(0, Reason::SynAck, 5);
        block.settle(1, Reason::NoAnswer, 0);
        assert_eq!(block.opens_all(0), (1, 8));
        assert!(block.resettle(1, Reason::SynAck, 5));
        assert_eq!((block.slots[1], block.open()), (Slot::Settled(Reason::OpenAll), 0));
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
}
