//! Input: a query, a form or JSON becomes one map, shaped by the schema of the type that the handler takes.
//!
//! A form knows only text. What the type's schema calls an integer, a boolean or a list is read as one, so a form
//! and a script are checked by the same strict type. What cannot be read stays text, and the type refuses it by name.

use crate::error::Error;
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The input of a handler that takes none: any field is refused.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoInput {}

/// What a field's text may become.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Boolean,
    List(Box<Kind>),
}

/// The fields of an input type, as far as reading text needs to know.
#[derive(Debug, Default)]
pub(super) struct Shape {
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    name: String,
    kind: Kind,
    optional: bool,
    secret: bool,
}

impl Shape {
    pub fn of<T: JsonSchema>() -> Self {
        let mut generator = SchemaGenerator::default();
        let root = generator.root_schema_for::<T>().to_value();
        let definitions = root.get("$defs").cloned().unwrap_or(Value::Null);
        let Some(Value::Object(properties)) = root.get("properties") else { return Self::default() };
        let fields = properties
            .iter()
            .map(|(name, schema)| Field {
                name: name.clone(),
                kind: kind(schema, &definitions, 0),
                optional: is_nullable(schema),
                secret: schema.get("format").and_then(Value::as_str) == Some("password"),
            })
            .collect();
        Self { fields }
    }

    /// Whether the type has this field.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name)
    }

    /// The pairs of a form or a query as the JSON that the type reads; repeated fields are kept.
    pub fn read(&self, pairs: &[(String, String)]) -> Result<Value, Error> {
        let mut map = Map::new();
        for (name, text) in pairs {
            let field = self.fields.iter().find(|field| field.name == *name);
            match field {
                Some(Field { kind: Kind::List(item), .. }) => {
                    if let Value::Array(items) =
                        map.entry(name.clone()).or_insert_with(|| Value::Array(vec![]))
                        && !text.is_empty()
                    {
                        items.push(scalar(item, text));
                    }
                }
                _ if map.contains_key(name) => {
                    return Err(Error::invalid(name.clone(), "is given more than once".to_owned()));
                }
                Some(field) if field.optional && text.is_empty() => {
                    map.insert(name.clone(), Value::Null);
                }
                Some(field) => {
                    map.insert(name.clone(), scalar(&field.kind, text));
                }
                None => {
                    map.insert(name.clone(), Value::String(text.clone()));
                }
            }
        }
        Ok(Value::Object(map))
    }

    /// What was typed, to fill the form again: secrets are left out.
    pub fn typed(&self, pairs: &[(String, String)]) -> Value {
        let mut map = Map::new();
        for (name, text) in pairs {
            let field = self.fields.iter().find(|field| field.name == *name);
            match field {
                Some(field) if field.secret => {}
                Some(Field { kind: Kind::List(_), .. }) => {
                    if let Value::Array(items) =
                        map.entry(name.clone()).or_insert_with(|| Value::Array(vec![]))
                    {
                        items.push(Value::String(text.clone()));
                    }
                }
                Some(_) => {
                    map.insert(name.clone(), Value::String(text.clone()));
                }
                None => {}
            }
        }
        Value::Object(map)
    }

    /// The fields whose values never go into a log.
    #[cfg(test)]
    fn secrets(&self) -> Vec<&str> {
        self.fields.iter().filter(|field| field.secret).map(|field| field.name.as_str()).collect()
    }
}

/// Pairs from `application/x-www-form-urlencoded` text; a form sends at most 10,000 fields. `part` is
/// what a refusal names: `body` or `query`.
pub(super) fn pairs(part: &str, text: &[u8]) -> Result<Vec<(String, String)>, Error> {
    if std::str::from_utf8(text).is_err() {
        return Err(Error::invalid(part, "is not valid UTF-8"));
    }
    let pairs: Vec<(String, String)> = form_urlencoded::parse(text).into_owned().take(10_001).collect();
    if pairs.len() > 10_000 {
        return Err(Error::TooLarge);
    }
    if pairs.iter().any(|(key, value)| key.contains('\u{fffd}') || value.contains('\u{fffd}')) {
        return Err(Error::invalid(part, "is not valid UTF-8"));
    }
    Ok(pairs)
}

/// A JSON body. A key that stands twice is refused: whoever looks at it could take another value than is taken here.
pub(super) fn json(bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice::<Once>(bytes)
        .map(|Once(value)| value)
        .map_err(|error| Error::invalid("body", format!("is not valid JSON: {error}")))
}

/// A value in which no object has a key twice.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Self)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Once(value))) = entries.next_entry::<String, Once>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {key:?} stands twice")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// The typed input, or an error that names the field.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let message = error.inner().to_string();
        let said = plain(&message);
        let field = match path.as_str() {
            "." => quoted(&message).unwrap_or("body").to_owned(),
            _ => path,
        };
        Error::invalid(field, said)
    })
}

