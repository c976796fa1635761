//! The search in the header: one word, every noun, and what was seen of an address.

use crate::app::App;
use crate::error::Error;
use crate::noun::Noun;
use crate::results::{Hinted, Observation, Said, SeenQuery};
use crate::scans::Filter;
use crate::scope::{
    Exclusion, ExclusionQuery, PortList, PortListQuery, Subnet, SubnetQuery, Template, TemplateQuery,
};
use crate::web::{Answer, Call, ListQuery, Reply};
use portolan_scanner::net::{addr_to_u128, u128_to_addr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The most hits of one noun.
const HITS: u32 = 10;

/// Fewer letters are in almost every hint.
const HINT_LETTERS: usize = 3;

/// What is looked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    /// Words, or an address.
    #[serde(default)]
    q: Option<String>,
}

/// What was found, by noun; a noun without a hit is left out.
#[derive(Serialize, JsonSchema)]
pub struct Found {
    /// What was looked for.
    pub q: String,
    /// The hits.
    pub groups: Vec<Group>,
}

/// Hits of one noun.
#[derive(Serialize, JsonSchema)]
pub struct Group {
    /// The noun.
    pub title: &'static str,
    /// At most ten.
    pub items: Vec<Hit>,
}

/// One hit.
#[derive(Serialize, JsonSchema)]
pub struct Hit {
    /// Its name.
    pub title: String,
    /// Its page.
    pub path: String,
    /// What tells it from its likes.
    pub detail: String,
}

/// Looks in what the caller may see, and nowhere else.
pub async fn search(call: Call, query: SearchQuery) -> Answer<Found> {
    let q = query.q.unwrap_or_default().trim().to_owned();
    if q.chars().count() > 200 {
        return Err(Error::invalid("q", "is longer than 200 characters"));
    }
    let mut groups = Vec::new();
    if !q.is_empty() {
        let may = |scope: &str| call.caller.may(scope);
        let mut add = |title, items: Vec<Hit>| {
            if !items.is_empty() {
                groups.push(Group { title, items });
            }
        };
        if let (Ok(address), true) = (q.parse::<IpAddr>(), may("results:view")) {
            add("Hosts", hosts(&call.app, address).await?);
        }
        if may("results:view") && q.chars().count() >= HINT_LETTERS {
            add("Service hints", hints(&call.app, &q).await?);
        }
        if may("subnets:view") {
            add("Subnets", subnets(&call.app, &q).await?);
        }
        if may("exclusions:view") {
            add("Exclusions", exclusions(&call.app, &q).await?);
        }
        if may("port-lists:view") {
            add("Port lists", port_lists(&call.app, &q).await?);
        }
        if may("templates:view") {
            add("Templates", templates(&call.app, &q).await?);
        }
        if may("scans:view") {
            add("Scans", scans(&call.app, &q).await?);
        }
        if may("scanners:view") {
            add("Scanners", scanners(&call.app, &q).await?);
            add("Vantages", vantages(&call.app, &q).await?);
        }
    }
    Ok(Reply::ok(Found { q, groups }))
}

/// The newest scan from each vantage that has word of this address.
async fn hosts(app: &App, address: IpAddr) -> Result<Vec<Hit>, Error> {
    let number = addr_to_u128(address);
    let newest = SeenQuery { newest: true, ..SeenQuery::of(number, HITS as usize) };
    let seen = app.results.ask(move |store| store.host(&newest)).await?;
    let names = app.scans.names(seen.iter().map(|seen| seen.scan).collect()).await?;
    let hit = |seen: Observation| {
        let vantage = names.get(&seen.scan).and_then(|names| names.vantages.get(&seen.vantage));
        let from = vantage.map_or("a vantage", String::as_str);
        Hit {
            title: address.to_string(),
            path: format!("/scans/{}/hosts/{address}", seen.scan),
            detail: format!("{} open, seen from {from}", seen.open.len()),
        }
    };
    Ok(seen.into_iter().map(hit).collect())
}

