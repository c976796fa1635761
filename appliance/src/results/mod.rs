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
#[cfg(test)]
pub(crate) mod fixture;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portolan_scanner::net::{Ports, Range};
use portolan_scanner::wire::{Reason, Sample, State};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ingest::frame::Proven;
use crate::web::Writer;
use diff::{Change, Counts, Seen};
use portset::Run;
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

/// What became of a frame in [`Store::count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its key was not there yet.
    pub new: bool,
    /// This very frame is what stands under the key: not another with the same key that came before.
    pub same: bool,
    /// Ascends in the order of counting; of what stands under the key.
    pub number: u64,
    /// What it brought; the same however often it is delivered. Of what stands under the key.
    pub brought: Brought,
}

/// What a frame changed of what is known: over all frames of a scan, these sums count every pair of host and port
/// once, whatever the frames say twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// Hosts that its (scan, vantage) did not have yet.
    pub hosts: u64,
    /// Hosts that it had with holes, and now has without.
    pub replaced: u64,
    /// Pairs in one of the four states that a probe finds; less than none, where what was replaced had more.
    pub covered: i64,
    /// Open ports, likewise.
    pub open: i64,
}

/// A frame that was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Hash of the job's frame, in hex.
    pub job: String,
    /// Block of the job.
    pub block: u64,
    /// Part of the block.
    pub part: u32,
    /// Hash of the frame, in hex.
    pub frame: String,
    /// It was the block's last part.
    pub last: bool,
    /// Hosts that were counted of it, and that nobody had brought before.
    pub hosts: u64,
}

/// A scan as seen from one vantage, in sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// From where.
    pub vantage: Uuid,
    /// Hosts that there is word of.
    pub hosts: u64,
    /// Connection attempts.
    pub sent: u64,
    /// When the first probe was sent, by the appliance's clock.
    pub started: Timestamp,
    /// When the last answer came.
    pub ended: Timestamp,
    /// What was found, by reason; reasons that did not occur are left out.
    pub reasons: Vec<OfReason>,
    /// What probing a random sample of it a second time showed.
    pub sample: Sample,
}

/// How much of a sweep has a state for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfReason {
    /// The reason.
    pub reason: Reason,
    /// Pairs of host and port.
    pub probes: u128,
    /// Hosts with at least one such port.
    pub hosts: u64,
}

impl Sweep {
    /// Pairs of host and port with a result.
    pub fn covered(&self) -> u128 {
        self.sum(|reason| reason.state() != State::NotProbed)
    }

    /// Pairs of host and port in one state.
    pub fn in_state(&self, state: State) -> u128 {
        self.sum(|reason| reason.state() == state)
    }

    /// Hosts with at least one port for this reason.
    pub fn hosts_for(&self, reason: Reason) -> u64 {
        self.reasons.iter().find(|of| of.reason == reason).map_or(0, |of| of.hosts)
    }

    fn sum(&self, wanted: impl Fn(Reason) -> bool) -> u128 {
        self.reasons.iter().filter(|of| wanted(of.reason)).map(|of| of.probes).sum()
    }
}

/// Which hosts of a scan; what is `None` does not narrow.
#[derive(Clone, Debug)]
pub struct HostQuery {
    /// The scan.
    pub scan: Uuid,
    /// As seen from there only.
    pub vantage: Option<Uuid>,
    /// Hosts, or ranges of hosts, that touch this range.
    pub within: Option<Range>,
    /// Hosts that were asked about this port.
    pub port: Option<u16>,
    /// Hosts with a port (or, if one is named, that port) in this state.
    pub state: Option<State>,
    /// Hosts with a port (or, if one is named, that port) that has its state for this reason.
    pub reason: Option<Reason>,
    /// Only what comes after this.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: usize,
    /// What open ports said comes along.
    pub hints: bool,
}

impl HostQuery {
    /// All hosts of a scan.
    pub fn of(scan: Uuid) -> Self {
        Self {
            scan,
            vantage: None,
            within: None,
            port: None,
            state: None,
            reason: None,
            after: None,
            limit: STRIDE,
            hints: false,
        }
    }
}

/// Which observations of one host; what is `None` does not narrow.
#[derive(Clone, Debug)]
pub struct SeenQuery {
    /// The host.
    pub address: u128,
    /// In this scan only.
    pub scan: Option<Uuid>,
    /// From each vantage the newest only.
    pub newest: bool,
    /// Only what comes after this.
    pub after: Option<Moment>,
    /// At most so many.
    pub limit: usize,
}

