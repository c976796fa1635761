//! What was seen: the index over the frames, and what is asked of it.
//!
//! A frame is the record and lies in `evidence/`; the store behind [`Store`] can be made anew from there. Only the
//! manager opens it.

pub mod compare;
pub mod coverage;
pub mod diff;
pub mod duckdb;
pub mod evidence;
pub mod export;
pub mod keys;
pub mod loader;
pub mod portset;
pub mod rebuild;
pub mod recall;
pub mod routes;
pub mod view;

mod aside;
mod code;
mod counted;
#[cfg(test)]
pub(crate) mod fixture;
mod observation;
mod query;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portolan_scanner::net::Range;
use uuid::Uuid;

use crate::ingest::frame::Proven;
use crate::web::Writer;
pub use counted::{Brought, Counted, OfReason, OpenPorts, Part, Sweep};
use diff::{Change, Counts};
pub use observation::{Certificate, Hint, Hinted, Observation, OpenPort, Said};
pub use query::{HostQuery, Moment, Place, SeenQuery};
pub use walk::diff_scans;

/// Hosts read at once while a scan is walked from end to end.
const STRIDE: usize = 100_000;

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds the file.
    #[error("the results store {0} is open in another process; is the manager running?")]
    Locked(PathBuf),
    /// A newer Portolan made it.
    #[error("the results store is of version {found}, this Portolan knows {known}: install the newer one")]
    Newer {
        /// Version of the file.
        found: i64,
        /// Newest version that this program knows.
        known: i64,
    },
    /// There is something in it that this program did not write.
    #[error("the results store holds what is not {0}; make it anew with `portolan results rebuild`")]
    Broken(&'static str),
    /// What is written has no reader any more.
    #[error("the answer is not read any more: {0}")]
    Unread(#[from] std::io::Error),
    /// A migration failed.
    #[error("the results store cannot be brought up to date: {0}")]
    Migration(#[from] refinery_core::Error),
    /// DuckDB failed.
    #[error("results store: {0}")]
    DuckDb(#[from] ::duckdb::Error),
    /// A folder or file beside the store failed.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
}

impl Error {
    fn opening(path: &Path, error: ::duckdb::Error) -> Self {
        if error.to_string().contains("lock") { Self::Locked(path.to_owned()) } else { Self::DuckDb(error) }
    }
}

impl From<Error> for crate::error::Error {
    fn from(error: Error) -> Self {
        Self::internal(error)
    }
}

/// Where results are kept. One process, many threads; every method blocks.
///
/// The methods are all that the rest of Portolan knows of it, so that another database can stand behind them.
pub trait Store: Send + Sync {
    /// Counts proven frames, in this order, all or none of them: when it returns, they outlast a power cut.
    ///
    /// A frame's key is (job hash, block, part): one whose key is there already changes nothing. Of a new one, those
    /// hosts are counted that its (scan, vantage) does not have yet, whichever job brought them: the first delivery
    /// of a host counts, exactly once. But a host of which some port's turn had not come (cancelled, expired, or the
    /// scanner at a limit of its own) gives way to the first delivery of it where every port's had. Answers in the order
    /// of the frames.
    ///
    /// # Errors
    /// Then nothing of the batch is counted.
    fn count(&self, frames: &[Proven]) -> Result<Vec<Counted>, Error>;

    /// Every part counted for a scan, in the order of counting.
    ///
    /// # Errors
    /// When the store fails, here and in all that follow.
    fn parts(&self, scan: Uuid) -> Result<Vec<Part>, Error>;

    /// What a scan brought, one entry a vantage; probes are exact. Empty for a scan that brought nothing.
    ///
    /// # Errors
    /// When the store fails.
    fn sweeps(&self, scan: Uuid) -> Result<Vec<Sweep>, Error>;

    /// The hosts that a scan brought word of from one vantage: ascending, disjoint, neighbours joined.
    ///
    /// # Errors
    /// When the store fails.
    fn covered(&self, scan: Uuid, vantage: Uuid) -> Result<Vec<Range>, Error>;

    /// The hosts of a scan that match, ascending by address, then in one fixed order of vantages, at most
    /// `query.limit`. Hosts in one state come as a range where they were delivered as one. The next page begins
    /// after [`Observation::place`] of the last.
    ///
    /// # Errors
    /// When the store fails.
    fn hosts(&self, query: &HostQuery) -> Result<Vec<Observation>, Error>;

    /// How many entries [`Self::hosts`] has over all pages, whatever `after` and `limit` say.
    ///
    /// # Errors
    /// When the store fails.
    fn hosts_total(&self, query: &HostQuery) -> Result<u64, Error>;

    /// What was seen of one host, newest first, at most `query.limit`. The next page begins after
    /// [`Observation::moment`] of the last.
    ///
    /// # Errors
    /// When the store fails.
    fn host(&self, query: &SeenQuery) -> Result<Vec<Observation>, Error>;

    /// How many entries [`Self::host`] has over all pages, whatever `after` and `limit` say.
    ///
    /// # Errors
    /// When the store fails.
    fn host_total(&self, query: &SeenQuery) -> Result<u64, Error>;

    /// Open ports by scan and vantage, for those of these scans that brought anything.
    ///
    /// # Errors
    /// When the store fails.
    fn open_ports(&self, scans: &[Uuid]) -> Result<Vec<OpenPorts>, Error>;

    /// Open ports that say a text of themselves, in any case, or of which a text is in subject, names or hash of the
    /// certificate: of each (vantage, address, port) the newest word, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the store fails.
    fn hints(&self, text: &str, limit: usize) -> Result<Vec<Hinted>, Error>;
}

/// What the rest of Portolan asks of results. Cheap to clone; nothing here blocks the caller's thread.
#[derive(Clone)]
pub struct ResultsService {
    store: Arc<dyn Store>,
}

impl ResultsService {
    /// The service over a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Asks the store on the blocking pool.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, crate::error::Error> {
        let store = self.store.clone();
        Ok(crate::blocking::run(move || question(&*store)).await??)
    }

    /// A file's work, which asks the store while it writes.
    pub fn writing(
        &self,
        work: impl FnOnce(&dyn Store, &mut Writer) -> Result<(), Error> + Send + 'static,
    ) -> impl FnOnce(&mut Writer) -> Result<(), Error> + Send + 'static {
        let store = self.store.clone();
        move |to| work(&*store, to)
    }

    /// What changed from scan `before` to scan `after`, one vantage after the other. `emit` puts the changes
    /// `into` whatever is to hold them, on the blocking pool; it is given back when all is done.
    ///
    /// # Errors
    /// When the store fails, or the first error of `emit`.
    pub async fn diff<T: Send + 'static>(
        &self,
        before: Uuid,
        after: Uuid,
        mut into: T,
        mut emit: impl FnMut(&mut T, Uuid, Change) -> Result<(), Error> + Send + 'static,
    ) -> Result<(Vec<(Uuid, Counts)>, T), crate::error::Error> {
        self.ask(move |store| {
            let counts =
                diff_scans(store, before, after, |vantage, change| emit(&mut into, vantage, change))?;
            Ok((counts, into))
        })
        .await
    }
}
