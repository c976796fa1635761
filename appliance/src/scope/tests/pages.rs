//! The pages: they render from what the handlers answer, and a refused form comes back as it was typed.

use axum::http::StatusCode;
use serde_json::json;

use super::{Fixture, made};
use crate::test::TestSite;

#[tokio::test]
async fn every_page_renders_empty_and_full() {
    let site = TestSite::new().await;
    for path in [
        "/subnets",
        "/subnets/new",
        "/port-lists",
        "/port-lists/new",
        "/templates",
        "/templates/new",
        "/subnets?q=nothing",
    ] {
        let page = site.page(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
    }
    let fixture = Fixture::new().await;
    let id = fixture.make_template(json!({ "exclusions": "10.0.0.0/30", "note": "<b>" })).await;
    made(&fixture.site, "/subnets", &json!({ "name": "Inside", "cidr": "10.0.0.0/30" })).await;
    made(&fixture.site, "/subnets", &json!({ "name": "Large", "cidr": "2001:db8:7::/48" })).await;
    let large = made(&fixture.site, "/subnets", &json!({ "name": "Larger", "cidr": "2001:db8::/33" })).await;
    assert!(fixture.site.page("/subnets").await.text.contains("2<sup>80</sup>"));
    let asked = fixture.site.page(&format!("/subnets/{large}/delete")).await;
    assert!(asked.text.contains("2<sup>95</sup> addresses"), "no row of 29 digits: {}", asked.text);
    for base in [
        format!("/templates/{id}"),
        format!("/subnets/{}", fixture.subnet),
        format!("/port-lists/{}", fixture.port_list),
    ] {
        for path in [base.clone(), format!("{base}/edit"), format!("{base}/delete")] {
            let page = fixture.site.page(&path).await;
            assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
            assert!(!page.text.contains("<b>"), "{path}");
        }
    }
    for path in ["/subnets?sort=-hosts&limit=1", "/port-lists?sort=count", "/templates?preset=normal"] {
        let page = fixture.site.page(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
    }
}

#[tokio::test]
async fn subnets_and_port_lists_name_the_templates_that_use_them() {
    let fixture = Fixture::new().await;
    let paths = [format!("/subnets/{}", fixture.subnet), format!("/port-lists/{}", fixture.port_list)];
    for path in &paths {
        assert_eq!(fixture.site.get(path).await.json()["templates"], json!([]));
        assert!(fixture.site.page(path).await.text.contains("none uses it"));
    }
    let id = fixture.make_template(json!({})).await;
    for path in &paths {
        assert_eq!(fixture.site.get(path).await.json()["templates"], json!([{ "id": id, "name": "Weekly" }]));
        assert!(fixture.site.page(path).await.text.contains(&id));
    }
}

#[tokio::test]
async fn what_is_wrong_is_listed_in_the_order_of_the_form() {
    let fixture = Fixture::new().await;
    let note = "x".repeat(3_000);
    let form = [
        ("name", ""),
        ("exclusions", "all"),
        ("rate", "0"),
        ("preset", "gentle"),
        ("hints", "true"),
        ("note", &note),
    ];
    let page = fixture.site.post_form("/templates", &form).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    let at =
        |field: &str| page.text.find(&format!("href=\"#f-{field}\"")).unwrap_or_else(|| panic!("{field}"));
    let fields = ["name", "subnets", "exclusions", "port_lists", "scanners", "rate", "hints", "note"];
    let places = fields.map(at);
    assert!(places.is_sorted(), "{places:?}");
    assert!(page.text.contains("name=\"hints\" value=\"true\" checked"), "what was ticked stays ticked");
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_gets_a_page_that_says_so_and_leads_out() {
    let site = TestSite::new().await;
    for (path, said) in [
        ("/subnets?family=ipv5", "“ipv5” is not known here: ipv4"),
        ("/subnets?limit=many", "“many” is not a whole number"),
        ("/scans?template=mine", "is not an id"),
        ("/audit?colour=red", "colour"),
    ] {
        let page = site.page(path).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert!(
            page.text.contains("This filter cannot be read") && page.text.contains(said),
            "{}",
            page.text
        );
        let out = path.split('?').next().unwrap().replace('/', "&#x2f;");
        assert!(page.text.contains(&format!("href=\"{out}\"")), "{path}: {}", page.text);
    }
}

#[tokio::test]
async fn a_refused_form_comes_back_with_what_was_typed_and_says_what_is_wrong() {
    let site = TestSite::new().await;
    let page = site
        .post_form("/subnets", &[("name", "Plant <A>"), ("cidr", "10.0.0.0/33"), ("note", "keep me")])
        .await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    for kept in ["Plant &lt;A&gt;", "10.0.0.0&#x2f;33", "keep me", "0 to 32"] {
        assert!(page.text.contains(kept), "{kept}: {}", page.text);
    }
    let page = site.post_form("/port-lists", &[("name", "x"), ("ports", "0,70000,http"), ("note", "")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("0,70000,http") && page.text.contains("are not ports"), "{}", page.text);
}

#[tokio::test]
async fn a_refused_template_keeps_its_ticks() {
    let fixture = Fixture::new().await;
    let form = [
        ("name", "Weekly"),
        ("subnets", fixture.subnet.as_str()),
        ("scanners", fixture.scanner.as_str()),
        ("exclusions", "10.0.0.1"),
        ("preset", "fast"),
        ("rate", "0"),
        ("host_rate", ""),
    ];
    let page = fixture.site.post_form("/templates", &form).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", page.text);
    for kept in [
        format!("value=\"{}\" checked", fixture.subnet),
        format!("value=\"{}\" checked", fixture.scanner),
        "value=\"fast\" selected".to_owned(),
        "10.0.0.1".to_owned(),
        "at least one port list is needed".to_owned(),
        "0 is outside 1 to 1000000".to_owned(),
    ] {
        assert!(page.text.contains(&kept), "{kept}: {}", page.text);
    }
    assert!(!page.text.contains(&format!("value=\"{}\" checked", fixture.port_list)));
}

#[tokio::test]
async fn the_page_that_asks_before_a_deletion_says_who_is_in_the_way() {
    let fixture = Fixture::new().await;
    let path = format!("/subnets/{}", fixture.subnet);
    let page = fixture.site.page(&format!("{path}/delete")).await;
    assert!(
        page.text.contains(&format!("action=\"{path}/delete\"")) || page.text.contains("&#x2f;delete\""),
        "{}",
        page.text
    );
    fixture.make_template(json!({})).await;
    let page = fixture.site.page(&format!("{path}/delete")).await;
    assert!(page.text.contains("Weekly") && !page.text.contains("Keep it"), "{}", page.text);
    let page = fixture.site.post_form(&format!("{path}/delete"), &[]).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(page.text.contains("Weekly"), "{}", page.text);
}
