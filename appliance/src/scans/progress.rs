//! A scan as its page shows it: what config.db says, what its scanners say, and what is in the results.

use super::queue::{self, Job};
use super::{
    Batch, BatchState, BatchView, Frozen, NotCovered, Scan, ScanRow, ScanView, Scans, VantageView, store,
};
use crate::error::Error;
use crate::noun::Link;
use crate::results::Sweep;
use crate::results::recall::Recall;
use crate::scope::in_force;
use portolan_scanner::wire;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The most rows that "not covered" lists.
const NOT_COVERED_ROWS: usize = 200;

/// The most batches that a page shows.
const BATCH_ROWS: usize = 1_000;

impl Scans {
    /// What a list shows of these scans.
    ///
    /// # Errors
    /// The databases'.
    pub async fn rows(&self, scans: Vec<Scan>) -> Result<Vec<ScanRow>, Error> {
        let ids: Vec<(Uuid, bool)> = scans.iter().map(|scan| (scan.id, scan.state.is_open())).collect();
        let summed = self.0.store.read(move |db| {
            let sum = |(id, open): &(Uuid, bool)| {
                let running = if *open { store::running(db, *id)? } else { vec![] };
                Ok((store::brought(db, *id)?, running))
            };
            ids.iter().map(sum).collect::<Result<Vec<_>, Error>>()
        });
        let mut rows = Vec::with_capacity(scans.len());
        for (scan, ((covered, open), running)) in scans.iter().zip(summed.await?) {
            let jobs = self.jobs_of(scan, &running).await?;
            let shown = views(&running, &jobs, &BTreeMap::new());
            let done = covered.saturating_add(sum(shown.iter().map(|batch| batch.done)));
            let open = open.saturating_add(sum(shown.iter().map(|batch| batch.open)));
            rows.push(row(scan, done, open));
        }
        Ok(rows)
    }

    /// Everything a scan's page shows.
    ///
    /// # Errors
    /// `NotFound`; the databases'.
    pub async fn view(&self, id: Uuid) -> Result<ScanView, Error> {
        let scan = self.scan(id).await?;
        let frozen = self.frozen(id).await?;
        let batches = self.batches(id).await?;
        let jobs = self.jobs_of(&scan, &batches).await?;
        let names: BTreeMap<Uuid, String> =
            self.0.fleet.scanners().await?.into_iter().map(|scanner| (scanner.id, scanner.name)).collect();
        let shown = views(&batches, &jobs, &names);
        let sweeps = self.0.results.ask(move |store| store.sweeps(id)).await?;
        let vantages = by_vantage(&self.vantages(id).await?, &batches, &shown, &sweeps);
        let not_covered = if scan.state.is_open() {
            vec![]
        } else {
            self.not_covered(&scan, &frozen, &sweeps, &vantages, &batches).await?
        };
        let excluded_since = if scan.state.is_open() {
            let now = self.0.clock.now();
            frozen.targets.intersect(&self.0.store.read(move |db| in_force(db, now)).await?)
        } else {
            scan.excluded_since.clone()
        };
        let rate = sum(shown.iter().map(|batch| batch.rate));
        // Once it has ended, the results have the last word.
        let covered = sum(sweeps.iter().map(|sweep| u64::try_from(sweep.covered()).unwrap_or(u64::MAX)));
        let done = if scan.state.is_open() { sum(shown.iter().map(|batch| batch.done)) } else { covered };
        let row = row(&scan, done, sum(shown.iter().map(|batch| batch.open)));
        let left = row.probes.saturating_sub(row.done);
        Ok(ScanView {
            hosts: scan.hosts,
            rate,
            seconds_left: (scan.state.is_open() && rate > 0).then(|| left.div_ceil(rate.max(1))),
            not_covered_probes: if scan.state.is_open() { 0 } else { scan.probes.saturating_sub(covered) },
            detail: scan.detail,
            targets: frozen.targets.to_string(),
            excluded: frozen.excluded.to_string(),
            excluded_since: excluded_since.to_string(),
            ports: frozen.ports.to_string(),
            scope_sha256: scan.frozen_scope,
            timing: scan.timing,
            manner: scan.manner,
            row,
            vantages,
            not_covered,
            batches_total: shown.len(),
            batches: most_telling(shown),
        })
    }

