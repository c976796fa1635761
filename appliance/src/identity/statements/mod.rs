//! Statements: short-lived signed texts (JWTs) by which other systems of the site know who someone is here. They are
//! checked offline with the public key, or by asking here, which also knows of revocations.

mod jwt;
pub mod key;
pub mod routes;
pub(super) mod store;
pub mod task;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Transaction;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::User;
use super::{roles, tokens};
use crate::audit::{Actor, Entry};
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::ids::{Ids, Random};
use crate::noun::{Link, Refusals};
use crate::secrets::MasterKey;
use crate::secrets::signing::StatementKey;
use crate::store::Store;
use crate::web::{Call, ListQuery, Page, Via};
use jwt::{Claims, Refusal, Wanted};
pub use wire::{IssueInput, Issued, RenewInput, Statement, StatementQuery, ValidateInput, Validity};

/// Minutes that a statement holds when nothing is said.
const MINUTES: u32 = 10;
/// The most minutes that one holds.
const MINUTES_MAX: u32 = 60;
/// A line of renewals ends this long after its first statement.
const LINE: Duration = Duration::from_secs(12 * 3600);
/// The most statements of one account that hold at once.
const HELD_MAX: u64 = 200;
/// The most characters of an audience.
const AUDIENCE_MAX: usize = 200;

/// What the service is made from.
pub struct Parts {
    /// config.db.
    pub store: Store,
    /// Tells the time.
    pub clock: Clock,
    /// Makes ids.
    pub ids: Ids,
    /// Source of the key.
    pub random: Random,
    /// Seals the key.
    pub master: MasterKey,
    /// What the appliance calls itself in a statement: where its pages are.
    pub issuer: String,
}

/// The service.
#[derive(Clone)]
pub struct Statements {
    parts: Arc<Parts>,
    key: Arc<OnceCell<StatementKey>>,
}