/// What serde says of a value, for a person.
fn plain(message: &str) -> String {
    let between = |from: &str, to: &str| {
        let rest = message.strip_prefix(from)?;
        rest.split_once(to)
    };
    if let Some((typed, wanted)) = between("invalid type: string \"", "\", expected ") {
        let what = match wanted {
            "a boolean" => "neither true nor false",
            wanted if wanted.starts_with(['u', 'i']) && wanted[1..].parse::<u8>().is_ok() => {
                "not a whole number"
            }
            _ => return message.to_owned(),
        };
        return format!("“{typed}” is {what}");
    }
    if let Some((typed, wanted)) = between("invalid value: integer `", "`, expected ") {
        return match wanted {
            "u16" => format!("{typed} is not between 0 and 65535"),
            "u32" => format!("{typed} is not between 0 and 4294967295"),
            _ => message.to_owned(),
        };
    }
    if let Some((typed, wanted)) = between("unknown variant `", "`, expected ") {
        return format!(
            "“{typed}” is not known here: {}",
            wanted.trim_start_matches("one of ").replace('`', "")
        );
    }
    if message.starts_with("UUID parsing failed") {
        return "is not an id (a UUID)".to_owned();
    }
    message.to_owned()
}

/// The name between backticks in serde's words for a missing or unknown field.
fn quoted(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("missing field `").or_else(|| message.strip_prefix("unknown field `"))?;
    rest.split('`').next()
}

fn scalar(kind: &Kind, text: &str) -> Value {
    match kind {
        Kind::Integer => text
            .trim()
            .parse::<i64>()
            .map_or_else(|_| Value::String(text.to_owned()), |number| Value::Number(number.into())),
        Kind::Boolean => match text {
            "on" | "true" | "yes" | "1" => Value::Bool(true),
            "off" | "false" | "no" | "0" | "" => Value::Bool(false),
            _ => Value::String(text.to_owned()),
        },
        Kind::Text | Kind::List(_) => Value::String(text.to_owned()),
    }
}

fn kind(schema: &Value, definitions: &Value, depth: u8) -> Kind {
    if depth > 8 {
        return Kind::Text;
    }
    if let Some(name) =
        schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"))
    {
        return definitions.get(name).map_or(Kind::Text, |schema| kind(schema, definitions, depth + 1));
    }
    if let Some(Value::Array(any)) = schema.get("anyOf") {
        let some = any.iter().find(|schema| schema.get("type").and_then(Value::as_str) != Some("null"));
        return some.map_or(Kind::Text, |schema| kind(schema, definitions, depth + 1));
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    if types.contains(&"integer") {
        Kind::Integer
    } else if types.contains(&"boolean") {
        Kind::Boolean
    } else if types.contains(&"array") {
        let item = schema.get("items").map_or(Kind::Text, |items| kind(items, definitions, depth + 1));
        Kind::List(Box::new(item))
    } else {
        Kind::Text
    }
}

fn is_nullable(schema: &Value) -> bool {
    let null = |value: &Value| value.as_str() == Some("null");
    match (schema.get("type"), schema.get("anyOf")) {
        (Some(Value::Array(types)), _) => types.iter().any(null),
        (_, Some(Value::Array(any))) => any.iter().any(|schema| schema.get("type").is_some_and(null)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[schemars(extend("format" = "password"))]
        password: Option<String>,
        rate: Option<u32>,
        #[serde(default)]
        on: bool,
        #[serde(default)]
        subnets: Vec<uuid::Uuid>,
        #[serde(default)]
        numbers: Vec<u16>,
    }

    fn read(form: &str) -> Result<Sample, Error> {
        let shape = Shape::of::<Sample>();
        typed(shape.read(&pairs("body", form.as_bytes())?)?)
    }

    fn field(error: Error) -> String {
        match error {
            Error::Invalid(fields) => fields[0].field.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_wherever_it_stands() {
        let good = br#" {"a": [null, true, -1, 18446744073709551615, 1.5, "x"], "b": {"a": {}}} "#;
        assert_eq!(json(good).unwrap(), serde_json::from_slice::<Value>(good).unwrap());
        for bad in [r#"{"a": 1, "a": 1}"#, r#"{"x": [{"a": 1, "\u0061": 2}]}"#] {
            let Err(Error::Invalid(fields)) = json(bad.as_bytes()) else { panic!("{bad}") };
            assert!(fields[0].message.contains("\"a\" stands twice"), "{}", fields[0].message);
        }
        assert!(json(b"{} {}").is_err());
    }

    #[test]
    fn a_form_is_read_as_its_types() {
        let sample = read("name=a+b&rate=12&on=on&numbers=1&numbers=2&subnets=&password=").unwrap();
        assert_eq!(sample.name, "a b");
        assert_eq!(sample.rate, Some(12));
        assert!(sample.on);
        assert_eq!(sample.numbers, [1, 2]);
        assert!(sample.subnets.is_empty());
        assert_eq!(sample.password, None);
    }

    #[test]
    fn a_refusal_names_the_field() {
        assert_eq!(field(read("name=a&rate=many").unwrap_err()), "rate");
        assert_eq!(field(read("rate=1").unwrap_err()), "name");
        assert_eq!(field(read("name=a&owner=1").unwrap_err()), "owner");
        assert_eq!(field(read("name=a&name=b").unwrap_err()), "name");
        assert_eq!(field(read("name=a&subnets=zero").unwrap_err()), "subnets[0]");
        assert_eq!(field(read("name=%ff").unwrap_err()), "body");
    }

    #[test]
    fn what_was_typed_is_kept_but_never_a_secret() {
        let shape = Shape::of::<Sample>();
        let pairs = pairs("body", b"name=x&password=hunter2&numbers=1&unknown=2").unwrap();
        assert_eq!(shape.typed(&pairs), json!({"name": "x", "numbers": ["1"]}));
        assert_eq!(shape.secrets(), ["password"]);
    }
}
