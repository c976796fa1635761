//! The probe: a job in, results out.
//!
//! Read top to bottom: [`hand`] and [`child`] are the two ways to run it, [`engine`] sends what [`schedule`] asks for by
//! a [`method`], [`block`] keeps what was found until it is handed over. [`pace`] and [`preset`] hold the rates. What is
//! under way is in [`flights`]: [`connect`] has its sockets in [`slots`], and [`outcome`] says what a connect's end means;
//! [`syn`] makes its own packets. [`hints`] stands between method and schedule and listens to open ports, each in a
//! [`talk`]. [`guard`] says what is never probed, [`confine`] what a probe gives up before it sends anything to a target.

pub mod block;
mod bounds;
mod canary;
pub mod child;
pub mod clock;
pub mod confine;
pub mod connect;
pub mod engine;
pub mod flags;
mod flights;
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

use std::process::ExitCode;

use portolan_scanner::args::{Args, Error};

use self::flags::Flags;

/// `portolan-scanner probe …`: with `--job -` as the child of the link, else by hand.
pub fn main(arguments: &[String]) -> ExitCode {
    let done = match arguments {
        [job, dash, rest @ ..] if job == "--job" && dash == "-" => {
            never_scan(Args::new(rest.iter().cloned())).map(|lists| child::main(&lists))
        }
        _ => {
            let mut args = Args::new(arguments.iter().cloned());
            if args.flag("--help") || args.flag("-h") {
                return crate::print_whole(&hand::help());
            }
            Flags::parse(args).map(hand::main)
        }
    };
    done.unwrap_or_else(|error| {
        crate::say!("portolan-scanner probe: {error}");
        ExitCode::from(2)
    })
}

/// The lists of `--never-scan`, beside which the child of the link is given nothing.
fn never_scan(mut args: Args) -> Result<Vec<String>, Error> {
    let lists = args.values("--never-scan")?;
    args.finish().map(|()| lists)
}
