//! What was found: the hosts of a scan, one host in all scans, and what changed between two scans.

use std::net::IpAddr;

use portolan_scanner::net::{Cidr, Range, addr_to_u128, u128_to_addr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::compare::{NoValue, diff, diff_csv};
use super::export::{HOSTS_HEADER, csv_host};
use super::recall::Recall;
use super::view::{GroupView, HostView, OpenView, PortState, ReasonWord, ScanHead, named};
use super::{HostQuery, Moment, Observation, Place, SeenQuery, Store, Sweep};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::noun::Link;
use crate::scans::Names;
use crate::web::{Access, Answer, Call, Cursor, Page, Reply, Routes, Sort, Writer, csv, limit};

const VIEW: Access = Access::Scope("results:view");
/// Hosts read at once for a file.
const STRIDE: usize = 1_000;

/// The rows.
#[must_use]
pub fn routes() -> Routes {
    Routes::of("results", "results/hosts")
        .get("/scans/{id}/hosts", VIEW, hosts)
        .page("results/hosts.html")
        .summary("The hosts of a scan, with the state of each port; ranges where hosts are all alike")
        .get("/scans/{id}/hosts.csv", VIEW, hosts_csv)
        .summary("The same hosts as CSV, every line")
        .media(&["text/csv"])
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
    /// Hosts with a port, or with that port, that has its state for this reason.
    #[serde(default)]
    reason: Option<ReasonWord>,
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
    /// How complete the scan's answer is, by vantage.
    recall: Vec<VantageRecall>,
    /// What the filters can be set to.
    options: HostOptions,
}

/// How complete what was seen from one vantage is.
#[derive(Serialize, JsonSchema)]
struct VantageRecall {
    /// From where.
    vantage: Link,
    /// The measured bound.
    recall: Recall,
}

#[derive(Serialize, JsonSchema)]
struct HostOptions {
    /// The vantages of the scan.
    vantages: Vec<Link>,
}

async fn hosts(call: Call, query: HostsQuery) -> Answer<Hosts> {
    let scan = call.app.scans.scan(call.id("scan")?).await?;
    let vantages = call.app.scans.vantages(scan.id).await?;
    let limit = usize::try_from(limit(query.limit)?).map_err(Error::internal)?;
    // One more than asked says whether there is a next page.
    let wanted = HostQuery { limit: limit + 1, ..query.wanted(scan.id)? };
    let (within, id) = (wanted.within, scan.id);
    let question =
        move |store: &dyn Store| Ok((store.hosts(&wanted)?, store.hosts_total(&wanted)?, store.sweeps(id)?));
    let (mut found, total, sweeps) = call.app.results.ask(question).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| write_place(last.place()));
    let now = call.app.clock.now();
    for it in &mut found {
        clip(it, within);
    }
    Ok(Reply::ok(Hosts {
        scan: scan.into(),
        items: found.iter().map(|it| HostView::of(it, &vantages, now)).collect(),
        recall: vantages
            .iter()
            .map(|(id, name)| VantageRecall {
                vantage: Link { id: *id, name: name.clone() },
                recall: Recall::of_sweep(sweeps.iter().find(|sweep| sweep.vantage == *id)),
            })
            .collect(),
        next,
        total,
        options: HostOptions { vantages: vantages.into_iter().map(|(id, name)| Link { id, name }).collect() },
    }))
}

impl HostsQuery {
    /// What is asked of the store, but for the limit.
    fn wanted(&self, scan: Uuid) -> Result<HostQuery, Error> {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        Ok(HostQuery {
            vantage: self.vantage,
            within: text(&self.subnet).as_deref().map(range).transpose()?,
            port: self.port.map(port).transpose()?,
            state: self.state.map(Into::into),
            reason: self.reason.map(|reason| reason.0),
            after: text(&self.cursor).as_deref().map(read_place).transpose()?,
            hints: true,
            ..HostQuery::of(scan)
        })
    }
}

/// Of a range of hosts, what lies within another.
fn clip(it: &mut Observation, within: Option<Range>) {
    if let Some(within) = within {
        it.hosts.first = it.hosts.first.max(within.first);
        it.hosts.last = it.hosts.last.min(within.last);
    }
}

