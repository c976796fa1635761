//! `portolan console`: the dialogue on the machine's own screen, and what a boot does with what was set there.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::admin::{self, Failure, FilesArgs, Outcome, Said};
use super::exit::Exit;
use crate::clock::Clock;
use crate::console::apply;
use crate::console::machine::Machine;
use crate::console::menu::Console;
use crate::console::settings::parse;
use crate::console::talk::Talk;

/// What `portolan console` takes.
#[derive(Args, Debug)]
pub struct ConsoleArgs {
    #[command(flatten)]
    files: FilesArgs,
    #[command(flatten)]
    machine: Machine,
    #[command(subcommand)]
    command: Option<ConsoleCommand>,
}

#[derive(Debug, Subcommand)]
enum ConsoleCommand {
    /// Make what was set effective, as a boot does: write what systemd's services read, before they start
    Apply,
    /// Say whether a file of settings is good, and what is wrong with it
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Runs the command.
#[must_use]
pub fn run(args: &ConsoleArgs) -> ExitCode {
    match &args.command {
        None => talk(args),
        Some(ConsoleCommand::Apply) => admin::ended(&args.files, || effective(&args.machine)),
        Some(ConsoleCommand::Check { file }) => admin::ended(&args.files, || check(file)),
    }
}

fn talk(args: &ConsoleArgs) -> ExitCode {
    let terminal = fs::read_link("/proc/self/fd/0")
        .ok()
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let console = Console {
        machine: args.machine.clone(),
        data: args.files.clone(),
        clock: Clock::system(),
        terminal: terminal.unwrap_or_default(),
    };
    let (mut from, mut to) = (io::stdin().lock(), io::stdout().lock());
    match console.run(&mut Talk::new(&mut from, &mut to)) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            eprintln!("portolan: the terminal: {error}");
            Exit::Unreachable.into()
        }
    }
}

fn effective(machine: &Machine) -> Outcome {
    let settings = apply::kept(machine).map_err(Failure::Wrong)?;
    let changed = apply::write(machine, &settings).map_err(Failure::file(machine.run.display()))?;
    let what =
        if changed.is_empty() { "nothing is new".to_owned() } else { format!("new: {}", changed.join(", ")) };
    Ok(Said::new(what, json!({ "changed": changed })))
}

fn check(file: &PathBuf) -> Outcome {
    let text = fs::read_to_string(file).map_err(Failure::file(file.display()))?;
    match parse(&text) {
        Ok(_) => Ok(Said::new("good", json!({ "holds": true }))),
        Err(wrong) => {
            Err(Failure::Wrong(wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
        }
    }
}
