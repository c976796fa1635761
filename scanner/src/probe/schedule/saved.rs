//! A schedule as text, to go on with it after the process is gone: the step of the walk, what was taken out, and of each
//! block that is worked on how many turns were drawn, what came of them, and which are to be taken again.
//!
//! ```text
//! step 12 by 0.1.0       of which version: another may leave out other ports
//! spared 10.0.0.7, 10.0.1.0/24
//! block 7 5000 5012 1790000000000000 refused 3 2 0
//!                        number, turns drawn, attempts, when it was begun (µs UTC), the reason of all that was drawn
//!                        but what follows; the sample
//! look 42                a pair that is to be looked at a second time
//! host 3 no-answer       another reason, of all that was drawn of the host at this place but what follows
//! at 131 syn-ack 420     another reason of a pair, with the round trip in µs
//! again 77               a pair without an answer yet
//! said 131 says SSH-2.0  what it said of itself, as in a results frame
//! ```

use std::fmt::Write as _;

use portolan_scanner::net::Ranges;

use super::Schedule;
use crate::probe::block::Reading;

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Schedule {
    /// What is to be kept of it, line by line; `zero` is the time of day at the clock's start, in µs UTC.
    pub fn save(&self, zero: i64) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "step {} by {VERSION}\nspared {}", self.step, self.spared.hosts);
        self.blocks.iter().for_each(|block| block.save(zero, &mut text));
        text
    }

    /// Goes on from what was saved of the same job, but not before step `from` of the walk.
    ///
    /// # Errors
    /// The number of the first line that cannot be one of this job, from 1.
    pub fn restore(&mut self, text: &str, from: u64, zero: i64) -> Result<(), usize> {
        let mut lines = (1usize..).zip(text.lines()).peekable();
        let mut first = |word: &str| lines.next().and_then(|(_, line)| line.strip_prefix(word));
        let step =
            first("step ").and_then(|step| step.strip_suffix(VERSION)?.strip_suffix(" by ")?.parse().ok());
        let mut step = step.filter(|step: &u64| *step <= self.job.blocks()).ok_or(1usize)?;
        let spared = first("spared ").and_then(|list| Ranges::parse(list).ok()).ok_or(2usize)?;
        self.start_at(step.max(from));
        self.exclude(&spared);
        while let Some((at, line)) = lines.next() {
            let number = Reading::number(line).filter(|number| {
                step < self.job.blocks() && self.walk.at(step.into()) == u128::from(*number)
            });
            let mut block = self.block(number.ok_or(at)?, 0);
            block.spare(&self.spared);
            let mut block = Reading::begin(line, zero, block).ok_or(at)?;
            while let Some((at, line)) = lines.next_if(|(_, line)| !line.starts_with("block ")) {
                block.line(line).ok_or(at)?;
            }
            let block = block.end().ok_or(at)?;
            if step >= self.step {
                self.progress.done += u64::from(block.pairs() - block.left);
                self.progress.open += block.open();
                self.blocks.push_back(block);
                // Who was about to be asked for other ports was not, or nobody knows what came of it.
                let index = self.blocks.len() - 1;
                (0..self.blocks[index].hosts.len()).for_each(|place| self.suspect(index, place, 0));
            }
            step += 1;
        }
        Ok(())
    }
}
