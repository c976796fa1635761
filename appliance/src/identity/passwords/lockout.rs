//! Lock-out: after five wrong passwords in a row an account takes none from that network for a quarter of an hour.
//!
//! The lock is on (account, network): whoever guesses locks themselves out, never the account's owner elsewhere.

use crate::clock::Timestamp;
use crate::error::Result;
use crate::identity::network;
use crate::listing::rows;
use crate::noun::Key;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use schemars::JsonSchema;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;
use uuid::Uuid;

/// Wrong ones in a row that are borne.
pub const BORNE: i64 = 5;
/// How long wrong ones count, and how long a lock stands after the last.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);
/// The most locks that a page tells of.
const SHOWN: u32 = 50;

/// A network that an account takes no password from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Lock {
    /// The address, or the /64 of it.
    pub source: String,
    /// How many wrong passwords came from there in a row.
    pub wrong: i64,
    /// When the lock opens by itself.
    pub until: Timestamp,
}

/// Whether the account takes no password from there now.
pub fn is_locked(db: &Connection, user: Uuid, source: IpAddr, now: Timestamp) -> Result<bool> {
    let sql = "SELECT wrong >= ? FROM lockout WHERE user = ? AND source = ? AND until > ?";
    let values = params![BORNE, Key(user), network(source).to_string(), now];
    Ok(db.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?.unwrap_or(false))
}

/// Counts a wrong password; true when it is the one that locks.
pub fn count(tx: &Transaction, user: Uuid, source: IpAddr, now: Timestamp) -> Result<bool> {
    let sql = "INSERT INTO lockout (user, source, wrong, until) VALUES (?1, ?2, 1, ?4)
               ON CONFLICT (user, source) DO UPDATE SET wrong = iif(until > ?3, wrong + 1, 1), until = ?4
               RETURNING wrong";
    let values = params![Key(user), network(source).to_string(), now, now + WINDOW];
    let wrong: i64 = tx.query_row(sql, values, |row| row.get(0))?;
    Ok(wrong == BORNE)
}

/// Forgets the wrong passwords from one network, or from all.
pub fn forget(tx: &Transaction, user: Uuid, source: Option<IpAddr>) -> Result<()> {
    let source = source.map(|source| network(source).to_string());
    let sql = "DELETE FROM lockout WHERE user = ? AND (? IS NULL OR source = ?)";
    tx.execute(sql, params![Key(user), source, source])?;
    Ok(())
}

/// The locks of an account that stand, the longest first.
pub fn standing(db: &Connection, user: Uuid, now: Timestamp) -> Result<Vec<Lock>> {
    let sql = format!(
        "SELECT source, wrong, until FROM lockout WHERE user = ?1 AND wrong >= {BORNE} AND until > ?2
         ORDER BY until DESC LIMIT {SHOWN}"
    );
    let values: [&dyn rusqlite::ToSql; 2] = [&Key(user), &now];
    rows(db, &sql, values, |row| Ok(Lock { source: row.get(0)?, wrong: row.get(1)?, until: row.get(2)? }))
}

/// Forgets what no longer counts.
pub fn prune(tx: &Transaction, now: Timestamp) -> Result<()> {
    tx.execute("DELETE FROM lockout WHERE until <= ?", [now])?;
    Ok(())
}