    async fn batches(&self, id: Uuid) -> Result<Vec<Batch>, Error> {
        self.0.store.read(move |db| store::batches(db, id)).await
    }

    /// The jobs of a scan that still runs; those of one that has ended say nothing more.
    async fn jobs_of(&self, scan: &Scan, batches: &[Batch]) -> Result<Vec<Job>, Error> {
        let (id, open) = (scan.id, |batch: &&Batch| batch.state.is_open() && batch.epoch > 0);
        let numbers: Vec<u32> = batches.iter().filter(open).map(|batch| batch.number).collect();
        if !scan.state.is_open() || numbers.is_empty() {
            return Ok(vec![]);
        }
        self.0.jobs.read(move |db| queue::jobs(db, id, &numbers)).await
    }

    /// Hosts that the results have no word of, by batch.
    async fn not_covered(
        &self,
        scan: &Scan,
        frozen: &Frozen,
        sweeps: &[Sweep],
        vantages: &[VantageView],
        batches: &[Batch],
    ) -> Result<Vec<NotCovered>, Error> {
        let mut rows = Vec::new();
        for vantage in vantages.iter().filter(|vantage| vantage.not_probed > 0) {
            let (id, place) = (scan.id, vantage.id);
            let covered = self.0.results.ask(move |store| store.covered(id, place)).await?;
            let covered: portolan_scanner::net::Ranges = covered.into_iter().collect();
            for batch in batches.iter().filter(|batch| batch.vantage == place) {
                let hosts =
                    frozen.targets.slice(batch.first_host.into(), batch.hosts.into()).subtract(&covered);
                if hosts.is_empty() {
                    continue;
                }
                let count = u64::try_from(hosts.count()).unwrap_or(u64::MAX);
                let probes = count.saturating_mul(frozen.ports.count().into());
                let reason = batch.detail.clone().unwrap_or_else(|| match batch.state {
                    BatchState::Cancelled => "cancelled before it was reached".to_owned(),
                    state => format!("its batch is {}", state.as_str()),
                });
                rows.push(NotCovered {
                    vantage: vantage.name.clone(),
                    hosts: hosts.to_string(),
                    reason,
                    probes,
                    named_by: None,
                });
            }
            let skipped =
                sweeps.iter().filter(|sweep| sweep.vantage == place).flat_map(|sweep| &sweep.reasons);
            for skipped in skipped.filter(|of| of.reason.state() == wire::State::NotProbed) {
                rows.push(NotCovered {
                    vantage: vantage.name.clone(),
                    hosts: format!("{} {}", skipped.hosts, if skipped.hosts == 1 { "host" } else { "hosts" }),
                    reason: in_words(skipped.reason).to_owned(),
                    probes: u64::try_from(skipped.probes).unwrap_or(u64::MAX),
                    named_by: Some(skipped.reason.as_str()),
                });
            }
        }
        rows.truncate(NOT_COVERED_ROWS);
        Ok(rows)
    }
}

/// Why ports were not probed, for a person.
fn in_words(reason: wire::Reason) -> &'static str {
    match reason {
        wire::Reason::Excluded => "on a never-scan list, excluded, or the scanner's own address",
        wire::Reason::Cancelled => "its job ended before it was reached",
        wire::Reason::LocalLimit => "the scanner's own machine was at a limit",
        wire::Reason::Distress => "left alone as the host showed distress",
        wire::Reason::Expired => "the job's time was over first",
        wire::Reason::OpenAll => {
            "the host takes connections on every port: what is behind them was not learned"
        }
        other => other.as_str(),
    }
}

/// What scanners say of themselves is added up without believing that it fits.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

fn row(scan: &Scan, done: u64, open: u64) -> ScanRow {
    ScanRow {
        id: scan.id,
        template: Link { id: scan.template, name: scan.template_name.clone() },
        state: scan.state,
        started_at: scan.created_at,
        ended_at: scan.ended_at,
        probes: scan.probes,
        done: done.min(scan.probes),
        open,
        by: scan.by.clone(),
    }
}

