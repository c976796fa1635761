//! What a host's answers say of the host: that it opens whatever is asked, or that it suffers.
//!
//! **Silence.** A host that falls silent in the middle of a scan looks like one with many filtered ports. The random
//! order tells them apart: if the host is as it was, any order of its answers is as likely as any other. Given `a`
//! answers among its first `n` probes and none among the next `r`, the chance that all `a` fall among the first `n` of
//! `n + r` is at most `(n / (n + r))^a`. Below the preset's [`Limits::chance`] it is distress. Only pairs that are
//! settled count, retries included, in the order of their first attempts. The test is made with each silent pair, so a
//! host with 65,535 filtered and open ports is wronged with a probability of less than 65,535 times that chance.
//!
//! **Latency.** A base from the first answers, then a row of answers far above it, over some time.

use super::pace::{Instant, SECOND};

/// From when on a host is left alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Answers before silence says anything, and silent ports in a row after them, at least.
    pub answers: u32,
    /// How unlikely the silence must be, if the host is as it was.
    pub chance: f64,
    /// An answer is slow that takes so many times the base, and so many microseconds more.
    pub times: u32,
    /// See [`Limits::times`].
    pub more: u32,
    /// Slow answers in a row.
    pub slow: u32,
    /// Over at least this time, in nanoseconds.
    pub over: u64,
}

/// Of `normal` and `fast`.
pub const USUAL: Limits =
    Limits { answers: 16, chance: 1e-9, times: 4, more: 200_000, slow: 16, over: 2 * SECOND };
/// Of `gentle`.
pub const TIGHT: Limits = Limits { answers: 8, chance: 1e-6, times: 2, more: 100_000, slow: 4, over: SECOND };

/// Answers from which the base is taken: the quickest of them.
const BASE: u32 = 8;

/// So many open ports, and more than nine of ten that answered: suspicious.
const MANY_OPEN: u32 = 32;

/// How many ports outside the job are asked of a host that opens everything.
pub const DECOYS: u8 = 8;

/// What is remembered of a host's answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// First attempts.
    sent: u32,
    /// Pairs that answered.
    answered: u32,
    /// The latest first attempt that led to an answer.
    last: u32,
    /// Pairs first attempted after that one that are settled without an answer.
    silent: u32,
    /// Those of them for which nothing was heard of any host since they were asked.
    doubtful: u32,
    /// The quickest of the first answers, in microseconds.
    base: u32,
    /// Slow answers in a row.
    slow: u32,
    slow_since: Instant,
    /// Pairs that are settled as open, and as closed.
    pub open: u32,
    /// See [`Watch::open`].
    pub closed: u32,
    /// Ports outside the job that are still to answer.
    pub decoys: u8,
    decoys_open: u8,
    checked: bool,
}

impl Watch {
    /// A pair is attempted the first time; gives the attempt's place among those, from 1.
    pub fn sent(&mut self) -> u32 {
        self.sent += 1;
        self.sent
    }

    /// An answer after so many microseconds, of a pair first attempted as `order`; what does not settle a pair has 0.
    /// Returns whether that was slow, which nothing is before there is a base.
    pub fn answered(&mut self, order: u32, micros: u32, now: Instant, limits: &Limits) -> bool {
        self.answered += u32::from(order > 0);
        if order > self.last {
            (self.last, self.silent, self.doubtful) = (order, 0, 0);
        }
        if self.answered <= BASE {
            self.base = if self.base == 0 { micros } else { self.base.min(micros) };
            return false;
        }
        if micros < self.base.saturating_mul(limits.times).max(self.base.saturating_add(limits.more)) {
            self.slow = 0;
        } else {
            self.slow += 1;
            if self.slow == 1 {
                self.slow_since = now;
            }
        }
        micros > self.base.saturating_mul(2).max(self.base.saturating_add(SLOWER))
    }

    /// A pair is settled without an answer; in doubt, if no other host answered either since it was asked.
    pub fn unanswered(&mut self, order: u32, doubtful: bool) {
        if order > self.last {
            self.silent += 1;
            self.doubtful += u32::from(doubtful);
        }
    }

    /// What is wrong with it, if something is: it… Beyond doubt, if only what is not in doubt is to count.
    pub fn distress(&self, now: Instant, limits: &Limits, beyond_doubt: bool) -> Option<String> {
        let Self { answered, silent, base, .. } = *self;
        let silent = silent - if beyond_doubt { self.doubtful } else { 0 };
        if self.slow >= limits.slow && now >= self.slow_since + limits.over {
            return Some(format!("answers far later than its {}.{:03} ms", base / 1_000, base % 1_000));
        }
        let enough = answered >= limits.answers && silent >= limits.answers;
        let chance = f64::from(self.last) / (f64::from(self.last) + f64::from(silent));
        (enough && chance.powf(f64::from(answered)) < limits.chance)
            .then(|| format!("answered {answered} times and then to none of {silent} ports"))
    }

