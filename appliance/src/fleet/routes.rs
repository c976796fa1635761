//! The routes of scanners and vantages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::list::{List, has_words};
use super::{Enrolment, Presence, Scanner, ScannerInput};
use crate::noun::Link;
use crate::web::Access::Scope;
use crate::web::{Answer, Call, ListQuery, NoInput, Page, Reply, Routes};

/// The rows of scanners.
#[must_use]
pub fn scanners() -> Routes {
    Routes::of("scanners", "fleet/scanners")
        .get("/scanners", Scope("scanners:view"), list_scanners)
        .page("fleet/scanners/list.html")
        .summary("List scanners, with their presence")
        .viewed("scanner")
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
        .viewed("scanner")
        .post("/scanners/{id}/revoke", Scope("scanners:manage"), revoke_scanner)
        .summary("Revoke a scanner, for ever")
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

// A token for enrolment takes a person, and a proof: the scanner that comes by it outlives a session that was left open, and
// an API token.

async fn create_scanner(call: Call, input: ScannerInput) -> Answer<Enrolment> {
    call.in_person()?;
    let proof = call.app.identity.proved(&call);
    let enrolment = call.app.fleet.add_scanner(&call.actor(), input, proof).await?;
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
    call.in_person()?;
    call.app.identity.proved(&call)?;
    Ok(Reply::ok(call.app.fleet.new_token(&call.actor(), call.id("scanner")?).await?))
}

async fn revoke_scanner(call: Call, _: NoInput) -> Answer<Scanner> {
    let id = call.id("scanner")?;
    let scanner = call.app.fleet.revoke_scanner(&call.actor(), id).await?;
    Ok(Reply::done(format!("/scanners/{id}"), "Scanner revoked.", scanner))
}
