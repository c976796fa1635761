//! A results frame on its way in: taken apart, then proven. Pure; both doors and the loader use nothing else.

use std::sync::Arc;

use portolan_scanner::wire::{self, Id, Job, Results, hex};
use sha2::{Digest, Sha256};

use crate::secrets::signing;

/// Why a frame is not taken. The sentence is for whoever sent it: it tells nothing they do not know.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Larger than any frame may be.
    #[error("the frame has {0} bytes, {max} are allowed", max = wire::MAX_FRAME)]
    TooLarge(usize),
    /// Not a frame, or not in its one spelling.
    #[error("not a results frame: {0}")]
    Malformed(wire::Error),
    /// Nobody enrolled is of that id, or it is not the caller.
    #[error("the frame names scanner {0}, which may not deliver here")]
    UnknownScanner(Id),
    /// Signed by another key than that scanner's, or changed on the way.
    #[error("the signature is not that of scanner {0}")]
    BadSignature(Id),
    /// The job it answers was never given out.
    #[error("no job has the hash {0}")]
    UnknownJob(String),
    /// The job was given to another scanner.
    #[error("job {0} was not given to this scanner")]
    WrongScanner(Id),
    /// The job itself is not one that this appliance signed.
    #[error("job {0} does not bear this appliance's signature")]
    BadJob(String),
    /// It says something that does not fit the job.
    #[error("the frame does not fit its job: {0}")]
    Mismatch(wire::Error),
}

impl Refusal {
    /// One word for the answer, the audit and the count of a flood.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too-large",
            Self::Malformed(_) => "malformed",
            Self::UnknownScanner(_) => "unknown-scanner",
            Self::BadSignature(_) => "bad-signature",
            Self::UnknownJob(_) => "unknown-job",
            Self::WrongScanner(_) => "wrong-scanner",
            Self::BadJob(_) => "bad-job",
            Self::Mismatch(_) => "mismatch",
        }
    }
}

/// A results frame as it came: well formed, not yet believed.
#[derive(Clone, Debug)]
pub struct Frame {
    bytes: Vec<u8>,
    hash: [u8; 32],
    results: Results,
}

impl Frame {
    /// Takes a frame apart, strictly: one spelling, one size limit.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], [`Refusal::Malformed`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Refusal> {
        if bytes.len() > wire::MAX_FRAME {
            return Err(Refusal::TooLarge(bytes.len()));
        }
        let signed = wire::split(&bytes).map_err(Refusal::Malformed)?;
        let results = Results::decode(signed.text).map_err(Refusal::Malformed)?;
        let hash = Sha256::digest(&bytes).into();
        Ok(Self { bytes, hash, results })
    }

    /// The whole frame, signature line included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 over the whole frame: its name in the spool and in the receipt.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The scanner it says it is from.
    pub fn scanner(&self) -> Id {
        self.results.scanner
    }

    /// The hash of the job it says it answers, in hex.
    pub fn job(&self) -> String {
        hex::encode(&self.results.job)
    }

    /// Believes the frame, if this key signed it and it answers this job.
    ///
    /// `key` is the Ed25519 public key of [`Self::scanner`], `job` the frame of [`Self::job`].
    ///
    /// # Errors
    /// Whatever does not hold.
    pub fn prove(self, key: &[u8; 32], job: &JobFrame) -> Result<Proven, Refusal> {
        let scanner = self.results.scanner;
        if !holds(&self.bytes, key) {
            return Err(Refusal::BadSignature(scanner));
        }
        if job.hash != self.results.job {
            return Err(Refusal::UnknownJob(self.job()));
        }
        if job.job.scanner != scanner {
            return Err(Refusal::WrongScanner(job.job.id));
        }
        self.results.check_against(&job.job).map_err(Refusal::Mismatch)?;
        Ok(Proven { frame: self, job: job.clone() })
    }
}

/// What the results of any job may come to, in bytes, and what each of its probes and blocks adds: a line for an open
/// port, and a frame's header; with hints, what they may add to a frame.
const MOST_SMALL: u64 = 16 << 20;
const PROBE_BYTES: u64 = 48;
const BLOCK_BYTES: u64 = 16 << 10;
const HINT_BYTES: u64 = wire::hint::MAX_HINTS as u64;

/// A job as it was given out. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JobFrame {
    text: Arc<str>,
    hash: [u8; 32],
    job: Arc<Job>,
}

impl JobFrame {
    /// Takes a job's frame apart. Its signature is [`Self::signed_by`]'s matter.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let signed = wire::split(text.as_bytes()).map_err(Refusal::Malformed)?;
        let job = Job::decode(signed.text).map_err(Refusal::Malformed)?;
        Ok(Self { text: text.into(), hash: Sha256::digest(text).into(), job: Arc::new(job) })
    }

    /// Whether this key (the appliance's, for jobs) signed it.
    pub fn signed_by(&self, key: &[u8; 32]) -> bool {
        holds(self.text.as_bytes(), key)
    }

    /// The whole frame.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 over the whole frame, in hex: what results name.
    pub fn hash(&self) -> String {
        hex::encode(&self.hash)
    }

    /// What it says.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// How many bytes its results may have in all, in frames that differ: twice what they can come to, as a scanner
    /// probes a block anew after a crash. More would only fill the disk.
    pub fn budget(&self) -> u64 {
        let probes = u64::try_from(self.job.probes()).unwrap_or(u64::MAX);
        let per_block = BLOCK_BYTES + if self.job.hints { HINT_BYTES } else { 0 };
        let once =
            probes.saturating_mul(PROBE_BYTES).saturating_add(self.job.blocks().saturating_mul(per_block));
        once.saturating_mul(2).saturating_add(MOST_SMALL)
    }
}

/// A results frame whose signature holds and that fits its job.
#[derive(Clone, Debug)]
pub struct Proven {
    frame: Frame,
    job: JobFrame,
}

impl Proven {
    /// The frame.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// What it says.
    pub fn results(&self) -> &Results {
        &self.frame.results
    }

    /// The job it answers.
    pub fn job(&self) -> &JobFrame {
        &self.job
    }
}

fn holds(frame: &[u8], key: &[u8; 32]) -> bool {
    wire::split(frame).is_ok_and(|signed| signing::verify(key, signed.text.as_bytes(), &signed.signature))
}
