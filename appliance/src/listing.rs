//! The SQL of a list: search, filters, order and a cursor, the same for every noun.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, ToSql, params_from_iter};

use crate::error::{Error, Result};
use crate::web::{Cursor, ListQuery, Page, Sort, limit};

/// The most words that a search looks at.
const WORDS_MAX: usize = 16;
/// The longest search, in bytes; SQLite has a limit of its own, far above.
const SEARCH_MAX: usize = 500;

/// How a noun is listed. The table has a unique column `id`.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// What a cursor of this list is told apart by: `subnets`.
    pub name: &'static str,
    /// Table or view.
    pub table: &'static str,
    /// Columns in which a word of `q` is looked for.
    pub search: &'static [&'static str],
    /// Fields to sort by, each with its column (never NULL); the first is the order when none is asked for.
    pub sorts: &'static [(&'static str, &'static str)],
}

/// What a list lets through, beside the search.
#[derive(Debug, Default)]
pub struct Filters {
    all: Vec<(&'static str, Vec<Value>)>,
    found: Vec<(&'static str, Vec<Value>)>,
}

impl Filters {
    /// Only rows for which this SQL holds; it has one `?` for each value.
    #[must_use]
    pub fn only(mut self, sql: &'static str, values: impl IntoIterator<Item = Value>) -> Self {
        self.all.push((sql, values.into_iter().collect()));
        self
    }

    /// Rows for which this SQL holds are found by the search even where its words are not.
    #[must_use]
    pub fn or_found(mut self, sql: &'static str, values: impl IntoIterator<Item = Value>) -> Self {
        self.found.push((sql, values.into_iter().collect()));
        self
    }
}

/// A condition and its values.
#[derive(Default)]
struct Where {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Where {
    fn and(&mut self, sql: impl Into<String>, values: impl IntoIterator<Item = Value>) {
        self.sql.push(sql.into());
        self.values.extend(values);
    }

    fn text(&self) -> String {
        if self.sql.is_empty() { String::new() } else { format!(" WHERE {}", self.sql.join(" AND ")) }
    }
}

impl Listing {
    /// One page: the rows that `query` and `filters` let through, each read by `row`.
    ///
    /// # Errors
    /// [`Error::Invalid`] on `sort`, `limit`, `cursor` or `q`; any from the database.
    pub fn page<T>(
        &self,
        db: &Connection,
        query: &ListQuery,
        filters: Filters,
        row: impl Fn(&Row) -> rusqlite::Result<T>,
    ) -> Result<Page<T>> {
        let fields: Vec<&'static str> = self.sorts.iter().map(|(field, _)| *field).collect();
        let sort = Sort::parse(query.sort.as_deref(), &fields)?;
        let limit = limit(query.limit)?;
        let column = self.sorts.iter().find(|(field, _)| *field == sort.field).map_or("id", |(_, c)| *c);
        let mut wanted = self.wanted(query.q.as_deref().unwrap_or_default(), filters)?;

        let count = format!("SELECT count(*) FROM {}{}", self.table, wanted.text());
        let total: i64 = db.query_row(&count, params_from_iter(&wanted.values), |row| row.get(0))?;

        let (direction, beyond) = if sort.descending { ("DESC", "<") } else { ("ASC", ">") };
        if let Some(cursor) = query.cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
            // A text compared with an INTEGER column is read as a number: that is SQLite's affinity.
            let key = Cursor::read(cursor, self.name, &sort, 2)?;
            wanted.and(format!("({column}, id) {beyond} (?, ?)"), key.into_iter().map(Value::Text));
        }
        let sql = format!(
            "SELECT *, CAST({column} AS TEXT) AS cursor_key FROM {}{} ORDER BY {column} {direction}, id {direction} LIMIT ?",
            self.table,
            wanted.text()
        );
        // One row more than asked for tells whether any follow.
        wanted.values.push(Value::Integer(i64::from(limit) + 1));
        let mut statement = db.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(&wanted.values))?;
        let (mut items, mut last, mut next) = (Vec::new(), None, None);
        while let Some(found) = rows.next()? {
            if items.len() == limit as usize {
                next = last.map(|key| Cursor::after(self.name, &sort, key));
                break;
            }
            last = Some(vec![found.get("cursor_key")?, found.get("id")?]);
            items.push(row(found)?);
        }
        Ok(Page { items, next, total: u64::try_from(total).unwrap_or(0) })
    }

    fn wanted(&self, q: &str, filters: Filters) -> Result<Where> {
        let mut wanted = Where::default();
        for (sql, values) in filters.all {
            wanted.and(format!("({sql})"), values);
        }
        let words: Vec<&str> = q.split_whitespace().collect();
        if words.len() > WORDS_MAX || q.len() > SEARCH_MAX {
            return Err(Error::invalid(
                "q",
                format!("takes at most {WORDS_MAX} words, {SEARCH_MAX} bytes in all"),
            ));
        }
        if words.is_empty() {
            return Ok(wanted);
        }
        let mut search = Where::default();
        for word in words {
            let columns: Vec<String> =
                self.search.iter().map(|column| format!("{column} LIKE ? ESCAPE '\\'")).collect();
            let like = Value::Text(format!("%{}%", escaped(word)));
            search.and(format!("({})", columns.join(" OR ")), vec![like; columns.len()]);
        }
        let mut either = vec![format!("({})", search.sql.join(" AND "))];
        for (sql, values) in filters.found {
            either.push(format!("({sql})"));
            search.values.extend(values);
        }
        wanted.and(format!("({})", either.join(" OR ")), search.values);
        Ok(wanted)
    }
}

/// The word for LIKE, its own wildcards taken literally.
fn escaped(word: &str) -> String {
    word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// Rows of a query, collected.
///
/// # Errors
/// Any from the database.
pub fn rows<T>(
    db: &Connection,
    sql: &str,
    values: impl IntoIterator<Item = impl ToSql>,
    row: impl Fn(&Row) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let mut statement = db.prepare_cached(sql)?;
    let found = statement.query_map(params_from_iter(values), row)?.collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: Listing = Listing {
        name: "things",
        table: "thing",
        search: &["name", "note"],
        sorts: &[("name", "name"), ("size", "size")],
    };

    fn things() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE thing (id TEXT PRIMARY KEY, name TEXT NOT NULL COLLATE NOCASE, note TEXT, size INTEGER) STRICT;
             INSERT INTO thing VALUES ('1', 'beta', '100%', 10), ('2', 'Alpha', 'a_b', 9), ('3', 'alpha', '', 10),
                                      ('4', 'gamma', 'axb', -2), ('5', 'delta', '', 100)",
        )
        .unwrap();
        db
    }

