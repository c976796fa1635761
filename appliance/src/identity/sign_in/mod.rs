//! Sign-in by name and password, and proving again who one is before what is dangerous.
//!
//! Whatever is wrong with a try, its answer and its work are the same: an unknown name, an account that is disabled,
//! locked or without a password, and a wrong password cannot be told apart, neither by words nor by time.

pub mod routes;
#[cfg(test)]
mod tests;

use super::passwords::{hash, lockout};
use super::sessions::Checked;
use super::users::store::{self, Known};
use super::{Held, Identity, SignedIn, User};
use crate::audit::{Actor, Entry, Outcome};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::identity::oidc::local::LocalSignIn;
use crate::settings;
use crate::web::Call;
use rusqlite::{Connection, Transaction};
use serde_json::json;
use std::net::IpAddr;
use uuid::Uuid;

/// An account that someone claims to be, and whether it takes a password from there now.
pub(super) struct Claimed {
    known: Option<Known>,
    locked: bool,
    /// Passwords do not sign in here, not for this one.
    shut: bool,
}

impl Claimed {
    /// As it is at a sign-in.
    pub fn of(db: &Connection, known: Option<Known>, source: IpAddr, now: Timestamp) -> Result<Self> {
        let local = settings::current::<LocalSignIn>(db)?.value;
        let shut = known.as_ref().is_some_and(|known| !local.admits(known.user.owner));
        Ok(Self { shut, ..Self::within(db, known, source, now)? })
    }

    /// As it is to one who is signed in: what they prove by a password has nothing to do with whether those sign in.
    fn within(db: &Connection, known: Option<Known>, source: IpAddr, now: Timestamp) -> Result<Self> {
        // Asked for a name that nobody has, too: the same work.
        let id = known.as_ref().map_or(Uuid::nil(), |known| known.user.id);
        Ok(Self { locked: lockout::is_locked(db, id, source, now)?, known, shut: false })
    }

    /// The hash that the password is checked against, if any would do.
    pub fn hash(&self) -> Option<String> {
        let known = self.known.as_ref().filter(|known| known.may_sign_in() && !self.locked && !self.shut)?;
        known.password_hash.clone()
    }

    /// Why it was refused, for the audit alone.
    pub fn why(&self) -> &'static str {
        match &self.known {
            None => "unknown-name",
            Some(known) if !known.may_sign_in() => "not-active",
            Some(_) if self.locked => "locked",
            Some(_) if self.shut => "passwords-off",
            Some(known) if known.password_hash.is_none() => "no-password",
            Some(_) => "wrong-password",
        }
    }
}

/// Whose password is tried.
pub(super) enum Whose {
    /// That of the account of this name, to sign in.
    Named(String),
    /// The caller's own.
    Own(Uuid),
}

/// A password that proved right.
pub(super) struct Right {
    /// Whose it is.
    pub user: User,
    /// The hash that it was checked against.
    pub hash: String,
}

impl Identity {
    /// Signs in, as far as a name and a password go.
    ///
    /// # Errors
    /// `Invalid("password")`; `RateLimited` after too many of them from one source.
    pub async fn sign_in(&self, call: &Call, name: String, password: String) -> Result<SignedIn> {
        // A name that nobody has is often a password in the wrong field: it is not written down.
        let nobody = call.acting(Actor::nobody("").by("password"));
        let tried = self.tried(call, &nobody, "sign-in", Whose::Named(name), password.clone()).await?;
        let right = tried.ok_or_else(|| Error::invalid("password", "does not fit the name"))?;
        let hash = self.rehashed(&right, password).await?;
        self.begin(call, &right.user, Checked::Password(hash)).await
    }

    /// Proves that the caller is still who signed in, by the password; gives the session's new secret.
    ///
    /// # Errors
    /// `SignIn` without a session; `Invalid("password")`; `RateLimited`.
    pub async fn prove(&self, call: &Call, password: String) -> Result<String> {
        let (held, id) = (call.held()?.clone(), call.user()?.id);
        if self.tried(call, &call.actor(), "prove", Whose::Own(id), password).await?.is_none() {
            return Err(Error::invalid("password", "is not yours"));
        }
        let (this, source) = (self.clone(), call.source);
        self.0
            .store
            .change(&call.actor(), move |tx| {
                lockout::forget(tx, id, Some(source))?;
                this.proven(tx, &held, id, &json!({ "method": "password" }))
            })
            .await
    }

