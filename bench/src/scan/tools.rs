//! The programs under comparison: how each is called, and how its answer is read.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use super::scenario::Scenario;
use super::space::GATEWAY_MAC;

/// A program, called in one way.
pub struct Tool {
    /// How it is chosen on the command line, and named in the table.
    pub name: &'static str,
    /// The program; Portolan's own is looked for elsewhere.
    pub program: &'static str,
    /// The command lines that do the scenario's work, one after the other, or why it cannot do it.
    pub settings: fn(&Scenario) -> Result<Vec<String>, &'static str>,
    /// Reads the open ports from what it printed.
    pub found: fn(&str) -> BTreeSet<SocketAddr>,
}

/// Portolan's scanner, connecting.
pub const OWN: &str = "portolan connect";
/// Portolan's scanner with raw frames.
pub const OWN_SYN: &str = "portolan --syn";

/// All of them.
#[rustfmt::skip]
pub const ALL: [Tool; 8] = [
    Tool { name: OWN,            program: "portolan-scanner", settings: |s| Ok(vec![own(s)]), found: portolan },
    Tool { name: OWN_SYN,        program: "portolan-scanner", settings: |s| Ok(vec![own(s) + " --syn"]), found: portolan },
    Tool { name: "nmap -sT",     program: "nmap",             settings: |s| Ok(vec![nmap(s, "-sT")]), found: greppable },
    Tool { name: "nmap -sS",     program: "nmap",             settings: |s| Ok(vec![nmap(s, "-sS")]), found: greppable },
    Tool { name: "masscan",      program: "masscan",          settings: |s| masscan(s, "--rate 50000 --retries 3"), found: list },
    Tool { name: "masscan fast", program: "masscan",          settings: |s| masscan(s, "--rate 1000000"), found: list },
    Tool { name: "zmap",         program: "zmap",             settings: zmap, found: pairs },
    Tool { name: "rustscan",     program: "rustscan",         settings: rustscan, found: arrows },
];

// How the settings were found: by trying on the same networks, and taking what found all at the least CPU time.
//
// Our own: no rate to speak of, for the peers have none either. Where most addresses are silent the time is spent
// waiting, and an answer on this cable takes less than a millisecond; there each program asks once, for nothing is lost.
fn own(scenario: &Scenario) -> String {
    let Scenario { subnet, ports, .. } = scenario;
    let patience = if scenario.one_in > 1 { " --timeout 100 --retries 0" } else { "" };
    // The far cable carries some 200,000 frames a second, either way together. Of 254,000 closed ports, two lose all
    // three attempts of preset fast there: with five, none does in hundreds of runs.
    let (rate, patience) = if scenario.far { (100_000, " --retries 4") } else { (10_000_000, patience) };
    format!(
        "probe --targets {subnet} --ports {ports} --preset fast --rate {rate} --host-rate {rate}{patience}"
    )
}

// nmap, near: with --min-rate 50000 or 100000, --min-hostgroup 256, --min-parallelism 64, 100 or 300,
// --max-parallelism 64 or --max-retries 0 beside it, -T5 took as much CPU time or up to 20 % more. Far: -T5 alone
// takes more than a minute; 60,000 hosts that are silent, likewise. There -sS finds hosts first and -sT does without,
// as each is faster that way.
fn nmap(scenario: &Scenario, way: &str) -> String {
    let Scenario { subnet, ports, .. } = scenario;
    let family = if scenario.v6() { "-6 " } else { "" };
    let more = match (scenario.far, scenario.one_in > 1, way) {
        (true, _, "-sS") => {
            "-Pn --min-rate 20000 --initial-rtt-timeout 60ms --max-rtt-timeout 100ms --max-retries 3 --min-hostgroup 256"
        }
        (true, ..) => "-Pn --min-parallelism 1000 --max-retries 3 --min-hostgroup 256",
        (_, true, "-sS") => {
            "-PS443 --max-retries 1 --min-parallelism 2000 --initial-rtt-timeout 50ms --max-rtt-timeout 100ms --min-hostgroup 4096"
        }
        (_, true, _) => {
            "-Pn --max-retries 0 --min-parallelism 2000 --initial-rtt-timeout 50ms --max-rtt-timeout 100ms --min-hostgroup 4096"
        }
        _ => "-Pn",
    };
    format!("{family}{way} -n -T5 {more} -p {ports} -oG - {subnet}")
}

// masscan loses answers when it sends fast; slow and with retries it finds all. So it has two rows. Of silent
// addresses it loses none at any rate.
fn masscan(scenario: &Scenario, pace: &str) -> Result<Vec<String>, &'static str> {
    if scenario.v6() {
        return Err("compared on IPv4 alone");
    }
    let Scenario { subnet, ports, .. } = scenario;
    let pace = match (scenario.one_in > 1, pace.contains("--retries")) {
        (true, true) => "--rate 100000",
        _ => pace,
    };
    Ok(vec![format!("{subnet} -p{ports} {pace} --wait 1 --router-mac {GATEWAY_MAC} -oL -")])
}

