//! Identifiers and secrets: where chance comes from, as a parameter.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::clock::Clock;

/// A source of random bytes. Cheap to clone.
#[derive(Clone)]
pub struct Random(Source);

#[derive(Clone)]
enum Source {
    Kernel,
    Seeded { seed: u64, drawn: Arc<AtomicU64> },
}

impl Random {
    /// The kernel's generator: the only source for secrets outside tests.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::Kernel)
    }

    /// The same bytes for the same seed, in the same order of calls. For tests only.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded { seed, drawn: Arc::default() })
    }

    /// Fills `bytes`.
    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.0 {
            Source::Kernel => {
                getrandom::fill(bytes).expect("getrandom(2) cannot fail on a kernel that has booted");
            }
            Source::Seeded { seed, drawn } => {
                for chunk in bytes.chunks_mut(32) {
                    let draw = drawn.fetch_add(1, Ordering::SeqCst);
                    let block =
                        Sha256::new().chain_update(seed.to_be_bytes()).chain_update(draw.to_be_bytes());
                    chunk.copy_from_slice(&block.finalize()[..chunk.len()]);
                }
            }
        }
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A secret of 256 bits as 43 URL-safe characters.
    #[must_use]
    pub fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<32>())
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Kernel => "Random(kernel)",
            Source::Seeded { .. } => "Random(seeded)",
        })
    }
}

/// Makes identifiers: UUIDs of version 7 whose first 60 bits are the time to about a microsecond
/// (RFC 9562, section 6.2, method 3), so that they sort as they were made.
#[derive(Clone, Debug)]
pub struct Ids {
    clock: Clock,
    random: Random,
}

impl Ids {
    /// Identifiers from this clock and this chance.
    #[must_use]
    pub fn with(clock: Clock, random: Random) -> Self {
        Self { clock, random }
    }

    /// A new identifier.
    #[must_use]
    #[expect(clippy::new_ret_no_self, reason = "reads as `ids.new()` where it is used")]
    pub fn new(&self) -> Uuid {
        let micros = u64::try_from(self.clock.now().micros()).unwrap_or(0);
        let mut tail = self.random.bytes::<10>();
        // 0..1000 µs spread over the 12 bits that follow the milliseconds.
        let [high, low] = u16::try_from(micros % 1_000 * 4_096 / 1_000).expect("below 4096").to_be_bytes();
        tail[0] = high;
        tail[1] = low;
        uuid::Builder::from_unix_timestamp_millis(micros / 1_000, &tail).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn ids_are_version_7_and_sort_as_they_were_made() {
        let (clock, hand) = Clock::settable(Timestamp::from_micros(1_795_341_600_000_000));
        let ids = Ids::with(clock, Random::seeded(1));
        let made: Vec<Uuid> = (0..2_500)
            .map(|_| {
                hand.advance(Duration::from_micros(1));
                ids.new()
            })
            .collect();
        assert!(made.is_sorted());
        assert!(made.iter().all(|id| id.get_version_num() == 7));
    }

    #[test]
    fn the_same_seed_gives_the_same_ids_and_no_two_alike() {
        let make = || {
            let ids = Ids::with(Clock::fixed(Timestamp::EPOCH), Random::seeded(7));
            (ids.new(), ids.new())
        };
        assert_eq!(make(), make());
        assert_ne!(make().0, make().1);
    }

    #[test]
    fn a_token_has_256_bits() {
        assert_eq!(Random::system().token().len(), 43);
        assert_ne!(Random::system().token(), Random::system().token());
    }
}
