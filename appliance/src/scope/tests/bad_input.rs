//! What is refused: by the field's name, with nothing changed.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Fixture, entries, if_match, made};
use crate::test::{Answered, TestSite};

/// Refused on this field, for this reason, and nothing was changed.
async fn refused(site: &TestSite, before: u64, answer: &Answered, field: &str, reason: &str) {
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}: {}", answer.text);
    assert!(answer.fields().contains(&field.to_owned()), "{field}: {}", answer.text);
    let all = answer.json()["errors"].to_string();
    assert!(all.contains(reason), "{reason:?} is not in {all}");
    assert_eq!(entries(site).await, before, "{field}: {}", answer.text);
}

#[tokio::test]
async fn a_bad_subnet_names_its_field_and_changes_nothing() {
    let site = TestSite::new().await;
    made(&site, "/subnets", &json!({ "name": "Taken", "cidr": "10.0.0.0/8" })).await;
    let before = entries(&site).await;
    let long = "x".repeat(101);
    for (body, field, reason) in [
        (json!({ "name": "a", "cidr": "10.0.0.0/33" }), "cidr", "0 to 32"),
        (json!({ "name": "a", "cidr": "::/129" }), "cidr", "0 to 128"),
        (json!({ "name": "a", "cidr": "10.0.0.1/24" }), "cidr", "the subnet is 10.0.0.0/24"),
        (json!({ "name": "a", "cidr": "10.0.0.1" }), "cidr", "address/prefix"),
        (json!({ "name": "a", "cidr": "plant" }), "cidr", "plant"),
        (json!({ "name": "a", "cidr": "" }), "cidr", "address/prefix"),
        (json!({ "name": "a" }), "cidr", "missing"),
        (json!({ "name": "a", "cidr": 7 }), "cidr", "string"),
        (json!({ "name": "TAKEN", "cidr": "10.0.0.0/8" }), "name", "another subnet has this name"),
        (json!({ "name": " ", "cidr": "10.0.0.0/8" }), "name", "needed"),
        (json!({ "name": long, "cidr": "10.0.0.0/8" }), "name", "at most 100"),
        (json!({ "name": "a", "cidr": "10.0.0.0/8", "note": "\u{1b}[31m" }), "note", "plain text"),
        (json!({ "name": "a", "cidr": "10.0.0.0/8", "owner": 1 }), "owner", "unknown field"),
        (json!({ "name": "a", "cidr": "10.0.0.0/8", "version": 1 }), "version", "leave it out"),
        (json!(["a"]), "body", "object"),
    ] {
        let answer = site.send_json(Method::POST, "/subnets", &body).await;
        refused(&site, before, &answer, field, reason).await;
    }
    let both = site.send_json(Method::POST, "/subnets", &json!({ "name": "", "cidr": "x" })).await;
    assert_eq!(both.fields(), ["name", "cidr"], "both at once");
}

#[tokio::test]
async fn a_bad_port_list_names_every_bad_piece() {
    let site = TestSite::new().await;
    let before = entries(&site).await;
    let answer =
        site.send_json(Method::POST, "/port-lists", &json!({ "name": "a", "ports": "0,70000,http" })).await;
    refused(&site, before, &answer, "ports", "\\\"0\\\", \\\"70000\\\" are not ports").await;
    for (ports, reason) in
        [("", "at least one port"), ("90-80", "90-80"), ("htttp", "service name"), ("1..5", "1..5")]
    {
        let answer =
            site.send_json(Method::POST, "/port-lists", &json!({ "name": "a", "ports": ports })).await;
        refused(&site, before, &answer, "ports", reason).await;
    }
}

