//! The rules of sessions: time, ends, whose they are.

use super::task::tidy;
use crate::test::{PASSWORD, TestSite};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

async fn again(site: &TestSite, name: &str) -> TestSite {
    let mut other = site.stranger();
    let answer = other.sign_in(name, PASSWORD).await;
    other.take_cookie(&answer);
    other
}

async fn actions(site: &TestSite, action: &str) -> Vec<Value> {
    let list = site.get(&format!("/audit?action={action}&limit=500")).await.json();
    list["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_session_ends_by_disuse_and_by_age_as_the_settings_say() {
    let site = TestSite::new().await;
    let form = json!({ "idle_minutes": 10, "absolute_hours": 1, "version": 0 });
    assert_eq!(site.send_json(Method::PUT, "/settings/sessions", &form).await.status, StatusCode::OK);
    let idle = again(&site, "ada").await;
    for _ in 0..6 {
        site.hand.advance(MINUTE * 9);
        assert_eq!(site.get("/me").await.status, StatusCode::OK, "one that is used goes on");
    }
    assert_eq!(idle.get("/me").await.status, StatusCode::UNAUTHORIZED, "one that is not is over");
    site.hand.advance(MINUTE * 6);
    assert_eq!(
        site.get("/me").await.status,
        StatusCode::UNAUTHORIZED,
        "and so is one that is old, used or not"
    );
}

#[tokio::test]
async fn a_setting_holds_for_sessions_that_go_on_and_refuses_nonsense() {
    let site = TestSite::new().await;
    for (body, field) in [
        (json!({ "idle_minutes": 1, "absolute_hours": 1, "version": 0 }), "idle_minutes"),
        (json!({ "idle_minutes": 10, "absolute_hours": 1000, "version": 0 }), "absolute_hours"),
        (json!({ "idle_minutes": 120, "absolute_hours": 1, "version": 0 }), "idle_minutes"),
        (json!({ "idle_minutes": -1, "absolute_hours": 1, "version": 0 }), "idle_minutes"),
        (json!({ "idle_minutes": 10, "absolute_hours": 1 }), "version"),
    ] {
        assert_eq!(
            site.send_json(Method::PUT, "/settings/sessions", &body).await.fields(),
            [field],
            "{body}"
        );
    }
    let page = site
        .post_form("/settings/sessions", &[("idle_minutes", "1"), ("absolute_hours", "12"), ("version", "0")])
        .await;
    assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("value=\"1\""));
    site.hand.advance(MINUTE * 30);
    assert_eq!(site.get("/me").await.status, StatusCode::OK);
    site.hand.advance(MINUTE * 20);
    let other = again(&site, "ada").await;
    let short = json!({ "idle_minutes": 5, "absolute_hours": 1, "version": 0 });
    assert_eq!(other.send_json(Method::PUT, "/settings/sessions", &short).await.status, StatusCode::OK);
    assert_eq!(
        site.get("/me").await.status,
        StatusCode::UNAUTHORIZED,
        "twenty minutes unused are too many now"
    );
    let stale = json!({ "idle_minutes": 6, "absolute_hours": 1, "version": 0 });
    assert_eq!(
        other.send_json(Method::PUT, "/settings/sessions", &stale).await.status,
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(actions(&other, "setting.updated").await.len(), 1);
}

#[tokio::test]
async fn what_time_ended_is_cleaned_up_and_told_once_each() {
    let site = TestSite::new().await;
    for _ in 0..3 {
        again(&site, "ada").await;
    }
    tidy(&site.app.identity).await.unwrap();
    assert_eq!(site.get("/sessions").await.json()["total"], 4);
    site.hand.advance(MINUTE * 50);
    site.get("/me").await;
    site.hand.advance(MINUTE * 50);
    assert_eq!(
        site.get("/sessions").await.json()["total"],
        1,
        "what is over is not listed before it is cleaned up"
    );
    tidy(&site.app.identity).await.unwrap();
    tidy(&site.app.identity).await.unwrap();
    let expired = actions(&site, "session.expired").await;
    assert_eq!(expired.len(), 3);
    assert_eq!((&expired[0]["actor"]["name"], &expired[0]["resource"]), (&json!("manager"), &json!("user")));
}

#[tokio::test]
async fn use_is_noted_at_most_once_a_minute_and_without_an_audit_entry() {
    let site = TestSite::new().await;
    let last_seen = async || site.get("/sessions").await.json()["items"][0]["last_seen"].clone();
    let (start, head) = (last_seen().await, site.app.store.audit_head().await.unwrap());
    site.hand.advance(Duration::from_secs(59));
    site.get("/me").await;
    assert_eq!(last_seen().await, start);
    site.hand.advance(Duration::from_secs(1));
    site.get("/me").await;
    assert_ne!(last_seen().await, start);
    assert_eq!(site.app.store.audit_head().await.unwrap(), head);
}

#[tokio::test]
async fn everyone_ends_their_own_sessions_and_nobody_elses() {
    let site = TestSite::new().await;
    let grace = site.person("grace", &["admin"]).await;
    let eve = site.person("eve", &["operator"]).await;
    let others =
        grace.get("/account").await.json()["sessions"]["items"][0]["id"].as_str().unwrap().to_owned();
    let stolen = eve.send_json(Method::DELETE, &format!("/account/sessions/{others}"), &Value::Null).await;
    assert_eq!(stolen.status, StatusCode::NOT_FOUND, "as if it were not there");
    let form = eve.post_form(&format!("/account/sessions/{others}/delete"), &[]).await;
    assert_eq!(form.status, StatusCode::NOT_FOUND);
    assert_eq!(
        eve.send_json(Method::DELETE, &format!("/sessions/{others}"), &Value::Null).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(eve.get("/sessions").await.status, StatusCode::FORBIDDEN);
    assert!(!eve.get("/account").await.text.contains("grace"));
    assert_eq!(grace.get("/me").await.status, StatusCode::OK);

    let second = again(&site, "eve").await;
    let third = again(&site, "eve").await;
    let list = eve.get("/account").await.json();
    let items = list["sessions"]["items"].as_array().unwrap();
    assert_eq!((items.len(), items.iter().filter(|session| session["current"] == true).count()), (3, 1));
    let one = third.get("/account").await.json()["sessions"]["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["current"] == true)
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        eve.send_json(Method::DELETE, &format!("/account/sessions/{one}"), &Value::Null).await.status,
        StatusCode::OK
    );
    assert_eq!(third.get("/me").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(second.get("/me").await.status, StatusCode::OK);
    let ended = eve.send_json(Method::POST, "/account/sessions/end-others", &Value::Null).await;
    assert_eq!(ended.json()["ended"], 1);
    assert_eq!(second.get("/me").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(eve.get("/me").await.status, StatusCode::OK, "the one that asks stays");
}

#[tokio::test]
async fn an_administrator_sees_all_sessions_and_ends_them() {
    let site = TestSite::new().await;
    let grace = site.person("grace", &["viewer"]).await;
    let id = grace.own_id().await;
    let list = site.get(&format!("/sessions?user={id}&sort=-created_at")).await.json();
    assert_eq!((&list["total"], &list["items"][0]["user"]["name"]), (&json!(1), &json!("grace")));
    assert_eq!(site.get("/sessions?q=grace").await.json()["total"], 1);
    let one = list["items"][0]["id"].as_str().unwrap();
    assert_eq!(one.len(), 32);
    assert_eq!(
        site.send_json(Method::DELETE, &format!("/sessions/{one}"), &Value::Null).await.status,
        StatusCode::OK
    );
    assert_eq!(grace.get("/me").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        site.send_json(Method::DELETE, &format!("/sessions/{one}"), &Value::Null).await.status,
        StatusCode::NOT_FOUND
    );
    again(&site, "grace").await;
    let all = site.send_json(Method::POST, &format!("/users/{id}/end-sessions"), &Value::Null).await;
    assert_eq!(all.json()["ended"], 1);
    assert_eq!(actions(&site, "session.revoked").await.len(), 2);
    for bad in ["/sessions?sort=id_hash", "/sessions?user=x", "/sessions?cursor=x"] {
        assert_eq!(site.get(bad).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
}

#[tokio::test]
async fn what_would_outlive_a_session_that_was_left_open_asks_for_a_proof() {
    let site = TestSite::new().await;
    let vantage =
        site.send_json(Method::POST, "/vantages", &json!({ "name": "Hall" })).await.json()["id"].clone();
    let scanner = |name: &str| json!({ "name": name, "vantage": vantage });
    let added = site.send_json(Method::POST, "/scanners", &scanner("one")).await;
    let again = format!("/scanners/{}/token", added.json()["scanner"]["id"].as_str().unwrap());
    let longer = |hours: u32| json!({ "idle_minutes": 60, "absolute_hours": hours, "version": 0 });
    site.hand.advance(MINUTE * 6);
    for (method, path, body) in [
        (Method::PUT, "/settings/sessions", longer(720)),
        (Method::POST, "/scanners", scanner("two")),
        (Method::POST, again.as_str(), json!({})),
    ] {
        let asked = site.send_json(method, path, &body).await;
        assert_eq!(asked.json()["type"], "/docs/errors#prove", "{path}: {}", asked.text);
    }
    // What is wrong is said first; a form comes back with what was typed.
    assert_eq!(
        site.send_json(Method::PUT, "/settings/sessions", &longer(0)).await.fields()[0],
        "absolute_hours"
    );
    assert_eq!(site.send_json(Method::POST, "/scanners", &scanner("")).await.fields(), ["name"]);
    let fields = [("idle_minutes", "61"), ("absolute_hours", "720"), ("version", "0")];
    let form = site.post_form("/settings/sessions", &fields).await;
    assert_eq!(form.status, StatusCode::FORBIDDEN, "{}", form.text);
    assert!(form.text.contains("Prove it") && form.text.contains("value=\"61\""), "{}", form.text);
    let named = [("name", "two"), ("vantage", vantage.as_str().unwrap())];
    let form = site.post_form("/scanners", &named).await;
    assert!(form.text.contains("Prove it") && form.text.contains("value=\"two\""), "{}", form.text);
    assert_eq!(site.get("/scanners").await.json()["total"], 1);
    assert_eq!(site.get("/settings/sessions").await.json()["absolute_hours"], 12);
    // The machine's own operator needs none: their token is a minute old.
    let operator = site.stranger().showing(&site.app.tokens.operator.renew());
    assert_eq!(
        operator.send_json(Method::POST, "/scanners", &scanner("two")).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        operator.send_json(Method::PUT, "/settings/sessions", &longer(24)).await.status,
        StatusCode::OK
    );
}
