//! The link to an appliance: enrol once, then run.
//!
//! This process holds the keys and talks to the appliance only; what probes is a child process without either.
//! Results are on disk before they are sent and leave it only when the appliance has said that it has them.

mod api;
mod backoff;
mod connection;
mod enrolment;
pub mod http;
mod runner;
mod sender;
mod session;
mod settings;
#[cfg(test)]
pub(crate) mod testing;

pub use crate::work::Error;
pub use enrolment::enrol;
pub use session::run;

use crate::work::say;

/// The version that this scanner tells the appliance.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
