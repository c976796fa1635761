//! Checkpoints' SQL: append and read.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use crate::audit::checkpoint::Checkpoint;
use crate::audit::{Record, store};
use crate::error::{Error, Result};

/// Appends a checkpoint; one that is there already stays as it is.
///
/// # Errors
/// Any from the database.
pub fn insert(tx: &Transaction, made: &Checkpoint) -> Result<()> {
    tx.execute(
        "INSERT INTO audit_checkpoint (seq, at, why, text) VALUES (?, ?, ?, ?) ON CONFLICT (seq) DO NOTHING",
        params![made.head.seq, made.at, made.why.as_str(), made.text()],
    )?;
    Ok(())
}

/// The checkpoint of the chain's first `seq` entries.
///
/// # Errors
/// Any from the database, and a text that is no checkpoint.
pub fn get(connection: &Connection, seq: u64) -> Result<Option<Checkpoint>> {
    let found =
        connection.query_row("SELECT text FROM audit_checkpoint WHERE seq = ?", [seq], text).optional()?;
    found.map(|text| read(&text)).transpose()
}

/// The number of the first checkpoint that covers entry `seq`.
///
/// # Errors
/// Any from the database.
pub fn covering(connection: &Connection, seq: u64) -> Result<Option<u64>> {
    let sql = "SELECT seq FROM audit_checkpoint WHERE seq >= ? ORDER BY seq LIMIT 1";
    Ok(connection.prepare_cached(sql)?.query_row([seq], |row| row.get(0)).optional()?)
}

/// The newest.
///
/// # Errors
/// As [`get`].
pub fn last(connection: &Connection) -> Result<Option<Checkpoint>> {
    let sql = "SELECT text FROM audit_checkpoint ORDER BY seq DESC LIMIT 1";
    connection.query_row(sql, [], text).optional()?.map(|text| read(&text)).transpose()
}

/// At most `limit`, newest first, those before entry `before`; and how many there are in all.
///
/// # Errors
/// As [`get`].
pub fn list(connection: &Connection, before: Option<u64>, limit: u32) -> Result<(Vec<Checkpoint>, u64)> {
    let total = connection.query_row("SELECT count(*) FROM audit_checkpoint", [], |row| row.get(0))?;
    let before = before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX);
    let mut statement = connection
        .prepare_cached("SELECT text FROM audit_checkpoint WHERE seq < ? ORDER BY seq DESC LIMIT ?")?;
    let texts = statement.query_map(params![before, limit], text)?;
    let items = texts.map(|text| read(&text?)).collect::<Result<_>>()?;
    Ok((items, total))
}

/// Every text, as it stands there: a check reads them itself.
///
/// # Errors
/// Any from the database.
pub fn texts(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached("SELECT text FROM audit_checkpoint ORDER BY seq")?;
    Ok(statement.query_map([], text)?.collect::<rusqlite::Result<_>>()?)
}

/// What the last check of the chain noted down, and as which entry.
///
/// # Errors
/// Any from the database.
pub fn last_check(connection: &Connection) -> Result<Option<(u64, Record)>> {
    let sql = "SELECT seq FROM audit_entry WHERE action IN ('audit.verified', 'audit.broken')
               ORDER BY seq DESC LIMIT 1";
    let Some(seq) = connection.query_row(sql, [], |row| row.get(0)).optional()? else { return Ok(None) };
    Ok(store::get(connection, seq)?.map(|(_, record)| (seq, record)))
}

fn text(row: &Row) -> rusqlite::Result<String> {
    row.get(0)
}

fn read(text: &str) -> Result<Checkpoint> {
    Checkpoint::read(text).map_err(|error| Error::internal(format!("a stored checkpoint {error}")))
}
