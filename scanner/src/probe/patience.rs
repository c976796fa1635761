//! How long an answer is waited for, from how long answers took (RFC 6298).

use super::pace::{Instant, SECOND};

/// A smoothed round trip and how much it varies, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrip {
    /// 0 before the first answer.
    smoothed: u32,
    variation: u32,
}

impl RoundTrip {
    /// An answer took this long.
    pub fn heard(&mut self, micros: u32) {
        let micros = micros.max(1);
        if self.smoothed == 0 {
            (self.smoothed, self.variation) = (micros, micros / 2);
        } else {
            let off = self.smoothed.abs_diff(micros);
            self.variation = self.variation - self.variation / 4 + off / 4;
            self.smoothed = (self.smoothed - self.smoothed / 8 + micros / 8).max(1);
        }
    }

    /// In nanoseconds: an answer that takes longer is hardly to be expected. Nothing before the first answer.
    pub fn timeout(self) -> Option<u64> {
        (self.smoothed > 0).then_some((u64::from(self.smoothed) + 4 * u64::from(self.variation)) * 1_000)
    }
}

/// How many classes of patience there are.
pub const CLASSES: usize = LAST as usize + 1;
/// The class of the ceiling.
const LAST: u8 = 7;

/// The times that are waited: the floor, twice that and so on, and the ceiling. Probes of one class are given up in
/// the order in which they were sent, so that nothing needs sorting.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    floor: u64,
    ceiling: u64,
}

impl Patience {
    /// Between these, in milliseconds.
    pub fn new(floor_ms: u32, ceiling_ms: u32) -> Self {
        let nanos = |ms: u32| u64::from(ms) * (SECOND / 1_000);
        Self { floor: nanos(floor_ms.min(ceiling_ms)).max(1), ceiling: nanos(ceiling_ms) }
    }

    /// The longest wait, in nanoseconds.
    pub fn ceiling(self) -> u64 {
        self.ceiling
    }

    /// The class with the shortest wait that is at least so many nanoseconds, and that wait. The ceiling has a class
    /// of its own.
    pub fn class(self, wanted: u64) -> (u8, u64) {
        let times = wanted.min(self.ceiling).div_ceil(self.floor).max(1);
        let doublings = times.next_power_of_two().trailing_zeros();
        let wait = self.floor << doublings.min(63 - self.floor.ilog2());
        match u8::try_from(doublings) {
            Ok(class) if class < LAST && wait < self.ceiling => (class, wait),
            _ => (LAST, self.ceiling),
        }
    }
}

/// A probe's time: when it was sent, and when it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Sent.
    pub since: Instant,
    /// Given up.
    pub until: Instant,
    /// Its class of patience.
    pub class: u8,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLI: u64 = SECOND / 1_000;

    #[test]
    fn a_steady_round_trip_is_waited_for_little_longer_and_a_varying_one_much() {
        let (mut steady, mut varying) = (RoundTrip::default(), RoundTrip::default());
        assert_eq!(steady.timeout(), None);
        for i in 0..100 {
            steady.heard(20_000);
            varying.heard(if i % 2 == 0 { 10_000 } else { 30_000 });
        }
        assert!((20 * MILLI..22 * MILLI).contains(&steady.timeout().unwrap()), "{:?}", steady.timeout());
        assert!((50 * MILLI..70 * MILLI).contains(&varying.timeout().unwrap()), "{:?}", varying.timeout());
    }

    proptest! {
        #[test]
        fn a_class_waits_long_enough_and_the_same_for_all(
            floor in 0u32..5_000, ceiling in 1u32.., wanted in 0u64..1 << 50, other in 0u64..1 << 50,
        ) {
            let patience = Patience::new(floor, ceiling);
            let (class, wait) = patience.class(wanted);
            prop_assert!(usize::from(class) < CLASSES);
            prop_assert!(wait >= wanted.min(patience.ceiling()) && wait <= patience.ceiling());
            prop_assert!(wait >= patience.floor);
            let (same, as_long) = patience.class(other);
            prop_assert_eq!(class == same, wait == as_long);
        }
    }

    #[test]
    fn between_floor_and_ceiling_waits_double() {
        let patience = Patience::new(100, 1_000);
        let waits = [1, 100, 101, 250, 500, 900, 5_000].map(|ms| patience.class(ms * MILLI).1 / MILLI);
        assert_eq!(waits, [100, 100, 200, 400, 800, 1_000, 1_000]);
    }
}
