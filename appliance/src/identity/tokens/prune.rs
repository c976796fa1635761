//! The end of tokens: one that ended by itself is told to the audit, one that has been over for long is forgotten. What they
//! were stays in the audit.

use std::time::Duration;

use rusqlite::Transaction;
use serde::Serialize;
use serde_json::json;

use super::{State, Token, Tokens, store};
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::Result;

/// How long a token that is over is kept when nobody says otherwise, in days.
pub const KEPT_DAYS: u32 = 90;
/// How often they are looked for.
const ROUND: Duration = Duration::from_secs(60);
/// How many are forgotten in one transaction.
const AT_ONCE: u32 = 500;

/// What the audit keeps of a token that is forgotten.
#[derive(Debug, Serialize)]
struct Was<'a> {
    name: &'a str,
    account: &'a str,
    hint: &'a str,
    made_by: &'a str,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    last_used: Option<Timestamp>,
}

impl<'a> Was<'a> {
    fn of(token: &'a Token) -> Self {
        let Token { name, account, hint, made_by, created_at, expires_at, revoked_at, last_used, .. } = token;
        Self {
            name,
            account: &account.name,
            hint,
            made_by,
            created_at: *created_at,
            expires_at: *expires_at,
            revoked_at: *revoked_at,
            last_used: *last_used,
        }
    }
}

impl Tokens {
    /// Forgets tokens that were revoked, or expired, more than this many days ago; each is an entry. Gives how many.
    ///
    /// # Errors
    /// Any from the database; what was forgotten until then stays so.
    pub async fn prune(&self, actor: &Actor, days: u32) -> Result<usize> {
        let now = self.clock.now();
        let before = now - Duration::from_secs(u64::from(days) * 86_400);
        let mut forgotten = 0;
        loop {
            let some = move |tx: &Transaction| {
                let over = store::over_since(tx, before, now, AT_ONCE)?;
                let mut entries = Vec::with_capacity(over.len());
                for token in &over {
                    store::forget(tx, token.id)?;
                    entries.push(entry(token, days));
                }
                Ok((entries, over.len()))
            };
            let some = self.store.changes(actor, some).await?;
            forgotten += some;
            if some < AT_ONCE as usize {
                return Ok(forgotten);
            }
        }
    }
}

impl Tokens {
    /// Writes down which tokens ended by themselves since it was last asked; each is an entry. Gives how many.
    ///
    /// # Errors
    /// Any from the database; what was told until then stays so.
    pub async fn tell_expired(&self) -> Result<usize> {
        let (now, manager) = (self.clock.now(), Actor::system("manager"));
        let mut told = 0;
        loop {
            let some = move |tx: &Transaction| {
                let over = store::expired(tx, now, AT_ONCE)?;
                let mut entries = Vec::with_capacity(over.len());
                for token in &over {
                    store::expiry_told(tx, token.id)?;
                    let Token { name, account, expires_at, last_used, .. } = token;
                    let detail = json!({ "name": name, "account": account.name, "expires_at": expires_at,
                                         "last_used": last_used });
                    entries.push(Entry::event("token.expired", &detail).on("token", token.id));
                }
                Ok((entries, over.len()))
            };
            let some = self.store.changes(&manager, some).await?;
            told += some;
            if some < AT_ONCE as usize {
                return Ok(told);
            }
        }
    }
}

fn entry(token: &Token, days: u32) -> Entry {
    let over = if token.state == State::Revoked { "revoked" } else { "expired" };
    Entry::deleted("token", token.id, &Was::of(token))
        .action("token.pruned")
        .detail(&json!({ "was": over, "for_days": days }))
}

