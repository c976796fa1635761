//! What was found: the hosts of a scan, one host in all scans, and what changed between two scans.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use portolan_scanner::net::{Cidr, Range, addr_to_u128, u128_to_addr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::diff::{Counts, Kind};
use super::view::{
    CSV_HEADER, ChangeView, CountsView, GroupView, HostView, OpenView, PortState, ScanHead, csv_change,
    csv_line,
};
use super::{Error as StoreError, HostQuery, Place};
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::noun::Link;
use crate::scans;
use crate::web::{Access, Answer, Call, Cursor, ListQuery, NoInput, Reply, Routes, Sort, limit};

const VIEW: Access = Access::Scope("results:view");
/// Lines of each kind that a diff shows when nothing is said.
const DIFF_LINES: u32 = 200;
/// Lines of each kind that a diff gives at most as JSON.
const DIFF_LINES_MAX: u32 = 10_000;
/// Bytes of a diff's CSV at most.
const CSV_BYTES: usize = 128 << 20;
/// Scans that the diff's form offers: the newest.
const CHOICES: u32 = 200;

/// The rows.
#[must_use]
pub fn routes() -> Routes {
    Routes::of("results", "results/hosts")
        .get("/scans/{id}/hosts", VIEW, hosts)
        .page("results/hosts.html")
        .summary("The hosts of a scan, with the state of each port; ranges where hosts are all alike")
        .get("/scans/{id}/hosts/{address}", VIEW, host_in_scan)
        .page("results/host.html")
        .summary("One host in one scan")
        .get("/hosts/{address}", VIEW, host)
        .page("results/host.html")
        .summary("One host in every scan, newest first")
        .get("/diff", VIEW, diff)
        .page("results/diff.html")
        .summary("What opened and closed between two scans, and what cannot be compared")
        .docs("results/diff")
        .nav("Scanning", "Compare", "diff", 120)
        .media(&["text/csv"])
        .get("/diff.csv", VIEW, diff_csv)
        .summary("The same as CSV, every line")
        .docs("results/diff")
        .media(&["text/csv"])
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HostsQuery {
    /// Hosts in this subnet (`10.0.0.0/24`), range (`10.0.0.1-10.0.0.9`) or of this address.
    #[serde(default)]
    subnet: Option<String>,
    /// As seen from this vantage.
    #[serde(default)]
    vantage: Option<Uuid>,
    /// Hosts that were asked about this port.
    #[serde(default)]
    port: Option<u16>,
    /// Hosts with a port, or with that port, in this state.
    #[serde(default)]
    state: Option<PortState>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    #[serde(default)]
    limit: Option<u32>,
    /// Where the last page ended.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Hosts {
    /// The scan.
    scan: ScanHead,
    /// Hosts, ascending; ranges where hosts are all alike.
    items: Vec<HostView>,
    /// Give this back as `cursor` for the rows that follow; none on the last page.
    next: Option<String>,
    /// How many rows the filters let through in all.
    total: u64,
    /// What the filters can be set to.
    options: HostOptions,
}

#[derive(Serialize, JsonSchema)]
struct HostOptions {
    /// The vantages of the scan.
    vantages: Vec<Link>,
}

async fn hosts(call: Call, query: HostsQuery) -> Answer<Hosts> {
    let scan = call.app.scans.scan(call.id("scan")?).await?;
    let vantages = call.app.scans.vantages(scan.id).await?;
    let asked = limit(query.limit)?;
    let limit = usize::try_from(asked).map_err(Error::internal)?;
    let within = query.subnet.as_deref().filter(|text| !text.trim().is_empty()).map(range).transpose()?;
    let wanted = HostQuery {
        scan: scan.id,
        vantage: query.vantage,
        within,
        port: query.port.map(port).transpose()?,
        state: query.state.map(Into::into),
        after: query.cursor.as_deref().filter(|text| !text.is_empty()).map(read_place).transpose()?,
        // One more than asked says whether there is a next page.
        limit: limit + 1,
    };
    let (mut found, total) =
        call.app.results.ask(move |store| Ok((store.hosts(&wanted)?, store.hosts_total(&wanted)?))).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| write_place(last.place()));
    if let Some(within) = within {
        for it in &mut found {
            it.hosts.first = it.hosts.first.max(within.first);
            it.hosts.last = it.hosts.last.min(within.last);
        }
    }
    Ok(Reply::ok(Hosts {
        scan: scan.into(),
        items: found.iter().map(|it| HostView::of(it, &vantages)).collect(),
        next,
        total,
        options: HostOptions { vantages: vantages.into_iter().map(|(id, name)| Link { id, name }).collect() },
    }))
}

