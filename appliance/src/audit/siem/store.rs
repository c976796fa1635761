//! The SQL of receivers and of how far each has come.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use uuid::Uuid;

use super::{Fields, State};
use crate::audit::chain::Link;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::listing::{Filters, Listing, rows};
use crate::noun::{Kept, Key};
use crate::web::{ListQuery, Page};

const LISTING: Listing = Listing {
    name: "receivers",
    table: "receiver",
    // Not by the address itself: whoever may search would find out what is not shown of it.
    search: &["name", "shown"],
    sorts: &[("name", "name"), ("kind", "kind"), ("updated_at", "updated_at")],
};

/// A receiver as it is kept, and its sealed secret.
#[derive(Clone)]
pub struct Receiver {
    pub kept: Kept<Fields>,
    pub sealed: Option<Vec<u8>>,
}

fn receiver(row: &Row) -> rusqlite::Result<Receiver> {
    let kept = Kept::read(row, |row| {
        Ok(Fields {
            name: row.get("name")?,
            kind: row.get("kind")?,
            address: row.get("address")?,
            body: row.get("body")?,
            ca: row.get("ca")?,
            enabled: row.get("enabled")?,
        })
    })?;
    Ok(Receiver { kept, sealed: row.get("sealed")? })
}

pub fn page(db: &Connection, query: &ListQuery) -> Result<Page<Receiver>> {
    LISTING.page(db, query, Filters::default(), receiver)
}

pub fn one(db: &Connection, id: Uuid) -> Result<Receiver> {
    find(db, id)?.ok_or_else(|| Error::not_found("receiver", id))
}

pub fn find(db: &Connection, id: Uuid) -> Result<Option<Receiver>> {
    Ok(db.query_row("SELECT * FROM receiver WHERE id = ?", [Key(id)], receiver).optional()?)
}

/// Those that entries are sent to; at most as many as there may be.
pub fn enabled(db: &Connection, most: usize) -> Result<Vec<Receiver>> {
    let sql = "SELECT * FROM receiver WHERE enabled ORDER BY id LIMIT ?";
    rows(db, sql, [i64::try_from(most).unwrap_or(i64::MAX)], receiver)
}

pub fn count(db: &Connection) -> Result<usize> {
    let count: i64 = db.query_row("SELECT count(*) FROM receiver", [], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn taken(error: rusqlite::Error) -> Error {
    Error::taken(error, "name", "is taken")
}

/// Makes a receiver that has nothing yet but what stands in the chain already.
pub fn insert(
    tx: &Transaction,
    id: Uuid,
    fields: &Fields,
    sealed: Option<&[u8]>,
    (now, head): (Timestamp, u64),
) -> Result<()> {
    let Fields { name, kind, address, body, ca, enabled } = fields;
    let sql = "INSERT INTO receiver
           (id, name, kind, address, shown, body, ca, sealed, enabled, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    tx.execute(
        sql,
        params![Key(id), name, kind, address, fields.shown(), body, ca, sealed, enabled, now, now],
    )
    .map_err(taken)?;
    tx.execute("INSERT INTO delivery (receiver, seq, at) VALUES (?, ?, ?)", params![Key(id), head, now])?;
    Ok(())
}

/// Without `sealed` the secret stays.
pub fn update(
    tx: &Transaction,
    id: Uuid,
    fields: &Fields,
    sealed: Option<&[u8]>,
    now: Timestamp,
) -> Result<()> {
    let Fields { name, kind, address, body, ca, enabled } = fields;
    let sql = "UPDATE receiver SET name = ?, kind = ?, address = ?, shown = ?, body = ?, ca = ?, enabled = ?,
                 sealed = coalesce(?, sealed), updated_at = ?, version = version + 1 WHERE id = ?";
    tx.execute(sql, params![name, kind, address, fields.shown(), body, ca, enabled, sealed, now, Key(id)])
        .map_err(taken)?;
    Ok(())
}

pub fn delete(tx: &Transaction, id: Uuid) -> Result<()> {
    tx.execute("DELETE FROM receiver WHERE id = ?", [Key(id)])?;
    Ok(())
}

/// How far a receiver has come; what stands behind it in the chain is counted from the head.
pub fn state(db: &Connection, id: Uuid) -> Result<State> {
    let sql = "SELECT seq, at, tries, failing_since, error,
                 (SELECT coalesce(max(seq), 0) FROM audit_entry) - seq FROM delivery WHERE receiver = ?";
    let state = |row: &Row| {
        Ok(State {
            seq: row.get(0)?,
            at: row.get(1)?,
            tries: row.get(2)?,
            failing_since: row.get(3)?,
            error: row.get(4)?,
            waiting: row.get(5)?,
        })
    };
    Ok(db.query_row(sql, [Key(id)], state)?)
}

/// The entries after `seq`, in order; at most so many.
pub fn after(db: &Connection, seq: u64, most: usize) -> Result<Vec<Link>> {
    let sql = "SELECT seq, entry, prev_hash, hash FROM audit_entry WHERE seq > ? ORDER BY seq LIMIT ?";
    rows(db, sql, params![seq, i64::try_from(most).unwrap_or(i64::MAX)], |row| {
        Ok(Link { seq: row.get(0)?, entry: row.get(1)?, prev: row.get(2)?, hash: row.get(3)? })
    })
}

/// A batch arrived, the last of it being `seq`; false when the receiver is no longer the one of this version, to which it
/// was sent: then nothing is written.
pub fn arrived(tx: &Transaction, (id, version): (Uuid, i64), seq: u64, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE delivery SET seq = max(seq, ?), at = ?, tries = 0, failing_since = NULL, error = ''
               WHERE receiver = (SELECT id FROM receiver WHERE id = ? AND version = ?)";
    Ok(tx.execute(sql, params![seq, now, Key(id), version])? == 1)
}

/// A batch did not arrive; otherwise as [`arrived`].
pub fn failed(tx: &Transaction, (id, version): (Uuid, i64), error: &str, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE delivery SET tries = tries + 1, failing_since = coalesce(failing_since, ?), error = ?
               WHERE receiver = (SELECT id FROM receiver WHERE id = ? AND version = ?)";
    Ok(tx.execute(sql, params![now, error, Key(id), version])? == 1)
}
