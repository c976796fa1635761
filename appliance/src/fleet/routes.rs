//! The routes of scanners and vantages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::list::{List, has_words};
use super::{Enrolment, Presence, Scanner, ScannerInput, Vantage, VantageInput};
use crate::noun::{Deletion, Link, Use};
use crate::web::Access::Scope;
use crate::web::{Answer, Call, ListQuery, NoInput, Page, Reply, Routes};

/// The rows of scanners.
#[must_use]
pub fn scanners() -> Routes {
    Routes::of("scanners", "fleet/scanners")
        .get("/scanners", Scope("scanners:view"), list_scanners)
        .page("fleet/scanners/list.html")
        .summary("List scanners, with their presence")
        .nav("Fleet", "Scanners", "scanners", 300)
        .get("/scanners/new", Scope("scanners:manage"), new_scanner)
        .page("fleet/scanners/new.html")
        .summary("What a new scanner may be given")
        .post("/scanners", Scope("scanners:manage"), create_scanner)
        .page("fleet/scanners/enrol.html")
        .form("/scanners/new")
        .summary("Add a scanner; the answer holds its one-time token, once")
        .get("/scanners/{id}", Scope("scanners:view"), show_scanner)
        .page("fleet/scanners/show.html")
        .summary("One scanner")
        .viewed("scanner")
        .get("/scanners/{id}/edit", Scope("scanners:manage"), edit_scanner)
        .page("fleet/scanners/edit.html")
        .summary("One scanner and what it may be given")
        .viewed("scanner")
        .update("/scanners/{id}", Scope("scanners:manage"), update_scanner)
        .form("/scanners/{id}/edit")
        .summary("Change name, vantage, binding and note")
        .post("/scanners/{id}/token", Scope("scanners:manage"), new_token)
        .page("fleet/scanners/enrol.html")
        .summary("Make a new one-time token for a scanner that has not enrolled; the one before is void")
        .get("/scanners/{id}/revoke", Scope("scanners:manage"), show_scanner)
        .page("fleet/scanners/revoke.html")
        .summary("The question before a scanner is revoked")
        .post("/scanners/{id}/revoke", Scope("scanners:manage"), revoke_scanner)
        .summary("Revoke a scanner, for ever")
}

/// The rows of vantages.
#[must_use]
pub fn vantages() -> Routes {
    Routes::of("vantages", "fleet/vantages")
        .get("/vantages", Scope("scanners:view"), list_vantages)
        .page("fleet/vantages/list.html")
        .summary("List vantages, with the scanners that stand there")
        .nav("Fleet", "Vantages", "vantages", 310)
        .get("/vantages/new", Scope("scanners:manage"), new_vantage)
        .page("fleet/vantages/edit.html")
        .summary("The form of a new vantage")
        .post("/vantages", Scope("scanners:manage"), create_vantage)
        .form("/vantages/new")
        .summary("Make a vantage")
        .get("/vantages/{id}", Scope("scanners:view"), show_vantage)
        .page("fleet/vantages/show.html")
        .summary("One vantage")
        .get("/vantages/{id}/edit", Scope("scanners:manage"), edit_vantage)
        .page("fleet/vantages/edit.html")
        .summary("The form of a vantage")
        .update("/vantages/{id}", Scope("scanners:manage"), update_vantage)
        .form("/vantages/{id}/edit")
        .summary("Change name and note")
        .get("/vantages/{id}/delete", Scope("scanners:manage"), delete_question)
        .page("fleet/vantages/delete.html")
        .summary("The question before a vantage is deleted, and what is in the way")
        .delete("/vantages/{id}", Scope("scanners:manage"), delete_vantage)
        .summary("Delete a vantage that no scanner stands in")
}

/// What a list of scanners takes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScannerQuery {
    /// Words to look for in name, vantage, note and address.
    q: Option<String>,
    /// Only those in this state.
    state: Option<Presence>,
    /// Only those of this vantage.
    vantage: Option<Uuid>,
    /// `name` (the default), `vantage`, `state`, `last_seen` or `created_at`; `-` in front turns it round.
    sort: Option<String>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    limit: Option<u32>,
    /// Where the last page ended.
    cursor: Option<String>,
}

const SCANNERS: List =
    List { name: "scanners", fields: &["name", "vantage", "state", "last_seen", "created_at"] };

async fn list_scanners(call: Call, query: ScannerQuery) -> Answer<Page<Scanner>> {
    let ScannerQuery { q, state, vantage, sort, limit, cursor } = query;
    let mut rows = call.app.fleet.scanners().await?;
    rows.retain(|row| {
        let source = row.source.as_deref().unwrap_or_default();
        state.is_none_or(|state| row.state == state)
            && vantage.is_none_or(|vantage| row.vantage.id == vantage)
            && has_words(q.as_deref(), &[&row.name, &row.vantage.name, &row.note, source])
    });
    let asked = ListQuery { q, sort, limit, cursor };
    let page = SCANNERS.page(rows, &asked, |row, field| {
        let value = match field {
            "vantage" => row.vantage.name.to_lowercase(),
            "state" => format!("{:?}", row.state),
            "last_seen" => row.last_seen.map(|at| at.to_string()).unwrap_or_default(),
            "created_at" => row.created_at.to_string(),
            _ => row.name.to_lowercase(),
        };
        [value, row.id.to_string()]
    })?;
    Ok(Reply::ok(page))
}

