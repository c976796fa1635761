//! Sessions: who is signed in where, for how long, and how one ends.
//!
//! A session is a row under the hash of a secret that only the cookie holds. It gets a new secret at every change of
//! what it may do, so that one that was planted or overheard before is worth nothing after.

mod begin;
mod limits;
pub mod routes;
pub(super) mod store;
pub mod task;
#[cfg(test)]
mod tests;
pub(super) mod token;

use super::{By, Identity, Stage, User};
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::noun::Link;
use crate::settings::{self, Current};
use crate::web::{Call, Page};
pub(super) use begin::Checked;
pub use limits::Limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// How often a session that is used is marked as used.
const MARK: Duration = Duration::from_secs(60);
/// How long a proof of who someone is holds for what is dangerous.
pub const PROOF: Duration = Duration::from_secs(5 * 60);

/// The session that a caller holds.
#[derive(Clone, Debug)]
pub struct Held {
    pub(super) hash: [u8; 32],
    /// How far the sign-in has come, as the session's row has it.
    pub(super) kept: Stage,
    /// A second factor was given in it, or a provider vouched for one.
    pub(super) strong: bool,
    /// How far it has come in the light of what the user's roles ask for now.
    pub stage: Stage,
    /// How they signed in: `password`, `password+totp`, `security-key`, `oidc`.
    pub method: String,
    /// When they last proved who they are.
    pub proved_at: Timestamp,
    /// When they signed in.
    pub began_at: Timestamp,
    /// When it was last marked as used.
    pub last_seen: Timestamp,
}

impl Held {
    /// What lists call it.
    #[must_use]
    pub fn id(&self) -> String {
        portolan_scanner::wire::hex::encode(&self.hash[..16])
    }
}

/// A session, as lists show it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Session {
    /// What it is called: half of the hash of its secret, in hex.
    pub id: String,
    /// Whose it is.
    pub user: Link,
    /// Whether it is the one that asks.
    pub current: bool,
    /// How far its sign-in has come.
    pub stage: Stage,
    /// How they signed in: `password`, `password+totp`, `security-key`, `oidc`.
    pub method: String,
    /// The address they signed in from.
    pub source: String,
    /// What their browser calls itself.
    pub agent: String,
    /// When they signed in.
    pub began_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_seen: Timestamp,
    /// When it ends at the latest.
    pub ends_at: Timestamp,
    #[serde(skip)]
    strong: bool,
}

/// What is kept of a provider's word for a session that it began.
pub(super) struct Vouched {
    /// The provider.
    pub provider: Uuid,
    /// What it signed, sealed; none where that was too long to keep.
    pub id_token: Option<Vec<u8>>,
}

/// What the list of sessions takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionQuery {
    /// Words of the user's names, the address or the browser.
    pub q: Option<String>,
    /// Only this user's.
    pub user: Option<Uuid>,
    /// `last_seen`, `created_at`, `user`, `method` or `source`; `-` in front turns it round.
    pub sort: Option<String>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// A sign-in that succeeded, as far as it went.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SignedIn {
    /// Who.
    #[serde(flatten)]
    pub user: User,
    /// `full`, or what is still missing.
    pub stage: Stage,
    /// For the cookie alone.
    #[serde(skip)]
    pub token: String,
}

impl Identity {
    /// Takes the caller's session on to `stage` under a new secret, in the transaction of what earned it.
    pub(super) fn turn(
        &self,
        tx: &rusqlite::Transaction,
        held: &Held,
        stage: Stage,
        proved_at: Timestamp,
    ) -> Result<String> {
        let minted = self.0.tokens.mint(&self.0.random);
        if !store::turn(tx, held, &minted.hash, stage, proved_at)? {
            return Err(Error::SignIn);
        }
        Ok(minted.token)
    }

    /// Who holds this session, and what it is; nobody when it is unknown or its time is over.
    pub(super) async fn held(&self, token: &str) -> Result<Option<(Held, User, super::Scopes)>> {
        let Some(hash) = self.0.tokens.read(token) else { return Ok(None) };
        let now = self.0.clock.now();
        let read = move |db: &rusqlite::Connection| {
            let limits = settings::current::<Limits>(db)?.value;
            let Some((mut held, user)) = store::live(db, &hash, &limits, now)? else { return Ok(None) };
            held.stage = held.kept.now(db, user.id, held.strong)?;
            let scopes = match held.stage {
                Stage::Full => super::roles::scopes_of(db, user.id, user.owner)?,
                Stage::SecondFactor | Stage::NewPassword => super::Scopes::new(),
            };
            Ok(Some((held, user, scopes)))
        };
        let found = self.0.store.read(read).await?;
        if let Some((held, user, _)) = &found
            && now.since(held.last_seen) >= MARK
        {
            let (hash, id) = (held.hash, user.id);
            self.0.store.note(move |tx| store::seen(tx, &hash, id, now)).await?;
        }
        Ok(found)
    }

