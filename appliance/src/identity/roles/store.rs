//! The SQL of roles.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use uuid::Uuid;

use super::{Builtin, Fields, Origin, Role};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::identity::scopes;
use crate::listing::{Filters, Listing, rows};
use crate::noun::{Key, Use};
use crate::web::{ListQuery, Page};

/// How many holders a refused deletion names.
const NAMED: u32 = 20;

const LISTING: Listing = Listing {
    name: "roles",
    table: "role_listed",
    search: &["name", "description"],
    sorts: &[("name", "name"), ("holders", "holders"), ("updated_at", "updated_at")],
};

fn role(row: &Row) -> rusqlite::Result<Role> {
    let Key(id) = row.get("id")?;
    let stored = || -> rusqlite::Result<BTreeSet<String>> {
        let text: String = row.get("scopes")?;
        let names: BTreeSet<String> = serde_json::from_str(&text).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
        })?;
        Ok(known(names))
    };
    Ok(Role {
        id,
        name: row.get("name")?,
        description: row.get("description")?,
        builtin: row.get("builtin")?,
        second_factor: row.get("second_factor")?,
        scopes: Builtin::of(id).map_or_else(stored, |builtin| Ok(builtin.scopes()))?,
        holders: row.get("holders")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        version: row.get("version")?,
    })
}

/// A scope that a later version of the program knew gives nothing here.
fn known(names: BTreeSet<String>) -> BTreeSet<String> {
    names.into_iter().filter(|name| scopes::find(name).is_some()).collect()
}

/// One page of the roles.
pub fn page(db: &Connection, query: &ListQuery, kind: Option<Origin>) -> Result<Page<Role>> {
    let mut filters = Filters::default();
    if let Some(kind) = kind {
        filters = filters.only("builtin = ?", [Value::Integer(i64::from(kind == Origin::Builtin))]);
    }
    LISTING.page(db, query, filters, role)
}

/// All roles: no more than there may be.
pub fn all(db: &Connection) -> Result<Vec<Role>> {
    let none: [u8; 0] = [];
    rows(db, "SELECT * FROM role_listed ORDER BY builtin DESC, created_at, id LIMIT 500", none, role)
}

pub fn one(db: &Connection, id: Uuid) -> Result<Role> {
    let found = db.query_row("SELECT * FROM role_listed WHERE id = ?", [Key(id)], role).optional()?;
    found.ok_or_else(|| Error::not_found("role", id))
}

pub fn count(db: &Connection) -> Result<u64> {
    Ok(db.query_row("SELECT count(*) FROM role", [], |row| row.get(0))?)
}

/// What one role gives.
pub fn scopes(db: &Connection, id: Uuid) -> Result<BTreeSet<String>> {
    if let Some(builtin) = Builtin::of(id) {
        return Ok(builtin.scopes());
    }
    let names = rows(db, "SELECT scope FROM role_scope WHERE role = ?", [Key(id)], |row| row.get(0))?;
    Ok(known(names.into_iter().collect()))
}

/// The roles of an account.
pub fn of_user(db: &Connection, user: Uuid) -> Result<Vec<Uuid>> {
    let sql = "SELECT DISTINCT role FROM user_role WHERE user = ?";
    rows(db, sql, [Key(user)], |row| row.get(0).map(|Key(id)| id))
}

pub fn second_factor_needed(db: &Connection, user: Uuid) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM user_role JOIN role ON role.id = user_role.role
                              WHERE user_role.user = ? AND role.second_factor)";
    Ok(db.query_row(sql, [Key(user)], |row| row.get(0))?)
}

/// Who holds a role, by name: the first of them.
pub fn holders(db: &Connection, id: Uuid) -> Result<Vec<Use>> {
    let sql = "SELECT DISTINCT user.id, user.name FROM user_role JOIN user ON user.id = user_role.user
               WHERE user_role.role = ? ORDER BY user.name LIMIT ?";
    let holder = |row: &Row| {
        let Key(id) = row.get(0)?;
        Ok(Use { id, path: format!("/users/{id}"), name: row.get(1)?, kind: "account" })
    };
    rows(db, sql, [Value::Text(id.to_string()), Value::Integer(NAMED.into())], holder)
}

pub fn insert(tx: &Transaction, id: Uuid, fields: &Fields, now: Timestamp) -> Result<()> {
    let Fields { name, description, second_factor, scopes } = fields;
    tx.execute(
        "INSERT INTO role (id, name, description, second_factor, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
        params![Key(id), name, description, second_factor, now, now],
    )
    .map_err(|error| Error::taken(error, "name", "another role has this name"))?;
    give(tx, id, scopes)
}

pub fn update(tx: &Transaction, id: Uuid, fields: &Fields, now: Timestamp) -> Result<()> {
    let Fields { name, description, second_factor, scopes } = fields;
    tx.execute(
        "UPDATE role SET name = ?, description = ?, second_factor = ?, updated_at = ?, version = version + 1
         WHERE id = ?",
        params![name, description, second_factor, now, Key(id)],
    )
    .map_err(|error| Error::taken(error, "name", "another role has this name"))?;
    if Builtin::of(id).is_some() {
        return Ok(());
    }
    tx.execute("DELETE FROM role_scope WHERE role = ?", [Key(id)])?;
    give(tx, id, scopes)
}

fn give(tx: &Transaction, id: Uuid, scopes: &BTreeSet<String>) -> Result<()> {
    let mut insert = tx.prepare_cached("INSERT INTO role_scope (role, scope) VALUES (?, ?)")?;
    for scope in scopes {
        insert.execute(params![Key(id), scope])?;
    }
    Ok(())
}

/// Deletes a role with what it gave.
pub fn delete(tx: &Transaction, id: Uuid) -> Result<()> {
    tx.execute("DELETE FROM role WHERE id = ?", [Key(id)])?;
    Ok(())
}
