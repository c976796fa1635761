//! Passwords: how they are kept, what they must be, and the ways to a new one.

pub(super) mod hash;
pub mod lockout;
pub mod routes;
pub(super) mod rules;
pub(super) mod store;
#[cfg(test)]
mod tests;

use super::sign_in::Whose;
use super::users::{Account, Kind, Method, State, store as users, within};
use super::{By, Identity, SignedIn, Stage, sessions, ways};
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::noun::{Link, Refusals};
use crate::secrets::sha256;
use crate::web::Call;
pub(super) use hash::Passwords;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// How long a link works that sets a password.
pub const LINK_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A link that sets an account's password, once. Told once.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ResetLink {
    /// Whose password.
    pub user: Link,
    /// The link.
    pub url: String,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// A new password, typed twice.
pub struct NewPassword {
    /// The password.
    pub password: String,
    /// The same.
    pub again: String,
}

impl Identity {
    /// Replaces the caller's own password. Their other sessions end; gives this one's new secret.
    ///
    /// # Errors
    /// `Invalid`, also on `password_now` when that is wrong; `RateLimited`; any from the database.
    pub async fn change_password(&self, call: &Call, now: String, new: NewPassword) -> Result<String> {
        let (user, held) = (call.user()?.clone(), call.held()?.clone());
        let mut refusals = Refusals::new();
        rules::check(&mut refusals, &user.name, &new.password, &new.again);
        if new.password == now {
            refusals.say("password", "is the one that you have");
        }
        refusals.end()?;
        let tried =
            self.tried(call, &call.actor(), "user.password-changed", Whose::Own(user.id), now).await?;
        if tried.is_none() {
            return Err(Error::invalid("password_now", "is not your password"));
        }
        self.replace(call, user.id, held, new.password).await
    }

    /// Replaces the password that the sign-in asked to be replaced, and completes the sign-in.
    ///
    /// # Errors
    /// `Invalid`; `Conflict` where nothing is to be replaced; any from the database.
    pub async fn replace_password(&self, call: &Call, new: NewPassword) -> Result<SignedIn> {
        let (user, held) = (call.user()?.clone(), call.held()?.clone());
        if held.stage != Stage::NewPassword {
            return Err(Error::conflict(
                "your password need not be replaced: change it on the page of your account",
            ));
        }
        let mut refusals = Refusals::new();
        rules::check(&mut refusals, &user.name, &new.password, &new.again);
        refusals.end()?;
        let id = user.id;
        let before = self.0.store.read(move |db| Ok(users::known(db, id)?.password_hash)).await?;
        if self.0.passwords.verify(new.password.clone(), before).await? {
            return Err(Error::invalid("password", "is the one that is to be replaced"));
        }
        let token = self.replace(call, user.id, held, new.password).await?;
        Ok(SignedIn { user, stage: Stage::Full, token })
    }

    async fn replace(&self, call: &Call, id: Uuid, held: sessions::Held, password: String) -> Result<String> {
        let phc = self.0.passwords.hash(password).await?;
        let (this, now) = (self.clone(), self.0.clock.now());
        self.0
            .store
            .change(&call.actor(), move |tx| {
                users::set_password(tx, id, Some(&phc), now)?;
                lockout::forget(tx, id, None)?;
                let ended = sessions::store::end_all(tx, id, Some(&held.hash))?;
                let stage = Stage::after(tx, id, Some(Stage::NewPassword))?;
                let token = this.turn(tx, &held, stage, now)?;
                let detail = json!({ "sessions_ended": ended });
                Ok((Entry::event("user.password-changed", &detail).on("user", id), token))
            })
            .await
    }

    /// Takes the password from an account that has another way in. Its sessions end, but for the one that asks.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden`; `Conflict` for the owner, for one that has no password, and for one that has no other way
    /// in; `Prove`; any from the database.
    pub async fn remove_password(&self, call: &Call, id: Uuid) -> Result<Account> {
        self.proved(call)?;
        let (this, now) = (call.clone(), self.0.clock.now());
        let keep = call.caller.session.as_ref().map(|held| held.hash);
        let remove = move |tx: &rusqlite::Transaction| {
            let account = users::one(tx, id, now)?;
            within(tx, &this, &account)?;
            let refused = match () {
                () if account.owner => Some("the owner keeps a password: it is the last way in"),
                () if !account.methods.contains(&Method::Password) => Some("this account has no password"),
                () if !ways::beside_password(tx, id)? => Some(
                    "there is no other way in yet: sign in once by a provider, or by a security key alone, then again",
                ),
                () => None,
            };
            if let Some(why) = refused {
                return Err(Error::conflict(why));
            }
            users::set_password(tx, id, None, now)?;
            lockout::forget(tx, id, None)?;
            let ended = sessions::store::end_all(tx, id, keep.as_ref())?;
            let entry =
                Entry::event("user.password-removed", &json!({ "sessions_ended": ended })).on("user", id);
            Ok((entry, users::one(tx, id, now)?))
        };
        self.0.store.change(&call.actor(), remove).await
    }

