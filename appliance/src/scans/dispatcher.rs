//! The dispatcher: signs jobs for scanners that want work, takes them back from silent ones, and ends scans.
//!
//! It keeps nothing in memory between two steps. A job is written to config.db (the batch runs, one epoch later)
//! before it is handed over in jobs.db: killed in between, the batch is found running without a job and waits again.

use super::decide::{Action, Situation};
use super::queue::{self, NewJob};
use super::{Batch, BatchState, Frozen, Scan, State, store};
use crate::audit::{Actor, Entry};
use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::fleet;
use crate::ids::Ids;
use crate::jobs::Jobs;
use crate::secrets::sha256;
use crate::secrets::signing::JobKey;
use crate::store::Store;
use portolan_scanner::net::Permutation;
use portolan_scanner::wire::{self, Id, hex};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// The longest a change in config.db waits to be seen.
const PAUSE: Duration = Duration::from_secs(1);
/// A job may run for so many times its expected length, and at least a day.
const PATIENCE: u64 = 4;
const DAY: Duration = Duration::from_secs(86_400);
/// So long after its scan ended, what a scanner still brings of a job is taken; then jobs.db forgets the job.
const LATE: Duration = Duration::from_secs(30 * 86_400);
/// How often jobs.db is looked through for what it may forget.
const TIDY: Duration = Duration::from_secs(3600);

/// Everything the dispatcher works with.
#[derive(Clone)]
pub struct Dispatcher {
    /// config.db.
    pub store: Store,
    /// jobs.db.
    pub jobs: Jobs,
    /// Tells the time.
    pub clock: Clock,
    /// Makes the ids of jobs.
    pub ids: Ids,
    /// Signs them.
    pub key: JobKey,
    /// How long a scanner may be silent.
    pub lease: Duration,
}

impl Dispatcher {
    /// Steps whenever jobs.db changes, and at least once a second, until the future is dropped; that is safe at any
    /// time.
    pub async fn run(self) {
        let mut watch = self.jobs.watch();
        let mut tidied = Timestamp::EPOCH;
        loop {
            if let Err(error) = self.step().await {
                tracing::error!(%error, "the dispatcher could not finish a step; it tries again");
            }
            if self.clock.now().since(tidied) >= TIDY {
                tidied = self.clock.now();
                if let Err(error) = self.forget().await {
                    tracing::error!(%error, "jobs.db could not be tidied");
                }
            }
            watch.changed_within(PAUSE).await;
        }
    }

    /// Does everything that is to be done now.
    ///
    /// # Errors
    /// Of the databases; what was done until then stands, the rest is found again by the next step.
    pub async fn step(&self) -> Result<(), Error> {
        let now = self.clock.now();
        // Who may work is asked of config.db: jobs.db does not know it in the moment after it was lost.
        let (scans, able) = self.store.read(|db| Ok((store::open_scans(db)?, fleet::able(db)?))).await?;
        if scans.is_empty() {
            return Ok(());
        }
        let able: BTreeSet<Uuid> = able.into_iter().collect();
        for scan in &scans {
            self.settle(scan, &able, now).await?;
        }
        for scanner in self.jobs.read(move |db| queue::wanting(db, now)).await? {
            self.give_work(scanner, now).await?;
        }
        Ok(())
    }

    /// Forgets the jobs of scans that ended long ago; what came of them is in the results and in the evidence.
    ///
    /// # Errors
    /// Of the databases.
    pub async fn forget(&self) -> Result<(), Error> {
        let before = self.clock.now() - LATE;
        let scans = self.jobs.read(queue::scans).await?;
        let old = self.store.read(move |db| store::ended_before(db, &scans, before)).await?;
        if old.is_empty() {
            return Ok(());
        }
        self.jobs.write(move |tx| queue::forget(tx, &old)).await
    }

    async fn settle(&self, scan: &Scan, able: &BTreeSet<Uuid>, now: Timestamp) -> Result<(), Error> {
        let id = scan.id;
        let (batches, scanners) =
            self.store.read(move |db| Ok((store::batches(db, id)?, store::scanners(db, id)?))).await?;
        let jobs = self.jobs.read(move |db| queue::jobs(db, id)).await?;
        let situation = Situation {
            scan,
            batches: &batches,
            scanners: &scanners,
            jobs: &jobs,
            able,
            now,
            lease: self.lease,
        };
        for action in situation.decide() {
            match action {
                Action::Lose(hash) => self.jobs.write(move |tx| queue::lose(tx, &hash)).await?,
                Action::Cancel(hash) => self.jobs.write(move |tx| queue::cancel(tx, &hash)).await?,
                Action::Batch(batch) => self.move_batch(id, batch).await?,
                Action::End(state, detail) => self.end(id, state, detail, now).await?,
            }
        }
        Ok(())
    }

