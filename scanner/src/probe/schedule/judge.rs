//! What an answer, or none, means beyond its pair: for the host, for the rate, for the sample.

use std::cmp::Reverse;

use portolan_scanner::net::{Permutation, u128_to_addr};
use portolan_scanner::wire::{Reason, State};

use super::{
    Block, Due, ENOUGH_PORTS, HIGH_PORTS, Instant, Look, Probe, RETRY_GAP, Rate, RoundTrip, Schedule, Turn,
};
use crate::probe::block::answer;
use crate::probe::guard::is_fragile;
use crate::probe::throttle::{Change, WHOLE};

impl Schedule {
    /// Begins a block.
    pub(super) fn block(&self, number: u64, now: Instant) -> Block {
        Block::new(&self.job, number, self.sampled, now)
    }

    /// How long a turn is waited for: what the host's answers say, or else twice what all answers say; twice as long
    /// with each retry. Nothing is known before the first answers, nor may a second look miss one; and fragile
    /// equipment is tried again only when nothing of the attempt before lingers.
    pub(super) fn due_in(&self, turn: Turn, host: RoundTrip, fragile: bool) -> u64 {
        let all = || self.round_trip.timeout().map(|all| 2 * all);
        let wanted = if turn.settles() && !fragile { host.timeout().or_else(all) } else { None };
        wanted.map_or(u64::MAX, |wanted| self.patience.class(wanted).1 << turn.attempt.min(16))
    }

    /// How many probes may be in flight, now that the network bears only a part of the rate.
    pub(super) fn most_flying(&self) -> u32 {
        match self.throttle.share() {
            WHOLE => u32::MAX,
            share => (self.numbers.in_flight / WHOLE * share).max(1),
        }
    }

    /// An answer came.
    pub(super) fn hear(&mut self, index: usize, probe: Probe, round_trip: u32) {
        let (turn, now) = (probe.turn, probe.span.since + u64::from(round_trip) * 1_000);
        self.heard = self.heard.max(now);
        self.round_trip.heard(round_trip);
        let block = &mut self.blocks[index];
        let place = block.host_of(turn.pair);
        let host = &mut block.hosts[place];
        host.round_trip.heard(round_trip);
        let slow = host.watch.answered(turn.order, round_trip, now, &self.numbers.distress);
        let change = self.throttle.answer(slow, now);
        self.change(change);
        self.look_after(index, place, now);
    }

    /// What came of a turn: its pair is settled, or it was a look for something else.
    pub(super) fn settle(&mut self, index: usize, probe: Probe, reason: Reason, round_trip: u32) {
        let turn = probe.turn;
        let now = probe.span.since + u64::from(round_trip) * 1_000;
        let block = &mut self.blocks[index];
        let place = block.host_of(turn.pair);
        match turn.look {
            Look::Decoy(_) => {
                if block.decoy(place, reason.state() == State::Open) {
                    self.opens_all(index, place);
                }
            }
            Look::Second => {
                let open = block.open();
                if let Some(missed) = block.second(turn.pair, reason, round_trip) {
                    self.progress.open += block.open() - open;
                    let change = self.throttle.look(missed, now);
                    self.change(change);
                }
            }
            Look::First | Look::Sampled => {
                // Of a host that is left alone, what does not answer was hardly asked; of one that opens everything
                // an open port says nothing.
                let reason = match block.hosts[place].over {
                    Some(Reason::OpenAll) if reason.state() == State::Open => Reason::OpenAll,
                    Some(over) if !answer(reason) => over,
                    _ => reason,
                };
                if !block.settle(turn.pair, reason, round_trip) {
                    return;
                }
                self.progress.done += u64::from(reason != Reason::LocalLimit);
                self.progress.open += u64::from(reason.state() == State::Open);
                if turn.look == Look::Sampled {
                    let what = Turn::new(turn.pair, Look::Second);
                    let known = if answer(reason) { now } else { probe.span.until };
                    self.again.push(Reverse(Due { at: known + RETRY_GAP, step: probe.step, what }));
                }
                if !answer(reason) && reason.state() != State::NotProbed {
                    let doubtful = self.heard <= probe.span.since;
                    self.blocks[index].hosts[place].watch.unanswered(turn.order, doubtful);
                    self.look_after(index, place, probe.span.until);
                }
                self.suspect(index, place, probe.span.since);
            }
        }
    }

