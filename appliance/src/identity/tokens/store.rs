//! The SQL of tokens.

use std::collections::BTreeSet;

use portolan_scanner::net::Ranges;
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use uuid::Uuid;

use super::{Fields, NEVER, State, Token, TokenUse};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::identity::User;
use crate::identity::users::store::{USER, user};
use crate::listing::{Filters, Listing, rows};
use crate::noun::{Key, Link};
use crate::web::{ListQuery, Page};

/// Networks that are remembered of one token; beyond it the one that was not seen for longest is forgotten.
const USES_MAX: u32 = 100;

const LISTING: Listing = Listing {
    name: "tokens",
    table: "token_listed",
    search: &["name", "user_name", "made_by"],
    sorts: &[
        ("created_at", "created_at"),
        ("name", "name"),
        ("account", "user_name"),
        ("expires_at", "expires_at"),
        ("last_used", "last_used"),
    ],
};

/// A token that was shown, with what decides on it.
pub struct Found {
    pub id: Uuid,
    /// Its account, where that is active.
    pub user: Option<User>,
    pub scopes: BTreeSet<String>,
    pub sources: Ranges,
    pub expires_at: Timestamp,
    pub revoked: bool,
    /// When it last came from where it comes from now.
    pub seen: Option<Timestamp>,
}

/// A row that is made, beside what its maker decided.
pub struct New<'a> {
    pub id: Uuid,
    pub user: Uuid,
    pub hash: &'a [u8; 32],
    pub hint: &'a str,
    pub made_by: &'a str,
    pub now: Timestamp,
}

fn names(row: &Row) -> rusqlite::Result<BTreeSet<String>> {
    let text: String = row.get("scopes")?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

fn token(row: &Row, now: Timestamp) -> rusqlite::Result<Token> {
    let (Key(id), Key(user)) = (row.get("id")?, row.get("user")?);
    let (expires_at, last_used): (Timestamp, Timestamp) = (row.get("expires_at")?, row.get("last_used")?);
    let revoked_at: Option<Timestamp> = row.get("revoked_at")?;
    let state = match revoked_at {
        Some(_) => State::Revoked,
        None if expires_at <= now => State::Expired,
        None => State::InForce,
    };
    Ok(Token {
        id,
        name: row.get("name")?,
        account: Link { id: user, name: row.get("user_name")? },
        service: row.get::<_, String>("user_kind")? == "service",
        hint: row.get("hint")?,
        scopes: names(row)?,
        sources: row.get("sources")?,
        made_by: row.get("made_by")?,
        state,
        created_at: row.get("created_at")?,
        expires_at: (expires_at < NEVER).then_some(expires_at),
        last_used: (last_used > Timestamp::EPOCH).then_some(last_used),
        revoked_at,
    })
}

/// One page of the tokens, of one account or of all; with `token`, of that one alone.
pub fn page(
    db: &Connection,
    query: &ListQuery,
    (user, token): (Option<Uuid>, Option<Uuid>),
    state: Option<State>,
    now: Timestamp,
) -> Result<Page<Token>> {
    let mut filters = Filters::default();
    if let Some(user) = user {
        filters = filters.only("user = ?", [Value::Text(user.to_string())]);
    }
    if let Some(token) = token {
        filters = filters.only("id = ?", [Value::Text(token.to_string())]);
    }
    let at = || Value::Integer(now.micros());
    filters = match state {
        None => filters,
        Some(State::InForce) => filters.only("revoked_at IS NULL AND expires_at > ?", [at()]),
        Some(State::Expired) => filters.only("revoked_at IS NULL AND expires_at <= ?", [at()]),
        Some(State::Revoked) => filters.only("revoked_at IS NOT NULL", []),
    };
    LISTING.page(db, query, filters, |row| self::token(row, now))
}

pub fn one(db: &Connection, id: Uuid, now: Timestamp) -> Result<Token> {
    let sql = "SELECT * FROM token_listed WHERE id = ?";
    let found = db.query_row(sql, [Key(id)], |row| token(row, now)).optional()?;
    found.ok_or_else(|| Error::not_found("token", id))
}

/// The token of this hash, seen from this network.
pub fn by_hash(db: &Connection, hash: &[u8; 32], source: &str) -> Result<Option<Found>> {
    let sql = "SELECT token.id, token.user, token.scopes, token.sources, token.expires_at, token.revoked_at,
                 (SELECT last_used FROM token_use WHERE token_use.token = token.id AND source = ?2) AS seen
               FROM token WHERE hash = ?1";
    let found = |row: &Row| {
        let (Key(id), Key(user)) = (row.get("id")?, row.get("user")?);
        let sources: String = row.get("sources")?;
        let sources = Ranges::parse(&sources)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))?;
        let revoked = row.get::<_, Option<Timestamp>>("revoked_at")?.is_some();
        let (expires_at, seen) = (row.get("expires_at")?, row.get("seen")?);
        Ok((user, Found { id, user: None, scopes: names(row)?, sources, expires_at, revoked, seen }))
    };
    let Some((user, found)) = db.query_row(sql, params![hash, source], found).optional()? else {
        return Ok(None);
    };
    Ok(Some(Found { user: active(db, user)?, ..found }))
}

