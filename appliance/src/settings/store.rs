//! The SQL of settings.

use crate::error::Result;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

/// The JSON of this name, and its version.
pub fn find(db: &Connection, name: &str) -> Result<Option<(String, i64)>> {
    let mut statement =
        db.prepare_cached("SELECT value, version FROM setting WHERE name = ? AND value IS NOT NULL")?;
    Ok(statement.query_row([name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

pub fn keep(tx: &Transaction, name: &str, value: &str) -> Result<()> {
    let sql = "INSERT INTO setting (name, value) VALUES (?, ?)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value, version = version + 1";
    tx.execute(sql, params![name, value])?;
    Ok(())
}