    /// Makes a link by which whoever has it sets this account's password, once. Links made before are void; the password
    /// until now stays until the link is used.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden`, also for the owner's; `Conflict` for services, for one that is disabled and for oneself;
    /// `InPerson`, `Prove`; any from the database.
    pub async fn make_reset_link(&self, call: &Call, id: Uuid) -> Result<ResetLink> {
        call.in_person()?;
        self.proved(call)?;
        let token = self.0.random.token();
        let url = format!("{}/reset/{token}", call.app.public.pages);
        let (this, now) = (call.clone(), self.0.clock.now());
        let expires_at = now + LINK_LIFETIME;
        let make = move |tx: &rusqlite::Transaction| {
            let account = users::one(tx, id, now)?;
            within(tx, &this, &account)?;
            let refused = match () {
                () if this.caller.is(id) => Some("change your own password on the page of your account"),
                () if account.kind == Kind::Service => Some("a service has no password: make it a token"),
                () if account.status == State::Disabled => Some("the account is disabled: enable it first"),
                () => None,
            };
            if let Some(why) = refused {
                return Err(Error::conflict(why));
            }
            store::keep_link(tx, id, &sha256(token.as_bytes()), expires_at, now)?;
            let entry = Entry::event("user.reset-link", &json!({ "expires_at": expires_at })).on("user", id);
            Ok((entry, Link { id, name: account.name }))
        };
        let user = self.0.store.change(&call.actor(), make).await?;
        Ok(ResetLink { user, url, expires_at })
    }

    /// Sets the password of a person's account, by the same rules as everywhere. Its sessions end, its locks open, and
    /// links that would set it are void. With `once` it must be replaced at the next sign-in.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden`; `Invalid`; `Conflict` for services; any from the database.
    pub async fn set_password(&self, by: &impl By, id: Uuid, new: NewPassword, once: bool) -> Result<()> {
        let account = self.user(by, id).await?.account;
        if account.kind == Kind::Service {
            return Err(Error::conflict("a service has no password: make it a token"));
        }
        judge(&account.name, &new)?;
        let phc = self.0.passwords.hash(new.password).await?;
        let (this, now) = (by.clone(), self.0.clock.now());
        self.0
            .store
            .change(&by.actor(), move |tx| {
                within(tx, &this, &users::one(tx, id, now)?)?;
                users::set_password(tx, id, Some(&phc), now)?;
                if once {
                    users::ask_for_another(tx, id)?;
                }
                lockout::forget(tx, id, None)?;
                let ended = sessions::store::end_all(tx, id, None)?;
                let detail = json!({ "sessions_ended": ended, "once": once });
                Ok((Entry::event("user.password-set", &detail).on("user", id), ()))
            })
            .await
    }

    /// Whose password this link sets. To look is no try: another site's page can have a browser do it.
    ///
    /// # Errors
    /// `NotFound` for one that was used, is over, or never was; `RateLimited` after too many of those.
    pub async fn reset_link(&self, call: &Call, token: &str) -> Result<Link> {
        self.0.wrong.check(call.source)?;
        let (hash, now) = (sha256(token.as_bytes()), self.0.clock.now());
        self.0.store.read(move |db| store::link(db, &hash, now)).await?.ok_or_else(no_link)
    }

    /// Sets the password by a link, which is then spent. All sessions of the account end. A link that sets none is a wrong
    /// try, counted and written down.
    ///
    /// # Errors
    /// `NotFound` as [`Identity::reset_link`]; `Invalid`; any from the database.
    pub async fn reset_password(&self, call: &Call, token: &str, new: NewPassword) -> Result<()> {
        let link = self.reset_link(call, token).await;
        if let Err(Error::NotFound { .. }) = link {
            let entry = Entry::sign_in("user.password-reset", &json!({ "why": "no-such-link" }));
            self.wrong(call, "reset-link", entry).await?;
        }
        let link = link?;
        let mut refusals = Refusals::new();
        rules::check(&mut refusals, &link.name, &new.password, &new.again);
        refusals.end()?;
        let phc = self.0.passwords.hash(new.password).await?;
        let (hash, now) = (sha256(token.as_bytes()), self.0.clock.now());
        let actor = call.acting(Actor::user(link.id, link.name).by("reset-link"));
        self.0
            .store
            .change(&actor, move |tx| {
                // Asked once more: of two that come at once, one finds it.
                let id = store::link(tx, &hash, now)?.ok_or_else(no_link)?.id;
                users::set_password(tx, id, Some(&phc), now)?;
                lockout::forget(tx, id, None)?;
                let ended = sessions::store::end_all(tx, id, None)?;
                let detail = json!({ "sessions_ended": ended });
                Ok((Entry::event("user.password-reset", &detail).on("user", id), ()))
            })
            .await
    }
}

/// Refuses what may not be the password of an account of this name.
///
/// # Errors
/// `Invalid`, with what is wrong.
pub fn judge(name: &str, new: &NewPassword) -> Result<()> {
    let mut refusals = Refusals::new();
    rules::check(&mut refusals, name, &new.password, &new.again);
    refusals.end()
}

/// What was in the link is a secret, so the refusal does not repeat it.
fn no_link() -> Error {
    Error::not_found("link", "that still works here")
}
