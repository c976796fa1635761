//! The SQL of exports: stretches of the chain.

use std::collections::HashSet;

use rusqlite::{Connection, params, params_from_iter};

use crate::audit::chain::Link;
use crate::audit::filter::Filter;
use crate::audit::store::link;
use crate::error::Result;

/// Entries read at once.
const STRETCH: u32 = 5_000;

/// Entries that follow one another.
pub struct Stretch {
    /// All of them.
    pub links: Vec<Link>,
    /// The numbers of those that the filter lets through; none if it lets everything through.
    wanted: Option<HashSet<u64>>,
}

impl Stretch {
    /// Whether the filter lets it through.
    pub fn shows(&self, seq: u64) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&seq))
    }
}

/// The entries behind `after`, `last` at the most, as many as are read at once.
///
/// # Errors
/// Any from the database.
pub fn stretch(connection: &Connection, filter: &Filter, after: u64, last: u64) -> Result<Stretch> {
    let sql = "SELECT seq, entry, prev_hash, hash FROM audit_entry
               WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?";
    let mut statement = connection.prepare_cached(sql)?;
    let links: Vec<Link> =
        statement.query_map(params![after, last, STRETCH], link)?.collect::<rusqlite::Result<_>>()?;
    let end = links.last().map_or(after, |link| link.seq);
    let wanted = if filter.is_empty() { None } else { Some(wanted(connection, filter, after, end)?) };
    Ok(Stretch { links, wanted })
}

fn wanted(connection: &Connection, filter: &Filter, after: u64, end: u64) -> Result<HashSet<u64>> {
    let number = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX).into();
    let mut conditions = filter.conditions();
    conditions.add("seq > ? AND seq <= ?", [number(after), number(end)]);
    let sql = format!("SELECT seq FROM audit_entry {}", conditions.sql());
    let mut statement = connection.prepare(&sql)?;
    let seqs = statement.query_map(params_from_iter(conditions.values), |row| row.get(0))?;
    Ok(seqs.collect::<rusqlite::Result<_>>()?)
}
