//! A rate without bursts.

/// Nanoseconds on a clock that never goes back; where it starts is the caller's choice.
pub type Instant = u64;

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// A token bucket kept as a single number: the moment at which the next probe is due (the generic cell rate
/// algorithm). A caller who comes late may catch up on the last [`SLACK`], so that one who sleeps in whole
/// milliseconds still keeps a high rate; what was not used before that is lost. In any span of time at most
/// `rate x (span + SLACK) + 1` probes pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    due: Instant,
}

/// A rate, kept apart from [`Pace`] so that many hosts share one.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    gap: u64,
    catch_up: u64,
}

/// How far behind its due moment a pace may at most catch up: two milliseconds.
pub const SLACK: u64 = SECOND / 500;

impl Rate {
    /// `per_second` probes a second; 0 counts as 1.
    pub fn new(per_second: u32) -> Self {
        let gap = SECOND / u64::from(per_second.max(1));
        // Two probes at a slow rate never come closer than half their gap; at a high rate they come in small
        // groups, at most one for each gap in the slack.
        Self { gap, catch_up: (gap / 2).min(SLACK).max(SLACK.saturating_sub(gap)) }
    }
}

impl Pace {
    /// The moment from which the next probe may go.
    pub fn ready_at(self) -> Instant {
        self.due
    }

    /// Notes that a probe went `now`, which is at or after `ready_at`.
    pub fn take(&mut self, rate: Rate, now: Instant) {
        self.due = self.due.max(now.saturating_sub(rate.catch_up)) + rate.gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes whenever it may, looking every `step`, and returns the moments.
    fn run(rate: Rate, step: u64, until: Instant) -> Vec<Instant> {
        let mut pace = Pace::default();
        let mut taken = Vec::new();
        let mut now = SECOND;
        while now < SECOND + until {
            while pace.ready_at() <= now {
                pace.take(rate, now);
                taken.push(now);
            }
            now += step;
        }
        taken
    }

    #[test]
    fn a_slow_rate_keeps_its_gap_between_any_two_but_for_what_the_caller_was_late() {
        let taken = run(Rate::new(10), 1_700_000, 2 * SECOND);
        assert!((20..=21).contains(&taken.len()));
        assert!(taken.windows(2).all(|pair| pair[1] - pair[0] >= SECOND / 10 - SLACK));
    }

    #[test]
    fn a_rate_is_reached_by_a_caller_who_is_always_late() {
        for per_second in [10, 300, 400, 450, 600, 1_000, 5_000] {
            // He asks when the next is due and comes a bit more than a millisecond after.
            let (rate, mut pace) = (Rate::new(per_second), Pace::default());
            let (mut now, mut count) = (SECOND, 0);
            while now < 3 * SECOND {
                while pace.ready_at() <= now {
                    pace.take(rate, now);
                    count += 1;
                }
                now = pace.ready_at().next_multiple_of(1_000_000) + 100_000;
            }
            let wanted = 2 * per_second;
            assert!(
                (wanted * 97 / 100..=wanted + per_second / 100 + 2).contains(&count),
                "{per_second}/s: {count}"
            );
        }
    }

    #[test]
    fn a_high_rate_is_reached_by_a_caller_who_sleeps_whole_milliseconds() {
        let taken = run(Rate::new(50_000), 1_000_000, SECOND);
        assert!((49_900..=50_110).contains(&taken.len()), "{}", taken.len());
    }

    #[test]
    fn no_span_holds_more_than_the_rate_and_the_slack_allow() {
        let per_second = 20_000;
        let taken = run(Rate::new(per_second), 700_000, SECOND);
        for span in [1_000_000, 10_000_000, 100_000_000] {
            let bound = u64::from(per_second) * (span + SLACK) / SECOND + 1;
            for (i, start) in taken.iter().enumerate() {
                let inside = taken[i..].iter().take_while(|t| *t - start < span).count() as u64;
                assert!(inside <= bound, "{inside} in {span} ns, bound {bound}");
            }
        }
    }

    #[test]
    fn a_pause_saves_up_nothing() {
        let rate = Rate::new(1_000);
        let mut pace = Pace::default();
        let mut passed = 0;
        pace.take(rate, SECOND);
        let later = 60 * SECOND;
        while pace.ready_at() <= later {
            pace.take(rate, later);
            passed += 1;
        }
        assert!(passed <= 3, "{passed} at once after a minute's pause");
    }
}
