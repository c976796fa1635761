//! The audit's SQL: append, and nothing that changes what is there.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::chain::{self, Break, Head, Link, Summary, Verifier};
use super::{Actor, Entry, Record};
use crate::clock::Timestamp;
use crate::error::Result;

/// Where the chain ends now.
///
/// # Errors
/// Any from the database.
pub fn head(connection: &Connection) -> Result<Head> {
    let last = connection
        .query_row("SELECT seq, hash FROM audit_entry ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok(Head { seq: row.get(0)?, hash: row.get(1)? })
        })
        .optional()?;
    Ok(last.unwrap_or(Head::EMPTY))
}

/// Appends an entry to the chain, inside the transaction of the change it tells of.
///
/// # Errors
/// Any from the database.
pub(crate) fn append(tx: &Transaction, actor: &Actor, at: Timestamp, entry: Entry) -> Result<Head> {
    let record = entry.record(actor, at);
    let link = head(tx)?.link(chain::canonical(serde_json::to_value(&record)?)?);
    tx.prepare_cached(
        "INSERT INTO audit_entry (seq, at, actor_kind, actor_id, actor_name, source, action, resource,
           resource_id, outcome, entry, prev_hash, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        link.seq,
        record.at,
        record.actor.kind.as_str(),
        record.actor.id,
        record.actor.name,
        source(&record),
        record.action,
        record.resource,
        record.resource_id,
        record.outcome.as_str(),
        link.entry,
        link.prev,
        link.hash,
    ])?;
    Ok(Head { seq: link.seq, hash: link.hash })
}

fn source(record: &Record) -> String {
    record.actor.source.map(|s| s.to_string()).unwrap_or_default()
}

fn link(row: &Row) -> rusqlite::Result<Link> {
    Ok(Link {
        seq: row.get("seq")?,
        entry: row.get("entry")?,
        prev: row.get("prev_hash")?,
        hash: row.get("hash")?,
    })
}

/// Checks the whole chain in the database, and that the columns say what the entries say.
///
/// # Errors
/// The outer error is the database's; the inner one is where the chain breaks.
pub fn verify(connection: &Connection, head: Option<Head>) -> Result<std::result::Result<Summary, Break>> {
    let mut statement = connection.prepare("SELECT * FROM audit_entry ORDER BY seq")?;
    let mut rows = statement.query([])?;
    let mut verifier = Verifier::towards(head);
    while let Some(row) = rows.next()? {
        let link = link(row)?;
        if let Err(found) = verifier.next(&link) {
            return Ok(Err(found));
        }
        if let Some(column) = column_that_differs(row, &link.entry)? {
            return Ok(Err(Break::Column { seq: link.seq, column }));
        }
    }
    Ok(verifier.finish())
}

fn column_that_differs(row: &Row, entry: &str) -> Result<Option<&'static str>> {
    let Ok(record) = serde_json::from_str::<Record>(entry) else {
        return Ok(Some("entry"));
    };
    if row.get::<_, Timestamp>("at")? != record.at {
        return Ok(Some("at"));
    }
    let source = source(&record);
    let texts = [
        ("actor_kind", record.actor.kind.as_str()),
        ("actor_id", &record.actor.id),
        ("actor_name", &record.actor.name),
        ("source", &source),
        ("action", &record.action),
        ("resource", &record.resource),
        ("resource_id", &record.resource_id),
        ("outcome", record.outcome.as_str()),
    ];
    for (column, says) in texts {
        if row.get_ref(column)?.as_str() != Ok(says) {
            return Ok(Some(column));
        }
    }
    Ok(None)
}
