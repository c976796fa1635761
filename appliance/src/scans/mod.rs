//! A scan's life: launched with a frozen scope, cut into batches, leased to scanners, ended honestly.

pub mod decide;
pub mod dispatcher;
pub mod plan;
mod progress;
mod queue;
pub mod routes;
mod scan;
mod state;
mod store;
mod view;

use crate::audit::{Actor, Entry};
use crate::clock::Clock;
use crate::error::Error;
use crate::fleet::{Fleet, Scanner};
use crate::ids::{Ids, Random};
use crate::jobs::Jobs;
use crate::noun::Link;
use crate::results::ResultsService;
use crate::scope::{Resolved, resolve};
use crate::store::Store;
use crate::web::{ListQuery, Page};
use portolan_scanner::net::Ranges;
pub use scan::{Assigned, Batch, Frozen, Scan};
pub use state::{BatchState, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;
pub use view::{BatchView, NotCovered, ScanRow, ScanView, VantageView};

/// What a list of scans is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In this state.
    pub state: Option<State>,
    /// Of this template.
    pub template: Option<Uuid>,
}

/// The service.
#[derive(Clone)]
pub struct Scans(Arc<Parts>);

/// What the service works with.
pub struct Parts {
    /// config.db.
    pub store: Store,
    /// jobs.db.
    pub jobs: Jobs,
    /// Tells the time.
    pub clock: Clock,
    /// Makes ids.
    pub ids: Ids,
    /// Makes seeds.
    pub random: Random,
    /// Knows the scanners.
    pub fleet: Fleet,
    /// Knows what was found.
    pub results: ResultsService,
}

impl Scans {
    /// The service.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Launches a scan of a template. The same `key` of the same person gives the same scan, however often it is
    /// sent.
    ///
    /// # Errors
    /// `Invalid("template")` when it covers nothing, too much, or has no scanner that can work.
    pub async fn launch(&self, actor: &Actor, template: Uuid, key: Option<String>) -> Result<Scan, Error> {
        let fleet = self.0.fleet.scanners().await?;
        let (id, seed, now) = (self.0.ids.new(), self.0.random.bytes::<16>(), self.0.clock.now());
        let by = actor.clone();
        self.0
            .store
            .changes(actor, move |tx| {
                if let Some(key) = &key
                    && let Some(earlier) = store::by_key(tx, &by.id, key)?
                {
                    return Ok((vec![], earlier));
                }
                let resolved = resolve(tx, template, now)?;
                let scanners = assigned(&resolved.scanners, &fleet)?;
                let vantages = vantages_of(&scanners);
                let Resolved { targets, excluded, ports, .. } = resolved;
                let frozen = Frozen { targets, excluded, ports };
                let scan = Scan {
                    id,
                    template,
                    template_name: resolved.template.name,
                    frozen_scope: frozen.name(),
                    timing: resolved.timing,
                    manner: resolved.manner,
                    seed,
                    hosts: u64::try_from(resolved.hosts).map_err(Error::internal)?,
                    probes: u64::try_from(resolved.probes).map_err(Error::internal)? * vantages.len() as u64,
                    state: State::Queued,
                    detail: None,
                    excluded_since: Ranges::new(),
                    by: by.name.clone(),
                    created_at: now,
                    started_at: None,
                    ended_at: None,
                };
                let cuts = plan::cut(scan.hosts, frozen.ports.count(), scan.timing.rate, &vantages);
                store::insert(tx, &scan, &frozen, &by.id, key.as_deref())?;
                store::insert_scanners(tx, scan.id, &scanners)?;
                store::insert_batches(tx, scan.id, &cuts, frozen.ports.count())?;
                let detail = serde_json::json!({
                    "template": scan.template, "template_name": scan.template_name, "scope_sha256": scan.frozen_scope,
                    "hosts": scan.hosts, "excluded_hosts": frozen.excluded.count().to_string(), "probes": scan.probes, "timing": scan.timing, "manner": scan.manner, "batches": cuts.len(),
                    "scanners": scanners.iter().map(|assigned| assigned.scanner).collect::<Vec<_>>(),
                });
                Ok((vec![Entry::event("scan.launched", &detail).on("scan", scan.id)], scan))
            })
            .await
    }

    /// Asks for a stop: the dispatcher tells the scanners, and ends the scan when they have stopped.
    ///
    /// # Errors
    /// `Conflict` when it has ended; `NotFound`.
    pub async fn cancel(&self, actor: &Actor, id: Uuid) -> Result<Scan, Error> {
        let scan = self
            .0
            .store
            .changes(actor, move |tx| {
                let mut scan = store::scan(tx, id)?.ok_or_else(|| Error::not_found("scan", id))?;
                match scan.state {
                    State::Cancelling => return Ok((vec![], scan)),
                    State::Queued | State::Running | State::Paused => {}
                    ended => return Err(over(ended)),
                }
                let before = scan.state;
                scan.state = State::Cancelling;
                store::set_state(tx, id, scan.state, None, None)?;
                let detail = serde_json::json!({ "was": before });
                Ok((vec![Entry::event("scan.cancel-asked", &detail).on("scan", id)], scan))
            })
            .await?;
        // Wakes the dispatcher at once; without it, it would look within a second.
        self.0.jobs.write(queue::nudge).await?;
        Ok(scan)
    }

