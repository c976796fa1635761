//! `portolan-scanner probe` beside `nmap -sT`, on the same targets in a network namespace.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddrV4;
use std::process::{Command, Stdio};

use crate::measure::{self, Run, median};
use crate::space::Space;
use crate::targets::{self, PORTS, PROBES, SUBNET};

/// A program under comparison.
struct Scanner {
    name: &'static str,
    program: String,
    arguments: String,
    /// Reads the open ports from what it printed.
    found: fn(&str) -> BTreeSet<SocketAddrV4>,
    runs: Vec<Run>,
}

/// Runs each program `runs` times, in turn, and prints the medians.
///
/// # Errors
/// A sentence, if the namespaces cannot be made or a program does not end well.
pub fn run(runs: usize) -> Result<(), String> {
    let space = Space::new(SUBNET)?;
    let own = env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
    let mut served = space
        .to(&own.to_string_lossy())
        .arg("targets")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the targets: {error}"))?;
    let mut said = String::new();
    if let Some(stdout) = served.stdout.take() {
        BufReader::new(stdout).read_line(&mut said).map_err(|error| format!("the targets: {error}"))?;
    }
    let done =
        if said == "listening\n" { compare(&space, runs) } else { Err("the targets do not listen".into()) };
    drop(served.stdin.take());
    served.wait().map_err(|error| format!("the targets: {error}"))?;
    done
}

fn compare(space: &Space, runs: usize) -> Result<(), String> {
    let mut scanners = vec![Scanner {
        name: "portolan-scanner",
        program: portolan()?,
        arguments: format!(
            "probe --targets {SUBNET} --ports {PORTS} --preset fast --rate 10000000 --host-rate 10000000"
        ),
        found: portolan_found,
        runs: Vec::new(),
    }];
    if Command::new("nmap").arg("--version").output().is_ok() {
        scanners.push(Scanner {
            name: "nmap -sT",
            program: "nmap".into(),
            arguments: format!("{NMAP} -p {PORTS} -oG - {SUBNET}"),
            found: nmap_found,
            runs: Vec::new(),
        });
    } else {
        println!("nmap is not installed: there is nothing to compare with");
    }
    println!(
        "{PROBES} probes: {SUBNET} x ports {PORTS}, 8 open on each host, over a veth pair; {runs} runs each, in turn"
    );
    for scanner in &scanners {
        println!("  {} {}", scanner.program, scanner.arguments);
    }
    for round in 1..=runs {
        for scanner in &mut scanners {
            eprintln!("round {round} of {runs}: {}", scanner.name);
            let mut command = space.from(&scanner.program);
            command.args(scanner.arguments.split(' '));
            scanner.runs.push(measure::run(command)?);
        }
    }
    print(&scanners);
    Ok(())
}

/// The fastest of what was tried: with `--min-rate 50000` or `100000`, `--min-hostgroup 256`,
/// `--min-parallelism` 64, 100 or 300, `--max-parallelism 64` or `--max-retries 0` beside it, nmap 7.93 used as much
/// CPU time on these targets, or up to 20 % more.
const NMAP: &str = "-sT -n -Pn -T5";

fn print(scanners: &[Scanner]) {
    let truth = targets::truth();
    println!(
        "\n{:<18} {:>14} {:>8} {:>8} {:>9} {:>9} {:>7}",
        "median", "probes/CPU-s", "CPU s", "wall s", "peak MiB", "recall", "wrong"
    );
    let mut rates = Vec::new();
    for scanner in scanners {
        let of = |value: fn(&Run) -> f64| median(scanner.runs.iter().map(value).collect());
        let found: Vec<BTreeSet<SocketAddrV4>> =
            scanner.runs.iter().map(|run| (scanner.found)(&run.output)).collect();
        // Of all runs the worst: a median would hide a miss.
        let hits = found.iter().map(|found| found.intersection(&truth).count()).min().unwrap_or(0);
        let wrong = found.iter().map(|found| found.difference(&truth).count()).max().unwrap_or(0);
        let rate = f64::from(PROBES) / of(|run| run.cpu);
        rates.push(rate);
        println!(
            "{:<18} {rate:>14.0} {:>8.2} {:>8.2} {:>9.1} {:>7.2} % {wrong:>7}",
            scanner.name,
            of(|run| run.cpu),
            of(|run| run.wall),
            of(peak_mib),
            percent(hits, truth.len()),
        );
    }
    if let [own, other] = rates[..] {
        println!("ratio of probes per CPU-second: {:.2}", own / other);
    }
}

fn peak_mib(run: &Run) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a program's memory in KiB is far below 2^52")]
    let kib = run.peak as f64;
    kib / 1_024.0
}

fn percent(part: usize, whole: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let (part, whole) = (part as f64, whole as f64);
    100.0 * part / whole
}

/// The scanner's binary: named by the environment, or beside this one.
fn portolan() -> Result<String, String> {
    if let Ok(path) = env::var("PORTOLAN_SCANNER_BIN") {
        return Ok(path);
    }
    let own = env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
    let beside = own.with_file_name("portolan-scanner");
    if beside.exists() {
        return Ok(beside.to_string_lossy().into_owned());
    }
    Err("no portolan-scanner beside this program: build it (make bench-scan does), or name it in PORTOLAN_SCANNER_BIN"
        .into())
}

/// `10.98.0.1:22 open 0.104 ms`
fn portolan_found(output: &str) -> BTreeSet<SocketAddrV4> {
    output.lines().filter_map(|line| line.split_once(" open ")?.0.parse().ok()).collect()
}

/// `Host: 10.98.0.1 ()\tPorts: 22/open/tcp//ssh///, 80/open/tcp//http///\tIgnored State: …`
fn nmap_found(output: &str) -> BTreeSet<SocketAddrV4> {
    let of_line = |line: &str| {
        let (host, rest) = line.strip_prefix("Host: ")?.split_once(' ')?;
        let host = host.parse().ok()?;
        let list = rest.split_once("Ports: ")?.1.split('\t').next()?.to_owned();
        Some((host, list))
    };
    let ports = |list: &str| {
        let port = |entry: &str| {
            let (port, rest) = entry.trim().split_once('/')?;
            rest.starts_with("open/").then(|| port.parse().ok())?
        };
        list.split(',').filter_map(port).collect::<Vec<u16>>()
    };
    output
        .lines()
        .filter_map(of_line)
        .flat_map(|(host, list)| ports(&list).into_iter().map(move |port| SocketAddrV4::new(host, port)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_are_read_alike() {
        let expected: BTreeSet<SocketAddrV4> =
            ["10.98.0.1:22", "10.98.0.1:80"].map(|at| at.parse().unwrap()).into_iter().collect();
        let portolan =
            "10.98.0.1:22 open 0.104 ms\n10.98.0.1:80 open 1.000 ms\n10.98.0.1: 2 open, 998 closed\n";
        let nmap = "# Nmap 7.93 scan\nHost: 10.98.0.1 ()\tStatus: Up\n\
            Host: 10.98.0.1 ()\tPorts: 22/open/tcp//ssh///, 80/open/tcp//http///, 81/filtered/tcp/////\tIgnored State: closed (998)\n";
        assert_eq!(portolan_found(portolan), expected);
        assert_eq!(nmap_found(nmap), expected);
    }
}
