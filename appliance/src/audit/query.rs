//! What a caller types to say which entries they want, read into a [`Filter`].

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::filter::{Filter, words};
use super::{Class, Outcome};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError, Result};

/// The most words that a search looks for, and bytes that a field takes.
const WORDS: usize = 16;
const BYTES: usize = 500;

/// A form that takes the filters of the audit, and the fields that are its own.
macro_rules! with_filters {
    ($(#[$about:meta])* $visible:vis struct $name:ident { $($(#[$each:meta])* $own:ident: $type:ty,)* }) => {
        $(#[$about])*
        $visible struct $name {
            /// Words that all stand somewhere in the entry; each may go on after its last letter.
            pub q: Option<String>,
            /// `change`, `sign-in` or `access`.
            pub class: Option<$crate::audit::Class>,
            /// The actor's id, or name in any case.
            pub actor: Option<String>,
            /// An action (`subnet.created`), or a family of them (`subnet.*`).
            pub action: Option<String>,
            /// The kind of thing: `subnet`.
            pub resource: Option<String>,
            /// The thing itself.
            pub resource_id: Option<String>,
            /// The address that the request came from.
            pub source: Option<String>,
            /// `done`, `refused` or `failed`.
            pub outcome: Option<$crate::audit::Outcome>,
            /// Not before this time or day (UTC).
            pub from: Option<String>,
            /// Before this time, or no later than this day (UTC).
            pub to: Option<String>,
            $($(#[$each])* pub $own: $type,)*
        }

        impl $name {
            /// The entries that are asked for.
            ///
            /// # Errors
            /// `Invalid`, with every field that is wrong.
            pub fn filter(&self) -> $crate::error::Result<$crate::audit::Filter> {
                $crate::audit::query::Asked {
                    q: self.q.as_deref(),
                    class: self.class,
                    actor: self.actor.as_deref(),
                    action: self.action.as_deref(),
                    resource: self.resource.as_deref(),
                    resource_id: self.resource_id.as_deref(),
                    source: self.source.as_deref(),
                    outcome: self.outcome,
                    from: self.from.as_deref(),
                    to: self.to.as_deref(),
                }
                .filter()
            }
        }
    };
}
pub(super) use with_filters;

with_filters! {
    /// What the list of entries takes.
    #[derive(Debug, Default, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct AuditQuery {
        /// `-seq` (newest first) or `seq`.
        sort: Option<String>,
        /// Rows an answer holds, 1 to 500; 50 when absent.
        limit: Option<u32>,
        /// Where the last page ended.
        cursor: Option<String>,
    }
}

/// What was typed into the filters.
pub(super) struct Asked<'a> {
    pub q: Option<&'a str>,
    pub class: Option<Class>,
    pub actor: Option<&'a str>,
    pub action: Option<&'a str>,
    pub resource: Option<&'a str>,
    pub resource_id: Option<&'a str>,
    pub source: Option<&'a str>,
    pub outcome: Option<Outcome>,
    pub from: Option<&'a str>,
    pub to: Option<&'a str>,
}

impl Asked<'_> {
    /// Reads them.
    pub fn filter(&self) -> Result<Filter> {
        let mut wrong = Vec::new();
        let mut text = |field: &str, value: Option<&str>| {
            let value = value.map(str::trim).filter(|value| !value.is_empty())?;
            if value.len() > BYTES {
                wrong.push(refused(field, format!("takes at most {BYTES} bytes")));
                return None;
            }
            Some(value.to_owned())
        };
        let (q, source) = (text("q", self.q), text("source", self.source));
        let (from, to) = (text("from", self.from), text("to", self.to));
        let (actor, action) = (text("actor", self.actor), text("action", self.action));
        let (resource, resource_id) =
            (text("resource", self.resource), text("resource_id", self.resource_id));
        match q.as_deref().map(|q| words(q).count()) {
            Some(0) => wrong.push(refused("q", "search for words: letters or digits")),
            Some(many) if many > WORDS => wrong.push(refused("q", format!("takes at most {WORDS} words"))),
            _ => {}
        }
        let source = source.and_then(|text| {
            let read = text.parse().map_err(|_| {
                wrong.push(refused(
                    "source",
                    format!("\"{text}\" is not an address: write one like 10.0.0.7"),
                ));
            });
            read.ok()
        });
        let mut time = |field: &str, text: Option<String>| {
            let read = moment(&text?).ok_or_else(|| {
                let sentence = "write a day like 2026-11-22 or a time like 2026-11-22T10:00:00Z";
                wrong.push(refused(field, sentence));
            });
            read.ok()
        };
        let (from, to) = (time("from", from), time("to", to));
        let filter = Filter {
            class: self.class,
            actor,
            action,
            resource,
            resource_id,
            source,
            outcome: self.outcome,
            from: from.map(|(first, _)| first),
            to: to.map(|(_, end)| end),
            q,
        };
        if wrong.is_empty() { Ok(filter) } else { Err(Error::Invalid(wrong)) }
    }
}

fn refused(field: &str, message: impl Into<String>) -> FieldError {
    FieldError { field: field.to_owned(), message: message.into() }
}

/// A time is a moment; a day is from its start to the next one's. A form's field gives a time without seconds and
/// zone: it is UTC, as every time here.
fn moment(text: &str) -> Option<(Timestamp, Timestamp)> {
    let read = |text: &str| Timestamp::parse(text).ok();
    match text.len() {
        10 => read(&format!("{text}T00:00:00Z")).map(|start| (start, start + Duration::from_hours(24))),
        16 => read(&format!("{text}:00Z")).map(|at| (at, at)),
        _ => read(text).map(|at| (at, at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_reaches_to_its_end_and_a_time_is_itself() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let (start, end) = moment("2026-11-22").unwrap();
        assert_eq!((start, end), (at("2026-11-22T00:00:00Z"), at("2026-11-23T00:00:00Z")));
        for same in ["2026-11-22T10:00", "2026-11-22T10:00:00Z", "2026-11-22T11:00:00+01:00"] {
            assert_eq!(
                moment(same),
                Some((at("2026-11-22T10:00:00Z"), at("2026-11-22T10:00:00Z"))),
                "{same}"
            );
        }
        for bad in ["", "yesterday!", "2026-13-01", "yesterday", "2026-11-22 10:00h"] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_field_that_is_wrong_is_named_and_what_is_empty_is_not_asked() {
        let some = |text: &str| Some(text.to_owned());
        let long = || Some("a".repeat(501));
        let bad = AuditQuery {
            q: some("' -- %"),
            actor: long(),
            action: long(),
            resource: long(),
            resource_id: long(),
            source: some("10.0.0.0/8"),
            from: some("x"),
            to: some("y"),
            ..AuditQuery::default()
        };
        let Err(Error::Invalid(fields)) = bad.filter() else { panic!("it was taken") };
        let fields: Vec<&str> = fields.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["actor", "action", "resource", "resource_id", "q", "source", "from", "to"]);
        let empty = AuditQuery { q: some(" "), actor: some(""), from: some(""), ..AuditQuery::default() };
        assert!(empty.filter().unwrap().is_empty());
        let many = AuditQuery { q: some(&"a ".repeat(17)), ..AuditQuery::default() };
        assert!(many.filter().is_err());
    }
}