/// Hosts come in one order: there is nothing to sort by.
fn order() -> Sort {
    Sort { field: "address", descending: false }
}

fn write_place(place: Place) -> String {
    Cursor::after("hosts", &order(), vec![u128_to_addr(place.address).to_string(), place.sweep.to_string()])
}

fn read_place(text: &str) -> Result<Place, Error> {
    let after = Cursor::read(text, "hosts", &order(), 2)?;
    let wrong = || Error::invalid("cursor", "is not a cursor that this site gave");
    let address: IpAddr = after[0].parse().map_err(|_| wrong())?;
    Ok(Place { address: addr_to_u128(address), sweep: after[1].parse().map_err(|_| wrong())? })
}

fn range(text: &str) -> Result<Range, Error> {
    let text = text.trim();
    let read = if text.contains('/') { Cidr::parse(text).map(|cidr| cidr.range()) } else { text.parse() };
    read.map_err(|error| Error::invalid("subnet", error.to_string()))
}

fn port(port: u16) -> Result<u16, Error> {
    if port == 0 { Err(Error::invalid("port", "0 is not a port: 1 to 65535 are")) } else { Ok(port) }
}

/// One host, wherever it was seen.
#[derive(Serialize, JsonSchema)]
struct HostPage {
    /// The address.
    address: String,
    /// The one scan that was asked about; none when all were.
    scan: Option<Link>,
    /// What each scan saw, newest first.
    runs: Vec<RunView>,
}

/// What one scan saw of a host from one vantage.
#[derive(Serialize, JsonSchema)]
struct RunView {
    /// The scan, by its template's name.
    scan: Link,
    /// From where.
    vantage: Link,
    /// When, by the appliance's clock.
    at: Timestamp,
    /// Its open ports.
    open: Vec<OpenView>,
    /// All its other ports.
    others: Vec<GroupView>,
}

async fn host(call: Call, _: NoInput) -> Answer<HostPage> {
    host_page(&call, None).await
}

async fn host_in_scan(call: Call, _: NoInput) -> Answer<HostPage> {
    let scan = call.app.scans.scan(call.id("scan")?).await?;
    host_page(&call, Some(Link { id: scan.id, name: scan.template_name })).await
}

async fn host_page(call: &Call, only: Option<Link>) -> Answer<HostPage> {
    let text = call.param("address");
    let address: IpAddr = text.parse().map_err(|_| Error::not_found("address", text))?;
    let address = addr_to_u128(address);
    let seen = call.app.results.ask(move |store| store.host(address)).await?;
    let mut names: BTreeMap<Uuid, (Link, BTreeMap<Uuid, String>)> = BTreeMap::new();
    let mut runs = Vec::new();
    for it in seen.iter().filter(|it| only.as_ref().is_none_or(|only| it.scan == only.id)) {
        if let Entry::Vacant(unknown) = names.entry(it.scan) {
            unknown.insert(scan_names(&call.app, it.scan).await?);
        }
        let (scan, vantages) = &names[&it.scan];
        let HostView { vantage, at, open, others, .. } = HostView::of(it, vantages);
        runs.push(RunView { scan: scan.clone(), vantage, at, open, others });
    }
    Ok(Reply::ok(HostPage { address: u128_to_addr(address).to_string(), scan: only, runs }))
}

