//! What a SQLite file is shaped by, beside what this program's migrations make: found by comparison.

use std::collections::BTreeMap;

use refinery::Runner;
use rusqlite::Connection;
use serde::Serialize;

use crate::error::Result;
use crate::sqlite::{Opening, bring_up_to, prepare, schema_version};

/// The schema of a file, beside what the migrations of this program make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Schema {
    /// The newest migration in the file.
    pub found: i32,
    /// The newest that this program knows.
    pub known: i32,
    /// What is not as it should be, in words; of an older file only whether it is whole.
    pub wrong: Vec<String>,
}

impl Schema {
    /// Compares every table, index, view and trigger, and lets SQLite check the file.
    ///
    /// # Errors
    /// Any from the database.
    pub fn of(db: &Connection, migrations: &Runner) -> Result<Self> {
        let mut made = Connection::open_in_memory()?;
        prepare(&made)?;
        bring_up_to(&mut made, "the database in memory", Opening::Owner, migrations)?;
        let (found, known) = (schema_version(db)?, schema_version(&made)?);
        let mut wrong = Vec::new();
        if found == known {
            let (is, should) = (shape(db)?, shape(&made)?);
            for (name, sql) in &should {
                match is.get(name) {
                    None => wrong.push(format!("{name} is missing")),
                    Some(other) if other != sql => wrong.push(format!("{name} is another one")),
                    Some(_) => {}
                }
            }
            wrong.extend(
                is.keys()
                    .filter(|name| !should.contains_key(*name))
                    .map(|name| format!("{name} is not of this program")),
            );
        } else if found > known {
            wrong.push(format!("schema {found} is of a newer Portolan"));
        }
        let none: [u8; 0] = [];
        let checks =
            crate::listing::rows(db, "PRAGMA integrity_check(20)", none, |row| row.get::<_, String>(0))?;
        wrong.extend(checks.into_iter().filter(|line| line != "ok"));
        let strays = "SELECT count(*) FROM pragma_foreign_key_check";
        let strays: i64 = db.query_row(strays, [], |row| row.get(0))?;
        if strays > 0 {
            wrong.push(format!("{strays} rows refer to rows that are not there"));
        }
        Ok(Self { found, known, wrong })
    }
}

/// What a schema is made of: `trigger audit_entry_no_delete` and the like, each with its SQL.
fn shape(db: &Connection) -> Result<BTreeMap<String, String>> {
    let sql = "SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let none: [u8; 0] = [];
    Ok(crate::listing::rows(db, sql, none, |row| Ok((row.get(0)?, row.get(1)?)))?.into_iter().collect())
}
