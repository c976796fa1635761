//! `portolan-scanner`: probes TCP ports, by hand or for an appliance.

mod probe;
mod sys;

use std::process::ExitCode;

#[cfg(feature = "network")]
use portolan_scanner::link;
use portolan_scanner::say;
#[cfg(feature = "signed")]
use portolan_scanner::{args::Args, stick, upgrade, work::Error};

const HELP: &str = include_str!("help/main.txt");

/// Part of the program, so that its signature covers them too.
const MAN: &str = include_str!("../../man/portolan-scanner.1");
const UNIT: &str = include_str!("../../systemd/portolan-scanner.service");

fn main() -> ExitCode {
    let arguments: Vec<String> =
        match std::env::args_os().skip(1).map(std::ffi::OsString::into_string).collect() {
            Ok(arguments) => arguments,
            Err(argument) => {
                say!("portolan-scanner: {} is not valid UTF-8", argument.display());
                return ExitCode::from(2);
            }
        };
    match arguments.first().map(String::as_str) {
        Some("probe") => probe::main(&arguments[1..]),
        #[cfg(feature = "network")]
        Some("enrol") => link(&arguments[1..], include_str!("help/enrol.txt"), link::enrol),
        #[cfg(feature = "network")]
        Some("run") => link(&arguments[1..], include_str!("help/run.txt"), link::run),
        #[cfg(feature = "signed")]
        Some("stick") => link(&arguments[1..], include_str!("help/stick.txt"), stick::main),
        #[cfg(feature = "signed")]
        Some("upgrade") => {
            link(&arguments[1..], include_str!("help/upgrade.txt"), |args, _| upgrade::main(args))
        }
        // Those of them that are not above.
        Some(command) if ["enrol", "run", "stick", "upgrade"].contains(&command) => {
            say!("portolan-scanner: {command}: this program was built without the feature for it");
            ExitCode::from(2)
        }
        Some("--version" | "-V") => {
            print_whole(concat!("portolan-scanner ", env!("CARGO_PKG_VERSION"), "\n"))
        }
        Some("--man") => print_whole(MAN),
        Some("--unit") => print_whole(UNIT),
        Some("--help" | "-h" | "help") => print_whole(HELP),
        Some(other) => {
            say!("portolan-scanner: {other:?} is not a command; --help lists them");
            ExitCode::from(2)
        }
        None => {
            say!("{}", HELP.trim_end());
            ExitCode::from(2)
        }
    }
}

/// Prints a text; whoever closes the pipe has read enough.
fn print_whole(text: &str) -> ExitCode {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    ExitCode::SUCCESS
}

/// A subcommand that works for an appliance: its options, and whether the process was asked to end.
#[cfg(feature = "signed")]
type Subcommand = fn(Args, fn() -> bool) -> Result<(), Error>;

/// Runs a subcommand that works for an appliance.
#[cfg(feature = "signed")]
fn link(arguments: &[String], help: &str, command: Subcommand) -> ExitCode {
    let mut args = Args::new(arguments.iter().cloned());
    if args.flag("--help") || args.flag("-h") {
        return print_whole(help);
    }
    if let Err(error) = sys::stop_on_signals() {
        say!("portolan-scanner: signals cannot be listened for: {error}");
        return ExitCode::FAILURE;
    }
    match command(args, sys::stop_requested) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("portolan-scanner: {error}");
            ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}
