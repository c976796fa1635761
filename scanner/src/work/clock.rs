//! The scanner's clock, and what is known of the appliance's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// This machine's clock and its offset to the appliance's. Clocks behind an air gap are wrong; nothing here trusts
/// this machine's to be right.
#[derive(Debug, Default)]
pub struct Clock {
    offset: AtomicI64,
}

impl Clock {
    /// Now, by this machine: µs UTC.
    #[expect(clippy::unused_self, reason = "the time is always asked of a Clock")]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the link asks the system for the time"
    )]
    pub fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    /// What to add to this machine's clock to get the appliance's, in µs.
    pub fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Now, by the appliance: µs UTC.
    pub fn appliance_now(&self) -> i64 {
        self.now().saturating_add(self.offset())
    }

    /// Learns that the appliance's clock was `theirs` at some moment between `sent` and now.
    pub fn learn(&self, theirs: i64, sent: i64) {
        let between = sent.midpoint(self.now());
        self.offset.store(theirs.saturating_sub(between), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_leads_to_the_appliances_time() {
        let clock = Clock::default();
        let now = clock.now();
        clock.learn(now + 3_600_000_000, now);
        assert!((clock.appliance_now() - now - 3_600_000_000).abs() < 1_000_000);
        clock.learn(i64::MIN, now);
        assert!(clock.appliance_now() < now);
    }
}
