//! The rules of tokens, through the routes, and what an attacker would try.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::identity::scopes::{self, Builtin};
use crate::test::TestSite;
use crate::web::Access;

/// Makes a token: its text and its id.
async fn made(site: &TestSite, body: &Value) -> (String, String) {
    // Making tokens is limited by source.
    site.hand.advance(Duration::from_secs(1));
    let answer = site.send_json(Method::POST, "/tokens", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let answer = answer.json();
    (answer["token"].as_str().unwrap().to_owned(), answer["item"]["id"].as_str().unwrap().to_owned())
}

async fn service(site: &TestSite, role: Builtin) -> Uuid {
    let id = site.app.ids.new();
    site.sql(&format!(
        "INSERT INTO user (id, name, kind, created_at, updated_at) VALUES ('{id}', 'svc-{id}', 'service', 0, 0);
         INSERT INTO user_role (user, role) VALUES ('{id}', '{}')",
        role.id()
    ))
    .await;
    id
}

/// The entries whose action begins so, newest first: action, and the whole entry.
async fn told(site: &TestSite, action: &str) -> Vec<Value> {
    let like = format!("{action}%");
    let sql = "SELECT entry FROM audit_entry WHERE action LIKE ? ORDER BY seq DESC";
    let row = |row: &rusqlite::Row| row.get::<_, String>(0);
    let texts = site.app.store.read(move |db| crate::listing::rows(db, sql, [like], row)).await.unwrap();
    texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

async fn revoke(site: &TestSite, id: &str) -> StatusCode {
    site.send_json(Method::POST, &format!("/api/v1/tokens/{id}/revoke"), &Value::Null).await.status
}

#[tokio::test]
async fn a_token_is_told_once_works_without_cookie_or_origin_and_is_void_when_revoked() {
    let site = TestSite::new().await;
    let (token, id) =
        made(&site, &json!({ "name": "x", "scopes": ["subnets:view", "subnets:manage"] })).await;
    let script = site.stranger().showing(&token);
    let me = script.get("/api/v1/me").await.json();
    assert_eq!(
        (&me["user"]["name"], &me["scopes"]),
        (&json!("ada"), &json!(["subnets:manage", "subnets:view"]))
    );
    let foreign = [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")];
    let body = ("application/json", br#"{"name":"A","cidr":"10.0.0.0/24"}"#.to_vec());
    let answer =
        script.send_with(Method::POST, "/api/v1/subnets", "application/json", &foreign, Some(body)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    assert_eq!(script.get("/scans").await.status, StatusCode::FORBIDDEN, "beyond its scopes");
    let page = script.page("/subnets").await;
    assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "application/json"));

    let shown = site.get(&format!("/tokens/{id}")).await;
    assert!(!shown.text.contains(&token[8..]), "{}", shown.text);
    assert_eq!(revoke(&site, &id).await, StatusCode::OK);
    let refused = script.get("/api/v1/me").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    assert_eq!(
        script.page("/subnets").await.status,
        StatusCode::UNAUTHORIZED,
        "no page to sign in for a script"
    );
    // Its name is free again.
    made(&site, &json!({ "name": "X", "scopes": ["subnets:view"] })).await;
}

#[tokio::test]
async fn a_token_is_looked_for_in_its_header_and_nowhere_else() {
    let site = TestSite::new().await;
    let (token, _) = made(&site, &json!({ "name": "x", "scopes": ["subnets:view", "subnets:manage"] })).await;
    let stranger = site.stranger();
    for query in ["access_token", "token", "bearer", "authorization", "api_key"] {
        let answer = stranger.get(&format!("/api/v1/me?{query}={token}")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{query}");
        let form = format!("name=A&cidr=10.0.0.0/24&{query}={token}").into_bytes();
        let media = "application/x-www-form-urlencoded";
        let answer = stranger.send(Method::POST, "/subnets", "application/json", Some((media, form))).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{query} in a form");
    }
    let basic =
        format!("Basic {}", portolan_scanner::wire::base64::encode(format!("ada:{token}").as_bytes()));
    for (name, value) in [
        ("cookie", format!("__Host-session={token}")),
        ("authorization", basic),
        ("authorization", token.clone()),
        ("authorization", format!("Token {token}")),
        ("x-api-key", token.clone()),
        ("proxy-authorization", format!("Bearer {token}")),
    ] {
        let shown = [(name, value.as_str())];
        let answer = stranger.send_with(Method::GET, "/api/v1/me", "*/*", &shown, None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}: {value}");
    }
    // Twice is not one of them.
    let twice = [("authorization", format!("Bearer {token}"))];
    let twice = [(twice[0].0, twice[0].1.as_str())];
    let script = stranger.showing(&token);
    let answer = script.send_with(Method::GET, "/api/v1/me", "*/*", &twice, None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn with_a_cookie_beside_it_the_token_decides() {
    let site = TestSite::new().await;
    let (token, id) = made(&site, &json!({ "name": "x", "scopes": ["subnets:view"] })).await;
    let both = site.showing(&token);
    assert_eq!(both.get("/me").await.json()["scopes"], json!(["subnets:view"]));
    assert_eq!(both.get("/scans").await.status, StatusCode::FORBIDDEN, "though the session may");
    revoke(&site, &id).await;
    assert_eq!(both.get("/me").await.status, StatusCode::UNAUTHORIZED, "the session does not help it");
    assert_eq!(site.showing("").get("/docs").await.status, StatusCode::UNAUTHORIZED, "nor where anyone may");
    let ended = both.send_json(Method::POST, "/sign-out", &json!({})).await;
    assert_eq!(ended.status, StatusCode::UNAUTHORIZED);
    assert_eq!(site.get("/me").await.status, StatusCode::OK, "the session goes on");
}

#[tokio::test]
async fn a_token_gives_what_its_account_holds_at_the_time_and_no_more() {
    let site = TestSite::new().await;
    let body = json!({ "name": "Night", "scopes": ["scans:view", "scans:run"] });
    let role = site.send_json(Method::POST, "/roles", &body).await.json()["id"].as_str().unwrap().to_owned();
    let grace = site.with_roles("grace", &[role.parse().unwrap()]).await;
    for scope in ["users:manage", "audit:view"] {
        let wanted = json!({ "name": "x", "scopes": ["scans:view", scope] });
        let answer = grace.send_json(Method::POST, "/tokens", &wanted).await;
        assert_eq!(answer.fields(), ["scopes"], "{scope}: {}", answer.text);
    }
    let (token, id) = made(&grace, &json!({ "name": "x", "scopes": ["scans:view", "scans:run"] })).await;
    let script = site.stranger().showing(&token);
    assert_eq!(script.get("/me").await.json()["scopes"], json!(["scans:run", "scans:view"]));
    let edit = json!({ "name": "Night", "scopes": ["scans:view", "subnets:view"], "version": 1 });
    let answer = site.send_json(Method::PUT, &format!("/api/v1/roles/{role}"), &edit).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(
        script.get("/me").await.json()["scopes"],
        json!(["scans:view"]),
        "neither what it lost nor what is new"
    );
    assert_eq!(site.get(&format!("/tokens/{id}")).await.json()["counts"], json!(["scans:view"]));
    site.sql("UPDATE user SET status = 'disabled' WHERE name = 'grace'").await;
    assert_eq!(script.get("/me").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(told(&site, "token.refused").await[0]["detail"]["reason"], json!("account-disabled"));
}

#[tokio::test]
async fn a_bad_token_is_refused_by_field_and_nothing_more_than_its_form_has_is_taken() {
    let site = TestSite::new().await;
    let before = site.app.store.audit_head().await.unwrap().seq;
    for (with, field) in [
        (json!({ "name": " " }), "name"),
        (json!({ "scopes": [] }), "scopes"),
        (json!({ "scopes": ["scans:fly"] }), "scopes"),
        (json!({ "days": 0 }), "days"),
        (json!({ "days": 3651 }), "days"),
        (json!({ "sources": "ten" }), "sources"),
        (json!({ "account": Uuid::nil() }), "account"),
        (json!({ "user": Uuid::nil() }), "user"),
        (json!({ "id": Uuid::nil() }), "id"),
        (json!({ "hash": "00" }), "hash"),
        (json!({ "expires_at": "2099-01-01T00:00:00Z" }), "expires_at"),
        (json!({ "revoked_at": null }), "revoked_at"),
        (json!({ "made_by": "eve" }), "made_by"),
    ] {
        site.hand.advance(Duration::from_secs(1));
        let mut body = json!({ "name": "x", "scopes": ["scans:view"] });
        for (key, value) in with.as_object().unwrap() {
            body[key] = value.clone();
        }
        let answer = site.send_json(Method::POST, "/tokens", &body).await;
        assert_eq!((answer.status.as_u16(), answer.fields()), (422, vec![field.to_owned()]), "{body}");
    }
    assert_eq!(site.app.store.audit_head().await.unwrap().seq, before);
}

#[tokio::test]
async fn a_token_of_another_account_is_not_there_for_who_may_not_see_it() {
    let site = TestSite::new().await;
    let (_, id) = made(&site, &json!({ "name": "owner's", "scopes": ["scans:view"] })).await;
    let mallory = site.with_roles("mallory", &[Builtin::Operator.id()]).await;
    for path in [format!("/tokens/{id}"), format!("/tokens/{id}/revoke")] {
        assert_eq!(mallory.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(revoke(&mallory, &id).await, StatusCode::NOT_FOUND);
    assert_eq!(mallory.get("/tokens").await.json()["total"], json!(0));
    assert_eq!(mallory.get("/tokens/all").await.status, StatusCode::FORBIDDEN);
    // For another's account none is made, by no spelling of the field.
    let owner = site.get("/me").await.json()["user"]["id"].clone();
    let wanted = json!({ "name": "x", "scopes": ["scans:view"], "account": owner });
    assert_eq!(mallory.send_json(Method::POST, "/tokens", &wanted).await.fields(), ["account"]);

    let body = json!({ "name": "Auditor", "scopes": ["tokens:view"] });
    let role = site.send_json(Method::POST, "/roles", &body).await.json()["id"].as_str().unwrap().to_owned();
    let auditor = site.with_roles("auditor", &[role.parse().unwrap()]).await;
    assert_eq!(auditor.get(&format!("/tokens/{id}")).await.json()["may_revoke"], json!(false));
    assert_eq!(revoke(&auditor, &id).await, StatusCode::FORBIDDEN);
    assert_eq!(auditor.get("/tokens/all").await.json()["total"], json!(1));
    let admin = site.with_roles("root", &[Builtin::Admin.id()]).await;
    assert_eq!(revoke(&admin, &id).await, StatusCode::OK);
}

#[tokio::test]
async fn a_service_account_gets_tokens_from_who_manages_them_within_what_both_hold() {
    let site = TestSite::new().await;
    let account = service(&site, Builtin::Viewer).await;
    let form = site.page("/tokens/new").await;
    assert!(form.text.contains(&account.to_string()), "{}", form.text);
    let wanted = |scope: &str| json!({ "name": "x", "scopes": [scope], "account": account });
    let (token, id) = made(&site, &wanted("scans:view")).await;
    let script = site.stranger().showing(&token);
    assert_eq!(script.get("/me").await.json()["user"]["id"], json!(account));
    assert_eq!(site.send_json(Method::POST, "/tokens", &wanted("scans:run")).await.fields(), ["scopes"]);
    let item = site.get(&format!("/tokens/{id}")).await.json();
    assert_eq!((&item["service"], &item["made_by"]), (&json!(true), &json!("ada")));

    // Who manages tokens but holds little cannot reach through a strong service account.
    let strong = service(&site, Builtin::Admin).await;
    let body = json!({ "name": "Clerk", "scopes": ["tokens:manage", "scans:view"] });
    let role = site.send_json(Method::POST, "/roles", &body).await.json()["id"].as_str().unwrap().to_owned();
    let clerk = site.with_roles("clerk", &[role.parse().unwrap()]).await;
    let wanted = json!({ "name": "y", "scopes": ["users:manage"], "account": strong });
    assert_eq!(clerk.send_json(Method::POST, "/tokens", &wanted).await.fields(), ["scopes"]);
    let (weak, _) = made(&clerk, &json!({ "name": "y", "scopes": ["scans:view"], "account": strong })).await;
    assert_eq!(site.stranger().showing(&weak).get("/me").await.json()["scopes"], json!(["scans:view"]));
}

#[tokio::test]
async fn what_came_with_a_token_makes_no_other_token() {
    let site = TestSite::new().await;
    let all: Vec<&str> = scopes::ALL.iter().map(|scope| scope.name).collect();
    let (token, _) = made(&site, &json!({ "name": "x", "scopes": all })).await;
    let script = site.stranger().showing(&token);
    let answer = script
        .send_json(Method::POST, "/api/v1/tokens", &json!({ "name": "y", "scopes": ["scans:view"] }))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.json()["type"], json!("/docs/errors#in-person"));
}

#[tokio::test]
async fn a_token_that_is_over_or_from_elsewhere_is_refused_in_the_same_words() {
    let site = TestSite::new().await;
    let bound = json!({ "name": "bound", "scopes": ["scans:view"], "days": 1, "sources": "10.9.0.0/16, fd00:9::/64" });
    let (token, id) = made(&site, &bound).await;
    let script = site.stranger().showing(&token);
    let wrong = "ptl_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAbu3xd7";
    let mut texts = Vec::new();
    for refused in [
        script.get("/me").await,
        script.seen_from("10.10.0.1").get("/me").await,
        site.stranger().showing(wrong).get("/me").await,
        site.stranger().showing("nonsense").get("/me").await,
    ] {
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        let mut problem = refused.json();
        problem["instance"] = Value::Null;
        texts.push(problem);
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
    assert_eq!(script.seen_from("10.9.3.4").get("/me").await.status, StatusCode::OK);
    assert_eq!(script.seen_from("::ffff:10.9.3.4").get("/me").await.status, StatusCode::OK);
    assert_eq!(script.seen_from("fd00:9::7").get("/me").await.status, StatusCode::OK);
    site.hand.advance(Duration::from_secs(86_400));
    assert_eq!(script.seen_from("10.9.3.4").get("/me").await.status, StatusCode::UNAUTHORIZED);
    let reasons: Vec<Value> =
        told(&site, "token.refused").await.iter().map(|entry| entry["detail"]["reason"].clone()).collect();
    assert_eq!(reasons, ["expired", "unknown", "unknown", "source", "source"]);
    assert_eq!(told(&site, "token.refused").await[0]["resource_id"], json!(id));
    // The session that makes tokens ended meanwhile; the token's page is seen by who signs in again.
}

#[tokio::test]
async fn the_first_use_from_a_network_is_an_entry_and_the_last_use_is_noted_by_the_minute() {
    let site = TestSite::new().await;
    let (token, id) = made(&site, &json!({ "name": "x", "scopes": ["subnets:view"] })).await;
    let script = site.stranger().showing(&token);
    let path = format!("/tokens/{id}");
    assert_eq!(site.get(&path).await.json()["last_used"], Value::Null);
    for _ in 0..3 {
        script.seen_from("10.9.3.4").get("/subnets").await;
        script.seen_from("fd00:9::1").get("/subnets").await;
        script.seen_from("fd00:9::2").get("/subnets").await;
    }
    let first = told(&site, "token.first-use").await;
    assert_eq!(first.len(), 2, "{first:?}");
    assert_eq!((&first[0]["class"], &first[0]["detail"]["network"]), (&json!("sign-in"), &json!("fd00:9::")));
    assert_eq!(first[1]["actor"]["method"], json!(format!("token:{id}")));
    let at = site.get(&path).await.json()["last_used"].clone();
    site.hand.advance(Duration::from_secs(59));
    script.seen_from("10.9.3.4").get("/subnets").await;
    assert_eq!(site.get(&path).await.json()["last_used"], at, "at most once a minute");
    site.hand.advance(Duration::from_secs(1));
    let head = site.app.store.audit_head().await.unwrap().seq;
    script.seen_from("10.9.3.4").get("/subnets").await;
    assert_ne!(site.get(&path).await.json()["last_used"], at);
    assert_eq!(site.app.store.audit_head().await.unwrap().seq, head, "a trace is no entry");
    assert_eq!(site.get(&path).await.json()["uses"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn wrong_tokens_are_few_a_minute_and_lock_nobody_out() {
    let site = TestSite::new().await;
    let (token, _) = made(&site, &json!({ "name": "x", "scopes": ["scans:view"] })).await;
    let stranger = site.stranger();
    stranger.showing(&token).get("/me").await;
    let head = site.app.store.audit_head().await.unwrap().seq;
    let mut limited = 0;
    for _ in 0..25 {
        let answer = stranger.showing("ptl_wrong").get("/me").await;
        limited += u32::from(answer.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(limited, 15);
    assert_eq!(site.app.store.audit_head().await.unwrap().seq - head, 10, "a flood does not fill the audit");
    assert_eq!(
        stranger.showing(&token).get("/me").await.status,
        StatusCode::OK,
        "a right one from there is taken"
    );
    assert_eq!(
        stranger.seen_from("192.0.2.9").showing("x").get("/me").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn the_machines_operator_may_everything_under_its_own_name_and_an_address_grants_nothing() {
    let site = TestSite::new().await;
    for source in ["127.0.0.1", "::1"] {
        assert_eq!(site.stranger().seen_from(source).get("/me").await.status, StatusCode::UNAUTHORIZED);
    }
    let token = site.app.tokens.operator.renew();
    let local = site.stranger().showing(&token);
    let me = local.get("/api/v1/me").await.json();
    assert_eq!((&me["user"], &me["scopes"]), (&Value::Null, &json!(scopes::every())));
    let made_one =
        local.send_json(Method::POST, "/subnets", &json!({ "name": "A", "cidr": "10.0.0.0/24" })).await;
    assert_eq!(made_one.status, StatusCode::CREATED, "{}", made_one.text);
    let entry = &told(&site, "subnet.created").await[0]["actor"];
    assert_eq!((&entry["kind"], &entry["name"]), (&json!("cli"), &json!("operator")));
    assert_eq!(entry["method"], json!("operator"));
    // It has no account, and so no token of its own; for a service account it makes one.
    let wanted = json!({ "name": "x", "scopes": ["scans:view"] });
    assert_eq!(local.send_json(Method::POST, "/tokens", &wanted).await.fields(), ["account"]);
    let account = service(&site, Builtin::Viewer).await;
    made(&local, &json!({ "name": "x", "scopes": ["scans:view"], "account": account })).await;
    site.hand.advance(super::operator::LIFETIME);
    assert_eq!(local.get("/me").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_pages_of_a_token_lead_from_the_form_to_its_end() {
    let site = TestSite::new().await;
    assert!(site.page("/tokens").await.text.contains("No tokens yet"));
    let wrong = site.post_form("/tokens", &[("name", "x"), ("days", ""), ("sources", "ten")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("value=\"x\""), "what was typed is kept");
    let form =
        [("name", "Export"), ("account", ""), ("days", "90"), ("sources", ""), ("scopes", "scans:view")];
    let once = site.post_form("/tokens", &form).await;
    assert_eq!(once.status, StatusCode::OK, "{}", once.text);
    let token = once.text.split("ptl_").nth(1).map(|rest| format!("ptl_{}", &rest[..49])).unwrap();
    assert_eq!(site.stranger().showing(&token).get("/scans").await.status, StatusCode::OK);
    let item = site.get("/tokens").await.json()["items"][0].clone();
    assert_eq!(item["expires_at"], json!("2027-02-20T12:00:00.000000Z"));
    let path = format!("/tokens/{}", item["id"].as_str().unwrap());
    assert!(site.page(&path).await.text.contains("192.0.2.1"));
    assert!(site.page(&format!("{path}/revoke")).await.text.contains("cannot be undone"));
    let done = site.post_form(&format!("{path}/revoke"), &[]).await;
    assert_eq!((done.status, done.header("location")), (StatusCode::SEE_OTHER, path.as_str()));
    assert!(site.page("/tokens?state=revoked").await.text.contains("Export"));
    assert!(!site.page("/tokens/all?state=in-force").await.text.contains("Export"));
}

#[tokio::test]
async fn the_machines_operator_is_told_where_an_account_is_needed_and_manages_those_of_others() {
    let site = TestSite::new().await;
    let token = site.app.tokens.operator.renew();
    let operator = site.stranger().showing(&token);
    assert_eq!(operator.get("/me").await.json()["user"], Value::Null);
    for (method, path) in [
        (Method::GET, "/account"),
        (Method::GET, "/account/second-factor"),
        (Method::GET, "/prove"),
        (Method::POST, "/account/second-factor/app"),
        (Method::POST, "/account/sessions/end-others"),
        (Method::DELETE, "/account/password"),
    ] {
        let refused = operator.send_json(method, path, &Value::Null).await;
        let kind = refused.json()["type"].clone();
        assert_eq!(
            (refused.status, kind),
            (StatusCode::FORBIDDEN, json!("/docs/errors#no-account")),
            "{path}"
        );
        assert!(refused.text.contains("operator has none"), "{}", refused.text);
    }
    let made = operator.send_json(Method::POST, "/users", &json!({ "name": "grace" })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let path = format!("/users/{}", made.json()["id"].as_str().unwrap());
    let edit = json!({ "name": "grace", "roles": [Builtin::Viewer.id()], "version": 1 });
    for (method, path, body) in [
        (Method::PUT, path.clone(), edit),
        (Method::GET, format!("{path}/edit"), Value::Null),
        (Method::POST, format!("{path}/disable"), Value::Null),
        (Method::POST, format!("{path}/enable"), Value::Null),
        (Method::DELETE, path.clone(), Value::Null),
    ] {
        let answer = operator.send_json(method.clone(), &path, &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{method} {path}: {}", answer.text);
    }
    let owners = format!("/users/{}/reset", site.own_id().await);
    let link = operator.send_json(Method::POST, &owners, &Value::Null).await;
    assert_eq!(link.status, StatusCode::FORBIDDEN, "the owner's account is the owner's");
}

#[tokio::test]
async fn what_only_a_person_does_is_refused_to_a_token_by_name() {
    let site = TestSite::new().await;
    let (token, _) = made(&site, &json!({ "name": "t", "scopes": ["scans:view"] })).await;
    let script = site.stranger().showing(&token);
    assert_eq!(script.get("/me").await.status, StatusCode::OK);
    for path in ["/prove", "/account/second-factor/app", "/account/second-factor/keys/options"] {
        let body = if path == "/prove" { json!({ "password": "x" }) } else { json!({}) };
        let refused = script.send_json(Method::POST, path, &body).await;
        let kind = refused.json()["type"].clone();
        assert!(
            [StatusCode::FORBIDDEN, StatusCode::CONFLICT].contains(&refused.status),
            "{path}: {}",
            refused.text
        );
        assert_ne!(kind, json!("/docs/errors#sign-in"), "{path}");
    }
}

#[tokio::test]
async fn a_token_changes_nothing_of_its_account_that_its_scopes_do_not_say() {
    let site = TestSite::new().await;
    let (token, own) = made(&site, &json!({ "name": "reads", "scopes": ["results:view"] })).await;
    let (_, other) = made(&site, &json!({ "name": "other", "scopes": ["results:view"] })).await;
    let statement = site.send_json(Method::POST, "/statements", &json!({ "audience": "historian" })).await;
    assert_eq!(statement.status, StatusCode::CREATED, "{}", statement.text);
    let statement = statement.json()["id"].as_str().unwrap().to_owned();
    let session =
        site.get("/account").await.json()["sessions"]["items"][0]["id"].as_str().unwrap().to_owned();
    let script = site.stranger().showing(&token);
    let mut tried = 0;
    for row in site.site.rows() {
        let open = matches!(row.access, Access::SignedIn | Access::Pending);
        if row.method == Method::GET || !open || row.path == "/statements" {
            continue;
        }
        let id = match row.path.split('/').nth(1) {
            Some("tokens") => &other,
            Some("statements") => &statement,
            _ if row.path.contains("/sessions/") => &session,
            _ => "019aab00-0000-7000-8000-000000000000",
        };
        site.hand.advance(Duration::from_secs(1));
        let path = row.path.replace("{id}", id);
        let answer = script.send_json(row.method.clone(), &path, &json!({})).await;
        // Of its account's other tokens, and of statements that it did not ask for, it is not even told that they are there.
        let unseen = answer.status == StatusCode::NOT_FOUND && row.path.ends_with("/revoke");
        assert!(unseen || answer.status == StatusCode::FORBIDDEN, "{} {path}: {}", row.method, answer.text);
        tried += 1;
    }
    assert!(tried > 20, "{tried}");
    assert_eq!(site.get("/me").await.status, StatusCode::OK, "the session goes on");
    let left = site.get("/tokens?state=in-force").await.json();
    assert_eq!(left["total"], 2, "{left}");
    let revoke = |id: &str| format!("/tokens/{id}/revoke");
    assert_eq!(
        script.send_json(Method::POST, &revoke(&own), &json!({})).await.status,
        StatusCode::OK,
        "but itself"
    );
    let (manager, _) = made(&site, &json!({ "name": "manages", "scopes": ["tokens:manage"] })).await;
    let manager = site.stranger().showing(&manager);
    for path in [revoke(&other), format!("/statements/{statement}/revoke")] {
        let answer = manager.send_json(Method::POST, &path, &json!({})).await;
        assert_eq!(answer.status, StatusCode::OK, "its scope says so: {path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_token_makes_nobody_who_outlives_it() {
    let site = TestSite::new().await;
    let scopes = ["users:manage", "users:view", "scans:view"];
    let (token, _) = made(&site, &json!({ "name": "clerk", "scopes": scopes })).await;
    let script = site.stranger().showing(&token);
    let plain = script.send_json(Method::POST, "/users", &json!({ "name": "grace" })).await;
    assert_eq!(plain.status, StatusCode::CREATED, "an account without roles is nobody yet: {}", plain.text);
    let path = format!("/users/{}", plain.json()["id"].as_str().unwrap());
    let role = json!({ "name": "Watch", "scopes": ["scans:view"] });
    let role = site.send_json(Method::POST, "/roles", &role).await.json()["id"].clone();
    let with =
        |name: &str, version: Option<i64>| json!({ "name": name, "roles": [role], "version": version });
    for (method, path, body) in [
        (Method::POST, format!("{path}/reset"), json!({})),
        (Method::PUT, path.clone(), with("grace", Some(1))),
        (Method::PUT, path.clone(), json!({ "name": "grace", "email": "mine@plant.test", "version": 1 })),
        (Method::POST, "/users".to_owned(), with("puppet", None)),
        (Method::POST, format!("{path}/owner"), json!({})),
    ] {
        let refused = script.send_json(method.clone(), &path, &body).await;
        let kind = refused.json()["type"].clone();
        assert_eq!(
            (refused.status, kind),
            (StatusCode::FORBIDDEN, json!("/docs/errors#in-person")),
            "{method} {path}"
        );
    }
    // A person who holds no more makes these; what each leaves behind would outlive the token.
    let scopes = [
        "receivers:manage",
        "receivers:view",
        "audit:export",
        "roles:manage",
        "roles:view",
        "scanners:manage",
    ];
    let (token, _) = made(&site, &json!({ "name": "clerk 2", "scopes": scopes })).await;
    let maker = site.stranger().showing(&token);
    let own = json!({ "name": "Siem", "kind": "syslog-udp", "address": "127.0.0.1:9", "body": "json" });
    let kept = site.send_json(Method::POST, "/receivers", &own).await;
    assert_eq!(kept.status, StatusCode::CREATED, "{}", kept.text);
    let receiver = format!("/receivers/{}", kept.json()["id"].as_str().unwrap());
    let moved = json!({ "name": "Siem", "kind": "syslog-udp", "address": "127.0.0.2:9", "body": "json", "version": 1 });
    let wider = json!({ "name": "Night", "scopes": ["scanners:manage"], "version": 1 });
    let night = json!({ "name": "Night", "scopes": ["roles:view"] });
    let role = site.send_json(Method::POST, "/roles", &night).await.json()["id"].clone();
    let vantage =
        site.send_json(Method::POST, "/vantages", &json!({ "name": "Hall" })).await.json()["id"].clone();
    let scanner = |name: &str| json!({ "name": name, "vantage": vantage });
    let added = site.send_json(Method::POST, "/scanners", &scanner("probe")).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    let added = format!("/scanners/{}/token", added.json()["scanner"]["id"].as_str().unwrap());
    for (method, path, body) in [
        (
            Method::POST,
            "/receivers".to_owned(),
            json!({ "name": "Mine", "kind": "syslog-udp", "address": "127.0.0.1:9", "body": "json" }),
        ),
        (Method::PUT, receiver.clone(), moved),
        (Method::POST, "/roles".to_owned(), json!({ "name": "Mine", "scopes": ["roles:view"] })),
        (Method::PUT, format!("/roles/{}", role.as_str().unwrap()), wider),
        (Method::POST, "/scanners".to_owned(), scanner("mine")),
        (Method::POST, added, json!({})),
    ] {
        let refused = maker.send_json(method.clone(), &path, &body).await;
        let kind = refused.json()["type"].clone();
        assert_eq!(
            (refused.status, kind),
            (StatusCode::FORBIDDEN, json!("/docs/errors#in-person")),
            "{method} {path}"
        );
    }
    let renamed = json!({ "name": "Siem 2", "kind": "syslog-udp", "address": "127.0.0.1:9", "body": "json", "version": 1 });
    let renamed = maker.send_json(Method::PUT, &receiver, &renamed).await;
    assert_eq!(renamed.status, StatusCode::OK, "the same, by another name: {}", renamed.text);
    let renamed = json!({ "name": "grace", "display": "Grace", "version": 1 });
    let renamed = script.send_json(Method::PUT, &path, &renamed).await;
    assert_eq!(renamed.status, StatusCode::OK, "what gives nothing is open: {}", renamed.text);
    // The machine's operator is no token of anybody's.
    let operator = site.app.tokens.operator.renew();
    let operator = site.stranger().showing(&operator);
    let link = operator.send_json(Method::POST, &format!("{path}/reset"), &json!({})).await;
    assert_eq!(link.status, StatusCode::CREATED, "{}", link.text);
    let given = operator.send_json(Method::PUT, &path, &with("grace", Some(2))).await;
    assert_eq!(given.status, StatusCode::OK, "{}", given.text);
}

#[tokio::test]
async fn what_is_wrong_with_a_new_token_is_said_before_a_proof_is_asked_for() {
    let site = TestSite::new().await;
    made(&site, &json!({ "name": "taken", "scopes": ["scans:view"] })).await;
    site.hand.advance(Duration::from_secs(301));
    let new = |name: &str, scope: &str| json!({ "name": name, "scopes": [scope] });
    for (body, field) in [
        (new("", "scans:view"), "name"),
        (new("x", "scans:fly"), "scopes"),
        (new("taken", "scans:view"), "name"),
    ] {
        assert_eq!(site.send_json(Method::POST, "/tokens", &body).await.fields(), [field], "{body}");
    }
    let asked = site.send_json(Method::POST, "/tokens", &new("x", "scans:view")).await;
    assert_eq!(asked.json()["type"], json!("/docs/errors#prove"), "{}", asked.text);
    assert_eq!(site.get("/tokens").await.json()["total"], 1);
}

#[tokio::test]
async fn a_token_is_told_of_itself_and_of_nothing_else_of_its_account() {
    let site = TestSite::new().await;
    let made = |name: &str| json!({ "name": name, "scopes": ["results:view"] });
    let one = site.send_json(Method::POST, "/tokens", &made("one")).await.json();
    let other = site.send_json(Method::POST, "/tokens", &made("other")).await.json();
    let id_of = |made: &Value| made["item"]["id"].as_str().unwrap().to_owned();
    let show = |made: &Value| site.stranger().showing(made["token"].as_str().unwrap());
    let (script, second) = (show(&one), show(&other));
    let issued =
        second.send_json(Method::POST, "/statements", &json!({ "audience": "historian" })).await.json();
    for row in site.site.rows().filter(|row| row.method == Method::GET && !row.by_token) {
        if !matches!(row.access, Access::SignedIn | Access::Pending) {
            continue;
        }
        let answer = script.get(&row.path.replace("{id}", &id_of(&other))).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{} {}", row.path, answer.text);
        assert_eq!(answer.json()["type"], "/docs/errors#in-person", "{}", row.path);
    }
    let list = script.get("/tokens").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["items"][0]["id"], id_of(&one));
    assert_eq!(script.get(&format!("/tokens/{}", id_of(&one))).await.status, StatusCode::OK);
    assert_eq!(script.get(&format!("/tokens/{}", id_of(&other))).await.status, StatusCode::NOT_FOUND);
    assert_eq!(script.get("/statements").await.json()["items"], json!([]));
    assert_eq!(second.get("/statements").await.json()["items"][0]["id"], issued["id"]);
    assert_eq!(site.get("/tokens").await.json()["items"].as_array().unwrap().len(), 2, "a person sees all");
    assert_eq!(site.get("/statements").await.json()["items"].as_array().unwrap().len(), 1);
}
