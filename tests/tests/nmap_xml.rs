//! `--output nmap-xml` as others' programs read it: two parsers from `PyPI`, on the XML of a real scan, beside that of
//! nmap itself over the same ports.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use portolan_tests::Listener;
use portolan_tests::binaries::{cache, scanner};
use portolan_tests::listeners::{alone, quiet_ports};

/// Prints `parser address port state` for each port of each host, and how many hosts it counts; what a parser cannot
/// read ends the program.
const READER: &str = r#"
import sys, nmap
from libnmap.parser import NmapParser
text = sys.stdin.read()
report = NmapParser.parse(text)
for host in report.hosts:
    assert host.is_up()
    for port, protocol in host.get_ports():
        print("libnmap", host.address, port, host.get_service(port, protocol).state)
print("libnmap hosts", report.hosts_up, report.hosts_down, report.hosts_total)
scan = nmap.PortScanner()
scan.analyse_nmap_xml_scan(text)
for host in scan.all_hosts():
    assert scan[host].state() == "up"
    for port, found in scan[host].get("tcp", {}).items():
        print("python-nmap", host, port, found["state"])
stats = scan.scanstats()
print("python-nmap hosts", stats["uphosts"], stats["downhosts"], stats["totalhosts"])
"#;

#[test]
fn two_parsers_of_others_read_the_xml_as_they_read_nmaps() {
    let _alone = alone();
    let hosts = ["127.77.31.1", "127.77.31.2"];
    let ips = hosts.map(|host| host.parse::<IpAddr>().expect("an address"));
    let ports = quiet_ports(&[ips[0], ips[1], "::1".parse().expect("an address")], 24_000, 5);
    let open = [(hosts[0], ports[0]), (hosts[0], ports[3]), (hosts[1], ports[0])];
    let _listeners = open.map(|(host, port)| Listener::on(&format!("{host}:{port}")));
    let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");

    let own = output(Command::new(scanner()).args([
        "probe",
        "--targets",
        &hosts.join(","),
        "--ports",
        &list,
        "--output",
        "nmap-xml",
    ]));
    let nmaps = output(Command::new("nmap").args(["-sT", "-n", "-Pn", "-oX", "-", "-p", &list]).args(hosts));
    let read_own = read(&own);
    for (parser, wanted) in ["libnmap", "python-nmap"].into_iter().flat_map(|p| open.map(|o| (p, o))) {
        let line = format!("{parser} {} {} open", wanted.0, wanted.1);
        assert!(read_own.contains(&line), "no {line:?} in {read_own:?}\n{own}");
    }
    let count = |state: &str| read_own.iter().filter(|line| line.ends_with(state)).count();
    assert_eq!(count(" open"), 2 * open.len(), "{read_own:?}");
    let hosts_of = |lines: &BTreeSet<String>| {
        lines.iter().filter(|line| line.contains(" hosts ")).cloned().collect::<Vec<_>>()
    };
    let opens = |lines: &BTreeSet<String>| {
        lines.iter().filter(|line| line.ends_with(" open")).cloned().collect::<Vec<_>>()
    };
    let read_nmaps = read(&nmaps);
    assert_eq!((opens(&read_own), hosts_of(&read_own)), (opens(&read_nmaps), hosts_of(&read_nmaps)));
}

#[test]
fn a_host_of_ipv6_and_a_silent_one_are_read_too() {
    let _alone = alone();
    let port = quiet_ports(&["::1".parse().expect("an address")], 24_100, 1)[0];
    let _listener = Listener::on(&format!("[::1]:{port}"));
    let xml = output(Command::new(scanner()).args([
        "probe",
        "--targets",
        "::1",
        "--ports",
        &port.to_string(),
        "--output=nmap-xml",
    ]));
    let lines = read(&xml);
    for parser in ["libnmap", "python-nmap"] {
        assert!(lines.contains(&format!("{parser} ::1 {port} open")), "{lines:?}\n{xml}");
        assert!(lines.contains(&format!("{parser} hosts 1 0 1")), "{lines:?}\n{xml}");
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("XML is text")
}

/// What both parsers say of a document, each line once.
fn read(xml: &str) -> BTreeSet<String> {
    let python = cache().join("nmap-parsers/bin/python");
    let mut child = Command::new(&python)
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; `make setup` installs it", python.display()));
    let mut stdin = child.stdin.take().expect("it was asked for");
    stdin.write_all(xml.as_bytes()).expect("the parser reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it was started");
    assert!(output.status.success(), "a parser refused this:\n{xml}");
    String::from_utf8(output.stdout).expect("text").lines().map(String::from).collect()
}
