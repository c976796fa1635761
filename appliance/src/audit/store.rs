//! The audit's SQL: append, and nothing that changes what is there.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params, params_from_iter};

use super::chain::{self, Break, Head, Link, Summary, Verifier};
use super::{Actor, Entry, Outcome, Record};
use crate::clock::Timestamp;
use crate::error::{Error, Result};

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
        "INSERT INTO audit_entry (seq, at, class, actor_kind, actor_id, actor_name, method, agent, source, action,
           resource, resource_id, outcome, entry, prev_hash, hash)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        link.seq,
        record.at,
        record.class.as_str(),
        record.actor.kind.as_str(),
        record.actor.id,
        record.actor.name,
        record.actor.method,
        record.actor.agent,
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

/// Checks the whole chain in the database, that it holds the `heads`, and that the columns say what the entries say.
///
/// # Errors
/// The outer error is the database's; the inner one is where the chain breaks.
pub fn verify(
    connection: &Connection,
    heads: impl IntoIterator<Item = Head>,
) -> Result<std::result::Result<Summary, Break>> {
    let mut statement = connection.prepare("SELECT * FROM audit_entry ORDER BY seq")?;
    let mut rows = statement.query([])?;
    let mut verifier = Verifier::towards(heads);
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
        ("class", record.class.as_str()),
        ("actor_kind", record.actor.kind.as_str()),
        ("actor_id", &record.actor.id),
        ("actor_name", &record.actor.name),
        ("method", &record.actor.method),
        ("agent", &record.actor.agent),
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

/// Which entries a list shows; what is empty lets everything through.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The actor's id, or its name in any case.
    pub actor: Option<String>,
    /// An action, or all of a family: `subnet.*`.
    pub action: Option<String>,
    /// The kind of thing: `subnet`.
    pub resource: Option<String>,
    /// The thing itself.
    pub resource_id: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Not before this.
    pub from: Option<Timestamp>,
    /// Before this.
    pub to: Option<Timestamp>,
    /// Words that all stand somewhere in the entry.
    pub q: Option<String>,
}

impl Filter {
    /// The conditions in SQL, each with its parameter.
    fn conditions(&self) -> Vec<(&'static str, Sql)> {
        let text = |value: &Option<String>| value.clone().filter(|v| !v.is_empty());
        let mut conditions = Vec::new();
        let mut add = |sql, value: Option<Sql>| conditions.extend(value.map(|value| (sql, value)));
        add("? IN (actor_id, lower(actor_name))", text(&self.actor).map(|a| a.to_ascii_lowercase().into()));
        match text(&self.action).map(|a| a.strip_suffix(".*").map(|f| format!("{f}.")).ok_or(a)) {
            Some(Ok(family)) => add("action LIKE ? ESCAPE '\\'", Some((escaped(&family) + "%").into())),
            Some(Err(action)) => add("action = ?", Some(action.into())),
            None => {}
        }
        add("resource = ?", text(&self.resource).map(Sql::from));
        add("resource_id = ?", text(&self.resource_id).map(Sql::from));
        add("outcome = ?", self.outcome.map(|outcome| outcome.as_str().to_owned().into()));
        add("at >= ?", self.from.map(|at| at.micros().into()));
        add("at < ?", self.to.map(|at| at.micros().into()));
        for word in self.q.iter().flat_map(|q| q.split_whitespace()) {
            add("entry LIKE ? ESCAPE '\\'", Some(format!("%{}%", escaped(word)).into()));
        }
        conditions
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
}

/// Where a page of the list starts and how it runs.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Oldest first; else newest first.
    pub ascending: bool,
    /// Only what comes behind this entry, in that order.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: u32,
}

/// Entries that the filter lets through, and how many it lets through in all.
///
/// # Errors
/// Any from the database.
pub fn list(connection: &Connection, filter: &Filter, span: Span) -> Result<(Vec<(u64, Record)>, u64)> {
    let mut conditions = filter.conditions();
    let all = count(connection, &conditions)?;
    let (behind, order) = if span.ascending { ("seq > ?", "ASC") } else { ("seq < ?", "DESC") };
    if let Some(after) = span.after {
        conditions.push((behind, i64::try_from(after).unwrap_or(i64::MAX).into()));
    }
    let (wherever, limit) = (wherever(&conditions), span.limit);
    let sql = format!("SELECT seq, entry FROM audit_entry {wherever} ORDER BY seq {order} LIMIT {limit}");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(conditions.iter().map(|(_, value)| value)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((row.get(0)?, record(row.get_ref(1)?.as_str().map_err(Error::internal)?)?));
    }
    Ok((found, all))
}