    async fn move_batch(&self, scan: Uuid, batch: Batch) -> Result<(), Error> {
        self.store
            .changes(&actor(), move |tx| {
                if !store::update_batch(tx, scan, &batch)? {
                    return Ok((vec![], ()));
                }
                let detail = json!({
                    "batch": batch.number, "scanner": batch.scanner, "epoch": batch.epoch,
                    "covered": batch.covered, "probes": batch.probes, "open": batch.open, "why": batch.detail,
                });
                let action = format!("batch.{}", batch.state.as_str());
                Ok((vec![Entry::event(&action, &detail).on("scan", scan)], ()))
            })
            .await
    }

    async fn end(
        &self,
        scan: Uuid,
        state: State,
        detail: Option<String>,
        now: Timestamp,
    ) -> Result<(), Error> {
        tracing::info!(%scan, state = state.as_str(), detail, "scan ended");
        self.store
            .change(&actor(), move |tx| {
                store::set_state(tx, scan, state, detail.as_deref(), Some(now))?;
                let action = format!("scan.{}", state.as_str());
                Ok((Entry::event(&action, &json!({ "detail": detail })).on("scan", scan), ()))
            })
            .await
    }

    /// Signs a job for this scanner: of the oldest scan that has a batch for it.
    async fn give_work(&self, scanner: Uuid, now: Timestamp) -> Result<(), Error> {
        let Some((scan, batch)) = self.store.read(move |db| find_work(db, scanner)).await? else {
            return Ok(());
        };
        let id = scan.id;
        let Some(frozen) = self.store.read(move |db| store::frozen(db, id)).await? else {
            return Err(Error::internal(format!("the frozen scope of scan {id} is gone")));
        };
        let batch = Batch {
            state: BatchState::Running,
            epoch: batch.epoch + 1,
            scanner: Some(scanner),
            detail: None,
            ..batch
        };
        let job = job(self.ids.new(), &scan, &batch, &frozen, scanner, now);
        let frame = wire::seal(job.encode(), |text| self.key.sign(text));
        let hash = hex::encode(&sha256(frame.as_bytes()));
        let (name, first) = (hash.clone(), scan.state == State::Queued);
        self.store
            .changes(&actor(), move |tx| {
                if !store::update_batch(tx, id, &batch)? {
                    return Err(Error::conflict("the batch ended meanwhile"));
                }
                if first {
                    store::set_state(tx, id, State::Running, None, Some(now))?;
                }
                let detail =
                    json!({ "batch": batch.number, "epoch": batch.epoch, "scanner": scanner, "job": name });
                Ok((vec![Entry::event("job.signed", &detail).on("scan", id)], ()))
            })
            .await?;
        self.jobs
            .write(move |tx| {
                queue::offer(tx, &NewJob { hash: &hash, job: &job, frame: &frame, made_at: now })
            })
            .await
    }
}

fn actor() -> Actor {
    Actor::system("dispatcher")
}

fn find_work(db: &rusqlite::Connection, scanner: Uuid) -> Result<Option<(Scan, Batch)>, Error> {
    for scan in store::open_scans(db)?.into_iter().filter(|scan| scan.state != State::Cancelling) {
        let scanners = store::scanners(db, scan.id)?;
        let Some(place) = scanners.iter().find(|assigned| assigned.scanner == scanner) else { continue };
        let mut batches = store::batches(db, scan.id)?.into_iter();
        if let Some(batch) =
            batches.find(|batch| batch.state == BatchState::Waiting && batch.vantage == place.vantage)
        {
            return Ok(Some((scan, batch)));
        }
    }
    Ok(None)
}

fn job(id: Uuid, scan: &Scan, batch: &Batch, frozen: &Frozen, scanner: Uuid, now: Timestamp) -> wire::Job {
    let expected = Duration::from_secs(
        batch.probes.div_ceil(u64::from(scan.timing.rate.max(1))).saturating_mul(PATIENCE),
    );
    wire::Job {
        id: Id::from_bytes(id.into_bytes()),
        scan: Id::from_bytes(scan.id.into_bytes()),
        batch: batch.number,
        epoch: batch.epoch,
        scanner: Id::from_bytes(scanner.into_bytes()),
        vantage: Id::from_bytes(batch.vantage.into_bytes()),
        issued: now.micros(),
        expires: (now + expected.max(DAY)).micros(),
        preset: scan.timing.preset.into(),
        rate: scan.timing.rate,
        host_rate: scan.timing.host_rate,
        timeout_ms: scan.timing.timeout_ms,
        retries: scan.timing.retries,
        seed: Permutation::key_for(scan.seed, batch.number.into()),
        block_hosts: wire::Job::block_hosts_for(frozen.ports.count()),
        targets: frozen.targets.slice(batch.first_host.into(), batch.hosts.into()),
        ports: frozen.ports.clone(),
    }
}

#[cfg(test)]
#[path = "dispatcher_test.rs"]
mod tests;
