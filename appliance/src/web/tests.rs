//! The front door as a whole: every route by its access rule, the document, the pages, what holds for any request.

use crate::identity::scopes::{self, Builtin};
use crate::test::{PASSWORD, TestSite};
use crate::web::{Access, Matrix, Route};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A path of this row with its parameters filled in by what surely is not there.
fn filled(row: &Route) -> String {
    let parts = row.path.split('/').map(|part| match part {
        "{id}" => "019aab00-0000-7000-8000-000000000000",
        part if part.starts_with('{') => "nothing",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_route_asks_for_what_the_matrix_says() {
    let owner = TestSite::new().await;
    let nobody = owner.stranger();
    let mut holders = Vec::new();
    for role in Builtin::ALL {
        holders.push((role, owner.with_roles(role.name(), &[role.id()]).await));
    }
    for row in owner.site.rows() {
        let prefixes: &[&str] = if row.twin { &[""] } else { &["", "/api/v1"] };
        for prefix in prefixes {
            let path = match (*prefix, filled(row)) {
                ("", path) => path,
                (prefix, path) => format!("{prefix}{}", path.trim_end_matches('/')),
            };
            let body = if row.method == Method::GET { Value::Null } else { json!({}) };
            if row.rate_limited {
                owner.hand.advance(std::time::Duration::from_secs(1));
            }
            let refused = nobody.send_json(row.method.clone(), &path, &body).await.status;
            match row.access {
                Access::Public => assert_ne!(refused, StatusCode::UNAUTHORIZED, "{} {path}", row.method),
                _ => assert_eq!(refused, StatusCode::UNAUTHORIZED, "{} {path}", row.method),
            }
            if row.path == "/sign-out" {
                continue; // it would end the session that the other rows are tried with
            }
            let open = owner.send_json(row.method.clone(), &path, &body).await.status;
            let shut = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED];
            assert!(!shut.contains(&open), "{} {path}: {open} for the owner", row.method);
            for (role, holder) in &holders {
                let answer = holder.send_json(row.method.clone(), &path, &body).await.status;
                let refused = answer == StatusCode::FORBIDDEN;
                let (admits, name) = (row.access.admits(&role.scopes()), role.name());
                assert_eq!(refused, !admits, "{} {path}: {answer} for {name}", row.method);
            }
        }
    }
    let rows: Vec<Route> = owner.site.rows().cloned().collect();
    let roles: Vec<_> = Builtin::ALL.map(|role| (role.name().to_owned(), role.scopes())).to_vec();
    let line = |row: crate::web::MatrixRow| {
        let yes = |open: bool| if open { "yes" } else { "no" };
        let columns = roles.iter().map(|(name, _)| format!(" {name}: {:3}", yes(row.roles.contains(name))));
        let nobody = yes(row.access == "public");
        let columns: String = columns.collect();
        format!("{:6} {:36} {:18} nobody: {nobody:3}{columns} owner: yes\n", row.method, row.path, row.access)
    };
    let text: String = Matrix::of(&rows, &roles).rows.into_iter().map(line).collect();
    let snapshot = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/snapshots/access.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(snapshot, &text).unwrap();
    }
    let known = std::fs::read_to_string(snapshot).unwrap_or_default();
    assert_eq!(text, known, "the access matrix changed: read it, then run again with UPDATE_SNAPSHOTS=1");
}

#[tokio::test]
async fn every_row_names_a_declared_scope_a_docs_page_and_what_it_does() {
    let site = TestSite::empty();
    for row in site.site.rows() {
        if let Access::Scope(scope) = row.access {
            assert!(scopes::find(scope).is_some(), "{scope} is not declared");
        }
        assert!(
            site.app.docs.page(row.docs).is_some(),
            "{} {}: docs/{}.md is not there",
            row.method,
            row.path,
            row.docs
        );
        assert!(!row.summary.is_empty(), "{} {} has no summary", row.method, row.path);
        assert!(
            row.form.as_ref().is_none_or(|form| site.site.rows().any(|row| row.path == *form)),
            "{}: its form",
            row.path
        );
    }
}

#[tokio::test]
async fn a_scope_of_what_is_not_there_yet_opens_nothing_and_whoever_gives_it_is_told() {
    let site = TestSite::new().await;
    let asked: BTreeSet<&str> = site
        .site
        .rows()
        .filter_map(|row| match row.access {
            Access::Scope(scope) => Some(scope),
            Access::Public | Access::Pending | Access::SignedIn => None,
        })
        .collect();
    for scope in scopes::ALL {
        // Rows for everyone ask for this one, of another's things.
        let asked = asked.contains(scope.name) || scope.name == "tokens:manage";
        assert_ne!(scope.later, asked, "{}: later(…) or scope(…) in identity/scopes.rs", scope.name);
    }
    let said = "Nothing in this version asks for it yet.";
    let later = scopes::ALL.iter().filter(|scope| scope.later).count();
    for (page, times) in
        [("/roles/new", later), ("/tokens/new", later), ("/roles/preview?scopes=scans:view", 0)]
    {
        assert_eq!(site.page(page).await.text.matches(said).count(), times, "{page}");
    }
    let preview = site.page("/roles/preview?scopes=alarms:handle&scopes=scans:view").await.text;
    assert_eq!(preview.matches(said).count(), 1, "{preview}");
}

#[tokio::test]
async fn the_document_describes_every_route_and_every_reference_resolves() {
    let site = TestSite::empty();
    let document = site.site.openapi();
    let mut ids = BTreeSet::new();
    for row in site.site.rows().filter(|row| !row.twin) {
        let path = row.path.replace("{*", "{");
        let operation = &document["paths"][path.as_str()][row.method.as_str().to_ascii_lowercase()];
        assert!(operation["summary"].is_string(), "{} {path} is not documented", row.method);
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
            "{path}: its id is not its own"
        );
        let declared: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let used: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(declared, used, "{path}");
    }
    references(document, &mut |reference| {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    });
}

