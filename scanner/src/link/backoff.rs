//! How long to wait before trying again.

use std::time::Duration;

use crate::crypto;

/// Waits that double from 1 s to a limit, each shortened by chance to between half and all of it, so that many
/// scanners do not come back at once.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    limit: Duration,
}

const FIRST: Duration = Duration::from_secs(1);

impl Backoff {
    pub fn new(limit: Duration) -> Self {
        Self { next: FIRST.min(limit), limit }
    }

    /// The next wait.
    pub fn wait(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.limit);
        let chance = crypto::random::<1>().map_or(0, |[byte]| byte);
        full / 2 + full / 2 * u32::from(chance) / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_mins(1));
        for full in [1, 2, 4, 8, 16, 32, 60, 60] {
            let (full, wait) = (Duration::from_secs(full), backoff.wait());
            assert!(full / 2 <= wait && wait <= full, "{wait:?} of {full:?}");
        }
    }
}
