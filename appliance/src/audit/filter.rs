//! Which entries are asked for, and how that is asked of SQLite: every value is a parameter, and the words of a search
//! are quoted, so that nobody's typing is ever read as SQL or as FTS5's query language.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rusqlite::types::Value as Sql;
use serde::{Deserialize, Serialize};

use super::{Class, Outcome};
use crate::clock::Timestamp;
use crate::error::Result;

/// Which entries are let through; what is absent lets everything through. Texts are never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The kind of entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// The actor's id, or its name in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// An action, or all of a family: `subnet.*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The kind of thing: `subnet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The thing itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Not before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Words that all stand somewhere in the entry; each may go on after its last letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
}

/// Conditions in SQL and their parameters.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    all: Vec<&'static str>,
    /// One for each `?`, in order.
    pub values: Vec<Sql>,
}

impl Conditions {
    /// One more, with its parameters.
    pub fn add<const N: usize>(&mut self, sql: &'static str, values: [Sql; N]) {
        self.all.push(sql);
        self.values.extend(values);
    }

    /// `WHERE …`, or nothing.
    pub fn sql(&self) -> String {
        if self.all.is_empty() { String::new() } else { format!("WHERE {}", self.all.join(" AND ")) }
    }
}

impl Filter {
    /// The conditions in SQL.
    pub(super) fn conditions(&self) -> Conditions {
        let mut all = Conditions::default();
        if let Some(class) = self.class {
            all.add("class = ?", [class.as_str().to_owned().into()]);
        }
        if let Some(actor) = &self.actor {
            // Ids are in lower case.
            let (id, name) = (actor.to_ascii_lowercase().into(), actor.clone().into());
            all.add("(actor_id = ? OR actor_name = ? COLLATE NOCASE)", [id, name]);
        }
        match self.action.as_deref().map(|action| action.strip_suffix('*').ok_or(action)) {
            // A range, as LIKE would not use the index: what begins with it stands before it with the last letter.
            Some(Ok(family)) => {
                all.add(
                    "action >= ? AND action < ?",
                    [family.to_owned().into(), format!("{family}\u{10ffff}").into()],
                );
            }
            Some(Err(action)) => all.add("action = ?", [action.to_owned().into()]),
            None => {}
        }
        if let Some(resource) = &self.resource {
            all.add("resource = ?", [resource.clone().into()]);
        }
        if let Some(id) = &self.resource_id {
            all.add("resource_id = ?", [id.clone().into()]);
        }
        if let Some(source) = self.source {
            all.add("source = ?", [source.to_canonical().to_string().into()]);
        }
        if let Some(outcome) = self.outcome {
            all.add("outcome = ?", [outcome.as_str().to_owned().into()]);
        }
        if let Some(from) = self.from {
            all.add("at >= ?", [from.micros().into()]);
        }
        if let Some(to) = self.to {
            all.add("at < ?", [to.micros().into()]);
        }
        if let Some(phrases) = self.q.as_deref().and_then(phrases) {
            let sql = "seq IN (SELECT rowid FROM audit_text WHERE audit_text MATCH ?)";
            all.add(sql, [phrases.into()]);
        }
        all
    }

    /// The list of exactly these entries.
    ///
    /// # Errors
    /// Never: each part of a filter is a text in JSON.
    pub fn path(&self) -> Result<String> {
        let parts: BTreeMap<String, String> = serde_json::from_value(serde_json::to_value(self)?)?;
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parts).finish();
        Ok(format!("/audit?{query}"))
    }

    /// Whether everything is let through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is typed as words, as FTS5 reads it: each word a quoted beginning of words that follow one another, all of them
/// wanted. None when there is no letter or digit in it.
pub fn phrases(q: &str) -> Option<String> {
    let quoted: Vec<String> = words(q).map(|word| format!("\"{}\"*", word.replace('"', "\"\""))).collect();
    (!quoted.is_empty()).then(|| quoted.join(" "))
}

/// The words of a search. A control character, NUL among them, parts words as a space does.
pub fn words(q: &str) -> impl Iterator<Item = &str> {
    q.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| word.contains(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_quoted_word_by_word() {
        assert_eq!(phrases("ada 10.0.0.7").unwrap(), r#""ada"* "10.0.0.7"*"#);
        assert_eq!(phrases(r#"NOT a" OR "b NEAR("#).unwrap(), r#""NOT"* "a"""* "OR"* """b"* "NEAR("*"#);
        assert_eq!(phrases("a\0b\tc").unwrap(), r#""a"* "b"* "c"*"#);
        for nothing in ["", "  ", "* -- ' \" %", "\0"] {
            assert_eq!(phrases(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn there_are_as_many_parameters_as_places_for_them() {
        let text = || Some("x.*".to_owned());
        let filter = Filter {
            class: Some(Class::Access),
            actor: text(),
            action: text(),
            resource: text(),
            resource_id: text(),
            source: Some([10, 0, 0, 7].into()),
            outcome: Some(Outcome::Done),
            from: Some(Timestamp::EPOCH),
            to: Some(Timestamp::EPOCH),
            q: text(),
        };
        let all = filter.conditions();
        assert_eq!(all.sql().matches('?').count(), all.values.len());
        assert_eq!(Filter::default().conditions().sql(), "");
        assert!(Filter::default().is_empty() && !filter.is_empty());
        let text = serde_json::to_string(&filter).unwrap();
        assert_eq!(serde_json::from_str::<Filter>(&text).unwrap(), filter);
    }
}
