//! The overview page.

use super::search::search;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::fleet::Presence;
use crate::noun::{Link, Noun};
use crate::releases::gate;
use crate::scans::{Filter, ScanRow, State};
use crate::scope::{PortList, PortListQuery, Subnet, SubnetQuery, Template, TemplateQuery};
use crate::web::{Access, Answer, Call, ListQuery, NoInput, Reply, Routes};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

/// How many ended scans the page lists.
const RECENT: usize = 8;
/// How many scans the chart shows.
const CHART: u32 = 50;

/// The rows.
pub fn routes() -> Routes {
    Routes::of("overview", "overview")
        .get("/", Access::SignedIn, overview)
        .page("home.html")
        .summary("Scanners, scans and open ports in short")
        .by_token()
        .nav("", "Overview", "home", 0)
        .get("/search", Access::SignedIn, search)
        .page("search.html")
        .summary("Look for a name or an address in everything the caller may see")
        .by_token()
        .docs("search")
}

#[derive(Serialize, JsonSchema)]
struct OverviewPage {
    /// This program was built without a release key: it cannot tell whether it was changed.
    development: bool,
    counts: Counted,
    scanners: Scanners,
    scans: Scans,
    /// The template that the figures of open ports are of: that of the last completed scan.
    template: Option<Link>,
    /// Open ports of that template's last completed scans, oldest first.
    open_ports: Vec<Point>,
    /// The two last completed scans of the template that was scanned last.
    last_diff: Option<LastDiff>,
    /// By how many seconds the appliance's clock is probably behind others' (negative: ahead), for who may see settings.
    clock_behind_s: Option<i64>,
}

#[derive(Serialize, JsonSchema)]
struct Counted {
    subnets: u64,
    port_lists: u64,
    vantages: u64,
    scanners: u64,
    templates: u64,
    scans: u64,
}

#[derive(Serialize, JsonSchema)]
struct Scanners {
    online: u64,
    offline: u64,
    total: u64,
}

#[derive(Serialize, JsonSchema)]
struct Scans {
    running: Vec<ScanRow>,
    recent: Vec<ScanRow>,
}

#[derive(Serialize, JsonSchema)]
struct Point {
    scan: Uuid,
    at: Timestamp,
    open: u64,
}

#[derive(Serialize, JsonSchema)]
struct LastDiff {
    a: Uuid,
    b: Uuid,
    counts: DiffCounts,
}

#[derive(Serialize, JsonSchema)]
struct DiffCounts {
    opened: u64,
    closed: u64,
}

async fn overview(call: Call, _: NoInput) -> Answer<OverviewPage> {
    let app = &call.app;
    let fleet = app.fleet.scanners().await?;
    let presence = |wanted: Presence| fleet.iter().filter(|scanner| scanner.state == wanted).count() as u64;
    let newest =
        ListQuery { sort: Some("-started_at".to_owned()), limit: Some(CHART), ..ListQuery::default() };
    let page = app.scans.list(newest, Filter::default()).await?;
    let counts = Counted {
        subnets: Subnet::page(&app.scope, SubnetQuery::default()).await?.total,
        port_lists: PortList::page(&app.scope, PortListQuery::default()).await?.total,
        vantages: app.fleet.vantages().await?.len() as u64,
        scanners: fleet.iter().filter(|scanner| scanner.enrolled_at.is_some()).count() as u64,
        templates: Template::page(&app.scope, TemplateQuery::default()).await?.total,
        scans: page.total,
    };
    let rows = app.scans.rows(page.items).await?;
    let last_diff = last_diff(app, &rows).await?;
    let point = |row: &ScanRow| Some(Point { scan: row.id, at: row.ended_at?, open: row.open });
    let completed = || rows.iter().filter(|row| row.state == State::Completed);
    // Scans of different templates cover different ground: one line through them would say nothing.
    let template = completed().next().map(|row| row.template.clone());
    let same = |row: &&ScanRow| template.as_ref().is_some_and(|template| template.id == row.template.id);
    let open_ports = completed().rev().filter(same).filter_map(point).collect();
    let (running, recent): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.state.is_open());
    let recent = recent.into_iter().take(RECENT).collect();
    let scanners = Scanners {
        online: presence(Presence::Online),
        offline: presence(Presence::Offline),
        total: presence(Presence::Online) + presence(Presence::Offline),
    };
    let scans = Scans { running, recent };
    let clock_behind_s =
        if call.caller.may("settings:view") { app.factors.clocks(&call).await?.behind_s } else { None };
    Ok(Reply::ok(OverviewPage {
        development: !gate::is_pinned(),
        counts,
        scanners,
        scans,
        template,
        open_ports,
        last_diff,
        clock_behind_s,
    }))
}

/// The last completed scan against the one before it of the same template.
async fn last_diff(app: &App, rows: &[ScanRow]) -> Result<Option<LastDiff>, Error> {
    let mut completed = rows.iter().filter(|row| row.state == State::Completed);
    let Some(after) = completed.next() else { return Ok(None) };
    let Some(before) = completed.find(|row| row.template.id == after.template.id) else { return Ok(None) };
    let moved = app.overview.moved(before.id, after.id).await?;
    let counts = DiffCounts { opened: moved.opened, closed: moved.closed };
    Ok(Some(LastDiff { a: before.id, b: after.id, counts }))
}
