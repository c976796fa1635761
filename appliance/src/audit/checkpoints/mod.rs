//! Checkpoints of the audit: made every hour, at shutdown and when asked for; and the check of the whole chain
//! against them.

pub mod keys;
pub mod routes;
pub(super) mod store;
mod task;

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tokio::task::{AbortHandle, JoinHandle};

use super::chain::{Break, Head, Summary};
use super::checkpoint::{Checkpoint, NotACheckpoint, Why};
use super::{Actor, Entry, Outcome, Record};
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::secrets::signing::CheckpointKey;
use crate::store::Store;

pub use task::keep;

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    store: Store,
    clock: Clock,
    key: CheckpointKey,
    /// Held while the chain is checked: one walk at a time.
    one: Arc<tokio::sync::Mutex<()>>,
    running: Arc<Mutex<Option<Running>>>,
}

/// A check that runs, or the last that ran.
#[derive(Debug)]
struct Running {
    since: Timestamp,
    task: AbortHandle,
}

/// What a check of the chain comes to: the outer error is the database's, the inner one what was found.
pub type Checked = Result<std::result::Result<Summary, Wrong>>;

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
    /// The entries that tell of new keys do not lead to the one that signs.
    #[error(
        "the key of checkpoints was renewed by entry {0}, to another than the one that it is checked against"
    )]
    Renewal(u64),
    /// A column beside a checkpoint says something else than what was signed.
    #[error("checkpoint number {0} in the database: its column {1} does not say what was signed")]
    Column(usize, &'static str),
    /// Where the head was to be signed, there was something before the head was.
    #[error(
        "a checkpoint of entry {0} was in the database before there was that entry: it is not of this chain"
    )]
    Taken(u64),
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
    /// Since when a check runs, if one does.
    pub checking: Option<Timestamp>,
}

impl Checkpoints {
    /// Works on this database with this key.
    #[must_use]
    pub fn new(store: Store, clock: Clock, key: CheckpointKey) -> Self {
        let (one, running) = (Arc::default(), Arc::default());
        Self { store, clock, key, one, running }
    }

    /// Whether a checkpoint from elsewhere is signed with the key that signed here at that time.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn signed(&self, made: &Checkpoint) -> Result<bool> {
        let (newest, key, seq) = (self.public(), made.key, made.head.seq);
        self.store.read(move |db| Ok(store::keys(db)?.of(seq, newest) == key)).await
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
    /// Any from the database. When something else stands where the signed head belongs, put there by someone who can
    /// write the database: that goes to the audit, whose new head can be signed.
    pub async fn make(&self, why: Why) -> Result<Option<Checkpoint>> {
        let (at, key) = (self.clock.now(), self.key.clone());
        let made = self.store.note(move |tx| {
            let head = super::store::head(tx)?;
            if head == Head::EMPTY {
                return Ok(Ok(None));
            }
            if let Some(there) = store::text_of(tx, head.seq)? {
                let ours = |there: &Checkpoint| there.head == head && there.key == key.public();
                return Ok(match Checkpoint::read(&there) {
                    Ok(there) if ours(&there) => Ok(Some(there)),
                    _ => Err(Wrong::Taken(head.seq)),
                });
            }
            let made = Checkpoint::sign(head, at, why, &key);
            store::insert(tx, &made)?;
            Ok(Ok(Some(made)))
        });
        match made.await? {
            Ok(made) => Ok(made),
            Err(wrong) => {
                self.note_wrong(&Actor::system("manager"), &wrong).await?;
                Err(Error::internal(wrong))
            }
        }
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

    /// Begins to check the whole chain against every checkpoint in the database and `known` from elsewhere; the outcome
    /// goes to the audit, whoever waits for it or not.
    ///
    /// # Errors
    /// `Conflict` while another check runs.
    pub fn begin(&self, actor: Actor, known: Option<Head>) -> Result<JoinHandle<Checked>> {
        let alone = Arc::clone(&self.one).try_lock_owned();
        let alone = alone.map_err(|_| Error::conflict("the chain is being checked: wait for its outcome"))?;
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _alone = alone;
            this.check(&actor, known).await
        });
        let running = Running { since: self.clock.now(), task: task.abort_handle() };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(task)
    }

    /// Ends a check that runs, and lets none begin from here on.
    async fn end_checks(&self) {
        if let Some(running) = &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            running.task.abort();
        }
        // Never given back.
        std::mem::forget(Arc::clone(&self.one).lock_owned().await);
    }

    async fn check(&self, actor: &Actor, known: Option<Head>) -> Checked {
        let key = self.key.public();
        let found = self.store.read_long(move |c| check(c, Some(&key), known)).await?;
        match &found {
            Ok(Summary { count, .. }) => {
                let detail = json!({ "entries": count, "against": known.map(|k| k.seq) });
                let entry = Entry::event("audit.verified", &detail);
                self.store.change(actor, move |_| Ok((entry, ()))).await?;
            }
            Err(wrong) => self.note_wrong(actor, wrong).await?,
        }
        Ok(found)
    }

    async fn note_wrong(&self, actor: &Actor, wrong: &Wrong) -> Result<()> {
        tracing::error!(%wrong, "the audit is not as it was signed");
        let entry = Entry::event("audit.broken", &json!({ "found": wrong.to_string() }));
        self.store.change(actor, move |_| Ok((entry.outcome(Outcome::Failed), ()))).await
    }

    /// What the pages show of the chain.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn state(&self) -> Result<State> {
        let checking = {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.as_ref().filter(|it| !it.task.is_finished()).map(|it| it.since)
        };
        let read = move |c: &_| {
            let (head, last, checked) = (super::store::head(c)?, store::last(c)?, store::last_check(c)?);
            Ok(State { head, last, checked, checking })
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

/// The renewals of the key that signs, as the entries of a database tell.
///
/// # Errors
/// Any from the database.
pub fn keys_in(connection: &rusqlite::Connection) -> Result<keys::Keys> {
    store::keys(connection)
}

/// Checks the chain in a database, and that it holds every checkpoint there, each signed with the key of its time, and
/// `known`. `key` is the one that signs now; if none is given, it is the one that entries or checkpoints say.
///
/// # Errors
/// The outer error is the database's, the inner one what was found.
pub fn check(
    connection: &rusqlite::Connection,
    key: Option<&[u8; 32]>,
    known: impl IntoIterator<Item = Head>,
) -> Result<std::result::Result<Summary, Wrong>> {
    let mut heads: Vec<Head> = known.into_iter().collect();
    let keys = store::keys(connection)?;
    let mut key = key.copied().or(keys.newest());
    if let Some(seq) = key.and_then(|key| keys.breaks_at(key)) {
        return Ok(Err(Wrong::Renewal(seq)));
    }
    for (row, number) in store::rows(connection)?.iter().zip(1..) {
        match Checkpoint::read(&row.text) {
            Ok(made) if made.key != keys.of(made.head.seq, *key.get_or_insert(made.key)) => {
                return Ok(Err(Wrong::OtherKey(made.head.seq)));
            }
            Ok(made) => match row.column_that_differs(&made) {
                Some(column) => return Ok(Err(Wrong::Column(number, column))),
                None => heads.push(made.head),
            },
            Err(error) => return Ok(Err(Wrong::Stored(number, error))),
        }
    }
    Ok(super::store::verify(connection, heads)?.map_err(Wrong::Chain))
}

#[cfg(test)]
mod tests;
