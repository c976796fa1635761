//! The probe: a job in, results out.
//!
//! Read top to bottom: [`hand`] and [`child`] are the two ways to run it, [`engine`] sends what
//! [`schedule`] asks for by a [`method`], [`block`] keeps what was found until it is handed over. [`pace`] and
//! [`preset`] hold the rates. The method [`connect`] has its sockets in [`slots`], and [`outcome`] says what a
//! connect's end means; [`syn`] makes its own packets. [`hints`] stands between method and schedule and listens to open
//! ports, each in a [`talk`]. [`guard`] says what is never probed, [`confine`] what a probe gives up before it sends
//! anything to a target.

pub mod block;
mod bounds;
mod canary;
pub mod child;
pub mod clock;
pub mod confine;
pub mod connect;
pub mod engine;
pub mod flags;
pub mod forecast;
pub mod guard;
pub mod hand;
pub mod hints;
pub mod method;
pub mod outcome;
mod own;
pub mod pace;
pub mod patience;
pub mod preset;
mod queues;
pub mod report;
mod resume;
pub mod schedule;
pub mod slots;
pub mod syn;
mod talk;
#[cfg(test)]
mod testing;
mod throttle;
#[cfg(feature = "network")]
mod tls;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

/// `portolan-scanner probe …`: with `--job -` as the child of the link, else by hand.
pub fn main(arguments: &[String]) -> ExitCode {
    match arguments {
        [job, dash, rest @ ..] if job == "--job" && dash == "-" => {
            if let Some(files) = never_scan(rest) {
                return child::main(&files);
            }
            crate::say!("portolan-scanner probe: beside --job - only --never-scan FILE can be given");
            ExitCode::from(2)
        }
        _ => hand::main(arguments),
    }
}

/// The files of `--never-scan FILE` as often as it comes, if nothing else does.
fn never_scan(arguments: &[String]) -> Option<Vec<PathBuf>> {
    let mut files = Vec::new();
    for pair in arguments.chunks(2) {
        let [flag, file] = pair else { return None };
        if flag != "--never-scan" {
            return None;
        }
        files.push(file.into());
    }
    Some(files)
}
