//! The one door by which results come in, over the network as on a stick.
//!
//! ```text
//! let frame = Frame::parse(bytes)?;                       // pure, strict, bounded
//! let key   = …frame.scanner()…;                          // ingest: jobs.db; import: config.db
//! let job   = JobFrame::parse(…frame.job()…)?;
//! let receipt = accept(&spool, frame, &key, &job, now)?;  // blocks: writes and syncs
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
/// them up where it may. `brought` is how many bytes of this job were accepted before.
///
/// # Errors
/// [`Error::Refused`] when the frame does not hold, [`Error::OverBudget`], [`Error::NotKept`] when the disk does not.
pub fn accept(
    spool: &Spool,
    frame: Frame,
    key: &[u8; 32],
    job: &JobFrame,
    brought: u64,
    now: Timestamp,
) -> Result<Receipt, Error> {
    let proven = frame.prove(key, job)?;
    let budget = job.budget();
    if brought.saturating_add(proven.frame().bytes().len() as u64) > budget {
        return Err(Error::OverBudget(budget));
    }
    spool.put(proven.frame().hash(), proven.frame().bytes())?;
    Ok(Receipt { frame: proven.frame().hash(), accepted: now.micros() })
}

#[cfg(test)]
#[path = "accept_test.rs"]
mod test;
