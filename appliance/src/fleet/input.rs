//! What people type about vantages and scanners, and when it is refused.

use portolan_scanner::net::Ranges;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use crate::error::{Error, FieldError, Result};

/// A vantage to be made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVantage {
    /// What people call the place; unique.
    pub name: String,
    /// Anything worth knowing.
    #[serde(default)]
    pub note: String,
}

/// A vantage as it should be.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VantageEdit {
    /// What people call the place; unique.
    pub name: String,
    /// Anything worth knowing.
    #[serde(default)]
    pub note: String,
    /// The version that was read.
    pub version: i64,
}

/// A scanner to be added.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewScanner {
    /// What people call it; unique among scanners that are not revoked.
    pub name: String,
    /// The vantage it stands in.
    pub vantage: Uuid,
    /// Addresses, ranges and subnets its requests may come from; empty: any.
    #[serde(default)]
    pub binding: String,
    /// Anything worth knowing.
    #[serde(default)]
    pub note: String,
}

/// A scanner as it should be.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScannerEdit {
    /// What people call it; unique among scanners that are not revoked.
    pub name: String,
    /// The vantage it stands in.
    pub vantage: Uuid,
    /// Addresses, ranges and subnets its requests may come from; empty: any.
    #[serde(default)]
    pub binding: String,
    /// Anything worth knowing.
    #[serde(default)]
    pub note: String,
    /// The version that was read.
    pub version: i64,
}

const NAME_CHARS: usize = 100;
const NOTE_CHARS: usize = 2_000;
const BINDING_RANGES: usize = 256;

impl NewVantage {
    /// Name and note without the blanks around them.
    pub(super) fn checked(self) -> Result<Self> {
        let mut wrong = Wrong::default();
        let (name, note) = (wrong.name(&self.name), wrong.note(&self.note));
        wrong.none(Self { name, note })
    }
}

impl NewScanner {
    /// Name and note without the blanks around them, the binding in its one spelling.
    pub(super) fn checked(self) -> Result<Self> {
        let mut wrong = Wrong::default();
        let (name, note) = (wrong.name(&self.name), wrong.note(&self.note));
        let binding = wrong.binding(&self.binding);
        wrong.none(Self { name, note, binding, ..self })
    }
}

#[derive(Default)]
struct Wrong(Vec<FieldError>);

impl Wrong {
    fn say(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError { field: field.into(), message: message.into() });
    }

    fn name(&mut self, text: &str) -> String {
        let text = text.trim();
        if text.is_empty() {
            self.say("name", "must not be empty");
        } else if text.chars().count() > NAME_CHARS || text.chars().any(char::is_control) {
            self.say("name", format!("takes up to {NAME_CHARS} characters, in one line"));
        }
        text.to_owned()
    }

    fn note(&mut self, text: &str) -> String {
        let text = text.trim().replace("\r\n", "\n");
        let odd = |letter: char| letter.is_control() && letter != '\n' && letter != '\t';
        if text.chars().count() > NOTE_CHARS || text.chars().any(odd) {
            self.say("note", format!("takes up to {NOTE_CHARS} characters of text"));
        }
        text
    }

    fn binding(&mut self, text: &str) -> String {
        match Ranges::parse(text) {
            Ok(ranges) if ranges.iter().len() > BINDING_RANGES => {
                self.say("binding", format!("takes up to {BINDING_RANGES} separate ranges"));
                String::new()
            }
            Ok(ranges) => ranges.to_string(),
            Err(error) => {
                self.say("binding", error.to_string());
                String::new()
            }
        }
    }

    fn none<T>(self, value: T) -> Result<T> {
        if self.0.is_empty() { Ok(value) } else { Err(Error::Invalid(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanner(name: &str, binding: &str) -> Result<NewScanner> {
        let (name, binding) = (name.to_owned(), binding.to_owned());
        NewScanner { name, vantage: Uuid::nil(), binding, note: String::new() }.checked()
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let Err(Error::Invalid(fields)) = scanner(" \t", "10.0.0.0/33") else { panic!("taken") };
        let named: Vec<_> = fields.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(named, ["name", "binding"]);
        assert!(fields[1].message.contains("10.0.0.0/33"), "{}", fields[1].message);
    }

    #[test]
    fn a_binding_is_kept_in_its_one_spelling() {
        let new = scanner(" Deck 7 ", "10.0.0.1-10.0.0.2,10.0.0.0\n10.0.0.3").unwrap();
        assert_eq!((new.name.as_str(), new.binding.as_str()), ("Deck 7", "10.0.0.0/30"));
        assert_eq!(scanner("a", "  ").unwrap().binding, "");
    }
}