fn count(connection: &Connection, conditions: &[(&'static str, Sql)]) -> Result<u64> {
    let sql = format!("SELECT count(*) FROM audit_entry {}", wherever(conditions));
    let values = params_from_iter(conditions.iter().map(|(_, value)| value));
    Ok(connection.query_row(&sql, values, |row| row.get(0))?)
}

fn wherever(conditions: &[(&'static str, Sql)]) -> String {
    let all: Vec<&str> = conditions.iter().map(|(sql, _)| *sql).collect();
    if all.is_empty() { String::new() } else { format!("WHERE {}", all.join(" AND ")) }
}

fn record(entry: &str) -> Result<Record> {
    Ok(serde_json::from_str(entry)?)
}

/// The actions and the resources that occur, ascending: what a filter can offer.
///
/// # Errors
/// Any from the database.
pub fn choices(connection: &Connection) -> Result<(Vec<String>, Vec<String>)> {
    let column = |sql: &str| -> Result<Vec<String>> {
        Ok(connection
            .prepare_cached(sql)?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?)
    };
    Ok((
        column("SELECT DISTINCT action FROM audit_entry ORDER BY action")?,
        column("SELECT DISTINCT resource FROM audit_entry ORDER BY resource")?,
    ))
}

/// One entry as it stands in the chain, and what it says.
///
/// # Errors
/// Any from the database.
pub fn get(connection: &Connection, seq: u64) -> Result<Option<(Link, Record)>> {
    let found = connection.query_row("SELECT * FROM audit_entry WHERE seq = ?", [seq], link).optional()?;
    found.map(|link| record(&link.entry).map(|record| (link, record))).transpose()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::clock::Clock;
    use crate::sqlite::Opening;
    use crate::store::Store;

    /// Ten entries, a second apart: ada makes subnets, bob is refused at sign-in.
    async fn filled(store: &Store, hand: &crate::clock::Hand) {
        for n in 0..10 {
            hand.advance(Duration::from_secs(1));
            let entry = if n % 2 == 0 {
                Entry::created("subnet", n, &json!({ "note": "50% of_it", "n": n }))
            } else {
                Entry::sign_in("sign-in.failed", &json!({ "n": n })).outcome(Outcome::Refused)
            };
            let actor = if n % 2 == 0 { Actor::user(uuid::Uuid::nil(), "Ada") } else { Actor::nobody("bob") };
            store.change(&actor, move |_| Ok((entry, ()))).await.unwrap();
        }
    }

    async fn seqs(store: &Store, filter: Filter, after: Option<u64>) -> (Vec<u64>, u64) {
        let span = Span { ascending: false, after, limit: 3 };
        let (rows, all) = store.read(move |c| list(c, &filter, span)).await.unwrap();
        (rows.into_iter().map(|(seq, _)| seq).collect(), all)
    }

    /// A chain outlives the version that began it: a backup from years ago, a file in an auditor's safe. So the
    /// audit's tables and triggers are never changed, not even by a migration: each version reads and checks every
    /// chain, and nobody has to rewrite one, which is what it is there to prevent. What an entry does not have yet
    /// goes into its `detail`. Indexes, and the index of words, may come and go.
    #[tokio::test]
    async fn the_tables_and_triggers_of_the_audit_stay_as_they_are() {
        let store = Store::in_memory(Clock::fixed(Timestamp::EPOCH)).unwrap();
        let sql = "SELECT sql FROM sqlite_master WHERE tbl_name IN ('audit_entry', 'audit_checkpoint')
                   AND type IN ('table', 'trigger') AND name NOT LIKE 'audit_text%' ORDER BY name";
        let now = store
            .read(|c| {
                let texts =
                    c.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
                Ok::<Vec<String>, _>(texts)
            })
            .await
            .unwrap();
        assert_eq!(now.join(";\n\n") + ";\n", include_str!("frozen.sql"));
    }

    #[tokio::test]
    async fn a_list_is_newest_first_filtered_and_paged() {
        let (clock, hand) = Clock::settable(Timestamp::EPOCH);
        let store = Store::in_memory(clock).unwrap();
        filled(&store, &hand).await;
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(seqs(&store, Filter::default(), None).await, (vec![10, 9, 8], 10));
        assert_eq!(seqs(&store, Filter::default(), Some(3)).await, (vec![2, 1], 10));
        for by_ada in [
            Filter { actor: some("ada"), ..Filter::default() },
            Filter { actor: some(&uuid::Uuid::nil().to_string()), ..Filter::default() },
            Filter { action: some("subnet.*"), ..Filter::default() },
            Filter { action: some("subnet.created"), ..Filter::default() },
            Filter { resource: some("subnet"), ..Filter::default() },
            Filter { outcome: Some(Outcome::Done), ..Filter::default() },
            Filter { q: some("50% of_it"), ..Filter::default() },
        ] {
            assert_eq!(seqs(&store, by_ada.clone(), Some(9)).await, (vec![7, 5, 3], 5), "{by_ada:?}");
        }
        let seventh = Timestamp::EPOCH + Duration::from_secs(7);
        let window =
            Filter { from: Some(seventh), to: Some(seventh + Duration::from_secs(1)), ..Filter::default() };
        assert_eq!(seqs(&store, window, None).await, (vec![7], 1));
        let nothing = Filter { q: some("50_"), action: some(""), ..Filter::default() };
        assert_eq!(seqs(&store, nothing, None).await, (vec![], 0));
        let oldest = Span { ascending: true, after: Some(8), limit: 3 };
        let (rows, _) = store.read(move |c| list(c, &Filter::default(), oldest)).await.unwrap();
        assert_eq!(rows.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [9, 10]);
        let offered = store.read(choices).await.unwrap();
        assert_eq!(offered.0, ["sign-in.failed", "subnet.created"]);
        assert_eq!(offered.1, ["sign-in", "subnet"]);
    }

    #[tokio::test]
    async fn who_writes_past_the_triggers_is_found_where_it_was_done() {
        for (sql, found) in [
            (
                "UPDATE audit_entry SET entry = replace(entry, 'Ada', 'Eve') WHERE seq = 5",
                Break::Hash { seq: 5 },
            ),
            (
                "UPDATE audit_entry SET actor_name = 'Eve' WHERE seq = 5",
                Break::Column { seq: 5, column: "actor_name" },
            ),
            (
                "UPDATE audit_entry SET class = 'access' WHERE seq = 5",
                Break::Column { seq: 5, column: "class" },
            ),
            (
                "UPDATE audit_entry SET method = 'token' WHERE seq = 5",
                Break::Column { seq: 5, column: "method" },
            ),
            ("UPDATE audit_entry SET agent = 'x' WHERE seq = 5", Break::Column { seq: 5, column: "agent" }),
            ("UPDATE audit_entry SET at = 0 WHERE seq = 5", Break::Column { seq: 5, column: "at" }),
            ("DELETE FROM audit_entry WHERE seq = 5", Break::Sequence { expected: 5, found: 6 }),
            ("DELETE FROM audit_entry WHERE seq > 5", Break::Head { expected: 10, found: 5 }),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config.db");
            let (clock, hand) = Clock::settable(Timestamp::EPOCH);
            let store = Store::open(&path, Opening::Owner, clock).unwrap();
            filled(&store, &hand).await;
            let head = store.audit_head().await.unwrap();
            let intruder = Connection::open(&path).unwrap();
            intruder
                .execute_batch("DROP TRIGGER audit_entry_no_update; DROP TRIGGER audit_entry_no_delete;")
                .unwrap();
            intruder.execute_batch(sql).unwrap();
            let seen = store.read(move |c| verify(c, Some(head))).await.unwrap();
            assert_eq!(seen, Err(found), "{sql}");
        }
    }
}
