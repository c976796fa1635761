//! Taking back what a sweep has of hosts, because a better delivery of them takes its place.

use std::collections::BTreeMap;

use ::duckdb::types::ToSql;
use ::duckdb::{Connection, params};

use super::tally::Tally;
use super::{halves, read};
use crate::results::coverage::{self, Coverage};
use crate::results::{Error, code};

/// Hosts named in one statement at most.
const AT_ONCE: usize = 4_096;

/// Removes every word of these hosts, which the sweep has with holes, and takes it out of `tally`. What was said of
/// others in the same breath stays. Rows still in an appender are not seen: they are flushed before.
pub fn take_back(
    connection: &Connection,
    sweep: i32,
    hosts: &[(u128, u128)],
    tally: &mut Tally,
) -> Result<(), Error> {
    let (Some(first), Some(last)) = (hosts.iter().min(), hosts.iter().max()) else { return Ok(()) };
    let (from, to) = (halves(first.0), halves(last.1));
    let sql = format!(
        "SELECT {} WHERE s.sweep = ? AND s.holed AND (s.high > ? OR (s.high = ? AND s.last >= ?))
           AND (s.high < ? OR (s.high = ? AND s.first <= ?))",
        read::COLUMNS
    );
    let values: [Box<dyn ToSql>; 7] = [
        Box::new(sweep),
        Box::new(from.0),
        Box::new(from.0),
        Box::new(from.1),
        Box::new(to.0),
        Box::new(to.0),
        Box::new(to.1),
    ];
    let mut void = Coverage::default();
    for (first, last) in hosts {
        void.take(*first, *last);
    }
    let (mut spans, mut remains) = (Vec::new(), Vec::new());
    for it in read::observations(connection, &sql, &values, false)? {
        let stays = void.gaps(it.hosts.first, it.hosts.last);
        let gone = it.hosts.count() - coverage::count(&stays);
        if gone == 0 {
            continue;
        }
        let gone = i64::try_from(gone).map_err(|_| Error::Broken("hosts of a block"))?;
        tally.add(-gone, it.by_reason().into_iter().map(|(reason, ports)| (reason, ports.count())));
        let begins = halves(it.hosts.first);
        spans.push(begins);
        if !stays.is_empty() {
            let sql = "SELECT part FROM span WHERE sweep = ? AND high = ? AND first = ?";
            let part: i32 =
                connection.query_row(sql, params![sweep, begins.0, begins.1], |row| row.get(0))?;
            remains.push((part, it.base, it.rest, stays));
        }
    }
    for spans in spans.chunks(AT_ONCE) {
        // A host with exceptions has a span of its own, so they lie where the span begins.
        for (table, column) in [("run", "low"), ("open_port", "low"), ("hint", "low"), ("span", "first")] {
            let sql = format!("DELETE FROM {table} WHERE sweep = ? AND ({})", begin_at(column, spans));
            connection.execute(&sql, [sweep])?;
        }
    }
    for (part, base, rest, stays) in remains {
        for (first, last) in stays {
            let ((high, first), (_, last)) = (halves(first), halves(last));
            connection.execute(
                "INSERT INTO span VALUES (?, ?, ?, ?, ?, ?, ?, true)",
                params![sweep, part, high, first, last, code::of(base), rest],
            )?;
        }
    }
    Ok(())
}

/// A condition that holds where one of these spans begins. Numbers only, so they stand in it.
fn begin_at(column: &str, spans: &[(u64, u64)]) -> String {
    let mut by_high: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (high, low) in spans {
        by_high.entry(*high).or_default().push(low.to_string());
    }
    let one =
        |(high, lows): (u64, Vec<String>)| format!("(high = {high} AND {column} IN ({}))", lows.join(", "));
    by_high.into_iter().map(one).collect::<Vec<_>>().join(" OR ")
}

#[cfg(test)]
#[path = "replace_test.rs"]
mod tests;
