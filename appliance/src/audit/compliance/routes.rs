//! The page of controls and their evidence.

use std::time::Duration;

use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Tally;
use super::controls::{Control, FRAMEWORKS};
use crate::audit::Outcome;
use crate::audit::query::AuditQuery;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::web::{Access, Answer, Call, Reply, Routes};

/// So far back the page looks when nothing is said.
const BACK: Duration = Duration::from_hours(90 * 24);

/// The rows.
#[must_use]
pub fn routes() -> Routes {
    Routes::of("audit", "audit/compliance")
        .get("/audit/compliance", Access::Scope("compliance:view"), show)
        .page("audit/compliance.html")
        .summary("Controls of SOC 2 and ISO 27001, with the entries that are evidence for them")
        .viewed("compliance")
        .nav("Record", "Compliance", "check", 885)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ComplianceQuery {
    /// Not before this time or day (UTC); 90 days ago when absent.
    from: Option<String>,
    /// Before this time, or no later than this day (UTC); now when absent.
    to: Option<String>,
}

/// What the audit shows of each control.
#[derive(Serialize, JsonSchema)]
struct Compliance {
    /// Entries from then on are counted.
    from: Timestamp,
    /// Entries before then.
    to: Timestamp,
    /// The state of the record itself.
    record: RecordState,
    frameworks: Vec<FrameworkView>,
}

#[derive(Serialize, JsonSchema)]
struct RecordState {
    /// How many entries there are in all.
    entries: u64,
    /// When the whole chain was last checked.
    checked_at: Option<Timestamp>,
    /// What that found: `done` if it was whole.
    found: Option<Outcome>,
    /// When its head was last signed.
    signed_at: Option<Timestamp>,
}

#[derive(Serialize, JsonSchema)]
struct FrameworkView {
    name: &'static str,
    controls: Vec<ControlView>,
}

#[derive(Serialize, JsonSchema)]
struct ControlView {
    /// Its number in its framework.
    id: &'static str,
    /// What it is about, in words of ours.
    topic: &'static str,
    /// What the appliance does towards it.
    how: &'static str,
    evidence: Vec<EvidenceView>,
}

#[derive(Serialize, JsonSchema)]
struct EvidenceView {
    /// What the entries are.
    what: &'static str,
    /// How many there are in this time.
    count: u64,
    /// The number of the latest.
    last: Option<u64>,
    /// When it was written.
    last_at: Option<Timestamp>,
    /// The list of exactly these entries.
    path: String,
}

async fn show(call: Call, query: ComplianceQuery) -> Answer<Compliance> {
    let now = call.app.clock.now();
    let asked = AuditQuery { from: query.from, to: query.to, ..AuditQuery::default() }.filter()?;
    let to = asked.to.unwrap_or(now);
    let from = asked.from.unwrap_or_else(|| Timestamp::from_micros(to.micros().saturating_sub(micros(BACK))));
    if from > to {
        return Err(Error::invalid("to", "is before the beginning"));
    }
    let state = call.app.checkpoints.state().await?;
    let checked = state.checked.map(|(_, record)| record);
    let record = RecordState {
        entries: state.head.seq,
        checked_at: checked.as_ref().map(|record| record.at),
        found: checked.map(|record| record.outcome),
        signed_at: state.last.map(|made| made.at),
    };
    let frameworks = call.app.store.read(move |c| frameworks(c, from, to)).await?;
    Ok(Reply::ok(Compliance { from, to, record, frameworks }))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn frameworks(connection: &Connection, from: Timestamp, to: Timestamp) -> Result<Vec<FrameworkView>> {
    let mut tally = Tally::new(connection, from, to);
    let mut all = Vec::new();
    for framework in &FRAMEWORKS {
        let controls = framework.controls.iter().map(|control| view(control, &mut tally));
        all.push(FrameworkView { name: framework.name, controls: controls.collect::<Result<_>>()? });
    }
    Ok(all)
}

fn view(control: &'static Control, tally: &mut Tally) -> Result<ControlView> {
    let Control { id, topic, how, evidence } = control;
    let mut views = Vec::new();
    for evidence in *evidence {
        let found = tally.find(evidence)?;
        views.push(EvidenceView {
            what: evidence.what,
            count: found.count,
            last: found.last.map(|(seq, _)| seq),
            last_at: found.last.map(|(_, at)| at),
            path: tally.filter(evidence).path()?,
        });
    }
    Ok(ControlView { id, topic, how, evidence: views })
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use serde_json::{Value, json};

    use crate::test::TestSite;

    /// Every row of the page.
    fn rows(page: &Value) -> Vec<&Value> {
        let lists = page["frameworks"].as_array().unwrap().iter();
        let controls = lists.flat_map(|framework| framework["controls"].as_array().unwrap());
        controls.flat_map(|control| control["evidence"].as_array().unwrap()).collect()
    }

    #[tokio::test]
    async fn each_row_counts_what_its_link_lists() {
        let site = TestSite::new().await;
        let new = json!({ "name": "Quay", "cidr": "10.0.0.0/24" });
        site.send_json(Method::POST, "/subnets", &new).await;
        let wrong = json!({ "name": "ada", "password": "wrong" });
        site.send_json(Method::POST, "/sign-in", &wrong).await;
        site.get("/audit").await;
        site.hand.advance(std::time::Duration::from_secs(1));
        let page = site.get("/audit/compliance").await.json();
        let mut counted = 0;
        for row in rows(&page) {
            let list = site.get(row["path"].as_str().unwrap()).await.json();
            assert_eq!((&list["total"], &list["items"][0]["seq"]), (&row["count"], &row["last"]), "{row}");
            counted += row["count"].as_u64().unwrap();
        }
        assert!(counted > 10, "{page}");
        let count = |what: &str| rows(&page).iter().find(|row| row["what"] == what).unwrap()["count"].clone();
        assert_eq!(
            (count("Sign-ins refused"), count("Changes to what may be scanned")),
            (json!(1), json!(1))
        );
        let html = site.page("/audit/compliance").await;
        assert!(html.status.is_success() && html.text.contains("CC8.1"), "{}", html.text);
        let old = site.get("/audit/compliance?to=2026-11-21").await.json();
        assert!(rows(&old).iter().all(|row| row["count"] == 0 && row["last"] == Value::Null));
    }

    #[tokio::test]
    async fn a_time_that_is_none_is_refused_by_name() {
        let site = TestSite::new().await;
        for (query, field) in
            [("from=x", "from"), ("to=%27", "to"), ("from=2026-11-22&to=2026-11-20", "to"), ("q=x", "q")]
        {
            let answer = site.get(&format!("/audit/compliance?{query}")).await;
            assert_eq!((answer.status.as_u16(), answer.fields()), (422, vec![field.to_owned()]), "{query}");
        }
    }
}
