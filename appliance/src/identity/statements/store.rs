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

/// One page of the statements about one account, or about all.
pub fn page(
    db: &Connection,
    query: &ListQuery,
    user: Option<Uuid>,
    now: Timestamp,
) -> Result<Page<Statement>> {
    let mut filters = Filters::default();
    if let Some(user) = user {
        filters = filters.only("user = ?", [Value::Text(user.to_string())]);
    }
    LISTING.page(db, query, filters, |row| statement(row, now))
}

/// A statement, if it is about this account; with none, whichever it is about.
pub fn one(db: &Connection, id: Uuid, user: Option<Uuid>, now: Timestamp) -> Result<Statement> {
    let sql = "SELECT * FROM statement_listed WHERE id = ?1 AND (?2 IS NULL OR user = ?2)";
    let found = db.query_row(sql, params![Key(id), user.map(Key)], |row| statement(row, now)).optional()?;
    found.ok_or_else(|| Error::not_found("statement", id))
}

/// When the line of a statement began, and whether it was revoked.
pub fn state(db: &Connection, id: Uuid) -> Result<Option<(Timestamp, bool)>> {
    let sql = "SELECT began_at, revoked_at IS NOT NULL FROM statement WHERE id = ?";
    Ok(db.query_row(sql, [Key(id)], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// How many statements about an account hold.
pub fn holding(db: &Connection, user: Uuid, now: Timestamp) -> Result<u64> {
    let sql = "SELECT count(*) FROM statement WHERE user = ? AND revoked_at IS NULL AND expires_at > ?";
    Ok(db.query_row(sql, params![Key(user), now], |row| row.get(0))?)
}

pub fn insert(tx: &Transaction, row: &New) -> Result<()> {
    tx.execute(
        "INSERT INTO statement (id, user, audience, began_at, issued_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
        params![Key(row.id), Key(row.user), row.audience, row.began_at, row.issued_at, row.expires_at],
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

/// Takes statements that have ended out of the table, at most so many, and gives what they were.
pub fn ended(tx: &Transaction, now: Timestamp, most: u32) -> Result<Vec<Statement>> {
    let sql = "SELECT * FROM statement_listed WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
    let over = rows(tx, sql, params![now, most], |row| statement(row, now))?;
    for Statement { id, .. } in &over {
        tx.execute("DELETE FROM statement WHERE id = ?", [Key(*id)])?;
    }
    Ok(over)
}