impl Statements {
    /// The service. A start makes the key ([`Statements::ready`]), so that no question does.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), key: Arc::new(OnceCell::new()) }
    }

    /// The public key as a set of JWKs (RFC 7517).
    ///
    /// # Errors
    /// Any from the database.
    pub async fn jwks(&self) -> Result<Value> {
        Ok(json!({ "keys": [jwt::public_jwk(&self.key().await?.public())] }))
    }

    /// One page of the statements about the caller, to a token of those that it asked for; of everyone's for who may see those.
    ///
    /// # Errors
    /// `Invalid` on the query's fields; any from the database.
    pub async fn list(&self, call: &Call, query: StatementQuery) -> Result<Page<Statement>> {
        let StatementQuery { q, sort, limit, cursor } = query;
        let sort = sort.filter(|sort| !sort.is_empty()).or_else(|| Some("-issued_at".to_owned()));
        let (list, now, sight) = (ListQuery { q, sort, limit, cursor }, self.parts.clock.now(), sight(call));
        self.parts.store.read(move |db| store::page(db, &list, sight, now)).await
    }

    /// One statement that the caller may see.
    ///
    /// # Errors
    /// `NotFound`, also for another's, unless the caller may see those; any from the database.
    pub async fn statement(&self, call: &Call, id: Uuid) -> Result<Statement> {
        let (now, sight) = (self.parts.clock.now(), sight(call));
        self.parts.store.read(move |db| store::one(db, id, sight, now)).await
    }

    /// Says of the caller to another system who they are and what they may do here. What an API token asks for ends with
    /// that token.
    ///
    /// # Errors
    /// `Invalid`; `BadToken` when the caller's token ended meanwhile; `Conflict` for who has no account, or has too many already; any from the database.
    pub async fn issue(&self, call: &Call, input: IssueInput) -> Result<Issued> {
        let Some(user) = call.caller.user.clone() else {
            return Err(Error::conflict("A statement is about an account, and the local operator has none."));
        };
        let mut refusals = Refusals::new();
        let audience = refusals.line("audience", &input.audience, AUDIENCE_MAX);
        let minutes = input.minutes.unwrap_or(MINUTES);
        if !(1..=MINUTES_MAX).contains(&minutes) {
            refusals.say("minutes", format!("is between 1 and {MINUTES_MAX}"));
        }
        refusals.end()?;
        let scopes = input.scopes.unwrap_or_else(|| call.caller.scopes.clone());
        roles::held(&call.caller.scopes, &scopes)?;
        let now = self.parts.clock.now();
        let ends = now + Duration::from_secs(u64::from(minutes) * 60);
        let by = match call.caller.via {
            Via::Token(id) => Some(self.parts.store.read(move |db| tokens::asking(db, id, None, now)).await?),
            _ => None,
        };
        let by = by.map(|asking| asking.ok_or(Error::BadToken)).transpose()?;
        let (row, token) = self.signed(&user, audience, &scopes, (now, now, ends), by).await?;
        let answer = Issued { token, id: row.id, expires_at: row.expires_at };
        let change = move |tx: &Transaction| {
            // The token may have been revoked since.
            if let Some(asking) = by {
                tokens::asking(tx, asking.id, None, now)?.ok_or(Error::BadToken)?;
            }
            if store::holding(tx, user.id, now)? >= HELD_MAX {
                return Err(Error::conflict(format!(
                    "{HELD_MAX} statements about this account hold already."
                )));
            }
            store::insert(tx, &row)?;
            let detail = json!({ "audience": row.audience, "until": row.expires_at, "scopes": scopes });
            Ok((Entry::event("statement.issued", &detail).on("statement", row.id), answer))
        };
        self.parts.store.change(&call.actor(), change).await
    }

    /// Replaces a statement that still holds by one that holds as long again, with what its account may do now. Who has
    /// it may do that, until its line is twelve hours old; one that an API token asked for, from where that token may come
    /// and until it ends.
    ///
    /// # Errors
    /// `BadToken` for one that does not hold; `Conflict` at the end of its line; any from the database.
    pub async fn renew(&self, call: &Call, input: RenewInput) -> Result<Issued> {
        let now = self.parts.clock.now();
        let known = self.known(&input.token, None, Some(call.source)).await?;
        let Ok(known) = known else { return Err(Error::BadToken) };
        let Known { claims, user, began, scopes, by } = known;
        let ends = now + Duration::from_secs(u64::try_from(claims.exp - claims.iat).unwrap_or(0));
        if ends > began + LINE {
            return Err(Error::conflict(
                "This line of statements is twelve hours old: have a new one issued.",
            ));
        }
        let (row, token) = self.signed(&user, claims.aud, &scopes, (began, now, ends), by).await?;
        let answer = Issued { token, id: row.id, expires_at: row.expires_at };
        let actor = Actor::user(user.id, user.name).by(format!("statement:{}", claims.jti));
        let change = move |tx: &Transaction| {
            // Two that renew the same one at once: one of them is late. So is who renews while the token is revoked, as its
            // statements are with it.
            if !store::revoke(tx, claims.jti, now)? {
                return Err(Error::BadToken);
            }
            store::insert(tx, &row)?;
            let detail = json!({ "audience": row.audience, "until": row.expires_at, "replaces": claims.jti });
            Ok((Entry::event("statement.renewed", &detail).on("statement", row.id), answer))
        };
        self.parts.store.change(&call.acting(actor), change).await
    }

    /// Whether a statement holds now for the system that asks. Whatever is asked about, this is an answer, not an error.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn validate(&self, input: ValidateInput) -> Result<Validity> {
        let no = |refusal: Refusal| Validity { reason: Some(refusal.word()), ..Validity::default() };
        let (Some(token), audience) = (input.token.as_str(), input.audience.as_str()) else {
            return Ok(no(Refusal::Form));
        };
        // An audience that is not said is that of nobody: the text is looked at first all the same.
        Ok(match self.known(token, Some(audience.unwrap_or_default()), None).await? {
            Err(refusal) => no(refusal),
            Ok(Known { claims, user, scopes, .. }) => Validity {
                valid: true,
                reason: None,
                id: Some(claims.jti),
                account: Some(Link { id: user.id, name: user.name }),
                scopes: Some(scopes),
                expires_at: Some(Timestamp::from_micros(claims.exp.saturating_mul(1_000_000))),
            },
        })
    }

    /// Revokes a statement: who asks here no longer finds it to hold. Who checks offline does until its end. Twice is
    /// once.
    ///
    /// # Errors
    /// `NotFound`, also for another's, unless the caller may see those; `Forbidden` when they may only see them.
    pub async fn revoke(&self, call: &Call, id: Uuid) -> Result<Statement> {
        let (now, sight) = (self.parts.clock.now(), sight(call));
        // A token may no more than its scopes say, of its own account's too.
        let own = call.caller.session.as_ref().and(call.caller.user.as_ref()).map(|user| user.id);
        let manages = call.caller.may("tokens:manage");
        let change = move |tx: &Transaction| {
            let statement = store::one(tx, id, sight, now)?;
            if own != Some(statement.account.id) && !manages {
                return Err(Error::Forbidden);
            }
            if !store::revoke(tx, id, now)? {
                return Ok((vec![], statement));
            }
            let detail = json!({ "audience": statement.audience, "account": statement.account.name });
            let entry = Entry::event("statement.revoked", &detail).on("statement", id);
            Ok((vec![entry], store::one(tx, id, sight, now)?))
        };
        self.parts.store.changes(&call.actor(), change).await
    }

    /// A new statement with the row that is kept of it. Times are cut to seconds, as its text has them. It ends with the token
    /// that asks for it.
    async fn signed(
        &self,
        user: &User,
        audience: String,
        scopes: &BTreeSet<String>,
        (began_at, now, ends): (Timestamp, Timestamp, Timestamp),
        by: Option<tokens::Asking>,
    ) -> Result<(store::New, String)> {
        let id = self.parts.ids.new();
        let ends = by.map_or(ends, |asking| ends.min(asking.ends));
        let expires_at = Timestamp::from_micros(ends.seconds() * 1_000_000);
        let claims = Claims {
            iss: self.parts.issuer.clone(),
            sub: user.id,
            name: user.name.clone(),
            aud: audience.clone(),
            iat: now.seconds(),
            nbf: now.seconds(),
            exp: expires_at.seconds(),
            jti: id,
            scope: scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" "),
        };
        let token = jwt::sign(self.key().await?, &claims);
        let by = by.map(|asking| asking.id);
        Ok((
            store::New { id, user: user.id, token: by, audience, began_at, issued_at: now, expires_at },
            token,
        ))
    }

    /// A statement that holds, with its account as it is now; with `source`, only for who comes from where its token may.
    async fn known(
        &self,
        token: &str,
        audience: Option<&str>,
        source: Option<IpAddr>,
    ) -> Result<std::result::Result<Known, Refusal>> {
        let (public, now) = (self.key().await?.public(), self.parts.clock.now());
        let wanted = Wanted { issuer: &self.parts.issuer, audience, now: now.seconds() };
        let claims = match jwt::read(&public, token, &wanted) {
            Ok(claims) => claims,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.parts
            .store
            .read(move |db| {
                // One that is not kept any more was forgotten after its end, or its account is gone.
                let Some(store::Kept { began_at, revoked, token }) = store::kept(db, claims.jti)? else {
                    return Ok(Err(Refusal::Account));
                };
                if revoked {
                    return Ok(Err(Refusal::Revoked));
                }
                let by = match token {
                    None => None,
                    Some(id) => match tokens::asking(db, id, source, now)? {
                        None => return Ok(Err(Refusal::Revoked)),
                        asking => asking,
                    },
                };
                let Some(user) = tokens::active(db, claims.sub)? else {
                    return Ok(Err(Refusal::Account));
                };
                let held = roles::scopes_of(db, user.id, user.owner)?;
                let said = claims.scope.split(' ').filter(|scope| held.contains(*scope));
                let scopes = said.map(str::to_owned).collect();
                Ok(Ok(Known { claims, user, began: began_at, scopes, by }))
            })
            .await
    }
}

/// A statement that holds.
struct Known {
    claims: Claims,
    user: User,
    /// When its line began.
    began: Timestamp,
    /// What it says, as far as it is true still.
    scopes: BTreeSet<String>,
    /// The API token that asked for it, in force.
    by: Option<tokens::Asking>,
}

/// Revokes what an API token asked for, with it; gives how many. For its room's transaction.
///
/// # Errors
/// Any from the database.
pub fn end_with_token(tx: &Transaction, token: Uuid, now: Timestamp) -> Result<usize> {
    store::revoke_of_token(tx, token, now)
}

/// The statements that a caller sees: those about their account; a token, those that it asked for.
fn sight(call: &Call) -> store::Sight {
    if sees_all(call) {
        return store::Sight { user: None, token: None };
    }
    let user = call.caller.user.as_ref().map_or(Uuid::nil(), |user| user.id);
    let token = match call.caller.via {
        Via::Token(id) => Some(id),
        Via::Nobody | Via::Session | Via::Operator | Via::Files => None,
    };
    store::Sight { user: Some(user), token }
}

fn sees_all(call: &Call) -> bool {
    call.caller.may("tokens:view") || call.caller.may("tokens:manage")
}
