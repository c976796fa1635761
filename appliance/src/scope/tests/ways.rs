//! The ways that lead somewhere: made, found, changed, deleted.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Fixture, entries, if_match, made, names};
use crate::test::TestSite;

#[tokio::test]
async fn a_subnet_is_made_canonical_shown_changed_and_deleted() {
    let site = TestSite::new().await;
    let answer = site
        .send_json(
            Method::POST,
            "/subnets",
            &json!({ "name": " Plant A ", "cidr": " 2001:DB8:0::/64 ", "note": "one\r\ntwo" }),
        )
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let subnet = answer.json();
    let path = format!("/subnets/{}", subnet["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), format!("/api/v1{path}"));
    assert_eq!(answer.header("etag"), "\"1\"");
    assert_eq!((&subnet["name"], &subnet["cidr"]), (&json!("Plant A"), &json!("2001:db8::/64")));
    assert_eq!((&subnet["family"], &subnet["note"]), (&json!("ipv6"), &json!("one\ntwo")));
    assert_eq!(subnet["hosts"], json!("18446744073709551616"), "beyond 2^53 it is a string");

    let edit = json!({ "name": "Plant A", "cidr": "10.0.0.0/25" });
    let answer = if_match(&site, Method::PUT, &path, 1, &edit).await;
    assert_eq!((answer.status, answer.header("etag")), (StatusCode::OK, "\"2\""), "{}", answer.text);
    let shown = site.get(&format!("/api/v1{path}")).await;
    assert_eq!((&shown.json()["hosts"], &shown.json()["note"]), (&json!(128), &json!("")));

    assert_eq!(site.send_json(Method::DELETE, &path, &Value::Null).await.status, StatusCode::OK);
    assert_eq!(site.get(&path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_change_of_the_scope_is_in_the_audit_with_its_fields() {
    let site = TestSite::new().await;
    let before = entries(&site).await;
    let id = made(&site, "/port-lists", &json!({ "name": "Web", "ports": "https,80" })).await;
    let path = format!("/port-lists/{id}");
    if_match(&site, Method::PUT, &path, 1, &json!({ "name": "Web", "ports": "80-81,443" })).await;
    site.send_json(Method::DELETE, &path, &Value::Null).await;
    assert_eq!(entries(&site).await, before + 3);
    let sql = "SELECT entry FROM audit_entry WHERE resource_id = ? ORDER BY seq DESC";
    let (resource, row) = (id.clone(), |row: &rusqlite::Row| row.get::<_, String>(0));
    let told = site.app.store.read(move |db| crate::listing::rows(db, sql, [resource], row)).await.unwrap();
    assert!(told[2].contains("port-list.created") && told[2].contains("80,443"), "{}", told[2]);
    assert!(told[1].contains(r#"{"after":"80-81,443","before":"80,443","field":"ports"}"#), "{}", told[1]);
    assert!(told[0].contains("port-list.deleted") && told[0].contains(&id), "{}", told[0]);
}

#[tokio::test]
async fn subnets_are_found_by_word_by_family_and_by_an_address_in_them() {
    let site = TestSite::new().await;
    for (name, cidr) in
        [("Hall", "10.20.0.0/16"), ("Cell 4", "10.20.4.0/24"), ("Bridge", "fd00:30::/64"), ("All", "::/0")]
    {
        made(&site, "/subnets", &json!({ "name": name, "cidr": cidr, "note": format!("{name} 100%") })).await;
    }
    for (query, found) in [
        ("", vec!["All", "Bridge", "Cell 4", "Hall"]),
        ("?q=&family=&sort=&cursor=", vec!["All", "Bridge", "Cell 4", "Hall"]),
        ("?q=cell", vec!["Cell 4"]),
        ("?q=100%25+hall", vec!["Hall"]),
        ("?q=10.20.4.7", vec!["Cell 4", "Hall"]),
        ("?q=10.20.4.7&sort=hosts", vec!["Cell 4", "Hall"]),
        ("?q=fd00:30::1&sort=-hosts", vec!["All", "Bridge"]),
        ("?family=ipv4&sort=-cidr", vec!["Cell 4", "Hall"]),
        ("?sort=-name&limit=2", vec!["Hall", "Cell 4"]),
    ] {
        assert_eq!(names(&site.get(&format!("/subnets{query}")).await), found, "{query}");
    }
}

#[tokio::test]
async fn pages_of_a_list_follow_each_other() {
    let site = TestSite::new().await;
    for number in 1..=5 {
        let body = json!({ "name": format!("L{number}"), "ports": format!("1-{}", number * 7) });
        made(&site, "/port-lists", &body).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/port-lists?sort=-count&limit=2".to_owned());
    loop {
        let answer = site.get(&path).await;
        seen.extend(names(&answer));
        assert_eq!(answer.json()["total"], json!(5));
        match answer.json()["next"].as_str() {
            Some(next) => path = format!("/port-lists?sort=-count&limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["L5", "L4", "L3", "L2", "L1"]);
}

#[tokio::test]
async fn overlaps_are_shown_on_both_sides_and_never_across_families() {
    let site = TestSite::new().await;
    let hall = made(&site, "/subnets", &json!({ "name": "Hall", "cidr": "10.20.0.0/16" })).await;
    let cell = made(&site, "/subnets", &json!({ "name": "Cell", "cidr": "10.20.4.0/24" })).await;
    made(&site, "/subnets", &json!({ "name": "All of IPv6", "cidr": "::/0" })).await;
    made(&site, "/subnets", &json!({ "name": "Beside", "cidr": "10.21.0.0/16" })).await;
    for (one, other) in [(&hall, "Cell"), (&cell, "Hall")] {
        let overlaps = site.get(&format!("/subnets/{one}")).await.json()["overlaps"].clone();
        assert_eq!(overlaps.as_array().unwrap().len(), 1, "{overlaps}");
        assert_eq!(overlaps[0]["name"], json!(other));
    }
}

#[tokio::test]
async fn a_template_shows_how_far_it_reaches_and_resolves_to_sets() {
    let fixture = Fixture::new().await;
    let site = &fixture.site;
    let more = made(site, "/subnets", &json!({ "name": "Lab, half", "cidr": "10.0.0.128/25" })).await;
    let ports = made(site, "/port-lists", &json!({ "name": "More", "ports": "443-445" })).await;
    let id = fixture
        .make_template(json!({
            "subnets": [fixture.subnet, more, more], "port_lists": [fixture.port_list, ports],
            "exclusions": "10.0.0.0/28\n10.0.0.16", "preset": "gentle", "rate": 50,
        }))
        .await;
    let template = site.get(&format!("/templates/{id}")).await.json();
    assert_eq!(
        (&template["hosts"], &template["ports"], &template["probes"]),
        (&json!(239), &json!(4), &json!(956))
    );
    assert_eq!(template["exclusions"], json!("10.0.0.0-10.0.0.16"));
    assert_eq!((&template["rate"], &template["retries"]), (&json!(50), &Value::Null));
    assert_eq!(
        template["timing"],
        json!({ "preset": "gentle", "rate": 50, "host_rate": 10, "timeout_ms": 3000, "retries": 1 })
    );
    assert_eq!(template["vantages"][0]["name"], json!("Cell"));

    let resolved = site.app.scope.resolve(Uuid::try_parse(&id).unwrap()).await.unwrap();
    assert_eq!(resolved.targets.to_string(), "10.0.0.17-10.0.0.255");
    assert_eq!(resolved.ports.to_string(), "80,443-445");
    assert_eq!((resolved.hosts, resolved.probes, resolved.timing.rate), (239, 956, 50));
    assert_eq!((resolved.template.name.as_str(), resolved.scanners.len()), ("Weekly", 1));
}

#[tokio::test]
async fn a_number_left_out_follows_the_preset_when_that_is_changed() {
    let fixture = Fixture::new().await;
    let id = fixture.make_template(json!({ "preset": "fast" })).await;
    let path = format!("/templates/{id}");
    let edit = fixture.template(json!({ "preset": "gentle" }));
    let answer = if_match(&fixture.site, Method::PUT, &path, 1, &edit).await;
    assert_eq!(answer.json()["timing"]["host_rate"], json!(10), "{}", answer.text);
    assert_eq!(names(&fixture.site.get("/templates?preset=fast").await), Vec::<String>::new());
    assert_eq!(names(&fixture.site.get("/templates?preset=gentle&q=week").await), ["Weekly"]);
}

#[tokio::test]
async fn a_form_sent_twice_makes_one_and_changes_once() {
    let site = TestSite::new().await;
    let form = [("name", "Plant"), ("cidr", "10.0.0.0/24"), ("note", "")];
    assert_eq!(site.post_form("/subnets", &form).await.status, StatusCode::SEE_OTHER);
    let before = entries(&site).await;
    let again = site.post_form("/subnets", &form).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(again.text.contains("another subnet has this name"), "{}", again.text);
    assert_eq!(
        (entries(&site).await, site.get("/subnets").await.json()["total"].clone()),
        (before, json!(1))
    );

    let path = format!("/subnets/{}", site.get("/subnets").await.json()["items"][0]["id"].as_str().unwrap());
    let edit = [("name", "Plant"), ("cidr", "10.0.0.0/23"), ("note", ""), ("version", "1")];
    for _ in 0..2 {
        let answer = site.post_form(&path, &edit).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, path.as_str()));
    }
    assert_eq!(site.get(&path).await.json()["version"], json!(2));
    assert_eq!(entries(&site).await, before + 1);
}

#[tokio::test]
async fn a_template_is_deleted_and_then_its_parts_may_be() {
    let fixture = Fixture::new().await;
    let id = fixture.make_template(json!({})).await;
    let site = &fixture.site;
    for path in [
        format!("/templates/{id}"),
        format!("/subnets/{}", fixture.subnet),
        format!("/port-lists/{}", fixture.port_list),
    ] {
        let answer = site.send_json(Method::DELETE, &path, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    }
}