    /// The caller's session, whose user just proved by something that they are who signed in: its entry and its new
    /// secret. What its sign-in still lacks, it lacks.
    pub(super) fn proven(
        &self,
        tx: &rusqlite::Transaction,
        held: &Held,
        user: Uuid,
        detail: &serde_json::Value,
    ) -> Result<(Entry, String)> {
        let token = self.turn(tx, held, held.kept, self.0.clock.now())?;
        Ok((Entry::sign_in("prove", detail).on("user", user), token))
    }

    /// Whether `password` is the one behind the account. Where it is not, that is counted and written down, as a refused
    /// `action` of `actor`.
    ///
    /// One network tries one at a time: of those that come at once, each meets the locks and limits as the ones before it
    /// left them.
    pub(super) async fn tried(
        &self,
        call: &Call,
        actor: &Actor,
        action: &'static str,
        whose: Whose,
        password: String,
    ) -> Result<Option<Right>> {
        // Before, so that who has none left holds up nobody; after, as those before left it.
        self.0.wrong.check(call.source)?;
        let turn = self.0.turns.of(call.source).await?;
        self.0.wrong.check(call.source)?;
        let (this, actor, source) = (self.clone(), actor.clone(), call.source);
        // On its own: a visitor who hangs up in the midst of it has tried all the same, and it counts.
        let judged = tokio::spawn(async move {
            let judged = this.judged(source, &actor, action, whose, password).await;
            drop(turn);
            judged
        });
        judged.await.map_err(Error::internal)?
    }

    async fn judged(
        &self,
        source: IpAddr,
        actor: &Actor,
        action: &'static str,
        whose: Whose,
        password: String,
    ) -> Result<Option<Right>> {
        let now = self.0.clock.now();
        let claim = move |db: &Connection| match whose {
            Whose::Named(name) => Claimed::of(db, store::by_name(db, &name)?, source, now),
            Whose::Own(id) => Claimed::within(db, Some(store::known(db, id)?), source, now),
        };
        let claimed = self.0.store.read(claim).await?;
        let hash = claimed.hash();
        if self.0.passwords.verify(password, hash.clone()).await? {
            return Ok(claimed.known.zip(hash).map(|(known, hash)| Right { user: known.user, hash }));
        }
        // This one was tried, so it is written down, whatever the limit says of the next.
        let _ = self.0.wrong.take(source);
        let (now, why) = (self.0.clock.now(), claimed.why());
        let id = claimed.known.as_ref().map(|known| known.user.id);
        let counts = why == "wrong-password";
        self.0
            .store
            .change(actor, move |tx| {
                let locks = match id {
                    Some(id) if counts => lockout::count(tx, id, source, now)?,
                    _ => false,
                };
                let detail = json!({ "why": why, "locks": locks });
                let on = id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
                Ok((Entry::sign_in(action, &detail).on("user", on).outcome(Outcome::Refused), ()))
            })
            .await?;
        Ok(None)
    }

    /// Counts a secret that was wrong for its source, and writes it down as refused: nobody is known by it.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn wrong(&self, call: &Call, method: &'static str, entry: Entry) -> Result<()> {
        // It was tried, so it is written down, whatever the limit says of the next.
        let _ = self.0.wrong.take(call.source);
        let nobody = call.acting(Actor::nobody("").by(method));
        self.0.store.change(&nobody, move |_| Ok((entry.outcome(Outcome::Refused), ()))).await
    }

    /// Hashes a password anew that just proved right, where its hash was made with less work than is due today. Gives the
    /// hash that is kept of it from now on.
    async fn rehashed(&self, right: &Right, password: String) -> Result<String> {
        if !hash::outdated(&right.hash) {
            return Ok(right.hash.clone());
        }
        let new = self.0.passwords.hash(password.clone()).await?;
        let (id, old, kept) = (right.user.id, right.hash.clone(), new.clone());
        let change = move |tx: &Transaction| {
            if store::rehash(tx, id, &old, &kept)? {
                return Ok((vec![Entry::event("user.password-rehashed", &()).on("user", id)], None));
            }
            let known = match store::known(tx, id) {
                Err(Error::NotFound { .. }) => None,
                known => Some(known?),
            };
            Ok((vec![], known.and_then(|known| known.password_hash)))
        };
        let now_kept = self.0.store.changes(&Actor::system("manager"), change).await?;
        // Where another hash stands there now, of another password or of none, the session is refused. That of the same
        // password was made by another sign-in at the same time.
        Ok(match now_kept {
            Some(kept) if self.0.passwords.verify(password, Some(kept.clone())).await? => kept,
            _ => new,
        })
    }

    /// Forgets wrong passwords that no longer count.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget_wrong_passwords(&self) -> Result<()> {
        let now = self.0.clock.now();
        self.0.store.note(move |tx| lockout::prune(tx, now)).await
    }
}
