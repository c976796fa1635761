//! The SQL of vantages, scanners and enrolment tokens.

use std::collections::BTreeMap;

use portolan_scanner::wire;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::noun::{Key, Link};

/// A vantage as it is kept, and as the audit tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct VantageRow {
    pub id: Uuid,
    pub name: String,
    pub note: String,
    pub created_at: Timestamp,
    #[serde(skip)]
    pub updated_at: Timestamp,
    #[serde(skip)]
    pub version: i64,
}

/// A scanner as it is kept, and as the audit tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ScannerRow {
    pub id: Uuid,
    pub name: String,
    pub note: String,
    pub vantage: Link,
    pub binding: String,
    pub public_key: Option<String>,
    pub certificate_sha256: Option<String>,
    #[serde(skip)]
    pub api_key_sha256: Option<String>,
    pub created_at: Timestamp,
    #[serde(skip)]
    pub updated_at: Timestamp,
    pub enrolled_at: Option<Timestamp>,
    pub confirmed_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    #[serde(skip)]
    pub version: i64,
}

/// A token as it is kept: by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenRow {
    pub sha256: String,
    pub scanner: Uuid,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
    pub public_key: Option<String>,
}

const VANTAGE: &str = "SELECT id, name, note, created_at, updated_at, version FROM vantage";

const SCANNER: &str = "SELECT s.id, s.name, s.note, s.vantage, v.name AS vantage_name, s.binding, s.public_key,
    s.certificate_sha256, s.api_key_sha256, s.created_at, s.updated_at, s.enrolled_at, s.confirmed_at, s.revoked_at,
    s.version
  FROM scanner s JOIN vantage v ON v.id = s.vantage";

pub(super) fn vantages(db: &Connection) -> Result<Vec<VantageRow>> {
    let mut statement = db.prepare_cached(&format!("{VANTAGE} ORDER BY name, id"))?;
    let rows = statement.query_map([], vantage_row)?.collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

pub(super) fn vantage(db: &Connection, id: Uuid) -> Result<VantageRow> {
    let found = db.query_row(&format!("{VANTAGE} WHERE id = ?"), [Key(id)], vantage_row).optional()?;
    found.ok_or_else(|| Error::not_found("vantage", id))
}

pub(super) fn insert_vantage(tx: &Transaction, row: &VantageRow) -> Result<()> {
    tx.execute(
        "INSERT INTO vantage (id, name, note, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
        params![Key(row.id), row.name, row.note, row.created_at, row.updated_at],
    )
    .map_err(|error| Error::taken(error, "name", "another vantage has this name"))?;
    Ok(())
}

/// Writes name and note, if the row still has the version that `row` has.
pub(super) fn update_vantage(tx: &Transaction, row: &VantageRow, at: Timestamp) -> Result<()> {
    let changed = tx
        .execute(
            "UPDATE vantage SET name = ?, note = ?, updated_at = ?, version = version + 1 WHERE id = ? AND version = ?",
            params![row.name, row.note, at, Key(row.id), row.version],
        )
        .map_err(|error| Error::taken(error, "name", "another vantage has this name"))?;
    if changed == 1 { Ok(()) } else { Err(Error::Stale) }
}

pub(super) fn delete_vantage(tx: &Transaction, id: Uuid) -> Result<()> {
    tx.execute("DELETE FROM vantage WHERE id = ?", [Key(id)]).map_err(|error| {
        match error.sqlite_error().map(|e| e.extended_code) {
            Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => {
                Error::conflict("Something still refers to this vantage: a scanner, or the record of a scan.")
            }
            _ => error.into(),
        }
    })?;
    Ok(())
}

pub(super) fn scanners(db: &Connection) -> Result<Vec<ScannerRow>> {
    let mut statement = db.prepare_cached(&format!("{SCANNER} ORDER BY s.name, s.id"))?;
    let rows = statement.query_map([], scanner_row)?.collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

pub(super) fn scanner(db: &Connection, id: Uuid) -> Result<ScannerRow> {
    let found = db.query_row(&format!("{SCANNER} WHERE s.id = ?"), [Key(id)], scanner_row).optional()?;
    found.ok_or_else(|| Error::not_found("scanner", id))
}

pub(super) fn insert_scanner(tx: &Transaction, row: &ScannerRow) -> Result<()> {
    tx.execute(
        "INSERT INTO scanner (id, name, note, vantage, binding, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            Key(row.id),
            row.name,
            row.note,
            Key(row.vantage.id),
            row.binding,
            row.created_at,
            row.updated_at
        ],
    )
    .map_err(name_taken)?;
    Ok(())
}

/// Writes everything but id and times of making, if the row still has the version that `row` has.
pub(super) fn update_scanner(tx: &Transaction, row: &ScannerRow, at: Timestamp) -> Result<()> {
    let changed = tx
        .execute(
            "UPDATE scanner SET name = ?, note = ?, vantage = ?, binding = ?, public_key = ?, certificate_sha256 = ?,
               api_key_sha256 = ?, enrolled_at = ?, confirmed_at = ?, revoked_at = ?, updated_at = ?,
               version = version + 1 WHERE id = ? AND version = ?",
            params![
                row.name,
                row.note,
                Key(row.vantage.id),
                row.binding,
                row.public_key,
                row.certificate_sha256,
                row.api_key_sha256,
                row.enrolled_at,
                row.confirmed_at,
                row.revoked_at,
                at,
                Key(row.id),
                row.version
            ],
        )
        .map_err(name_taken)?;
    if changed == 1 { Ok(()) } else { Err(Error::Stale) }
}

fn name_taken(error: rusqlite::Error) -> Error {
    Error::taken(error, "name", "another scanner has this name")
}

pub(super) fn tokens(db: &Connection) -> Result<Vec<TokenRow>> {
    let sql = "SELECT sha256, scanner, expires_at, used_at, public_key FROM enrolment_token ORDER BY sha256";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([], token_row)?.collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

pub(super) fn token(db: &Connection, sha256: &str) -> Result<Option<TokenRow>> {
    let sql = "SELECT sha256, scanner, expires_at, used_at, public_key FROM enrolment_token WHERE sha256 = ?";
    Ok(db.query_row(sql, [sha256], token_row).optional()?)
}

/// Adds a token for a scanner; those it had before are void.
pub(super) fn replace_token(tx: &Transaction, row: &TokenRow, made_at: Timestamp) -> Result<()> {
    tx.execute("DELETE FROM enrolment_token WHERE scanner = ?", [Key(row.scanner)])?;
    tx.execute(
        "INSERT INTO enrolment_token (sha256, scanner, made_at, expires_at) VALUES (?, ?, ?, ?)",
        params![row.sha256, Key(row.scanner), made_at, row.expires_at],
    )?;
    Ok(())
}

pub(super) fn use_token(tx: &Transaction, sha256: &str, public_key: &str, at: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE enrolment_token SET used_at = coalesce(used_at, ?), public_key = ? WHERE sha256 = ?",
        params![at, public_key, sha256],
    )?;
    Ok(())
}

/// A scanner as those see it who give it work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Placed {
    /// The scanner.
    pub scanner: Link,
    /// Where it stands.
    pub vantage: Link,
    /// It may take no work any more.
    pub revoked: bool,
}

