//! The SQL of templates.

use portolan_scanner::net::{Cidr, Ports, Ranges};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use uuid::Uuid;

use super::{link, parsed};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::fleet;
use crate::listing::{Filters, Listing, rows};
use crate::noun::{Kept, Key, Link, Use};
use crate::scope::templates::{Choice, Fields, Options};
use crate::scope::timing::Asked;
use crate::scope::{Manner, Preset};
use crate::web::{ListQuery, Page};

const TEMPLATES: Listing = Listing {
    name: "templates",
    table: "template",
    search: &["name", "note"],
    sorts: &[("name", "name"), ("updated_at", "updated_at")],
};

/// One page of the templates.
pub fn templates(db: &Connection, query: &ListQuery, preset: Option<Preset>) -> Result<Page<Kept<Fields>>> {
    let mut filters = Filters::default();
    if let Some(preset) = preset {
        filters = filters.only("preset = ?", [Value::Text(preset.as_str().to_owned())]);
    }
    TEMPLATES.page(db, query, filters, template_row)?.try_map(|kept| with_links(db, kept))
}

pub fn template(db: &Connection, id: Uuid) -> Result<Kept<Fields>> {
    let found = db.query_row("SELECT * FROM template WHERE id = ?", [Key(id)], template_row).optional()?;
    with_links(db, found.ok_or_else(|| Error::not_found("template", id))?)
}

fn template_row(row: &Row) -> rusqlite::Result<Kept<Fields>> {
    Kept::read(row, |row| {
        Ok(Fields {
            name: row.get("name")?,
            subnets: vec![],
            port_lists: vec![],
            exclusions: parsed::<Ranges>(row, "exclusions")?,
            scanners: vec![],
            timing: Asked {
                preset: row.get("preset")?,
                rate: row.get("rate")?,
                host_rate: row.get("host_rate")?,
                timeout_ms: row.get("timeout_ms")?,
                retries: row.get("retries")?,
            },
            manner: Manner::read(row)?,
            note: row.get("note")?,
        })
    })
}

fn with_links(db: &Connection, mut kept: Kept<Fields>) -> Result<Kept<Fields>> {
    let id = [Key(kept.id)];
    kept.fields.subnets = rows(
        db,
        "SELECT s.id, s.name FROM template_subnet t JOIN subnet s ON s.id = t.subnet WHERE t.template = ?
         ORDER BY s.name, s.id",
        id,
        link,
    )?;
    kept.fields.port_lists = rows(
        db,
        "SELECT p.id, p.name FROM template_port_list t JOIN port_list p ON p.id = t.port_list WHERE t.template = ?
         ORDER BY p.name, p.id",
        id,
        link,
    )?;
    let scanners =
        rows(db, "SELECT scanner FROM template_scanner WHERE template = ?", id, |row| row.get("scanner"))?;
    let scanners: Vec<Uuid> = scanners.into_iter().map(|Key(id)| id).collect();
    kept.fields.scanners = fleet::placed(db, &scanners)?.into_iter().map(|placed| placed.scanner).collect();
    Ok(kept)
}

pub fn insert_template(tx: &Transaction, id: Uuid, fields: &Fields, now: Timestamp) -> Result<()> {
    let Asked { preset, rate, host_rate, timeout_ms, retries } = fields.timing;
    let Manner { method, hints, own } = fields.manner;
    tx.execute(
        "INSERT INTO template (id, name, exclusions, preset, rate, host_rate, timeout_ms, retries, method, hints, own,
           note, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            Key(id),
            fields.name,
            fields.exclusions.to_string(),
            preset,
            rate,
            host_rate,
            timeout_ms,
            retries,
            method,
            hints,
            own,
            fields.note,
            now
        ],
    )
    .map_err(|error| Error::taken(error, "name", "another template has this name"))?;
    insert_links(tx, id, fields)
}

pub fn update_template(tx: &Transaction, id: Uuid, fields: &Fields, now: Timestamp) -> Result<()> {
    let Asked { preset, rate, host_rate, timeout_ms, retries } = fields.timing;
    let Manner { method, hints, own } = fields.manner;
    tx.execute(
        "UPDATE template SET name = ?, exclusions = ?, preset = ?, rate = ?, host_rate = ?, timeout_ms = ?,
           retries = ?, method = ?, hints = ?, own = ?, note = ?, updated_at = ?, version = version + 1 WHERE id = ?",
        params![
            fields.name,
            fields.exclusions.to_string(),
            preset,
            rate,
            host_rate,
            timeout_ms,
            retries,
            method,
            hints,
            own,
            fields.note,
            now,
            Key(id)
        ],
    )
    .map_err(|error| Error::taken(error, "name", "another template has this name"))?;
    for table in ["template_subnet", "template_port_list", "template_scanner"] {
        tx.execute(&format!("DELETE FROM {table} WHERE template = ?"), [Key(id)])?;
    }
    insert_links(tx, id, fields)
}

