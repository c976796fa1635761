//! Who is there, and what they may do: accounts, passwords, sessions, the scopes that routes ask for.

mod by;
pub mod factors;
pub mod oidc;
pub mod passwords;
mod rate;
pub mod roles;
pub mod routes;
pub mod scopes;
pub mod sessions;
mod setup;
pub mod sign_in;
mod stage;
pub mod statements;
pub mod tokens;
pub mod users;
mod ways;

use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::ids::{Ids, Random};
use crate::store::Store;
use crate::web::{Caller, Via};
pub use by::{By, Machine};
use passwords::Passwords;
pub use rate::network;
use rate::{Limit, Turns};
use schemars::JsonSchema;
use serde::Serialize;
use sessions::token::Tokens;
pub use sessions::{Held, SignedIn};
pub use setup::NewOwner;
pub use sign_in::routes::signed_in;
pub use stage::Stage;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use uuid::Uuid;

/// A set of scopes.
pub type Scopes = BTreeSet<String>;

/// Someone with an account.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct User {
    /// The id.
    pub id: Uuid,
    /// The name used to sign in.
    pub name: String,
    /// The name shown.
    pub display: String,
    /// Holds every scope; made by the setup wizard, or handed over.
    pub owner: bool,
    /// When the account was made.
    pub created_at: Timestamp,
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
    turns: Turns,
    setup_code: String,
    /// Once there is a user there always is one: no need to ask the database again.
    set_up: AtomicBool,
}

impl Identity {
    /// The service; `session_key` is derived from the master key.
    #[must_use]
    pub fn new(store: Store, clock: Clock, ids: Ids, random: Random, session_key: [u8; 32]) -> Self {
        let setup_code = setup::code(&random);
        Self(Arc::new(Inner {
            store,
            limit: Limit::on_tries(clock.clone()),
            wrong: Limit::on_wrong_ones(clock.clone()),
            clock,
            ids,
            random,
            passwords: Passwords::default(),
            turns: Turns::default(),
            tokens: Tokens::new(session_key),
            setup_code,
            set_up: AtomicBool::new(false),
        }))
    }

    /// Counts one try of a secret from this source.
    ///
    /// # Errors
    /// `RateLimited`.
    pub fn limit(&self, source: IpAddr) -> Result<(), Error> {
        self.0.limit.take(source)
    }

    /// Who holds this session token; nobody when it is unknown or its time is over. A sign-in that is not complete
    /// holds no scope.
    ///
    /// # Errors
    /// The database's.
    pub async fn caller(&self, token: &str) -> Result<Caller, Error> {
        let Some((held, user, scopes)) = self.held(token).await? else { return Ok(Caller::default()) };
        let pending = (held.stage != Stage::Full).then_some(held.stage);
        Ok(Caller { user: Some(user), scopes, pending, session: Some(held), via: Via::Session })
    }

    /// How many times a password was hashed or checked since the start.
    #[must_use]
    pub fn password_runs(&self) -> u64 {
        self.0.passwords.runs()
    }
}

/// A path of this site; anything else leads to `home`.
pub fn inside(next: Option<&str>, home: &str) -> String {
    let fits = |path: &&str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && !path.contains('\\')
            // What stands in a header is visible ASCII: anything else is percent-encoded there, or is no path of ours.
            && path.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            && path.len() <= 2_000
    };
    next.filter(fits).unwrap_or(home).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_sign_in_is_on_this_site() {
        for outside in [
            "https://evil",
            "//evil",
            "/\\evil",
            "evil",
            "/a\nb",
            "",
            "javascript:alert(1)",
            "/\t/evil",
            "/é",
            "/\u{ff0f}evil",
        ] {
            assert_eq!(inside(Some(outside), "/"), "/", "{outside:?}");
        }
        assert_eq!(inside(Some("/scans?x=1"), "/"), "/scans?x=1");
        assert_eq!(inside(None, "/account"), "/account");
    }
}
