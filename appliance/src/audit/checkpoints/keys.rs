//! Which key signs the heads from which entry on. A new key is put in the place of the old one by an entry that names both;
//! so the chain itself says whose signature a checkpoint of before must have, and it goes on to count.

use portolan_scanner::wire::base64;
use rusqlite::Transaction;
use serde::Serialize;
use serde_json::json;

use super::{Checkpoints, Why};
use crate::audit::{Actor, Entry, Record};
use crate::error::Result;
use crate::ids::Random;
use crate::secrets::signing::{CHECKPOINTS, CheckpointKey};
use crate::secrets::{KEY_LEN, MasterKey, keyring};
use crate::store::Store;
use zeroize::Zeroizing;

/// What such an entry says was done.
pub const RENEWED: &str = "key.checkpoint-renewed";

/// The renewals that entries tell of, in the order of the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(Vec<Renewal>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Renewal {
    seq: u64,
    old: [u8; 32],
    new: [u8; 32],
}

impl Keys {
    /// Notes an entry, if it tells of a renewal. To be called in the order of the chain.
    pub fn note(&mut self, seq: u64, record: &Record) {
        let key = |name: &str| base64::decode_array(record.detail[name].as_str()?).ok();
        if record.action == RENEWED
            && let (Some(old), Some(new)) = (key("old"), key("new"))
        {
            self.0.push(Renewal { seq, old, new });
        }
    }

    /// The key that signs now, as far as the entries tell.
    #[must_use]
    pub fn newest(&self) -> Option<[u8; 32]> {
        self.0.last().map(|renewal| renewal.new)
    }

    /// The key that signed the head behind entry `seq`, when `newest` is the one that signs now.
    #[must_use]
    pub fn of(&self, seq: u64, newest: [u8; 32]) -> [u8; 32] {
        self.0.iter().find(|renewal| renewal.seq > seq).map_or(newest, |renewal| renewal.old)
    }

    /// The first renewal that does not go on from the one before it, or does not lead to `newest`: its entry.
    #[must_use]
    pub fn breaks_at(&self, newest: [u8; 32]) -> Option<u64> {
        let next = self.0.iter().skip(1).map(|renewal| renewal.old).chain([newest]);
        self.0.iter().zip(next).find(|(renewal, next)| renewal.new != *next).map(|(renewal, _)| renewal.seq)
    }
}

/// A renewal that was done.
#[derive(Clone, Debug, Serialize)]
pub struct Renewed {
    /// The public key that signed until now, Base64.
    pub old: String,
    /// The public key that signs from now on, Base64.
    pub new: String,
}

/// Puts a new key in the place of the one that signs checkpoints: signs the head once more with the old one, writes the entry
/// that names both, and signs the head behind it with the new one. Nobody else may sign meanwhile: whoever calls holds the
/// place of the manager.
///
/// # Errors
/// Any from the database. After an error the old key signs, or the new one: never none.
pub async fn renew(store: &Store, master: &MasterKey, random: &Random, actor: &Actor) -> Result<Renewed> {
    let clock = store.clock().clone();
    let old = CheckpointKey::of(master);
    let was = base64::encode(&old.public());
    Checkpoints::new(store.clone(), clock.clone(), old).make(Why::Asked).await?;
    let bytes = Zeroizing::new(random.bytes::<KEY_LEN>());
    let new = CheckpointKey::from_secret(&bytes);
    let renewed = Renewed { old: was, new: base64::encode(&new.public()) };
    let (master, random, at, told) = (master.clone(), random.clone(), clock.now(), renewed.clone());
    let change = move |tx: &Transaction| {
        keyring::renew_lasting(tx, &master, &random, (CHECKPOINTS, &bytes), at)?;
        let detail = json!({ "old": told.old, "new": told.new });
        Ok((Entry::event(RENEWED, &detail).on("key", CHECKPOINTS), ()))
    };
    store.change(actor, change).await?;
    Checkpoints::new(store.clone(), clock, new).make(Why::Asked).await?;
    Ok(renewed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn key(seed: u8) -> [u8; 32] {
        [seed; 32]
    }

    fn keys(renewals: &[(u64, u8, u8)]) -> Keys {
        let mut keys = Keys::default();
        for (seq, old, new) in renewals {
            let detail = json!({ "old": base64::encode(&key(*old)), "new": base64::encode(&key(*new)) });
            let record = Entry::event(RENEWED, &detail).record(&Actor::cli("admin"), Timestamp::EPOCH);
            keys.note(*seq, &record);
        }
        keys
    }

    #[test]
    fn a_key_signs_up_to_the_entry_that_replaces_it() {
        let keys = keys(&[(10, 1, 2), (20, 2, 3)]);
        let signed = |seq| keys.of(seq, key(3))[0];
        assert_eq!([1, 9, 10, 19, 20, 99].map(signed), [1, 1, 2, 2, 3, 3]);
        assert_eq!(Keys::default().of(5, key(7)), key(7));
        assert_eq!((keys.newest(), Keys::default().newest()), (Some(key(3)), None));
    }

    #[test]
    fn renewals_follow_one_another_up_to_the_newest_key() {
        assert_eq!(keys(&[(10, 1, 2), (20, 2, 3)]).breaks_at(key(3)), None);
        assert_eq!(keys(&[(10, 1, 2), (20, 2, 3)]).breaks_at(key(4)), Some(20));
        assert_eq!(keys(&[(10, 1, 2), (20, 9, 3)]).breaks_at(key(3)), Some(10));
        assert_eq!(Keys::default().breaks_at(key(3)), None);
    }
}