/// The batches that a page shows.
fn most_telling(mut batches: Vec<BatchView>) -> Vec<BatchView> {
    if batches.len() > BATCH_ROWS {
        batches.sort_by_key(|batch| batch.state == BatchState::Done);
        batches.truncate(BATCH_ROWS);
    }
    batches
}

fn views(batches: &[Batch], jobs: &[Job], names: &BTreeMap<Uuid, String>) -> Vec<BatchView> {
    let latest: BTreeMap<u32, &Job> = jobs.iter().map(|job| (job.batch, job)).collect();
    batches.iter().map(|batch| view(batch, latest.get(&batch.number).copied(), names)).collect()
}

fn view(batch: &Batch, job: Option<&Job>, names: &BTreeMap<Uuid, String>) -> BatchView {
    let running = job.filter(|job| batch.state == BatchState::Running && job.epoch == batch.epoch);
    let (done, open) = match running {
        Some(job) => {
            let (covered, open) =
                (job.loaded_covered.max(0).unsigned_abs(), job.loaded_open.max(0).unsigned_abs());
            (job.done.max(covered).min(batch.probes), job.open.max(open))
        }
        None => (batch.covered, batch.open),
    };
    let link = |id: Uuid| Link { id, name: names.get(&id).cloned().unwrap_or_else(|| id.to_string()) };
    BatchView {
        number: batch.number,
        state: batch.state,
        scanner: batch.scanner.map(link),
        probes: batch.probes,
        done,
        open,
        rate: running.map_or(0, |job| job.rate),
        epoch: batch.epoch,
        renewed_at: job.and_then(|job| job.renewed_at),
        detail: batch.detail.clone(),
    }
}

fn by_vantage(
    names: &BTreeMap<Uuid, String>,
    batches: &[Batch],
    shown: &[BatchView],
    sweeps: &[Sweep],
) -> Vec<VantageView> {
    let one = |(&id, name): (&Uuid, &String)| {
        let mine = || batches.iter().zip(shown).filter(move |(batch, _)| batch.vantage == id);
        let sweep = sweeps.iter().find(|sweep| sweep.vantage == id);
        let count = |state| sweep.map_or(0, |sweep| u64::try_from(sweep.in_state(state)).unwrap_or(u64::MAX));
        let probes: u64 = mine().map(|(batch, _)| batch.probes).sum();
        let known = [wire::State::Open, wire::State::Closed, wire::State::Filtered, wire::State::Unreachable]
            .map(count);
        VantageView {
            id,
            name: name.clone(),
            probes,
            done: mine().map(|(_, view)| view.done).sum(),
            open: known[0],
            closed: known[1],
            filtered: known[2],
            unreachable: known[3],
            not_probed: probes.saturating_sub(known.iter().sum()),
            open_all_hosts: sweep.map_or(0, |sweep| sweep.hosts_for(wire::Reason::OpenAll)),
            distress_hosts: sweep.map_or(0, |sweep| sweep.hosts_for(wire::Reason::Distress)),
            recall: Recall::of_sweep(sweep),
        }
    };
    names.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_batches_those_are_shown_that_are_not_done() {
        let batch = |number, state| BatchView {
            number,
            state,
            scanner: None,
            probes: 1,
            done: 0,
            open: 0,
            rate: 0,
            epoch: 0,
            renewed_at: None,
            detail: None,
        };
        let state = |n| if n % 700 == 0 { BatchState::Waiting } else { BatchState::Done };
        let shown = most_telling((1..=2_000).map(|n| batch(n, state(n))).collect());
        let first: Vec<u32> = shown.iter().take(4).map(|batch| batch.number).collect();
        assert_eq!((shown.len(), first), (BATCH_ROWS, vec![700, 1_400, 1, 2]));
        let few = most_telling((1..=900).map(|n| batch(n, state(n))).collect());
        assert_eq!((few.len(), few[0].number), (900, 1));
    }

    #[test]
    fn scanners_that_boast_spoil_no_page() {
        assert_eq!(sum([u64::MAX, 1, 2].into_iter()), u64::MAX);
    }
}
