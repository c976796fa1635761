//! The SQL of second factors, and nothing else.

use super::clocks::Device;
use super::keys::{self, Credential, Kept};
use super::totp::STEP;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::listing::rows;
use crate::noun::{Key, Link};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use uuid::Uuid;

/// The authenticator app of a user, as it is kept.
pub struct Totp {
    pub sealed: Vec<u8>,
    pub begun_at: Timestamp,
    pub confirmed_at: Option<Timestamp>,
    /// This step and those before it were used.
    pub last_step: i64,
    /// Steps to come whose codes were typed already: they are not taken.
    pub burnt: Vec<i64>,
    /// How many steps the device was ahead of us, when a code of it last came.
    pub away: Option<i64>,
    pub away_at: Option<Timestamp>,
}

impl Totp {
    /// Whether it waits for its first code still, and has not done so for too long.
    pub fn waits(&self, now: Timestamp) -> bool {
        self.confirmed_at.is_none() && now.since(self.begun_at) < super::app::PATIENCE
    }
}

pub fn totp(db: &Connection, user: Uuid) -> Result<Option<Totp>> {
    let sql =
        "SELECT sealed, confirmed_at, last_step, burnt, away, away_at, begun_at FROM totp WHERE user = ?";
    let read = |row: &Row| {
        let burnt: String = row.get(3)?;
        Ok(Totp {
            sealed: row.get(0)?,
            confirmed_at: row.get(1)?,
            last_step: row.get(2)?,
            burnt: serde_json::from_str(&burnt).unwrap_or_default(),
            away: row.get(4)?,
            away_at: row.get(5)?,
            begun_at: row.get(6)?,
        })
    };
    Ok(db.query_row(sql, [Key(user)], read).optional()?)
}

/// Keeps a new secret that no code has confirmed yet, in place of one that was not confirmed either.
/// Answers whether it was kept: a confirmed one stays.
pub fn begin_totp(tx: &Transaction, user: Uuid, sealed: &[u8], at: Timestamp) -> Result<bool> {
    let rows = tx.execute(
        "INSERT INTO totp (user, sealed, begun_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (user) DO UPDATE SET sealed = ?2, begun_at = ?3, last_step = 0, burnt = '[]', away = NULL,
           away_at = NULL
         WHERE confirmed_at IS NULL",
        params![Key(user), sealed, at],
    )?;
    Ok(rows == 1)
}

pub fn confirm_totp(tx: &Transaction, user: Uuid, at: Timestamp) -> Result<()> {
    tx.execute("UPDATE totp SET confirmed_at = ? WHERE user = ?", params![at, Key(user)])?;
    Ok(())
}

/// This step was used; steps burnt before it are of no more interest.
pub fn use_step(tx: &Transaction, user: Uuid, step: i64, away: i64, at: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE totp SET last_step = ?1, away = ?2, away_at = ?3,
           burnt = (SELECT json_group_array(value) FROM json_each(burnt) WHERE value > ?1)
         WHERE user = ?4",
        params![step, away, at, Key(user)],
    )?;
    Ok(())
}

/// A code of another time came: how far away it was, and the steps that are not to be taken any more.
pub fn note_drift(tx: &Transaction, user: Uuid, away: i64, burnt: &[i64], at: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE totp SET away = ?, away_at = ?, burnt = ? WHERE user = ?",
        params![away, at, serde_json::to_string(burnt)?, Key(user)],
    )?;
    Ok(())
}

/// The clocks of apps whose codes came after `since`, the newest first.
pub fn devices(db: &Connection, since: Timestamp) -> Result<Vec<Device>> {
    let sql = format!(
        "SELECT u.id, u.name, t.away * {STEP}, t.away_at FROM totp t JOIN user u ON u.id = t.user
         WHERE t.away IS NOT NULL AND t.away_at > ? ORDER BY t.away_at DESC, u.name LIMIT 200"
    );
    rows(db, &sql, [since], |row| {
        let Key(id) = row.get(0)?;
        Ok(Device { user: Link { id, name: row.get(1)? }, ahead_s: row.get(2)?, seen_at: row.get(3)? })
    })
}

pub fn delete_totp(tx: &Transaction, user: Uuid) -> Result<bool> {
    Ok(tx.execute("DELETE FROM totp WHERE user = ?", [Key(user)])? > 0)
}

