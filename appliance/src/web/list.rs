//! Lists: what every one of them takes (search, sort, limit, cursor) and gives (items, the next cursor, a total).

use crate::error::Error;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most rows one answer holds.
pub const MAX_LIMIT: u32 = 500;
/// Rows an answer holds when nothing is said.
pub const DEFAULT_LIMIT: u32 = 50;

/// One page of a list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Give this back as `cursor` for the rows that follow; none on the last page.
    pub next: Option<String>,
    /// How many rows the filters let through in all.
    pub total: u64,
}

impl<T> Page<T> {
    /// The same page of what `f` makes of its rows.
    ///
    /// # Errors
    /// The first of `f`.
    pub fn try_map<U>(self, f: impl FnMut(T) -> Result<U, Error>) -> Result<Page<U>, Error> {
        let items = self.items.into_iter().map(f).collect::<Result<_, _>>()?;
        Ok(Page { items, next: self.next, total: self.total })
    }
}

/// What every list takes; a list with filters repeats these fields beside its own.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Words to look for.
    pub q: Option<String>,
    /// The field to sort by; `-` in front turns it round.
    pub sort: Option<String>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// How a list is ordered: by a field it names, then by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The field; one of those the list allows.
    pub field: &'static str,
    /// Highest first.
    pub descending: bool,
}

impl Sort {
    /// The order that `text` asks for; the first of `fields` when it is absent or empty.
    ///
    /// # Errors
    /// `Invalid("sort")` for a field the list does not sort by.
    ///
    /// # Panics
    /// Never with a non-empty `fields`, which every list gives as a constant.
    pub fn parse(text: Option<&str>, fields: &[&'static str]) -> Result<Self, Error> {
        let text = text.filter(|text| !text.is_empty()).unwrap_or(fields[0]);
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let field = fields.iter().find(|field| **field == name).ok_or_else(|| {
            Error::invalid("sort", format!("\"{name}\" is not one of {}", fields.join(", ")))
        })?;
        Ok(Self { field, descending })
    }
}

/// The rows an answer holds.
///
/// # Errors
/// `Invalid("limit")` outside 1 to 500.
pub fn limit(asked: Option<u32>) -> Result<u32, Error> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        other => Err(Error::invalid("limit", format!("{other} is not between 1 and {MAX_LIMIT}"))),
    }
}

/// Where a page ended: the list, its order, and the last row's key in that order. Opaque to a caller.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Cursor {
    list: String,
    order: String,
    /// The last row's value of the sorted field, then its id.
    pub after: Vec<String>,
}

impl Cursor {
    /// The cursor of `list` in the order `sort`, after the row with this key.
    #[must_use]
    pub fn after(list: &str, sort: &Sort, key: Vec<String>) -> String {
        let cursor = Self { list: list.to_owned(), order: sort.text(), after: key };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).expect("strings alone always serialise"))
    }

    /// Reads a cursor of this very list and order, whose key has `parts` parts.
    ///
    /// # Errors
    /// `Invalid("cursor")` for garbage, and for a cursor of another list or order.
    pub fn read(text: &str, list: &str, sort: &Sort, parts: usize) -> Result<Vec<String>, Error> {
        let bytes = if text.len() > 2048 { None } else { URL_SAFE_NO_PAD.decode(text).ok() };
        let cursor: Self = bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| Error::invalid("cursor", "is not a cursor that this site gave"))?;
        if cursor.list != list || cursor.order != sort.text() || cursor.after.len() != parts {
            return Err(Error::invalid(
                "cursor",
                "belongs to another list or another order: start without it",
            ));
        }
        Ok(cursor.after)
    }
}

impl Sort {
    /// As it stands in a URL.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", if self.descending { "-" } else { "" }, self.field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_by_its_own_list_and_order_alone() {
        let sort = Sort::parse(Some("-name"), &["id", "name"]).unwrap();
        let text = Cursor::after("subnets", &sort, vec!["b".into(), "7".into()]);
        assert_eq!(Cursor::read(&text, "subnets", &sort, 2).unwrap(), ["b", "7"]);
        assert!(Cursor::read(&text, "scanners", &sort, 2).is_err());
        assert!(Cursor::read(&text, "subnets", &Sort { field: "id", descending: true }, 2).is_err());
        assert!(Cursor::read("&&", "subnets", &sort, 2).is_err());
        assert!(Cursor::read(&"A".repeat(5000), "subnets", &sort, 2).is_err());
    }

    #[test]
    fn a_limit_and_a_sort_stay_within_what_the_list_allows() {
        assert_eq!(limit(None).unwrap(), DEFAULT_LIMIT);
        assert!(limit(Some(0)).is_err());
        assert!(limit(Some(501)).is_err());
        assert!(Sort::parse(Some("password"), &["id"]).is_err());
    }
}