/// A form of a scanner.
#[derive(Debug, Serialize, JsonSchema)]
struct ScannerForm {
    /// The scanner as it is; none for a new one.
    scanner: Option<Scanner>,
    /// What may be chosen.
    options: ScannerOptions,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ScannerOptions {
    /// Every vantage.
    vantages: Vec<Link>,
}

async fn scanner_form(call: &Call, scanner: Option<Scanner>) -> Answer<ScannerForm> {
    let vantages = call.app.fleet.vantages().await?;
    let vantages = vantages.into_iter().map(|vantage| Link { id: vantage.id, name: vantage.name }).collect();
    let version = scanner.as_ref().map(|scanner| scanner.version);
    let reply = Reply::ok(ScannerForm { scanner, options: ScannerOptions { vantages } });
    Ok(match version {
        Some(version) => reply.version(version),
        None => reply,
    })
}

/// What the form of a new scanner takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewScannerQuery {
    /// The vantage to begin with.
    #[expect(dead_code, reason = "the form's template reads it from the page's query")]
    vantage: Option<Uuid>,
}

async fn new_scanner(call: Call, _: NewScannerQuery) -> Answer<ScannerForm> {
    scanner_form(&call, None).await
}

async fn create_scanner(call: Call, input: ScannerInput) -> Answer<Enrolment> {
    let enrolment = call.app.fleet.add_scanner(&call.actor(), input).await?;
    Ok(Reply::once(enrolment))
}

async fn show_scanner(call: Call, _: NoInput) -> Answer<Scanner> {
    let scanner = call.app.fleet.scanner(call.id("scanner")?).await?;
    let version = scanner.version;
    Ok(Reply::ok(scanner).version(version))
}

async fn edit_scanner(call: Call, _: NoInput) -> Answer<ScannerForm> {
    let scanner = call.app.fleet.scanner(call.id("scanner")?).await?;
    scanner_form(&call, Some(scanner)).await
}

async fn update_scanner(call: Call, input: ScannerInput) -> Answer<Scanner> {
    let id = call.id("scanner")?;
    let scanner = call.app.fleet.change_scanner(&call.actor(), id, input).await?;
    let version = scanner.version;
    Ok(Reply::done(format!("/scanners/{id}"), "Scanner saved.", scanner).version(version))
}

async fn new_token(call: Call, _: NoInput) -> Answer<Enrolment> {
    Ok(Reply::ok(call.app.fleet.new_token(&call.actor(), call.id("scanner")?).await?))
}

async fn revoke_scanner(call: Call, _: NoInput) -> Answer<Scanner> {
    let id = call.id("scanner")?;
    let scanner = call.app.fleet.revoke_scanner(&call.actor(), id).await?;
    Ok(Reply::done(format!("/scanners/{id}"), "Scanner revoked.", scanner))
}

const VANTAGES: List = List { name: "vantages", fields: &["name", "created_at", "updated_at"] };

async fn list_vantages(call: Call, query: ListQuery) -> Answer<Page<Vantage>> {
    let mut rows = call.app.fleet.vantages().await?;
    rows.retain(|row| has_words(query.q.as_deref(), &[&row.name, &row.note]));
    let page = VANTAGES.page(rows, &query, |row, field| {
        let value = match field {
            "created_at" => row.created_at.to_string(),
            "updated_at" => row.updated_at.to_string(),
            _ => row.name.to_lowercase(),
        };
        [value, row.id.to_string()]
    })?;
    Ok(Reply::ok(page))
}

/// A form of a vantage.
#[derive(Debug, Serialize, JsonSchema)]
struct VantageForm {
    /// The vantage as it is; none for a new one.
    vantage: Option<Vantage>,
}

async fn new_vantage(_: Call, _: NoInput) -> Answer<VantageForm> {
    Ok(Reply::ok(VantageForm { vantage: None }))
}

async fn create_vantage(call: Call, input: VantageInput) -> Answer<Vantage> {
    let vantage = call.app.fleet.add_vantage(&call.actor(), input).await?;
    let version = vantage.version;
    Ok(Reply::created(format!("/vantages/{}", vantage.id), vantage).version(version))
}

async fn show_vantage(call: Call, _: NoInput) -> Answer<Vantage> {
    let vantage = call.app.fleet.vantage(call.id("vantage")?).await?;
    let version = vantage.version;
    Ok(Reply::ok(vantage).version(version))
}

async fn edit_vantage(call: Call, _: NoInput) -> Answer<VantageForm> {
    let vantage = call.app.fleet.vantage(call.id("vantage")?).await?;
    let version = vantage.version;
    Ok(Reply::ok(VantageForm { vantage: Some(vantage) }).version(version))
}

async fn update_vantage(call: Call, input: VantageInput) -> Answer<Vantage> {
    let id = call.id("vantage")?;
    let vantage = call.app.fleet.change_vantage(&call.actor(), id, input).await?;
    let version = vantage.version;
    Ok(Reply::done(format!("/vantages/{id}"), "Vantage saved.", vantage).version(version))
}

/// A vantage, and what keeps it from being deleted.
#[derive(Debug, Serialize, JsonSchema)]
struct VantageUses {
    /// The vantage.
    vantage: Vantage,
    /// What refers to it.
    in_use: Vec<Use>,
}

async fn delete_question(call: Call, _: NoInput) -> Answer<VantageUses> {
    let id = call.id("vantage")?;
    let (vantage, in_use) = (call.app.fleet.vantage(id).await?, call.app.fleet.vantage_uses(id).await?);
    Ok(Reply::ok(VantageUses { vantage, in_use }))
}

#[derive(Debug, Serialize, JsonSchema)]
struct Deleted {
    /// What was deleted.
    id: Uuid,
}

async fn delete_vantage(call: Call, deletion: Deletion) -> Answer<Deleted> {
    let id = call.id("vantage")?;
    call.app.fleet.delete_vantage(&call.actor(), id, deletion.version).await?;
    Ok(Reply::done("/vantages", "Vantage deleted.", Deleted { id }))
}
