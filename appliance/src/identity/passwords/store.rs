//! The SQL of links that set passwords.

use crate::clock::Timestamp;
use crate::error::Result;
use crate::noun::{Key, Link};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use uuid::Uuid;

/// Keeps a link in place of those made before, and forgets everyone's that are over.
pub fn keep_link(
    tx: &Transaction,
    user: Uuid,
    hash: &[u8; 32],
    until: Timestamp,
    now: Timestamp,
) -> Result<()> {
    tx.execute("DELETE FROM reset_link WHERE user = ? OR expires_at <= ?", params![Key(user), now])?;
    let sql = "INSERT INTO reset_link (hash, user, expires_at) VALUES (?, ?, ?)";
    tx.execute(sql, params![hash, Key(user), until])?;
    Ok(())
}

/// The active account that this link is for.
pub fn link(db: &Connection, hash: &[u8; 32], now: Timestamp) -> Result<Option<Link>> {
    let sql = "SELECT u.id, u.name FROM reset_link l JOIN user u ON u.id = l.user
               WHERE l.hash = ? AND l.expires_at > ? AND u.status = 'active'";
    let found = db.query_row(sql, params![hash, now], |row| {
        let Key(id) = row.get(0)?;
        Ok(Link { id, name: row.get(1)? })
    });
    Ok(found.optional()?)
}

/// Until when an account has a link that works.
pub fn link_until(db: &Connection, user: Uuid, now: Timestamp) -> Result<Option<Timestamp>> {
    let sql = "SELECT max(expires_at) FROM reset_link WHERE user = ? AND expires_at > ?";
    Ok(db.query_row(sql, params![Key(user), now], |row| row.get(0))?)
}
