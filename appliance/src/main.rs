//! The appliance's binary: the command line and nothing else.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    portolan::cli::run()
}
