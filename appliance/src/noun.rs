//! What the nouns of the configuration share: a name and a note, refusals gathered field by field, versions, and
//! links between them. `CONTRIBUTING.md` has the checklist of a new noun.

mod rows;

use std::fmt::Display;

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::audit::Entry;
use crate::clock::Timestamp;
use crate::error::{Error, FieldError, Result};

pub use rows::{Does, Noun, Words, edit_page, rows};

/// The most characters of a name.
pub const NAME_MAX: usize = 100;
/// The most characters of a note.
pub const NOTE_MAX: usize = 2_000;

/// A thing as it is kept: what its owner decides (`fields`, which is also what the audit tells of), and the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<F> {
    /// Its id.
    pub id: Uuid,
    /// What its owner decides.
    pub fields: F,
    /// Counts its changes, from 1.
    pub version: i64,
    /// When it was made or last changed.
    pub updated_at: Timestamp,
}

impl<F> Kept<F> {
    /// Reads the columns that every noun's table has, and the fields by `fields`.
    ///
    /// # Errors
    /// When a column is missing or holds something else.
    pub fn read(row: &Row, fields: impl FnOnce(&Row) -> rusqlite::Result<F>) -> rusqlite::Result<Self> {
        let Key(id) = row.get("id")?;
        let (version, updated_at) = (row.get("version")?, row.get("updated_at")?);
        Ok(Self { id, fields: fields(row)?, version, updated_at })
    }
}

impl<F: PartialEq + Serialize> Kept<F> {
    /// Changes it to `fields` by `write`, and gives the entry that tells of it. Where `fields` are what is there
    /// already, nothing is written and nothing told: a form that was sent twice is answered like the first.
    ///
    /// # Errors
    /// As [`based_on`], and what `write` returns.
    pub fn change(
        &self,
        resource: &str,
        version: Option<i64>,
        fields: &F,
        write: impl FnOnce() -> Result<()>,
    ) -> Result<Vec<Entry>> {
        if version.is_some() && self.fields == *fields {
            return Ok(vec![]);
        }
        based_on(version, self.version)?;
        write()?;
        Ok(vec![Entry::updated(resource, self.id, &self.fields, fields)])
    }
}

/// What a deletion may say: the version it is based on.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    /// The version that was read; another one there is not deleted.
    #[serde(default)]
    pub version: Option<i64>,
}

/// A deletion's page: the thing, and what keeps it from being deleted.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DeletePage<T> {
    /// The thing.
    pub item: T,
    /// Who uses it; with any, it cannot be deleted.
    pub in_use: Vec<Use>,
}

/// A form's page.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EditPage<T> {
    /// The thing as it is; none for a new one.
    pub item: Option<T>,
}

/// Another thing, by its id and its name as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Link {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
}

/// What uses a thing, and so keeps it from being deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Use {
    /// Its id.
    pub id: Uuid,
    /// Its page.
    pub path: String,
    /// Its name.
    pub name: String,
    /// What it is, in a word: `template`.
    pub kind: &'static str,
}

/// Refuses to delete `what` while anything uses it, naming all that do.
///
/// # Errors
/// [`Error::InUse`].
pub fn unused(what: &str, name: &str, uses: &[Use]) -> Result<()> {
    if uses.is_empty() {
        return Ok(());
    }
    let by = uses.iter().map(|user| format!("the {} “{}”", user.kind, user.name)).collect();
    Err(Error::in_use(format!("{what} “{name}”"), by))
}

/// What is wrong with an input, gathered so that the caller hears all of it at once.
#[derive(Debug, Default)]
pub struct Refusals(Vec<FieldError>);

impl Refusals {
    /// Nothing is wrong yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses this field.
    pub fn say(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError { field: field.to_owned(), message: message.into() });
    }

    /// The value, or nothing after its refusal was noted.
    pub fn take<T, E: Display>(&mut self, field: &str, read: std::result::Result<T, E>) -> Option<T> {
        read.map_err(|error| self.say(field, error.to_string())).ok()
    }

    /// A name: 1 to [`NAME_MAX`] visible characters in one line, white space around it taken off.
    pub fn name(&mut self, typed: &str) -> String {
        self.line("name", typed, NAME_MAX)
    }

    /// A line that must be there: 1 to `most` visible characters, white space around it taken off.
    pub fn line(&mut self, field: &str, typed: &str, most: usize) -> String {
        let line = typed.trim();
        if line.is_empty() {
            self.say(field, format!("a {field} is needed"));
        } else if line.chars().count() > most {
            self.say(field, format!("a {field} has at most {most} characters"));
        } else if line.contains(|letter: char| letter.is_control() || unseen(letter)) {
            self.say(field, format!("a {field} is one line of visible characters"));
        }
        line.to_owned()
    }

    /// A note: at most [`NOTE_MAX`] characters, lines allowed, other control characters not.
    pub fn note(&mut self, typed: &str) -> String {
        let note = typed.replace("\r\n", "\n").trim().to_owned();
        if note.chars().count() > NOTE_MAX {
            self.say("note", format!("a note has at most {NOTE_MAX} characters"));
        } else if note.contains(|letter: char| {
            letter.is_control() && letter != '\n' && letter != '\t' || unseen(letter)
        }) {
            self.say("note", "a note is plain text");
        }
        note
    }

    /// The value, when nothing was refused: neither it nor anything beside it.
    ///
    /// # Errors
    /// [`Error::Invalid`] with everything that was.
    pub fn end_with<T>(self, value: Option<T>) -> Result<T> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Error::Invalid(self.0)),
        }
    }

    /// Nothing was refused.
    ///
    /// # Errors
    /// [`Error::Invalid`] with everything that was.
    pub fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}

