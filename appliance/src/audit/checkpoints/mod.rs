//! Checkpoints of the audit: made every hour, at shutdown and when asked for; and the check of the whole chain
//! against them.

pub mod routes;
pub(super) mod store;
mod task;

use serde_json::json;

use super::chain::{Break, Head, Summary};
use super::checkpoint::{Checkpoint, NotACheckpoint, Why};
use super::{Actor, Entry, Outcome, Record};
use crate::clock::Clock;
use crate::error::Result;
use crate::secrets::signing::CheckpointKey;
use crate::store::Store;

pub use task::keep;

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    store: Store,
    clock: Clock,
    key: CheckpointKey,
}

/// Why the audit is not as it was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The chain itself, or a head it should hold.
    #[error(transparent)]
    Chain(#[from] Break),
    /// A checkpoint in the database is none.
    #[error("checkpoint number {0} in the database {1}")]
    Stored(usize, NotACheckpoint),
    /// A checkpoint in the database is signed by someone else.
    #[error("the checkpoint of entry {0} in the database is signed with another key")]
    OtherKey(u64),
}

/// What the pages show of the chain.
#[derive(Clone, Debug)]
pub struct State {
    /// Where it ends now.
    pub head: Head,
    /// The newest checkpoint.
    pub last: Option<Checkpoint>,
    /// The entry that the last check of the whole chain left.
    pub checked: Option<(u64, Record)>,
}

impl Checkpoints {
    /// Works on this database with this key.
    #[must_use]
    pub fn new(store: Store, clock: Clock, key: CheckpointKey) -> Self {
        Self { store, clock, key }
    }

    /// The public key that signs them.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.key.public()
    }

    /// Signs the head as it is now and keeps it. A head that is signed already is not signed again; an empty chain
    /// has nothing to sign.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn make(&self, why: Why) -> Result<Option<Checkpoint>> {
        let (at, key) = (self.clock.now(), self.key.clone());
        self.store
            .note(move |tx| {
                let head = super::store::head(tx)?;
                if head == Head::EMPTY {
                    return Ok(None);
                }
                if let Some(there) = store::get(tx, head.seq)? {
                    return Ok(Some(there));
                }
                let made = Checkpoint::sign(head, at, why, &key);
                store::insert(tx, &made)?;
                Ok(Some(made))
            })
            .await
    }

    /// As [`Checkpoints::make`], at the wish of someone: the wish is an entry, which the checkpoint covers.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn ask(&self, actor: &Actor) -> Result<Option<Checkpoint>> {
        let entry = Entry::event("audit.checkpoint-asked", &json!(null));
        self.store.change(actor, move |_| Ok((entry, ()))).await?;
        self.make(Why::Asked).await
    }

    /// Checks the whole chain against every checkpoint in the database and `known` from elsewhere, and notes the
    /// outcome in the audit.
    ///
    /// # Errors
    /// The outer error is the database's, the inner one what was found.
    pub async fn check(
        &self,
        actor: &Actor,
        known: Option<Head>,
    ) -> Result<std::result::Result<Summary, Wrong>> {
        let key = self.key.public();
        let found = self.store.read(move |c| check(c, Some(&key), known)).await?;
        let entry = match &found {
            Ok(Summary { count, .. }) => {
                Entry::event("audit.verified", &json!({ "entries": count, "against": known.map(|k| k.seq) }))
            }
            Err(wrong) => {
                tracing::error!(%wrong, "the audit is not as it was signed");
                Entry::event("audit.broken", &json!({ "found": wrong.to_string() })).outcome(Outcome::Failed)
            }
        };
        self.store.change(actor, move |_| Ok((entry, ()))).await?;
        Ok(found)
    }

    /// What the pages show of the chain.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn state(&self) -> Result<State> {
        let read = |c: &_| {
            let (head, last, checked) = (super::store::head(c)?, store::last(c)?, store::last_check(c)?);
            Ok(State { head, last, checked })
        };
        self.store.read(read).await
    }

    /// At most `limit` checkpoints before entry `before`, newest first; and how many there are in all.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn list(&self, before: Option<u64>, limit: u32) -> Result<(Vec<Checkpoint>, u64)> {
        self.store.read(move |c| store::list(c, before, limit)).await
    }

    /// The checkpoint of the chain's first `seq` entries.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn get(&self, seq: u64) -> Result<Option<Checkpoint>> {
        self.store.read(move |c| store::get(c, seq)).await
    }
}

/// Checks the chain in a database, and that it holds every checkpoint there, each signed with `key` (or all with
/// one key, if none is given), and `known`.
///
/// # Errors
/// The outer error is the database's, the inner one what was found.
pub fn check(
    connection: &rusqlite::Connection,
    key: Option<&[u8; 32]>,
    known: impl IntoIterator<Item = Head>,
) -> Result<std::result::Result<Summary, Wrong>> {
    let mut heads: Vec<Head> = known.into_iter().collect();
    let mut key = key.copied();
    for (text, number) in store::texts(connection)?.iter().zip(1..) {
        match Checkpoint::read(text) {
            Ok(made) if made.key == *key.get_or_insert(made.key) => heads.push(made.head),
            Ok(made) => return Ok(Err(Wrong::OtherKey(made.head.seq))),
            Err(error) => return Ok(Err(Wrong::Stored(number, error))),
        }
    }
    Ok(super::store::verify(connection, heads)?.map_err(Wrong::Chain))
}

#[cfg(test)]
mod tests;
