//! The SQL of providers, and of who of their people is who here.

use super::{Fields, Settings};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::listing::{Filters, Listing, rows};
use crate::noun::{Kept, Key, Link};
use crate::web::{ListQuery, Page};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use uuid::Uuid;

const LISTING: Listing = Listing {
    name: "providers",
    table: "oidc_provider",
    search: &["name", "settings ->> 'issuer'"],
    sorts: &[("name", "name"), ("updated_at", "updated_at")],
};

fn provider(row: &Row) -> rusqlite::Result<(Kept<Fields>, bool)> {
    let has_secret = row.get::<_, Option<Vec<u8>>>("sealed")?.is_some();
    let kept = Kept::read(row, |row| {
        let text: String = row.get("settings")?;
        let settings: Settings = serde_json::from_str(&text)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))?;
        Ok(Fields { name: row.get("name")?, enabled: row.get("enabled")?, settings })
    })?;
    Ok((kept, has_secret))
}

pub fn page(db: &Connection, list: &ListQuery) -> Result<Page<(Kept<Fields>, bool)>> {
    LISTING.page(db, list, Filters::default(), provider)
}

pub fn one(db: &Connection, id: Uuid) -> Result<(Kept<Fields>, bool)> {
    let found = db.query_row("SELECT * FROM oidc_provider WHERE id = ?", [Key(id)], provider).optional()?;
    found.ok_or_else(|| Error::not_found("provider", id))
}

/// The sealed secret.
pub fn sealed(db: &Connection, id: Uuid) -> Result<Option<Vec<u8>>> {
    let sql = "SELECT sealed FROM oidc_provider WHERE id = ?";
    Ok(db.query_row(sql, [Key(id)], |row| row.get(0)).optional()?.flatten())
}

fn link(row: &Row) -> rusqlite::Result<Link> {
    let Key(id) = row.get("id")?;
    Ok(Link { id, name: row.get("name")? })
}

pub fn offered(db: &Connection) -> Result<Vec<Link>> {
    rows(
        db,
        "SELECT id, name FROM oidc_provider WHERE enabled = 1 ORDER BY name LIMIT 20",
        [] as [&str; 0],
        link,
    )
}

pub fn role_names(db: &Connection) -> Result<Vec<Link>> {
    rows(db, "SELECT id, name FROM role ORDER BY name LIMIT 1000", [] as [&str; 0], link)
}

fn taken(error: rusqlite::Error) -> Error {
    Error::taken(error, "name", "is taken by another provider")
}

pub fn insert(
    tx: &Transaction,
    id: Uuid,
    fields: &Fields,
    sealed: Option<&[u8]>,
    now: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO oidc_provider (id, name, settings, sealed, enabled, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?)";
    let settings = serde_json::to_string(&fields.settings)?;
    tx.execute(sql, params![Key(id), fields.name, settings, sealed, fields.enabled, now, now])
        .map_err(taken)?;
    Ok(())
}

/// The secret stays where none is given.
pub fn update(
    tx: &Transaction,
    id: Uuid,
    fields: &Fields,
    sealed: Option<&[u8]>,
    now: Timestamp,
) -> Result<()> {
    let sql = "UPDATE oidc_provider SET name = ?, settings = ?, sealed = coalesce(?, sealed), enabled = ?,
                 updated_at = ?, version = version + 1 WHERE id = ?";
    let settings = serde_json::to_string(&fields.settings)?;
    tx.execute(sql, params![fields.name, settings, sealed, fields.enabled, now, Key(id)]).map_err(taken)?;
    Ok(())
}

pub fn delete(tx: &Transaction, id: Uuid) -> Result<()> {
    tx.execute("DELETE FROM oidc_provider WHERE id = ?", [Key(id)])?;
    Ok(())
}

/// Who here this person of the provider is.
pub fn linked(db: &Connection, provider: Uuid, subject: &str) -> Result<Option<Uuid>> {
    let sql = "SELECT user FROM oidc_link WHERE provider = ? AND subject = ?";
    let found = db.query_row(sql, params![Key(provider), subject], |row| row.get::<_, Key>(0)).optional()?;
    Ok(found.map(|Key(id)| id))
}

pub fn keep_link(tx: &Transaction, provider: Uuid, subject: &str, user: Uuid, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO oidc_link (provider, subject, user, created_at) VALUES (?, ?, ?, ?)";
    tx.execute(sql, params![Key(provider), subject, Key(user), now])?;
    Ok(())
}

