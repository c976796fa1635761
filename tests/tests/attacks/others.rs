//! What belongs to someone else: asked for by its id, with the session of someone who has none of it.

use std::collections::BTreeMap;

use portolan_tests::api::{list, text};
use portolan_tests::http::Request;
use portolan_tests::site::PASSWORD;
use portolan_tests::{Client, Response};
use rusqlite::Connection;
use serde_json::json;

use crate::world::{Crowd, NOBODY, Person, World, path_with};

/// A security key, as it is kept.
const KEY: &str =
    r#"{"key":{"algorithm":"ed25519","point":""},"count":0,"site":"localhost","transports":[]}"#;

/// As a script, or as a browser, with nothing but the session.
fn ask(client: &Client, method: &str, target: &str) -> Response {
    let request = Request::new(method, target).header("Accept", "application/json");
    client.send(if method == "GET" { request } else { request.body("application/json", "{}") })
}

/// Everything that is grace's alone, by the first word of its path.
fn own_things(grace: &Person) -> BTreeMap<&'static str, String> {
    let made = grace.client.post("/tokens", &json!({ "name": "Hers", "scopes": ["scans:view"] })).expect(201);
    let _ = grace.client.post("/statements", &json!({ "audience": "hers" })).expect(201);
    let statements = grace.client.get("/statements").expect(200).json();
    let account = grace.client.get("/account").expect(200).json();
    BTreeMap::from([
        ("users", grace.id.clone()),
        ("tokens", text(&made.json()["item"], "id")),
        ("statements", text(&list(&statements, "items")[0], "id")),
        ("sessions", text(&list(&account["sessions"], "items")[0], "id")),
    ])
}

#[test]
fn what_is_someone_elses_is_as_if_it_were_not_there() {
    let world = World::new();
    let (grace, eve) = (world.person("grace", &["operator"]), world.person("eve", &["operator"]));
    let hers = own_things(&grace);
    let nobodys =
        hers.keys().map(|kind| (*kind, if *kind == "sessions" { "0".repeat(32) } else { NOBODY.into() }));
    let nobodys: BTreeMap<&'static str, String> = nobodys.collect();
    let mut tried = 0;
    for row in world.rows.iter().filter(|row| row.path.contains("{id}") && !row.access.contains(':')) {
        let (path, nowhere) = (path_with(row, &hers), path_with(row, &nobodys));
        if path == nowhere {
            continue;
        }
        for (target, nowhere) in row.targets(&path).iter().zip(row.targets(&nowhere)) {
            let answer = ask(&eve.client, &row.method, target).expect(404).json();
            let missing = ask(&eve.client, &row.method, &nowhere).expect(404).json();
            let said = text(&answer, "detail");
            let known = hers.iter().fold(said, |said, (kind, id)| said.replace(id, &nobodys[kind]));
            assert_eq!(known, text(&missing, "detail"), "{} {target}", row.method);
            tried += 1;
        }
    }
    assert!(tried > 8, "tokens, statements and sessions have such routes: {tried}");
    for path in ["/tokens", "/statements", "/account", "/account/second-factor", "/search?q=Hers", "/me"] {
        let answer = eve.client.get(path).expect(200);
        let leaked = hers.values().find(|id| answer.text().contains(id.as_str()));
        assert_eq!(leaked, None, "{}", answer.describe());
    }
    let _ = grace.client.get("/me").expect(200);
    let token = grace.client.get(&format!("/tokens/{}", hers["tokens"])).expect(200).json();
    assert_eq!(token["state"], "in-force", "{token}");
    assert_eq!(list(&grace.client.get("/statements").expect(200).json(), "items").len(), 1);
}

#[test]
fn what_a_role_does_not_give_is_refused_whatever_the_id() {
    let world = World::new();
    let eve = world.person("eve", &["viewer"]);
    let before = world.told();
    let mut refused = 0;
    for row in world.rows.iter().filter(|row| row.access.contains(':') && !row.roles.contains("viewer")) {
        for target in row.targets(&world.path(row)) {
            let answer = ask(&eve.client, &row.method, &target);
            assert_eq!(answer.status, 403, "{}", answer.describe());
            assert!(!answer.text().contains("Night"), "{}", answer.describe());
            refused += 1;
        }
    }
    assert!(refused > 150, "{refused}");
    assert_eq!(world.told(), before);
    let found = eve.client.get("/search?q=mallory").expect(200);
    assert_eq!(found.json()["groups"], json!([]), "people are not searched for by who may not see them");
}

