//! The audit's pages: the list, and one entry with what changed.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::chain::{self, Head};
use super::checkpoints::store::covering;
use super::names::{Names, Thing};
use super::query::AuditQuery;
use super::store::{self, Span};
use super::{Actor, Change, Class, Outcome, Record};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::web::{Access, Answer, Call, NoInput, Reply, Routes};
use crate::web::{Cursor, Page, Sort, limit};
use portolan_scanner::wire::hex;

/// The rows.
#[must_use]
pub fn routes() -> Routes {
    Routes::of("audit", "audit/audit")
        .get("/audit", Access::Scope("audit:view"), list)
        .page("audit/list.html")
        .summary("List the entries of the audit")
        .viewed("audit")
        .nav("Record", "Audit", "audit", 880)
        .get("/audit/{seq}", Access::Scope("audit:view"), show)
        .page("audit/entry.html")
        .summary("One entry, with what changed and its place in the chain")
        .viewed("audit")
}

/// A row of the list.
#[derive(Serialize, JsonSchema)]
struct Line {
    /// Place in the chain, from 1.
    seq: u64,
    at: Timestamp,
    class: Class,
    actor: Actor,
    action: String,
    resource: String,
    resource_id: String,
    /// What the resource is called, if it has a name.
    thing: Option<Thing>,
    outcome: Outcome,
}

/// A page of the list, and what its filters can be set to.
#[derive(Serialize, JsonSchema)]
struct Lines {
    #[serde(flatten)]
    page: Page<Line>,
    /// The thing that all of them tell of, if one was asked for and it has a name.
    thing: Option<Thing>,
    /// What the filters can be set to.
    options: Options,
}

#[derive(Serialize, JsonSchema)]
struct Options {
    /// The actions that occur.
    actions: Vec<String>,
    /// The kinds of thing that occur.
    resources: Vec<String>,
}

async fn list(call: Call, query: AuditQuery) -> Answer<Lines> {
    let sort = Sort::parse(query.sort.as_deref().filter(|s| !s.is_empty()).or(Some("-seq")), &["seq"])?;
    let limit = limit(query.limit)?;
    let after = query.cursor.as_deref().filter(|c| !c.is_empty()).map(|c| after(c, &sort)).transpose()?;
    let filter = query.filter()?;
    // One more than asked says whether there is a next page.
    let span = Span { ascending: !sort.descending, after, limit: limit + 1 };
    let read = move |c: &_| {
        let (mut rows, total) = store::list(c, &filter, span)?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let mut names = Names::default();
        let thing = match (&filter.resource, &filter.resource_id) {
            (Some(resource), Some(id)) => names.find(c, resource, id)?,
            _ => None,
        };
        let named = |(seq, record): (u64, Record)| {
            let thing = names.find(c, &record.resource, &record.resource_id)?;
            Ok(line(seq, thing, record))
        };
        let lines = rows.into_iter().map(named).collect::<Result<Vec<_>>>()?;
        let (actions, resources) = store::choices(c)?;
        Ok((lines, more, total, thing, Options { actions, resources }))
    };
    let (items, more, total, thing, options) = call.app.store.read(read).await?;
    let last = items.last().filter(|_| more);
    let next = last.map(|line| Cursor::after("audit", &sort, vec![line.seq.to_string()]));
    Ok(Reply::ok(Lines { page: Page { items, next, total }, thing, options }))
}

fn line(seq: u64, thing: Option<Thing>, record: Record) -> Line {
    let Record { at, class, actor, action, resource, resource_id, outcome, .. } = record;
    Line { seq, at, class, actor, action, resource, resource_id, thing, outcome }
}

fn after(cursor: &str, sort: &Sort) -> Result<u64> {
    let key = Cursor::read(cursor, "audit", sort, 1)?;
    key[0].parse().map_err(|_| Error::invalid("cursor", "is not a cursor that this site gave"))
}

