//! The SQL of subnets, port lists, templates and exclusions.

pub mod exclusions;
mod templates;

use std::str::FromStr;

use portolan_scanner::net::{Cidr, addr_to_u128};
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use uuid::Uuid;

use super::{Family, port_lists, subnets};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::listing::{Filters, Listing, rows};
use crate::noun::{Kept, Key, Link};
use crate::web::{ListQuery, Page};

pub use templates::*;

const SUBNETS: Listing = Listing {
    name: "subnets",
    table: "subnet",
    search: &["name", "cidr", "note"],
    sorts: &[("name", "name"), ("cidr", "first"), ("hosts", "host_bits"), ("updated_at", "updated_at")],
};

const PORT_LISTS: Listing = Listing {
    name: "port-lists",
    table: "port_list",
    search: &["name", "ports", "note"],
    sorts: &[("name", "name"), ("count", "count"), ("updated_at", "updated_at")],
};

/// An address as the tables keep it.
fn hex(address: u128) -> String {
    format!("{address:032x}")
}

/// A text that was canonical when it was written.
fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &Row,
    column: &str,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

fn link(row: &Row) -> rusqlite::Result<Link> {
    let Key(id) = row.get("id")?;
    Ok(Link { id, name: row.get("name")? })
}

/// Deletes the row of this id.
pub fn delete(tx: &Transaction, table: &'static str, id: Uuid) -> Result<()> {
    tx.execute(&format!("DELETE FROM {table} WHERE id = ?"), [Key(id)])?;
    Ok(())
}

// Subnets.

fn subnet_row(row: &Row) -> rusqlite::Result<Kept<subnets::Fields>> {
    Kept::read(row, |row| {
        Ok(subnets::Fields { name: row.get("name")?, cidr: parsed(row, "cidr")?, note: row.get("note")? })
    })
}

/// One page of the subnets. An address as the search finds the subnets that hold it.
pub fn subnets(
    db: &Connection,
    query: &ListQuery,
    family: Option<Family>,
) -> Result<Page<Kept<subnets::Fields>>> {
    let mut filters = Filters::default();
    if let Some(family) = family {
        filters = filters.only("family = ?", [Value::Text(family.as_str().to_owned())]);
    }
    let address = query.q.as_deref().and_then(|q| q.trim().parse::<std::net::IpAddr>().ok());
    if let Some(address) = address {
        let family = if address.to_canonical().is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        let number = hex(addr_to_u128(address));
        let values = [family.as_str().to_owned(), number.clone(), number].map(Value::Text);
        filters = filters.or_found("family = ? AND first <= ? AND last >= ?", values);
    }
    SUBNETS.page(db, query, filters, subnet_row)
}

pub fn subnet(db: &Connection, id: Uuid) -> Result<Kept<subnets::Fields>> {
    let found = db.query_row("SELECT * FROM subnet WHERE id = ?", [Key(id)], subnet_row).optional()?;
    found.ok_or_else(|| Error::not_found("subnet", id))
}

/// Subnets of the same family that share addresses with this one, the largest first.
pub fn overlaps(db: &Connection, id: Uuid, cidr: &Cidr) -> Result<Vec<Link>> {
    let range = cidr.range();
    let sql = "SELECT id, name FROM subnet WHERE family = ? AND first <= ? AND last >= ? AND id <> ?
               ORDER BY host_bits DESC, name";
    let values = [Family::of(cidr).as_str().to_owned(), hex(range.last), hex(range.first), id.to_string()];
    rows(db, sql, values, link)
}

pub fn insert_subnet(tx: &Transaction, id: Uuid, fields: &subnets::Fields, now: Timestamp) -> Result<()> {
    let (subnets::Fields { name, cidr, note }, range) = (fields, fields.cidr.range());
    tx.execute(
        "INSERT INTO subnet (id, name, cidr, family, first, last, host_bits, note, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            Key(id),
            name,
            cidr.to_string(),
            Family::of(cidr).as_str(),
            hex(range.first),
            hex(range.last),
            host_bits(cidr),
            note,
            now
        ],
    )
    .map_err(|error| Error::taken(error, "name", "another subnet has this name"))?;
    Ok(())
}

pub fn update_subnet(tx: &Transaction, id: Uuid, fields: &subnets::Fields, now: Timestamp) -> Result<()> {
    let (subnets::Fields { name, cidr, note }, range) = (fields, fields.cidr.range());
    tx.execute(
        "UPDATE subnet SET name = ?, cidr = ?, family = ?, first = ?, last = ?, host_bits = ?, note = ?,
           updated_at = ?, version = version + 1 WHERE id = ?",
        params![
            name,
            cidr.to_string(),
            Family::of(cidr).as_str(),
            hex(range.first),
            hex(range.last),
            host_bits(cidr),
            note,
            now,
            Key(id)
        ],
    )
    .map_err(|error| Error::taken(error, "name", "another subnet has this name"))?;
    Ok(())
}

fn host_bits(cidr: &Cidr) -> u8 {
    let all = if cidr.is_v4() { 32 } else { 128 };
    all - cidr.prefix()
}

// Port lists.

fn port_list_row(row: &Row) -> rusqlite::Result<Kept<port_lists::Fields>> {
    Kept::read(row, |row| {
        Ok(port_lists::Fields {
            name: row.get("name")?,
            ports: parsed(row, "ports")?,
            note: row.get("note")?,
        })
    })
}

/// One page of the port lists.
pub fn port_lists(db: &Connection, query: &ListQuery) -> Result<Page<Kept<port_lists::Fields>>> {
    PORT_LISTS.page(db, query, Filters::default(), port_list_row)
}

pub fn port_list(db: &Connection, id: Uuid) -> Result<Kept<port_lists::Fields>> {
    let found = db.query_row("SELECT * FROM port_list WHERE id = ?", [Key(id)], port_list_row).optional()?;
    found.ok_or_else(|| Error::not_found("port list", id))
}

pub fn insert_port_list(
    tx: &Transaction,
    id: Uuid,
    fields: &port_lists::Fields,
    now: Timestamp,
) -> Result<()> {
    let port_lists::Fields { name, ports, note } = fields;
    tx.execute(
        "INSERT INTO port_list (id, name, ports, count, note, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
        params![Key(id), name, ports.to_string(), ports.count(), note, now],
    )
    .map_err(|error| Error::taken(error, "name", "another port list has this name"))?;
    Ok(())
}

pub fn update_port_list(
    tx: &Transaction,
    id: Uuid,
    fields: &port_lists::Fields,
    now: Timestamp,
) -> Result<()> {
    let port_lists::Fields { name, ports, note } = fields;
    tx.execute(
        "UPDATE port_list SET name = ?, ports = ?, count = ?, note = ?, updated_at = ?, version = version + 1
         WHERE id = ?",
        params![name, ports.to_string(), ports.count(), note, now, Key(id)],
    )
    .map_err(|error| Error::taken(error, "name", "another port list has this name"))?;
    Ok(())
}
