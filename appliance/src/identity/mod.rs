//! Who is there: the first owner, sign-in, sessions, and the scopes that routes ask for.

mod password;
mod rate;
pub mod roles;
pub mod routes;
pub mod scopes;
mod session;
mod store;

use crate::audit::{Actor, Entry, Outcome};
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, FieldError};
use crate::ids::{Ids, Random};
use crate::secrets;
use crate::store::Store;
use crate::web::{Call, Caller};
use password::Passwords;
use rate::Limit;
pub use rate::network;
use schemars::JsonSchema;
use serde::Serialize;
use session::Tokens;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

/// A person with an account.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct User {
    /// The id.
    pub id: Uuid,
    /// The name used to sign in.
    pub name: String,
    /// The name shown.
    pub display: String,
    /// Made by the setup wizard; holds every scope.
    pub owner: bool,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// The first owner, as the setup wizard asks for it.
pub struct NewOwner {
    /// The one-time code that the start printed.
    pub code: String,
    /// The name used to sign in.
    pub name: String,
    /// The name shown; the sign-in name when empty.
    pub display: String,
    /// The password.
    pub password: String,
    /// The password once more.
    pub password_again: String,
}

/// The service.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Clock,
    ids: Ids,
    random: Random,
    passwords: Passwords,
    tokens: Tokens,
    limit: Limit,
    wrong: Limit,
    setup_code: String,
    /// Once there is a user there always is one: no need to ask the database again.
    set_up: AtomicBool,
}

impl Identity {
    /// The service; `session_key` is derived from the master key.
    #[must_use]
    pub fn new(store: Store, clock: Clock, ids: Ids, random: Random, session_key: [u8; 32]) -> Self {
        let setup_code = code(&random);
        Self(Arc::new(Inner {
            store,
            limit: Limit::on_tries(clock.clone()),
            wrong: Limit::on_wrong_ones(clock.clone()),
            clock,
            ids,
            random,
            passwords: Passwords::default(),
            tokens: Tokens::new(session_key),
            setup_code,
            set_up: AtomicBool::new(false),
        }))
    }

    /// Whether there is no user yet, so that the setup wizard is all there is.
    ///
    /// # Errors
    /// The database's.
    pub async fn needs_setup(&self) -> Result<bool, Error> {
        if self.0.set_up.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let any = self.0.store.read(store::any).await?;
        self.0.set_up.store(any, Ordering::Relaxed);
        Ok(!any)
    }

    /// The one-time code for the setup wizard: for the console and the log of this start.
    #[must_use]
    pub fn setup_code(&self) -> &str {
        &self.0.setup_code
    }

    /// Counts one try of a secret from this source.
    ///
    /// # Errors
    /// `RateLimited`.
    pub fn limit(&self, source: IpAddr) -> Result<(), Error> {
        self.0.limit.take(source)
    }

    /// Who holds this session token; nobody when it is unknown or expired.
    ///
    /// # Errors
    /// The database's.
    pub async fn caller(&self, token: &str) -> Result<Caller, Error> {
        let Some(hash) = self.0.tokens.read(token) else { return Ok(Caller::default()) };
        let now = self.0.clock.now();
        let known = self.0.store.read(move |db| {
            let Some(user) = store::by_session(db, &hash, now)? else { return Ok(None) };
            let scopes = roles::scopes_of(db, user.id, user.owner)?;
            Ok(Some(Caller { user: Some(user), scopes }))
        });
        Ok(known.await?.unwrap_or_default())
    }

    /// Makes the owner and signs in: only while there is no user, only with the code.
    ///
    /// # Errors
    /// `NotFound` once there is a user; `Invalid` with every field that is wrong.
    pub async fn set_up(&self, call: &Call, new: NewOwner) -> Result<(User, String), Error> {
        if !self.needs_setup().await? {
            return Err(Error::not_found("page", "setup"));
        }
        let wrong = owner_refusals(&new, &self.0.setup_code);
        if !wrong.is_empty() {
            return Err(Error::Invalid(wrong));
        }
        let hash = self.0.passwords.hash(new.password).await?;
        let display =
            if new.display.trim().is_empty() { new.name.clone() } else { new.display.trim().to_owned() };
        let user = User {
            id: self.0.ids.new(),
            name: new.name,
            display,
            owner: true,
            created_at: self.0.clock.now(),
        };
        let made = user.clone();
        let actor = call.acting(Actor::user(user.id, user.name.clone()).by("setup-code"));
        self.0
            .store
            .change(&actor, move |tx| {
                if store::any(tx)? {
                    return Err(Error::not_found("page", "setup"));
                }
                store::insert(tx, &made, &hash)?;
                Ok((Entry::created("user", made.id, &made), ()))
            })
            .await?;
        self.0.set_up.store(true, Ordering::Relaxed);
        let token = self.start(call, &user).await?;
        Ok((user, token))
    }