    /// Lets a scan rest, or go on: its scanners hear of it at their next sign of life. Nothing changes when it does so
    /// already.
    ///
    /// # Errors
    /// `Conflict` when it has ended or is to stop; `NotFound`.
    pub async fn pause(&self, actor: &Actor, id: Uuid, rest: bool) -> Result<Scan, Error> {
        let change = move |tx: &rusqlite::Transaction| {
            let mut scan = store::scan(tx, id)?.ok_or_else(|| Error::not_found("scan", id))?;
            let before = scan.state;
            scan.state = match (before, rest) {
                (State::Queued | State::Running, true) => State::Paused,
                (State::Paused, false) if scan.started_at.is_some() => State::Running,
                (State::Paused, false) => State::Queued,
                (State::Queued | State::Running, false) | (State::Paused, true) => return Ok((vec![], scan)),
                (other, _) => return Err(over(other)),
            };
            store::pause(tx, id, scan.state)?;
            let action = if rest { "scan.paused" } else { "scan.resumed" };
            Ok((vec![Entry::event(action, &serde_json::json!({ "was": before })).on("scan", id)], scan))
        };
        let scan = self.0.store.changes(actor, change).await?;
        self.0.jobs.write(queue::nudge).await?;
        Ok(scan)
    }

    /// One page of scans.
    ///
    /// # Errors
    /// `Invalid` on `sort`, `limit`, `cursor` or `q`.
    pub async fn list(&self, query: ListQuery, filter: Filter) -> Result<Page<Scan>, Error> {
        self.0.store.read(move |db| store::list(db, &query, &filter)).await
    }

    /// One scan.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn scan(&self, id: Uuid) -> Result<Scan, Error> {
        self.0.store.read(move |db| store::scan(db, id)?.ok_or_else(|| Error::not_found("scan", id))).await
    }

    /// The newest ended scan of the same template that was launched before this one.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn before(&self, id: Uuid) -> Result<Option<Uuid>, Error> {
        let read = move |db: &rusqlite::Connection| {
            let scan = store::scan(db, id)?.ok_or_else(|| Error::not_found("scan", id))?;
            store::before(db, &scan)
        };
        self.0.store.read(read).await
    }

    /// The scope of a scan, as it was frozen.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn frozen(&self, id: Uuid) -> Result<Frozen, Error> {
        self.0.store.read(move |db| store::frozen(db, id)?.ok_or_else(|| Error::not_found("scan", id))).await
    }

    /// The vantages of a scan, with their names at the launch.
    ///
    /// # Errors
    /// The database's.
    pub async fn vantages(&self, id: Uuid) -> Result<BTreeMap<Uuid, String>, Error> {
        let assigned = self.0.store.read(move |db| store::scanners(db, id)).await?;
        Ok(assigned.into_iter().map(|assigned| (assigned.vantage, assigned.vantage_name)).collect())
    }

    /// Scans and their vantages by name, at the launch; those that are not known are left out.
    ///
    /// # Errors
    /// The database's.
    pub async fn names(&self, ids: BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, Names>, Error> {
        let read = move |db: &rusqlite::Connection| {
            let mut names = BTreeMap::new();
            for id in ids {
                let Some(scan) = store::scan(db, id)? else { continue };
                let assigned = store::scanners(db, id)?.into_iter();
                let vantages = assigned.map(|it| (it.vantage, it.vantage_name)).collect();
                names.insert(id, Names { scan: scan.template_name, vantages });
            }
            Ok(names)
        };
        self.0.store.read(read).await
    }
}

/// What a scan and its vantages were called when it was launched.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The template.
    pub scan: String,
    /// Each vantage.
    pub vantages: BTreeMap<Uuid, String>,
}

fn over(state: State) -> Error {
    let word = if state.is_open() { "is to stop" } else { "has ended" };
    Error::conflict(format!("The scan {word}: it is {}.", state.as_str()))
}

/// Those of a template's scanners that can work, with their vantages.
fn assigned(named: &[Link], fleet: &[Scanner]) -> Result<Vec<Assigned>, Error> {
    let able: Vec<Assigned> = fleet
        .iter()
        .filter(|scanner| named.iter().any(|link| link.id == scanner.id))
        .filter(|scanner| scanner.enrolled_at.is_some() && scanner.revoked_at.is_none())
        .map(|scanner| Assigned {
            scanner: scanner.id,
            vantage: scanner.vantage.id,
            vantage_name: scanner.vantage.name.clone(),
        })
        .collect();
    if able.is_empty() {
        return Err(Error::invalid("template", "has no scanner that is enrolled and not revoked"));
    }
    Ok(able)
}

/// Each vantage once, in a fixed order.
fn vantages_of(scanners: &[Assigned]) -> Vec<Uuid> {
    let mut vantages: Vec<Uuid> = scanners.iter().map(|assigned| assigned.vantage).collect();
    vantages.sort_unstable();
    vantages.dedup();
    vantages
}
