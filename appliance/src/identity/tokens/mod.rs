//! API tokens: what a script shows instead of a session. One is shown once and kept as a hash; at every use it gives
//! the part of its scopes that its account holds at that moment.

pub mod operator;
pub mod prune;
pub mod routes;
mod store;
#[cfg(test)]
mod tests;
mod text;
mod used;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use portolan_scanner::net::Ranges;
use rusqlite::{Connection, Transaction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::rate::Limit;
use super::{By, roles, statements};
use crate::audit::Entry;
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::ids::{Ids, Random};
use crate::noun::{self, Link, Refusals};
use crate::secrets::sha256;
use crate::store::Store;
use crate::web::{Call, ListQuery, Page, Via};
use operator::Operator;
pub(super) use store::active;
use text::Kind;

/// The most separate ranges that a token may be bound to.
const SOURCES_MAX: usize = 256;
/// The most tokens in force of one account.
const TOKENS_MAX: u64 = 100;
/// The longest time that a token may be made for, in days.
const DAYS_MAX: u32 = 3_650;
/// When one without an end ends.
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);
/// Letters of a token that are kept, to tell one from another.
const HINT: usize = 8;

/// A token, without its secret.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Token {
    /// Its id.
    pub id: Uuid,
    /// What people call it; unique among the tokens in force of its account.
    pub name: String,
    /// The account whose scopes bound it.
    pub account: Link,
    /// Whether that is a service account.
    pub service: bool,
    /// Its first letters.
    pub hint: String,
    /// What it was made for; what its account does not hold at the time does not count.
    pub scopes: BTreeSet<String>,
    /// Addresses it may come from, in canonical form; empty: any.
    pub sources: String,
    /// Who made it.
    pub made_by: String,
    /// Whether it is in force.
    pub state: State,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself; absent: it does not.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Whether a token is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is.
    InForce,
    /// Its time is over.
    Expired,
    /// Someone ended it.
    Revoked,
}

/// A network that a token was used from.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TokenUse {
    /// An IPv4 address, or the beginning of a /64 of IPv6.
    pub source: String,
    /// When it first came from there.
    pub first_used: Timestamp,
    /// When it last did, to the minute.
    pub last_used: Timestamp,
}

/// A token as it is made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenInput {
    /// What it is for; unique among the tokens in force of its account.
    pub name: String,
    /// What it may do: part of what you hold.
    #[serde(default)]
    pub scopes: BTreeSet<String>,
    /// Days until it ends, 1 to 3650; absent: it does not end by itself.
    #[serde(default)]
    pub days: Option<u32>,
    /// Addresses, ranges and subnets it may come from; empty: any.
    #[serde(default)]
    pub sources: String,
    /// A service account, for whoever may make tokens for those; absent: your own.
    #[serde(default)]
    pub account: Option<Uuid>,
}

/// A token that was just made: the only time that it is told.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MadeToken {
    /// The token. It is kept nowhere.
    pub token: String,
    /// What is kept of it.
    pub item: Token,
}

/// What a list of tokens takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenQuery {
    /// Words of the token's, the account's or the maker's name.
    pub q: Option<String>,
    /// Only those in this state.
    pub state: Option<State>,
    /// `created_at`, `name`, `account`, `expires_at` or `last_used`; `-` in front turns it round. The newest first when
    /// absent.
    pub sort: Option<String>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// What the audit tells of a token that was made.
#[derive(Debug, Serialize)]
struct Fields {
    name: String,
    account: String,
    scopes: BTreeSet<String>,
    #[serde(serialize_with = "noun::as_text")]
    sources: Ranges,
    expires_at: Option<Timestamp>,
}

impl Fields {
    fn check(input: TokenInput, now: Timestamp) -> Result<Self> {
        let mut refusals = Refusals::new();
        let name = refusals.name(&input.name);
        let sources = refusals.take("sources", Ranges::parse(&input.sources)).unwrap_or_default();
        if sources.iter().len() > SOURCES_MAX {
            refusals.say("sources", format!("takes at most {SOURCES_MAX} separate ranges"));
        }
        if input.days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
            refusals.say("days", format!("is between 1 and {DAYS_MAX}, or left out"));
        }
        if let Some(unknown) = input.scopes.iter().find(|name| super::scopes::find(name).is_none()) {
            refusals.say("scopes", format!("there is no scope “{unknown}”"));
        } else if input.scopes.is_empty() {
            refusals.say("scopes", "a token is for at least one");
        }
        refusals.end()?;
        let expires_at = input.days.map(|days| now + Duration::from_secs(u64::from(days) * 86_400));
        Ok(Self { name, account: String::new(), scopes: input.scopes, sources, expires_at })
    }
}