/// Characters that show nothing and make a text look like another: zero width, and those that turn its direction.
/// The joiners (U+200C, U+200D) stay: some scripts are written with them.
fn unseen(letter: char) -> bool {
    matches!(letter, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The version that a change of an existing thing is based on.
///
/// # Errors
/// [`Error::Invalid`] on `version` when the caller named none, [`Error::Stale`] when another is there `now`.
pub fn based_on(version: Option<i64>, now: i64) -> Result<()> {
    match version {
        None => Err(Error::invalid(
            "version",
            "the version that was read is needed: If-Match in JSON, the field version in a form",
        )),
        Some(version) if version == now => Ok(()),
        Some(_) => Err(Error::Stale),
    }
}

/// As [`based_on`], for a deletion, which may leave the version out.
///
/// # Errors
/// [`Error::Stale`] when a version was named and another is there `now`.
pub fn if_based_on(version: Option<i64>, now: i64) -> Result<()> {
    version.map_or(Ok(()), |version| based_on(Some(version), now))
}

/// A thing that is made has no version yet.
///
/// # Errors
/// [`Error::Invalid`] on `version` when the caller named one.
pub fn not_yet(version: Option<i64>) -> Result<()> {
    match version {
        None => Ok(()),
        Some(_) => Err(Error::invalid("version", "what is not made yet has no version: leave it out")),
    }
}

/// For `#[serde(serialize_with)]`: a value as the text it displays as.
///
/// # Errors
/// The serializer's.
pub fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// An id as SQL keeps it: lower-case text with hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub Uuid);

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

impl FromSql for Key {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Uuid::try_parse(value.as_str()?).map(Self).map_err(FromSqlError::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(refusals: Refusals) -> Vec<String> {
        match refusals.end() {
            Err(Error::Invalid(fields)) => fields.into_iter().map(|field| field.field).collect(),
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn every_refused_field_is_told_at_once() {
        let mut refusals = Refusals::new();
        refusals.name("  ");
        refusals.note("a\u{0}");
        let none: Option<u8> = refusals.take("port", "x".parse::<u8>());
        assert_eq!((none, fields(refusals)), (None, ["name", "note", "port"].map(String::from).to_vec()));
    }

    #[test]
    fn a_name_and_a_note_are_kept_without_the_white_space_around_them() {
        let mut refusals = Refusals::new();
        assert_eq!(refusals.name(" Plant A\t"), "Plant A");
        assert_eq!(refusals.note("one\r\ntwo\n"), "one\ntwo");
        refusals.end().unwrap();
        for bad in [&"x".repeat(NAME_MAX + 1), "two\nlines", "bell\u{7}", "abc\u{202e}def", "a\u{200b}b"] {
            let mut refusals = Refusals::new();
            refusals.name(bad);
            assert_eq!(fields(refusals), ["name"], "{bad:?}");
        }
    }

    #[test]
    fn a_change_names_the_version_it_is_based_on() {
        based_on(Some(3), 3).unwrap();
        assert!(matches!(based_on(Some(2), 3), Err(Error::Stale)));
        assert!(matches!(based_on(None, 3), Err(Error::Invalid(_))));
        assert!(matches!(if_based_on(Some(2), 3), Err(Error::Stale)));
        if_based_on(None, 3).unwrap();
        assert!(matches!(not_yet(Some(1)), Err(Error::Invalid(_))));
    }

    #[test]
    fn a_change_that_is_there_already_writes_nothing_whatever_its_version() {
        let kept = Kept { id: Uuid::nil(), fields: "a", version: 2, updated_at: Timestamp::EPOCH };
        let never = || panic!("written");
        assert_eq!(kept.change("thing", Some(1), &"a", never).unwrap(), []);
        assert!(matches!(kept.change("thing", Some(1), &"b", never), Err(Error::Stale)));
        assert!(matches!(kept.change("thing", None, &"a", never), Err(Error::Invalid(_))));
        assert_eq!(kept.change("thing", Some(2), &"b", || Ok(())).unwrap().len(), 1);
    }

    #[test]
    fn what_is_in_use_says_by_whom() {
        unused("subnet", "Plant A", &[]).unwrap();
        let by =
            Use { id: Uuid::nil(), path: "/templates/1".into(), name: "Weekly".into(), kind: "template" };
        let said = unused("subnet", "Plant A", &[by]).unwrap_err().to_string();
        assert_eq!(said, "subnet “Plant A” is used by the template “Weekly”");
    }
}
