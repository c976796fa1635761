//! Scans through the front door.

use crate::audit::{Actor, Entry};
use crate::test::TestSite;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

const NOBODY: &str = "019aab00-0000-7000-8000-000000000000";

/// A site with a template over 4 hosts x 3 ports, whose scanner has enrolled if `enrolled`.
async fn site(enrolled: bool) -> (TestSite, String) {
    let site = TestSite::new().await;
    let made = |path: &'static str, body: Value| {
        let site = &site;
        async move {
            let answer = site.send_json(Method::POST, path, &body).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
            answer.json()["id"].as_str().unwrap().to_owned()
        }
    };
    let vantage = made("/vantages", json!({ "name": "Hall" })).await;
    let added =
        site.send_json(Method::POST, "/scanners", &json!({ "name": "probe-1", "vantage": vantage })).await;
    let scanner = added.json()["scanner"]["id"].as_str().unwrap().to_owned();
    if enrolled {
        let enrol = |tx: &rusqlite::Transaction| {
            let sql = "UPDATE scanner SET enrolled_at = 1, public_key = '', certificate_sha256 = '', api_key_sha256 = ''";
            tx.execute(sql, [])?;
            Ok((Entry::event("test.enrolled", &json!({})), ()))
        };
        site.app.store.change(&Actor::system("test"), enrol).await.unwrap();
    }
    let subnet = made("/subnets", json!({ "name": "Cell", "cidr": "10.0.0.0/30" })).await;
    let ports = made("/port-lists", json!({ "name": "Few", "ports": "22,80,443" })).await;
    let template =
        json!({ "name": "Weekly", "subnets": [subnet], "port_lists": [ports], "scanners": [scanner] });
    let template = made("/templates", template).await;
    (site, template)
}

#[tokio::test]
async fn a_launch_freezes_the_scope_and_says_what_it_will_do() {
    let (site, template) = site(true).await;
    let answer = site.send_json(Method::POST, "/scans", &json!({ "template": template })).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let scan = answer.json();
    assert_eq!((&scan["state"], &scan["probes"], &scan["hosts"]), (&json!("queued"), &json!(12), &json!(4)));
    assert_eq!(scan["targets"], "10.0.0.0/30");
    assert_eq!(scan["vantages"][0]["not_probed"], 12);
    let id = scan["id"].as_str().unwrap();
    let deleted = site.send_json(Method::DELETE, &format!("/templates/{template}"), &json!({})).await;
    assert!(deleted.status.is_success(), "{}", deleted.text);
    assert_eq!(site.get(&format!("/scans/{id}")).await.json()["targets"], "10.0.0.0/30");
}

#[tokio::test]
async fn a_launch_sent_twice_with_one_key_is_one_scan() {
    let (site, template) = site(true).await;
    let form = [("template", template.as_str()), ("idempotency_key", "k1")];
    let first = site.post_form("/scans", &form).await;
    let second = site.post_form("/scans", &form).await;
    assert_eq!(first.status, StatusCode::SEE_OTHER, "{}", first.text);
    assert_eq!(first.header("location"), second.header("location"));
    assert_eq!(site.get("/scans").await.json()["total"], 1);
    let other = [("template", template.as_str()), ("idempotency_key", "k2")];
    site.post_form("/scans", &other).await;
    assert_eq!(site.get("/scans").await.json()["total"], 2);
}

#[tokio::test]
async fn a_launch_that_cannot_work_names_the_template_and_makes_nothing() {
    let (site, template) = site(false).await;
    let answer = site.send_json(Method::POST, "/scans", &json!({ "template": template })).await;
    assert_eq!(
        (answer.status, answer.fields()),
        (StatusCode::UNPROCESSABLE_ENTITY, vec!["template".to_owned()])
    );
    let page = site.post_form("/scans", &[("template", &template)]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("no scanner that is enrolled"), "the form says why");
    let nothing = site.send_json(Method::POST, "/scans", &json!({ "template": NOBODY })).await;
    assert!(nothing.status.is_client_error());
    assert_eq!(site.get("/scans").await.json()["total"], 0);
}