impl SeenQuery {
    /// The newest observations of a host, in whatever scan.
    pub fn of(address: u128, limit: usize) -> Self {
        Self { address, scan: None, newest: false, after: None, limit }
    }
}

/// A place in the order of [`Store::host`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When the block of the host was ended.
    pub ended: Timestamp,
    /// The store's own number for (scan, vantage).
    pub sweep: i32,
}

/// A place in the order of [`Store::hosts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First address of the entry.
    pub address: u128,
    /// The store's own number for (scan, vantage).
    pub sweep: i32,
}

/// What was seen of one host, or of a range of hosts that are all alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The store's own number for (scan, vantage).
    pub sweep: i32,
    /// In which scan.
    pub scan: Uuid,
    /// From where.
    pub vantage: Uuid,
    /// The hosts.
    pub hosts: Range,
    /// The ports asked about.
    pub ports: Arc<Ports>,
    /// State and reason of every port that neither `runs` nor `open` names.
    pub base: Reason,
    /// How many ports that is.
    pub rest: u16,
    /// Runs of ports in another state, ascending.
    pub runs: Vec<(Run, Reason)>,
    /// Open ports, ascending.
    pub open: Vec<OpenPort>,
    /// What some of them said of themselves, ascending by port.
    pub hints: Vec<Hint>,
    /// When the block of these hosts was begun, by the appliance's clock.
    pub started: Timestamp,
    /// When it was ended.
    pub ended: Timestamp,
}

/// One open port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenPort {
    /// The port.
    pub port: u16,
    /// How long the answer took, in µs.
    pub rtt_us: u32,
}

/// What an open port said of itself. Texts are escaped as in the frame: printable ASCII. Nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The port.
    pub port: u16,
    /// What was learned there.
    pub said: Said,
}

/// What was learned of an open port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The beginning of what it said unasked.
    Banner(String),
    /// The certificate that it showed.
    Certificate(Certificate),
}

/// The leaf certificate of a TLS server; what could not be read of it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 over the certificate (DER), hex.
    pub sha256: String,
    /// When it expires.
    pub expires: Option<Timestamp>,
    /// Its subject, as RFC 4514 writes it.
    pub subject: Option<String>,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
}

/// A hint that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hinted {
    /// In which scan.
    pub scan: Uuid,
    /// From where.
    pub vantage: Uuid,
    /// Of which host.
    pub address: u128,
    /// When the block of this host was ended, by the appliance's clock.
    pub ended: Timestamp,
    /// What it said.
    pub hint: Hint,
}

impl Observation {
    /// Where it stands in the order of [`Store::hosts`].
    pub fn place(&self) -> Place {
        Place { address: self.hosts.first, sweep: self.sweep }
    }

    /// Where it stands in the order of [`Store::host`].
    pub fn moment(&self) -> Moment {
        Moment { ended: self.ended, sweep: self.sweep }
    }

    /// What an open port said.
    pub fn hint(&self, port: u16) -> Option<&Hint> {
        let at = self.hints.binary_search_by_key(&port, |hint| hint.port).ok()?;
        self.hints.get(at)
    }

    /// All runs but the base, open ports among them, ascending.
    pub fn exceptions(&self) -> Vec<(Run, Reason)> {
        let open = self.open.iter().map(|open| ((open.port, open.port), Reason::SynAck));
        let mut all: Vec<_> = self.runs.iter().copied().chain(open).collect();
        all.sort_unstable();
        all
    }

    /// The ports by reason, each port once: what is true of each of the hosts.
    pub fn by_reason(&self) -> Vec<(Reason, Ports)> {
        let all = portset::runs(&self.ports);
        let mut groups = std::collections::BTreeMap::<Reason, Vec<Run>>::new();
        let mut named = Vec::new();
        for (run, reason) in self.exceptions() {
            let ports = portset::within(&all, run);
            for piece in ports {
                named.push(piece);
                groups.entry(reason).or_default().push(piece);
            }
        }
        if self.rest > 0 {
            groups.entry(self.base).or_default().extend(portset::subtract(&all, &named));
        }
        groups.into_iter().map(|(reason, runs)| (reason, portset::ports(&runs))).collect()
    }

    fn seen(self) -> Seen {
        let exceptions = self.exceptions().into_iter().map(|(run, reason)| (run, reason.state())).collect();
        let Range { first, last } = self.hosts;
        Seen { first, last, ports: self.ports, base: self.base.state(), exceptions }
    }
}

/// Open ports of one scan from one vantage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenPorts {
    /// The scan.
    pub scan: Uuid,
    /// The vantage.
    pub vantage: Uuid,
    /// Open ports.
    pub open: u64,
    /// Hosts with at least one.
    pub hosts: u64,
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
