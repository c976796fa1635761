//! The probe's clock: the only place of it that reads one.

use std::time::{Instant as Monotonic, SystemTime, UNIX_EPOCH};

use super::pace::Instant;

/// A clock that never goes back, and the time of day at which it was started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Monotonic,
    started: i64,
}

impl Clock {
    /// Starts at 0, now.
    pub fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place where the probe reads the time of day")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Monotonic::now(), started: i64::try_from(since.as_micros()).unwrap_or(i64::MAX) }
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> Instant {
        u64::try_from(self.start.elapsed().as_nanos()).expect("584 years do not pass")
    }

    /// The time of day at that moment, in microseconds since 1970 UTC. It goes on steadily from the start even
    /// if the system's time is set meanwhile.
    pub fn time_of_day(&self, at: Instant) -> i64 {
        self.started.saturating_add(i64::try_from(at / 1_000).unwrap_or(i64::MAX))
    }
}