    /// Ends the session that the caller holds.
    ///
    /// # Errors
    /// The database's.
    pub async fn sign_out(&self, call: &Call) -> Result<()> {
        let (Some(user), Some(held)) = (&call.caller.user, &call.caller.session) else { return Ok(()) };
        let (id, hash) = (user.id, held.hash);
        self.0
            .store
            .change(&call.actor(), move |tx| {
                store::end(tx, &hash)?;
                Ok((Entry::sign_in("sign-out", &()).on("user", id), ()))
            })
            .await
    }

    /// Whether the caller proved within [`PROOF`] who they are. Who brings a token instead of a session proves it with
    /// every request.
    ///
    /// # Errors
    /// `Prove`.
    pub fn proved(&self, by: &impl By) -> Result<()> {
        let old = |held: &Held| self.0.clock.now().since(held.proved_at) > PROOF;
        if by.caller().session.as_ref().is_some_and(old) { Err(Error::Prove) } else { Ok(()) }
    }

    /// One page of the sessions that go on.
    ///
    /// # Errors
    /// `Invalid` on the query's fields; any from the database.
    pub async fn sessions(&self, by: &impl By, query: SessionQuery) -> Result<Page<Session>> {
        let (now, own) = (self.0.clock.now(), by.caller().session.as_ref().map(Held::id));
        self.0
            .store
            .read(move |db| {
                let limits = settings::current::<Limits>(db)?.value;
                let mut page = store::page(db, query, &limits, now)?;
                for session in &mut page.items {
                    session.current = Some(&session.id) == own.as_ref();
                    session.stage = session.stage.now(db, session.user.id, session.strong)?;
                }
                Ok(page)
            })
            .await
    }

    /// Ends a session; with `of`, only one of this user's.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    pub async fn revoke_session(&self, call: &Call, id: String, of: Option<Uuid>) -> Result<Session> {
        self.0
            .store
            .change(&call.actor(), move |tx| {
                let session = store::one(tx, &id, of)?;
                store::delete(tx, &id)?;
                Ok((ended("session.revoked", &session), session))
            })
            .await
    }

    /// Ends all sessions of a user but the caller's own; gives how many.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn revoke_sessions_of(&self, by: &impl By, user: Uuid) -> Result<usize> {
        let keep = by.caller().session.as_ref().map(|held| held.hash);
        self.0
            .store
            .changes(&by.actor(), move |tx| {
                let count = store::end_all(tx, user, keep.as_ref())?;
                let entry = Entry::sign_in("session.revoked", &json!({ "count": count })).on("user", user);
                Ok((if count > 0 { vec![entry] } else { vec![] }, count))
            })
            .await
    }

    /// Ends the sessions of everyone; gives how many.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn revoke_every_session(&self, by: &impl By) -> Result<usize> {
        self.0
            .store
            .changes(&by.actor(), move |tx| {
                let count = store::end_everyones(tx)?;
                let entry = Entry::sign_in("session.revoked", &json!({ "count": count, "of": "everyone" }));
                Ok((if count > 0 { vec![entry] } else { vec![] }, count))
            })
            .await
    }

    /// Ends some of the sessions whose time is over, each with its entry; gives how many.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn end_expired(&self, most: u32) -> Result<usize> {
        let now = self.0.clock.now();
        self.0
            .store
            .changes(&Actor::system("manager"), move |tx| {
                let limits = settings::current::<Limits>(tx)?.value;
                let over = store::over(tx, &limits, now, most)?;
                let mut entries = Vec::with_capacity(over.len());
                for session in &over {
                    store::delete(tx, &session.id)?;
                    entries.push(ended("session.expired", session));
                }
                Ok((entries, over.len()))
            })
            .await
    }

    /// How long sessions last.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn limits(&self) -> Result<Current<Limits>> {
        self.0.store.read(settings::current).await
    }

    /// Changes how long sessions last; it holds for those that go on, too, the one that asks among them: so it asks for a proof.
    ///
    /// # Errors
    /// `Prove`, `Invalid`, `Stale`; any from the database.
    pub async fn set_limits(
        &self,
        call: &Call,
        version: Option<i64>,
        limits: Limits,
    ) -> Result<Current<Limits>> {
        let proof = self.proved(call);
        let change = move |tx: &rusqlite::Transaction| {
            let done = settings::change_in(tx, version, limits)?;
            // Last, so that who has to prove it has nothing to mend when they come back.
            if !done.0.is_empty() {
                proof?;
            }
            Ok(done)
        };
        self.0.store.changes(&call.actor(), change).await
    }
}

/// Ends everyone's sessions; gives how many. For the transactions of other rooms.
///
/// # Errors
/// Any from the database.
pub fn end_everyones(tx: &rusqlite::Transaction) -> Result<usize> {
    store::end_everyones(tx)
}

/// The entry of a session's end: whose it was is what it is about.
fn ended(action: &str, session: &Session) -> Entry {
    let Session { id, user, source, began_at, last_seen, .. } = session;
    let detail = json!({ "session": id, "from": source, "began_at": began_at, "last_seen": last_seen });
    Entry::sign_in(action, &detail).on("user", user.id)
}
