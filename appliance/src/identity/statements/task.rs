//! What the manager does for statements in the background.

use std::time::Duration;

use rusqlite::Transaction;
use serde_json::json;

use super::{Statements, store};
use crate::audit::{Actor, Entry};
use crate::error::Result;

/// How often statements whose time is over are looked for.
const ROUND: Duration = Duration::from_mins(1);
/// How many of them go in one transaction.
const AT_ONCE: u32 = 500;

/// Forgets statements whose time is over, until it is dropped. They held no more before: this is for the audit and for the
/// size of the table.
pub async fn keep(statements: Statements) {
    let mut round = tokio::time::interval(ROUND);
    loop {
        round.tick().await;
        if let Err(error) = statements.forget_ended().await {
            tracing::error!(%error, "statements that are over could not be forgotten; trying again");
        }
    }
}

impl Statements {
    /// One round: each that ended by its time is an entry. One that was revoked or replaced before has that entry.
    ///
    /// # Errors
    /// Any from the database; what was forgotten until then stays so.
    pub(super) async fn forget_ended(&self) -> Result<()> {
        let now = self.parts.clock.now();
        let some = move |tx: &Transaction| {
            let over = store::ended(tx, now, AT_ONCE)?;
            let expired = over.iter().filter(|statement| statement.revoked_at.is_none());
            let entries = expired.map(|statement| {
                let detail = json!({
                    "audience": statement.audience,
                    "account": statement.account.name,
                    "expired_at": statement.expires_at,
                });
                Entry::sign_in("statement.expired", &detail).on("statement", statement.id)
            });
            Ok((entries.collect(), over.len()))
        };
        while self.parts.store.changes(&Actor::system("manager"), some).await? == AT_ONCE as usize {}
        Ok(())
    }
}
