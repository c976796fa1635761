//! The command line. `--help` of each command is its whole documentation; the man pages are made from it.

pub mod audit;

use crate::roles::{self, ServeArgs};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Schedules TCP port scans from many scanners, keeps every result, says what changed, and proves it.
#[derive(Parser)]
#[command(name = "portolan", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the appliance: every role in this process, or one of them.
    Serve(ServeArgs),
    /// Check the audit.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
}

/// Runs what the command line asks for.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => roles::serve(args),
        Command::Audit(command) => audit::run(&command),
    }
}