    fn ids(row: &Row) -> rusqlite::Result<String> {
        row.get("id")
    }

    fn query(text: &str) -> ListQuery {
        let mut query = ListQuery::default();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            let value = value.into_owned();
            match &*key {
                "q" => query.q = Some(value),
                "sort" => query.sort = Some(value),
                "limit" => query.limit = value.parse().ok(),
                _ => query.cursor = Some(value),
            }
        }
        query
    }

    /// All pages, walked by their cursors.
    fn walk(db: &Connection, text: &str) -> Vec<String> {
        let (mut all, mut asked) = (Vec::new(), query(text));
        loop {
            let page = LISTING.page(db, &asked, Filters::default(), ids).unwrap();
            assert!(page.items.len() <= asked.limit.unwrap_or(50) as usize);
            all.extend(page.items);
            asked.cursor = match page.next {
                None => return all,
                next => next,
            };
        }
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat_in_every_order() {
        let db = things();
        for limit in 1..=5 {
            assert_eq!(walk(&db, &format!("limit={limit}")), ["2", "3", "1", "5", "4"], "limit {limit}");
            assert_eq!(walk(&db, &format!("limit={limit}&sort=-name")), ["4", "5", "1", "3", "2"]);
            assert_eq!(walk(&db, &format!("limit={limit}&sort=size")), ["4", "2", "1", "3", "5"]);
            assert_eq!(walk(&db, &format!("limit={limit}&sort=-size")), ["5", "3", "1", "2", "4"]);
        }
    }

    #[test]
    fn every_word_is_looked_for_and_wildcards_are_letters() {
        let db = things();
        assert_eq!(walk(&db, "q=ALPHA"), ["2", "3"]);
        assert_eq!(walk(&db, "q=alpha+b"), ["2"]);
        assert_eq!(walk(&db, "q=a_b"), ["2"]);
        assert_eq!(walk(&db, "q=%25"), ["1"]);
        assert_eq!(walk(&db, "q=nothing"), Vec::<String>::new());
    }

    #[test]
    fn filters_narrow_the_list_and_its_total_and_may_add_to_the_search() {
        let db = things();
        let ten = || Filters::default().only("size = ?", [Value::Integer(10)]);
        let page = LISTING.page(&db, &query("limit=1"), ten(), ids).unwrap();
        assert_eq!((page.items, page.total, page.next.is_some()), (vec!["3".to_owned()], 2, true));
        let found = Filters::default().or_found("size < ?", [Value::Integer(0)]);
        let page = LISTING.page(&db, &query("q=beta"), found, ids).unwrap();
        assert_eq!(page.items, ["1", "4"]);
    }

    #[test]
    fn a_cursor_of_another_list_an_unknown_sort_and_a_bad_limit_are_refused_by_name() {
        let db = things();
        let other = Sort::parse(Some("size"), &["size"]).unwrap();
        let strange = Cursor::after("others", &other, vec!["1".into(), "2".into()]);
        for (text, field) in [
            (format!("sort=size&cursor={strange}"), "cursor"),
            ("cursor=%26%26".to_owned(), "cursor"),
            ("sort=note".to_owned(), "sort"),
            ("limit=0".to_owned(), "limit"),
            (format!("q={}", "a+".repeat(17)), "q"),
            (format!("q={}", "a".repeat(60_000)), "q"),
        ] {
            let refused = LISTING.page(&db, &query(&text), Filters::default(), ids);
            let Err(Error::Invalid(fields)) = refused else {
                panic!("{text}: {:?}", refused.map(|p| p.items))
            };
            assert_eq!(fields[0].field, field, "{text}");
        }
    }
}