/// A new set of recovery codes in place of the old one.
pub fn keep_codes(tx: &Transaction, user: Uuid, hashes: &[[u8; 32]]) -> Result<()> {
    delete_codes(tx, user)?;
    for hash in hashes {
        tx.execute("INSERT INTO recovery_code (user, hash) VALUES (?, ?)", params![Key(user), hash])?;
    }
    Ok(())
}

pub fn delete_codes(tx: &Transaction, user: Uuid) -> Result<bool> {
    Ok(tx.execute("DELETE FROM recovery_code WHERE user = ?", [Key(user)])? > 0)
}

/// Uses a code; false when there is no such code, or it was used.
pub fn use_code(tx: &Transaction, user: Uuid, hash: &[u8; 32], at: Timestamp) -> Result<bool> {
    let rows = tx.execute(
        "UPDATE recovery_code SET used_at = ? WHERE user = ? AND hash = ? AND used_at IS NULL",
        params![at, Key(user), hash],
    )?;
    Ok(rows == 1)
}

pub fn codes_left(db: &Connection, user: Uuid) -> Result<i64> {
    let sql = "SELECT count(*) FROM recovery_code WHERE user = ? AND used_at IS NULL";
    Ok(db.query_row(sql, [Key(user)], |row| row.get(0))?)
}

/// Whether the user has a factor that can be asked for.
pub fn has_factor(db: &Connection, user: Uuid) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM totp WHERE user = ?1 AND confirmed_at IS NOT NULL)
                 OR EXISTS (SELECT 1 FROM security_key WHERE user = ?1)";
    Ok(db.query_row(sql, [Key(user)], |row| row.get(0))?)
}

/// The sign-in name of a user.
pub fn name(db: &Connection, user: Uuid) -> Result<Option<String>> {
    Ok(db.query_row("SELECT name FROM user WHERE id = ?", [Key(user)], |row| row.get(0)).optional()?)
}

const KEY: &str = "SELECT id, user, name, credential_id, credential, created_at, last_used FROM security_key";

fn key(row: &Row) -> rusqlite::Result<Kept> {
    let (Key(id), Key(user)): (Key, Key) = (row.get(0)?, row.get(1)?);
    let text: String = row.get(4)?;
    let credential: Credential = serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(4, Type::Text, Box::new(error)))?;
    let key = keys::Key {
        id,
        name: row.get(2)?,
        site: credential.site.clone(),
        created_at: row.get(5)?,
        last_used: row.get(6)?,
    };
    Ok(Kept { key, user, credential_id: row.get(3)?, credential })
}

/// A user's security keys, the oldest first.
pub fn keys(db: &Connection, user: Uuid) -> Result<Vec<Kept>> {
    rows(db, &format!("{KEY} WHERE user = ? ORDER BY created_at, id LIMIT 100"), [Key(user)], key)
}

/// The key with this credential.
pub fn key_of(db: &Connection, credential_id: &[u8]) -> Result<Option<Kept>> {
    Ok(db.query_row(&format!("{KEY} WHERE credential_id = ?"), [credential_id], key).optional()?)
}

pub fn insert_key(tx: &Transaction, kept: &Kept) -> Result<()> {
    tx.execute(
        "INSERT INTO security_key (id, user, name, credential_id, credential, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        params![
            Key(kept.key.id),
            Key(kept.user),
            kept.key.name,
            kept.credential_id,
            serde_json::to_string(&kept.credential)?,
            kept.key.created_at
        ],
    )
    .map_err(|error| Error::taken(error, "key", "is registered already"))?;
    Ok(())
}

/// A key was used; `alone` without anything beside it. False when it is there no more.
pub fn used_key(
    tx: &Transaction,
    id: Uuid,
    credential: &Credential,
    alone: bool,
    at: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE security_key SET credential = ?, last_used = ?, alone = alone OR ? WHERE id = ?";
    Ok(tx.execute(sql, params![serde_json::to_string(credential)?, at, alone, Key(id)])? == 1)
}

pub fn delete_key(tx: &Transaction, id: Uuid) -> Result<()> {
    tx.execute("DELETE FROM security_key WHERE id = ?", [Key(id)])?;
    Ok(())
}

pub fn delete_keys(tx: &Transaction, user: Uuid) -> Result<()> {
    tx.execute("DELETE FROM security_key WHERE user = ?", [Key(user)])?;
    Ok(())
}