#[tokio::test]
async fn a_bad_template_names_its_field_and_changes_nothing() {
    let fixture = Fixture::new().await;
    let site = &fixture.site;
    let whole = made(site, "/subnets", &json!({ "name": "All of IPv6", "cidr": "::/0" })).await;
    let every = made(site, "/port-lists", &json!({ "name": "Every port", "ports": "1-65535" })).await;
    fixture.make_template(json!({ "name": "Taken" })).await;
    let before = entries(site).await;
    for (with, field, reason) in [
        (json!({ "subnets": [] }), "subnets", "at least one subnet"),
        (json!({ "port_lists": [] }), "port_lists", "at least one port list"),
        (json!({ "scanners": [] }), "scanners", "at least one scanner"),
        (json!({ "subnets": [fixture.port_list] }), "subnets", "there is no subnet"),
        (json!({ "scanners": [fixture.subnet] }), "scanners", "there is no scanner"),
        (json!({ "subnets": ["lab"] }), "subnets[0]", "UUID"),
        (json!({ "exclusions": "10.0.0.0/8" }), "exclusions", "nothing is left"),
        (json!({ "exclusions": "10.0.0.0/24, all" }), "exclusions", "all"),
        (
            json!({ "subnets": [whole], "port_lists": [every] }),
            "subnets",
            "22,300,404,916,163,702,203,072,254,898,040,929,737,768,960 probes; the limit is 1,099,511,627,776",
        ),
        (json!({ "rate": 0 }), "rate", "1 to 1000000"),
        (json!({ "rate": 1_000_001 }), "rate", "1 to 1000000"),
        (json!({ "host_rate": -5 }), "host_rate", "1 to 100000"),
        (json!({ "preset": "gentle", "host_rate": 11 }), "host_rate", "gentle sends at most 10"),
        (json!({ "preset": "gentle", "hints": true }), "hints", "gentle takes no hints"),
        (json!({ "method": "udp" }), "method", "connect"),
        (json!({ "timeout_ms": 49 }), "timeout_ms", "50 to 60000"),
        (json!({ "retries": 11 }), "retries", "0 to 10"),
        (json!({ "preset": "wild" }), "preset", "gentle"),
        (json!({ "name": "taken" }), "name", "another template has this name"),
        (json!({ "ports": "80" }), "ports", "unknown field"),
    ] {
        let answer = site.send_json(Method::POST, "/templates", &fixture.template(with)).await;
        refused(site, before, &answer, field, reason).await;
    }
    let total = site.get("/templates").await.json()["total"].clone();
    assert_eq!(total, json!(1));
}

#[tokio::test]
async fn a_change_needs_the_version_that_is_there() {
    let fixture = Fixture::new().await;
    let site = &fixture.site;
    let template = fixture.make_template(json!({})).await;
    for (path, edit) in [
        (format!("/subnets/{}", fixture.subnet), json!({ "name": "Lab", "cidr": "10.0.0.0/23" })),
        (format!("/port-lists/{}", fixture.port_list), json!({ "name": "Web", "ports": "80" })),
        (format!("/templates/{template}"), fixture.template(json!({ "note": "changed" }))),
    ] {
        let before = entries(site).await;
        let answer = site.send_json(Method::PUT, &path, &edit).await;
        refused(site, before, &answer, "version", "If-Match").await;
        for method in [Method::PUT, Method::DELETE] {
            let body = if method == Method::PUT { edit.clone() } else { json!({}) };
            let answer = if_match(site, method, &path, 7, &body).await;
            assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED, "{path}: {}", answer.text);
        }
        assert_eq!(entries(site).await, before);
        let answer = if_match(site, Method::PUT, &path, 1, &edit).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_form_based_on_an_old_version_comes_back_with_what_was_typed() {
    let fixture = Fixture::new().await;
    let site = &fixture.site;
    let path = format!("/subnets/{}", fixture.subnet);
    if_match(site, Method::PUT, &path, 1, &json!({ "name": "Lab", "cidr": "10.0.0.0/23" })).await;
    let before = entries(site).await;

    let form = [("name", "Lab"), ("cidr", "10.0.0.0/22"), ("note", "mine"), ("version", "1")];
    let page = site.post_form(&path, &form).await;
    assert_eq!(page.status, StatusCode::PRECONDITION_FAILED, "{}", page.text);
    assert!(page.text.contains("mine") && page.text.contains("Someone changed this"), "{}", page.text);
    assert!(
        page.text.contains("Changed meanwhile") && !page.text.contains("marked field"),
        "no field is marked"
    );
    assert!(page.text.contains("name=\"version\" value=\"2\""), "saving again is a decision: {}", page.text);

    // A mistake beside an old version must not make the version a new one.
    let form = [("name", "Lab"), ("cidr", "10.0.0.0/99"), ("note", "mine"), ("version", "1")];
    let page = site.post_form(&path, &form).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("name=\"version\" value=\"1\""), "{}", page.text);
    assert_eq!(entries(site).await, before);
}