/// Tells and forgets in the background, until it is dropped.
pub async fn keep(tokens: Tokens) {
    let mut round = tokio::time::interval(ROUND);
    loop {
        round.tick().await;
        if let Err(error) = tokens.tell_expired().await {
            tracing::error!(%error, "the end of tokens could not be written to the audit; trying again");
        }
        if let Err(error) = tokens.prune(&Actor::system("manager"), KEPT_DAYS).await {
            tracing::error!(%error, "tokens that are long over could not be forgotten; trying again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::TestSite;
    use axum::http::Method;
    use serde_json::Value;

    async fn made(site: &TestSite, name: &str, days: Option<u32>) -> String {
        let body = json!({ "name": name, "scopes": ["results:view"], "days": days });
        let answer = site.send_json(Method::POST, "/tokens", &body).await.json();
        answer["item"]["id"].as_str().unwrap().to_owned()
    }

    async fn names(site: &TestSite) -> Vec<String> {
        let list = site.app.tokens.all(super::super::TokenQuery::default()).await.unwrap();
        list.items.into_iter().map(|token| token.name).collect()
    }

    #[tokio::test]
    async fn what_is_over_is_forgotten_after_its_days_and_not_before_and_the_audit_tells() {
        let site = TestSite::new().await;
        let gone = made(&site, "revoked", None).await;
        made(&site, "short", Some(1)).await;
        made(&site, "lasting", None).await;
        made(&site, "long", Some(100)).await;
        site.app.tokens.revoke(&machine(), gone.parse().unwrap()).await.unwrap();
        let day = Duration::from_secs(86_400);
        let manager = Actor::system("manager");

        site.hand.advance(day * 30);
        assert_eq!(site.app.tokens.prune(&manager, 30).await.unwrap(), 0, "revoked exactly 30 days ago");
        site.hand.advance(Duration::from_secs(1));
        assert_eq!(site.app.tokens.prune(&manager, 30).await.unwrap(), 1);
        site.hand.advance(day);
        assert_eq!(site.app.tokens.prune(&manager, 30).await.unwrap(), 1);
        assert_eq!(site.app.tokens.prune(&manager, 30).await.unwrap(), 0, "there is nothing more");
        let mut left = names(&site).await;
        left.sort();
        assert_eq!(left, ["lasting", "long"]);

        let entries = site.app.store.read(|db| {
            let sql = "SELECT entry FROM audit_entry WHERE action = 'token.pruned' ORDER BY seq";
            crate::listing::rows(db, sql, [] as [u8; 0], |row| row.get::<_, String>(0))
        });
        let entries = entries.await.unwrap();
        let entries: Vec<Value> = entries.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        assert_eq!(entries.len(), 2);
        assert_eq!(
            (&entries[0]["resource_id"], &entries[0]["detail"]["was"]),
            (&json!(gone), &json!("revoked"))
        );
        assert_eq!(entries[1]["detail"]["was"], "expired");
        assert!(entries[1]["changes"].to_string().contains("\"short\""), "{}", entries[1]);
    }

    #[tokio::test]
    async fn a_token_that_ends_by_itself_is_told_once() {
        let site = TestSite::new().await;
        let short = made(&site, "short", Some(1)).await;
        let revoked = made(&site, "revoked", Some(1)).await;
        made(&site, "lasting", None).await;
        site.app.tokens.revoke(&machine(), revoked.parse().unwrap()).await.unwrap();
        assert_eq!(site.app.tokens.tell_expired().await.unwrap(), 0, "its time is not over");
        site.hand.advance(Duration::from_secs(86_400));
        assert_eq!(site.app.tokens.tell_expired().await.unwrap(), 1);
        assert_eq!(site.app.tokens.tell_expired().await.unwrap(), 0);
        let told = crate::identity::factors::tests::audit_of(&site).await;
        let told: Vec<&str> = told.lines().filter(|line| line.contains("\"token.expired\"")).collect();
        assert!(told.len() == 1 && told[0].contains(&short), "{told:?}");
    }

    fn machine() -> crate::identity::Machine {
        crate::identity::Machine::new(Actor::cli("admin"))
    }
}
