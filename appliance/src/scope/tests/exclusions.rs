//! Exclusions, through the routes that a person and a script use.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{entries, if_match, made};
use crate::noun::Noun;
use crate::scope::exclusions::{Exclusion, ExclusionQuery, Force};
use crate::test::TestSite;

async fn exclude(site: &TestSite, addresses: &str) -> String {
    made(site, "/exclusions", &json!({ "addresses": addresses, "reason": "the press" })).await
}

/// The list of a query, by addresses.
async fn listed(site: &TestSite, query: &str) -> Vec<String> {
    let page = site.get(&format!("/exclusions{query}")).await;
    let items = page.json()["items"].clone();
    let items = items.as_array().unwrap_or_else(|| panic!("{} {}", page.status, page.text)).clone();
    items.iter().map(|item| item["addresses"].as_str().unwrap().to_owned()).collect()
}

/// What ingest would tell a scanner.
async fn told(site: &TestSite) -> String {
    let sql = "SELECT ranges FROM exclusions";
    site.app.jobs.read(move |db| Ok(db.query_row(sql, [], |row| row.get(0))?)).await.unwrap()
}

#[tokio::test]
async fn an_exclusion_is_made_told_to_scanners_changed_and_deleted() {
    let site = TestSite::new().await;
    let before = entries(&site).await;
    let body = json!({ "addresses": " 10.20.4.9\n10.20.4.0/29 ", "reason": " Press 4 ", "expires_on": "2026-11-30" });
    let answer = site.send_json(Method::POST, "/exclusions", &body).await;
    assert_eq!((answer.status, answer.header("etag")), (StatusCode::CREATED, "\"1\""), "{}", answer.text);
    let item = answer.json();
    assert_eq!((&item["addresses"], &item["hosts"]), (&json!("10.20.4.0/29, 10.20.4.9"), &json!(9)));
    assert_eq!((&item["reason"], &item["expires_on"]), (&json!("Press 4"), &json!("2026-11-30")));
    assert_eq!((&item["in_force"], &item["by"]), (&json!(true), &json!("ada")));
    assert_eq!(told(&site).await, "10.20.4.0/29, 10.20.4.9");

    let path = format!("/exclusions/{}", item["id"].as_str().unwrap());
    let edit = json!({ "addresses": "10.20.4.0/28", "reason": "Press 4 and 5" });
    let answer = if_match(&site, Method::PUT, &path, 1, &edit).await;
    assert_eq!(
        (answer.status, &answer.json()["expires_on"]),
        (StatusCode::OK, &Value::Null),
        "{}",
        answer.text
    );
    assert_eq!(if_match(&site, Method::PUT, &path, 1, &body).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(told(&site).await, "10.20.4.0/28");
    assert_eq!(site.send_json(Method::DELETE, &path, &Value::Null).await.status, StatusCode::OK);
    assert_eq!((told(&site).await.as_str(), entries(&site).await), ("", before + 3));
    assert_eq!(site.get(&path).await.status, StatusCode::NOT_FOUND);
    let audit = site.get("/audit?limit=1").await;
    assert!(audit.text.contains("10.20.4.0/28"), "the entry names what was deleted: {}", audit.text);
}

#[tokio::test]
async fn one_that_is_over_holds_no_more_and_what_was_lost_is_told_again() {
    let site = TestSite::new().await;
    exclude(&site, "10.0.0.1").await;
    let body = json!({ "addresses": "10.0.0.2", "reason": "today", "expires_on": "2026-11-22" });
    made(&site, "/exclusions", &body).await;
    assert_eq!(told(&site).await, "10.0.0.1-10.0.0.2");
    site.hand.advance(std::time::Duration::from_secs(86_400));
    site.app.jobs.write(|tx| Ok(tx.execute("DELETE FROM exclusions", [])?)).await.unwrap();
    site.app.scope.project_exclusions().await.unwrap();
    assert_eq!(told(&site).await, "10.0.0.1");
    site.app.jobs.write(|tx| Ok(tx.execute("UPDATE exclusions SET ranges = ''", [])?)).await.unwrap();
    site.app.scope.project_exclusions().await.unwrap();
    assert_eq!(told(&site).await, "10.0.0.1", "also beneath a hash that fits");
}

#[tokio::test]
async fn what_is_told_is_what_holds_however_many_change_it_at_once() {
    let site = TestSite::new().await;
    let mut changes = tokio::task::JoinSet::new();
    for n in 0..12 {
        let (scope, actor) = (site.app.scope.clone(), crate::audit::Actor::system("test"));
        let input = json!({ "addresses": format!("10.0.0.{}", 2 * n), "reason": "x" });
        let input = serde_json::from_value(input).unwrap();
        changes.spawn(async move { Exclusion::create(&scope, &actor, input).await.map(drop) });
    }
    changes.join_all().await.into_iter().for_each(|made| made.unwrap());
    let now = site.app.clock.now();
    let holds = site.app.store.read(move |db| crate::scope::in_force(db, now)).await.unwrap();
    assert_eq!(told(&site).await, holds.to_string());
}

#[tokio::test]
async fn one_that_bridges_others_leaves_no_more_than_the_limit_when_it_goes() {
    let site = TestSite::new().await;
    exclude(&site, "10.0.0.0/8").await;
    let addresses = |from: usize| {
        (from..from + 3_500).map(|n| format!("10.{}.{}.1", n / 250, n % 250)).collect::<Vec<_>>().join(" ")
    };
    for part in 0..2 {
        exclude(&site, &addresses(part * 3_500)).await;
    }
    let body = json!({ "addresses": addresses(7_000), "reason": "x" });
    let answer = site.send_json(Method::POST, "/exclusions", &body).await;
    assert_eq!(answer.fields(), ["addresses"], "{}", answer.text);
}

#[tokio::test]
async fn a_template_counts_what_a_scan_of_it_would_cover_now() {
    let fixture = super::Fixture::new().await;
    let id = fixture.make_template(json!({})).await;
    let counted = async || {
        let item = fixture.site.get(&format!("/templates/{id}")).await.json();
        let listed = fixture.site.get("/templates").await.json()["items"][0].clone();
        let offered = fixture.site.get("/scans/new").await.json()["options"]["templates"][0].clone();
        let of = |item: &Value| (item["hosts"].clone(), item["probes"].clone());
        assert_eq!((of(&listed), of(&offered)), (of(&item), of(&item)));
        of(&item)
    };
    assert_eq!(counted().await, (json!(256), json!(512)));
    exclude(&fixture.site, "10.0.0.0/26, 192.0.2.1").await;
    assert_eq!(counted().await, (json!(192), json!(384)));
}

#[tokio::test]
async fn of_one_that_is_over_the_reason_can_be_mended() {
    let site = TestSite::new().await;
    let body = json!({ "addresses": "10.0.0.2", "reason": "tody", "expires_on": "2026-11-22" });
    let id = made(&site, "/exclusions", &body).await;
    site.hand.advance(std::time::Duration::from_secs(86_400));
    // The session is over by then as well.
    let change = async |day: &str, version: i64| {
        let body =
            json!({ "addresses": "10.0.0.2", "reason": "today", "expires_on": day, "version": version });
        let input = serde_json::from_value(body).unwrap();
        let actor = crate::audit::Actor::system("test");
        Exclusion::update(&site.app.scope, &actor, id.parse().unwrap(), input).await
    };
    assert_eq!(change("2026-11-22", 1).await.unwrap().reason, "today");
    let Err(crate::error::Error::Invalid(fields)) = change("2026-11-21", 2).await else {
        panic!("an earlier day")
    };
    assert_eq!(fields[0].field, "expires_on");
}

#[tokio::test]
async fn exclusions_are_found_by_word_by_address_and_by_whether_they_hold() {
    let site = TestSite::new().await;
    for addresses in ["10.0.0.0/24", "10.0.0.7, 192.0.2.1", "fd00::/64"] {
        exclude(&site, addresses).await;
    }
    let body = json!({ "addresses": "10.9.9.9", "reason": "today", "expires_on": "2026-11-22" });
    made(&site, "/exclusions", &body).await;
    for (query, found) in [
        ("", vec!["10.0.0.0/24", "10.0.0.7, 192.0.2.1", "10.9.9.9", "fd00::/64"]),
        ("?q=10.0.0.7", vec!["10.0.0.0/24", "10.0.0.7, 192.0.2.1"]),
        ("?q=fd00::1", vec!["fd00::/64"]),
        ("?q=today+ada", vec!["10.9.9.9"]),
        ("?sort=-addresses&limit=1", vec!["fd00::/64"]),
        ("?sort=expires_on&limit=1", vec!["10.9.9.9"]),
        ("?state=expired", vec![]),
    ] {
        assert_eq!(listed(&site, query).await, found, "{query}");
    }
    assert_eq!(site.get("/search?q=192.0.2.1").await.json()["groups"][0]["title"], "Exclusions");
    site.hand.advance(std::time::Duration::from_secs(86_400));
    for (state, count) in [(Force::Expired, 1), (Force::InForce, 3)] {
        let query = ExclusionQuery { state: Some(state), ..ExclusionQuery::default() };
        let found = Exclusion::page(&site.app.scope, query).await.unwrap().items;
        assert_eq!(found.len(), count);
        assert!(found.iter().all(|item| item.in_force == (state == Force::InForce)));
    }
}

#[tokio::test]
async fn a_bad_exclusion_names_its_field_and_changes_nothing() {
    let site = TestSite::new().await;
    exclude(&site, "10.0.0.1").await;
    let before = entries(&site).await;
    let many: Vec<String> = (0..4_000).map(|n| format!("10.{}.{}.1", n / 250, n % 250)).collect();
    for (addresses, reason, day, field, message) in [
        ("ten", "x", Value::Null, "addresses", "ten"),
        ("10.0.0.1/24", "x", Value::Null, "addresses", "10.0.0.0/24"),
        (" ", "x", Value::Null, "addresses", "at least one"),
        ("10.0.0.1", "x", Value::Null, "addresses", "another exclusion"),
        ("10.0.0.2", " ", Value::Null, "reason", "needed"),
        ("10.0.0.2", "two\nlines", Value::Null, "reason", "one line"),
        ("10.0.0.2", "x", json!("tomorrow"), "expires_on", "2026-12-31"),
        ("10.0.0.2", "x", json!("2026-11-21"), "expires_on", "over"),
        (&"1".repeat(70_000), "x", Value::Null, "addresses", "65536"),
    ] {
        let body = json!({ "addresses": addresses, "reason": reason, "expires_on": day });
        let answer = site.send_json(Method::POST, "/exclusions", &body).await;
        assert_eq!(answer.fields(), [field], "{addresses}: {}", answer.text);
        assert!(answer.text.contains(message), "{message}: {}", answer.text);
    }
    assert_eq!(entries(&site).await, before);
    for part in 0..2 {
        exclude(&site, &many[part * 2_000..(part + 1) * 2_000].join(",")).await;
    }
    let more = |from: usize| {
        (from..from + 3_500).map(|n| format!("11.{}.{}.1", n / 250, n % 250)).collect::<Vec<_>>()
    };
    exclude(&site, &more(0).join(" ")).await;
    let body = json!({ "addresses": more(4_000).join(" "), "reason": "x" });
    let answer = site.send_json(Method::POST, "/exclusions", &body).await;
    assert_eq!(answer.fields(), ["addresses"], "{}", answer.text);
    assert!(answer.text.contains("the limit is 10000"), "{}", answer.text);
}

#[tokio::test]
async fn every_page_renders_and_a_refused_form_keeps_what_was_typed() {
    let site = TestSite::new().await;
    assert!(site.page("/exclusions").await.text.contains("No exclusions yet"));
    let id = exclude(&site, "10.0.0.1").await;
    for path in ["", "?q=none", "/new", &format!("/{id}"), &format!("/{id}/edit"), &format!("/{id}/delete")] {
        let page = site.page(&format!("/exclusions{path}")).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
    }
    let form = [("addresses", "<b>"), ("reason", "Press \"4\""), ("expires_on", "")];
    let page = site.post_form("/exclusions", &form).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("Press &quot;4&quot;") && !page.text.contains("<b>"), "{}", page.text);
    let form = [("addresses", "10.0.0.3"), ("reason", "Press 4"), ("expires_on", "")];
    assert_eq!(site.post_form("/exclusions", &form).await.status, StatusCode::SEE_OTHER);
    let form = [("version", "1")];
    assert_eq!(
        site.post_form(&format!("/exclusions/{id}/delete"), &form).await.status,
        StatusCode::SEE_OTHER
    );
}
