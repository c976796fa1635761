//! The loader: takes frames from the spool into the store and the evidence, each exactly once.
//!
//! For every batch of frames in `spool/new`, in this order:
//! 1. each is proven again, with the keys of config.db (ingest, which faces the network, is not believed);
//! 2. the store counts them in one transaction, under the key (job hash, block, part);
//! 3. jobs.db is told (`loaded`), under the same key;
//! 4. the frames are written to the evidence, synced;
//! 5. they are removed from the spool.
//!
//! Why a kill at any point loses nothing and counts nothing twice: a frame leaves the spool in step 5 only, after
//! steps 2 to 4 have outlasted a power cut. Killed before that, it is still in the spool, and the next pass runs all
//! steps on it again. Each of them, run again on the same frame, changes nothing: the store and `loaded` know its
//! key, the evidence knows its name. So the effects are those of one run, and all of them happen.
//!
//! A frame that cannot be proven was acknowledged all the same, so it is not thrown away: it goes to `spool/bad` with
//! the reason beside it, and a refusal goes to the audit.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use portolan_scanner::wire::Id;
use rusqlite::{OptionalExtension as _, params};
use uuid::Uuid;

use super::aside::{read, set_aside};
use super::evidence::Evidence;
use super::{Brought, Counted, Store, Sweep};
use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::ingest::frame::{Frame, JobFrame, Proven, Refusal};
use crate::jobs::Jobs;
use crate::layout::Layout;
use crate::roles::Heartbeat;

/// A batch ends when it has so many frames …
const BATCH_FRAMES: usize = 256;
/// … or so many bytes.
const BATCH_BYTES: u64 = 32 << 20;
/// How long a frame waits in the spool at most before it is seen.
const POLL: Duration = Duration::from_millis(200);
/// How long to wait after a failure (a full disk) before the next try.
const PAUSE: Duration = Duration::from_secs(2);

/// Finds a scanner's Ed25519 public key in config.db; `None` for one that was never enrolled. The key of a revoked
/// scanner is still found: what was accepted before counts.
pub type KeyOf =
    Arc<dyn Fn(Uuid) -> Pin<Box<dyn Future<Output = Result<Option<[u8; 32]>, Error>> + Send>> + Send + Sync>;

/// Everything the loader works with.
#[derive(Clone)]
pub struct Loader {
    /// The transient database.
    pub jobs: Jobs,
    /// The results store.
    pub store: Arc<dyn Store>,
    /// Where the spool and the evidence lie.
    pub layout: Layout,
    /// The clock.
    pub clock: Clock,
    /// Whose signature makes results.
    pub key_of: KeyOf,
    /// The public half of the key that signs jobs.
    pub job_key: [u8; 32],
    /// Beats before every pass and every batch.
    pub heart: Heartbeat,
}

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Frames whose key was new.
    pub counted: usize,
    /// Frames that were there already.
    pub repeated: usize,
    /// Frames that went to `spool/bad`.
    pub bad: usize,
}

/// A file in the spool that cannot be counted.
struct Bad {
    path: PathBuf,
    scanner: Option<Id>,
    refusal: Refusal,
}

