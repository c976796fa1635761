//! What is probed next: the order, the rates, the limits and the retries of a job, without a socket or a clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;

use portolan_scanner::net::{Permutation, Ranges, u128_to_addr};
use portolan_scanner::wire::{HostRecord, Job, Reason, Sample};

use super::block::{self, Block, Host, Look, Turn};
use super::bounds;
use super::guard::{Guard, Spared};
use super::pace::{Instant, Pace, Rate, SECOND};
use super::patience::{Patience, RoundTrip, Span};
use super::preset::{Numbers, numbers};
use super::throttle::Throttle;

pub use asked::Ask;

/// How many pairs of a block may wait for their hosts before no more are drawn.
const MAX_WAITING: u32 = 1 << 14;

/// How often a probe is put off because this machine had no room for it, and how long each time.
const MAX_PUT_OFF: u32 = 50;
const PUT_OFF: u64 = SECOND / 5;

/// How many pairs may wait for their next attempt before no more are drawn.
const MAX_AGAIN: usize = 1 << 16;

/// The gap before the first retry; each further one is twice as long.
const RETRY_GAP: u64 = SECOND / 4;

/// A job is to have so many pairs in its sample, if the preset lets that many be probed again.
const SAMPLE: u128 = 3_200;

/// However large a job is, one of so many pairs is probed again, so that each block says how it went.
const LEAST_SAMPLED: u64 = 1_000;

/// A host that opens everything is asked for ports outside the job, unless the job has so many.
const ENOUGH_PORTS: usize = 10_000;

/// Where the ports outside a job are that are asked of a host which opens everything: what no service is assigned.
const HIGH_PORTS: u16 = 49_152;

/// One connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whom to connect to.
    pub target: SocketAddr,
    /// When it was sent, and when it is to be given up.
    pub span: Span,
    step: u64,
    turn: Turn,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Connect, and say how it ended.
    Probe(Probe),
    /// Nothing before this moment.
    At(Instant),
    /// Nothing before one of the probes in flight has ended, or the pause.
    Wait,
    /// Nothing any more.
    Done,
}

/// A block of which every pair is settled.
#[derive(Debug)]
pub struct Finished {
    /// Its number in the job.
    pub number: u64,
    /// When it was begun: µs since the clock's start.
    pub started: i64,
    /// Connection attempts made for it.
    pub sent: u64,
    /// What probing some of its pairs a second time showed.
    pub sample: Sample,
    /// What was found, as in a results frame.
    pub hosts: Vec<HostRecord>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pairs settled, by probing or as the guard takes them out.
    pub done: u64,
    /// Open ports among them.
    pub open: u64,
    /// Connection attempts.
    pub sent: u64,
    /// Probes a second at most, where that is less than the job allows, as the network bears no more.
    pub slowed: Option<u32>,
}

/// A moment at which something is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due<T> {
    at: Instant,
    step: u64,
    what: T,
}

/// What is due first comes first.
type Agenda<T> = BinaryHeap<Reverse<Due<T>>>;

/// A job being worked on.
#[derive(Debug)]
pub struct Schedule {
    job: Job,
    ports: Vec<u16>,
    walk: Permutation,
    numbers: &'static Numbers,
    rate: Rate,
    host_rate: Rate,
    pace: Pace,
    /// The blocks that are worked on, in walk order; a finished one stays until those before it are.
    blocks: VecDeque<Block>,
    /// The step of the walk at which the first of them stands.
    step: u64,
    /// The place of the first of them that has turns to draw; none before it has.
    drawing: usize,
    most_blocks: usize,
    spared: Spared,
    /// Turns to be taken again.
    again: Agenda<Turn>,
    /// Hosts that have turns waiting, at the moment at which they may be probed.
    ready: Agenda<usize>,
    progress: Progress,
    paused: bool,
    stopped: bool,
    patience: Patience,
    /// How long answers take, over all hosts; and when the last one came.
    round_trip: RoundTrip,
    heard: Instant,
    throttle: Throttle,
    /// How many probes are in flight.
    flying: u32,
    /// One pair of so many is probed a second time.
    sampled: u64,
    /// What whoever runs the job should read.
    notes: Vec<String>,
}