#[tokio::test]
async fn what_a_template_names_is_not_deleted_and_the_template_is_named() {
    let fixture = Fixture::new().await;
    let site = &fixture.site;
    fixture.make_template(json!({})).await;
    let before = entries(site).await;
    for path in [format!("/subnets/{}", fixture.subnet), format!("/port-lists/{}", fixture.port_list)] {
        let answer = site.send_json(Method::DELETE, &path, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
        assert!(answer.text.contains("template “Weekly”"), "{}", answer.text);
        let asked = site.get(&format!("{path}/delete")).await.json();
        assert_eq!(asked["in_use"][0]["name"], json!("Weekly"));
        assert_eq!(site.get(&path).await.status, StatusCode::OK);
    }
    assert_eq!(entries(site).await, before);
}

#[tokio::test]
async fn a_part_cannot_be_changed_so_that_a_template_no_longer_fits() {
    let fixture = Fixture::new().await;
    let site = &fixture.site;
    fixture.make_template(json!({ "exclusions": "10.9.0.0/16" })).await;
    let before = entries(site).await;
    let path = format!("/subnets/{}", fixture.subnet);
    for (cidr, reason) in [("::/0", "the limit is"), ("10.9.1.0/24", "nothing is left")] {
        let answer = if_match(site, Method::PUT, &path, 1, &json!({ "name": "Lab", "cidr": cidr })).await;
        refused(site, before, &answer, "cidr", reason).await;
        refused(site, before, &answer, "cidr", "the template “Weekly”").await;
    }
    assert_eq!(site.get(&path).await.json()["cidr"], json!("10.0.0.0/24"));
}

#[tokio::test]
async fn a_list_refuses_what_is_not_its_own() {
    let site = TestSite::new().await;
    for number in 1..=3 {
        made(&site, "/subnets", &json!({ "name": format!("S{number}"), "cidr": "10.0.0.0/24" })).await;
    }
    let next = site.get("/subnets?limit=1").await.json()["next"].as_str().unwrap().to_owned();
    for (path, field) in [
        (format!("/port-lists?cursor={next}"), "cursor"),
        (format!("/templates?cursor={next}"), "cursor"),
        (format!("/subnets?sort=-name&cursor={next}"), "cursor"),
        ("/subnets?cursor=zzz".to_owned(), "cursor"),
        ("/subnets?sort=note".to_owned(), "sort"),
        ("/subnets?limit=501".to_owned(), "limit"),
        ("/subnets?limit=many".to_owned(), "limit"),
        ("/subnets?family=ipx".to_owned(), "family"),
        ("/subnets?colour=red".to_owned(), "colour"),
        ("/subnets?q=%ff".to_owned(), "query"),
    ] {
        let answer = site.get(&path).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {}", answer.text);
        assert_eq!(answer.fields(), [field], "{path}");
    }
}

#[tokio::test]
async fn invalid_utf_8_a_wrong_type_and_a_wrong_id_are_told() {
    let site = TestSite::new().await;
    let before = entries(&site).await;
    let form = "application/x-www-form-urlencoded";
    for (media, bytes) in
        [(form, b"name=%ff&cidr=10.0.0.0/8".to_vec()), ("application/json", b"{\"name\":\"\xff\"}".to_vec())]
    {
        let answer = site.send(Method::POST, "/subnets", "application/json", Some((media, bytes))).await;
        refused(&site, before, &answer, "body", "").await;
    }
    let answer =
        site.send(Method::POST, "/subnets", "application/json", Some(("text/csv", b"a,b".to_vec()))).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for path in ["/subnets/nothing", "/subnets/01932f8e-7a10-7c41-9b2e-000000000001"] {
        assert_eq!(site.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(site.send_json(Method::DELETE, path, &Value::Null).await.status, StatusCode::NOT_FOUND);
    }
}
