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

use crate::args::Args;
use crate::work::say;

/// The version that this scanner tells the appliance.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The help of the subcommand `enrol`.
pub const ENROL_HELP: &str = "\
Usage: portolan-scanner enrol --appliance HOST:PORT (--ca FILE | --ca-sha256 HEX) --job-key BASE64
                              --token TOKEN --dir DIR

Makes this scanner's key in DIR, proves it to the appliance with the one-time token, and keeps what the appliance
gives: a client certificate and an API key.

  --appliance HOST:PORT  where the appliance listens for scanners (port 8443 if none is given)
  --ca FILE              the appliance's CA certificate (PEM or DER)
  --ca-sha256 HEX        or the SHA-256 of that certificate's DER, as the appliance's page shows it
  --job-key BASE64       the key that signs jobs, as the page shows it: jobs signed by another are refused
  --token TOKEN          the one-time token; \"-\" reads it from standard input; else PORTOLAN_TOKEN is taken
  --dir DIR              the scanner's folder; made if it is not there
";

/// The help of the subcommand `run`.
pub const RUN_HELP: &str = "\
Usage: portolan-scanner run --dir DIR [--never-scan FILE]

Asks the appliance for jobs, runs them, and sends what was seen. Ends in order on SIGTERM; what is not yet sent
stays in DIR and is sent at the next start.

  --dir DIR              the folder that `enrol` made
  --never-scan FILE      addresses that no job may probe, beside those of /etc/portolan/never-scan
";

/// The subcommand `enrol`. `stop` says whether the process was asked to end.
///
/// # Errors
/// One sentence that says what to do.
pub fn enrol(args: Args, stop: fn() -> bool) -> Result<(), Error> {
    enrolment::enrol(args, stop)
}

/// The subcommand `run`. `stop` says whether the process was asked to end; that is no error.
///
/// # Errors
/// One sentence that says what to do.
pub fn run(args: Args, stop: fn() -> bool) -> Result<(), Error> {
    session::run(args, stop)
}