/// These scanners and where they stand, by name; those that do not exist are left out. For a transaction of
/// another room that must see the fleet as it is at that very moment.
///
/// # Errors
/// The database's.
pub fn placed(db: &Connection, ids: &[Uuid]) -> Result<Vec<Placed>> {
    let mut found = Vec::new();
    for row in scanners(db)? {
        if ids.contains(&row.id) {
            let scanner = Link { id: row.id, name: row.name };
            found.push(Placed { scanner, vantage: row.vantage, revoked: row.revoked_at.is_some() });
        }
    }
    Ok(found)
}

/// The scanners that may work: enrolled, and not revoked. As [`placed`], for another room; config.db knows it also while
/// jobs.db, which can be lost, does not yet.
///
/// # Errors
/// The database's.
pub fn able(db: &Connection) -> Result<Vec<Uuid>> {
    let sql = "SELECT id FROM scanner WHERE enrolled_at IS NOT NULL AND revoked_at IS NULL";
    let mut statement = db.prepare_cached(sql)?;
    let ids = statement.query_map([], |row| Ok(row.get::<_, Key>(0)?.0))?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

/// The Ed25519 public key of every scanner that ever enrolled. A revoked scanner is among them: what it delivered before
/// stays believed, and ingest takes nothing more from it. As [`placed`], for another room.
///
/// # Errors
/// The database's; a key that is none.
pub fn public_keys(db: &Connection) -> Result<BTreeMap<Uuid, [u8; 32]>> {
    let mut statement =
        db.prepare_cached("SELECT id, public_key FROM scanner WHERE public_key IS NOT NULL")?;
    let mut rows = statement.query([])?;
    let mut keys = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (Key(id), key): (Key, String) = (row.get(0)?, row.get(1)?);
        let not_one = |_| Error::internal(format!("scanner {id}: not a public key in config.db"));
        keys.insert(id, wire::base64::decode_array(&key).map_err(not_one)?);
    }
    Ok(keys)
}

fn vantage_row(row: &Row) -> rusqlite::Result<VantageRow> {
    Ok(VantageRow {
        id: row.get::<_, Key>("id")?.0,
        name: row.get("name")?,
        note: row.get("note")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        version: row.get("version")?,
    })
}

fn scanner_row(row: &Row) -> rusqlite::Result<ScannerRow> {
    Ok(ScannerRow {
        id: row.get::<_, Key>("id")?.0,
        name: row.get("name")?,
        note: row.get("note")?,
        vantage: Link { id: row.get::<_, Key>("vantage")?.0, name: row.get("vantage_name")? },
        binding: row.get("binding")?,
        public_key: row.get("public_key")?,
        certificate_sha256: row.get("certificate_sha256")?,
        api_key_sha256: row.get("api_key_sha256")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        enrolled_at: row.get("enrolled_at")?,
        confirmed_at: row.get("confirmed_at")?,
        revoked_at: row.get("revoked_at")?,
        version: row.get("version")?,
    })
}

fn token_row(row: &Row) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        sha256: row.get("sha256")?,
        scanner: row.get::<_, Key>("scanner")?.0,
        expires_at: row.get("expires_at")?,
        used_at: row.get("used_at")?,
        public_key: row.get("public_key")?,
    })
}
