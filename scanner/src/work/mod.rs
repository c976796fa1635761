//! Work for an appliance, whatever carries it: a signed job goes in, signed results wait in a spool on disk.
//!
//! The process that works here holds the scanner's key; what probes is a child process without it.

pub mod child;
pub(crate) mod clock;
mod error;
pub(crate) mod folder;
pub(crate) mod journal;
mod keeper;
pub(crate) mod options;
pub(crate) mod run;
pub(crate) mod spool;
#[cfg(test)]
pub(crate) mod testing;

pub use error::Error;

use std::ffi::OsString;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::crypto::Identity;
use crate::net::Ranges;

/// What may wait in the spool before probing stops, in bytes: some days of the appliance being away. The disk is not
/// the scanner's alone.
pub(crate) const MOST_KEPT: u64 = 256 << 20;

/// What a job at work needs.
pub(crate) struct Desk<'a> {
    pub spool: &'a spool::Spool,
    pub clock: &'a clock::Clock,
    pub identity: &'a Identity,
    /// The command that starts a probe.
    pub probe: &'a [OsString],
    /// So many bytes may wait in the spool before the probe rests.
    pub most_kept: u64,
    /// Whether everything is to end.
    pub stopping: &'a dyn Fn() -> bool,
    /// The addresses of the appliance, which are probed only if the job says so.
    pub appliance: &'a dyn Fn() -> Ranges,
}

/// The command that starts a probe: this program. `never_scan` is a list beside the machine's own.
pub(crate) fn probe(never_scan: Option<String>) -> Vec<OsString> {
    let mut command: Vec<OsString> = ["/proc/self/exe", "probe", "--job", "-"].map(Into::into).into();
    command.extend(never_scan.into_iter().flat_map(|file| ["--never-scan".into(), file.into()]));
    command
}

/// What a mutex holds; that a thread panicked that held it does not matter here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says something to whoever reads the log.
pub(crate) fn say(text: impl std::fmt::Display) {
    crate::say!("portolan-scanner: {text}");
}
