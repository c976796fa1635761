//! The second factor: codes of an authenticator app, recovery codes, security keys.
//!
//! Whoever has a factor is asked for it at each sign-in, after the password; whoever holds a role that asks for one
//! and has none is led to set one up before anything else. A factor is added and removed by its owner, who proves
//! first who they are; an administrator can take away another's, never see or use them.

mod app;
mod clocks;
pub mod keys;
mod qr;
mod recovery;
pub mod routes;
mod store;
#[cfg(test)]
pub(super) mod tests;
mod totp;

use super::passwords::lockout;
use super::sessions::Held;
use super::users::{store as accounts, within};
use super::{By, Identity, SignedIn, Stage, User, roles, ways};
use crate::audit::{Entry, Outcome};
use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::ids::{Ids, Random};
use crate::secrets::MasterKey;
use crate::store::Store;
use crate::web::{Call, Via};
pub use app::{SEALED, Shown};
use app::{Said, judged};
pub use clocks::Clocks;
use keys::{Challenges, Key};
use qr::Qr;
use recovery::Codes;
use rusqlite::{Connection, Transaction};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// Who issues the codes, as apps show it.
const ISSUER: &str = "Portolan";
/// The service.
#[derive(Clone)]
pub struct Factors(Arc<Inner>);

/// What the service is made from.
pub struct Parts {
    /// config.db.
    pub store: Store,
    /// Tells the time.
    pub clock: Clock,
    /// Makes ids.
    pub ids: Ids,
    /// Source of secrets.
    pub random: Random,
    /// Seals the apps' secrets.
    pub master: MasterKey,
    /// Who is there.
    pub identity: Identity,
}

struct Inner {
    store: Store,
    clock: Clock,
    ids: Ids,
    random: Random,
    master: MasterKey,
    codes: Codes,
    challenges: Challenges,
    identity: Identity,
}

/// What a person has beside the password.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Own {
    /// The authenticator app, once a code of it has come.
    pub app: Option<App>,
    /// Security keys, the oldest first.
    pub keys: Vec<Key>,
    /// Recovery codes that were not used yet.
    pub recovery_left: i64,
    /// A role of theirs asks for a second factor.
    pub required: bool,
}

/// An authenticator app.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct App {
    /// Since when it is asked for.
    pub since: Timestamp,
    /// How far the device's clock was ahead of the appliance's when a code of it last came, in seconds, to 30 s;
    /// negative when it was behind.
    pub clock_ahead_s: Option<i64>,
    /// When that was.
    pub seen_at: Option<Timestamp>,
}

/// What became of an account whose factors were taken.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Reset {
    /// A key among them was its last way in: it has none now.
    pub last_way: bool,
}

/// Recovery codes, the one time that they are shown.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NewCodes {
    /// The codes.
    pub codes: Vec<String>,
    /// The page to go on to.
    pub next: String,
}

