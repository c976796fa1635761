//! Making the store anew from the evidence: `portolan results rebuild`.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use portolan_scanner::wire::{Id, hex};

use super::duckdb::{DuckDb, Limits};
use super::evidence::{self, Kept};
use super::{Error, Store as _};
use crate::ingest::frame::{Frame, JobFrame, Proven};
use crate::layout::Layout;
use uuid::Uuid;

/// Frames counted in one transaction.
const BATCH: usize = 256;

/// The keys by which evidence is believed, read from config.db beforehand.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Ed25519 public keys of all scanners ever enrolled.
    pub scanners: BTreeMap<Id, [u8; 32]>,
    /// The public half of the key that signs jobs.
    pub job: [u8; 32],
}

/// What a rebuild did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Scans with evidence.
    pub scans: usize,
    /// Frames counted.
    pub frames: u64,
    /// Frames that are kept but stand under a key already taken.
    pub repeated: u64,
    /// Open ports in the new store.
    pub open: u64,
    /// Files that do not verify, and why; left out.
    pub bad: Vec<(PathBuf, String)>,
}

/// Why there is no new store.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store, old or new, failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// The evidence cannot be read.
    #[error("evidence: {0}")]
    Evidence(#[from] io::Error),
    /// Some of it does not verify, and it was not asked to leave that out. The old store stands.
    #[error("{} of the kept frames do not verify; the store was left as it was", .0.len())]
    Unverified(Vec<(PathBuf, String)>),
    /// The new store does not hold what was counted. The old store stands.
    #[error(
        "the new store has {found} parts of scan {scan} where {expected} were counted; the old one was left"
    )]
    Incomplete {
        /// Which scan.
        scan: Uuid,
        /// Parts counted.
        expected: u64,
        /// Parts found again.
        found: u64,
    },
}

/// Makes a new store beside the old one from the evidence alone, every signature checked, counted in the old order;
/// reads it back; puts it in the place of the old one at once. Needs the store to itself.
///
/// With `leave_out_bad`, frames that do not verify are left out and told; without, they end the rebuild.
///
/// # Errors
/// [`Error::Locked`] when the manager is running; then, as with every other error, nothing has changed.
pub fn rebuild(
    layout: &Layout,
    keys: &Keys,
    leave_out_bad: bool,
    progress: &mut dyn FnMut(&Rebuilt),
) -> Result<Rebuilt, Failure> {
    let swap = DuckDb::replace(&layout.results())?;
    let mut rebuilt = Rebuilt::default();
    let store = DuckDb::open(swap.fresh(), Limits::default())?;
    let mut expected: BTreeMap<Uuid, u64> = BTreeMap::new();
    for scan in evidence::Evidence::new(layout.evidence()).scans()? {
        rebuilt.scans += 1;
        for batch in in_order(&scan)?.chunks(BATCH) {
            let mut jobs = BTreeMap::new();
            let mut frames = Vec::with_capacity(batch.len());
            for kept in batch {
                match prove(kept, keys, &mut jobs) {
                    Ok(frame) => frames.push(frame),
                    Err(reason) => rebuilt.bad.push((kept.path.clone(), reason)),
                }
            }
            for (frame, counted) in frames.iter().zip(store.count(&frames)?) {
                if counted.new {
                    let scan = Uuid::from_bytes(*frame.job().job().scan.as_bytes());
                    *expected.entry(scan).or_default() += 1;
                    rebuilt.frames += 1;
                } else {
                    rebuilt.repeated += 1;
                }
            }
            progress(&rebuilt);
        }
    }
    if !rebuilt.bad.is_empty() && !leave_out_bad {
        return Err(Failure::Unverified(rebuilt.bad));
    }
    for (&scan, &expected) in &expected {
        let found = store.parts(scan)?.len() as u64;
        if found != expected {
            return Err(Failure::Incomplete { scan, expected, found });
        }
        rebuilt.open += store.open_ports(&[scan])?.iter().map(|sweep| sweep.open).sum::<u64>();
    }
    store.close()?;
    swap.commit()?;
    Ok(rebuilt)
}

/// The frames of a scan in the order in which they were counted; those that never were come last.
fn in_order(scan: &std::path::Path) -> io::Result<Vec<Kept>> {
    let numbers = evidence::numbers(scan)?;
    let mut frames = Vec::new();
    for kept in evidence::frames(scan)? {
        let bytes = evidence::read(&kept.path)?;
        let number = numbers.get(&hex::encode(&hash(&bytes))).copied().unwrap_or(u64::MAX);
        frames.push((number, kept.path.clone(), kept));
    }
    frames.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    Ok(frames.into_iter().map(|(_, _, kept)| kept).collect())
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(bytes).into()
}

fn prove(kept: &Kept, keys: &Keys, jobs: &mut BTreeMap<PathBuf, JobFrame>) -> Result<Proven, String> {
    let job = if let Some(job) = jobs.get(&kept.job) {
        job.clone()
    } else {
        let job = evidence::job_of(&kept.job).map_err(|error| error.to_string())?;
        if !job.signed_by(&keys.job) {
            return Err("its job does not bear this appliance's signature".to_owned());
        }
        jobs.insert(kept.job.clone(), job.clone());
        job
    };
    let bytes = evidence::read(&kept.path).map_err(|error| error.to_string())?;
    let frame = Frame::parse(bytes).map_err(|refusal| refusal.to_string())?;
    let key = keys.scanners.get(&frame.scanner()).ok_or("its scanner is not known")?;
    frame.prove(key, &job).map_err(|refusal| refusal.to_string())
}

#[cfg(test)]
#[path = "rebuild_test.rs"]
mod test;
