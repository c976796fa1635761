//! The commands, folded from the OpenAPI document: a noun and a verb for each operation, so that none is missing. Only
//! pages of forms, and what is open to everyone, are left to browsers.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::app::tables;
use crate::web::{Routes, document};

/// What one operation of the API is called here, and what it takes.
#[derive(Clone, Debug)]
pub struct Command {
    /// The first word: `subnets`.
    pub noun: String,
    /// The second: `list`, `show`, `revoke`.
    pub verb: String,
    /// HTTP method.
    pub method: String,
    /// Path below `/api/v1`, with `{name}` for each of `places`.
    pub path: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// What stands in the path, in order.
    pub places: Vec<String>,
    /// Its options.
    pub fields: Vec<Field>,
}

/// An option of a command.
#[derive(Clone, Debug)]
pub struct Field {
    /// As the API calls it.
    pub name: String,
    /// What it takes.
    pub kind: Kind,
    /// Whether the operation needs it.
    pub required: bool,
    /// What it is for.
    pub about: String,
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`; alone it is `true`.
    Boolean,
    /// As often as wanted.
    List,
    /// Asked for, or read from a file: never on the command line, where every user of the machine reads it.
    Secret,
    /// JSON.
    Json,
}

impl Command {
    /// Whether its answer comes in pages.
    #[must_use]
    pub fn pages(&self) -> bool {
        self.method == "GET" && self.fields.iter().any(|field| field.name == "cursor")
    }
}

impl Field {
    /// As it is written on the command line.
    #[must_use]
    pub fn option(&self) -> String {
        let suffix = if self.kind == Kind::Secret { "-file" } else { "" };
        format!("--{}{suffix}", self.name.replace('_', "-"))
    }
}

/// Every command, by noun and verb.
#[must_use]
pub fn all() -> Vec<Command> {
    let rows: Vec<_> = tables().into_iter().flat_map(Routes::into_rows).collect();
    let document = document(&rows);
    let Some(paths) = document["paths"].as_object() else { return vec![] };
    let known: BTreeSet<(&str, &str)> = paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().into_iter().flatten().map(|(method, _)| (path.as_str(), method.as_str()))
        })
        .collect();
    let mut commands: Vec<Command> = known
        .iter()
        // What is open to everyone is for browsers: signing in, and what leads there.
        .filter(|(path, method)| !is_form(path, method, &known) && !is_open(&document["paths"][path][method]))
        .filter_map(|(path, method)| command(path, method, &known, &document))
        .collect();
    commands.sort_by(|a, b| (&a.noun, &a.verb).cmp(&(&b.noun, &b.verb)));
    commands
}

fn is_open(operation: &Value) -> bool {
    operation["security"].as_array().is_none_or(Vec::is_empty)
}

/// Whether this is the page of a form or of a question, which only a browser needs.
fn is_form(path: &str, method: &str, known: &BTreeSet<(&str, &str)>) -> bool {
    let Some((above, last)) = path.rsplit_once('/') else { return false };
    method == "get"
        && match last {
            "new" => known.contains(&(above, "post")),
            "edit" => known.contains(&(above, "put")),
            "delete" => known.contains(&(above, "delete")),
            _ => false,
        }
}

fn command(path: &str, method: &str, known: &BTreeSet<(&str, &str)>, document: &Value) -> Option<Command> {
    let operation = &document["paths"][path][method];
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (noun, rest) = parts.split_first().unwrap_or((&"overview", &[]));
    let is_place = |part: &str| part.starts_with('{');
    let on_one = rest.last().is_some_and(|part| is_place(part));
    let mut words: Vec<&str> = rest.iter().copied().filter(|part| !is_place(part)).collect();
    let deed = match (method, on_one) {
        ("get", true) => "show",
        ("get", false) => "list",
        ("put", _) => "update",
        ("delete", _) => "delete",
        _ => "create",
    };
    // What a path ends in is a verb by itself, unless two operations share it.
    let alone = words.is_empty() || on_one || method != "get" && known.contains(&(path, "get"));
    if alone || matches!(method, "put" | "delete") {
        words.push(deed);
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let places: Vec<String> = parts
        .iter()
        .filter(|part| is_place(part))
        .map(|part| part.trim_matches(['{', '}']).to_owned())
        .collect();
    let query = operation["parameters"].as_array().into_iter().flatten();
    let mut fields: Vec<Field> = query
        .filter(|parameter| parameter["in"] == "query")
        .map(|parameter| {
            let required = parameter["required"] == true;
            field(parameter["name"].as_str().unwrap_or_default(), &parameter["schema"], required, document)
        })
        .collect();
    let schema = resolved(body, document);
    let needed: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    fields.extend(
        properties.map(|(name, schema)| field(name, schema, needed.contains(&name.as_str()), document)),
    );
    Some(Command {
        noun: (*noun).to_owned(),
        verb: words.join("-"),
        method: method.to_ascii_uppercase(),
        path: path.to_owned(),
        summary: operation["summary"].as_str()?.to_owned(),
        places,
        fields,
    })
}

fn field(name: &str, schema: &Value, required: bool, document: &Value) -> Field {
    let about = schema["description"].as_str().unwrap_or_default().to_owned();
    Field { name: name.to_owned(), kind: kind(schema, document), required, about }
}

fn kind(schema: &Value, document: &Value) -> Kind {
    let schema = resolved(schema, document);
    if schema["format"] == "password" {
        return Kind::Secret;
    }
    let variants = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array());
    if let Some(variants) = variants {
        let one = variants.iter().find(|variant| variant["type"] != "null");
        return one.map_or(Kind::Json, |variant| kind(variant, document));
    }
    let is = |word: &str| {
        schema["type"] == word
            || schema["type"].as_array().is_some_and(|types| types.iter().any(|kind| kind == word))
    };
    if is("string") || schema["enum"].is_array() || schema["const"].is_string() {
        Kind::Text
    } else if is("integer") {
        Kind::Integer
    } else if is("boolean") {
        Kind::Boolean
    } else if is("array") && kind(&schema["items"], document) == Kind::Text {
        Kind::List
    } else {
        Kind::Json
    }
}

/// The schema itself, where it is a reference to one.
fn resolved<'a>(schema: &'a Value, document: &'a Value) -> &'a Value {
    let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let commands = all();
        let mut seen = BTreeSet::new();
        for command in &commands {
            assert!(seen.insert((&command.noun, &command.verb)), "{command:?} stands twice");
            let named = |name: &str| {
                name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c))
            };
            assert!(!command.verb.is_empty() && named(&command.noun) && named(&command.verb), "{command:?}");
            assert!(!command.summary.is_empty(), "{command:?}");
        }
    }

    #[test]
    fn a_noun_has_the_verbs_that_one_would_type() {
        let commands = all();
        let verbs: Vec<&str> =
            commands.iter().filter(|c| c.noun == "subnets").map(|command| command.verb.as_str()).collect();
        assert_eq!(verbs, ["create", "delete", "list", "show", "update"]);
        let create =
            commands.iter().find(|c| (c.noun.as_str(), c.verb.as_str()) == ("subnets", "create")).unwrap();
        assert_eq!((create.method.as_str(), create.path.as_str()), ("POST", "/subnets"));
        let required: Vec<&str> =
            create.fields.iter().filter(|field| field.required).map(|field| field.name.as_str()).collect();
        assert_eq!(required, ["cidr", "name"]);
        let verbs: Vec<&str> =
            commands.iter().filter(|c| c.noun == "scanners").map(|command| command.verb.as_str()).collect();
        assert!(verbs.contains(&"revoke"), "{verbs:?}");
    }

    #[test]
    fn a_secret_is_never_an_option_with_a_value() {
        let receivers =
            all().into_iter().find(|c| (c.noun.as_str(), c.verb.as_str()) == ("receivers", "create"));
        let secret = receivers.unwrap().fields.into_iter().find(|field| field.name == "secret").unwrap();
        assert_eq!((secret.kind, secret.option().as_str()), (Kind::Secret, "--secret-file"));
    }
}