// zmap takes one port a run. Its default exclusions hold 10.0.0.0/8.
fn zmap(scenario: &Scenario) -> Result<Vec<String>, &'static str> {
    if scenario.v6() {
        return Err("has no IPv6");
    }
    if scenario.all_ports().count() > 10 {
        return Err("does one port a run");
    }
    let subnet = scenario.subnet;
    let one = |port| {
        format!(
            "-C /dev/null -b /dev/null -q -v 0 -i cable -G {GATEWAY_MAC} -r 100000 -c 1 -f saddr,sport -p {port} {subnet}"
        )
    };
    Ok(scenario.all_ports().each().map(one).collect())
}

fn rustscan(scenario: &Scenario) -> Result<Vec<String>, &'static str> {
    let Scenario { subnet, ports, .. } = scenario;
    if scenario.one_in > 1 {
        return Err("expands every address; more than a minute");
    }
    let which = if ports.contains('-') { "-r" } else { "-p" };
    let patience = if scenario.far { "-t 300 --tries 3" } else { "-t 500 --tries 1" };
    Ok(vec![format!("--no-banner -g -a {subnet} {which} {ports} -b 4000 {patience}")])
}

/// Whether it can be started.
pub fn installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// `10.98.0.1:22 open 0.104 ms`
fn portolan(output: &str) -> BTreeSet<SocketAddr> {
    output.lines().filter_map(|line| line.split_once(" open ")?.0.parse().ok()).collect()
}

/// nmap: `Host: 10.98.0.1 ()\tPorts: 22/open/tcp//ssh///, 80/open/tcp//http///\tIgnored State: …`
fn greppable(output: &str) -> BTreeSet<SocketAddr> {
    let of_line = |line: &str| {
        let (host, rest) = line.strip_prefix("Host: ")?.split_once(' ')?;
        let host: IpAddr = host.parse().ok()?;
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
    let lines = output.lines().filter_map(of_line);
    lines.flat_map(|(host, list)| ports(&list).into_iter().map(move |p| SocketAddr::new(host, p))).collect()
}

/// masscan: `open tcp 22 10.98.0.1 1700000000`
fn list(output: &str) -> BTreeSet<SocketAddr> {
    let of_line = |line: &str| {
        let mut words = line.strip_prefix("open tcp ")?.split(' ');
        let port = words.next()?.parse().ok()?;
        Some(SocketAddr::new(words.next()?.parse().ok()?, port))
    };
    output.lines().filter_map(of_line).collect()
}

/// zmap: `10.98.0.1,22`
fn pairs(output: &str) -> BTreeSet<SocketAddr> {
    output.lines().filter_map(|line| line.replace(',', ":").parse().ok()).collect()
}

/// rustscan: `10.98.0.1 -> [22,80]`
fn arrows(output: &str) -> BTreeSet<SocketAddr> {
    let of_line = |line: &str| {
        let (host, ports) = line.split_once(" -> [")?;
        let host: IpAddr = host.trim().parse().ok()?;
        Some((host, ports.trim_end().strip_suffix(']')?.to_owned()))
    };
    let lines = output.lines().filter_map(of_line);
    let sockets = |(host, ports): (IpAddr, String)| {
        let ports: Vec<u16> = ports.split(',').filter_map(|port| port.trim().parse().ok()).collect();
        ports.into_iter().map(move |port| SocketAddr::new(host, port))
    };
    lines.flat_map(sockets).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outputs_of_all_programs_are_read_alike() {
        let expected: BTreeSet<SocketAddr> =
            ["10.98.0.1:22", "10.98.0.1:80"].map(|at| at.parse().unwrap()).into_iter().collect();
        let own = "10.98.0.1:22 open 0.104 ms\n10.98.0.1:80 open 1.000 ms\n10.98.0.1: 2 open, 998 closed\n";
        let nmap = "# Nmap 7.93 scan\nHost: 10.98.0.1 ()\tStatus: Up\n\
            Host: 10.98.0.1 ()\tPorts: 22/open/tcp//ssh///, 80/open/tcp//http///, 81/filtered/tcp/////\tIgnored State: closed (998)\n";
        let masscan = "#masscan\nopen tcp 22 10.98.0.1 1700000000\nopen tcp 80 10.98.0.1 1700000001\n# end\n";
        assert_eq!(portolan(own), expected);
        assert_eq!(greppable(nmap), expected);
        assert_eq!(list(masscan), expected);
        assert_eq!(pairs("saddr,sport\n10.98.0.1,22\n10.98.0.1,80\n"), expected);
        assert_eq!(arrows("10.98.0.1 -> [22,80]\n"), expected);
    }

    #[test]
    fn an_ipv6_socket_is_read_with_its_brackets() {
        assert_eq!(portolan("[fd00:98::1]:22 open 0.104 ms\n").len(), 1);
        assert_eq!(greppable("Host: fd00:98::1 ()\tPorts: 22/open/tcp//ssh///\n").len(), 1);
    }
}
