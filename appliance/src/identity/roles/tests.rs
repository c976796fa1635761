//! The rules of roles, through the routes that a person and a script use.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Builtin;
use crate::test::{Answered, TestSite};

async fn made(site: &TestSite, body: &Value) -> String {
    let answer = site.send_json(Method::POST, "/roles", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn put(site: &TestSite, id: &str, version: i64, body: &Value) -> Answered {
    let etag = format!("\"{version}\"");
    let body = ("application/json", body.to_string().into_bytes());
    let path = format!("/api/v1/roles/{id}");
    site.send_with(Method::PUT, &path, "application/json", &[("if-match", &etag)], Some(body)).await
}

async fn entries(site: &TestSite) -> u64 {
    site.app.store.audit_head().await.unwrap().seq
}

#[tokio::test]
async fn a_role_is_made_shown_changed_and_deleted_and_the_audit_tells_of_each() {
    let site = TestSite::new().await;
    let before = entries(&site).await;
    let id = made(&site, &json!({ "name": " Night shift ", "scopes": ["scans:view", "scans:run"] })).await;
    let shown = site.get(&format!("/roles/{id}")).await;
    assert_eq!(shown.json()["scopes"], json!(["scans:run", "scans:view"]));
    assert_eq!(shown.json()["name"], json!("Night shift"));
    let edit = json!({ "name": "Night shift", "scopes": ["scans:view"], "second_factor": true });
    let answer = put(&site, &id, 1, &edit).await;
    assert_eq!((answer.status, answer.header("etag")), (StatusCode::OK, "\"2\""), "{}", answer.text);
    assert_eq!(put(&site, &id, 1, &json!({ "name": "X", "scopes": ["scans:run"] })).await.status, 412);
    let gone = site.send_json(Method::DELETE, &format!("/roles/{id}"), &Value::Null).await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text);
    assert_eq!(site.get(&format!("/roles/{id}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(entries(&site).await, before + 3);
}

#[tokio::test]
async fn a_bad_role_is_refused_by_field_and_leaves_no_entry() {
    let site = TestSite::new().await;
    made(&site, &json!({ "name": "Night", "scopes": ["scans:view"] })).await;
    let before = entries(&site).await;
    for (body, field) in [
        (json!({ "name": "night", "scopes": ["scans:view"] }), "name"),
        (json!({ "name": "ADMIN", "scopes": ["scans:view"] }), "name"),
        (json!({ "name": "a", "scopes": [] }), "scopes"),
        (json!({ "name": "a", "scopes": ["scans:fly"] }), "scopes"),
        (json!({ "name": "a", "scopes": ["scans:view"], "description": "two\nlines" }), "description"),
        (json!({ "name": "a", "scopes": ["scans:view"], "builtin": true }), "builtin"),
        (json!({ "name": "a", "scopes": ["scans:view"], "id": Builtin::Admin.id() }), "id"),
        (json!({ "name": "a", "scopes": ["scans:view"], "version": 1 }), "version"),
    ] {
        let answer = site.send_json(Method::POST, "/roles", &body).await;
        assert_eq!((answer.status.as_u16(), answer.fields()), (422, vec![field.to_owned()]), "{body}");
    }
    assert_eq!(entries(&site).await, before);
}

#[tokio::test]
async fn of_a_role_of_the_program_only_the_second_factor_can_be_changed() {
    let site = TestSite::new().await;
    let (id, path) = (Builtin::Viewer.id().to_string(), format!("/roles/{}", Builtin::Viewer.id()));
    let mut whole = site.get(&path).await.json();
    assert_eq!(whole["scopes"], json!(Builtin::Viewer.scopes()));
    for (field, value) in
        [("name", json!("reader")), ("scopes", json!(["users:manage"])), ("description", json!("x"))]
    {
        let mut body = json!({ "name": "viewer", "second_factor": true });
        body[field] = value;
        assert_eq!(put(&site, &id, 1, &body).await.fields(), [field]);
    }
    let answer = put(&site, &id, 1, &json!({ "name": "viewer", "second_factor": true })).await;
    assert_eq!(answer.json()["second_factor"], json!(true), "{}", answer.text);
    whole["second_factor"] = json!(true);
    assert_eq!(answer.json()["scopes"], whole["scopes"]);
    assert_eq!(site.send_json(Method::DELETE, &path, &Value::Null).await.status, StatusCode::CONFLICT);
    assert!(site.page(&format!("{path}/delete")).await.text.contains("cannot be deleted"));
}

#[tokio::test]
async fn a_role_that_is_held_is_not_deleted_and_the_answer_names_who_holds_it() {
    let site = TestSite::new().await;
    let id = made(&site, &json!({ "name": "Night", "scopes": ["scans:view"] })).await;
    let grace = site.with_roles("grace", &[id.parse().unwrap()]).await;
    assert_eq!(grace.get("/scans").await.status, StatusCode::OK);
    let kept = site.send_json(Method::DELETE, &format!("/roles/{id}"), &Value::Null).await;
    assert_eq!(kept.status, StatusCode::CONFLICT);
    assert!(kept.text.contains("grace"), "{}", kept.text);
    assert!(site.page(&format!("/roles/{id}/delete")).await.text.contains("grace"));
}

#[tokio::test]
async fn what_an_account_may_do_is_the_union_of_its_roles_and_changes_with_them_at_once() {
    let site = TestSite::new().await;
    let night = made(&site, &json!({ "name": "Night", "scopes": ["scans:view", "access:view"] })).await;
    let grace = site.with_roles("grace", &[night.parse().unwrap(), Builtin::Operator.id()]).await;
    let mut wanted = Builtin::Operator.scopes();
    wanted.insert("access:view".to_owned());
    assert_eq!(grace.get("/me").await.json()["scopes"], json!(wanted));
    let alone = site.with_roles("eve", &[night.parse().unwrap()]).await;
    assert_eq!(alone.get("/subnets").await.status, StatusCode::FORBIDDEN);
    put(&site, &night, 1, &json!({ "name": "Night", "scopes": ["subnets:view"] })).await;
    assert_eq!(alone.get("/subnets").await.status, StatusCode::OK);
    assert_eq!(alone.get("/scans").await.status, StatusCode::FORBIDDEN);
    let nothing = site.with_roles("ghost", &[]).await;
    assert_eq!(nothing.get("/me").await.json()["scopes"], json!([]));
}

#[tokio::test]
async fn nobody_makes_changes_or_deletes_a_role_of_scopes_that_they_do_not_hold() {
    let site = TestSite::new().await;
    let clerk = json!({ "name": "Clerk", "scopes": ["roles:view", "roles:manage", "scans:view"] });
    let clerk_id = made(&site, &clerk).await;
    let strong = made(&site, &json!({ "name": "Strong", "scopes": ["scans:view", "users:manage"] })).await;
    let clerk = site.with_roles("clerk", &[clerk_id.parse().unwrap()]).await;
    let before = entries(&site).await;
    let wanted = json!({ "name": "Mine", "scopes": ["scans:view", "users:manage"] });
    assert_eq!(clerk.send_json(Method::POST, "/roles", &wanted).await.fields(), ["scopes"]);
    // Their own role, which they hold, does not grow by their own hand.
    let more =
        json!({ "name": "Clerk", "scopes": ["roles:view", "roles:manage", "scans:view", "tokens:manage"] });
    assert_eq!(put(&clerk, &clerk_id, 1, &more).await.fields(), ["scopes"]);
    // A stronger one is not cut down by them, nor freed of its second factor, nor deleted.
    let less = json!({ "name": "Strong", "scopes": ["scans:view"] });
    assert_eq!(put(&clerk, &strong, 1, &less).await.fields(), ["scopes"]);
    let admin = Builtin::Admin.id().to_string();
    assert_eq!(put(&clerk, &admin, 1, &json!({ "name": "admin" })).await.fields(), ["scopes"]);
    let path = format!("/roles/{strong}");
    assert_eq!(clerk.send_json(Method::DELETE, &path, &Value::Null).await.fields(), ["scopes"]);
    // Nothing of it was done; that it was tried is written down, once for each route and minute.
    assert_eq!(entries(&site).await, before + 3);
    let tried = site.get("/audit?action=access.denied&outcome=refused&actor=clerk&sort=seq").await.json();
    let lacked: Vec<Value> = {
        let mut lacked = Vec::new();
        for item in tried["items"].as_array().unwrap() {
            let entry = site.get(&format!("/audit/{}", item["seq"])).await.json();
            lacked.push(json!([entry["detail"]["route"], entry["detail"]["scope"]]));
        }
        lacked
    };
    let wanted = [
        json!(["POST /roles", "users:manage"]),
        json!(["PUT /roles/{id}", "tokens:manage"]),
        json!(["DELETE /roles/{id}", "users:manage"]),
    ];
    assert_eq!(lacked, wanted);
    made(&clerk, &json!({ "name": "Fine", "scopes": ["scans:view"] })).await;
}

#[tokio::test]
async fn a_preview_shows_what_a_role_would_see_and_saves_nothing() {
    let site = TestSite::new().await;
    let before = entries(&site).await;
    let asked =
        "/roles/preview?name=Night&description=&second_factor=true&scopes=scans:view&scopes=scans:run";
    let sees = site.get(asked).await.json()["sees"].clone();
    let titles: Vec<&str> =
        sees["nav"].as_array().unwrap().iter().map(|entry| entry["title"].as_str().unwrap()).collect();
    assert!(titles.contains(&"Scans") && !titles.contains(&"Subnets"), "{titles:?}");
    let opens = sees["opens"].as_array().unwrap();
    assert!(opens.iter().any(|row| row["path"] == "/scans" && row["method"] == "POST"));
    assert!(opens.iter().all(|row| row["scope"].as_str().unwrap().starts_with("scans:")));
    assert!(site.page(asked).await.text.contains("Launch, pause and cancel scans"));
    assert_eq!(site.get("/roles").await.json()["total"], json!(4));
    assert_eq!(entries(&site).await, before);
}

#[tokio::test]
async fn the_form_comes_back_as_it_was_ticked() {
    let site = TestSite::new().await;
    let form = [("name", ""), ("description", "x"), ("scopes", "scans:run"), ("scopes", "subnets:view")];
    let again = site.post_form("/roles", &form).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    for ticked in ["value=\"scans:run\" checked", "value=\"subnets:view\" checked"] {
        assert!(again.text.contains(ticked), "{}", again.text);
    }
    assert!(!again.text.contains("value=\"scans:view\" checked"));
}