#[test]
fn a_search_and_the_first_page_tell_nobody_more_than_their_lists_would() {
    let world = World::new();
    let eve = world.person("eve", &["Night"]);
    for word in ["Cell", "Few", "Press", "probe-1", "Hall", "10.0.0.1", "mallory", "historian"] {
        let answer = eve.client.get(&format!("/search?q={word}")).expect(200).json();
        assert_eq!(answer["groups"], json!([]), "{word}: {answer}");
    }
    let first = eve.client.get("").expect(200).text();
    for word in ["Cell", "Few", "Press 4", "probe-1", "Hall"] {
        assert!(!first.contains(word), "{word}: {first}");
    }
}

#[test]
fn a_sign_in_that_lacks_a_step_reaches_that_step_alone() {
    let world = World::new();
    let alan = world.person("alan", &["admin"]);
    let shown = world.owner.get(&format!("/users/{}", alan.id)).expect(200);
    let tag = shown.header("etag").expect("an account has a version").to_owned();
    let roles: Vec<_> = list(&shown.json(), "roles").iter().map(|role| role["id"].clone()).collect();
    let changed = json!({ "name": "alan", "roles": roles, "must_change": true });
    let _ = world.owner.put(&format!("/users/{}", alan.id), &tag, &changed).expect(200);
    let half = world.visitor();
    let answer = half.post("/sign-in", &json!({ "name": "alan", "password": PASSWORD })).expect(200);
    assert_eq!(answer.json()["stage"], "new-password", "{}", answer.describe());
    let (before, crowd) = (world.told(), Crowd::with(&world, half));
    for row in world.rows.iter().filter(|row| !["public", "pending"].contains(&row.access.as_str())) {
        for target in row.targets(&world.path(row)) {
            let answer = crowd.ask(|client| ask(client, &row.method, &target));
            assert_eq!(answer.status, 401, "{}", answer.describe());
        }
    }
    assert_eq!(world.told(), before);
}

#[test]
fn a_password_alone_is_told_no_factor_that_waits_beside_one_that_is_asked_for() {
    let world = World::new();
    let alan = world.person("alan", &["operator"]);
    let app = "/account/second-factor/app";
    let _ = alan.client.post(app, &json!({})).expect(200);
    let secret = text(&alan.client.get(app).expect(200).json(), "secret");
    // Of a key that was registered only its being there matters.
    let db = Connection::open(world.site.data().join("config/config.db")).expect("it opens");
    db.execute(
        "INSERT INTO security_key (id, user, name, credential_id, credential, created_at)
         VALUES (?1, ?2, 'blue', x'01', ?3, 0)",
        [NOBODY, alan.id.as_str(), KEY],
    )
    .expect("it is written");
    drop(db);
    // It comes back when it is told to wait: so many tries in a second are too many.
    let half = world.site.visitor();
    let answer = half.post("/sign-in", &json!({ "name": "alan", "password": PASSWORD })).expect(200);
    assert_eq!(answer.json()["stage"], "second-factor", "{}", answer.describe());
    let mut tried = 0;
    for row in world.rows.iter().filter(|row| row.access == "pending") {
        for target in row.targets(&world.path(row)) {
            let answer = ask(&half, &row.method, &target);
            assert!(!answer.text().contains(&secret), "{}", answer.describe());
            if row.path.contains("/second-factor/app") || row.path.contains("/second-factor/keys") {
                assert!([403, 422, 409].contains(&answer.status), "{}", answer.describe());
                tried += 1;
            }
        }
    }
    assert!(tried >= 6, "{tried}");
    for target in ["/sign-in/second-factor/app", "/api/v1/sign-in/second-factor/app"] {
        assert_eq!(ask(&half, "GET", target).status, 403, "{target}");
        assert_eq!(ask(&half, "POST", target).status, 403, "{target}");
    }
    let me = half.get("/me");
    assert_eq!(me.status, 401, "it goes no further: {}", me.describe());
}