    /// Whether it is in a row of slow or missing answers that may become distress.
    pub fn uneasy(&self) -> bool {
        self.answered > 0 && (self.silent > 3 || self.slow > 1)
    }

    /// Whether so many ports are open that others are to be asked; only once.
    pub fn opens_too_much(&mut self) -> bool {
        let much = self.open >= MANY_OPEN && self.open * 10 > (self.open + self.closed) * 9;
        much && !std::mem::replace(&mut self.checked, true)
    }

    /// A port outside the job was open, or not. Returns whether all of them were, when the last is told.
    pub fn decoy(&mut self, open: bool) -> bool {
        self.decoys -= 1;
        self.decoys_open += u8::from(open);
        self.decoys == 0 && self.decoys_open == DECOYS
    }
}

/// Beyond twice its base, and so many microseconds more, an answer counts as slower for the rate of the job.
const SLOWER: u32 = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// A host of `n` ports in a random order by `seed`, each of which answers with probability `share` of 1000.
    fn firewalled(n: u32, share: u64, seed: u64, limits: &Limits) -> bool {
        let (mut watch, mut state) = (Watch::default(), seed);
        (0..n).any(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let order = watch.sent();
            if (state >> 33) % 1_000 < share {
                watch.answered(order, 500, 0, limits);
            } else {
                watch.unanswered(order, false);
            }
            watch.distress(0, limits, false).is_some()
        })
    }

    #[test]
    fn a_host_with_many_filtered_ports_is_not_wronged() {
        for (share, limits) in
            [(10, &USUAL), (100, &USUAL), (500, &USUAL), (900, &USUAL), (999, &USUAL), (300, &TIGHT)]
        {
            let wronged = (0..200).filter(|seed| firewalled(5_000, share, *seed * 7 + 1, limits)).count();
            assert_eq!(wronged, 0, "with {share} of 1000 ports that answer");
        }
    }

    #[test]
    fn a_host_that_falls_silent_is_noticed_soon() {
        for (answers, limits, within) in
            [(16, &USUAL, 43), (200, &USUAL, 22), (5_000, &USUAL, 21), (100, &TIGHT, 15)]
        {
            let mut watch = Watch::default();
            for _ in 0..answers {
                let order = watch.sent();
                watch.answered(order, 500, 0, limits);
                assert_eq!(watch.distress(0, limits, false), None);
            }
            let noticed = (1..100).find(|_| {
                let order = watch.sent();
                watch.unanswered(order, false);
                watch.distress(0, limits, false).is_some()
            });
            assert!(noticed.is_some_and(|after| after <= within), "{noticed:?} after {answers} answers");
        }
    }

    #[test]
    fn silence_that_is_only_told_late_is_none() {
        // All 1,000 ports fly at once; the 100 filtered ones among them are told last.
        let mut watch = Watch::default();
        for order in (1..=1_000).filter(|order| order % 10 != 0) {
            watch.answered(order, 500, 0, &USUAL);
        }
        for order in (1..=1_000).filter(|order| order % 10 == 0) {
            watch.unanswered(order, false);
            assert_eq!(watch.distress(0, &USUAL, false), None);
        }
    }

    #[test]
    fn only_answers_that_stay_slow_for_a_while_are_distress() {
        let mut watch = Watch::default();
        (0..8).for_each(|_| _ = watch.answered(1, 1_000, 0, &USUAL));
        // All at one moment, as after this process was stopped for a while.
        (0..40).for_each(|_| assert!(watch.answered(1, 300_000, 9 * SECOND, &USUAL)));
        assert_eq!(watch.distress(9 * SECOND, &USUAL, false), None);
        watch.answered(1, 300_000, 12 * SECOND, &USUAL);
        assert_eq!(
            watch.distress(12 * SECOND, &USUAL, false),
            Some("answers far later than its 1.000 ms".into())
        );
        watch.answered(1, 1_000, 12 * SECOND, &USUAL);
        assert_eq!(watch.distress(12 * SECOND, &USUAL, false), None);
    }

    #[test]
    fn many_open_ports_among_closed_ones_are_not_too_much() {
        let mut watch = Watch { open: 100, closed: 12, ..Watch::default() };
        assert!(!watch.opens_too_much());
        watch = Watch { open: 31, ..watch };
        watch.closed = 0;
        assert!(!watch.opens_too_much());
        watch.open = 32;
        assert!(watch.opens_too_much() && !watch.opens_too_much(), "it is asked once");
    }
}
