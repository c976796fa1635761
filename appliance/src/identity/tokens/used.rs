//! A token that is shown: whose it is, or why it is refused, and the traces that its use leaves.

use std::net::IpAddr;
use std::time::Duration;

use portolan_scanner::net::{Ranges, addr_to_u128};
use rusqlite::Transaction;
use serde_json::json;
use uuid::Uuid;

use super::store::{self, Found};
use super::{Kind, Tokens};
use crate::audit::{Actor, Entry, Outcome};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::identity::{network, roles, scopes};
use crate::secrets::sha256;
use crate::web::{Call, Caller, Via};

/// How fine the time of the last use is.
const TRACE: Duration = Duration::from_secs(60);

/// Why a token is refused. Only the audit is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Unknown,
    Revoked,
    Expired,
    Account,
    Source,
}

impl Refusal {
    const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Account => "account-disabled",
            Self::Source => "source",
        }
    }
}

impl Tokens {
    /// Who comes with this token. A right one is always taken; wrong ones are few a minute from one source, each an
    /// entry of the audit.
    ///
    /// # Errors
    /// `BadToken`, whatever is wrong with it; `RateLimited` after too many wrong ones; any from the database.
    pub async fn caller(&self, call: &Call, token: &str) -> Result<Caller> {
        match Kind::of(token) {
            Some(Kind::Operator) if self.operator.knows(token) => {
                Ok(Caller { user: None, scopes: scopes::every(), via: Via::Operator, ..Caller::default() })
            }
            Some(Kind::Api) => {
                let hash = sha256(token.as_bytes());
                let (source, now) = (call.source, self.clock.now());
                let found = self.store.read(move |db| store::by_hash(db, &hash, &net(source))).await?;
                match found {
                    None => Err(self.refused(call, None, Refusal::Unknown).await),
                    Some(found) => match refusal(&found, source, now) {
                        Some(refusal) => Err(self.refused(call, Some(found.id), refusal).await),
                        None => self.taken(call, found, now).await,
                    },
                }
            }
            _ => Err(self.refused(call, None, Refusal::Unknown).await),
        }
    }

    async fn taken(&self, call: &Call, found: Found, now: Timestamp) -> Result<Caller> {
        let Found { id, user: Some(user), scopes, seen, .. } = found else { return Err(Error::BadToken) };
        let (account, owner) = (user.id, user.owner);
        let held = self.store.read(move |db| roles::scopes_of(db, account, owner)).await?;
        let scopes = scopes.intersection(&held).cloned().collect();
        let source = net(call.source);
        match seen {
            None => self.first_use(call, &user, id, source, now).await?,
            Some(at) if now.since(at) >= TRACE => {
                let noted = self.store.note(move |tx| store::note_use(tx, id, &source, now)).await;
                // A trace that could not be written is no reason to refuse what is right.
                if let Err(error) = noted {
                    tracing::warn!(%error, "the use of a token could not be noted");
                }
            }
            Some(_) => {}
        }
        Ok(Caller { user: Some(user), scopes, via: Via::Token(id), ..Caller::default() })
    }

    /// The first use from a network is an entry.
    async fn first_use(
        &self,
        call: &Call,
        user: &crate::identity::User,
        id: Uuid,
        source: String,
        now: Timestamp,
    ) -> Result<()> {
        let actor = Actor::user(user.id, user.name.clone()).by(format!("token:{id}"));
        let change = move |tx: &Transaction| {
            if !store::first_use(tx, id, &source, now)? {
                return Ok((vec![], ()));
            }
            let entry = Entry::sign_in("token.first-use", &json!({ "network": source })).on("token", id);
            Ok((vec![entry], ()))
        };
        self.store.changes(&call.acting(actor), change).await
    }

    async fn refused(&self, call: &Call, id: Option<Uuid>, refusal: Refusal) -> Error {
        if let Err(limited) = self.wrong.take(call.source) {
            return limited;
        }
        let id = id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        let entry = Entry::sign_in("token.refused", &json!({ "reason": refusal.word() }))
            .on("token", id)
            .outcome(Outcome::Refused);
        let actor = call.acting(Actor::nobody("").by("token"));
        match self.store.change(&actor, move |_| Ok((entry, ()))).await {
            Ok(()) => Error::BadToken,
            Err(error) => error,
        }
    }
}

/// What is wrong with a token that is known.
fn refusal(found: &Found, source: IpAddr, now: Timestamp) -> Option<Refusal> {
    if found.revoked {
        Some(Refusal::Revoked)
    } else if found.expires_at <= now {
        Some(Refusal::Expired)
    } else if found.user.is_none() {
        Some(Refusal::Account)
    } else if !may_come_from(&found.sources, source) {
        Some(Refusal::Source)
    } else {
        None
    }
}

pub(super) fn may_come_from(sources: &Ranges, source: IpAddr) -> bool {
    sources.is_empty() || sources.contains(addr_to_u128(source.to_canonical()))
}

fn net(source: IpAddr) -> String {
    network(source.to_canonical()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_bound_comes_from_its_networks_only() {
        let may = |sources: &str, source: &str| {
            may_come_from(&Ranges::parse(sources).unwrap(), source.parse().unwrap())
        };
        assert!(may("", "203.0.113.9"));
        assert!(may("10.0.0.0/24, fd00::/64", "10.0.0.7"));
        assert!(may("10.0.0.0/24", "::ffff:10.0.0.7"));
        assert!(may("10.0.0.0/24, fd00::/64", "fd00::1"));
        assert!(!may("10.0.0.0/24", "10.0.1.7"));
        assert!(!may("0.0.0.0/0", "fd00::1"));
    }
}
