//! What the things that entries tell of are called: their names now, and where they are shown.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _};
use schemars::JsonSchema;
use serde::Serialize;

use super::Record;
use crate::error::Result;

/// Resources that have a name and, most of them, a page: resource, SQL that finds the name, path of the page.
const NAMED: [(&str, &str, Option<&str>); 13] = [
    ("subnet", "SELECT name FROM subnet WHERE id = ?", Some("/subnets/")),
    (
        "exclusion",
        "SELECT iif(length(addresses) < 80, addresses, substr(addresses, 1, 79) || '…') FROM exclusion WHERE id = ?",
        Some("/exclusions/"),
    ),
    ("port-list", "SELECT name FROM port_list WHERE id = ?", Some("/port-lists/")),
    ("template", "SELECT name FROM template WHERE id = ?", Some("/templates/")),
    ("vantage", "SELECT name FROM vantage WHERE id = ?", Some("/vantages/")),
    ("scanner", "SELECT name FROM scanner WHERE id = ?", Some("/scanners/")),
    ("scan", "SELECT template_name FROM scan WHERE id = ?", Some("/scans/")),
    ("role", "SELECT name FROM role WHERE id = ?", Some("/roles/")),
    ("token", "SELECT name FROM token WHERE id = ?", Some("/tokens/")),
    ("results", "SELECT template_name FROM scan WHERE id = ?", Some("/scans/")),
    ("receiver", "SELECT name FROM receiver WHERE id = ?", Some("/receivers/")),
    ("provider", "SELECT name FROM oidc_provider WHERE id = ?", Some("/providers/")),
    ("user", "SELECT name FROM user WHERE id = ?", Some("/users/")),
];

/// A thing by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Thing {
    /// What it is called now; what it was called last, if it is gone.
    pub name: String,
    /// Its page; none if it is gone or has none.
    pub path: Option<String>,
}

/// Names things, each looked up once.
#[derive(Default)]
pub struct Names(BTreeMap<(String, String), Option<Thing>>);

impl Names {
    /// What the thing is called that entries tell of, if it has a name.
    ///
    /// # Errors
    /// Any from the database.
    pub fn find(&mut self, connection: &Connection, resource: &str, id: &str) -> Result<Option<Thing>> {
        let key = (resource.to_owned(), id.to_owned());
        if let Some(known) = self.0.get(&key) {
            return Ok(known.clone());
        }
        let thing = find(connection, resource, id)?;
        self.0.insert(key, thing.clone());
        Ok(thing)
    }
}

fn find(connection: &Connection, resource: &str, id: &str) -> Result<Option<Thing>> {
    let Some((_, sql, page)) = NAMED.iter().find(|(name, ..)| *name == resource) else { return Ok(None) };
    let name = connection.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
    if let Some(name) = name {
        return Ok(Some(Thing { name, path: page.map(|page| format!("{page}{id}")) }));
    }
    Ok(gone(connection, resource, id)?.map(|name| Thing { name, path: None }))
}

/// The name that the entry of a deletion holds.
fn gone(connection: &Connection, resource: &str, id: &str) -> Result<Option<String>> {
    let sql = "SELECT entry FROM audit_entry WHERE resource = ? AND resource_id = ? AND action = ?
               ORDER BY seq DESC LIMIT 1";
    let action = format!("{resource}.deleted");
    let entry: Option<String> =
        connection.prepare_cached(sql)?.query_row([resource, id, &action], |row| row.get(0)).optional()?;
    let Some(entry) = entry else { return Ok(None) };
    let record: Record = serde_json::from_str(&entry)?;
    let named = |field: &str| matches!(field, "name" | "addresses");
    let name = record.changes.iter().find(|change| named(&change.field)).and_then(|c| c.before.as_ref());
    Ok(name.and_then(|name| name.as_str()).map(|name| name.chars().take(80).collect()))
}
