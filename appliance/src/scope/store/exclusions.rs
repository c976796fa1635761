//! The SQL of exclusions.

use portolan_scanner::net::{Range, Ranges, addr_to_u128};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use uuid::Uuid;

use super::{hex, parsed};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::listing::{Filters, Listing, rows};
use crate::noun::{Kept, Key};
use crate::scope::exclusions::{Fields, Force, Made};
use crate::web::{ListQuery, Page};

const LISTING: Listing = Listing {
    name: "exclusions",
    table: "exclusion",
    search: &["addresses", "reason", "by_name"],
    sorts: &[
        ("addresses", "first"),
        ("reason", "reason"),
        ("expires_on", "expires_at"),
        ("updated_at", "updated_at"),
    ],
};

/// An exclusion as it is kept, with who made it.
type Whole = (Kept<Fields>, Made);

fn whole(row: &Row) -> rusqlite::Result<Whole> {
    let kept = Kept::read(row, |row| {
        Ok(Fields {
            addresses: parsed(row, "addresses")?,
            reason: row.get("reason")?,
            expires_at: row.get("expires_at")?,
        })
    })?;
    Ok((kept, Made { by: row.get("by_name")?, at: row.get("created_at")? }))
}

/// One page of the exclusions. An address as the search finds the exclusions that hold it.
pub fn page(db: &Connection, query: &ListQuery, state: Option<Force>, now: Timestamp) -> Result<Page<Whole>> {
    let mut filters = Filters::default();
    if let Some(state) = state {
        let holds = if state == Force::InForce { "expires_at > ?" } else { "expires_at <= ?" };
        filters = filters.only(holds, [Value::Integer(now.micros())]);
    }
    let address = query.q.as_deref().and_then(|q| q.trim().parse::<std::net::IpAddr>().ok());
    if let Some(address) = address {
        let number = hex(addr_to_u128(address));
        let sql = "id IN (SELECT exclusion FROM exclusion_run WHERE first <= ? AND last >= ?)";
        filters = filters.or_found(sql, [number.clone(), number].map(Value::Text));
    }
    LISTING.page(db, query, filters, whole)
}

pub fn one(db: &Connection, id: Uuid) -> Result<Whole> {
    let found = db.query_row("SELECT * FROM exclusion WHERE id = ?", [Key(id)], whole).optional()?;
    found.ok_or_else(|| Error::not_found("exclusion", id))
}

pub fn in_force(db: &Connection, now: Timestamp) -> Result<Ranges> {
    let sql = "SELECT addresses FROM exclusion WHERE expires_at > ?";
    let all: Vec<Ranges> = rows(db, sql, [now], |row| parsed(row, "addresses"))?;
    Ok(all.iter().flat_map(Ranges::iter).collect())
}

/// How many runs of addresses the exclusions in force have, each by itself.
pub fn runs_in_force(db: &Connection, now: Timestamp) -> Result<usize> {
    let sql =
        "SELECT count(*) FROM exclusion_run r JOIN exclusion e ON e.id = r.exclusion WHERE e.expires_at > ?";
    Ok(db.query_row(sql, [now], |row| row.get(0))?)
}

fn first(fields: &Fields) -> String {
    hex(fields.addresses.nth(0).unwrap_or_default())
}

fn insert_runs(tx: &Transaction, id: Uuid, runs: impl Iterator<Item = Range>) -> Result<()> {
    let sql = "INSERT INTO exclusion_run (exclusion, first, last) VALUES (?, ?, ?)";
    let mut statement = tx.prepare_cached(sql)?;
    for run in runs {
        statement.execute(params![Key(id), hex(run.first), hex(run.last)])?;
    }
    Ok(())
}

fn taken(error: rusqlite::Error) -> Error {
    Error::taken(error, "addresses", "another exclusion has just these addresses")
}

pub fn insert(tx: &Transaction, id: Uuid, fields: &Fields, made: &Made) -> Result<()> {
    let Fields { addresses, reason, expires_at } = fields;
    let sql =
        "INSERT INTO exclusion (id, addresses, first, reason, expires_at, by_name, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    let values =
        params![Key(id), addresses.to_string(), first(fields), reason, expires_at, made.by, made.at, made.at];
    tx.execute(sql, values).map_err(taken)?;
    insert_runs(tx, id, addresses.iter())
}

pub fn update(tx: &Transaction, id: Uuid, fields: &Fields, now: Timestamp) -> Result<()> {
    let Fields { addresses, reason, expires_at } = fields;
    let sql = "UPDATE exclusion SET addresses = ?, first = ?, reason = ?, expires_at = ?, updated_at = ?,
                 version = version + 1 WHERE id = ?";
    let values = params![addresses.to_string(), first(fields), reason, expires_at, now, Key(id)];
    tx.execute(sql, values).map_err(taken)?;
    tx.execute("DELETE FROM exclusion_run WHERE exclusion = ?", [Key(id)])?;
    insert_runs(tx, id, addresses.iter())
}