/// The service.
#[derive(Clone)]
pub struct Tokens {
    store: Store,
    clock: Clock,
    ids: Ids,
    random: Random,
    wrong: std::sync::Arc<Limit>,
    /// The token of this machine's own command line.
    pub operator: Operator,
}

impl Tokens {
    /// The service.
    #[must_use]
    pub fn new(store: Store, clock: Clock, ids: Ids, random: Random) -> Self {
        let wrong = std::sync::Arc::new(Limit::on_wrong_ones(clock.clone()));
        let operator = Operator::new(clock.clone(), random.clone());
        Self { store, clock, ids, random, wrong, operator }
    }

    /// One page of the caller's own tokens; to a token, of itself alone.
    ///
    /// # Errors
    /// `Invalid` on the query's fields; any from the database.
    pub async fn own(&self, call: &Call, query: TokenQuery) -> Result<Page<Token>> {
        // The machine's own operator has no account, and so no tokens.
        let user = call.caller.user.as_ref().map_or(Uuid::nil(), |user| user.id);
        let Sight { token, all, .. } = Sight::of(call);
        self.page(Some(user), token.filter(|_| !all), query).await
    }

    /// One page of everyone's tokens.
    ///
    /// # Errors
    /// `Invalid` on the query's fields; any from the database.
    pub async fn all(&self, query: TokenQuery) -> Result<Page<Token>> {
        self.page(None, None, query).await
    }

    async fn page(&self, user: Option<Uuid>, token: Option<Uuid>, query: TokenQuery) -> Result<Page<Token>> {
        let TokenQuery { q, state, sort, limit, cursor } = query;
        let sort = sort.filter(|sort| !sort.is_empty()).or_else(|| Some("-created_at".to_owned()));
        let (list, now) = (ListQuery { q, sort, limit, cursor }, self.clock.now());
        self.store.read(move |db| store::page(db, &list, (user, token), state, now)).await
    }

    /// A token that the caller may see, with where it was used from and what of its scopes counts now.
    ///
    /// # Errors
    /// `NotFound`, also for another's token, unless the caller may see those; any from the database.
    pub async fn token(&self, call: &Call, id: Uuid) -> Result<(Token, Vec<TokenUse>, BTreeSet<String>)> {
        let (sight, now) = (Sight::of(call), self.clock.now());
        self.store
            .read(move |db| {
                let token = sight.seen(store::one(db, id, now)?)?;
                let held = roles::scopes_of(db, token.account.id, store::is_owner(db, token.account.id)?)?;
                let counts = token.scopes.intersection(&held).cloned().collect();
                Ok((token, store::uses(db, id)?, counts))
            })
            .await
    }