/// When a token ends, and where it may come from; none of one that was revoked or has ended.
pub fn standing(db: &Connection, id: Uuid, now: Timestamp) -> Result<Option<(Timestamp, Ranges)>> {
    let sql = "SELECT expires_at, sources FROM token WHERE id = ? AND revoked_at IS NULL AND expires_at > ?";
    let standing = |row: &Row| {
        let sources: String = row.get(1)?;
        let sources = Ranges::parse(&sources)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error)))?;
        Ok((row.get(0)?, sources))
    };
    Ok(db.query_row(sql, params![Key(id), now], standing).optional()?)
}

/// The account of this id, unless it is disabled.
pub fn active(db: &Connection, id: Uuid) -> Result<Option<User>> {
    let sql = format!("SELECT {USER} FROM user u WHERE u.id = ? AND u.status = 'active'");
    Ok(db.query_row(&sql, [Key(id)], user).optional()?)
}

pub fn is_owner(db: &Connection, user: Uuid) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM user WHERE id = ? AND is_owner)";
    Ok(db.query_row(sql, [Key(user)], |row| row.get(0))?)
}

/// Whether this is a service account that is active.
pub fn is_service(db: &Connection, user: Uuid) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM user WHERE id = ? AND kind = 'service' AND status = 'active')";
    Ok(db.query_row(sql, [Key(user)], |row| row.get(0))?)
}

/// Service accounts that are active, by name.
pub fn service_accounts(db: &Connection) -> Result<Vec<Link>> {
    let none: [u8; 0] = [];
    let sql =
        "SELECT id, name FROM user WHERE kind = 'service' AND status = 'active' ORDER BY name LIMIT 500";
    rows(db, sql, none, |row| {
        let Key(id) = row.get(0)?;
        Ok(Link { id, name: row.get(1)? })
    })
}

/// How many tokens of an account are in force.
pub fn in_force(db: &Connection, user: Uuid, now: Timestamp) -> Result<u64> {
    let sql = "SELECT count(*) FROM token WHERE user = ? AND revoked_at IS NULL AND expires_at > ?";
    Ok(db.query_row(sql, params![Key(user), now], |row| row.get(0))?)
}

/// Where a token was used from, the last first.
pub fn uses(db: &Connection, id: Uuid) -> Result<Vec<TokenUse>> {
    let sql = "SELECT source, first_used, last_used FROM token_use WHERE token = ? ORDER BY last_used DESC LIMIT 100";
    rows(db, sql, [Key(id)], |row| {
        Ok(TokenUse { source: row.get(0)?, first_used: row.get(1)?, last_used: row.get(2)? })
    })
}