impl Loader {
    /// Loads until the future is dropped, which is safe at any time.
    pub async fn run(self) {
        let mut watch = self.jobs.watch();
        loop {
            match self.pass().await {
                Ok(Loaded { counted: 0, repeated: 0, bad: 0 }) => {
                    watch.changed_within(POLL).await;
                }
                Ok(loaded) => tracing::debug!(?loaded, "frames loaded"),
                Err(error) => {
                    tracing::error!(%error, "frames stay in the spool; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Loads what is in the spool now.
    ///
    /// # Errors
    /// When a database or the disk fails; what was not finished is in the spool still.
    pub async fn pass(&self) -> Result<Loaded, Error> {
        let mut loaded = Loaded::default();
        let new = self.layout.spool_new();
        self.heart.beat();
        for batch in blocking(move || list(&new)).await? {
            self.heart.beat();
            let one = self.batch(batch).await?;
            loaded.counted += one.counted;
            loaded.repeated += one.repeated;
            loaded.bad += one.bad;
        }
        Ok(loaded)
    }

    async fn batch(&self, files: Vec<PathBuf>) -> Result<Loaded, Error> {
        let (frames, mut bad) = blocking(move || parse(files)).await?;
        let keys = self.keys(&frames).await?;
        let jobs = self.job_frames(&frames).await?;
        let store = self.store.clone();
        let (proven, counted, unproven, rows, swept) = blocking(move || {
            let (proven, unproven) = prove(frames, &keys, &jobs);
            let frames: Vec<Proven> = proven.iter().map(|(_, frame)| frame.clone()).collect();
            let counted = store.count(&frames).map_err(Error::from)?;
            let rows: Vec<LoadedRow> = frames.iter().zip(&counted).map(LoadedRow::of).collect();
            let scans: BTreeSet<Id> = frames.iter().map(|frame| frame.job().job().scan).collect();
            let mut swept = Vec::new();
            for scan in scans.into_iter().map(|id| Uuid::from_bytes(*id.as_bytes())) {
                swept.extend(store.sweeps(scan).map_err(Error::from)?.into_iter().map(|sweep| (scan, sweep)));
            }
            Ok::<_, Error>((proven, counted, unproven, rows, swept))
        })
        .await?;
        bad.extend(unproven);
        self.tell(rows, swept).await?;
        let new = counted.iter().filter(|counted| counted.new).count();
        let loaded = Loaded { counted: new, repeated: counted.len() - new, bad: bad.len() };
        let evidence = Evidence::new(self.layout.evidence());
        blocking(move || {
            let kept: Vec<_> = proven.iter().map(|(_, frame)| frame).zip(counted).collect();
            evidence.keep(&kept).map_err(Error::internal)?;
            proven.iter().try_for_each(|(path, _)| std::fs::remove_file(path)).map_err(Error::internal)
        })
        .await?;
        self.put_aside(bad).await?;
        Ok(loaded)
    }

    async fn keys(&self, frames: &[(PathBuf, Frame)]) -> Result<BTreeMap<Id, [u8; 32]>, Error> {
        let mut keys = BTreeMap::new();
        for (_, frame) in frames {
            let id = frame.scanner();
            if !keys.contains_key(&id)
                && let Some(key) = (self.key_of)(Uuid::from_bytes(*id.as_bytes())).await?
            {
                keys.insert(id, key);
            }
        }
        Ok(keys)
    }

    /// The jobs that these frames name, by hash: from jobs.db or, should that have been lost, from the evidence.
    async fn job_frames(&self, frames: &[(PathBuf, Frame)]) -> Result<BTreeMap<String, JobFrame>, Error> {
        let mut hashes: Vec<String> = frames.iter().map(|(_, frame)| frame.job()).collect();
        hashes.sort();
        hashes.dedup();
        let texts = self.jobs.read(move |db| {
            let mut statement = db.prepare("SELECT frame FROM job WHERE hash = ?")?;
            let text = |hash: String| {
                let text = statement.query_row([&hash], |row| row.get::<_, String>(0)).optional()?;
                Ok((hash, text))
            };
            hashes.into_iter().map(text).collect::<Result<Vec<_>, Error>>()
        });
        let (texts, evidence) = (texts.await?, Evidence::new(self.layout.evidence()));
        let job_key = self.job_key;
        blocking(move || {
            let mut jobs = BTreeMap::new();
            for (hash, text) in texts {
                let job = match text {
                    Some(text) => JobFrame::parse(&text).ok(),
                    None => evidence.job(&hash).map_err(Error::internal)?,
                };
                if let Some(job) = job.filter(|job| job.hash() == hash && job.signed_by(&job_key)) {
                    jobs.insert(hash, job);
                }
            }
            Ok(jobs)
        })
        .await
    }

    /// Tells the dispatcher what came in, and what there is of these scans by now.
    async fn tell(&self, rows: Vec<LoadedRow>, swept: Vec<(Uuid, Sweep)>) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        self.jobs
            .write(move |tx| {
                let mut statement = tx.prepare(
                    "INSERT OR IGNORE INTO loaded (job_hash, block, part, last, covered, open, at)
                     VALUES (?, ?, ?, ?, ?, ?, ?)",
                )?;
                for row in rows {
                    let LoadedRow { job, block, part, last, brought } = row;
                    let Brought { covered, open, .. } = brought;
                    statement.execute(params![job, block, part, last, covered, open, now])?;
                }
                let mut statement = tx.prepare(
                    "INSERT INTO swept (scan, vantage, covered) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET covered = ?3",
                )?;
                for (scan, sweep) in swept {
                    let covered = i64::try_from(sweep.covered()).unwrap_or(i64::MAX);
                    statement.execute(params![scan.to_string(), sweep.vantage.to_string(), covered])?;
                }
                Ok(())
            })
            .await
    }

    /// Puts frames aside that cannot be counted, and says so to the audit. Killed in between, the refusal may be
    /// counted once more; the frame is not lost.
    async fn put_aside(&self, bad: Vec<Bad>) -> Result<(), Error> {
        if bad.is_empty() {
            return Ok(());
        }
        let minute = minute(self.clock.now());
        let refusals: Vec<_> = bad
            .iter()
            .map(|bad| {
                tracing::warn!(frame = %bad.path.display(), reason = %bad.refusal, "a frame in the spool is refused");
                let scanner = bad.scanner.map(|id| id.to_string()).unwrap_or_default();
                (scanner, bad.refusal.slug(), bad.refusal.to_string())
            })
            .collect();
        self.jobs
            .write(move |tx| {
                let mut statement = tx.prepare(
                    "INSERT INTO refusal (minute, source, scanner, reason, detail) VALUES (?, 'spool', ?, ?, ?)
                     ON CONFLICT DO UPDATE SET count = count + 1",
                )?;
                for (scanner, reason, detail) in refusals {
                    statement.execute(params![minute, scanner, reason, detail])?;
                }
                Ok(())
            })
            .await?;
        let folder = self.layout.spool_bad();
        let aside = move |bad: &Bad| set_aside(&bad.path, &folder, &bad.refusal.to_string());
        blocking(move || bad.iter().try_for_each(aside).map_err(Error::internal)).await
    }
}

/// A row of jobs.db's `loaded`: by how much the frame made more of what is known, so that the dispatcher's sums are
/// those of the store.
struct LoadedRow {
    job: String,
    block: i64,
    part: u32,
    last: bool,
    brought: Brought,
}

impl LoadedRow {
    fn of((frame, counted): (&Proven, &Counted)) -> Self {
        let results = frame.results();
        Self {
            job: frame.job().hash(),
            // SQLite's integers end at 2^63; a job has fewer blocks than that.
            block: i64::try_from(results.block).unwrap_or(i64::MAX),
            part: results.part,
            last: results.last,
            brought: counted.brought,
        }
    }
}

/// The files in the spool in batches, first come first.
fn list(new: &Path) -> Result<Vec<Vec<PathBuf>>, Error> {
    let mut files = Vec::new();
    let entries =
        std::fs::read_dir(new).map_err(|error| Error::internal(format!("{}: {error}", new.display())))?;
    for entry in entries {
        let entry = entry.map_err(Error::internal)?;
        let about = match entry.metadata() {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::internal(error)),
        };
        // Ingest may be under someone else's control: a pipe or a link is no frame, and is not opened.
        if !about.is_file() {
            continue;
        }
        files.push((about.modified().map_err(Error::internal)?, entry.path(), about.len()));
    }
    files.sort();
    let mut batches: Vec<Vec<PathBuf>> = Vec::new();
    let mut bytes = 0;
    for (_, path, size) in files {
        bytes = size.saturating_add(bytes);
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_FRAMES && bytes <= BATCH_BYTES => batch.push(path),
            _ => {
                bytes = size;
                batches.push(vec![path]);
            }
        }
    }
    Ok(batches)
}

type Parsed = (Vec<(PathBuf, Frame)>, Vec<Bad>);

fn parse(files: Vec<PathBuf>) -> Result<Parsed, Error> {
    let (mut frames, mut bad) = (Vec::new(), Vec::new());
    for path in files {
        let frame = match read(&path) {
            Ok(bytes) => Frame::parse(bytes),
            // Of a file that will never be readable, one must not stop all that come after it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(Refusal::Malformed(portolan_scanner::wire::Error::NotAFrame))
            }
            Err(error) => return Err(Error::internal(format!("{}: {error}", path.display()))),
        };
        match frame {
            Ok(frame) => frames.push((path, frame)),
            Err(refusal) => bad.push(Bad { path, scanner: None, refusal }),
        }
    }
    Ok((frames, bad))
}

fn prove(
    frames: Vec<(PathBuf, Frame)>,
    keys: &BTreeMap<Id, [u8; 32]>,
    jobs: &BTreeMap<String, JobFrame>,
) -> (Vec<(PathBuf, Proven)>, Vec<Bad>) {
    let (mut proven, mut bad) = (Vec::new(), Vec::new());
    for (path, frame) in frames {
        let (scanner, hash) = (frame.scanner(), frame.job());
        let outcome = match (keys.get(&scanner), jobs.get(&hash)) {
            (None, _) => Err(Refusal::UnknownScanner(scanner)),
            (_, None) => Err(Refusal::UnknownJob(hash)),
            (Some(key), Some(job)) => frame.prove(key, job),
        };
        match outcome {
            Ok(frame) => proven.push((path, frame)),
            Err(refusal) => bad.push(Bad { path, scanner: Some(scanner), refusal }),
        }
    }
    (proven, bad)
}

/// The start of a minute: floods are counted by it.
fn minute(now: Timestamp) -> i64 {
    now.micros() - now.micros().rem_euclid(60_000_000)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    crate::blocking::run(work).await?
}

#[cfg(test)]
#[path = "loader_test.rs"]
mod test;
