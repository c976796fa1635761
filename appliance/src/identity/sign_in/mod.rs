//! Sign-in by name and password, and proving again who one is before what is dangerous.
//!
//! Whatever is wrong with a try, its answer and its work are the same: an unknown name, an account that is disabled,
//! locked or without a password, and a wrong password cannot be told apart, neither by words nor by time.

pub mod routes;
#[cfg(test)]
mod tests;

use super::passwords::{hash, lockout};
use super::users::store::{self, Known};
use super::{Held, Identity, SignedIn};
use crate::audit::{Actor, Entry, Outcome};
use crate::error::{Error, Result};
use crate::identity::oidc::local::LocalSignIn;
use crate::settings;
use crate::web::Call;
use serde_json::json;
use uuid::Uuid;

/// An account that someone claims to be, and whether it takes a password from there now.
pub(super) struct Claimed {
    pub known: Option<Known>,
    pub locked: bool,
    /// Passwords do not sign in here, not for this one.
    pub shut: bool,
}

impl Claimed {
    /// The hash that the password is checked against, if any would do.
    fn hash(&self) -> Option<String> {
        let known = self.known.as_ref().filter(|known| known.may_sign_in() && !self.locked && !self.shut)?;
        known.password_hash.clone()
    }

    /// Why it was refused, for the audit alone.
    fn why(&self) -> &'static str {
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

impl Identity {
    /// Signs in, as far as a name and a password go.
    ///
    /// # Errors
    /// `Invalid("password")`; `RateLimited` after too many of them from one source.
    pub async fn sign_in(&self, call: &Call, name: String, password: String) -> Result<SignedIn> {
        let (now, source) = (self.0.clock.now(), call.source);
        let read = move |db: &rusqlite::Connection| {
            let known = store::by_name(db, &name)?;
            // Asked for a name that nobody has, too: the same work.
            let id = known.as_ref().map_or(Uuid::nil(), |known| known.user.id);
            let local = settings::current::<LocalSignIn>(db)?.value;
            let shut = known.as_ref().is_some_and(|known| !local.admits(known.user.owner));
            Ok(Claimed { locked: lockout::is_locked(db, id, source, now)?, known, shut })
        };
        let claimed = self.0.store.read(read).await?;
        // A name that nobody has is often a password in the wrong field: it is not written down.
        let nobody = call.acting(Actor::nobody("").by("password"));
        if !self.tried(call, &nobody, "sign-in", &claimed, password.clone()).await? {
            return Err(Error::invalid("password", "does not fit the name"));
        }
        let Some(known) = claimed.known else { return Err(Error::SignIn) };
        self.rehash(&known, password).await?;
        self.begin(call, &known.user, "password", None).await
    }

    /// Proves that the caller is still who signed in, by the password; gives the session's new secret.
    ///
    /// # Errors
    /// `SignIn` without a session; `Invalid("password")`; `RateLimited`.
    pub async fn prove(&self, call: &Call, password: String) -> Result<String> {
        let held = call.held()?.clone();
        let claimed = self.claimed(call).await?;
        if !self.tried(call, &call.actor(), "prove", &claimed, password).await? {
            return Err(Error::invalid("password", "is not yours"));
        }
        let (this, source, id) = (self.clone(), call.source, call.user()?.id);
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

    /// The caller's own account, as it would be at a sign-in.
    pub(super) async fn claimed(&self, call: &Call) -> Result<Claimed> {
        let (now, source, id) = (self.0.clock.now(), call.source, call.user()?.id);
        let read = move |db: &rusqlite::Connection| {
            let known = Some(store::known(db, id)?);
            Ok(Claimed { known, locked: lockout::is_locked(db, id, source, now)?, shut: false })
        };
        self.0.store.read(read).await
    }

    /// Whether `password` is that of the account. Where it is not, that is counted and written down, as a refused
    /// `action` of `actor`.
    pub(super) async fn tried(
        &self,
        call: &Call,
        actor: &Actor,
        action: &'static str,
        claimed: &Claimed,
        password: String,
    ) -> Result<bool> {
        self.0.wrong.check(call.source)?;
        if self.0.passwords.verify(password, claimed.hash()).await? {
            return Ok(true);
        }
        // With many at once, one beyond the limit may come here: it was tried, so it is written down too.
        let _ = self.0.wrong.take(call.source);
        let (now, source, why) = (self.0.clock.now(), call.source, claimed.why());
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
        Ok(false)
    }

    /// Hashes a password anew that just proved right, where its hash was made with less work than is due today.
    async fn rehash(&self, known: &Known, password: String) -> Result<()> {
        let Some(old) = known.password_hash.clone().filter(|phc| hash::outdated(phc)) else { return Ok(()) };
        let new = self.0.passwords.hash(password).await?;
        let id = known.user.id;
        self.0
            .store
            .changes(&Actor::system("manager"), move |tx| {
                let done = store::rehash(tx, id, &old, &new)?;
                let entry = Entry::event("user.password-rehashed", &()).on("user", id);
                Ok((if done { vec![entry] } else { vec![] }, ()))
            })
            .await
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