async fn hosts_csv(call: Call, query: HostsQuery) -> Answer<NoValue> {
    let scan = call.app.scans.scan(call.id("scan")?).await?.id;
    let vantages = call.app.scans.vantages(scan).await?;
    let mut wanted = HostQuery { limit: STRIDE, ..query.wanted(scan)? };
    let work = move |store: &dyn Store, to: &mut Writer| {
        let sweeps: Vec<Sweep> = store.sweeps(scan)?;
        to.write(&csv::line(&HOSTS_HEADER))?;
        loop {
            let stride = store.hosts(&wanted)?;
            let Some(last) = stride.last().map(Observation::place) else { return Ok(()) };
            wanted.after = Some(last);
            for mut it in stride {
                clip(&mut it, wanted.within);
                let recall = Recall::of_sweep(sweeps.iter().find(|sweep| sweep.vantage == it.vantage));
                csv_host(&it, &named(it.vantage, &vantages).name, &recall, |line| to.write(line))?;
            }
        }
    };
    let work = call.app.results.writing(work);
    Ok(Reply::ok(NoValue {}).file("text/csv; charset=utf-8", format!("hosts-{scan}.csv"), work))
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

/// Which observations of a host.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SeenIn {
    /// Rows an answer holds, 1 to 500; 50 when absent.
    #[serde(default)]
    limit: Option<u32>,
    /// Where the last page ended.
    #[serde(default)]
    cursor: Option<String>,
}

/// One host, wherever it was seen.
#[derive(Serialize, JsonSchema)]
struct HostPage {
    /// The address.
    address: String,
    /// The one scan that was asked about; none when all were.
    scan: Option<Link>,
    /// What each scan saw from each vantage, newest first.
    #[serde(flatten)]
    seen: Page<SeenView>,
}

/// What one scan saw of a host from one vantage.
#[derive(Serialize, JsonSchema)]
struct SeenView {
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

async fn host(call: Call, query: SeenIn) -> Answer<HostPage> {
    host_page(&call, query, None).await
}

async fn host_in_scan(call: Call, query: SeenIn) -> Answer<HostPage> {
    let scan = call.app.scans.scan(call.id("scan")?).await?;
    host_page(&call, query, Some(Link { id: scan.id, name: scan.template_name })).await
}

async fn host_page(call: &Call, query: SeenIn, only: Option<Link>) -> Answer<HostPage> {
    let text = call.param("address");
    let address: IpAddr = text.parse().map_err(|_| Error::not_found("address", text))?;
    let address = addr_to_u128(address);
    let limit = usize::try_from(limit(query.limit)?).map_err(Error::internal)?;
    let after =
        query.cursor.as_deref().filter(|text| !text.trim().is_empty()).map(read_moment).transpose()?;
    let scan = only.as_ref().map(|only| only.id);
    // One more than asked says whether there is a next page.
    let wanted = SeenQuery { scan, after, ..SeenQuery::of(address, limit + 1) };
    let question = move |store: &dyn Store| Ok((store.host(&wanted)?, store.host_total(&wanted)?));
    let (mut found, total) = call.app.results.ask(question).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| write_moment(last.moment()));
    let names = call.app.scans.names(found.iter().map(|it| it.scan).collect()).await?;
    let (now, unknown) = (call.app.clock.now(), Names::default());
    let view = |it: &Observation| {
        // By its id, should config.db not know it (any more).
        let known = names.get(&it.scan);
        let scan = known.map_or_else(|| it.scan.to_string(), |known| known.scan.clone());
        let vantages = &known.unwrap_or(&unknown).vantages;
        let HostView { vantage, at, open, others, .. } = HostView::of(it, vantages, now);
        SeenView { scan: Link { id: it.scan, name: scan }, vantage, at, open, others }
    };
    let seen = Page { items: found.iter().map(view).collect(), next, total };
    Ok(Reply::ok(HostPage { address: u128_to_addr(address).to_string(), scan: only, seen }))
}

/// What was seen of a host comes in one order, too.
const SEEN: Sort = Sort { field: "at", descending: true };

fn write_moment(Moment { ended, sweep }: Moment) -> String {
    Cursor::after("host", &SEEN, vec![ended.micros().to_string(), sweep.to_string()])
}

fn read_moment(text: &str) -> Result<Moment, Error> {
    let after = Cursor::read(text, "host", &SEEN, 2)?;
    let wrong = || Error::invalid("cursor", "is not a cursor that this site gave");
    let ended = Timestamp::from_micros(after[0].parse().map_err(|_| wrong())?);
    Ok(Moment { ended, sweep: after[1].parse().map_err(|_| wrong())? })
}

#[cfg(test)]
#[path = "routes_test.rs"]
mod test;
