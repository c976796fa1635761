//! The SQL of sessions.

use super::{Held, Limits, Session, SessionQuery, Vouched};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::identity::users::store::{USER, user};
use crate::identity::{Stage, User};
use crate::listing::{Filters, Listing, rows};
use crate::noun::{Key, Link};
use crate::web::{ListQuery, Page};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use uuid::Uuid;

/// How a session is called without its secret or the whole hash of it: the first half of that hash, in hex.
const ID: &str = "lower(hex(substr(id_hash, 1, 16)))";

const LISTING: Listing = Listing {
    name: "sessions",
    table: "(SELECT s.*, lower(hex(substr(s.id_hash, 1, 16))) AS id, u.name AS user_name, u.display AS user_display
             FROM session s JOIN user u ON u.id = s.user)",
    search: &["user_name", "user_display", "source", "agent"],
    sorts: &[
        ("last_seen", "last_seen"),
        ("created_at", "created_at"),
        ("user", "user_name"),
        ("method", "method"),
        ("source", "source"),
    ],
};

/// What a new session's row says.
pub struct NewSession<'a> {
    pub hash: [u8; 32],
    pub user: Uuid,
    pub stage: Stage,
    pub strong: bool,
    pub method: &'a str,
    pub now: Timestamp,
    pub expires_at: Timestamp,
    pub source: &'a str,
    pub agent: &'a str,
}

pub fn insert(tx: &Transaction, new: &NewSession) -> Result<()> {
    let sql = "INSERT INTO session (id_hash, user, stage, strong, method, proved_at, created_at, last_seen, expires_at,
                 source, agent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let NewSession { hash, user, stage, strong, method, now, expires_at, source, agent } = new;
    let values = params![hash, Key(*user), stage, strong, method, now, now, now, expires_at, source, agent];
    tx.execute(sql, values)?;
    Ok(())
}

/// Keeps which provider's word a session stands on, in place of what was kept before.
pub fn keep_origin(tx: &Transaction, hash: &[u8; 32], vouched: &Vouched) -> Result<()> {
    let sql = "INSERT INTO session_origin (session, provider, id_token) VALUES (?, ?, ?)
               ON CONFLICT (session) DO UPDATE SET provider = excluded.provider, id_token = excluded.id_token";
    tx.execute(sql, params![hash, Key(vouched.provider), vouched.id_token])?;
    Ok(())
}

/// The provider whose word a session stands on.
pub fn origin(db: &Connection, hash: &[u8; 32]) -> Result<Option<Vouched>> {
    let sql = "SELECT provider, id_token FROM session_origin WHERE session = ?";
    let read = |row: &Row| {
        let Key(provider) = row.get(0)?;
        Ok(Vouched { provider, id_token: row.get(1)? })
    };
    Ok(db.query_row(sql, [hash], read).optional()?)
}

/// Whether a provider that is offered still knows this user.
pub fn is_vouched_for(db: &Connection, user: Uuid, provider: Uuid) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM oidc_link l JOIN oidc_provider p ON p.id = l.provider
                              WHERE l.user = ? AND p.id = ? AND p.enabled)";
    Ok(db.query_row(sql, [Key(user), Key(provider)], |row| row.get(0))?)
}

/// Whether this security key is still the user's.
pub fn has_key(db: &Connection, user: Uuid, key: Uuid) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM security_key WHERE user = ? AND id = ?)";
    Ok(db.query_row(sql, [Key(user), Key(key)], |row| row.get(0))?)
}

/// How many sessions stand on a provider's word.
pub fn of_provider(db: &Connection, provider: Uuid) -> Result<u64> {
    let sql = "SELECT count(*) FROM session_origin WHERE provider = ?";
    Ok(db.query_row(sql, [Key(provider)], |row| row.get(0))?)
}

/// Ends the sessions that stand on a provider's word; gives how many.
pub fn end_of_provider(tx: &Transaction, provider: Uuid) -> Result<usize> {
    let sql = "DELETE FROM session WHERE id_hash IN (SELECT session FROM session_origin WHERE provider = ?)";
    Ok(tx.execute(sql, [Key(provider)])?)
}

/// From now on a role that asks for a second factor is content with this session.
pub fn strengthen(tx: &Transaction, hash: &[u8; 32]) -> Result<()> {
    tx.execute("UPDATE session SET strong = 1 WHERE id_hash = ?", [hash])?;
    Ok(())
}