pub fn insert(tx: &Transaction, row: &New, fields: &Fields) -> Result<()> {
    tx.execute(
        "INSERT INTO token (id, user, name, hash, hint, scopes, sources, made_by, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            Key(row.id),
            Key(row.user),
            fields.name,
            row.hash,
            row.hint,
            serde_json::to_string(&fields.scopes)?,
            fields.sources.to_string(),
            row.made_by,
            row.now,
            fields.expires_at.unwrap_or(NEVER)
        ],
    )
    .map_err(|error| Error::taken(error, "name", "another token in force has this name"))?;
    Ok(())
}

pub fn revoke(tx: &Transaction, id: Uuid, now: Timestamp) -> Result<()> {
    tx.execute("UPDATE token SET revoked_at = ? WHERE id = ?", params![now, Key(id)])?;
    Ok(())
}

/// Revokes every token of an account that was not; gives how many.
pub fn revoke_all(tx: &Transaction, user: Uuid, now: Timestamp) -> Result<usize> {
    let sql = "UPDATE token SET revoked_at = ? WHERE user = ? AND revoked_at IS NULL";
    Ok(tx.execute(sql, params![now, Key(user)])?)
}

/// Some of the tokens that have been over since before this moment, those that have been for longest first.
pub fn over_since(db: &Connection, before: Timestamp, now: Timestamp, most: u32) -> Result<Vec<Token>> {
    let sql = format!(
        "SELECT * FROM token_listed WHERE min(coalesce(revoked_at, expires_at), expires_at) < ?
         ORDER BY min(coalesce(revoked_at, expires_at), expires_at), id LIMIT {most}"
    );
    rows(db, &sql, [before], |row| token(row, now))
}

/// Some of the tokens that ended by themselves and of which that was not told yet, those that did first.
pub fn expired(db: &Connection, now: Timestamp, most: u32) -> Result<Vec<Token>> {
    let sql = format!(
        "SELECT * FROM token_listed WHERE expires_at <= ? AND revoked_at IS NULL AND expiry_told = 0
         ORDER BY expires_at, id LIMIT {most}"
    );
    rows(db, &sql, [now], |row| token(row, now))
}

/// Its end by itself is in the audit.
pub fn expiry_told(tx: &Transaction, id: Uuid) -> Result<()> {
    tx.execute("UPDATE token SET expiry_told = 1 WHERE id = ?", [Key(id)])?;
    Ok(())
}

/// Deletes a token, with where it was used from.
pub fn forget(tx: &Transaction, id: Uuid) -> Result<()> {
    tx.execute("DELETE FROM token WHERE id = ?", [Key(id)])?;
    Ok(())
}

/// Remembers a network; whether it was not known before.
pub fn first_use(tx: &Transaction, id: Uuid, source: &str, now: Timestamp) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM token_use WHERE token = ? AND source = ?)";
    if tx.query_row(sql, params![Key(id), source], |row| row.get(0))? {
        return Ok(false);
    }
    tx.execute(
        "DELETE FROM token_use WHERE token = ?1 AND source IN (SELECT source FROM token_use WHERE token = ?1
           ORDER BY last_used DESC LIMIT -1 OFFSET ?2)",
        params![Key(id), USES_MAX - 1],
    )?;
    tx.execute(
        "INSERT INTO token_use (token, source, first_used, last_used) VALUES (?, ?, ?, ?)",
        params![Key(id), source, now, now],
    )?;
    Ok(true)
}

/// Says when a token was last used.
pub fn note_use(tx: &Transaction, id: Uuid, source: &str, now: Timestamp) -> Result<()> {
    let sql = "UPDATE token_use SET last_used = max(last_used, ?) WHERE token = ? AND source = ?";
    tx.execute(sql, params![now, Key(id), source])?;
    Ok(())
}