impl Factors {
    /// The service.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { store, clock, ids, random, master, identity } = parts;
        let codes = Codes::new(*master.derive("recovery-codes"));
        let challenges = Challenges::new(*master.derive("security-key-challenges"));
        Self(Arc::new(Inner { store, clock, ids, random, master, codes, challenges, identity }))
    }

    /// What this user has.
    ///
    /// # Errors
    /// The database's.
    pub async fn of(&self, user: Uuid) -> Result<Own, Error> {
        self.0.store.read(move |db| own(db, user)).await
    }

    /// The second step of signing in: a code of the app, or a recovery code. Answers the session that goes on.
    ///
    /// # Errors
    /// `Invalid("code")`; `RateLimited` after too many wrong ones.
    pub async fn second(&self, call: &Call, typed: &str) -> Result<SignedIn, Error> {
        let user = waiting(call)?.clone();
        self.0.identity.0.wrong.check(call.source)?;
        let (method, way) = match (totp::parse(typed), recovery::parse(typed)) {
            (Some(code), _) => ("totp", Way::Totp(code)),
            (None, Some(code)) => ("recovery-code", Way::Recovery(self.0.codes.hash(user.id, &code))),
            (None, None) => {
                let what = "is six digits of your app, or a recovery code such as ABCD-EFGH-JKLM";
                return Err(Error::invalid("code", what));
            }
        };
        let (now, master, source, id) = (self.0.clock.now(), self.0.master.clone(), call.source, user.id);
        let step = self.step(call, method)?.ok_or(Error::SignIn)?;
        let change = move |tx: &Transaction| {
            let locked = lockout::is_locked(tx, id, source, now)?;
            let (said, mut detail) = match way {
                _ if locked => {
                    let minutes = lockout::WINDOW.as_secs() / 60;
                    let why = format!("is not taken from here for {minutes} minutes: too many were wrong");
                    (Said::No(why), json!({ "locked": true }))
                }
                Way::Totp(code) => match store::totp(tx, id)?.filter(|kept| kept.confirmed_at.is_some()) {
                    Some(kept) => judged(tx, id, &kept, &master, code, now)?,
                    None => (Said::No("does not fit".into()), json!({})),
                },
                Way::Recovery(hash) if store::use_code(tx, id, &hash, now)? => {
                    (Said::Right, json!({ "left": store::codes_left(tx, id)? }))
                }
                Way::Recovery(_) => {
                    (Said::No("is none of your recovery codes, or was used".into()), json!({}))
                }
            };
            detail["method"] = json!(method);
            if let Said::No(why) = said {
                detail["locks"] = json!(!locked && lockout::count(tx, id, source, now)?);
                let entry = Entry::sign_in("second-factor", &detail).on("user", id);
                return Ok((entry.outcome(Outcome::Refused), Err(why)));
            }
            let done = step.take(tx, user, source, now)?;
            Ok((Entry::sign_in("second-factor", &detail).on("user", id), Ok(done)))
        };
        match self.0.store.change(&call.actor(), change).await? {
            Ok(done) => Ok(done),
            Err(why) => Err(self.refused(call, why)),
        }
    }

    /// The step that a right second factor takes the caller's session on by; none for one that waits for nothing.
    fn step(&self, call: &Call, method: &str) -> Result<Option<Step>, Error> {
        let held = call.held()?.clone();
        let method = format!("{}+{method}", held.method);
        let waits = held.stage == Stage::SecondFactor;
        Ok(waits.then(|| Step { identity: self.0.identity.clone(), held, method }))
    }

    /// A wrong code, counted for its source.
    fn refused(&self, call: &Call, why: String) -> Error {
        let _ = self.0.identity.0.wrong.take(call.source);
        Error::invalid("code", why)
    }

    /// A new set of recovery codes; the old ones are void.
    ///
    /// # Errors
    /// `Conflict` without any factor that they would stand in for.
    pub async fn renew_codes(&self, call: &Call) -> Result<Vec<String>, Error> {
        let user = self.person(call)?.id;
        let codes = recovery::make(&self.0.random);
        let hashes: Vec<[u8; 32]> = codes.iter().map(|code| self.0.codes.hash(user, code)).collect();
        let change = move |tx: &Transaction| {
            if !store::has_factor(tx, user)? {
                return Err(Error::conflict("set up a second factor first: recovery codes stand in for it"));
            }
            store::keep_codes(tx, user, &hashes)?;
            Ok((Entry::event("recovery-codes.renewed", &()).on("user", user), ()))
        };
        self.0.store.change(&call.actor(), change).await?;
        Ok(codes)
    }

    /// Takes all factors from another: for one who has lost them. The owner's go by the owner alone.
    ///
    /// # Errors
    /// As [`Identity::reset_factors`]; `Prove`.
    pub async fn reset(&self, call: &Call, user: Uuid) -> Result<Reset, Error> {
        self.person(call)?;
        self.0.identity.reset_factors(call, user).await
    }

    /// The sign-in name of a user.
    ///
    /// # Errors
    /// The database's.
    pub async fn name(&self, user: Uuid) -> Result<Option<String>, Error> {
        self.0.store.read(move |db| store::name(db, user)).await
    }

    /// Who may add a factor: one who proved just now who they are, and is signed in or held until they have one. A role
    /// can ask for one in the midst of a session: whoever found it open is not to be the one who sets it up.
    async fn may_add(&self, call: &Call) -> Result<User, Error> {
        if call.held()?.stage == Stage::Full {
            return self.person(call);
        }
        let user = waiting(call)?.clone();
        let id = user.id;
        self.0.store.read(move |db| no_way_around(db, true, id)).await?;
        self.0.identity.proved(call)?;
        Ok(user)
    }

    /// Who holds this session, and proved just now that it is still they. A token proves nothing of a person: it neither
    /// adds nor takes a factor.
    fn person(&self, call: &Call) -> Result<User, Error> {
        call.held()?;
        self.0.identity.proved(call)?;
        Ok(call.user()?.clone())
    }
}

