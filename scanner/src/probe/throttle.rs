//! Slower when the network does not bear the job's rate, and step by step back to it.

use super::pace::{Instant, SECOND};

/// The job's whole rate, in parts.
pub const WHOLE: u32 = 64;
/// It never goes below this: some networks lose at any rate.
const LEAST: u32 = 8;
/// After each quiet time so many parts more.
const STEP: u32 = 8;
const QUIET: u64 = 5 * SECOND;
/// After a change, answers of before it are still on their way.
const BLIND: u64 = SECOND;
/// Answers that are judged together: slow if more than half of them were, and so the median is.
const WINDOW: u32 = 64;
/// Answers of the sample that are judged together, and how many of them were missed at first if there is loss.
const LOOKS: u32 = 64;
const MISSED: u32 = 2;

/// The part of its rate at which a job goes.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    share: u32,
    /// When the share was last changed.
    changed: Instant,
    answers: u32,
    slow: u32,
    looks: u32,
    missed: u32,
}

/// The share was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Halved, for this reason.
    Slower(&'static str),
    /// A step back.
    Faster,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { share: WHOLE, changed: 0, answers: 0, slow: 0, looks: 0, missed: 0 }
    }
}

impl Throttle {
    /// Of [`WHOLE`].
    pub fn share(self) -> u32 {
        self.share
    }

    /// An answer came, more than twice as late as the host's first ones or not.
    pub fn answer(&mut self, slow: bool, now: Instant) -> Option<Change> {
        (self.answers, self.slow) = (self.answers + 1, self.slow + u32::from(slow));
        if self.answers < WINDOW {
            return None;
        }
        let why = (self.slow * 2 > self.answers).then_some("answers take twice as long as before");
        (self.answers, self.slow) = (0, 0);
        self.judge(why, now)
    }

    /// The second look at a pair was answered; the first had missed it or not.
    pub fn look(&mut self, missed: bool, now: Instant) -> Option<Change> {
        (self.looks, self.missed) = (self.looks + 1, self.missed + u32::from(missed));
        if self.missed < MISSED && self.looks < LOOKS {
            return None;
        }
        let why = (self.missed >= MISSED).then_some("a second look finds what the first has missed");
        (self.looks, self.missed) = (0, 0);
        self.judge(why, now)
    }

    fn judge(&mut self, why: Option<&'static str>, now: Instant) -> Option<Change> {
        match why {
            Some(why) if now >= self.changed + BLIND && self.share > LEAST => {
                (self.share, self.changed) = ((self.share / 2).max(LEAST), now);
                Some(Change::Slower(why))
            }
            None if self.share < WHOLE && now >= self.changed + QUIET => {
                (self.share, self.changed) = ((self.share + STEP).min(WHOLE), now);
                Some(Change::Faster)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(throttle: &mut Throttle, slow: bool, now: Instant) -> Option<Change> {
        (0..WINDOW).find_map(|_| throttle.answer(slow, now))
    }

    #[test]
    fn it_halves_while_answers_are_slow_and_comes_back_in_steps() {
        let mut throttle = Throttle::default();
        for (second, share) in [(2, 32), (4, 16), (6, 8)] {
            assert!(matches!(answers(&mut throttle, true, second * SECOND), Some(Change::Slower(_))));
            assert_eq!(answers(&mut throttle, true, second * SECOND + 1), None, "not at once again");
            assert_eq!(throttle.share(), share);
        }
        let mut shares = Vec::new();
        for second in 7..100 {
            if answers(&mut throttle, false, second * SECOND) == Some(Change::Faster) {
                shares.push(throttle.share());
            }
        }
        assert_eq!(shares, [16, 24, 32, 40, 48, 56, 64], "and never above the whole");
    }

    #[test]
    fn a_few_slow_answers_or_a_single_miss_change_nothing() {
        let mut throttle = Throttle::default();
        for i in 0..10_000 {
            assert_eq!(throttle.answer(i % 3 == 0, 9 * SECOND), None);
            assert_eq!(throttle.look(i % 100 == 0, 9 * SECOND), None);
        }
        assert_eq!(throttle.look(true, 9 * SECOND), None);
        assert!(matches!(throttle.look(true, 9 * SECOND), Some(Change::Slower(_))));
    }

    #[test]
    fn it_never_stops_altogether() {
        let mut throttle = Throttle::default();
        for second in 2..40 {
            answers(&mut throttle, true, second * 2 * SECOND);
        }
        assert_eq!(throttle.share(), LEAST);
    }
}
