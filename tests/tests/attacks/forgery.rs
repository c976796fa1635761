//! Fields that nobody was asked for, and powers that nobody was given.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use portolan_tests::api::{list, text};
use portolan_tests::client::encode;
use portolan_tests::http::Request;
use portolan_tests::{Client, Response};
use serde_json::{Value, json};

use crate::world::{Crowd, World, provider, receiver};

/// What people try to set in a body that has no such field.
const COVETED: [&str; 20] = [
    "role",
    "roles",
    "owner",
    "is_owner",
    "admin",
    "scopes",
    "id",
    "user",
    "user_id",
    "account",
    "kind",
    "status",
    "stage",
    "password_hash",
    "created_at",
    "updated_at",
    "made_by",
    "state",
    "enabled",
    "__proto__",
];

/// Those of them that a route takes, because its form asks for them. What may stand in them is tried below.
const ASKED_FOR: &str = "
POST /providers: scopes enabled
PUT /providers/{id}: scopes enabled
POST /receivers: kind enabled
PUT /receivers/{id}: kind enabled
POST /roles: scopes
PUT /roles/{id}: scopes
POST /prove/key: id
POST /sign-in/key: id
POST /sign-in/second-factor/key: id
POST /statements: scopes
POST /tokens: scopes account
POST /users: roles kind
PUT /users/{id}: roles kind
";

#[test]
fn a_field_that_a_route_does_not_ask_for_is_refused_by_name() {
    let world = World::new();
    let before = world.told();
    let crowd = Crowd::of(&world);
    let (mut taken, mut refused) = (String::new(), 0);
    for row in world.changing().filter(|row| row.api) {
        let (fields, path) = (world.fields(row), world.path(row));
        let asked: Vec<&str> = COVETED.into_iter().filter(|field| fields.contains_key(*field)).collect();
        if !asked.is_empty() {
            let _ = writeln!(taken, "{} {}: {}", row.method, row.path, asked.join(" "));
        }
        for field in COVETED.into_iter().filter(|field| !fields.contains_key(*field)) {
            for value in [json!("00000000-0000-7000-8000-000000000001"), json!(true)] {
                let body = json!({ field: value });
                let answer = crowd.ask(|client| client.json(&row.method, &path, &body)).expect(422);
                assert_eq!(answer.json()["errors"][0]["field"], field, "{}", answer.describe());
                refused += 1;
            }
        }
        // A form is read by the same rules.
        if row.method == "POST" {
            let form = Request::new("POST", &path).header("Accept", "application/json");
            let form = form.body("application/x-www-form-urlencoded", "is_owner=on");
            let answer = crowd.ask(|client| client.send(form.clone())).expect(422);
            assert_eq!(answer.json()["errors"][0]["field"], "is_owner", "{}", answer.describe());
        }
    }
    let known: BTreeSet<&str> = ASKED_FOR.trim().lines().collect();
    assert_eq!(
        taken.trim().lines().collect::<BTreeSet<_>>(),
        known,
        "read what new routes take, and try it below"
    );
    assert_eq!(world.told(), before);
    println!("{refused} fields that nobody asked for, all refused by name");
}

#[test]
fn a_query_takes_no_field_that_its_list_does_not_have() {
    let world = World::new();
    for row in world.reading().filter(|row| row.api && !row.path.contains("/back")) {
        let path = world.path(row);
        let answer = world.owner.get(&format!("{path}?is_owner={}", encode("' OR 1=1")));
        assert!([404, 422].contains(&answer.status), "{}", answer.describe());
    }
}

/// What is refused, whether by field, as not allowed or as not possible.
fn refused(answer: Response) {
    assert!([403, 404, 409, 422].contains(&answer.status), "{}", answer.describe());
}

/// Replaces an account's fields, with the version that is there.
fn put(client: &Client, owner: &Client, path: &str, body: &Value) -> Response {
    let shown = owner.get(path).expect(200);
    client.put(path, shown.header("etag").expect("it has a version"), body)
}