/// The one person with this e-mail address that may be linked: active, not the owner, and known to no provider yet: whoever
/// that one knows them by would come by the new roles too. Two of them are none.
pub fn by_email(db: &Connection, email: &str) -> Result<Option<Uuid>> {
    let sql = "SELECT id FROM user WHERE email = ? COLLATE NOCASE AND kind = 'person' LIMIT 2";
    let found = rows(db, sql, [email], |row| row.get::<_, Key>(0))?;
    let [Key(id)] = found[..] else { return Ok(None) };
    let sql =
        "SELECT is_owner = 0 AND status = 'active' AND NOT EXISTS (SELECT 1 FROM oidc_link WHERE user = id)
               FROM user WHERE id = ?";
    let fits: bool = db.query_row(sql, [Key(id)], |row| row.get(0))?;
    Ok(fits.then_some(id))
}

pub fn name_is_taken(db: &Connection, name: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM user WHERE name = ?)";
    Ok(db.query_row(sql, [name], |row| row.get(0))?)
}

/// The roles that providers gave this user, by name.
pub fn given(db: &Connection, user: Uuid) -> Result<Vec<Link>> {
    let sql = "SELECT r.id, r.name FROM user_role h JOIN role r ON r.id = h.role
               WHERE h.user = ? AND h.origin = 'oidc' ORDER BY r.name LIMIT 1000";
    rows(db, sql, [Key(user)], link)
}

/// Gives these roles by the word of a provider, in place of those that providers gave before. A role that is gone
/// meanwhile is left out.
pub fn give(tx: &Transaction, user: Uuid, provider: Uuid, roles: &[Uuid]) -> Result<()> {
    tx.execute("DELETE FROM user_role WHERE user = ? AND origin = 'oidc'", [Key(user)])?;
    for role in roles {
        tx.execute(
            "INSERT OR IGNORE INTO user_role (user, role, origin, provider) SELECT ?, id, 'oidc', ? FROM role WHERE id = ?",
            params![Key(user), Key(provider), Key(*role)],
        )?;
    }
    Ok(())
}

/// Takes the roles that a provider gave this user.
pub fn take(tx: &Transaction, user: Uuid, provider: Uuid) -> Result<()> {
    tx.execute("DELETE FROM user_role WHERE user = ? AND provider = ?", [Key(user), Key(provider)])?;
    Ok(())
}

/// Some of those who hold roles by the word of a provider.
pub fn holders(db: &Connection, provider: Uuid) -> Result<Vec<Uuid>> {
    let sql = "SELECT DISTINCT user FROM user_role WHERE provider = ? ORDER BY user LIMIT 500";
    rows(db, sql, [Key(provider)], |row| row.get(0).map(|Key(id)| id))
}

/// Forgets who of a provider's people is who here.
pub fn forget_links(tx: &Transaction, provider: Uuid) -> Result<()> {
    tx.execute("DELETE FROM oidc_link WHERE provider = ?", [Key(provider)])?;
    Ok(())
}

/// Whether a provider is offered, and still what it was at this version.
pub fn is_offered_as(db: &Connection, provider: Uuid, version: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM oidc_provider WHERE id = ? AND enabled AND version = ?)";
    Ok(db.query_row(sql, params![Key(provider), version], |row| row.get(0))?)
}

/// Something came back with this state; false when it did before. What could no longer come back is forgotten.
pub fn comes_back(tx: &Transaction, state: &[u8; 32], until: Timestamp, now: Timestamp) -> Result<bool> {
    tx.execute("DELETE FROM oidc_back WHERE until <= ?", [now])?;
    let sql = "INSERT OR IGNORE INTO oidc_back (state, until) VALUES (?, ?)";
    Ok(tx.execute(sql, params![state, until])? == 1)
}

/// How many accounts a provider knows, how many hold roles by its word, and how many of those it knows have no other way
/// in.
pub fn people(db: &Connection, provider: Uuid) -> Result<(u64, u64, u64)> {
    let sql = "SELECT (SELECT count(DISTINCT user) FROM oidc_link WHERE provider = ?1),
                 (SELECT count(DISTINCT user) FROM user_role WHERE provider = ?1),
                 (SELECT count(DISTINCT user) FROM oidc_link l WHERE l.provider = ?1
                    AND NOT EXISTS (SELECT 1 FROM way_in w WHERE w.user = l.user AND w.provider IS NOT ?1))";
    Ok(db.query_row(sql, [Key(provider)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
}

/// The providers that are offered and know this user.
pub fn known_by(db: &Connection, user: Uuid) -> Result<Vec<Link>> {
    let sql = "SELECT DISTINCT p.id, p.name FROM oidc_link l JOIN oidc_provider p ON p.id = l.provider
               WHERE l.user = ? AND p.enabled = 1 ORDER BY p.name LIMIT 20";
    rows(db, sql, [Key(user)], link)
}
