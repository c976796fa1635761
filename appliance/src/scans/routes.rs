//! Scans: list, launch, progress, cancel.

use super::view::{ScanRow, ScanView};
use super::{Filter, State};
use crate::error::Error;
use crate::noun::Noun;
use crate::scope::{Template, TemplateQuery};
use crate::web::{Access, Answer, Call, ListQuery, MAX_LIMIT, NoInput, Page, Reply, Routes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const VIEW: Access = Access::Scope("scans:view");
const RUN: Access = Access::Scope("scans:run");

/// The rows.
pub fn routes() -> Routes {
    Routes::of("scans", "scans/scans")
        .get("/scans", VIEW, list)
        .page("scans/list.html")
        .summary("List scans, newest first")
        .nav("Scanning", "Scans", "scans", 100)
        .get("/scans/new", RUN, new)
        .page("scans/new.html")
        .summary("The form that launches a scan, with what can be chosen")
        .post("/scans", RUN, launch)
        .form("/scans/new")
        .summary("Launch a scan of a template; Idempotency-Key makes a repeat harmless")
        .get("/scans/{id}", VIEW, show)
        .page("scans/show.html")
        .summary("A scan with its progress, batches, and what was not covered")
        .get("/scans/{id}/cancel", RUN, show)
        .page("scans/cancel.html")
        .summary("Ask before a scan is cancelled")
        .post("/scans/{id}/cancel", RUN, cancel)
        .summary("Cancel a scan; what it found is kept")
        .post("/scans/{id}/pause", RUN, pause)
        .summary("Let a scan rest: no probe goes until it is resumed")
        .post("/scans/{id}/resume", RUN, resume)
        .summary("Let a paused scan go on")
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Words in the template's name.
    #[serde(default)]
    q: Option<String>,
    /// Only scans in this state.
    #[serde(default)]
    state: Option<State>,
    /// Only scans of this template.
    #[serde(default)]
    template: Option<Uuid>,
    /// `started_at`, `template` or `state`; `-` in front turns it round. `-started_at` when absent.
    #[serde(default)]
    sort: Option<String>,
    /// Rows an answer holds, 1 to 500.
    #[serde(default)]
    limit: Option<u32>,
    /// Where the last page ended.
    #[serde(default)]
    cursor: Option<String>,
}

async fn list(call: Call, query: Query) -> Answer<Page<ScanRow>> {
    let Query { q, state, template, sort, limit, cursor } = query;
    let sort = sort.filter(|sort| !sort.is_empty()).or_else(|| Some("-started_at".to_owned()));
    let query = ListQuery { q, sort, limit, cursor };
    let Page { items, next, total } = call.app.scans.list(query, Filter { state, template }).await?;
    Ok(Reply::ok(Page { items: call.app.scans.rows(items).await?, next, total }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewQuery {
    /// The template to choose beforehand.
    #[serde(default)]
    template: Option<Uuid>,
}

#[derive(Serialize, JsonSchema)]
struct NewScan {
    /// Sent back with the form, so that a form sent twice launches once.
    idempotency_key: Uuid,
    options: Options,
}

#[derive(Serialize, JsonSchema)]
struct Options {
    /// At most 500 by name, and the one that was asked for.
    templates: Vec<Template>,
    /// How many there are in all.
    total: u64,
}

async fn new(call: Call, query: NewQuery) -> Answer<NewScan> {
    let all = TemplateQuery { limit: Some(MAX_LIMIT), ..TemplateQuery::default() };
    let Page { items: mut templates, total, .. } = Template::page(&call.app.scope, all).await?;
    if let Some(id) = query.template.filter(|id| !templates.iter().any(|template| template.id == *id)) {
        match Template::one(&call.app.scope, id).await {
            Ok(asked) => templates.insert(0, asked),
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Reply::ok(NewScan { idempotency_key: call.app.ids.new(), options: Options { templates, total } }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Launch {
    /// The template.
    template: Uuid,
    /// As the header `Idempotency-Key`, for forms.
    #[serde(default)]
    idempotency_key: Option<String>,
}

async fn launch(call: Call, form: Launch) -> Answer<ScanView> {
    let key = call.idempotency_key.clone().or(form.idempotency_key).filter(|key| !key.is_empty());
    if key.as_ref().is_some_and(|key| key.len() > 200) {
        return Err(Error::invalid("idempotency_key", "is longer than 200 characters"));
    }
    let scan = call.app.scans.launch(&call.actor(), form.template, key).await?;
    let view = call.app.scans.view(scan.id).await?;
    Ok(Reply::created(format!("/scans/{}", scan.id), view).notice("Scan launched."))
}

async fn show(call: Call, _: NoInput) -> Answer<ScanView> {
    Ok(Reply::ok(call.app.scans.view(call.id("scan")?).await?))
}

async fn cancel(call: Call, _: NoInput) -> Answer<ScanView> {
    let id = call.id("scan")?;
    call.app.scans.cancel(&call.actor(), id).await?;
    let view = call.app.scans.view(id).await?;
    Ok(Reply::done(format!("/scans/{id}"), "Its scanners are told to stop.", view))
}

async fn pause(call: Call, _: NoInput) -> Answer<ScanView> {
    rest(call, true, "Its scanners are told to rest.").await
}

async fn resume(call: Call, _: NoInput) -> Answer<ScanView> {
    rest(call, false, "Its scanners are told to go on.").await
}

async fn rest(call: Call, rest: bool, notice: &'static str) -> Answer<ScanView> {
    let id = call.id("scan")?;
    call.app.scans.pause(&call.actor(), id, rest).await?;
    let view = call.app.scans.view(id).await?;
    Ok(Reply::done(format!("/scans/{id}"), notice, view))
}

#[cfg(test)]
#[path = "routes_test.rs"]
mod tests;