/// A scan and its vantages by name; by id, should config.db not know them (any more).
async fn scan_names(app: &App, id: Uuid) -> Result<(Link, BTreeMap<Uuid, String>), Error> {
    let name = match app.scans.scan(id).await {
        Ok(scan) => scan.template_name,
        Err(Error::NotFound { .. }) => id.to_string(),
        Err(error) => return Err(error),
    };
    Ok((Link { id, name }, app.scans.vantages(id).await?))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DiffQuery {
    /// The earlier scan; when absent, the last ended one of `b`'s template before `b`.
    #[serde(default)]
    a: Option<Uuid>,
    /// The later scan.
    #[serde(default)]
    b: Option<Uuid>,
    /// Lines of this kind only.
    #[serde(default)]
    kind: Option<Kind>,
    /// Lines of each kind, 1 to 10,000; 200 when absent. The counts are always of all.
    #[serde(default)]
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
struct DiffPage {
    /// The earlier scan; none while two are yet to be chosen.
    a: Option<ScanHead>,
    /// The later scan.
    b: Option<ScanHead>,
    /// How many pairs of address and port, exactly.
    counts: CountsView,
    /// Ports that opened.
    opened: Vec<ChangeView>,
    /// Ports that closed.
    closed: Vec<ChangeView>,
    /// Ports that changed between states that are not open.
    changed: Vec<ChangeView>,
    /// Ports that only one of the two covered.
    not_comparable: Vec<ChangeView>,
    /// Where there are more lines than were asked for.
    more: More,
    /// What there is to choose from.
    options: DiffOptions,
}

/// Kinds with more lines than were asked for.
#[derive(Default, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "one for each kind")]
struct More {
    opened: bool,
    closed: bool,
    changed: bool,
    not_comparable: bool,
}

#[derive(Serialize, JsonSchema)]
struct DiffOptions {
    /// Scans, newest first.
    scans: Vec<Link>,
}

/// The lines of a diff, as many of each kind as were asked for.
#[derive(Default)]
struct Lines {
    kept: BTreeMap<Kind, Vec<ChangeView>>,
    more: BTreeMap<Kind, bool>,
}

async fn diff(call: Call, mut query: DiffQuery) -> Answer<DiffPage> {
    if let (None, Some(b)) = (query.a, query.b) {
        query.a = before(&call.app, b).await?;
    }
    if call.wants_csv && query.a.is_some() && query.b.is_some() {
        let (name, text) = csv(&call, &query).await?;
        let page = page(&call.app, None, Counts::default(), Lines::default()).await?;
        return Ok(Reply::ok(page).file("text/csv; charset=utf-8", Some(name), text));
    }
    let most = match query.limit.unwrap_or(DIFF_LINES) {
        most @ 1..=DIFF_LINES_MAX => usize::try_from(most).map_err(Error::internal)?,
        other => {
            return Err(Error::invalid("limit", format!("{other} is not between 1 and {DIFF_LINES_MAX}")));
        }
    };
    let Some(Two { a, b, vantages }) = two(&call.app, &query).await? else {
        return Ok(Reply::ok(page(&call.app, None, Counts::default(), Lines::default()).await?));
    };
    let only = query.kind;
    let (counts, lines) = call
        .app
        .results
        .diff(a.id, b.id, Lines::default(), move |lines, vantage, change| {
            if only.is_none_or(|only| only == change.kind) {
                let kept = lines.kept.entry(change.kind).or_default();
                if kept.len() < most {
                    kept.push(ChangeView::of(&change, vantage, &vantages));
                } else {
                    lines.more.insert(change.kind, true);
                }
            }
            Ok(())
        })
        .await?;
    let counts = counts.into_iter().fold(Counts::default(), |sum, (_, counts)| sum + counts);
    Ok(Reply::ok(page(&call.app, Some((a, b)), counts, lines).await?))
}

async fn page(
    app: &App,
    scans: Option<(ScanHead, ScanHead)>,
    counts: Counts,
    mut lines: Lines,
) -> Result<DiffPage, Error> {
    let (a, b) = scans.unzip();
    let mut kept = |kind| lines.kept.remove(&kind).unwrap_or_default();
    let more = |kind| lines.more.contains_key(&kind);
    Ok(DiffPage {
        a,
        b,
        counts: counts.into(),
        opened: kept(Kind::Opened),
        closed: kept(Kind::Closed),
        changed: kept(Kind::Changed),
        not_comparable: kept(Kind::NotComparable),
        more: More {
            opened: more(Kind::Opened),
            closed: more(Kind::Closed),
            changed: more(Kind::Changed),
            not_comparable: more(Kind::NotComparable),
        },
        options: DiffOptions { scans: choices(app).await? },
    })
}

/// The newest ended scan of the same template that was launched before this one.
async fn before(app: &App, scan: Uuid) -> Result<Option<Uuid>, Error> {
    let scan = app.scans.scan(scan).await?;
    let newest =
        ListQuery { sort: Some("-started_at".to_owned()), limit: Some(CHOICES), ..ListQuery::default() };
    let found = app.scans.list(newest, scans::Filter::default()).await?;
    let fits = |one: &&scans::Scan| {
        one.template == scan.template && one.created_at < scan.created_at && !one.state.is_open()
    };
    Ok(found.items.iter().find(fits).map(|one| one.id))
}

/// The newest scans, told apart by time and state.
async fn choices(app: &App) -> Result<Vec<Link>, Error> {
    let newest =
        ListQuery { sort: Some("-started_at".to_owned()), limit: Some(CHOICES), ..ListQuery::default() };
    let found = app.scans.list(newest, scans::Filter::default()).await?;
    let link = |scan: scans::Scan| {
        let at = scan.created_at.to_string();
        let (day, time) = (at.get(..10).unwrap_or_default(), at.get(11..19).unwrap_or_default());
        Link { id: scan.id, name: format!("{}, {day} {time}, {}", scan.template_name, scan.state.as_str()) }
    };
    Ok(found.items.into_iter().map(link).collect())
}

/// Two scans to compare, and the names of their vantages.
struct Two {
    a: ScanHead,
    b: ScanHead,
    vantages: BTreeMap<Uuid, String>,
}

async fn two(app: &App, query: &DiffQuery) -> Result<Option<Two>, Error> {
    let (Some(a), Some(b)) = (query.a, query.b) else { return Ok(None) };
    let mut vantages = app.scans.vantages(a).await?;
    vantages.extend(app.scans.vantages(b).await?);
    Ok(Some(Two { a: app.scans.scan(a).await?.into(), b: app.scans.scan(b).await?.into(), vantages }))
}

#[derive(Serialize, JsonSchema)]
struct CsvFile {}

async fn diff_csv(call: Call, query: DiffQuery) -> Answer<CsvFile> {
    let (name, text) = csv(&call, &query).await?;
    Ok(Reply::ok(CsvFile {}).file("text/csv; charset=utf-8", Some(name), text))
}

/// The whole diff as a file: its name and its bytes.
async fn csv(call: &Call, query: &DiffQuery) -> Result<(String, Vec<u8>), Error> {
    let missing = |field: &str| Error::invalid(field, "is missing: name two scans, a and b");
    let (a, b) = (query.a.ok_or_else(|| missing("a"))?, query.b.ok_or_else(|| missing("b"))?);
    let vantages = two(&call.app, query).await?.map(|two| two.vantages).unwrap_or_default();
    let only = query.kind;
    let (_, text) = call
        .app
        .results
        .diff(a, b, csv_line(&CSV_HEADER), move |text, vantage, change| {
            if only.is_none_or(|only| only == change.kind) {
                let name = vantages.get(&vantage).cloned().unwrap_or_else(|| vantage.to_string());
                text.push_str(&csv_change(&change, &name));
            }
            if text.len() > CSV_BYTES { Err(StoreError::TooMuch) } else { Ok(()) }
        })
        .await?;
    Ok((format!("diff-{a}-{b}.csv"), text.into_bytes()))
}

#[cfg(test)]
#[path = "routes_test.rs"]
mod test;
