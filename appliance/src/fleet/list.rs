//! A page of a list that is held in memory: fleets have hundreds of scanners, and presence lies in another database.

use crate::error::Result;
use crate::web::{Cursor, ListQuery, Page, Sort, limit};

/// What is asked of a list whose `name` is in its cursors; the first of `fields` is its order when none is named.
pub(super) struct List {
    pub name: &'static str,
    pub fields: &'static [&'static str],
}

impl List {
    /// The page that `asked` names. `key` gives a row's value of a field, in a text that sorts as the field does, and
    /// its id.
    pub fn page<T>(
        &self,
        mut rows: Vec<T>,
        asked: &ListQuery,
        key: impl Fn(&T, &str) -> [String; 2],
    ) -> Result<Page<T>> {
        let sort = Sort::parse(asked.sort.as_deref(), self.fields)?;
        let most = limit(asked.limit)? as usize;
        let after = asked.cursor.as_deref().filter(|text| !text.is_empty());
        let after = after.map(|text| Cursor::read(text, self.name, &sort, 2)).transpose()?;
        let key = |row: &T| key(row, sort.field);
        let total = rows.len() as u64;
        rows.sort_by_cached_key(|row| key(row));
        if sort.descending {
            rows.reverse();
        }
        if let Some(after) = after {
            let past =
                |row: &T| if sort.descending { key(row)[..] < after[..] } else { key(row)[..] > after[..] };
            let start = rows.iter().position(past).unwrap_or(rows.len());
            rows.drain(..start);
        }
        let more = rows.len() > most;
        rows.truncate(most);
        let next = rows.last().filter(|_| more).map(|row| Cursor::after(self.name, &sort, key(row).to_vec()));
        Ok(Page { items: rows, next, total })
    }
}

/// Whether every word of `q` is in one of the texts, whatever the case.
pub(super) fn has_words(q: Option<&str>, texts: &[&str]) -> bool {
    let texts: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
    let found = |word: &str| texts.iter().any(|text| text.contains(word));
    q.unwrap_or_default().to_lowercase().split_whitespace().all(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: List = List { name: "numbers", fields: &["n"] };

    fn walk(sort: &str, count: u32) -> Vec<u32> {
        let mut asked = ListQuery { limit: Some(3), sort: Some(sort.into()), ..ListQuery::default() };
        let mut all = Vec::new();
        loop {
            // Two rows of every value: the id decides.
            let rows = (0..count).rev().collect();
            let page = LIST.page(rows, &asked, |n, _| [format!("{:04}", n / 2), format!("{n:04}")]).unwrap();
            assert_eq!(page.total, u64::from(count));
            all.extend(page.items);
            match page.next {
                Some(next) => asked.cursor = Some(next),
                None => return all,
            }
        }
    }

    #[test]
    fn pages_hold_every_row_once_in_order() {
        for count in [0, 1, 3, 6, 7, 10] {
            assert_eq!(walk("n", count), (0..count).collect::<Vec<_>>());
            assert_eq!(walk("-n", count), (0..count).rev().collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_word_must_be_found_somewhere() {
        assert!(has_words(None, &[]));
        assert!(has_words(Some("deck BRIDGE"), &["Bridge probe", "deck 7"]));
        assert!(!has_words(Some("deck 8"), &["Bridge probe", "deck 7"]));
    }
}