/// One entry and its place in the chain.
#[derive(Serialize, JsonSchema)]
struct EntryPage {
    /// Place in the chain, from 1.
    seq: u64,
    at: Timestamp,
    class: Class,
    actor: Actor,
    action: String,
    resource: String,
    resource_id: String,
    /// What the resource is called, if it has a name.
    thing: Option<Thing>,
    outcome: Outcome,
    /// Field by field, what changed.
    changes: Vec<Change>,
    /// What the fields do not say; null when there is nothing.
    detail: Value,
    /// Hash of the entry before, hex.
    prev_hash: String,
    /// Hash of this entry, hex.
    hash: String,
    /// Whether the hash is that of the entry as it stands here.
    intact: bool,
    /// The entry as it was hashed: canonical JSON (RFC 8785).
    canonical: String,
    /// The first checkpoint that covers it; none if its head is not signed yet.
    checkpoint: Option<u64>,
    /// Whether an entry follows.
    has_next: bool,
}

async fn show(call: Call, _: NoInput) -> Answer<EntryPage> {
    let seq = call.param("seq").to_owned();
    let none = || Error::not_found("audit entry", &seq);
    // Beyond what SQLite can count there is nothing either.
    let number = seq.parse().ok().filter(|n| i64::try_from(*n).is_ok()).ok_or_else(none)?;
    let read = move |c: &_| {
        let Some((link, record)) = store::get(c, number)? else { return Ok(None) };
        Ok(Some((
            link,
            Names::default().find(c, &record.resource, &record.resource_id)?,
            record,
            store::head(c)?,
            covering(c, number)?,
        )))
    };
    let (link, thing, record, head, checkpoint) = call.app.store.read(read).await?.ok_or_else(none)?;
    let before = Head { seq: link.seq.saturating_sub(1), hash: link.prev };
    let Record { at, class, actor, action, resource, resource_id, outcome, changes, detail } = record;
    Ok(Reply::ok(EntryPage {
        seq: link.seq,
        at,
        class,
        actor,
        action,
        resource,
        resource_id,
        thing,
        outcome,
        changes,
        detail,
        prev_hash: hex::encode(&link.prev),
        hash: hex::encode(&link.hash),
        intact: chain::follow(before, &link).is_ok(),
        checkpoint,
        has_next: head.seq > link.seq,
        canonical: link.entry,
    }))
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use serde_json::json;

    use super::*;
    use crate::audit::Entry;
    use crate::test::TestSite;

    /// A site with setup's own entries and then one of subnet "a".
    async fn site() -> TestSite {
        let site = TestSite::new().await;
        let entry = Entry::created("subnet", "a", &json!({ "cidr": "10.0.0.0/24", "api_key": "s3cret" }));
        let actor = Actor::system("manager");
        site.app.store.change(&actor, move |_| Ok((entry, ()))).await.unwrap();
        site
    }

    #[tokio::test]
    async fn the_list_filters_pages_and_opens() {
        let site = site().await;
        let list = site.get("/audit?action=subnet.*&from=2026-11-22&to=2026-11-22&q=").await.json();
        assert_eq!((&list["total"], &list["items"][0]["action"]), (&json!(1), &json!("subnet.created")));
        assert_eq!(site.get("/audit?to=2026-11-21").await.json()["total"], 0);
        let first = site.get("/audit?limit=1").await.json();
        let cursor = first["next"].as_str().unwrap();
        let second = site.get(&format!("/audit?limit=1&cursor={cursor}")).await.json();
        assert_eq!(second["items"][0]["seq"], json!(first["items"][0]["seq"].as_u64().unwrap() - 1));
        let seq = list["items"][0]["seq"].as_u64().unwrap();
        let entry = site.get(&format!("/audit/{seq}")).await.json();
        // The list that was read before is an entry by now, which follows.
        assert_eq!((&entry["intact"], &entry["has_next"]), (&json!(true), &json!(true)));
        assert_eq!(entry["changes"][1], json!({ "field": "cidr", "after": "10.0.0.0/24" }));
        assert!(!entry.to_string().contains("s3cret"));
    }

    #[tokio::test]
    async fn both_pages_render_and_show_what_changed() {
        let site = site().await;
        let seq = site.app.store.audit_head().await.unwrap().seq;
        let list = site.page("/audit?actor=manager").await;
        assert!(list.status.is_success() && list.text.contains("subnet.created"), "{}", list.text);
        let entry = site.page(&format!("/audit/{seq}")).await;
        assert!(entry.status.is_success() && entry.text.contains("10.0.0.0"), "{}", entry.text);
        assert!(entry.text.contains("It fits the entry") && entry.text.contains("not yet"));
        site.app.checkpoints.make(crate::audit::checkpoint::Why::Hourly).await.unwrap();
        let signed = site.get(&format!("/audit/{seq}")).await.json();
        assert_eq!(signed["checkpoint"], json!(site.app.store.audit_head().await.unwrap().seq));
        assert!(site.page("/audit?actor=none-such").await.status.is_success());
    }

    #[tokio::test]
    async fn entries_name_what_they_tell_of_even_when_it_is_gone() {
        let site = TestSite::new().await;
        let new = json!({ "name": "Quay", "cidr": "10.0.0.0/24" });
        let made = site.send_json(Method::POST, "/subnets", &new).await.json();
        let path = format!("/subnets/{}", made["id"].as_str().unwrap());
        let newest = || async { site.get("/audit?resource=subnet&limit=1").await.json()["items"][0].clone() };
        assert_eq!(newest().await["thing"], json!({ "name": "Quay", "path": path }));
        site.send_json(Method::DELETE, &path, &json!({})).await;
        let gone = newest().await;
        assert_eq!(gone["thing"], json!({ "name": "Quay", "path": null }));
        let entry = site.page(&format!("/audit/{}", gone["seq"])).await;
        assert!(entry.text.contains("no longer there"), "{}", entry.text);
    }

    #[tokio::test]
    async fn nonsense_is_refused_by_name_and_strangers_see_nothing() {
        let site = site().await;
        for (path, field) in [
            ("/audit?from=yesterday", "from"),
            ("/audit?to=x", "to"),
            ("/audit?sort=actor", "sort"),
            ("/audit?limit=0", "limit"),
            ("/audit?cursor=zzz", "cursor"),
            ("/audit?outcome=maybe", "outcome"),
            ("/audit?colour=red", "colour"),
            ("/audit?class=read", "class"),
            ("/audit?source=10.0.0.0%2F8", "source"),
            ("/audit?source=%27%20OR%201%3D1", "source"),
            ("/audit?q=%25%20%27", "q"),
        ] {
            let answer = site.get(path).await;
            assert_eq!(answer.status, 422, "{path}: {}", answer.text);
            assert_eq!(answer.fields(), [field], "{path}");
        }
        for (query, field) in [
            (format!("q={}", "a+".repeat(1_200)), "q"),
            (format!("q={}", "%25".repeat(15_000)), "q"),
            (format!("action={}.*", "a".repeat(60_000)), "action"),
            (format!("actor={}", "a".repeat(60_000)), "actor"),
            (format!("resource={}", "a".repeat(60_000)), "resource"),
            (format!("resource_id={}", "a".repeat(60_000)), "resource_id"),
            (format!("source={}", "1".repeat(60_000)), "source"),
            (format!("from={}", "2".repeat(60_000)), "from"),
            (format!("cursor={}", "A".repeat(60_000)), "cursor"),
        ] {
            let answer = site.get(&format!("/audit?{query}")).await;
            assert_eq!((answer.status.as_u16(), answer.fields()), (422, vec![field.to_owned()]));
        }
        for path in ["/audit/0", "/audit/999", "/audit/x", "/audit/18446744073709551615"] {
            assert_eq!(site.get(path).await.status, 404, "{path}");
        }
        for path in ["/audit", "/audit/1"] {
            assert_eq!(site.stranger().get(path).await.status, 401, "{path}");
        }
    }
}
