//! Checkpoints' SQL: append and read.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::keys::{Keys, RENEWED};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::{Record, store};
use crate::clock::Timestamp;
use crate::error::Result;

/// Appends a checkpoint; one that is there already stays as it is.
///
/// # Errors
/// Any from the database.
pub fn insert(tx: &Transaction, made: &Checkpoint) -> Result<()> {
    tx.execute(
        "INSERT INTO audit_checkpoint (seq, at, why, text) VALUES (?, ?, ?, ?) ON CONFLICT (seq) DO NOTHING",
        params![made.head.seq, made.at, made.why, made.text()],
    )?;
    Ok(())
}

/// What stands for the chain's first `seq` entries, as it stands there.
///
/// # Errors
/// Any from the database.
pub fn text_of(connection: &Connection, seq: u64) -> Result<Option<String>> {
    Ok(connection.query_row("SELECT text FROM audit_checkpoint WHERE seq = ?", [seq], text).optional()?)
}

/// The checkpoint of the chain's first `seq` entries; none where what stands there is no checkpoint, which the check
/// of the chain tells.
///
/// # Errors
/// Any from the database, here and in all that follow.
pub fn get(connection: &Connection, seq: u64) -> Result<Option<Checkpoint>> {
    Ok(text_of(connection, seq)?.and_then(|text| Checkpoint::read(&text).ok()))
}

/// The number of the first checkpoint that covers entry `seq`.
pub fn covering(connection: &Connection, seq: u64) -> Result<Option<u64>> {
    let sql = "SELECT seq FROM audit_checkpoint WHERE seq >= ? ORDER BY seq LIMIT 1";
    Ok(connection.prepare_cached(sql)?.query_row([seq], |row| row.get(0)).optional()?)
}

/// The newest of an entry that is there.
pub fn last(connection: &Connection) -> Result<Option<Checkpoint>> {
    let sql = "SELECT text FROM audit_checkpoint WHERE seq <= (SELECT max(seq) FROM audit_entry)
               ORDER BY seq DESC LIMIT 1";
    Ok(connection.query_row(sql, [], text).optional()?.and_then(|text| Checkpoint::read(&text).ok()))
}

/// At most `limit`, newest first, those before entry `before`; and how many there are in all. What is no checkpoint is
/// left out.
pub fn list(connection: &Connection, before: Option<u64>, limit: u32) -> Result<(Vec<Checkpoint>, u64)> {
    let total = connection.query_row("SELECT count(*) FROM audit_checkpoint", [], |row| row.get(0))?;
    let before = before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX);
    let mut statement = connection
        .prepare_cached("SELECT text FROM audit_checkpoint WHERE seq < ? ORDER BY seq DESC LIMIT ?")?;
    let texts = statement.query_map(params![before, limit], text)?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok((texts.iter().filter_map(|text| Checkpoint::read(text).ok()).collect(), total))
}

/// A row as it stands there, believed in nothing.
pub struct Stored {
    seq: u64,
    at: Timestamp,
    why: String,
    /// What should be a checkpoint.
    pub text: String,
}

impl Stored {
    /// The first column that says something else than the checkpoint beside it.
    pub fn column_that_differs(&self, made: &Checkpoint) -> Option<&'static str> {
        let told =
            [("seq", self.seq == made.head.seq), ("at", self.at == made.at), ("why", self.why == made.why)];
        told.into_iter().find(|(_, agrees)| !agrees).map(|(column, _)| column)
    }
}

/// Every row: a check reads them itself.
pub fn rows(connection: &Connection) -> Result<Vec<Stored>> {
    let mut statement =
        connection.prepare_cached("SELECT seq, at, why, text FROM audit_checkpoint ORDER BY seq")?;
    let row =
        |row: &Row| Ok(Stored { seq: row.get(0)?, at: row.get(1)?, why: row.get(2)?, text: row.get(3)? });
    Ok(statement.query_map([], row)?.collect::<rusqlite::Result<_>>()?)
}

/// The renewals of the key that signs, as the entries tell.
pub fn keys(connection: &Connection) -> Result<Keys> {
    let mut statement =
        connection.prepare_cached("SELECT seq, entry FROM audit_entry WHERE action = ? ORDER BY seq")?;
    let rows = statement.query_map([RENEWED], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut keys = Keys::default();
    for row in rows {
        let (seq, entry): (u64, String) = row?;
        // What is no entry is told by the check of the chain.
        if let Ok(record) = serde_json::from_str::<Record>(&entry) {
            keys.note(seq, &record);
        }
    }
    Ok(keys)
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
