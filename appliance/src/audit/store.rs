//! The audit's SQL: append, and nothing that changes what is there.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params, params_from_iter};

use super::chain::{self, Break, Head, Link, Summary, Verifier};
use super::{Actor, Entry, Filter, Record};
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

/// An actor's address as its column has it.
pub(super) fn source(record: &Record) -> String {
    record.actor.source.map(|s| s.to_string()).unwrap_or_default()
}

/// A row's link.
pub(super) fn link(row: &Row) -> rusqlite::Result<Link> {
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
    let all = count(connection, filter)?;
    let mut conditions = filter.conditions();
    let (behind, order) = if span.ascending { ("seq > ?", "ASC") } else { ("seq < ?", "DESC") };
    if let Some(after) = span.after {
        conditions.add(behind, [i64::try_from(after).unwrap_or(i64::MAX).into()]);
    }
    let (wherever, limit) = (conditions.sql(), span.limit);
    let sql = format!("SELECT seq, entry FROM audit_entry {wherever} ORDER BY seq {order} LIMIT {limit}");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(conditions.values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((row.get(0)?, record(row.get_ref(1)?.as_str().map_err(Error::internal)?)?));
    }
    Ok((found, all))
}

/// How many entries the filter lets through.
///
/// # Errors
/// Any from the database.
pub fn count(connection: &Connection, filter: &Filter) -> Result<u64> {
    let conditions = filter.conditions();
    let sql = format!("SELECT count(*) FROM audit_entry {}", conditions.sql());
    Ok(connection.query_row(&sql, params_from_iter(conditions.values), |row| row.get(0))?)
}

fn record(entry: &str) -> Result<Record> {
    Ok(serde_json::from_str(entry)?)
}

/// At most so many choices are offered.
const CHOICES: u32 = 200;

/// The actions and the resources that occur, ascending: what a filter can offer.
///
/// # Errors
/// Any from the database.
pub fn choices(connection: &Connection) -> Result<(Vec<String>, Vec<String>)> {
    Ok((distinct(connection, "action")?, distinct(connection, "resource")?))
}

/// The values of an indexed column: one step down the index for each, however many entries have it.
fn distinct(connection: &Connection, column: &'static str) -> Result<Vec<String>> {
    let sql = format!(
        "WITH RECURSIVE found (value) AS (
           SELECT min({column}) FROM audit_entry
           UNION ALL
           SELECT (SELECT min({column}) FROM audit_entry WHERE {column} > value) FROM found WHERE value IS NOT NULL
         ) SELECT value FROM found WHERE value IS NOT NULL LIMIT {CHOICES}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
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
    use crate::audit::{Class, Outcome};
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
            Filter { q: some("ADA subnet.cre"), ..Filter::default() },
            Filter { class: Some(Class::Change), ..Filter::default() },
        ] {
            assert_eq!(seqs(&store, by_ada.clone(), Some(9)).await, (vec![7, 5, 3], 5), "{by_ada:?}");
        }
        let seventh = Timestamp::EPOCH + Duration::from_secs(7);
        let window =
            Filter { from: Some(seventh), to: Some(seventh + Duration::from_secs(1)), ..Filter::default() };
        assert_eq!(seqs(&store, window, None).await, (vec![7], 1));
        let by_bob = Filter { class: Some(Class::SignIn), actor: some("BOB"), ..Filter::default() };
        assert_eq!(seqs(&store, by_bob, None).await, (vec![10, 8, 6], 5));
        for nothing in ["hash", "500", "ubnet", "ada bob", "it_of"] {
            let nothing = Filter { q: some(nothing), ..Filter::default() };
            assert_eq!(seqs(&store, nothing.clone(), None).await, (vec![], 0), "{nothing:?}");
        }
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

    #[tokio::test]
    async fn what_reads_like_sql_or_a_search_language_is_only_ever_looked_for() {
        let (clock, hand) = Clock::settable(Timestamp::EPOCH);
        let store = Store::in_memory(clock).unwrap();
        filled(&store, &hand).await;
        for text in [
            "' OR 1=1 --",
            "x'; DROP TABLE audit_entry; --",
            "\" OR ada",
            "ada\" OR \"bob",
            "words : ada",
            "{words} : ada",
            "NOT ada",
            "^ada",
            "ada +",
            "NEAR(ada bob, 5)",
            "a*b",
            "ada\0\"",
            "%",
            "_",
            "subnet.*'",
            "\\",
            "\u{10ffff}",
        ] {
            let some = || Some(text.to_owned());
            for filter in [
                Filter { actor: some(), ..Filter::default() },
                Filter { action: some(), ..Filter::default() },
                Filter { resource: some(), ..Filter::default() },
                Filter { resource_id: some(), ..Filter::default() },
            ] {
                assert_eq!(seqs(&store, filter.clone(), None).await.1, 0, "{filter:?}");
            }
            // A search finds what has these words, and never fails.
            let (_, found) = seqs(&store, Filter { q: some(), ..Filter::default() }, None).await;
            let wordless = crate::audit::filter::phrases(text).is_none();
            assert!(if wordless { found == 10 } else { found <= 5 }, "{text}: {found}");
        }
        let head = store.audit_head().await.unwrap();
        assert_eq!(store.read(move |c| verify(c, Some(head))).await.unwrap().unwrap().count, 10);
    }
}
