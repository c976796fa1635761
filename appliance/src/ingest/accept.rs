//! The one door by which results come in, over the network as on a stick.
//!
//! ```text
//! let frame = Frame::parse(bytes)?;                       // pure, strict, bounded
//! let key   = …frame.scanner()…;                          // ingest: jobs.db; import: config.db
//! let job   = JobFrame::parse(…frame.job()…)?;
//! let receipt = accept(&spool, frame, &key, &job, before, now)?;  // blocks: writes and syncs
//! ```
//! When there is a receipt, the frame is on disk. A frame that comes again gets another receipt and changes nothing.

use std::io;

use portolan_scanner::wire::Receipt;

use super::frame::{Frame, JobFrame, Refusal};
use super::spool::Spool;
use crate::clock::Timestamp;

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The frame is wrong: sending it again will not help.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its job has brought more bytes than its results can come to: no further frame of it is taken.
    #[error("this job has brought more than its results can come to ({0} bytes)")]
    OverBudget(u64),
    /// The appliance could not keep it (a full disk): sending it again later will.
    #[error("the frame could not be kept: {0}")]
    NotKept(#[from] io::Error),
}

/// Proves a frame and puts it into the spool. Blocks; the receipt is only made when the frame outlasts a power cut.
///
/// `key` is the Ed25519 public key of the scanner that the frame names, `job` the job that it names: the caller looks
/// them up where it may, with what came of that job before.
///
/// # Errors
/// [`Error::Refused`] when the frame does not hold, [`Error::OverBudget`], [`Error::NotKept`] when the disk does not.
pub fn accept(
    spool: &Spool,
    frame: Frame,
    key: &[u8; 32],
    job: &JobFrame,
    before: Before,
    now: Timestamp,
) -> Result<Receipt, Error> {
    let proven = frame.prove(key, job)?;
    let receipt = Receipt { frame: proven.frame().hash(), accepted: now.micros() };
    // Its first receipt was lost on the way: it takes no room, and is not to be loaded once more.
    if before.kept {
        return Ok(receipt);
    }
    let budget = job.budget();
    if before.bytes.saturating_add(proven.frame().bytes().len() as u64) > budget {
        return Err(Error::OverBudget(budget));
    }
    spool.put(proven.frame().hash(), proven.frame().bytes())?;
    Ok(receipt)
}

/// What was accepted of a job before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before {
    /// How many bytes, in frames that differ.
    pub bytes: u64,
    /// This very frame is among them: it was kept, and outlasts a power cut.
    pub kept: bool,
}

#[cfg(test)]
#[path = "accept_test.rs"]
mod test;
