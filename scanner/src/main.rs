//! `portolan-scanner`: probes TCP ports, by hand or for an appliance.

mod probe;
mod sys;

use std::process::ExitCode;

const HELP: &str = "\
Portolan scanner: probes TCP ports, by hand or for a Portolan appliance.

Usage: portolan-scanner COMMAND [options]

Commands:
  probe      probe ports by hand, without an appliance

  --version  print the version
  --help     print this; COMMAND --help tells more
";

fn main() -> ExitCode {
    let arguments: Vec<String> =
        match std::env::args_os().skip(1).map(std::ffi::OsString::into_string).collect() {
            Ok(arguments) => arguments,
            Err(argument) => {
                eprintln!("portolan-scanner: {} is not valid UTF-8", argument.display());
                return ExitCode::from(2);
            }
        };
    match arguments.first().map(String::as_str) {
        Some("probe") => probe::main(&arguments[1..]),
        Some("--version" | "-V") => {
            println!("portolan-scanner {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Some("--help" | "-h" | "help") => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Some(other) => {
            eprintln!("portolan-scanner: {other:?} is not a command; --help lists them");
            ExitCode::from(2)
        }
        None => {
            eprint!("{HELP}");
            ExitCode::from(2)
        }
    }
}
