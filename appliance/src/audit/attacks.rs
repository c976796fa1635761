//! What someone who may write names, agents and notes could try on whoever reads the audit.

use serde_json::json;

use crate::audit::{Actor, Entry, Outcome};
use crate::test::TestSite;

/// Closes what it stands in, whatever that is, and starts an element that runs.
const MARKUP: &str = "x\"'></title></textarea></pre></script><img src=x onerror=alert(1)>";

fn escaped() -> String {
    form_urlencoded::byte_serialize(MARKUP.as_bytes()).collect()
}

#[tokio::test]
async fn markup_in_any_field_of_an_entry_or_a_filter_stays_text_on_every_page() {
    let site = TestSite::new().await;
    let fields = json!({ MARKUP: MARKUP, "list": [MARKUP, { MARKUP: MARKUP }], "name": MARKUP });
    let other = json!({ MARKUP: "y", "list": [], "named": { "name": MARKUP }, "all": [{ "name": MARKUP }] });
    let actor = Actor::nobody(MARKUP).by(MARKUP).with_agent(MARKUP);
    let entries = vec![
        Entry::updated(MARKUP, MARKUP, &fields, &other).action(MARKUP).detail(&fields),
        Entry::deleted("subnet", MARKUP, &fields).detail(&json!(MARKUP)),
        Entry::access("access.denied", &json!({ "route": MARKUP }))
            .on("route", MARKUP)
            .outcome(Outcome::Refused),
        Entry::event("audit.broken", &json!({ "found": MARKUP })).outcome(Outcome::Failed),
    ];
    site.app.store.changes(&actor, move |_| Ok((entries, ()))).await.unwrap();
    let head = site.app.store.audit_head().await.unwrap().seq;
    let mut paths: Vec<String> = (head - 3..=head).map(|seq| format!("/audit/{seq}")).collect();
    paths.extend(["/audit", "/audit/checkpoints", "/audit/compliance", "/audit/export"].map(str::to_owned));
    for field in
        ["q", "actor", "action", "resource", "resource_id", "source", "from", "to", "cursor", "sort", "class"]
    {
        for page in ["/audit", "/audit/export", "/audit/compliance"] {
            paths.push(format!("{page}?{field}={}", escaped()));
        }
    }
    paths.push(format!("/audit?resource=subnet&resource_id={}", escaped()));
    paths.push(format!("/audit?resource={0}&resource_id={0}", escaped()));
    let mut shown = 0;
    for path in paths {
        let page = site.page(&path).await;
        assert!(!page.text.contains("<img src=x"), "{path}: {}", page.text);
        shown += usize::from(page.text.contains("&lt;img src=x"));
    }
    assert!(shown > 15, "it was there to be escaped: {shown}");
}

#[tokio::test]
async fn what_reads_like_sql_in_a_filter_of_the_pages_finds_nothing_and_breaks_nothing() {
    let site = TestSite::new().await;
    let before = site.get("/audit").await.json()["total"].as_u64().unwrap();
    for text in [
        "' OR '1'='1",
        "x') OR 1=1 --",
        "\"; DROP TABLE audit_entry; --",
        "subnet.*' --",
        "%",
        "\\",
        "a\0b",
        "NEAR(\"x",
    ] {
        let typed: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        for field in ["actor", "action", "resource", "resource_id"] {
            let answer = site.get(&format!("/audit?{field}={typed}")).await;
            assert_eq!(
                (answer.status.as_u16(), answer.json()["total"].as_u64()),
                (200, Some(0)),
                "{field}={text}"
            );
        }
        for field in ["q", "source", "from", "to", "outcome", "class", "limit", "cursor", "sort"] {
            let answer = site.get(&format!("/audit?{field}={typed}")).await;
            assert!([200, 422].contains(&answer.status.as_u16()), "{field}={text}: {}", answer.text);
        }
    }
    let after = site.get("/audit").await.json()["total"].as_u64().unwrap();
    assert!(after >= before);
}