impl Identity {
    /// Takes all factors of an account away, with its recovery codes. The owner's go by the owner and the machine's
    /// administrator alone. A key that was stolen may be the account's only way in: another's is taken all the same, while
    /// somebody is left who may do everything and gets in; the machine's administrator takes every one, and is the way in
    /// that is left.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`; `Conflict` where a key among them is the caller's own last way in, or the last of all who
    /// may do everything.
    pub async fn reset_factors(&self, by: &impl By, user: Uuid) -> Result<Reset, Error> {
        let (this, now) = (by.clone(), self.0.clock.now());
        let change = move |tx: &Transaction| {
            within(tx, &this, &accounts::one(tx, user, now)?)?;
            let had_way = ways::any(tx, user)?;
            let mut detail = take_all(tx, user)?;
            if this.is_own(user) {
                ways::kept(tx, user, had_way)?;
            } else if this.caller().via != Via::Files {
                ways::left(tx, None)?;
            }
            let done = Reset { last_way: had_way && !ways::any(tx, user)? };
            detail["last_way"] = json!(done.last_way);
            Ok((Entry::event("second-factors.reset", &detail).on("user", user), done))
        };
        self.0.store.change(&by.actor(), change).await
    }
}

/// Takes all factors of an account, with its recovery codes; gives what they were, for the audit.
pub(super) fn take_all(tx: &Transaction, user: Uuid) -> Result<serde_json::Value, Error> {
    let had = own(tx, user)?;
    store::delete_totp(tx, user)?;
    store::delete_keys(tx, user)?;
    store::delete_codes(tx, user)?;
    Ok(json!({ "app": had.app.is_some(), "keys": had.keys.len(), "codes": had.recovery_left }))
}

/// Takes a session on, once its second factor was right.
struct Step {
    identity: Identity,
    held: Held,
    method: String,
}

impl Step {
    fn take(self, tx: &Transaction, user: User, source: IpAddr, now: Timestamp) -> Result<SignedIn, Error> {
        let stage = Stage::after(tx, user.id, Some(Stage::SecondFactor))?;
        let held = Held { method: self.method, strong: true, ..self.held };
        let token = self.identity.turn(tx, &held, stage, now)?;
        lockout::forget(tx, user.id, Some(source))?;
        Ok(SignedIn { user, stage, token })
    }
}

/// Whether a sign-in by password must go on to a second factor: there is one, or a role asks for one.
///
/// # Errors
/// The database's.
pub fn is_needed(db: &Connection, user: Uuid) -> Result<bool, Error> {
    Ok(store::has_factor(db, user)? || roles::second_factor_needed(db, user)?)
}

enum Way {
    Totp(u32),
    Recovery([u8; 32]),
}

fn own(db: &Connection, user: Uuid) -> Result<Own, Error> {
    let kept = store::totp(db, user)?;
    let app = kept.and_then(|kept| {
        Some(App {
            since: kept.confirmed_at?,
            clock_ahead_s: kept.away.map(|away| away * totp::STEP),
            seen_at: kept.away_at,
        })
    });
    let keys = store::keys(db, user)?.into_iter().map(|kept| kept.key).collect();
    let (recovery_left, required) = (store::codes_left(db, user)?, roles::second_factor_needed(db, user)?);
    Ok(Own { app, keys, recovery_left, required })
}

/// After a factor was removed: codes that stand in for nothing go too, unless a role asks for a factor.
fn without_last(tx: &Transaction, user: Uuid) -> Result<(), Error> {
    if store::has_factor(tx, user)? {
        return Ok(());
    }
    if roles::second_factor_needed(tx, user)? {
        return Err(Error::conflict("a role of yours asks for a second factor: set up another one first"));
    }
    store::delete_codes(tx, user)?;
    Ok(())
}

/// Whether the caller's sign-in waits for a factor.
fn is_pending(call: &Call) -> Result<bool, Error> {
    Ok(call.held()?.stage == Stage::SecondFactor)
}

/// Refuses another factor in a sign-in that waits for one that is there: adding one would be a way around it. Asked before
/// anything is told, and again in the transaction that adds it.
fn no_way_around(db: &Connection, pending: bool, user: Uuid) -> Result<(), Error> {
    if pending && store::has_factor(db, user)? { Err(Error::Forbidden) } else { Ok(()) }
}

/// Whoever has given the password and is held until a second factor comes.
fn waiting(call: &Call) -> Result<&User, Error> {
    match call.held()?.stage {
        Stage::SecondFactor => call.user(),
        _ => Err(Error::not_found("sign-in to go on with", "")),
    }
}
