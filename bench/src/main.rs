//! Benchmarks, side by side with peers on the same work; each prints a table.

#[cfg(feature = "ingest")]
mod audit;
#[cfg(feature = "ingest")]
mod ingest;
mod measure;
mod scan;
#[cfg(feature = "ingest")]
mod sign_in;

use std::process::ExitCode;

const HELP: &str = "\
Usage: portolan-bench COMMAND

  ingest [--open N] [--per-host N] [--dir DIR]
                    open ports per second from the spool to committed, beside DuckDB's row appender
  audit [--appends N] [--entries N] [--dir DIR] [--write FILE]
                    appends to the audit per second, each synced; verification beside `openssl speed sha256`
  sign-in [--tries N] [--write FILE]
                    how long a sign-in takes beside its bare Argon2, and whether its time tells who has an account
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        #[cfg(feature = "ingest")]
        ["ingest", options @ ..] => ingest::run(options),
        #[cfg(feature = "ingest")]
        ["audit", options @ ..] => audit::run(options),
        #[cfg(feature = "ingest")]
        ["sign-in", options @ ..] => sign_in::run(options),
        ["scan", options @ ..] => scan::Options::parse(options).and_then(|options| scan::run(&options)),
        // What `scan` starts inside its namespaces.
        ["targets" | "wire", ..] => scan::serve(&words),
        ["--help"] => {
            print!("{HELP}{}", scan::HELP);
            Ok(())
        }
        _ => Err(format!("not a command\n{HELP}{}", scan::HELP)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("portolan-bench: {sentence}");
            ExitCode::FAILURE
        }
    }
}
