//! The fleet: vantages (places in the network), and the scanners that stand in them.
//!
//! A scanner is added by name; its one-time token is shown once. With it the scanner enrols itself
//! ([`enrolment`]), over the ingest role, which knows of all this only what [`projection`] puts into jobs.db.

pub mod enrolment;
mod input;
mod projection;
mod refusals;

mod scanner;
mod store;
mod task;
mod vantage;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::ids::{Ids, Random};
use crate::jobs::Jobs;
use crate::store::Store;
use crate::tls::{Ca, host_name};

pub use input::{NewScanner, NewVantage, ScannerEdit, VantageEdit};
pub use scanner::{Enrolment, OFFLINE_AFTER, Presence, Scanner, TOKEN_LIFETIME};
pub use store::{Named, Placed, placed};
pub use task::manager_task;
pub use vantage::Vantage;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    parts: Parts,
    /// One projection at a time, so that an older state is never written over a newer one.
    projecting: Mutex<()>,
}

/// What the service is made from.
pub struct Parts {
    /// Tells the time.
    pub clock: Clock,
    /// Makes ids.
    pub ids: Ids,
    /// Makes tokens.
    pub random: Random,
    /// config.db.
    pub store: Store,
    /// jobs.db.
    pub jobs: Jobs,
    /// Issues the scanners' certificates.
    pub ca: Arc<Ca>,
    /// The public half of the key that signs jobs: a scanner learns it when it enrols.
    pub job_key: [u8; 32],
    /// Where scanners reach ingest, as [`public_address`] says it: it stands in the enrolment command.
    pub address: String,
}

impl Fleet {
    /// The service.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner { parts, projecting: Mutex::default() }))
    }

    /// Where scanners reach ingest, as `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.parts.address
    }
}

/// Where scanners reach ingest, as `host:port`: by the name the administrator gave the appliance, else at the address
/// that ingest listens on, else (it listens on all) by this machine's name. Never by what a request's `Host` says.
#[must_use]
pub fn public_address(public_name: Option<&str>, listener: SocketAddr) -> String {
    let port = listener.port();
    let host = match (public_name, listener.ip()) {
        (Some(name), _) => match name.parse() {
            Ok(std::net::IpAddr::V6(address)) => format!("[{address}]"),
            _ => name.to_owned(),
        },
        (None, ip) if ip.is_unspecified() => host_name().unwrap_or_else(|| "localhost".to_owned()),
        (None, std::net::IpAddr::V6(address)) => format!("[{address}]"),
        (None, ip) => ip.to_string(),
    };
    format!("{host}:{port}")
}