fn insert_links(tx: &Transaction, id: Uuid, fields: &Fields) -> Result<()> {
    for (table, links) in [
        ("template_subnet (template, subnet)", &fields.subnets),
        ("template_port_list (template, port_list)", &fields.port_lists),
        ("template_scanner (template, scanner)", &fields.scanners),
    ] {
        let mut statement = tx.prepare_cached(&format!("INSERT INTO {table} VALUES (?, ?)"))?;
        for link in links {
            statement.execute([Key(id), Key(link.id)])?;
        }
    }
    Ok(())
}

/// The ranges of a template's subnets.
pub fn cidrs_of(db: &Connection, template: Uuid) -> Result<Vec<Cidr>> {
    let sql = "SELECT s.cidr FROM template_subnet t JOIN subnet s ON s.id = t.subnet WHERE t.template = ?";
    rows(db, sql, [Key(template)], |row| parsed(row, "cidr"))
}

/// The ports of a template's port lists.
pub fn ports_of(db: &Connection, template: Uuid) -> Result<Vec<Ports>> {
    let sql = "SELECT p.ports FROM template_port_list t JOIN port_list p ON p.id = t.port_list WHERE t.template = ?";
    rows(db, sql, [Key(template)], |row| parsed(row, "ports"))
}

/// Where these scanners stand: each vantage once.
pub fn vantages_of(db: &Connection, scanners: &[Link]) -> Result<Vec<Link>> {
    let ids: Vec<Uuid> = scanners.iter().map(|scanner| scanner.id).collect();
    let mut vantages: Vec<Link> = Vec::new();
    for placed in fleet::placed(db, &ids)? {
        if !vantages.iter().any(|known| known.id == placed.vantage.id) {
            vantages.push(placed.vantage);
        }
    }
    vantages.sort_by_cached_key(|vantage| vantage.name.to_lowercase());
    Ok(vantages)
}

/// Everything that a template may name.
pub fn options(db: &Connection) -> Result<Options> {
    let choice = |row: &Row| {
        let Link { id, name } = link(row)?;
        Ok(Choice { id, name, more: row.get("more")? })
    };
    let none: [Key; 0] = [];
    let subnets = rows(db, "SELECT id, name, cidr AS more FROM subnet ORDER BY name, id", none, choice)?;
    let sql = "SELECT id, name, count || iif(count = 1, ' port', ' ports') AS more FROM port_list ORDER BY name, id";
    let port_lists = rows(db, sql, none, choice)?;
    let serving = rows(db, "SELECT id FROM scanner WHERE revoked_at IS NULL", none, |row| row.get("id"))?;
    let serving: Vec<Uuid> = serving.into_iter().map(|Key(id)| id).collect();
    let scanner = |placed: fleet::Placed| Choice {
        id: placed.scanner.id,
        name: placed.scanner.name,
        more: placed.vantage.name,
    };
    let scanners = fleet::placed(db, &serving)?.into_iter().map(scanner).collect();
    Ok(Options { subnets, port_lists, scanners, presets: Preset::ALL.map(Preset::timing).to_vec() })
}

fn users(db: &Connection, sql: &str, id: Uuid) -> Result<Vec<Use>> {
    let templates = rows(db, sql, [Key(id)], link)?;
    let user = |Link { id, name }| Use { id, path: format!("/templates/{id}"), name, kind: "template" };
    Ok(templates.into_iter().map(user).collect())
}

/// The same, as links.
pub fn links_to(uses: Vec<Use>) -> Vec<Link> {
    uses.into_iter().map(|Use { id, name, .. }| Link { id, name }).collect()
}

/// The templates that name a subnet.
///
/// # Errors
/// Any from the database.
pub fn templates_of_subnet(db: &Connection, id: Uuid) -> Result<Vec<Use>> {
    let sql = "SELECT t.id, t.name FROM template_subnet x JOIN template t ON t.id = x.template
               WHERE x.subnet = ? ORDER BY t.name, t.id";
    users(db, sql, id)
}

/// The templates that name a port list.
///
/// # Errors
/// Any from the database.
pub fn templates_of_port_list(db: &Connection, id: Uuid) -> Result<Vec<Use>> {
    let sql = "SELECT t.id, t.name FROM template_port_list x JOIN template t ON t.id = x.template
               WHERE x.port_list = ? ORDER BY t.name, t.id";
    users(db, sql, id)
}

/// The templates that name a scanner, for the room that wants to remove one.
///
/// # Errors
/// Any from the database.
pub fn templates_of_scanner(db: &Connection, id: Uuid) -> Result<Vec<Use>> {
    let sql = "SELECT t.id, t.name FROM template_scanner x JOIN template t ON t.id = x.template
               WHERE x.scanner = ? ORDER BY t.name, t.id";
    users(db, sql, id)
}
