//! The rate limits on whatever takes a secret, by source: 10 tries a second with a burst of 10, of which 10 a minute
//! may be wrong. A wrong one is an entry in the audit, so the second also bounds how fast a stranger fills that.

use crate::clock::Clock;
use crate::error::Error;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Tries at once, and wrong ones at once.
const BURST: i64 = 10;
/// What a try costs, in µs.
const TRY: i64 = 1_000_000 / 10;
/// What a wrong one costs, in µs.
const WRONG: i64 = 60_000_000 / 10;
/// Sources remembered at once; beyond it those that have recovered are forgotten, then all new ones share a bucket.
const SOURCES: usize = 10_000;

/// Turns at once.
const LANES: usize = 64;
/// Those that may be in one lane: one whose turn it is, and those who wait for it. More than the tries that one source has at
/// once, so that nobody fills a lane alone.
const IN_LANE: usize = 17;

/// The bucket of all sources that are not remembered.
const SHARED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// Tries by source.
pub struct Limit {
    clock: Clock,
    /// What one costs, in µs.
    cost: i64,
    /// For each source, the moment up to which it has spent its allowance, in µs.
    spent: Mutex<HashMap<IpAddr, i64>>,
}

impl Limit {
    /// The limit on tries.
    #[must_use]
    pub fn on_tries(clock: Clock) -> Self {
        Self { clock, cost: TRY, spent: Mutex::default() }
    }

    /// The limit on wrong tries.
    #[must_use]
    pub fn on_wrong_ones(clock: Clock) -> Self {
        Self { clock, cost: WRONG, spent: Mutex::default() }
    }

    /// Whether the source has any left; counts nothing.
    ///
    /// # Errors
    /// `RateLimited` when it has none.
    pub fn check(&self, source: IpAddr) -> Result<(), Error> {
        let spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let known =
            spent.get(&network(source)).or_else(|| spent.get(&SHARED).filter(|_| spent.len() >= SOURCES));
        self.charged(known.copied().unwrap_or(0)).map(drop)
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
        let key = network(source);
        let key = if spent.len() >= SOURCES && !spent.contains_key(&key) { SHARED } else { key };
        let until = spent.entry(key).or_insert(0);
        *until = self.charged(*until)?;
        Ok(())
    }

    /// The bucket's new level (GCRA), unless it is full.
    fn charged(&self, until: i64) -> Result<i64, Error> {
        let now = self.clock.now().micros();
        let next = until.max(now) + self.cost;
        let over = next - (now + BURST * self.cost);
        if over <= 0 {
            return Ok(next);
        }
        Err(Error::RateLimited { retry_s: u64::try_from(over).unwrap_or(0).div_ceil(1_000_000) })
    }
}

/// Turns at what one source does one at a time.
pub struct Turns {
    lanes: [Lane; LANES],
    /// Drawn anew at each start: nobody can tell which other sources share a lane with somebody's.
    drawn: RandomState,
}

struct Lane {
    places: Arc<Semaphore>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A turn; it is over when it is dropped.
pub struct Turn {
    _turn: tokio::sync::OwnedMutexGuard<()>,
    _place: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        let lane = |_| Lane { places: Arc::new(Semaphore::new(IN_LANE)), turn: Arc::default() };
        Self { lanes: std::array::from_fn(lane), drawn: RandomState::new() }
    }
}

impl Turns {
    /// The turn of this source, once those before it are over. Some sources share one: to them it only takes longer.
    ///
    /// # Errors
    /// `RateLimited` when too many wait for it.
    pub async fn of(&self, source: IpAddr) -> Result<Turn, Error> {
        let lane = usize::try_from(self.drawn.hash_one(network(source)) % LANES as u64).unwrap_or(0);
        let lane = &self.lanes[lane];
        let place = Arc::clone(&lane.places).try_acquire_owned();
        let place = place.map_err(|_| Error::RateLimited { retry_s: 1 })?;
        Ok(Turn { _turn: Arc::clone(&lane.turn).lock_owned().await, _place: place })
    }
}

/// What counts as one source: one person has a whole /64 of IPv6 addresses.
#[must_use]
pub fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use std::future::Future as _;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    #[test]
    fn ten_tries_pass_and_the_eleventh_waits_for_its_own_source_only() {
        let (clock, hand) = Clock::settable(Timestamp::from_micros(1_000_000));
        let limit = Limit::on_tries(clock);
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

    #[test]
    fn ten_wrong_ones_a_minute_and_the_answer_says_when_the_next_may_come() {
        let (clock, hand) = Clock::settable(Timestamp::from_micros(1_000_000));
        let limit = Limit::on_wrong_ones(clock);
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..10 {
            limit.check(one).unwrap();
            limit.take(one).unwrap();
        }
        assert!(matches!(limit.check(one), Err(Error::RateLimited { retry_s: 6 })));
        limit.check("192.0.2.2".parse().unwrap()).unwrap();
        hand.advance(Duration::from_secs(6));
        limit.check(one).unwrap();
    }

    #[tokio::test]
    async fn sixteen_wait_for_a_turn_and_the_next_one_is_sent_away() {
        let turns = Arc::new(Turns::default());
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        let first = turns.of(source).await.unwrap();
        let mut waiting: Vec<_> = (0..16).map(|_| Box::pin(turns.of(source))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let next = Box::pin(turns.of(source)).as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(next, Poll::Ready(Err(Error::RateLimited { retry_s: 1 }))));
        drop((first, waiting.pop()));
        for one in waiting {
            drop(one.await.unwrap());
        }
        turns.of(source).await.unwrap();
    }

    #[test]
    fn a_source_that_is_remembered_keeps_its_own_bucket_when_there_are_too_many() {
        let (clock, _hand) = Clock::settable(Timestamp::from_micros(1_000_000));
        let limit = Limit::on_tries(clock);
        let source = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n));
        for n in 0..10_000 {
            limit.take(source(n)).unwrap();
        }
        for n in 10_000..10_010 {
            limit.take(source(n)).unwrap();
        }
        assert!(limit.take(source(10_010)).is_err(), "those that came too late share one");
        limit.take(source(7)).unwrap();
    }
}
