//! The rate limit on whatever takes a secret: by source, 10 a second with a burst of 10.

use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

const PER_SECOND: i64 = 10;
const BURST: i64 = 10;
const COST: i64 = 1_000_000 / PER_SECOND;
/// Sources remembered at once; beyond it those that have recovered are forgotten, then all new ones share a bucket.
const SOURCES: usize = 10_000;

/// Tries by source.
pub struct Limit {
    clock: Clock,
    /// For each source, the moment up to which it has spent its allowance, in µs.
    spent: Mutex<HashMap<IpAddr, i64>>,
}

impl Limit {
    /// A limit by this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, spent: Mutex::default() }
    }

    /// Counts one try.
    ///
    /// # Errors
    /// `RateLimited` when the source has none left.
    pub fn take(&self, source: IpAddr) -> Result<(), Error> {
        let now = self.clock.now();
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= SOURCES {
            spent.retain(|_, until| *until > now.micros());
        }
        let key = if spent.len() >= SOURCES { IpAddr::from([0, 0, 0, 0]) } else { network(source) };
        let until = spent.entry(key).or_insert(0);
        let next = charged(*until, now).ok_or(Error::RateLimited { retry_s: 1 })?;
        *until = next;
        Ok(())
    }
}

/// The bucket's new level (GCRA), or none when it is full.
fn charged(until: i64, now: Timestamp) -> Option<i64> {
    let next = until.max(now.micros()) + COST;
    (next <= now.micros() + BURST * COST).then_some(next)
}

/// One person has a whole /64 of IPv6 addresses.
fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn ten_tries_pass_and_the_eleventh_waits_for_its_own_source_only() {
        let (clock, hand) = Clock::settable(Timestamp::from_micros(1_000_000));
        let limit = Limit::new(clock);
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let other: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..10 {
            limit.take(one).unwrap();
        }
        assert!(limit.take(neighbour).is_err());
        limit.take(other).unwrap();
        hand.advance(Duration::from_millis(100));
        limit.take(one).unwrap();
        assert!(limit.take(one).is_err());
    }
}
