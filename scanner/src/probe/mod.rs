//! The probe: a job in, results out.
//!
//! Read top to bottom: [`hand`] and [`child`] are the two ways to run it, [`engine`] makes the connects that
//! [`schedule`] asks for, [`block`] keeps what was found until it is handed over. [`pace`] and [`preset`] hold
//! the rates, [`outcome`] says what a connect's end means, [`slots`] keeps the sockets.

pub mod block;
pub mod child;
pub mod clock;
pub mod engine;
pub mod flags;
pub mod hand;
pub mod outcome;
pub mod pace;
pub mod preset;
pub mod report;
pub mod schedule;
pub mod slots;
#[cfg(test)]
mod testing;

use std::process::ExitCode;

/// `portolan-scanner probe …`: with `--job -` as the child of the link, else by hand.
pub fn main(arguments: &[String]) -> ExitCode {
    if arguments == ["--job", "-"] {
        return child::main();
    }
    hand::main(arguments)
}
