//! A text in every field of every noun that takes texts, and what kept it.

use std::collections::BTreeMap;

use portolan_tests::api::{list, text};
use serde_json::{Value, json};

use crate::world::{Row, World, path_with, provider, receiver};

/// Routes that take a text and keep none, or one that cannot be had here: what they are for.
const KEEP_NOTHING: &[&str] = &[
    "POST /setup",                             // over
    "POST /sign-in",                           // a name that is known already, and where to go on
    "POST /prove",                             // likewise
    "POST /prove/key",                         // what a security key signed
    "POST /prove/provider/{id}",               // where to go on
    "POST /theme",                             // where to go on
    "POST /sign-in/new-password",              // where to go on
    "POST /sign-in/second-factor",             // a code
    "POST /sign-in/second-factor/app",         // where to go on
    "POST /sign-in/second-factor/app/confirm", // a code
    "POST /account/second-factor/app",         // where to go on
    "POST /account/second-factor/app/confirm", // a code
    "POST /sign-in/key",                       // what a security key signed
    "POST /sign-in/second-factor/key",         // likewise
    "POST /sign-in/second-factor/keys",        // a key, made by a browser
    "POST /account/second-factor/keys",        // likewise; its name is tried in a browser
    "POST /sign-in/provider/{id}",             // where to go on
    "POST /scans",                             // a template's id, and a key that is never shown
    "POST /audit/export",                      // a filter, which the audit tells of: tried there
    "POST /audit/checkpoints/test",            // a checkpoint: tried there
];

/// A thing that keeps the text.
pub struct Kept {
    /// The first word of its path.
    pub kind: &'static str,
    pub id: String,
    /// The fields that took it.
    pub fields: Vec<String>,
}

/// What makes one more of each noun.
fn bases(world: &World) -> Vec<(&'static str, Value)> {
    let ids = &world.ids;
    let mut hook = receiver("http://127.0.0.1:9/in");
    hook["name"] = json!("Hook of texts");
    let mut login = provider();
    login["name"] = json!("Login of texts");
    login["mapping"] = json!("");
    vec![
        ("vantages", json!({ "name": "Vantage of texts" })),
        ("scanners", json!({ "name": "Scanner of texts", "vantage": ids["vantages"] })),
        ("subnets", json!({ "name": "Subnet of texts", "cidr": "10.66.0.0/16" })),
        ("port-lists", json!({ "name": "Ports of texts", "ports": "8066" })),
        ("exclusions", json!({ "addresses": "10.66.0.9", "reason": "of texts" })),
        (
            "templates",
            json!({ "name": "Template of texts", "subnets": [ids["subnets"]], "port_lists": [ids["port-lists"]],
                    "scanners": [ids["scanners"]] }),
        ),
        ("receivers", hook),
        ("providers", login),
        ("roles", json!({ "name": "Role of texts", "scopes": ["scans:view"] })),
        ("users", json!({ "name": "user-of-texts" })),
        ("tokens", json!({ "name": "Token of texts", "scopes": ["scans:view"] })),
        ("statements", json!({ "audience": "texts" })),
    ]
}

/// The fields of a route that take any text and show it again.
pub fn texts(world: &World, row: &Row) -> Vec<String> {
    let fields = world.fields(row).into_iter();
    let plain = |schema: &Value| {
        let said = schema["type"].to_string();
        said.contains("string") && schema["enum"].is_null() && schema["format"].is_null()
    };
    fields.filter(|(_, schema)| plain(schema)).map(|(name, _)| name).collect()
}

/// Makes one more of each noun with this text in every field that takes it.
pub fn everywhere(world: &World, payload: &str) -> Vec<Kept> {
    let bases = bases(world);
    for row in world.changing().filter(|row| row.api && row.method == "POST") {
        let known = bases.iter().any(|(kind, _)| row.path == format!("/{kind}"))
            || KEEP_NOTHING.contains(&format!("POST {}", row.path).as_str());
        assert!(known || texts(world, row).is_empty(), "say what makes one of POST {}", row.path);
    }
    bases.into_iter().map(|(kind, base)| keep(world, kind, base, payload)).collect()
}

fn keep(world: &World, kind: &'static str, base: Value, payload: &str) -> Kept {
    let path = format!("/{kind}");
    let row = world.changing().find(|row| row.method == "POST" && row.path == path).expect("it is a route");
    let mut fields = texts(world, row);
    loop {
        let mut body = base.clone();
        for field in &fields {
            // A list says with which name it comes back: each its own.
            body[field] = json!(payload);
        }
        let answer = world.owner.post(&path, &body);
        if answer.status == 201 {
            let made = answer.json();
            let item =
                ["item", "scanner"].into_iter().map(|key| &made[key]).find(|item| item["id"].is_string());
            let item = item.unwrap_or(&made);
            return Kept { kind, id: text(item, "id"), fields };
        }
        let wrong = answer.expect(422).json();
        let refused: Vec<String> = list(&wrong, "errors").iter().map(|error| text(error, "field")).collect();
        let before = fields.len();
        fields.retain(|field| !refused.iter().any(|refused| refused.split(['[', '.']).next() == Some(field)));
        assert!(fields.len() < before, "{kind}: {wrong}");
    }
}

/// The world's ids, with these things in their places.
pub fn ids(world: &World, kept: &[Kept]) -> BTreeMap<&'static str, String> {
    let mut ids = world.ids.clone();
    ids.extend(kept.iter().map(|kept| (kept.kind, kept.id.clone())));
    ids
}

/// Every page and every answer of the API that can show them, as the owner sees it: where it is, and what is there.
pub fn every_target(world: &World, kept: &[Kept]) -> Vec<String> {
    let ids = ids(world, kept);
    let mut targets = Vec::new();
    for row in world.reading() {
        targets.extend(row.targets(&path_with(row, &ids)));
    }
    let newest = world.owner.get("/audit?limit=60").expect(200).json();
    for entry in list(&newest, "items") {
        targets.push(format!("/audit/{}", entry["seq"]));
        targets.push(format!("/api/v1/audit/{}", entry["seq"]));
    }
    targets
}
