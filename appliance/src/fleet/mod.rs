//! The fleet: vantages (places in the network), and the scanners that stand in them.
//!
//! A scanner is added by name; its one-time token is shown once. With it the scanner enrols itself
//! ([`enrolment`]), over the ingest role, which knows of all this only what [`projection`] puts into jobs.db.

pub mod enrolment;
mod input;
mod list;
mod projection;
mod refusals;
pub mod routes;

mod scanner;
mod store;
mod task;
#[cfg(test)]
mod tests;
mod vantage;

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::ids::{Ids, Random};
use crate::jobs::Jobs;
use crate::releases::Releases;
use crate::store::Store;
use crate::tls::Ca;

pub use input::{ScannerInput, VantageInput};
pub use scanner::{Enrolment, OFFLINE_AFTER, Presence, Scanner, TOKEN_LIFETIME};
pub use store::{Placed, able, placed, public_keys};
pub use task::manager_task;
pub use vantage::{Standing, Vantage};

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
    pub ca: Authority,
    /// The public half of the key that signs jobs. A scanner gets it in the enrolment command, past ingest, which
    /// could otherwise name a key of its own and be obeyed.
    pub job_key: [u8; 32],
    /// Where scanners reach ingest, as `host:port`: it stands in the enrolment command. From the administrator or the
    /// listener, never from a request.
    pub address: String,
    /// The program that a scanner is installed from.
    pub releases: Releases,
}

/// The CA, as far as it is known here.
pub enum Authority {
    /// With its key: in the manager.
    Whole(Arc<Ca>),
    /// SHA-256 of its certificate, hex. It is enough to offer a token; who has no more performs no enrolment.
    Known(String),
}

impl Authority {
    /// SHA-256 of the certificate's DER, hex.
    fn fingerprint(&self) -> String {
        match self {
            Self::Whole(ca) => ca.fingerprint(),
            Self::Known(fingerprint) => fingerprint.clone(),
        }
    }

    fn whole(&self) -> Result<Arc<Ca>> {
        match self {
            Self::Whole(ca) => Ok(Arc::clone(ca)),
            Self::Known(_) => {
                Err(Error::internal("enrolments are the manager's, which has the key of the CA"))
            }
        }
    }
}

impl Fleet {
    /// The service.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner { parts, projecting: Mutex::default() }))
    }
}