/// Open ports that say this of themselves, newest first.
async fn hints(app: &App, q: &str) -> Result<Vec<Hit>, Error> {
    let text = q.to_owned();
    let found = app.results.ask(move |store| store.hints(&text, HITS as usize)).await?;
    let hit = |it: Hinted| {
        let address = u128_to_addr(it.address);
        let detail = match it.hint.said {
            Said::Banner(says) => says,
            Said::Certificate(leaf) => {
                let subject = leaf.subject.unwrap_or_else(|| format!("certificate {}", leaf.sha256));
                if leaf.names.is_empty() { subject } else { format!("{subject}; {}", leaf.names.join(", ")) }
            }
        };
        let path = format!("/scans/{}/hosts/{address}", it.scan);
        Hit { title: format!("{address} port {}", it.hint.port), path, detail }
    };
    Ok(found.into_iter().map(hit).collect())
}

async fn subnets(app: &App, q: &str) -> Result<Vec<Hit>, Error> {
    let query = SubnetQuery { q: Some(q.to_owned()), limit: Some(HITS), ..SubnetQuery::default() };
    let found = Subnet::page(&app.scope, query).await?.items;
    Ok(found.into_iter().map(|item| hit(item.name, format!("/subnets/{}", item.id), item.cidr)).collect())
}

async fn exclusions(app: &App, q: &str) -> Result<Vec<Hit>, Error> {
    let query = ExclusionQuery { q: Some(q.to_owned()), limit: Some(HITS), ..ExclusionQuery::default() };
    let found = Exclusion::page(&app.scope, query).await?.items;
    let title = |addresses: String| match addresses.char_indices().nth(79) {
        Some((end, _)) => format!("{}…", &addresses[..end]),
        None => addresses,
    };
    Ok(found
        .into_iter()
        .map(|item| hit(title(item.addresses), format!("/exclusions/{}", item.id), item.reason))
        .collect())
}

async fn port_lists(app: &App, q: &str) -> Result<Vec<Hit>, Error> {
    let query = PortListQuery { q: Some(q.to_owned()), limit: Some(HITS), ..PortListQuery::default() };
    let found = PortList::page(&app.scope, query).await?.items;
    Ok(found.into_iter().map(|item| hit(item.name, format!("/port-lists/{}", item.id), item.ports)).collect())
}

async fn templates(app: &App, q: &str) -> Result<Vec<Hit>, Error> {
    let query = TemplateQuery { q: Some(q.to_owned()), limit: Some(HITS), ..TemplateQuery::default() };
    let found = Template::page(&app.scope, query).await?.items;
    let detail = |preset: crate::scope::Preset| preset.as_str().to_owned();
    Ok(found
        .into_iter()
        .map(|item| hit(item.name, format!("/templates/{}", item.id), detail(item.preset)))
        .collect())
}

async fn scans(app: &App, q: &str) -> Result<Vec<Hit>, Error> {
    let sort = Some("-started_at".to_owned());
    let query = ListQuery { q: Some(q.to_owned()), sort, limit: Some(HITS), cursor: None };
    let found = app.scans.list(query, Filter::default()).await?.items;
    let detail = |scan: &crate::scans::Scan| format!("{}, launched {}", scan.state.as_str(), scan.created_at);
    Ok(found
        .iter()
        .map(|scan| hit(scan.template_name.clone(), format!("/scans/{}", scan.id), detail(scan)))
        .collect())
}

async fn scanners(app: &App, q: &str) -> Result<Vec<Hit>, Error> {
    let all = app.fleet.scanners().await?;
    let found = all.into_iter().filter(|item| holds(&item.name, q)).take(HITS as usize);
    Ok(found.map(|item| hit(item.name, format!("/scanners/{}", item.id), item.vantage.name)).collect())
}

async fn vantages(app: &App, q: &str) -> Result<Vec<Hit>, Error> {
    let all = app.fleet.vantages().await?;
    let found = all.into_iter().filter(|item| holds(&item.name, q)).take(HITS as usize);
    Ok(found.map(|item| hit(item.name, format!("/vantages/{}", item.id), item.note)).collect())
}

fn hit(title: String, path: String, detail: String) -> Hit {
    Hit { title, path, detail }
}

fn holds(name: &str, q: &str) -> bool {
    name.to_lowercase().contains(&q.to_lowercase())
}
