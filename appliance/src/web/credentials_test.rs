//! No answer holds a credential: every GET route of a filled appliance is asked, and every answer looked through, for
//! names under which credentials go and for the very values that the database keeps.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::audit::{Actor, Entry};
use crate::identity::scopes::Builtin;
use crate::listing::rows;
use crate::test::{PASSWORD, TestSite};

/// Columns that hold what nobody is told, whatever their table. The chain's own hashes are there to be published.
const KEPT: [&str; 6] = ["hash", "id_hash", "password_hash", "sealed", "api_key_sha256", "credential"];

async fn made(site: &TestSite, path: &str, body: &Value) -> Value {
    site.hand.advance(Duration::from_secs(1));
    let answer = site.send_json(Method::POST, path, body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{path}: {}", answer.text);
    answer.json()
}

/// A site with one of everything, and what was told once while it was filled.
pub(super) async fn filled() -> (TestSite, Vec<String>) {
    let site = TestSite::new().await;
    let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
    let vantage = id(&made(&site, "/vantages", &json!({ "name": "Hall" })).await);
    let added = made(&site, "/scanners", &json!({ "name": "probe-1", "vantage": vantage })).await;
    let enrolled = |tx: &rusqlite::Transaction| {
        tx.execute(
            "UPDATE scanner SET enrolled_at = 1, public_key = 'p', certificate_sha256 = 'c',
               api_key_sha256 = 'the hash of the key of a scanner'",
            [],
        )?;
        Ok((Entry::event("test.enrolled", &json!({})), ()))
    };
    site.app.store.change(&Actor::system("test"), enrolled).await.unwrap();
    let subnet = id(&made(&site, "/subnets", &json!({ "name": "Cell", "cidr": "10.0.0.0/30" })).await);
    let ports = id(&made(&site, "/port-lists", &json!({ "name": "Few", "ports": "22,80" })).await);
    made(&site, "/exclusions", &json!({ "addresses": "10.0.0.3", "reason": "Press 4" })).await;
    let parts = json!({ "name": "Weekly", "subnets": [subnet], "port_lists": [ports], "scanners": [added["scanner"]["id"]] });
    let template = id(&made(&site, "/templates", &parts).await);
    made(&site, "/scans", &json!({ "template": template })).await;
    let hook = json!({ "name": "Room", "kind": "webhook", "address": "http://127.0.0.1:9/in", "body": "json", "secret": HOOK });
    made(&site, "/receivers", &hook).await;
    let ca = rcgen::generate_simple_self_signed(["sso.test".to_owned()]).unwrap().cert.pem();
    let login = json!({ "name": "Site login", "issuer": "https://127.0.0.1:1/", "discovery": true, "client_id": "portolan",
        "client_secret": CLIENT, "ca": ca, "mapping": "ops = operator" });
    made(&site, "/providers", &login).await;
    made(&site, "/roles", &json!({ "name": "Night", "scopes": ["scans:view"] })).await;
    let grace = site.with_roles("grace", &[Builtin::Operator.id()]).await;
    let wanted = json!({ "name": "Nightly", "scopes": ["scans:view"] });
    let token = made(&grace, "/tokens", &wanted).await["token"].as_str().unwrap().to_owned();
    assert_eq!(site.stranger().showing(&token).get("/scans").await.status, StatusCode::OK);
    let statement = made(&grace, "/statements", &json!({ "audience": "historian" })).await;
    let told = [&added["token"], &statement["token"]].map(|token| token.as_str().unwrap().to_owned());
    let operator = site.app.tokens.operator.renew();
    let told = [PASSWORD.to_owned(), HOOK.to_owned(), CLIENT.to_owned(), token, operator]
        .into_iter()
        .chain(told)
        .collect();
    site.app.checkpoints.make(crate::audit::checkpoint::Why::Asked).await.unwrap();
    (site, told)
}

/// What signs what the webhook gets.
const HOOK: &str = "the secret of a webhook";
/// What the appliance shows a provider.
const CLIENT: &str = "the secret of a client";

/// Every value in a column of these names, as it could stand in a text.
fn kept(db: &Connection) -> BTreeSet<String> {
    let none: [u8; 0] = [];
    let columns = "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
                   WHERE m.type = 'table' AND m.name NOT LIKE 'audit%'";
    let mut columns: Vec<(String, String)> =
        rows(db, columns, none, |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    columns.retain(|(table, column)| {
        KEPT.contains(&column.as_str()) || (table == "enrolment_token" && column == "sha256")
    });
    let mut kept = BTreeSet::new();
    for (table, column) in &columns {
        let sql = format!("SELECT CAST({column} AS BLOB) FROM {table} WHERE {column} IS NOT NULL");
        for bytes in rows(db, &sql, none, |row| row.get::<_, Vec<u8>>(0)).unwrap() {
            kept.insert(portolan_scanner::wire::hex::encode(&bytes));
            kept.insert(portolan_scanner::wire::base64::encode(&bytes).trim_end_matches('=').to_owned());
            kept.extend(String::from_utf8(bytes));
        }
    }
    assert!(kept.len() > 10, "the columns were not found: {kept:?}");
    kept
}

/// What the parameters of a path may be here.
pub(super) fn paths(path: &str, ids: &[String]) -> Vec<String> {
    let mut paths = vec![String::new()];
    for part in path.split('/').skip(1) {
        let fills: Vec<String> = match part {
            "{id}" => ids.to_vec(),
            "{seq}" => (1..=60).map(|seq| seq.to_string()).collect(),
            "{address}" => vec!["10.0.0.1".into()],
            "{*key}" => vec!["index".into()],
            part => vec![part.to_owned()],
        };
        paths =
            paths.iter().flat_map(|path| fills.iter().map(move |fill| format!("{path}/{fill}"))).collect();
    }
    paths
}

/// Whether a field of this name looks like a credential.
fn secret(name: &str) -> bool {
    const WORDS: [&str; 9] =
        ["password", "secret", "sealed", "hash", "phc", "token", "credential", "private", "jwt"];
    let words: Vec<&str> = name.split('_').collect();
    let about = matches!(words.last(), Some(&("at" | "id" | "name" | "needed" | "command" | "endpoint")));
    !about && words.iter().any(|word| WORDS.contains(word)) || name == "api_key"
}

/// Fields that look like a credential. A time, a number or a yes about one is none.
fn named(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if secret(name) && value.as_str().is_some_and(|text| !text.is_empty()) {
                    found.push(format!("{at}: {name} = {value}"));
                }
                named(value, at, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| named(item, at, found)),
        _ => {}
    }
}

#[tokio::test]
async fn no_answer_of_any_route_holds_a_credential() {
    let (site, told) = filled().await;
    let (ids, kept) = site
        .app
        .store
        .read(|db| {
            let none: [u8; 0] = [];
            let tables = "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
                          WHERE m.type = 'table' AND c.name = 'id'";
            let tables: Vec<String> = rows(db, tables, none, |row| row.get(0))?;
            let mut ids = Vec::new();
            for table in tables {
                let sql = format!("SELECT CAST(id AS TEXT) FROM {table} LIMIT 5");
                ids.extend(rows(db, &sql, none, |row| row.get::<_, String>(0))?);
            }
            Ok((ids, kept(db)))
        })
        .await
        .unwrap();
    let (mut found, mut answered) = (Vec::new(), BTreeSet::new());
    for row in site.site.rows().filter(|row| row.method == Method::GET) {
        for path in paths(&row.path, &ids) {
            for answer in [site.get(&format!("/api/v1{path}")).await, site.page(&path).await] {
                if answer.status != StatusCode::OK {
                    continue;
                }
                answered.insert(row.path.clone());
                let texts = kept.iter().chain(&told);
                let held = texts
                    .filter(|text| answer.text.contains(text.as_str()))
                    .map(|text| format!("{path}: {text}"));
                found.extend(held);
                // The hashes of the audit's chain are what it is proven by.
                let json = answer.header("content-type").starts_with("application/json");
                if json && !row.path.starts_with("/audit") {
                    named(&answer.json(), &path, &mut found);
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    let silent: Vec<&str> = site
        .site
        .rows()
        .filter(|row| row.method == Method::GET && !answered.contains(&row.path))
        .map(|row| row.path.as_str())
        .collect();
    // What is not there in this appliance: its setup is over, no release lies ready, no link for a password is
    // open, nobody is between two steps of a sign-in, and two scans are compared by query.
    let known = [
        "/scans/{id}/hosts/{address}",
        "/diff",
        "/diff.csv",
        "/reset/{token}",
        "/hosts/{address}",
        "/sign-in/second-factor",
        "/sign-in/second-factor/app",
        "/account/second-factor/app",
        "/account/second-factor/keys/{id}/delete",
        "/sign-in/provider/{id}/back",
        "/setup",
        "/install.sh",
        "/scanner/portolan-scanner",
        "/scanner/portolan-scanner.minisig",
        "/scanner/scanner.pub",
    ];
    let silent: Vec<&&str> = silent.iter().filter(|path| !known.contains(*path)).collect();
    assert!(
        silent.is_empty(),
        "these were not looked at: fill the appliance so that they answer: {silent:?}"
    );
}

/// Answers that have a field for a credential or for what looks like one, and why.
const TELL: [(&str, &str); 12] = [
    ("POST /scanners: token", "told once: enrols the scanner"),
    ("POST /scanners/{id}/token: token", "told once: enrols the scanner"),
    ("POST /tokens: token", "told once, and kept nowhere"),
    ("POST /statements: token", "told once, and kept nowhere"),
    ("POST /statements/renew: token", "told once, and kept nowhere"),
    ("GET /sign-in/second-factor/app: secret", "one's own, until a code of it has come"),
    ("GET /account/second-factor/app: secret", "one's own, until a code of it has come"),
    ("GET /audit/{seq}: hash prev_hash", "the chain's, by which it is proven"),
    ("GET /audit/checkpoints: hash", "the chain's"),
    ("POST /audit/checkpoints: hash", "the chain's"),
    ("POST /audit/checkpoints/test: hash", "the chain's"),
    ("GET /audit/checkpoints/{seq}: hash", "the chain's"),
];

/// The names of fields in a schema, and in what it refers to, that look like a credential and can hold a text.
fn named_in(document: &Value, schema: &Value, seen: &mut BTreeSet<String>, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref")
                && seen.insert(reference.clone())
            {
                let pointer = reference.strip_prefix('#').unwrap();
                named_in(document, document.pointer(pointer).unwrap(), seen, found);
            }
            for (name, value) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let kind = value["type"].to_string();
                let text = !["\"boolean\"", "\"integer\"", "\"object\""].contains(&kind.as_str());
                if secret(name) && text {
                    found.insert(name.clone());
                }
            }
            fields.values().for_each(|value| named_in(document, value, seen, found));
        }
        Value::Array(items) => items.iter().for_each(|item| named_in(document, item, seen, found)),
        _ => {}
    }
}

#[test]
fn the_answers_that_have_a_field_for_a_credential_are_known_one_by_one() {
    let site = TestSite::empty();
    let document = site.site.openapi();
    let mut tell = Vec::new();
    for row in site.site.rows().filter(|row| !row.twin) {
        let operation =
            &document["paths"][row.path.replace("{*", "{")][row.method.as_str().to_ascii_lowercase()];
        let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
        named_in(document, &operation["responses"], &mut seen, &mut found);
        if !found.is_empty() {
            tell.push(format!("{}: {}", row.name(), found.into_iter().collect::<Vec<_>>().join(" ")));
        }
    }
    assert_eq!(
        tell,
        TELL.map(|(known, _)| known.to_owned()),
        "what answers with a credential is read by a person first"
    );
}

#[test]
fn a_field_that_looks_like_a_credential_is_found_wherever_it_stands() {
    let mut found = Vec::new();
    named(
        &json!({ "items": [{ "a": { "password_hash": "x" } }, { "secret": "y", "hash": "z" }] }),
        "/",
        &mut found,
    );
    assert_eq!(found.len(), 3, "{found:?}");
    found.clear();
    named(
        &json!({ "token_expires_at": "t", "second_factor": true, "token": "", "sha256": "s" }),
        "/",
        &mut found,
    );
    assert!(found.is_empty(), "{found:?}");
}
