//! A block as lines of text, to go on with it after the process is gone; `schedule/saved.rs` tells what they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use portolan_scanner::wire::{Hint, Reason, Said, Sample, State, results};

use super::{Block, Look, Pair, Slot, Turn, commonest, open};

/// Reasons with which a host is left alone.
const OVER: [Reason; 2] = [Reason::Distress, Reason::OpenAll];

/// Whether a pair can be kept with it: what was cut short or left out is not.
fn keeps(reason: Reason) -> bool {
    !matches!(reason, Reason::Excluded | Reason::Cancelled | Reason::Expired)
}

impl Block {
    /// Adds its lines; `zero` is the time of day at the clock's start, in µs UTC.
    pub fn save(&self, zero: i64, text: &mut String) {
        let base = commonest(&self.slots, |reason| {
            keeps(reason) && reason.state() != State::Open && !OVER.contains(&reason)
        });
        let Sample { probed, answered, missed } = self.sample;
        let (number, drawn, sent, started) =
            (self.number, self.drawn, self.sent, zero.saturating_add(self.started));
        // Writing to a String does not fail.
        let _ = writeln!(text, "block {number} {drawn} {sent} {started} {base} {probed} {answered} {missed}");
        for pair in &self.looks {
            let _ = writeln!(text, "look {pair}");
        }
        let round_trips: BTreeMap<Pair, u32> = self.round_trips.iter().copied().collect();
        for (host, row) in self.slots.chunks(self.ports as usize).enumerate() {
            let own = commonest(row, |reason| keeps(reason) && !open(reason));
            let own = if row.contains(&Slot::Settled(own)) { own } else { base };
            if own != base {
                let _ = writeln!(text, "host {host} {own}");
            }
            for (pair, slot) in self.pairs_of(host).zip(row) {
                let _ = match slot {
                    Slot::Drawn => writeln!(text, "again {pair}"),
                    Slot::Settled(reason) if keeps(*reason) && *reason != own => {
                        writeln!(text, "at {pair} {reason} {}", round_trips.get(&pair).unwrap_or(&0))
                    }
                    _ => Ok(()),
                };
            }
        }
        for (pair, said) in &self.said {
            let mut lines = String::new();
            Hint { port: 0, said: said.clone() }.write(&mut lines);
            for line in lines.lines() {
                let _ = writeln!(text, "said {pair} {line}");
            }
        }
    }
}

/// A block that is being read.
pub struct Reading {
    block: Block,
    drawn: u32,
    /// Of each host, the reason of all that was drawn but what is named.
    bases: Vec<Reason>,
    said: BTreeMap<Pair, String>,
}

impl Reading {
    /// The number of the block that a first line begins.
    pub fn number(line: &str) -> Option<u64> {
        line.strip_prefix("block ")?.split(' ').next()?.parse().ok()
    }

    /// Begins with the first line, and the block of that number: fresh, but that the guard has taken out its part.
    pub fn begin(line: &str, zero: i64, mut block: Block) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, _, drawn, sent, started, base, probed, answered, missed] = words[..] else { return None };
        let [probed, answered, missed] = [probed, answered, missed].map(|count| count.parse().ok());
        block.sample = Sample { probed: probed?, answered: answered?, missed: missed? };
        block.sent = sent.parse().ok()?;
        block.started = started.parse::<i64>().ok()?.checked_sub(zero)?;
        let base = base.parse().ok().filter(|base| keeps(*base))?;
        let (drawn, bases) = (drawn.parse().ok()?, vec![base; block.hosts.len()]);
        Some(Self { block, drawn, bases, said: BTreeMap::new() })
    }

    /// Takes in another line; `None` if the block cannot have it.
    pub fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let number: Pair = number.parse().ok()?;
        let reason = |word: &str| word.parse().ok().filter(|reason| keeps(*reason));
        if word == "host" {
            *self.bases.get_mut(number as usize)? = reason(rest)?;
            return Some(());
        }
        let slot = self.block.slots.get_mut(number as usize)?;
        match word {
            "look" => _ = self.block.looks.insert(number),
            "again" if *slot == Slot::Fresh => {
                *slot = Slot::Drawn;
                let sampled = self.block.looks.contains(&number);
                let look = if sampled { Look::Sampled } else { Look::First };
                self.block.redraw.push(Turn::new(number, look));
            }
            "again" => {}
            "at" => {
                let (why, round_trip) = rest.split_once(' ')?;
                let why = reason(why)?;
                if self.block.settle(number, why, round_trip.parse().ok()?) && OVER.contains(&why) {
                    let host = self.block.host_of(number);
                    self.block.hosts[host].over = Some(why);
                }
            }
            "said" => {
                let lines = self.said.entry(number).or_default();
                *lines += rest;
                lines.push('\n');
            }
            _ => return None,
        }
        Some(())
    }

    /// The block as it was; `None` if it cannot have been so.
    pub fn end(self) -> Option<Block> {
        let Self { mut block, drawn, bases, said } = self;
        while block.drawn < drawn {
            let (pair, _) = block.step()?;
            block.settle_fresh(pair, bases[block.host_of(pair)]);
        }
        for (host, base) in bases.into_iter().enumerate() {
            if let Some(over) = block.hosts[host].over.or(Some(base)).filter(|over| OVER.contains(over)) {
                block.leave(host, over);
            }
        }
        for (pair, lines) in said {
            block.hint(pair, read(&lines)?);
        }
        for pair in std::mem::take(&mut block.looks) {
            match block.slots[pair as usize] {
                Slot::Settled(Reason::Excluded) => continue,
                Slot::Settled(_) => block.redraw.push(Turn::new(pair, Look::Second)),
                Slot::Drawn => {}
                Slot::Fresh => return None,
            }
            block.looks.insert(pair);
        }
        Some(block)
    }
}

/// What an open port said, from the lines of a hint.
fn read(lines: &str) -> Option<Said> {
    let body = format!("host ::1 closed refused\nport 1 open syn-ack 0\n{lines}");
    Some(results::parse_hosts(&body).ok()?.pop()?.hints.pop()?.said)
}