/// The session behind this hash and its active user, while neither of its times is over.
pub fn live(
    db: &Connection,
    hash: &[u8; 32],
    limits: &Limits,
    now: Timestamp,
) -> Result<Option<(Held, User)>> {
    let sql = format!(
        "SELECT {USER}, s.stage, s.strong, s.method, s.proved_at, s.created_at AS began_at, s.last_seen FROM session s
         JOIN user u ON u.id = s.user
         WHERE s.id_hash = ? AND s.expires_at > ? AND s.created_at > ? AND s.last_seen > ? AND u.status = 'active'"
    );
    let since = |limit| now - limit;
    let values = params![hash, now, since(limits.absolute()), since(limits.idle())];
    let held = |row: &Row| {
        let held = Held {
            hash: *hash,
            kept: row.get("stage")?,
            strong: row.get("strong")?,
            stage: row.get("stage")?,
            method: row.get("method")?,
            proved_at: row.get("proved_at")?,
            began_at: row.get("began_at")?,
            last_seen: row.get("last_seen")?,
        };
        Ok((held, user(row)?))
    };
    Ok(db.prepare_cached(&sql)?.query_row(values, held).optional()?)
}

/// The caller was here.
pub fn seen(tx: &Transaction, hash: &[u8; 32], user: Uuid, now: Timestamp) -> Result<()> {
    tx.execute("UPDATE session SET last_seen = ? WHERE id_hash = ?", params![now, hash])?;
    tx.execute("UPDATE user SET last_seen = ? WHERE id = ?", params![now, Key(user)])?;
    Ok(())
}

/// Gives the session a new id and what it is from now on. False when it is gone.
pub fn turn(
    tx: &Transaction,
    held: &Held,
    to: &[u8; 32],
    stage: Stage,
    proved_at: Timestamp,
) -> Result<bool> {
    let sql =
        "UPDATE session SET id_hash = ?, stage = ?, strong = ?, method = ?, proved_at = ? WHERE id_hash = ?";
    Ok(tx.execute(sql, params![to, stage, held.strong, held.method, proved_at, held.hash])? == 1)
}

pub fn end(tx: &Transaction, hash: &[u8; 32]) -> Result<()> {
    tx.execute("DELETE FROM session WHERE id_hash = ?", params![hash])?;
    Ok(())
}

/// Ends a user's sessions, all but the one to be kept; gives how many.
pub fn end_all(tx: &Transaction, user: Uuid, keep: Option<&[u8; 32]>) -> Result<usize> {
    let sql = "DELETE FROM session WHERE user = ? AND id_hash IS NOT ?";
    Ok(tx.execute(sql, params![Key(user), keep])?)
}

/// Ends everyone's sessions; gives how many.
pub fn end_everyones(tx: &Transaction) -> Result<usize> {
    Ok(tx.execute("DELETE FROM session", [])?)
}

fn session(row: &Row) -> rusqlite::Result<Session> {
    let Key(user) = row.get("user")?;
    Ok(Session {
        id: row.get("id")?,
        user: Link { id: user, name: row.get("user_name")? },
        current: false,
        stage: row.get("stage")?,
        method: row.get("method")?,
        source: row.get("source")?,
        agent: row.get("agent")?,
        began_at: row.get("created_at")?,
        last_seen: row.get("last_seen")?,
        ends_at: row.get("expires_at")?,
        strong: row.get("strong")?,
    })
}

/// One page of the sessions that have not expired.
pub fn page(db: &Connection, query: SessionQuery, limits: &Limits, now: Timestamp) -> Result<Page<Session>> {
    let SessionQuery { q, user, sort, limit, cursor } = query;
    let sort = sort.filter(|sort| !sort.is_empty()).or_else(|| Some("-last_seen".to_owned()));
    let times = [now, now - limits.absolute(), now - limits.idle()].map(|at| Value::Integer(at.micros()));
    let mut filters = Filters::default().only("expires_at > ? AND created_at > ? AND last_seen > ?", times);
    if let Some(user) = user {
        filters = filters.only("user = ?", [Value::Text(user.to_string())]);
    }
    LISTING.page(db, &ListQuery { q, sort, limit, cursor }, filters, session)
}

/// A session by its id, of this user if one is named.
pub fn one(db: &Connection, id: &str, of: Option<Uuid>) -> Result<Session> {
    let sql = format!(
        "SELECT s.*, {ID} AS id, u.name AS user_name FROM session s JOIN user u ON u.id = s.user
         WHERE {ID} = ? AND (? IS NULL OR s.user = ?)"
    );
    let of = of.map(Key);
    let found = db.query_row(&sql, params![id, of, of], session).optional()?;
    found.ok_or_else(|| Error::not_found("session", id))
}

pub fn delete(tx: &Transaction, id: &str) -> Result<()> {
    tx.execute(&format!("DELETE FROM session WHERE {ID} = ?"), [id])?;
    Ok(())
}

/// Some of the sessions whose time is over.
pub fn over(db: &Connection, limits: &Limits, now: Timestamp, most: u32) -> Result<Vec<Session>> {
    let sql = format!(
        "SELECT s.*, {ID} AS id, u.name AS user_name FROM session s JOIN user u ON u.id = s.user
         WHERE s.expires_at <= ? OR s.created_at <= ? OR s.last_seen <= ? ORDER BY s.expires_at LIMIT {most}"
    );
    rows(db, &sql, [now, now - limits.absolute(), now - limits.idle()], session)
}
