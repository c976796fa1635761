//! The SQL of statements.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use uuid::Uuid;

use super::Statement;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::listing::{Filters, Listing, rows};
use crate::noun::{Key, Link};
use crate::web::{ListQuery, Page};

const LISTING: Listing = Listing {
    name: "statements",
    table: "statement_listed",
    search: &["user_name", "audience"],
    sorts: &[
        ("issued_at", "issued_at"),
        ("expires_at", "expires_at"),
        ("audience", "audience"),
        ("account", "user_name"),
    ],
};

/// A row that is made.
pub struct New {
    pub id: Uuid,
    pub user: Uuid,
    /// The API token that asked for it.
    pub token: Option<Uuid>,
    pub audience: String,
    pub began_at: Timestamp,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

fn statement(row: &Row, now: Timestamp) -> rusqlite::Result<Statement> {
    let (Key(id), Key(user)) = (row.get("id")?, row.get("user")?);
    let (expires_at, revoked_at): (Timestamp, Option<Timestamp>) =
        (row.get("expires_at")?, row.get("revoked_at")?);
    Ok(Statement {
        id,
        account: Link { id: user, name: row.get("user_name")? },
        audience: row.get("audience")?,
        began_at: row.get("began_at")?,
        issued_at: row.get("issued_at")?,
        expires_at,
        revoked_at,
        holds: revoked_at.is_none() && expires_at > now,
    })
}

/// Which statements are seen: all, where neither is said.
#[derive(Clone, Copy)]
pub struct Sight {
    /// Those about this account.
    pub user: Option<Uuid>,
    /// Those that this token asked for.
    pub token: Option<Uuid>,
}

/// One page of the statements that are seen.
pub fn page(db: &Connection, query: &ListQuery, sight: Sight, now: Timestamp) -> Result<Page<Statement>> {
    let mut filters = Filters::default();
    if let Some(user) = sight.user {
        filters = filters.only("user = ?", [Value::Text(user.to_string())]);
    }
    if let Some(token) = sight.token {
        filters = filters.only("token = ?", [Value::Text(token.to_string())]);
    }
    LISTING.page(db, query, filters, |row| statement(row, now))
}

/// A statement, if it is seen.
pub fn one(db: &Connection, id: Uuid, sight: Sight, now: Timestamp) -> Result<Statement> {
    let sql = "SELECT * FROM statement_listed
               WHERE id = ?1 AND (?2 IS NULL OR user = ?2) AND (?3 IS NULL OR token = ?3)";
    let asked = params![Key(id), sight.user.map(Key), sight.token.map(Key)];
    let found = db.query_row(sql, asked, |row| statement(row, now)).optional()?;
    found.ok_or_else(|| Error::not_found("statement", id))
}

/// What is kept of a statement that was shown.
pub struct Kept {
    /// When its line began.
    pub began_at: Timestamp,
    pub revoked: bool,
    /// The API token that asked for it.
    pub token: Option<Uuid>,
}

pub fn kept(db: &Connection, id: Uuid) -> Result<Option<Kept>> {
    let sql = "SELECT began_at, revoked_at IS NOT NULL, token FROM statement WHERE id = ?";
    let kept = |row: &Row| {
        let token: Option<Key> = row.get(2)?;
        Ok(Kept { began_at: row.get(0)?, revoked: row.get(1)?, token: token.map(|Key(id)| id) })
    };
    Ok(db.query_row(sql, [Key(id)], kept).optional()?)
}

/// How many statements about an account hold.
pub fn holding(db: &Connection, user: Uuid, now: Timestamp) -> Result<u64> {
    let sql = "SELECT count(*) FROM statement WHERE user = ? AND revoked_at IS NULL AND expires_at > ?";
    Ok(db.query_row(sql, params![Key(user), now], |row| row.get(0))?)
}

pub fn insert(tx: &Transaction, row: &New) -> Result<()> {
    tx.execute(
        "INSERT INTO statement (id, user, token, audience, began_at, issued_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            Key(row.id),
            Key(row.user),
            row.token.map(Key),
            row.audience,
            row.began_at,
            row.issued_at,
            row.expires_at
        ],
    )?;
    Ok(())
}

/// Revokes a statement; whether it was not revoked before.
pub fn revoke(tx: &Transaction, id: Uuid, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE statement SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL";
    Ok(tx.execute(sql, params![now, Key(id)])? == 1)
}

/// Revokes every statement about an account that was not; gives how many.
pub fn revoke_all(tx: &Transaction, user: Uuid, now: Timestamp) -> Result<usize> {
    let sql = "UPDATE statement SET revoked_at = ? WHERE user = ? AND revoked_at IS NULL";
    Ok(tx.execute(sql, params![now, Key(user)])?)
}

/// Revokes every statement that an API token asked for and that held; gives how many.
pub fn revoke_of_token(tx: &Transaction, token: Uuid, now: Timestamp) -> Result<usize> {
    let sql =
        "UPDATE statement SET revoked_at = ?1 WHERE token = ?2 AND revoked_at IS NULL AND expires_at > ?1";
    Ok(tx.execute(sql, params![now, Key(token)])?)
}

/// Takes statements that have ended out of the table, at most so many, and gives what they were.
pub fn ended(tx: &Transaction, now: Timestamp, most: u32) -> Result<Vec<Statement>> {
    let sql = "SELECT * FROM statement_listed WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
    let over = rows(tx, sql, params![now, most], |row| statement(row, now))?;
    for Statement { id, .. } in &over {
        tx.execute("DELETE FROM statement WHERE id = ?", [Key(*id)])?;
    }
    Ok(over)
}