    /// Service accounts that the caller may make tokens for.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn service_accounts(&self, call: &Call) -> Result<Vec<Link>> {
        if !call.caller.may("tokens:manage") {
            return Ok(vec![]);
        }
        self.store.read(store::service_accounts).await
    }

    /// Makes a token of scopes that the caller holds, for the caller or for a service account. Only in person: what has
    /// a token cannot make itself another; and after a fresh proof, as a token outlives the session.
    ///
    /// # Errors
    /// `InPerson`, `Prove`, `Invalid`; `Conflict` when there are too many; any from the database.
    pub async fn make(&self, call: &Call, input: TokenInput) -> Result<MadeToken> {
        call.in_person()?;
        let proof = call.app.identity.proved(call);
        let (now, account) = (self.clock.now(), input.account);
        let mut fields = Fields::check(input, now)?;
        roles::held(&call.caller.scopes, &fields.scopes)?;
        let own = call.caller.user.as_ref().map(|user| user.id);
        let manages = call.caller.may("tokens:manage");
        let (id, token, made_by) = (self.ids.new(), Kind::Api.mint(&self.random), call.actor().name);
        let (hash, hint) = (sha256(token.as_bytes()), token[..HINT].to_owned());
        let change = move |tx: &Transaction| {
            let user = match account.filter(|account| Some(*account) != own) {
                None => own.ok_or_else(|| Error::invalid("account", "choose a service account"))?,
                Some(account) if manages && store::is_service(tx, account)? => account,
                Some(_) => return Err(Error::invalid("account", "there is no such service account")),
            };
            // A service account that does not hold it would not have it by the token either.
            let held = roles::scopes_of(tx, user, store::is_owner(tx, user)?)?;
            if let Some(beyond) = fields.scopes.difference(&held).next() {
                return Err(Error::invalid("scopes", format!("the account does not hold {beyond}")));
            }
            if store::in_force(tx, user, now)? >= TOKENS_MAX {
                return Err(Error::conflict(format!(
                    "This account has {TOKENS_MAX} tokens in force: revoke one first."
                )));
            }
            fields.account = user.to_string();
            let row = store::New { id, user, hash: &hash, hint: &hint, made_by: &made_by, now };
            store::insert(tx, &row, &fields)?;
            // Last, so that who has to prove it has nothing to mend when they come back.
            proof?;
            Ok((Entry::created("token", id, &fields), store::one(tx, id, now)?))
        };
        let item = self.store.change(&call.actor(), change).await?;
        Ok(MadeToken { token, item })
    }

    /// Revokes a token, from the next request on. Twice is once. A token revokes itself, and others where its scopes say so:
    /// that they are its account's is not enough.
    ///
    /// # Errors
    /// `NotFound`, also for another's token, unless the caller may see those; `Forbidden` when they may only see them.
    pub async fn revoke(&self, by: &impl By, id: Uuid) -> Result<Token> {
        let (sight, now) = (Sight::of(by), self.clock.now());
        let (manages, via) = (by.caller().may("tokens:manage"), by.caller().via);
        let change = move |tx: &Transaction| {
            let own = sight.user;
            let token = sight.seen(store::one(tx, id, now)?)?;
            let own = match via {
                Via::Token(shown) => shown == id,
                _ => own == Some(token.account.id),
            };
            if !own && !manages {
                return Err(Error::Forbidden);
            }
            if token.revoked_at.is_some() {
                return Ok((vec![], token));
            }
            store::revoke(tx, id, now)?;
            let mut detail = json!({ "name": token.name, "account": token.account.name });
            let statements = statements::end_with_token(tx, id, now)?;
            if statements > 0 {
                detail["statements"] = json!(statements);
            }
            let entry = Entry::event("token.revoked", &detail).on("token", id);
            Ok((vec![entry], store::one(tx, id, now)?))
        };
        self.store.changes(&by.actor(), change).await
    }
}

/// Revokes every token of an account; gives how many. For the transactions of other rooms.
///
/// # Errors
/// Any from the database.
pub fn revoke_all(tx: &Transaction, user: Uuid, now: Timestamp) -> Result<usize> {
    store::revoke_all(tx, user, now)
}

/// An API token that is in force, as what it asked for depends on it.
#[derive(Clone, Copy)]
pub struct Asking {
    /// Its id.
    pub id: Uuid,
    /// When it ends.
    pub ends: Timestamp,
}

/// The token of this id while it is in force; with `source`, only where it may come from there. For the transactions of
/// other rooms.
///
/// # Errors
/// Any from the database.
pub fn asking(db: &Connection, id: Uuid, source: Option<IpAddr>, now: Timestamp) -> Result<Option<Asking>> {
    let standing = store::standing(db, id, now)?;
    Ok(standing
        .filter(|(_, sources)| source.is_none_or(|source| used::may_come_from(sources, source)))
        .map(|(ends, _)| Asking { id, ends }))
}

/// Which tokens a caller sees: those of their account; a token, itself.
struct Sight {
    user: Option<Uuid>,
    token: Option<Uuid>,
    all: bool,
}

impl Sight {
    fn of(by: &impl By) -> Self {
        let caller = by.caller();
        let all = caller.may("tokens:view") || caller.may("tokens:manage");
        let token = match caller.via {
            Via::Token(id) => Some(id),
            Via::Nobody | Via::Session | Via::Operator | Via::Files => None,
        };
        Self { user: caller.user.as_ref().map(|user| user.id), token, all }
    }

    /// The token, or as if there were none.
    fn seen(&self, token: Token) -> Result<Token> {
        let own = self.user == Some(token.account.id) && self.token.is_none_or(|shown| shown == token.id);
        if self.all || own {
            return Ok(token);
        }
        Err(Error::not_found("token", token.id))
    }
}