    /// Leaves a host alone that is in distress.
    fn look_after(&mut self, index: usize, place: usize, now: Instant) {
        let host = &self.blocks[index].hosts[place];
        if host.over.is_some() {
            return;
        }
        let distress = |beyond_doubt| host.watch.distress(now, &self.numbers.distress, beyond_doubt);
        let Some(found) = distress(false) else { return };
        // If nobody else was heard either, and others are about to be silent, it is the network.
        let mut others = self.blocks.iter().flat_map(|block| &block.hosts);
        if distress(true).is_none()
            && others.any(|other| other.address != host.address && other.watch.uneasy())
        {
            return;
        }
        let address = u128_to_addr(host.address);
        self.notes.push(format!("{address} shows distress: it {found}; it is left alone"));
        self.progress.done += u64::from(self.blocks[index].leave(place, Reason::Distress));
    }

    /// Asks ports outside the job of a host that opens too many of it.
    pub(super) fn suspect(&mut self, index: usize, place: usize, now: Instant) {
        let host = &mut self.blocks[index].hosts[place];
        if host.over.is_some() || !host.watch.opens_too_much() {
            return;
        }
        let step = self.step + index as u64;
        for what in self.blocks[index].begin_decoys(place) {
            self.again.push(Reverse(Due { at: now, step, what }));
        }
    }

    fn opens_all(&mut self, index: usize, place: usize) {
        let (open, settled) = self.blocks[index].opens_all(place);
        self.progress.open -= open;
        self.progress.done += u64::from(settled);
        let address = u128_to_addr(self.blocks[index].hosts[place].address);
        self.notes
            .push(format!("{address} opens every port it is asked for: what listens there cannot be told"));
    }

    /// A port of those that a host which opens everything is asked beside what is asked anyway: of the job's, if it
    /// has many, else one that it does not ask for; never one of fragile equipment. Different for each number.
    pub(super) fn decoy_port(&self, host: u128, number: u8) -> u16 {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half tells hosts apart")]
        let key = Permutation::key_for(self.job.seed, host as u64);
        let inside = self.ports.len() >= ENOUGH_PORTS;
        let count = if inside { self.ports.len() } else { usize::from(u16::MAX - HIGH_PORTS) + 1 };
        let order = Permutation::new(key, count as u128);
        let port = |place| {
            let place = u16::try_from(order.at(place)).expect("there are fewer ports than 16 bits count");
            if inside { self.ports[usize::from(place)] } else { HIGH_PORTS + place }
        };
        let fit = |port: &u16| !is_fragile(*port) && (inside || !self.job.ports.contains(*port));
        let mut ports = (0..order.count()).map(port).filter(fit);
        ports.nth(number.into()).expect("more are left than a host is asked")
    }

    fn change(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        let share = self.throttle.share();
        let part = |rate: u32| {
            u32::try_from((u64::from(rate) * u64::from(share) / u64::from(WHOLE)).max(1)).unwrap_or(rate)
        };
        let (rate, host_rate) = (part(self.job.rate), part(self.job.host_rate));
        (self.rate, self.host_rate) = (Rate::new(rate), Rate::new(host_rate));
        self.progress.slowed = (share < WHOLE).then_some(rate);
        let to = format!("{rate}/s and {host_rate}/s a host");
        self.notes.push(match change {
            Change::Slower(why) => format!("slowing down to {to}: {why}"),
            Change::Faster => format!("back to {to}"),
        });
    }
}
