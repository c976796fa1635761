//! What changed between two values, field by field, with secrets masked.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Stands where a secret was.
const MASK: &str = "(secret)";

/// One field that differs. A side that is absent was not there at all, which is not the same as null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The field's path: `timing.rate`. Empty when the whole value is not an object.
    pub field: String,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub before: Option<Value>,
    /// What it is now.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub after: Option<Value>,
}

/// A null that is written is a value; only a missing field is `None`.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The fields in which two values differ, ascending by path. Objects are compared field by field, lists as a
/// whole. Pass [`Value::Null`] for a side that does not exist. Secret fields are compared, then masked.
#[must_use]
pub fn diff(before: &Value, after: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    let side = |value: &Value| (!value.is_null()).then(|| value.clone());
    compare(String::new(), side(before), side(after), false, &mut changes);
    changes
}

fn compare(
    field: String,
    before: Option<Value>,
    after: Option<Value>,
    secret: bool,
    changes: &mut Vec<Change>,
) {
    if before == after {
        return;
    }
    let fields: Option<BTreeSet<String>> = match (&before, &after) {
        (Some(Value::Object(b)), Some(Value::Object(a))) => Some(b.keys().chain(a.keys()).cloned().collect()),
        (Some(Value::Object(one)), None) | (None, Some(Value::Object(one))) if !one.is_empty() => {
            Some(one.keys().cloned().collect())
        }
        _ => None,
    };
    let Some(fields) = fields.filter(|_| !secret) else {
        let shown = |value: Value| if secret { mask(value) } else { masked(value) };
        changes.push(Change { field, before: before.map(shown), after: after.map(shown) });
        return;
    };
    for name in fields {
        let of = |value: &Option<Value>| value.as_ref().and_then(|v| v.get(&name)).cloned();
        let path = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
        compare(path, of(&before), of(&after), is_secret(&name), changes);
    }
}

/// The value with every secret field in it masked.
#[must_use]
pub fn masked(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let value = if is_secret(&name) { mask(value) } else { masked(value) };
                (name, value)
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        plain => plain,
    }
}

/// Whether there is a secret at all may be seen: null and yes-or-no stay.
fn mask(value: Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value,
        _ => Value::String(MASK.into()),
    }
}

/// Whether a field of this name holds a secret. Times and identifiers of secrets are none.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words: Vec<&str> =
        name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    if matches!(words.last(), Some(&("at" | "id" | "name" | "count" | "sha256"))) {
        return false;
    }
    let word = |w: &&str| {
        matches!(
            *w,
            "password" | "passphrase" | "secret" | "secrets" | "token" | "credential" | "credentials"
        )
    };
    let key = words.windows(2).any(|pair| {
        matches!(pair, [kind, "key" | "keys"] if matches!(*kind, "api" | "private" | "master" | "signing" | "secret"))
    });
    words.iter().any(word) || key
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(field: &str, before: Option<Value>, after: Option<Value>) -> Change {
        Change { field: field.into(), before, after }
    }

    #[test]
    fn only_the_fields_that_differ_are_named() {
        let before =
            json!({ "name": "a", "ports": [1, 2], "timing": { "rate": 1, "preset": "fast" }, "old": null });
        let after = json!({ "name": "a", "ports": [1], "timing": { "rate": 2, "preset": "fast" }, "new": 1 });
        assert_eq!(
            diff(&before, &after),
            [
                change("new", None, Some(json!(1))),
                change("old", Some(json!(null)), None),
                change("ports", Some(json!([1, 2])), Some(json!([1]))),
                change("timing.rate", Some(json!(1)), Some(json!(2))),
            ]
        );
    }

    #[test]
    fn a_creation_lists_every_field_and_equal_values_list_none() {
        let value = json!({ "name": "a", "range": { "first": 1 } });
        let fields: Vec<_> = diff(&Value::Null, &value).into_iter().map(|c| c.field).collect();
        assert_eq!(fields, ["name", "range.first"]);
        assert_eq!(diff(&value, &value), []);
    }

    #[test]
    fn a_secret_shows_that_it_changed_and_never_what_it_is() {
        let changes =
            diff(&json!({ "smtp": { "password": "old" } }), &json!({ "smtp": { "password": "new" } }));
        assert_eq!(changes, [change("smtp.password", Some(json!(MASK)), Some(json!(MASK)))]);
        let nested = json!({ "channels": [{ "api_key": "k", "secrets": { "x": "k" } }], "private-key": "k" });
        for text in [
            serde_json::to_string(&diff(&Value::Null, &nested)).unwrap(),
            serde_json::to_string(&masked(nested)).unwrap(),
        ] {
            assert!(!text.contains(r#""k""#), "{text}");
        }
    }

    #[test]
    fn what_only_sounds_secret_is_shown() {
        for name in ["public_key", "token_expires_at", "api_key_sha256", "key", "keyboard"] {
            assert!(!is_secret(name), "{name}");
        }
        for name in
            ["password", "password_hash", "Client-Secret", "enrolment_token", "api_key", "signing_key"]
        {
            assert!(is_secret(name), "{name}");
        }
    }

    #[test]
    fn an_absent_side_and_a_null_side_read_back_as_they_were() {
        for one in [change("a", None, Some(json!(null))), change("a", Some(json!(null)), None)] {
            let text = serde_json::to_string(&one).unwrap();
            assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), one);
        }
    }
}