    /// Signs in. A wrong name and a wrong password get the same answer after the same work.
    ///
    /// # Errors
    /// `Invalid("password")`; `RateLimited` after too many of them from one source.
    pub async fn sign_in(
        &self,
        call: &Call,
        name: String,
        password: String,
    ) -> Result<(User, String), Error> {
        self.0.wrong.check(call.source)?;
        let known = self.0.store.read(move |db| store::by_name(db, &name)).await?;
        let (user, hash) = known.map_or((None, None), |known| (Some(known.user), Some(known.password_hash)));
        let right = self.0.passwords.verify(password, hash).await?;
        match user {
            Some(user) if right => {
                let token = self.start(call, &user).await?;
                Ok((user, token))
            }
            user => {
                // With many at once, one beyond the limit may come here: it was tried, so it is written down too.
                let _ = self.0.wrong.take(call.source);
                // A name that nobody has is often a password in the wrong field: it is not written down.
                let id = user.map_or_else(|| "unknown".to_owned(), |user| user.id.to_string());
                let entry = Entry::sign_in("sign-in", &()).on("user", id).outcome(Outcome::Refused);
                let actor = call.acting(Actor::nobody("").by("password"));
                self.0.store.change(&actor, move |_| Ok((entry, ()))).await?;
                Err(Error::invalid("password", "does not fit the name"))
            }
        }
    }

    /// Ends the session that the caller holds.
    ///
    /// # Errors
    /// The database's.
    pub async fn sign_out(&self, call: &Call) -> Result<(), Error> {
        let (Some(user), Some(token)) = (&call.caller.user, call.session_token()) else { return Ok(()) };
        let Some(hash) = self.0.tokens.read(token) else { return Ok(()) };
        let id = user.id;
        self.0
            .store
            .change(&call.actor(), move |tx| {
                store::end_session(tx, &hash)?;
                Ok((Entry::sign_in("sign-out", &()).on("user", id), ()))
            })
            .await
    }

    async fn start(&self, call: &Call, user: &User) -> Result<String, Error> {
        let minted = self.0.tokens.mint(&self.0.random);
        let now = self.0.clock.now();
        let (id, source, agent) = (user.id, call.source.to_string(), call.agent.clone());
        let actor = call.acting(Actor::user(user.id, user.name.clone()).by("password"));
        self.0
            .store
            .change(&actor, move |tx| {
                let row = store::Session {
                    hash: &minted.hash,
                    user: id,
                    now,
                    expires_at: now + session::LIFETIME,
                    source: &source,
                    agent: &agent,
                };
                store::start_session(tx, &row)?;
                Ok((Entry::sign_in("sign-in", &()).on("user", id), ()))
            })
            .await?;
        Ok(minted.token)
    }
}

fn owner_refusals(new: &NewOwner, code: &str) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    let mut say = |field: &str, message: String| wrong.push(FieldError { field: field.to_owned(), message });
    let typed = new.code.trim().to_ascii_uppercase();
    if !secrets::equal(typed.as_bytes(), code.as_bytes()) {
        say("code", "is not the code that this start printed on the console and in the log".to_owned());
    }
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "._-@".contains(letter);
    if new.name.is_empty() || new.name.len() > 64 || !new.name.chars().all(fits) {
        say("name", "takes 1 to 64 letters, digits, '.', '_', '-' and '@'".to_owned());
    }
    if new.display.chars().count() > 100 || new.display.chars().any(char::is_control) {
        say("display", "takes up to 100 characters".to_owned());
    }
    if let Some(message) = password::refusal(&new.password) {
        say("password", message);
    } else if new.password != new.password_again {
        say("password_again", "is not the same as the password".to_owned());
    }
    wrong
}

/// Twelve letters and digits that cannot be mistaken for one another, in three groups: 60 bits.
fn code(random: &Random) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let letters: Vec<char> =
        random.bytes::<12>().iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> NewOwner {
        NewOwner {
            code: " abcd-efgh-jklm ".into(),
            name: "ada".into(),
            display: String::new(),
            password: "correct horse battery".into(),
            password_again: "correct horse battery".into(),
        }
    }

    #[test]
    fn an_owner_needs_the_code_a_plain_name_and_the_password_twice() {
        let fields = |new: &NewOwner| -> Vec<String> {
            owner_refusals(new, "ABCD-EFGH-JKLM").into_iter().map(|error| error.field).collect()
        };
        assert!(fields(&owner()).is_empty());
        assert_eq!(fields(&NewOwner { code: "AAAA".into(), ..owner() }), ["code"]);
        assert_eq!(fields(&NewOwner { name: "a b".into(), ..owner() }), ["name"]);
        assert_eq!(fields(&NewOwner { password: "short".into(), ..owner() }), ["password"]);
        assert_eq!(fields(&NewOwner { password_again: "other".into(), ..owner() }), ["password_again"]);
    }

    #[test]
    fn a_setup_code_is_readable_and_never_the_same_twice() {
        let one = code(&Random::seeded(1));
        assert_eq!(one.len(), 14);
        assert!(!one.contains(['0', 'O', '1', 'I']));
        assert_ne!(one, code(&Random::seeded(2)));
    }
}