fn references(value: &Value, check: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                check(reference);
            }
            map.values().for_each(|value| references(value, check));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, check)),
        _ => {}
    }
}

#[tokio::test]
async fn until_there_is_an_owner_everything_leads_to_setup_and_afterwards_nothing_does() {
    let site = TestSite::empty();
    for path in ["/", "/access", "/nowhere", "/sign-in"] {
        let page = site.page(path).await;
        assert_eq!((page.status, page.header("location")), (StatusCode::SEE_OTHER, "/setup"), "{path}");
    }
    assert_eq!(site.get("/api/v1/access").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(site.page("/setup").await.status, StatusCode::OK);
    let wrong = [("code", "WRON-GWRO-NGWR"), ("name", "ada"), ("password", "short"), ("password_again", "")];
    let again = site.post_form("/setup", &wrong).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(again.text.contains("value=\"ada\""), "what was typed is kept");
    assert!(!again.text.contains("short"), "but not a password");

    let site = TestSite::new().await;
    assert_eq!(site.page("/setup").await.status, StatusCode::NOT_FOUND);
    let code = site.app.identity.setup_code().to_owned();
    let second = json!({ "code": code, "name": "eve", "password": PASSWORD, "password_again": PASSWORD });
    assert_eq!(site.send_json(Method::POST, "/setup", &second).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_session_starts_with_the_password_and_ends_with_sign_out() {
    let site = TestSite::new().await;
    let mut visitor = site.stranger();
    let page = visitor.page("/access").await;
    assert_eq!((page.status, page.header("location")), (StatusCode::SEE_OTHER, "/sign-in?next=%2Faccess"));
    let wrong =
        visitor.send_json(Method::POST, "/sign-in", &json!({"name": "ada", "password": "wrong"})).await;
    let unknown =
        visitor.send_json(Method::POST, "/sign-in", &json!({"name": "eve", "password": "wrong"})).await;
    assert_eq!((wrong.status, wrong.fields()), (unknown.status, unknown.fields()));
    let right =
        visitor.send_json(Method::POST, "/sign-in", &json!({"name": "Ada", "password": PASSWORD})).await;
    assert_eq!(right.status, StatusCode::OK);
    visitor.take_cookie(&right);
    assert_eq!(visitor.get("/me").await.json()["user"]["name"], "ada");
    assert_eq!(visitor.send_json(Method::POST, "/sign-out", &json!({})).await.status, StatusCode::OK);
    assert_eq!(visitor.get("/me").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(site.get("/me").await.status, StatusCode::OK, "the other session goes on");
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over() {
    let site = TestSite::new().await;
    for _ in 0..12 {
        site.hand.advance(std::time::Duration::from_secs(3600 - 1));
        assert_eq!(site.get("/me").await.status, StatusCode::OK);
    }
    site.hand.advance(std::time::Duration::from_secs(12));
    assert_eq!(site.get("/me").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn tries_of_a_password_are_limited_by_source() {
    let site = TestSite::new().await.stranger();
    let mut codes = Vec::new();
    for _ in 0..12 {
        codes.push(
            site.send_json(Method::POST, "/sign-in", &json!({"name": "a", "password": "b"})).await.status,
        );
    }
    assert!(codes.contains(&StatusCode::TOO_MANY_REQUESTS), "{codes:?}");
    let page = site.post_form("/sign-in", &[("name", "a"), ("password", "b")]).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.headers.contains_key("retry-after"));
    for part in ["Too many tries", "then try again", "name=\"password\""] {
        assert!(page.text.contains(part), "the form again, with a word about it: {}", page.text);
    }
}

#[tokio::test]
async fn whatever_is_asked_the_answer_carries_the_security_headers_and_an_id() {
    let site = TestSite::new().await;
    for path in ["/me", "/nowhere", "/static/portolan.css", "/api/v1/openapi.json", "/api/v1/nowhere"] {
        let answer = site.get(path).await;
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert!(!answer.header("content-security-policy").contains("unsafe"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-request-id").len(), 16, "{path}");
    }
    let missing = site.get("/nowhere").await;
    assert_eq!(missing.header("content-type"), "application/problem+json");
    assert_eq!(missing.json()["instance"], missing.header("x-request-id"));
    let page = site.page("/nowhere").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text.contains(page.header("x-request-id")));
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_and_says_why() {
    let site = TestSite::new().await.stranger();
    let post = |media: &'static str, body: Vec<u8>| {
        site.send(Method::POST, "/sign-in", "application/json", Some((media, body)))
    };
    assert_eq!(
        post("application/json", vec![b' '; 2 * 1024 * 1024]).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(post("application/json", b"{".to_vec()).await.fields(), ["body"]);
    assert_eq!(post("application/json", b"[]".to_vec()).await.fields(), ["body"]);
    assert_eq!(post("application/json", b"{\"name\":\"\xff\"}".to_vec()).await.fields(), ["body"]);
    assert_eq!(post("application/x-www-form-urlencoded", b"name=%ff".to_vec()).await.fields(), ["body"]);
    assert_eq!(post("text/plain", b"x".to_vec()).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(
        post("application/json", b"{\"name\":\"a\",\"password\":\"b\",\"owner\":true}".to_vec())
            .await
            .fields(),
        ["owner"]
    );
}

#[tokio::test]
async fn another_method_on_a_known_path_is_405_and_another_media_type_406() {
    let site = TestSite::new().await;
    assert_eq!(
        site.send_json(Method::DELETE, "/access", &Value::Null).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(site.send(Method::GET, "/access", "image/png", None).await.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn wrong_passwords_are_few_a_minute_whatever_their_pace() {
    let site = TestSite::new().await;
    let before = site.app.store.audit_head().await.unwrap().seq;
    let mut refused = 0;
    for _ in 0..20 {
        let tried = json!({"name": "ada", "password": "wrong"});
        let answer = site.send_json(Method::POST, "/sign-in", &tried).await;
        refused += u32::from(answer.status == StatusCode::TOO_MANY_REQUESTS);
        site.hand.advance(std::time::Duration::from_millis(200));
    }
    assert_eq!(refused, 10);
    assert_eq!(
        site.app.store.audit_head().await.unwrap().seq - before,
        10,
        "a flood does not fill the audit"
    );
    site.hand.advance(std::time::Duration::from_secs(900));
    let right = json!({"name": "ada", "password": PASSWORD});
    assert_eq!(site.send_json(Method::POST, "/sign-in", &right).await.status, StatusCode::OK);
}

#[test]
fn every_route_of_a_sign_in_and_of_tokens_is_limited_by_source() {
    let site = TestSite::empty();
    // They take and give nothing that could be guessed.
    let plain = ["/sign-out", "/theme"];
    let rooms = ["/sign-in", "/prove", "/reset", "/setup", "/tokens", "/statements"];
    // Looks that take what could be guessed, or that anyone may ask for what tokens are checked with.
    let looks = ["/reset/{token}", "/sign-in/provider/{id}/back", "/jwks.json"];
    let bare: Vec<String> = site
        .site
        .rows()
        .filter(|row| !row.rate_limited && !plain.contains(&row.path.as_str()))
        .filter(|row| {
            if row.method == Method::GET {
                // A look at a form takes nothing: no page of a form, or list for who is signed in, is meant.
                let bare = row.template.is_none() && row.access == Access::Public;
                let room = rooms.iter().any(|room| row.path.starts_with(room));
                return looks.contains(&row.path.as_str()) || row.path.ends_with("/{token}") || bare && room;
            }
            let open = matches!(row.access, Access::Public | Access::Pending);
            open || rooms.iter().any(|room| row.path.starts_with(room))
        })
        .map(Route::name)
        .collect();
    assert!(bare.is_empty(), "say .rate_limited() in the table: {bare:?}");
    for path in looks {
        assert!(site.site.rows().any(|row| row.path == path), "{path} is gone");
    }
}

/// Resources that are not for everyone: who sees them, on whatever page, leaves an entry.
const SENSITIVE: [&str; 9] =
    ["audit", "checkpoints", "receivers", "users", "sessions", "tokens", "settings", "oidc", "scanners"];

/// Rows of theirs that show nothing of them.
const PLAIN: [(&str, &str); 3] = [
    ("/new", "a form of what is not there yet"),
    ("/audit/checkpoints/test", "a form to paste a checkpoint into"),
    ("/vantages", "a vantage is the name of a place"),
];

#[test]
fn what_is_not_for_everyone_leaves_an_entry_of_who_looked() {
    let site = TestSite::empty();
    let resource = |scope: &'static str| scope.split_once(':').map_or(scope, |(resource, _)| resource);
    for known in SENSITIVE {
        let is_there = scopes::ALL.iter().any(|scope| resource(scope.name) == known);
        assert!(is_there, "no scope is about {known}: nothing is guarded by that name");
    }
    let plain = |path: &str| PLAIN.iter().any(|(part, _)| path.ends_with(part) || path.starts_with(part));
    let guarded = |row: &&Route| match row.access {
        Access::Scope(scope) => SENSITIVE.contains(&resource(scope)) && !plain(&row.path),
        Access::Public | Access::Pending | Access::SignedIn => false,
    };
    let rows: Vec<&Route> =
        site.site.rows().filter(|row| row.method == Method::GET).filter(guarded).collect();
    assert!(rows.len() > 25, "{}", rows.len());
    let silent: Vec<String> = rows.iter().filter(|row| row.viewed.is_none()).map(|row| row.name()).collect();
    assert!(silent.is_empty(), "say .viewed(\"what it shows\") in the table: {silent:?}");
}

#[tokio::test]
async fn a_look_at_anothers_token_or_statements_leaves_an_entry_and_one_at_ones_own_none() {
    let site = TestSite::new().await;
    let grace = site.person("grace", &["viewer"]).await;
    let token = |name: &str| json!({ "name": name, "scopes": ["scans:view"] });
    let own = grace.send_json(Method::POST, "/tokens", &token("hers")).await.json()["item"]["id"].clone();
    let path = format!("/tokens/{}", own.as_str().unwrap());
    for path in [path.clone(), format!("{path}/revoke"), "/statements".to_owned(), "/tokens".to_owned()] {
        assert_eq!(grace.get(&path).await.status, StatusCode::OK, "{path}");
    }
    let looks = async || {
        let all = accesses(&site).await;
        let looks = all.iter().map(|look| look[0].as_str().unwrap().to_owned());
        looks
            .filter(|action| action.starts_with("token.") || action.starts_with("statement."))
            .collect::<Vec<_>>()
    };
    assert!(looks().await.is_empty());
    assert_eq!(site.get(&path).await.status, StatusCode::OK);
    assert_eq!(site.get("/statements").await.status, StatusCode::OK);
    assert_eq!(looks().await, ["token.viewed", "statement.viewed"]);
}

#[tokio::test]
async fn a_form_that_comes_back_and_a_button_pressed_twice_are_looks() {
    let site = TestSite::new().await;
    let grace = site.person("grace", &["viewer"]).await;
    let id = grace.own_id().await;
    let token = json!({ "name": "hers", "scopes": ["scans:view"] });
    let token = grace.send_json(Method::POST, "/tokens", &token).await.json()["item"]["id"].clone();
    let revoke = format!("/tokens/{}/revoke", token.as_str().unwrap());
    // What was looked at is written once in ten minutes.
    let later = || site.hand.advance(std::time::Duration::from_secs(601));
    let looks = async || {
        let all = accesses(&site).await;
        let looks = all.iter().map(|look| (look[0].clone(), look[1].clone(), look[2].clone()));
        looks.filter(|(action, ..)| *action != "audit.viewed").collect::<Vec<_>>()
    };
    let before = looks().await.len();
    let enable = format!("/users/{id}/enable");
    assert_eq!(site.post_form(&enable, &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(looks().await.len(), before, "it shows nothing: it leads on");
    later();
    assert_eq!(site.send_json(Method::POST, &revoke, &json!({})).await.status, StatusCode::OK);
    assert_eq!(looks().await.len(), before, "a change has its own entry");
    assert_eq!(site.send_json(Method::POST, &revoke, &json!({})).await.status, StatusCode::OK);
    let again = site.send_json(Method::POST, &enable, &json!({})).await;
    assert_eq!((again.status, &again.json()["name"]), (StatusCode::OK, &json!("grace")));
    later();
    let form = site.post_form(&format!("/users/{id}"), &[("name", ""), ("version", "1")]).await;
    assert_eq!(form.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", form.text);
    let row = |action: &str, id: &str, row: &str| (json!(action), json!(id), json!(row));
    assert_eq!(
        looks().await[before..],
        [
            row("token.viewed", token.as_str().unwrap(), "POST /tokens/{id}/revoke"),
            row("user.viewed", &id, "POST /users/{id}/enable"),
            row("user.viewed", &id, "GET /users/{id}/edit"),
        ]
    );
}

/// Action, resource, id, route and count of the entries of access so far, oldest first; asking leaves one too.
async fn accesses(site: &TestSite) -> Vec<Value> {
    let answer = site.get("/audit?class=access&sort=seq&limit=500").await.json();
    let mut all = Vec::new();
    for line in answer["items"].as_array().unwrap() {
        let entry = site.get(&format!("/audit/{}", line["seq"])).await.json();
        all.push(json!([
            entry["action"],
            entry["resource_id"],
            entry["detail"]["route"],
            entry["actor"]["method"]
        ]));
    }
    all
}

#[tokio::test]
async fn a_look_and_a_file_leave_one_entry_each_and_what_is_for_everyone_none() {
    let site = TestSite::new().await;
    for path in ["/audit", "/audit/1", "/audit", "/scans", "/subnets", "/me", "/vantages"] {
        assert_eq!(site.get(path).await.status, StatusCode::OK, "{path}");
    }
    let missing = "/scanners/019aab00-0000-7000-8000-000000000000";
    assert_eq!(site.get(missing).await.status, StatusCode::NOT_FOUND);
    assert_eq!(accesses(&site).await, [json!(["audit.viewed", "", "GET /audit", "session"])]);
}

#[tokio::test]
async fn who_asks_for_what_they_may_not_is_written_down_and_a_flood_is_one_entry() {
    let site = TestSite::new().await;
    let copy = "INSERT INTO user (id, name, password_hash, is_owner, created_at)
                SELECT '019aab00-0000-7000-8000-00000000000e', 'eve', password_hash, 0, 0 FROM user";
    let entry = crate::audit::Entry::event("x.y", &json!(null));
    let actor = crate::audit::Actor::system("test");
    site.app.store.change(&actor, move |tx| Ok((entry, tx.execute(copy, [])?))).await.unwrap();
    let mut eve = site.stranger();
    let signed_in =
        eve.send_json(Method::POST, "/sign-in", &json!({"name": "eve", "password": PASSWORD})).await;
    eve.take_cookie(&signed_in);
    for _ in 0..20 {
        assert_eq!(eve.get("/audit/7").await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(eve.send_json(Method::POST, "/subnets", &json!({})).await.status, StatusCode::FORBIDDEN);
    site.hand.advance(std::time::Duration::from_secs(60));
    site.app.audit.tell(false).await.unwrap();
    let denied = site.get("/audit?action=access.denied&outcome=refused&actor=EVE&sort=seq").await.json();
    let routes: Vec<&Value> =
        denied["items"].as_array().unwrap().iter().map(|line| &line["resource_id"]).collect();
    assert_eq!(routes, ["GET /audit/{seq}", "POST /subnets", "GET /audit/{seq}"]);
    let last = site.get(&format!("/audit/{}", denied["items"][2]["seq"])).await.json();
    assert_eq!(last["detail"], json!({ "route": "GET /audit/{seq}", "scope": "audit:view", "count": 19 }));
}

#[test]
fn a_form_shown_again_shows_nothing_its_sender_may_not_see() {
    let site = TestSite::empty();
    for row in site.site.rows() {
        let Some(form) = &row.form else { continue };
        let page = site.site.rows().find(|page| page.method == Method::GET && page.path == *form).unwrap();
        // An action's rule does not imply its page's: a form is rendered without asking the page's rule again.
        let known = [page.access == row.access, page.access == Access::Public];
        assert!(
            known.contains(&true),
            "{} {} shows {form}, which asks for {:?}",
            row.method,
            row.path,
            page.access
        );
    }
}
