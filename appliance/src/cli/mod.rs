//! The command line. `--help` of each command is its whole documentation; the man pages are made from it.

pub mod audit;
pub mod ctl;
mod password;
pub mod results;
pub mod sign;
pub mod verify;

use crate::roles::{self, ServeArgs};
use audit::AuditCommand;
use clap::{Parser, Subcommand};
use ctl::CtlArgs;
use results::ResultsCommand;
use sign::SignCommand;
use std::process::ExitCode;
use verify::VerifyArgs;

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
    /// Everything that the API does, from the command line.
    Ctl(CtlArgs),
    /// The audit chain, without the appliance running.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The results store, without the appliance running.
    #[command(subcommand)]
    Results(ResultsCommand),
    /// Check an export of the audit, on any machine
    ///
    /// Needs the file and nothing else. Says what it proves, and what not. Exit code: 0 it holds, 1 it does not, 2 it
    /// cannot be read.
    Verify(VerifyArgs),
    /// Keys and signatures of releases, in the files of minisign.
    #[command(subcommand)]
    Sign(SignCommand),
}

/// Runs what the command line asks for.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => roles::serve(args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Audit(command) => audit::run(&command),
        Command::Results(command) => results::run(&command),
        Command::Verify(args) => verify::run(&args),
        Command::Sign(command) => sign::run(&command),
    }
}
