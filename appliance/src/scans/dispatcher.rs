//! The dispatcher: signs jobs for scanners that want work, takes them back from silent ones, and ends scans.
//!
//! It keeps nothing in memory between two steps. A job is written to config.db (the batch runs, one epoch later)
//! before it is handed over in jobs.db: killed in between, the batch is found running without a job and waits again.

use super::decide::{Action, Situation, end};
use super::queue::{self, NewJob};
use super::{Assigned, Batch, BatchState, Frozen, Scan, State, store};
use crate::audit::{Actor, Entry};
use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::fleet;
use crate::ids::Ids;
use crate::jobs::Jobs;
use crate::scope;
use crate::secrets::sha256;
use crate::secrets::signing::JobKey;
use crate::store::Store;
use portolan_scanner::net::Permutation;
use portolan_scanner::wire::{self, Id, hex};
use rusqlite::Connection;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
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
    /// time. `stepped` hears of each step that was finished.
    pub async fn run(self, stepped: impl Fn() + Send) {
        let mut watch = self.jobs.watch();
        let mut tidied = Timestamp::EPOCH;
        loop {
            match self.step().await {
                Ok(()) => stepped(),
                Err(error) => {
                    tracing::error!(%error, "the dispatcher could not finish a step; it tries again");
                }
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
        let open = self.store.read(open).await?;
        for one in &open {
            self.settle(one, now).await?;
        }
        if open.iter().all(|one| one.waiting.is_empty()) {
            return Ok(());
        }
        let (wanting, at_work) =
            self.jobs.read(move |db| Ok((queue::wanting(db, now)?, queue::at_work(db, now)?))).await?;
        for scanner in wanting {
            self.give_work(scanner, &open, &at_work, now).await?;
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

    /// Takes a scan on as far as it goes now: what changes in config.db changes at once, its end included.
    async fn settle(&self, open: &Open, now: Timestamp) -> Result<(), Error> {
        if open.batches.is_empty() && !open.over {
            return Ok(());
        }
        let id = open.scan.id;
        let numbers: Vec<u32> = open.batches.iter().map(|batch| batch.number).collect();
        let jobs = self.jobs.read(move |db| queue::jobs(db, id, &numbers)).await?;
        let situation = Situation {
            scan: &open.scan,
            batches: &open.batches,
            scanners: &open.scanners,
            jobs: &jobs,
            able: &open.able,
            now,
            lease: self.lease,
        };
        let (mut moved, mut told) = (Vec::new(), Vec::new());
        for action in situation.decide() {
            match action {
                Action::Batch(batch) => moved.push(batch),
                other => told.push(other),
            }
        }
        if !told.is_empty() {
            let tell = move |tx: &rusqlite::Transaction| {
                told.iter().try_for_each(|action| match action {
                    Action::Lose(hash) => queue::lose(tx, hash),
                    Action::Cancel(hash) => queue::cancel(tx, hash, now),
                    Action::Pause(hash, rest) => queue::pause(tx, hash, *rest),
                    Action::Batch(_) => Ok(()),
                })
            };
            self.jobs.write(tell).await?;
        }
        if moved.is_empty() && !open.over {
            return Ok(());
        }
        let swept = self.jobs.read(move |db| queue::swept(db, id)).await?;
        self.store.changes(&actor(), move |tx| Ok((move_on(tx, id, moved, swept, now)?, ()))).await
    }

    /// Signs a job for this scanner: of the oldest scan that has a batch for it.
    async fn give_work(
        &self,
        scanner: Uuid,
        open: &[Open],
        at_work: &[Uuid],
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut found = None;
        for one in open {
            let Some((vantage, again)) = one.place_of(scanner, at_work) else { continue };
            let id = one.scan.id;
            let next = move |db: &Connection| {
                Ok(match store::next_batch(db, id, vantage, scanner, false)? {
                    None if again => store::next_batch(db, id, vantage, scanner, true)?,
                    first => first,
                })
            };
            if let Some(batch) = self.store.read(next).await? {
                found = Some((one, batch));
                break;
            }
        }
        let Some((one, batch)) = found else { return Ok(()) };
        let scan = &one.scan;
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
        let job = job(self.ids.new(), scan, &batch, &frozen, (scanner, one.sharing(batch.vantage)), now);
        let frame = wire::seal(job.encode(), |text| self.key.sign(text));
        let hash = hex::encode(&sha256(frame.as_bytes()));
        let name = hash.clone();
        let signed = self
            .store
            .changes(&actor(), move |tx| {
                // A person may have let it rest, or ended it, since it was looked at.
                if store::scan(tx, id)?.is_none_or(|scan| rests(scan.state)) {
                    return Ok((vec![], false));
                }
                if !store::update_batch(tx, id, &batch)? {
                    return Err(Error::conflict("the batch ended meanwhile"));
                }
                store::set_state(tx, id, State::Running, None, Some(now))?;
                let detail =
                    json!({ "batch": batch.number, "epoch": batch.epoch, "scanner": scanner, "job": name });
                Ok((vec![Entry::event("job.signed", &detail).on("scan", id)], true))
            })
            .await?;
        if !signed {
            return Ok(());
        }
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

/// A scan that has not ended, and what of it may have to be looked at.
struct Open {
    scan: Scan,
    scanners: Vec<Assigned>,
    /// Vantages in which a batch waits for a scanner.
    waiting: Vec<Uuid>,
    /// Batches that run, and those that wait but not just for a scanner.
    batches: Vec<Batch>,
    /// None of its batches can change any more.
    over: bool,
    /// Scanners that may work at all. Config.db says so: jobs.db does not know it in the moment after it was lost.
    able: Arc<BTreeSet<Uuid>>,
}

impl Open {
    /// From where this scanner may take a batch, and whether also one that was taken from it before: only when nobody
    /// else is there who could do better.
    fn place_of(&self, scanner: Uuid, at_work: &[Uuid]) -> Option<(Uuid, bool)> {
        let vantage = self.scanners.iter().find(|assigned| assigned.scanner == scanner)?.vantage;
        if rests(self.scan.state) || !self.waiting.contains(&vantage) {
            return None;
        }
        let other = |assigned: &&Assigned| assigned.vantage == vantage && assigned.scanner != scanner;
        let could = |other: &Assigned| self.able.contains(&other.scanner) && at_work.contains(&other.scanner);
        Some((vantage, !self.scanners.iter().filter(other).any(could)))
    }

    /// How many scanners may work on this scan from a vantage: they share its rate, at work or not, so that it is never
    /// exceeded when one more comes.
    fn sharing(&self, vantage: Uuid) -> u32 {
        let those =
            self.scanners.iter().filter(|one| one.vantage == vantage && self.able.contains(&one.scanner));
        u32::try_from(those.count().max(1)).unwrap_or(u32::MAX)
    }
}

/// Whether a scan gives out no work, though it has not ended.
fn rests(state: State) -> bool {
    matches!(state, State::Paused | State::Cancelling)
}

/// Every scan that has not ended, oldest first.
fn open(db: &Connection) -> Result<Vec<Open>, Error> {
    let able: Arc<BTreeSet<Uuid>> = Arc::new(fleet::able(db)?.into_iter().collect());
    let one = |scan: Scan| {
        let (id, scanners) = (scan.id, store::scanners(db, scan.id)?);
        let mut vantages: Vec<Uuid> = scanners.iter().map(|assigned| assigned.vantage).collect();
        vantages.dedup();
        let mut batches = store::running(db, id)?;
        let mut waiting = Vec::new();
        let mut left = Vec::new();
        for vantage in vantages {
            let somebody = scanners.iter().any(|one| one.vantage == vantage && able.contains(&one.scanner));
            if scan.state == State::Cancelling || !somebody {
                left.extend(store::waiting(db, id, vantage)?);
            } else if store::is_waiting(db, id, vantage)? {
                waiting.push(vantage);
            }
        }
        for batch in store::tried(db, id)? {
            if !left.iter().any(|other| other.number == batch.number) {
                left.push(batch);
            }
        }
        batches.extend(left);
        batches.sort_by_key(|batch| batch.number);
        let over = batches.is_empty() && waiting.is_empty() && store::is_over(db, id)?;
        Ok(Open { scan, scanners, waiting, batches, over, able: Arc::clone(&able) })
    };
    store::open_scans(db)?.into_iter().map(one).collect()
}

/// Writes where batches stand and, when nothing is left to be done, how the scan ended.
fn move_on(
    tx: &rusqlite::Transaction,
    id: Uuid,
    moved: Vec<Batch>,
    swept: u64,
    now: Timestamp,
) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    // Batches that no scanner ever had are told of together: a large scan that is cancelled has thousands.
    let mut untouched: BTreeMap<(&str, Option<String>), Vec<u32>> = BTreeMap::new();
    for batch in moved {
        if !store::update_batch(tx, id, &batch)? {
            continue;
        }
        if batch.epoch == 0 {
            untouched.entry((batch.state.as_str(), batch.detail)).or_default().push(batch.number);
            continue;
        }
        let detail = json!({
            "batch": batch.number, "scanner": batch.scanner, "epoch": batch.epoch,
            "covered": batch.covered, "probes": batch.probes, "open": batch.open, "why": batch.detail,
        });
        entries.push(Entry::event(&format!("batch.{}", batch.state.as_str()), &detail).on("scan", id));
    }
    for ((state, why), numbers) in untouched {
        let detail = json!({ "batches": runs(&numbers), "count": numbers.len(), "why": why });
        entries.push(Entry::event(&format!("batch.{state}"), &detail).on("scan", id));
    }
    let scan = store::scan(tx, id)?.ok_or_else(|| Error::not_found("scan", id))?;
    if scan.state.is_open() && store::is_over(tx, id)? {
        let mut tally = store::tally(tx, id)?;
        // What jobs.db has lost, the results still have.
        tally.covered = tally.covered.max(swept);
        let targets = store::frozen(tx, id)?.map(|frozen| frozen.targets).unwrap_or_default();
        let excluded = targets.intersect(&scope::in_force(tx, now)?);
        tally.excluded = excluded.count();
        let (state, why) = end(&scan, &tally);
        store::set_excluded_since(tx, id, &excluded)?;
        tracing::info!(scan = %id, state = state.as_str(), why, "scan ended");
        store::set_state(tx, id, state, why.as_deref(), Some(now))?;
        let action = format!("scan.{}", state.as_str());
        entries.push(Entry::event(&action, &json!({ "detail": why })).on("scan", id));
    }
    Ok(entries)
}

/// Ascending numbers, written as `1-4,7`.
fn runs(numbers: &[u32]) -> String {
    let runs = numbers.chunk_by(|before, after| before + 1 == *after);
    let texts = runs.filter_map(|run| match run {
        [] => None,
        [one] => Some(one.to_string()),
        [first, .., last] => Some(format!("{first}-{last}")),
    });
    texts.collect::<Vec<_>>().join(",")
}

/// A job of a batch for this scanner, one of so many that share the rate.
fn job(
    id: Uuid,
    scan: &Scan,
    batch: &Batch,
    frozen: &Frozen,
    (scanner, sharing): (Uuid, u32),
    now: Timestamp,
) -> wire::Job {
    let rate = (scan.timing.rate / sharing).max(1);
    let expected = Duration::from_secs(batch.probes.div_ceil(u64::from(rate)).saturating_mul(PATIENCE));
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
        rate,
        host_rate: scan.timing.host_rate.min(rate),
        timeout_ms: scan.timing.timeout_ms,
        retries: scan.timing.retries,
        method: scan.manner.method.into(),
        hints: scan.manner.hints,
        own: scan.manner.own,
        seed: Permutation::key_for(scan.seed, batch.number.into()),
        block_hosts: wire::Job::block_hosts_for(frozen.ports.count()),
        targets: frozen.targets.slice(batch.first_host.into(), batch.hosts.into()),
        ports: frozen.ports.clone(),
    }
}

#[cfg(test)]
#[path = "dispatcher_test.rs"]
mod tests;