#[test]
fn who_manages_accounts_makes_nobody_more_than_they_are_themselves() {
    let world = World::new();
    let clerk = json!({ "name": "Clerk", "scopes": ["users:view", "users:manage"] });
    let _ = world.owner.post("/roles", &clerk).expect(201);
    let clerk = world.person("carol", &["Clerk"]);
    let admin = "00000000-0000-7000-8000-000000000001";
    let me = world.owner.get("/me").expect(200).json();
    let (owner, hers) = (text(&me["user"], "id"), format!("/users/{}", clerk.id));
    let accounts = || world.owner.get("/users?limit=500").expect(200).json()["items"].clone();
    let before = accounts();
    refused(clerk.client.post("/users", &json!({ "name": "puppet", "roles": [admin] })));
    refused(put(&clerk.client, &world.owner, &hers, &json!({ "name": "carol", "roles": [admin] })));
    refused(put(
        &clerk.client,
        &world.owner,
        &format!("/users/{owner}"),
        &json!({ "name": "mine", "roles": [] }),
    ));
    for (method, way) in [
        ("POST", "/disable"),
        ("POST", "/reset"),
        ("POST", "/owner"),
        ("DELETE", ""),
        ("DELETE", "/second-factor"),
    ] {
        refused(clerk.client.json(method, &format!("/users/{owner}{way}"), &json!({})));
    }
    refused(clerk.client.post(&format!("{hers}/owner"), &json!({})));
    refused(clerk.client.json("DELETE", &hers, &json!({})));
    for scopes in
        [json!(["audit:view"]), json!(["users:view", "roles:manage"]), json!(["*"]), json!(["users:*"])]
    {
        refused(clerk.client.post("/tokens", &json!({ "name": "more", "scopes": scopes })));
        refused(clerk.client.post("/statements", &json!({ "audience": "x", "scopes": scopes })));
    }
    refused(
        clerk.client.post("/tokens", &json!({ "name": "x", "scopes": ["users:view"], "account": owner })),
    );
    assert_eq!(
        accounts().to_string().replace(char::is_numeric, ""),
        before.to_string().replace(char::is_numeric, "")
    );
    let _ = world.owner.get("/me").expect(200);
}

#[test]
fn who_manages_roles_gives_none_a_scope_that_they_do_not_hold() {
    let world = World::new();
    let smith = json!({ "name": "Smith", "scopes": ["roles:view", "roles:manage"] });
    let smiths = text(&world.owner.post("/roles", &smith).expect(201).json(), "id");
    let carol = world.person("carol", &["Smith"]);
    let before = world.owner.get("/roles?limit=500").expect(200).json()["items"].clone();
    let more = json!(["roles:view", "roles:manage", "audit:export"]);
    refused(carol.client.post("/roles", &json!({ "name": "Own", "scopes": more })));
    refused(put(
        &carol.client,
        &world.owner,
        &format!("/roles/{smiths}"),
        &json!({ "name": "Smith", "scopes": more }),
    ));
    for builtin in 1..=4 {
        let path = format!("/roles/00000000-0000-7000-8000-00000000000{builtin}");
        refused(put(&carol.client, &world.owner, &path, &json!({ "name": "mine", "scopes": more })));
        refused(carol.client.json("DELETE", &path, &json!({})));
    }
    assert_eq!(world.owner.get("/roles?limit=500").expect(200).json()["items"], before);
}

#[test]
fn what_a_form_asks_for_is_taken_as_it_asks_and_no_further() {
    let world = World::new();
    let post = |path: &str, body: Value| world.owner.post(path, &body);
    // A version of what is not made yet, and an id of one's own choice.
    let mut template = world.owner.get(&format!("/templates/{}", world.ids["templates"])).expect(200).json();
    refused(post("/templates", template.clone()));
    template["name"] = json!("Copy");
    refused(post("/templates", template));
    for (path, body) in [
        ("/subnets", json!({ "name": "a", "cidr": "10.8.0.0/16", "version": 7 })),
        ("/users", json!({ "name": "service", "kind": "owner" })),
        ("/users", json!({ "name": "service", "roles": ["owner"] })),
        ("/users", json!({ "name": "early", "must_change": true, "version": 1 })),
    ] {
        refused(post(path, body));
    }
    let mut wrong = receiver("http://127.0.0.1:9/in");
    wrong["kind"] = json!("exec");
    refused(post("/receivers", wrong));
    let mut wrong = provider();
    wrong["name"] = json!("Other");
    wrong["mapping"] = json!("ops = owner");
    refused(post("/providers", wrong));
    // A service account becomes no person, and none has a password.
    let service = post("/users", json!({ "name": "robot", "kind": "service" })).expect(201).json();
    let path = format!("/users/{}", text(&service, "id"));
    refused(put(&world.owner, &world.owner, &path, &json!({ "name": "robot", "kind": "person" })));
    refused(post(&format!("{path}/reset"), json!({})));
    refused(post(&format!("{path}/owner"), json!({})));
    assert_eq!(list(&world.owner.get("/users?q=robot").expect(200).json(), "items").len(), 1);
}
