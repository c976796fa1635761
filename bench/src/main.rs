//! Benchmarks, side by side with peers on the same work; each prints a table.

#[cfg(feature = "ingest")]
mod ingest;
mod measure;
mod scan;
mod space;
mod targets;

use std::process::ExitCode;

const HELP: &str = "\
Usage: portolan-bench COMMAND

  ingest [--open N] [--per-host N] [--dir DIR]
                    open ports per second from the spool to committed, beside DuckDB's row appender
  scan [--runs N]   probes per CPU-second and recall of `portolan-scanner probe`, beside nmap (as root)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        #[cfg(feature = "ingest")]
        ["ingest", options @ ..] => ingest::run(options),
        ["scan"] => scan::run(5),
        ["scan", "--runs", runs] => match runs.parse() {
            Ok(runs @ 1..=100) => scan::run(runs),
            _ => Err(format!("--runs: {runs:?} is not a number from 1 to 100")),
        },
        // What `scan` starts inside its target namespace.
        ["targets"] => targets::serve(),
        ["--help"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(format!("not a command\n{HELP}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("portolan-bench: {sentence}");
            ExitCode::FAILURE
        }
    }
}