impl Schedule {
    /// Takes on a job from its first block, without what the guard takes out of it.
    ///
    /// # Errors
    /// A sentence, if a block of the job has more pairs than this program keeps in memory.
    pub fn new(job: Job, guard: &Guard) -> Result<Self, String> {
        Ok(Self {
            ports: job.ports.each().collect(),
            walk: job.walk(),
            numbers: numbers(job.preset),
            rate: Rate::new(job.rate),
            host_rate: Rate::new(job.host_rate),
            pace: Pace::default(),
            blocks: VecDeque::new(),
            step: 0,
            drawing: 0,
            most_blocks: bounds::most_blocks(&job)?,
            spared: guard.spares(&job),
            again: Agenda::new(),
            ready: Agenda::new(),
            progress: Progress::default(),
            paused: false,
            stopped: false,
            patience: Patience::new(numbers(job.preset).floor_ms, job.timeout_ms),
            round_trip: RoundTrip::default(),
            heard: 0,
            throttle: Throttle::default(),
            flying: 0,
            sampled: sampled(&job),
            notes: Vec::new(),
            job,
        })
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// How many hosts are worked on at a time, at most.
    pub fn hosts_at_once(&self) -> u128 {
        self.job.hosts().min(self.most_blocks as u128 * u128::from(self.job.block_hosts))
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Lets no further probe go, or lets them go again. What is in flight may end meanwhile.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Lets nothing further go to these addresses: what is not settled of them is excluded, what was settled stays.
    /// The caller gives up what is in flight to them; an answer that comes all the same changes nothing.
    pub fn exclude(&mut self, addresses: &Ranges) {
        self.spared.hosts = self.spared.hosts.union(&self.job.targets.intersect(addresses));
        for block in &mut self.blocks {
            self.progress.done += u64::from(block.spare(&self.spared));
            for host in block.hosts.iter_mut().filter(|host| host.over == Some(Reason::Excluded)) {
                self.flying = self.flying.saturating_sub(std::mem::take(&mut host.in_flight));
            }
        }
    }

    /// Goes on from a step of the walk, as after an interruption: blocks before it are left out, blocks begun
    /// are begun anew. The caller must have given up every probe in flight.
    pub fn start_at(&mut self, step: u64) {
        self.blocks.clear();
        self.again.clear();
        self.ready.clear();
        (self.drawing, self.flying) = (0, 0);
        self.step = step.min(self.job.blocks());
        self.progress = Progress { done: self.pairs_before(self.step), ..Progress::default() };
    }

    /// How many pairs lie in the blocks before a step of the walk. Every block is full but the last by number.
    fn pairs_before(&self, step: u64) -> u64 {
        let full = u128::from(self.job.block_hosts);
        let missing = u128::from(self.job.blocks()) * full - self.job.hosts();
        let last = u128::from(self.job.blocks()) - 1;
        let short = missing > 0 && (0..u128::from(step)).any(|step| self.walk.at(step) == last);
        let hosts = u128::from(step) * full - if short { missing } else { 0 };
        u64::try_from(hosts * u128::from(self.job.ports.count())).unwrap_or(u64::MAX)
    }

    /// Ends the job: whatever is not settled is not probed, for this reason; blocks at the end of which nothing was sent
    /// are dropped. The caller must have given up every probe in flight.
    pub fn stop(&mut self, reason: Reason) {
        self.stopped = true;
        while self.blocks.pop_back_if(|block| block.sent == 0).is_some() {}
        self.blocks.iter_mut().for_each(|block| block.settle_rest(reason));
    }

    /// What whoever runs the job should read since this was last asked, a line each.
    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The next block in walk order with which all is done; call it until there is none.
    pub fn finished(&mut self) -> Option<Finished> {
        if !self.blocks.front()?.is_done() {
            return None;
        }
        let mut block = self.blocks.pop_front()?;
        self.step += 1;
        self.drawing = self.drawing.saturating_sub(1);
        let hosts = block.records(&self.ports);
        Some(Finished {
            number: block.number,
            started: block.started,
            sent: block.sent,
            sample: block.sample,
            hosts,
        })
    }

    /// What to do `now`. After a probe, ask again.
    pub fn next(&mut self, now: Instant) -> Next {
        if self.stopped || (!self.more_blocks() && self.blocks.iter().all(Block::is_done)) {
            return Next::Done;
        }
        if self.paused || self.flying >= self.most_flying() {
            return Next::Wait;
        }
        if self.pace.ready_at() > now {
            return Next::At(self.pace.ready_at());
        }
        while let Some((index, turn)) =
            self.turn_again(now).or_else(|| self.turn_waiting(now)).or_else(|| self.turn_fresh(now))
        {
            let block = &mut self.blocks[index];
            let place = block.host_of(turn.pair);
            if block.hosts[place].over.is_some() {
                self.progress.done += u64::from(block.give_up(turn));
            } else if !turn.settles() || !block.is_settled(turn.pair) {
                return Next::Probe(self.send(index, turn, now));
            }
            self.queue_host(index, place);
        }
        let again = self.again.peek().map(|due| due.0.at);
        let ready = self.ready.peek().map(|due| due.0.at);
        again.into_iter().chain(ready).min().map_or(Next::Wait, Next::At)
    }

    /// A probe was answered, after `round_trip` microseconds.
    pub fn answered(&mut self, probe: Probe, reason: Reason, round_trip: u32) {
        let Some(index) = self.landed(probe) else { return };
        if block::answer(reason) {
            self.hear(index, probe, round_trip);
        }
        self.settle(index, probe, reason, round_trip);
    }

    /// A probe was answered, after `round_trip` microseconds and after it had been given up: the answer counts as
    /// long as its block is worked on.
    pub fn late(&mut self, probe: Probe, reason: Reason, round_trip: u32) {
        let index = self.index(probe.step).filter(|_| !self.stopped && probe.turn.settles());
        let Some(index) = index else { return };
        if block::answer(reason) {
            self.hear(index, probe, round_trip);
        }
        if self.blocks[index].is_settled(probe.turn.pair) {
            let block = &mut self.blocks[index];
            let open = block.open();
            block.resettle(probe.turn.pair, reason, round_trip);
            self.progress.open += block.open() - open;
        } else {
            self.settle(index, probe, reason, round_trip);
        }
    }

    /// A probe had no answer in time: it is tried again, or its port is filtered. Returns until when an answer is
    /// still welcome at [`Schedule::late`].
    pub fn unanswered(&mut self, probe: Probe, now: Instant) -> Instant {
        let Some(index) = self.landed(probe) else { return now };
        let turn = probe.turn;
        let retried = turn.attempt < self.job.retries && !matches!(turn.look, Look::Decoy(_));
        if !retried || self.blocks[index].is_settled(turn.pair) && turn.settles() {
            self.settle(index, probe, Reason::NoAnswer, 0);
            return now;
        }
        let at = now + (RETRY_GAP << turn.attempt.min(4));
        let what = Turn { attempt: turn.attempt + 1, ..turn };
        self.again.push(Reverse(Due { at, step: probe.step, what }));
        // One that allows no second connection to a host beside the first does not keep the first.
        let keeps = turn.settles() && self.numbers.host_in_flight > 1;
        if keeps { probe.span.since + self.patience.ceiling() } else { now }
    }

    /// A probe did not go out, as this machine had no room for it: it is put off, a bounded number of times.
    pub fn put_off(&mut self, probe: Probe, now: Instant) {
        let Some(index) = self.landed(probe) else { return };
        let turn = probe.turn;
        self.blocks[index].sent -= 1;
        self.progress.sent -= 1;
        if turn.put_off < MAX_PUT_OFF {
            let what = Turn { put_off: turn.put_off + 1, ..turn };
            self.again.push(Reverse(Due { at: now + PUT_OFF, step: probe.step, what }));
        } else {
            self.settle(index, probe, Reason::LocalLimit, 0);
        }
    }

    /// A turn whose next attempt is due.
    fn turn_again(&mut self, now: Instant) -> Option<(usize, Turn)> {
        while let Some(due) = self.again.peek().filter(|due| due.0.at <= now) {
            let Due { step, what: turn, .. } = due.0;
            self.again.pop();
            let Some(index) = self.index(step) else { continue };
            if self.may_go(index, turn, now) {
                return Some((index, turn));
            }
            self.wait(index, turn);
        }
        None
    }

    /// A turn that waited for its host.
    fn turn_waiting(&mut self, now: Instant) -> Option<(usize, Turn)> {
        while let Some(due) = self.ready.peek().filter(|due| due.0.at <= now) {
            let Due { step, what: host, .. } = due.0;
            self.ready.pop();
            let Some(index) = self.index(step) else { continue };
            let block = &mut self.blocks[index];
            block.hosts[host].queued = false;
            let Some(turn) = block.hosts[host].waiting.front().copied() else { continue };
            if self.may_go(index, turn, now) {
                let block = &mut self.blocks[index];
                block.hosts[host].waiting.pop_front();
                block.waiting -= 1;
                return Some((index, turn));
            }
            self.queue_host(index, host);
        }
        None
    }

    /// A turn drawn from the random order of the first block that has one whose host may be probed. What is
    /// drawn for a host that may not waits for it.
    fn turn_fresh(&mut self, now: Instant) -> Option<(usize, Turn)> {
        if self.again.len() >= MAX_AGAIN {
            return None;
        }
        let mut index = self.drawing;
        loop {
            if index == self.blocks.len() {
                if index == self.most_blocks || !self.more_blocks() {
                    return None;
                }
                let step = u128::from(self.step) + index as u128;
                let number = u64::try_from(self.walk.at(step)).expect("blocks are counted in 64 bits");
                let mut block = self.block(number, now);
                self.progress.done += u64::from(block.spare(&self.spared));
                self.blocks.push_back(block);
            }
            while self.blocks[index].waiting < MAX_WAITING {
                let Some(turn) = self.blocks[index].draw() else {
                    self.drawing += usize::from(self.drawing == index);
                    break;
                };
                if self.may_go(index, turn, now) {
                    return Some((index, turn));
                }
                self.wait(index, turn);
            }
            index += 1;
        }
    }

    fn may_go(&self, index: usize, turn: Turn, now: Instant) -> bool {
        let block = &self.blocks[index];
        let host = &block.hosts[block.host_of(turn.pair)];
        host.in_flight < self.numbers.host_in_flight && host.pace.ready_at() <= now
    }

    fn wait(&mut self, index: usize, turn: Turn) {
        let block = &mut self.blocks[index];
        let host = block.host_of(turn.pair);
        let waiting = &mut block.hosts[host].waiting;
        // What was begun is ended before more is begun: else a slow host's retries would all come at its end.
        if turn.attempt > 0 || matches!(turn.look, Look::Decoy(_)) {
            waiting.push_front(turn);
        } else {
            waiting.push_back(turn);
        }
        block.waiting += 1;
        self.queue_host(index, host);
    }

    /// Puts a host on the agenda if turns wait for it, unless it is there, or has so many probes in flight that
    /// the end of one will put it there.
    fn queue_host(&mut self, index: usize, place: usize) {
        let step = self.step + index as u64;
        let host: &mut Host = &mut self.blocks[index].hosts[place];
        if !host.queued && !host.waiting.is_empty() && host.in_flight < self.numbers.host_in_flight {
            host.queued = true;
            self.ready.push(Reverse(Due { at: host.pace.ready_at(), step, what: place }));
        }
    }

    fn send(&mut self, index: usize, turn: Turn, now: Instant) -> Probe {
        self.pace.take(self.rate, now);
        self.progress.sent += 1;
        self.flying += 1;
        let mut turn = turn;
        let block = &mut self.blocks[index];
        block.sent += 1;
        let place = block.host_of(turn.pair);
        let port = self.ports[block.port_of(turn.pair)];
        let host = &mut block.hosts[place];
        host.pace.take(self.host_rate, now);
        host.in_flight += 1;
        if turn.order == 0 && turn.settles() {
            turn.order = host.watch.sent();
        }
        let (address, round_trip) = (host.address, host.round_trip);
        self.queue_host(index, place);
        let port = if let Look::Decoy(number) = turn.look { self.decoy_port(address, number) } else { port };
        let target = SocketAddr::new(u128_to_addr(address), port);
        let fragile = self.blocks[index].is_fragile(turn.pair);
        let (class, wait) = self.patience.class(self.due_in(turn, round_trip, fragile));
        let span = Span { since: now, until: now + wait, class };
        Probe { target, span, step: self.step + index as u64, turn }
    }

    /// A probe is no longer in flight; gives the place of its block, if that is still worked on.
    fn landed(&mut self, probe: Probe) -> Option<usize> {
        if self.stopped {
            return None;
        }
        self.flying = self.flying.saturating_sub(1);
        let index = self.index(probe.step)?;
        let place = self.blocks[index].host_of(probe.turn.pair);
        let host = &mut self.blocks[index].hosts[place];
        // What went to a host that was excluded meanwhile is no longer counted.
        host.in_flight = host.in_flight.saturating_sub(1);
        self.queue_host(index, place);
        Some(index)
    }

    fn index(&self, step: u64) -> Option<usize> {
        let index = usize::try_from(step.checked_sub(self.step)?).ok()?;
        (index < self.blocks.len()).then_some(index)
    }

    fn more_blocks(&self) -> bool {
        self.step + (self.blocks.len() as u64) < self.job.blocks()
    }
}

/// Of how many pairs of a job one is probed a second time.
fn sampled(job: &Job) -> u64 {
    let wanted = u64::try_from(job.probes() / SAMPLE).unwrap_or(u64::MAX);
    wanted.clamp(numbers(job.preset).sample.into(), LEAST_SAMPLED)
}

mod asked;
mod judge;
mod saved;
#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]
mod simulated_tests;
#[cfg(test)]
mod tests;
