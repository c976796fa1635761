//! The SQL of users and sessions.

use super::User;
use crate::clock::Timestamp;
use crate::error::Error;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use uuid::Uuid;

/// A user and the hash of the password.
pub struct Known {
    pub user: User,
    pub password_hash: String,
}

/// Whether there is any user.
pub fn any(db: &Connection) -> Result<bool, Error> {
    Ok(db.query_row("SELECT EXISTS (SELECT 1 FROM user)", [], |row| row.get(0))?)
}

pub fn insert(tx: &Transaction, user: &User, password_hash: &str) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO user (id, name, display, password_hash, is_owner, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        params![user.id.to_string(), user.name, user.display, password_hash, user.owner, user.created_at],
    )
    .map_err(|error| Error::taken(error, "name", "is taken"))?;
    Ok(())
}

/// The active user of this name.
pub fn by_name(db: &Connection, name: &str) -> Result<Option<Known>, Error> {
    let sql = "SELECT id, name, display, is_owner, created_at, password_hash FROM user WHERE name = ? AND status = 'active'";
    let known = |row: &Row| Ok(Known { user: user(row)?, password_hash: row.get(5)? });
    Ok(db.query_row(sql, [name], known).optional()?)
}

/// The active user of a session that has not expired.
pub fn by_session(db: &Connection, hash: &[u8; 32], now: Timestamp) -> Result<Option<User>, Error> {
    let sql =
        "SELECT u.id, u.name, u.display, u.is_owner, u.created_at FROM session s JOIN user u ON u.id = s.user
               WHERE s.id_hash = ? AND s.expires_at > ? AND u.status = 'active'";
    Ok(db.query_row(sql, params![hash, now], user).optional()?)
}

/// A session's row.
pub struct Session<'a> {
    pub hash: &'a [u8; 32],
    pub user: Uuid,
    pub now: Timestamp,
    pub expires_at: Timestamp,
    pub source: &'a str,
    pub agent: &'a str,
}

/// Adds a session, and forgets those that have expired.
pub fn start_session(tx: &Transaction, session: &Session) -> Result<(), Error> {
    tx.execute("DELETE FROM session WHERE expires_at <= ?", params![session.now])?;
    tx.execute(
        "INSERT INTO session (id_hash, user, created_at, last_seen, expires_at, source, agent) VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            session.hash,
            session.user.to_string(),
            session.now,
            session.now,
            session.expires_at,
            session.source,
            session.agent
        ],
    )?;
    Ok(())
}

pub fn end_session(tx: &Transaction, hash: &[u8; 32]) -> Result<(), Error> {
    tx.execute("DELETE FROM session WHERE id_hash = ?", params![hash])?;
    Ok(())
}

fn user(row: &Row) -> rusqlite::Result<User> {
    let id: String = row.get(0)?;
    Ok(User {
        id: Uuid::try_parse(&id).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
        })?,
        name: row.get(1)?,
        display: row.get(2)?,
        owner: row.get(3)?,
        created_at: row.get(4)?,
    })
}
