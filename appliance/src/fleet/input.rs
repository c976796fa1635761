//! What people type about vantages and scanners, and when it is refused.

use portolan_scanner::net::Ranges;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::noun::Refusals;

/// A vantage as it should be.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VantageInput {
    /// What people call the place; unique.
    pub name: String,
    /// Anything worth knowing.
    #[serde(default)]
    pub note: String,
    /// On a change: the version that was read.
    pub version: Option<i64>,
}

/// A scanner as it should be.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScannerInput {
    /// What people call it; unique among scanners that are not revoked.
    pub name: String,
    /// The vantage it stands in.
    #[serde(deserialize_with = "chosen")]
    pub vantage: Uuid,
    /// Addresses, ranges and subnets its requests may come from; empty: any.
    #[serde(default)]
    pub binding: String,
    /// Anything worth knowing.
    #[serde(default)]
    pub note: String,
    /// On a change: the version that was read.
    pub version: Option<i64>,
}

/// The most separate ranges of a binding.
const BINDING_RANGES: usize = 256;

impl VantageInput {
    /// Name and note as they are kept.
    pub(super) fn checked(self) -> Result<Self> {
        let mut refusals = Refusals::new();
        let (name, note) = (refusals.name(&self.name), refusals.note(&self.note));
        refusals.end().map(|()| Self { name, note, ..self })
    }
}

impl ScannerInput {
    /// Name and note as they are kept, the binding in its one spelling.
    pub(super) fn checked(self) -> Result<Self> {
        let mut refusals = Refusals::new();
        let (name, note) = (refusals.name(&self.name), refusals.note(&self.note));
        let ranges = refusals.take("binding", Ranges::parse(&self.binding)).unwrap_or_default();
        if ranges.iter().len() > BINDING_RANGES {
            refusals.say("binding", format!("takes at most {BINDING_RANGES} separate ranges"));
        }
        refusals.end().map(|()| Self { name, note, binding: ranges.to_string(), ..self })
    }
}

fn chosen<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Uuid, D::Error> {
    let typed = String::deserialize(deserializer)?;
    Uuid::try_parse(&typed).map_err(|_| serde::de::Error::custom("choose a vantage"))
}

/// There is no such vantage.
pub(super) fn no_vantage() -> Error {
    Error::invalid("vantage", "there is no such vantage")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanner(name: &str, binding: &str) -> Result<ScannerInput> {
        ScannerInput { name: name.into(), binding: binding.into(), ..ScannerInput::default() }.checked()
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
        let kept = scanner(" Deck 7 ", "10.0.0.1-10.0.0.2,10.0.0.0\n10.0.0.3").unwrap();
        assert_eq!((kept.name.as_str(), kept.binding.as_str()), ("Deck 7", "10.0.0.0/30"));
        assert_eq!(scanner("a", "  ").unwrap().binding, "");
    }
}
