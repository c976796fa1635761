//! The OpenAPI 3.1 document: the route table folded once more, with schemas derived from the Rust types.

use super::route::{Access, Route};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The document for `/api/v1`.
#[must_use]
pub fn document(rows: &[Route]) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for row in rows.iter().filter(|row| !row.twin) {
        let operation = operation(row, &mut generator);
        // axum spells the rest of a path {*key}; OpenAPI has no such thing.
        let path = paths.entry(row.path.replace("{*", "{")).or_insert_with(|| json!({}));
        path[row.method.as_str().to_ascii_lowercase()] = operation;
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portolan",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the pages do, for scripts. Times are RFC 3339 in UTC, ids are UUIDv7, unknown fields are refused.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" }
        },
        "servers": [{ "url": "/api/v1" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "session": { "type": "apiKey", "in": "cookie", "name": super::guard::SESSION_COOKIE },
                "token": { "type": "http", "scheme": "bearer", "description": "An API token" }
            }
        }
    })
}

fn operation(row: &Route, generator: &mut SchemaGenerator) -> Value {
    let output = (row.output)(generator).to_value();
    let input = resolved(&(row.input)(generator).to_value(), generator);
    let reads = row.method == axum::http::Method::GET;
    let mut parameters: Vec<Value> = path_parameters(&row.path);
    if reads {
        parameters.extend(query_parameters(&input));
    }
    let mut content = json!({ "application/json": { "schema": output } });
    for media in row.media {
        content[*media] = json!({ "schema": { "type": "string" } });
    }
    let error = json!({
        "description": "An error (RFC 9457)",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } }
    });
    let mut operation = json!({
        "operationId": operation_id(row),
        "tags": [row.tag],
        "summary": row.summary,
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done", "content": content.clone() },
            "default": error
        }
    });
    if row.method == axum::http::Method::POST {
        operation["responses"]["201"] = json!({ "description": "Created", "content": content });
    }
    if !reads && !is_empty(&input) {
        let media = json!({ "schema": (row.input)(generator).to_value() });
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": media.clone(), "application/x-www-form-urlencoded": media }
        });
    }
    operation["security"] = match row.access {
        Access::Public => json!([]),
        Access::Pending => json!([{ "session": [] }]),
        Access::SignedIn => json!([{ "session": [] }, { "token": [] }]),
        Access::Scope(scope) => json!([{ "session": [scope] }, { "token": [scope] }]),
    };
    operation
}

/// `get_subnets_id` from `GET /subnets/{id}`: stable, and unique because method and path are.
fn operation_id(row: &Route) -> String {
    let path: String =
        row.path.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    let words: Vec<&str> = path.split('_').filter(|word| !word.is_empty()).collect();
    format!(
        "{}_{}",
        row.method.as_str().to_ascii_lowercase(),
        if words.is_empty() { "home".to_owned() } else { words.join("_") }
    )
}

fn path_parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let name = name.trim_start_matches('*');
            let schema = if name == "id" {
                json!({ "type": "string", "format": "uuid" })
            } else {
                json!({ "type": "string" })
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect()
}

fn query_parameters(input: &Value) -> Vec<Value> {
    let required: Vec<&str> = input["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let Some(properties) = input["properties"].as_object() else { return vec![] };
    properties
        .iter()
        .map(|(name, schema)| {
            json!({
                "name": name, "in": "query", "required": required.contains(&name.as_str()),
                "description": schema["description"].as_str().unwrap_or_default(), "schema": schema
            })
        })
        .collect()
}

/// The schema itself where it is a reference to a definition.
fn resolved(schema: &Value, generator: &SchemaGenerator) -> Value {
    schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next())
        .and_then(|name| generator.definitions().get(name))
        .unwrap_or(schema)
        .clone()
}

fn is_empty(input: &Value) -> bool {
    input["properties"].as_object().is_none_or(Map::is_empty)
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "An error, as RFC 9457 has it.",
        "required": ["type", "title", "status", "instance"],
        "properties": {
            "type": { "type": "string", "description": "The page that explains this kind of error" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "instance": { "type": "string", "description": "The request's id in the log" },
            "errors": {
                "type": "array",
                "description": "What is wrong with which field",
                "items": {
                    "type": "object",
                    "required": ["field", "message"],
                    "properties": { "field": { "type": "string" }, "message": { "type": "string" } }
                }
            }
        }
    })
}