#[tokio::test]
async fn a_cancelled_scan_is_cancelling_until_the_dispatcher_has_seen_it() {
    let (site, template) = site(true).await;
    let scan = site.send_json(Method::POST, "/scans", &json!({ "template": template })).await.json();
    let path = format!("/scans/{}/cancel", scan["id"].as_str().unwrap());
    assert_eq!(site.page(&path).await.status, StatusCode::OK);
    for _ in 0..2 {
        let answer = site.send_json(Method::POST, &path, &json!({})).await;
        assert_eq!((answer.status, &answer.json()["state"]), (StatusCode::OK, &json!("cancelling")));
    }
    assert_eq!(site.get("/scans?state=cancelling").await.json()["total"], 1);
    assert_eq!(site.get("/scans?state=running").await.json()["total"], 0);
    assert_eq!(site.get("/scans?state=odd").await.fields(), ["state"]);
}

#[tokio::test]
async fn every_page_of_scans_renders() {
    let (site, template) = site(true).await;
    for path in ["/", "/scans", "/scans/new", "/search?q=Weekly", "/search"] {
        let page = site.page(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
    }
    let scan = site.send_json(Method::POST, "/scans", &json!({ "template": template })).await.json();
    let id = scan["id"].as_str().unwrap();
    for path in ["/".to_owned(), "/scans".to_owned(), format!("/scans/{id}"), format!("/scans/{id}/cancel")] {
        let page = site.page(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
        assert!(page.text.contains("Weekly"), "{path}");
    }
    assert!(site.page("/search?q=week").await.text.contains(id));
}

#[tokio::test]
async fn a_launch_leaves_out_what_is_excluded_and_says_so() {
    let (site, template) = site(true).await;
    let exclude = |addresses: &str| json!({ "addresses": addresses, "reason": "the press" });
    let excluded =
        site.send_json(Method::POST, "/exclusions", &exclude("10.0.0.1, 10.9.0.0/16")).await.json();
    let scan = site.send_json(Method::POST, "/scans", &json!({ "template": template })).await.json();
    assert_eq!((&scan["hosts"], &scan["probes"]), (&json!(3), &json!(9)));
    assert_eq!((&scan["targets"], &scan["excluded"]), (&json!("10.0.0.0, 10.0.0.2/31"), &json!("10.0.0.1")));
    assert_eq!(scan["excluded_since"], "");
    let path = format!("/scans/{}", scan["id"].as_str().unwrap());
    // The frozen scope stays what it was; what comes later is shown beside it.
    site.send_json(
        Method::DELETE,
        &format!("/exclusions/{}", excluded["id"].as_str().unwrap()),
        &Value::Null,
    )
    .await;
    site.send_json(Method::POST, "/exclusions", &exclude("10.0.0.0/31")).await;
    let shown = site.get(&path).await.json();
    assert_eq!((&shown["excluded"], &shown["excluded_since"]), (&json!("10.0.0.1"), &json!("10.0.0.0")));
    let page = site.page(&path).await.text;
    assert!(page.contains("Excluded since"), "{page}");
    site.send_json(Method::POST, "/exclusions", &exclude("10.0.0.0/24")).await;
    let refused = site.send_json(Method::POST, "/scans", &json!({ "template": template })).await;
    assert_eq!(refused.fields(), ["template"], "{}", refused.text);
}

#[tokio::test]
async fn a_scan_is_paused_and_goes_on_where_it_was() {
    let (site, template) = site(true).await;
    let scan = site.send_json(Method::POST, "/scans", &json!({ "template": template })).await.json();
    let path = format!("/scans/{}", scan["id"].as_str().unwrap());
    let entries = || async { site.app.store.audit_head().await.unwrap().seq };
    let before = entries().await;
    for _ in 0..2 {
        let paused = site.send_json(Method::POST, &format!("{path}/pause"), &Value::Null).await;
        assert_eq!(
            (paused.status, &paused.json()["state"]),
            (StatusCode::OK, &json!("paused")),
            "{}",
            paused.text
        );
    }
    assert_eq!(entries().await, before + 1);
    assert!(site.page(&path).await.text.contains("Resume"));
    assert_eq!(site.get("/scans?state=paused").await.json()["total"], 1);
    let answer = site.post_form(&format!("{path}/resume"), &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    assert_eq!(site.get(&path).await.json()["state"], "queued", "it had not begun");
    site.send_json(Method::POST, &format!("{path}/pause"), &Value::Null).await;
    let cancelled = site.send_json(Method::POST, &format!("{path}/cancel"), &Value::Null).await;
    assert_eq!(cancelled.json()["state"], "cancelling", "{}", cancelled.text);
    let late = site.send_json(Method::POST, &format!("{path}/resume"), &Value::Null).await;
    assert_eq!(late.status, StatusCode::CONFLICT, "{}", late.text);
}
