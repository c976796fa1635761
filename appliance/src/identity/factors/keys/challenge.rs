//! Challenges: what a security key signs. Kept nowhere until they are used: each carries its time and our signature
//! over it and over what it is for, so that asking for many costs us nothing.

use crate::clock::Timestamp;
use crate::ids::Random;
use crate::secrets;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a challenge can be answered.
pub const LIFETIME: Duration = Duration::from_secs(5 * 60);
const LENGTH: usize = 8 + 16 + 32;

/// Makes challenges and knows them again, each once.
pub struct Challenges {
    key: [u8; 32],
    /// Those that were answered, and until when they could be again.
    used: Mutex<HashMap<[u8; LENGTH], Timestamp>>,
}

impl Challenges {
    /// Challenges signed with this key, derived from the master key.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key, used: Mutex::default() }
    }

    /// A new one for `purpose`.
    pub fn make(&self, purpose: &str, now: Timestamp, random: &Random) -> [u8; LENGTH] {
        let mut made = [0; LENGTH];
        made[..8].copy_from_slice(&now.micros().to_be_bytes());
        random.fill(&mut made[8..24]);
        let mac = self.sign(purpose, &made[..24]);
        made[24..].copy_from_slice(&mac);
        made
    }

    /// Whether this was made here for `purpose`, not long ago, and not answered yet.
    pub fn is_open(&self, purpose: &str, challenge: &[u8], now: Timestamp) -> bool {
        let Ok(challenge) = <&[u8; LENGTH]>::try_from(challenge) else { return false };
        let (said, mac) = challenge.split_at(24);
        let made = said.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        let made = Timestamp::from_micros(made);
        secrets::equal(&self.sign(purpose, said), mac)
            && made <= now
            && now.since(made) <= LIFETIME
            && !self.used.lock().unwrap_or_else(PoisonError::into_inner).contains_key(challenge)
    }

    /// Marks it as answered; false when it was already.
    pub fn close(&self, challenge: &[u8], now: Timestamp) -> bool {
        let Ok(challenge) = <[u8; LENGTH]>::try_from(challenge) else { return false };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, until| *until >= now);
        used.insert(challenge, now + LIFETIME).is_none()
    }

    fn sign(&self, purpose: &str, said: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(b"portolan-challenge-v1");
        mac.update(said);
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_answered_once_in_time_and_for_its_purpose() {
        let challenges = Challenges::new([1; 32]);
        let now = Timestamp::from_micros(1_000_000_000);
        let made = challenges.make("alone", now, &Random::seeded(1));
        assert!(challenges.is_open("alone", &made, now + LIFETIME));
        assert!(!challenges.is_open("second", &made, now));
        assert!(!challenges.is_open("alone", &made, now + LIFETIME + Duration::from_micros(1)));
        assert!(!challenges.is_open("alone", &made, now - Duration::from_secs(1)));
        assert!(!Challenges::new([2; 32]).is_open("alone", &made, now));
        for at in 0..made.len() {
            let mut bent = made;
            bent[at] ^= 1;
            assert!(!challenges.is_open("alone", &bent, now), "byte {at}");
        }
        assert!(!challenges.is_open("alone", &made[..55], now));
        assert!(challenges.close(&made, now));
        assert!(!challenges.is_open("alone", &made, now));
        assert!(!challenges.close(&made, now));
    }
}
