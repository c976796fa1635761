//! The results store on DuckDB: one file, opened by one process (the manager), an index over the evidence.

mod filter;
mod hint;
mod migrate;
mod place;
mod read;
mod replace;
mod tally;
mod write;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::duckdb::{AccessMode, Config, Connection};
use portolan_scanner::net::Range;
use uuid::Uuid;

use super::{Counted, Error, Hinted, HostQuery, Observation, OpenPorts, Part, SeenQuery, Store, Sweep};
use crate::ingest::frame::Proven;
pub use migrate::known as known_schema;
use place::Claim;
pub use place::Replacement;

/// How much of the machine the store may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory in MiB; beyond it DuckDB spills into a folder beside the file.
    pub memory_mib: u32,
    /// Threads of one query.
    pub threads: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self { memory_mib: 1024, threads: u32::try_from(threads).unwrap_or(2) }
    }
}

/// A [`Store`] in one DuckDB file.
pub struct DuckDb {
    /// Makes the connections of readers: each sees the store as it was when its query began.
    readers: Mutex<Connection>,
    writer: Mutex<write::Writer>,
    /// Held while the file is open.
    _claim: Option<Claim>,
}

impl DuckDb {
    /// Opens the file, making it if need be, and brings its schema up to date.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, [`Error::Newer`] when a newer Portolan made it.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, Error> {
        let claim = Claim::take(path)?;
        Self::with(open(Some(path), limits)?, Some(claim))
    }

    /// A store in memory, gone when dropped.
    ///
    /// # Errors
    /// When DuckDB cannot start.
    pub fn in_memory() -> Result<Self, Error> {
        Self::with(open(None, Limits { memory_mib: 256, threads: 1 })?, None)
    }

    fn with(mut writer: Connection, claim: Option<Claim>) -> Result<Self, Error> {
        migrate::run(&mut writer)?;
        let readers = Mutex::new(writer.try_clone()?);
        Ok(Self { readers, writer: Mutex::new(write::Writer::new(writer)), _claim: claim })
    }

    /// Begins to make a new store in the place of the one at `path`, which nobody has open meanwhile.
    ///
    /// # Errors
    /// [`Error::Locked`] when someone has.
    pub fn replace(path: &Path) -> Result<Replacement, Error> {
        Replacement::begin(path)
    }

    /// Closes the store so that its one file holds everything.
    ///
    /// # Errors
    /// When DuckDB cannot write it.
    pub fn close(self) -> Result<(), Error> {
        self.reader()?.execute_batch("CHECKPOINT")?;
        Ok(())
    }

    fn reader(&self) -> Result<Connection, Error> {
        Ok(self.readers.lock().unwrap_or_else(PoisonError::into_inner).try_clone()?)
    }

    fn writer(&self) -> MutexGuard<'_, write::Writer> {
        self.writer.lock().unwrap_or_else(|poisoned| {
            // A panic in the middle of a batch: the transaction is gone, so what was remembered of it goes too.
            let mut writer = poisoned.into_inner();
            writer.forget();
            writer
        })
    }
}

/// The one place where DuckDB is opened: no extension is loaded or fetched, no file but its own is touched, and no
/// later statement can change that.
fn open(path: Option<&Path>, limits: Limits) -> Result<Connection, Error> {
    let config = Config::default()
        .access_mode(AccessMode::ReadWrite)?
        .enable_autoload_extension(false)?
        .enable_external_access(false)?
        .with("allow_community_extensions", "false")?
        .max_memory(&format!("{}MiB", limits.memory_mib))?
        .threads(i64::from(limits.threads))?
        // Rows come in the order that a query names, or in none.
        .with("preserve_insertion_order", "false")?;
    let connection = match path {
        Some(path) => {
            Connection::open_with_flags(path, config).map_err(|error| Error::opening(path, error))?
        }
        None => Connection::open_in_memory_with_flags(config)?,
    };
    connection.execute_batch("SET lock_configuration = true")?;
    Ok(connection)
}

impl Store for DuckDb {
    fn count(&self, frames: &[Proven]) -> Result<Vec<Counted>, Error> {
        self.writer().count(frames)
    }

    fn parts(&self, scan: Uuid) -> Result<Vec<Part>, Error> {
        read::parts(&self.reader()?, scan)
    }

    fn sweeps(&self, scan: Uuid) -> Result<Vec<Sweep>, Error> {
        read::sweeps(&self.reader()?, scan)
    }

    fn covered(&self, scan: Uuid, vantage: Uuid) -> Result<Vec<Range>, Error> {
        read::covered(&self.reader()?, scan, vantage)
    }

    fn hosts(&self, query: &HostQuery) -> Result<Vec<Observation>, Error> {
        read::hosts(&self.reader()?, query)
    }

    fn hosts_total(&self, query: &HostQuery) -> Result<u64, Error> {
        read::hosts_total(&self.reader()?, query)
    }

    fn host(&self, query: &SeenQuery) -> Result<Vec<Observation>, Error> {
        read::host(&self.reader()?, query)
    }

    fn host_total(&self, query: &SeenQuery) -> Result<u64, Error> {
        read::host_total(&self.reader()?, query)
    }

    fn open_ports(&self, scans: &[Uuid]) -> Result<Vec<OpenPorts>, Error> {
        read::open_ports(&self.reader()?, scans)
    }

    fn hints(&self, text: &str, limit: usize) -> Result<Vec<Hinted>, Error> {
        hint::find(&self.reader()?, text, limit)
    }
}

/// The two halves of an address, as the store keeps it.
fn halves(address: u128) -> (u64, u64) {
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).expect("cut to 64 bits");
    (half(address >> 64), half(address))
}

/// The address of two halves.
fn address(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

#[cfg(test)]
#[path = "duckdb_test.rs"]
mod test;
