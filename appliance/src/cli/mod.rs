//! The command line. `--help` of each command is its whole documentation; the man pages are made from it.

pub mod admin;
mod audit;
mod bundle;
mod completions;
mod console;
pub mod ctl;
mod exit;
#[cfg(test)]
mod manual;
mod password;
pub mod results;
pub mod sign;
mod table;
pub mod update;
pub mod verify;

use crate::roles::{self, ReloadArgs, ServeArgs};
use admin::AdminArgs;
use admin::audit::AuditArgs;
use bundle::BundleArgs;
use clap::{CommandFactory as _, Parser, Subcommand};
use completions::CompletionsArgs;
use console::ConsoleArgs;
use ctl::CtlArgs;
use results::ResultsCommand;
use sign::SignCommand;
use std::process::ExitCode;
use update::UpdateArgs;
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
    /// For systemd: ask a running role to read its certificates anew.
    #[command(hide = true)]
    Reload(ReloadArgs),
    /// Everything that the API does, from the command line.
    Ctl(CtlArgs),
    /// What the administrator of this machine does on its files, with the appliance running or not.
    ///
    /// For whoever may write the data folder: root, and the manager's own user. It is the way in that is left when every
    /// other is lost. It goes through the same services as the pages, under the same rules; every change, and every look at
    /// what is not for everyone, is an entry of the audit, as `cli` `admin` under the name of the system's user. What cannot
    /// be undone asks first; without a terminal it takes --yes.
    Admin(AdminArgs),
    /// The audit, read and checked on the files: short for `portolan admin audit`.
    Audit(AuditArgs),
    /// Write onto a stick what another machine needs.
    ///
    /// On the files of the appliance, as `portolan admin`: for root and the manager's own user, with the appliance running or
    /// not, and each bundle is an entry of the audit.
    Bundle(BundleArgs),
    /// The results store, without the appliance running.
    #[command(subcommand)]
    Results(ResultsCommand),
    /// Check an export of the audit, on any machine
    ///
    /// Needs the file and nothing else. Says what it proves, and what not.
    Verify(VerifyArgs),
    /// Keys and signatures of releases, in the files of minisign.
    #[command(subcommand)]
    Sign(SignCommand),
    /// Updates of this machine, from a folder or a file: a stick, or what was copied here.
    ///
    /// For a machine that was installed from an image: it has two slots. An update is written into the one that does not run
    /// and is tried at the next start; what runs now boots again by itself unless the new version is well. Only what is signed
    /// with the release key is taken, and nothing is fetched.
    Update(UpdateArgs),
    /// The console of the machine: addresses, network, time, tests, logs, power; by lines, for whoever stands there.
    ///
    /// It is what the image shows on its screen and its first serial line, and works at any terminal of root. Without a sign-in:
    /// who stands at the machine can also take its disk. Everything that is changed is an entry of the audit, as `cli`
    /// `console` with the name of the terminal.
    Console(ConsoleArgs),
    /// Print the completions of a shell, for its folder of completions.
    ///
    /// Those folders are `/usr/share/bash-completion/completions/`, where the file is called `portolan`,
    /// `/usr/share/zsh/site-functions/` (`_portolan`), and `/usr/share/fish/vendor_completions.d/` (`portolan.fish`).
    Completions(CompletionsArgs),
}

/// The whole command line, with the nouns and verbs of `ctl` as commands of their own: what manual pages and completions
/// are made from.
fn definition() -> clap::Command {
    Cli::command().mut_subcommand("ctl", |ctl| ctl::definition(&ctl))
}

/// Runs what the command line asks for.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => roles::serve(args),
        Command::Reload(args) => roles::reload(&args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Admin(args) => admin::run(&args),
        Command::Audit(args) => admin::audit::run_alone(&args),
        Command::Bundle(args) => bundle::run(&args),
        Command::Results(command) => results::run(&command),
        Command::Verify(args) => verify::run(&args),
        Command::Sign(command) => sign::run(&command),
        Command::Update(args) => update::run(&args),
        Command::Console(args) => console::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}
