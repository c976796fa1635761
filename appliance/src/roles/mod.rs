//! `portolan serve`: the roles, in one process or each in its own. They share SQLite files and folders, no memory.

mod dispatcher;
mod ingest;
mod kept;
mod manager;
mod onlookers;
mod stop;
mod supervisor;

use crate::error::Error;
use crate::layout::Layout;
use crate::releases::gate::{self, Build};
use crate::web::Listener;
use clap::{Args, ValueEnum};
pub use kept::Heartbeat;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
pub use stop::{Asker, Stop};
use supervisor::{Sockets, Supervisor};
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

/// How long ingest and dispatcher wait at start for what the manager makes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The exit code of a program whose own signature does not hold (`RestartPreventExitStatus=` of the units).
const UNSIGNED: u8 = 77;

/// What `portolan serve` takes.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// The data folder.
    #[arg(long, default_value = "/var/lib/portolan")]
    data: PathBuf,
    /// Run this role only; all of them when absent.
    #[arg(long)]
    role: Option<Role>,
    /// Where pages and API are served (manager).
    #[arg(long, default_value = "[::]:443", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Where scanners connect (ingest).
    #[arg(long, default_value = "[::]:8443", value_name = "ADDRESS:PORT")]
    scanner_listen: SocketAddr,
    /// A name or address this machine is reached by; goes into the certificate of the pages. May be repeated, or be
    /// several with commas between.
    #[arg(long = "name", value_name = "NAME", env = "PORTOLAN_NAME", value_delimiter = ',')]
    names: Vec<String>,
    /// What a scanner is told to dial; the first --name (else the address of --scanner-listen, else this host's
    /// name) with the port of --scanner-listen when absent.
    #[arg(long, value_name = "NAME:PORT", env = "PORTOLAN_SCANNER_ADDRESS")]
    scanner_address: Option<String>,
    /// The folder of the scanner's release, which the pages hand out; releases/ in the data folder when absent.
    #[arg(long, value_name = "DIR", env = "PORTOLAN_SCANNER_DIR")]
    scanner_dir: Option<PathBuf>,
    /// Seconds without a sign of life after which a scanner's job goes to another.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", env = "PORTOLAN_LEASE", value_parser = clap::value_parser!(u16).range(3..=3600))]
    lease: u16,
    /// Where it says that the version that runs is on trial (manager).
    #[arg(long, value_name = "DIR", default_value = crate::update::machine::RUN)]
    run_dir: PathBuf,
    /// The version that runs; that of the image when absent (manager).
    #[arg(long, value_name = "VERSION")]
    running: Option<crate::update::manifest::Version>,
    /// How the log on standard error is written.
    #[arg(long, default_value = "text", env = "PORTOLAN_LOG_FORMAT")]
    log: LogFormat,
}

/// A part of the appliance with its own user and sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Pages, API, keys, config.db, the results store.
    Manager,
    /// What scanners talk to; holds nothing.
    Ingest,
    /// Schedules, batches, leases; holds the job-signing key.
    Dispatcher,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// What went wrong in a role.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file or a socket.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Anything a service can say.
    #[error(transparent)]
    Service(#[from] Error),
    /// A template that does not compile.
    #[error("template: {0}")]
    Template(#[from] minijinja::Error),
}

/// What `portolan reload` takes.
#[derive(Args, Clone, Debug)]
pub struct ReloadArgs {
    /// The process.
    #[arg(value_parser = clap::value_parser!(i32).range(2..))]
    pid: i32,
}

/// Asks a process of this program to read anew what may have changed: what `ExecReload=` of the units runs, so that nothing
/// else need be installed for it.
#[must_use]
pub fn reload(args: &ReloadArgs) -> ExitCode {
    let asked = rustix::process::Pid::from_raw(args.pid)
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|pid| rustix::process::kill_process(pid, rustix::process::Signal::HUP));
    match asked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portolan: process {}: {error}", args.pid);
            ExitCode::FAILURE
        }
    }
}

/// Runs until SIGTERM or Ctrl-C; then drains within 15 s. Listens on the sockets that systemd gives, if it does: the
/// first is for pages, or for scanners where this process has no pages.
#[must_use]
pub fn serve(args: ServeArgs) -> ExitCode {
    start_log(args.log);
    match gate::pass() {
        Ok(Build::Signed(key, comment)) => {
            tracing::info!(%key, comment, "the signature of this program holds");
        }
        Ok(Build::Development) => {}
        Err(refusal) => {
            tracing::error!(%refusal, "the signature of this program does not hold: nothing is served");
            eprintln!("portolan: not started, its signature does not hold: {refusal}");
            return ExitCode::from(UNSIGNED);
        }
    }
    if !gate::is_pinned() {
        tracing::warn!(
            "DEVELOPMENT BUILD: no release key is pinned in this program, so it cannot tell whether it was changed"
        );
    }
    let sockets = Sockets::given();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("portolan: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(args, sockets)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portolan: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: ServeArgs, mut sockets: Sockets) -> Result<(), Failure> {
    let layout = Layout::new(&args.data);
    let (asker, stop) = Stop::channel();
    let runs = |role: Role| args.role.is_none_or(|only| only == role);
    // Bound before anything else is made: a port that is taken costs nothing.
    let mut listen = |address| sockets.next()?.map_or_else(|| Listener::bind(address), Listener::over);
    let pages = runs(Role::Manager).then(|| listen(args.listen)).transpose()?;
    let scanners = runs(Role::Ingest).then(|| listen(args.scanner_listen)).transpose()?;
    sockets.all_taken()?;
    let port = scanners.as_ref().map_or(args.scanner_listen.port(), |listener| listener.address.port());
    let mut roles = JoinSet::new();
    let supervisor = Supervisor::new(args.role.map_or(3, |_| 1));
    if let Some(listener) = pages {
        let parts = (layout.clone(), args.clone(), port);
        roles.spawn(manager::run(parts, listener, supervisor.clone(), stop.clone()));
    }
    if let Some(listener) = scanners {
        roles.spawn(ingest::run(layout.clone(), listener, supervisor.clone(), stop.clone()));
    }
    if runs(Role::Dispatcher) {
        let lease = Duration::from_secs(args.lease.into());
        roles.spawn(dispatcher::run(layout, lease, supervisor.clone(), stop.clone()));
    }
    tokio::spawn(supervisor.clone().keep());
    tokio::spawn(supervisor.clone().keep_reloading());
    tokio::spawn({
        let asker = asker.clone();
        async move { asker.on_signal().await }
    });
    tokio::spawn(async move {
        stop.asked().await;
        // Who drains may be slow, and is not to be killed for it.
        supervisor.stopping();
    });
    let mut outcome = Ok(());
    while let Some(ended) = roles.join_next().await {
        // One role that ends takes the others with it: what restarts them restarts all.
        asker.ask();
        let ended = ended.map_err(|error| Failure::Service(Error::internal(error)));
        outcome = outcome.and(ended.and_then(|result| result));
    }
    outcome
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("PORTOLAN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
