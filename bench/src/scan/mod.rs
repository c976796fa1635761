//! `portolan-scanner probe` beside other scanners, on the same made-up networks in network namespaces.

mod options;
mod same;
mod scenario;
mod space;
pub mod table;
mod targets;
mod tools;
mod wire;

use std::collections::BTreeSet;
use std::env;
use std::io::Read;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

pub use options::{HELP, Options};

use crate::measure::{self, Run};
use scenario::Scenario;
use space::Space;
use tools::Tool;

/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(60);
/// A program that has used up so many seconds on a scenario is not run again there, so that the whole ends in a quarter
/// of an hour.
const BUDGET: f64 = 40.0;

/// A program's runs on a scenario.
pub struct Row {
    tool: &'static Tool,
    /// Its command lines, as somebody would type them.
    lines: Vec<String>,
    runs: Vec<Run>,
    /// Why it has no figures.
    failed: Option<String>,
}

/// Runs each program on each scenario, in turn, and prints the medians.
///
/// # Errors
/// A sentence, if the namespaces cannot be made or the page not written. A program that fails has that in its row.
pub fn run(options: &Options) -> Result<(), String> {
    for scenario in &options.scenarios {
        let machine = table::machine();
        let space = Space::new(scenario)?;
        let section = if let Some(runs) = options.same {
            same::section(&space, scenario, options, runs)?
        } else {
            table::section(scenario, &compare(&space, scenario, options), &machine)
        };
        let remark = space.close();
        if !remark.is_empty() {
            eprintln!("the cable carried {}", remark.trim());
        }
        print!("{section}");
        if let Some(page) = &options.write {
            table::write(page, table::SCANNING, &section)?;
        }
    }
    Ok(())
}

/// What `run` starts inside its namespaces.
///
/// # Errors
/// A sentence, if it cannot be done.
pub fn serve(words: &[&str]) -> Result<(), String> {
    match words {
        ["targets", name] => targets::serve(Scenario::named(name)?),
        _ => wire::join(),
    }
}

fn compare(space: &Space, scenario: &Scenario, options: &Options) -> Vec<Row> {
    let mut rows: Vec<Row> = options.tools.iter().map(|tool| Row::new(tool, scenario)).collect();
    for round in 1..=options.runs {
        let used_up = |row: &Row| row.runs.iter().map(|run| run.wall).sum::<f64>() > BUDGET;
        for row in rows.iter_mut().filter(|row| row.failed.is_none() && !used_up(row)) {
            eprintln!("{}, round {round} of {}: {}", scenario.name, options.runs, row.tool.name);
            match once(space, row.tool, &row.lines) {
                Ok(run) => row.runs.push(run),
                Err(sentence) => row.failed = Some(sentence),
            }
        }
    }
    rows
}

impl Row {
    fn new(tool: &'static Tool, scenario: &Scenario) -> Self {
        let mut row = Self { tool, lines: Vec::new(), runs: Vec::new(), failed: None };
        match (tool.settings)(scenario) {
            Err(why) => row.failed = Some(why.into()),
            Ok(_) if !tools::installed(&program(tool)) => row.failed = Some("not installed".into()),
            Ok(_) if tool.name == tools::OWN_SYN && !knows_syn() => {
                row.failed = Some("this scanner has no --syn".into());
            }
            Ok(lines) => row.lines = lines,
        }
        row
    }
}

/// Runs a program's command lines, one after the other.
fn once(space: &Space, tool: &Tool, lines: &[String]) -> Result<Run, String> {
    let mut sum = Run::default();
    for line in lines {
        let mut command = space.from(&program(tool));
        command.args(line.split(' '));
        let run = measure::run(command, LIMIT)?;
        sum.wall += run.wall;
        sum.cpu += run.cpu;
        sum.peak = sum.peak.max(run.peak);
        sum.output.push_str(&run.output);
    }
    Ok(sum)
}

/// How many open ports of the truth a run missed, and how many it made up.
fn judge(found: &BTreeSet<SocketAddr>, truth: &BTreeSet<SocketAddr>) -> (usize, usize) {
    (truth.difference(found).count(), found.difference(truth).count())
}

/// The path of a program. Portolan's scanner is named by the environment, or stands beside this one.
fn program(tool: &Tool) -> String {
    let beside = || {
        let beside = env::current_exe().ok()?.with_file_name(tool.program);
        beside.exists().then(|| beside.to_string_lossy().into_owned())
    };
    let own = tool.program == "portolan-scanner";
    let named = own.then(|| env::var("PORTOLAN_SCANNER_BIN").ok().or_else(beside)).flatten();
    named.unwrap_or_else(|| tool.program.to_owned())
}

/// Whether the scanner's help knows the flag.
fn knows_syn() -> bool {
    let own = &tools::ALL[0];
    let output = Command::new(program(own)).args(["probe", "--help"]).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("--syn"))
}

/// Hangs up when the standard input ends, however it ends.
fn until_input_ends() -> Receiver<()> {
    let (end, ended) = channel::<()>();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(end);
    });
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_port_and_a_made_up_one_are_told_apart() {
        let set = |ports: &[u16]| {
            ports.iter().map(|port| SocketAddr::from(([10, 98, 0, 1], *port))).collect::<BTreeSet<_>>()
        };
        assert_eq!(judge(&set(&[22, 80, 81]), &set(&[22, 80, 443])), (1, 1));
    }
}
