//! A schedule as text, to go on with it after the process is gone: the step of the walk, and of each block that is
//! worked on how many turns were drawn, what came of them, and which are to be taken again.
//!
//! ```text
//! step 12
//! block 7 5000 5012 refused 3 2 0   number, turns drawn, attempts, the reason of all drawn but those below; the sample
//! at 131 syn-ack 420                another reason, with the round trip in µs
//! says SSH-2.0                      and what it said of itself, as in a results frame
//! again 77                          had no answer yet
//! look 42                           to be looked at a second time
//! ```

use std::fmt::Write as _;

use portolan_scanner::wire::{Hint, Reason, Sample, results};

use super::Schedule;
use crate::probe::block::{Kept, Pair};

impl Schedule {
    /// What is to be kept of it, line by line.
    pub fn save(&self) -> String {
        let mut text = format!("step {}\n", self.step);
        for block in &self.blocks {
            let kept = block.keep();
            let (number, drawn, sent, base) = (block.number, kept.drawn, block.sent, kept.base);
            let Sample { probed, answered, missed } = block.sample;
            let _ = writeln!(text, "block {number} {drawn} {sent} {base} {probed} {answered} {missed}");
            for (pair, reason, round_trip) in &kept.others {
                let _ = writeln!(text, "at {pair} {reason} {round_trip}");
                if let Some(said) = kept.said.get(pair) {
                    Hint { port: 0, said: said.clone() }.write(&mut text);
                }
            }
            for pair in &kept.again {
                let _ = writeln!(text, "again {pair}");
            }
            for pair in &kept.looks {
                let _ = writeln!(text, "look {pair}");
            }
        }
        text
    }

    /// Goes on from what was saved of the same job.
    ///
    /// # Errors
    /// The number of the first line that cannot be one of this job, from 1.
    pub fn restore(&mut self, text: &str) -> Result<(), usize> {
        let mut lines = (1..).zip(text.lines()).peekable();
        let (_, first) = lines.next().ok_or(1usize)?;
        let step = first.strip_prefix("step ").and_then(|step| step.parse().ok());
        self.start_at(step.filter(|step: &u64| *step <= self.job.blocks()).ok_or(1usize)?);
        while let Some((line, words)) = lines.next() {
            let (number, mut kept, sent, sample) = head(words).ok_or(line)?;
            let next = u128::from(self.step) + self.blocks.len() as u128;
            if !self.more_blocks() || self.walk.at(next) != u128::from(number) {
                return Err(line);
            }
            while let Some((line, words)) = lines.next_if(|(_, words)| !words.starts_with("block ")) {
                add(words, &mut kept).ok_or(line)?;
                let mut said = String::new();
                while let Some((_, more)) = lines.next_if(|(_, words)| !ours(words)) {
                    said += more;
                    said.push('\n');
                }
                if !said.is_empty() {
                    keep_said(&said, &mut kept).ok_or(line)?;
                }
            }
            let mut block = self.block(number, 0);
            block.spare(&self.spared);
            (block.sent, block.sample) = (sent, sample);
            block.restore(kept).ok_or(line)?;
            self.progress.done += u64::from(block.pairs() - block.left);
            self.progress.open += block.open();
            self.blocks.push_back(block);
            // Who was about to be asked for other ports was not, or nobody knows what came of it.
            let index = self.blocks.len() - 1;
            (0..self.blocks[index].hosts.len()).for_each(|place| self.suspect(index, place, 0));
        }
        Ok(())
    }
}

fn head(words: &str) -> Option<(u64, Kept, u64, Sample)> {
    let words: Vec<&str> = words.strip_prefix("block ")?.split(' ').collect();
    let [number, drawn, sent, base, probed, answered, missed] = words[..] else { return None };
    let kept = Kept::new(drawn.parse().ok()?, reason(base)?);
    let sample = Sample {
        probed: probed.parse().ok()?,
        answered: answered.parse().ok()?,
        missed: missed.parse().ok()?,
    };
    Some((number.parse().ok()?, kept, sent.parse().ok()?, sample))
}

fn add(words: &str, kept: &mut Kept) -> Option<()> {
    match words.split(' ').collect::<Vec<_>>()[..] {
        ["at", pair, why, round_trip] => {
            kept.others.push((pair.parse::<Pair>().ok()?, reason(why)?, round_trip.parse().ok()?));
        }
        ["again", pair] => kept.again.push(pair.parse().ok()?),
        ["look", pair] => kept.looks.push(pair.parse().ok()?),
        _ => return None,
    }
    Some(())
}

/// Whether a line is one of the schedule's own, and not of a hint.
fn ours(line: &str) -> bool {
    ["block ", "at ", "again ", "look "].iter().any(|word| line.starts_with(word))
}

/// What the open port said that was read last.
fn keep_said(lines: &str, kept: &mut Kept) -> Option<()> {
    let (pair, ..) = kept.others.last()?;
    let body = format!("host ::1 closed refused\nport 1 open syn-ack 0\n{lines}");
    let hint = results::parse_hosts(&body).ok()?.pop()?.hints.pop()?;
    kept.said.insert(*pair, hint.said);
    Some(())
}

/// A reason that a pair can be kept with; what was cut short or left out is not.
fn reason(word: &str) -> Option<Reason> {
    let kept = |reason: &Reason| !matches!(reason, Reason::Excluded | Reason::Cancelled | Reason::Expired);
    word.parse().ok().filter(kept)
}
