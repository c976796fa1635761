//! SYN packets over a real link: two network namespaces of this test, and a cable between them.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::probe::method::contract::{Site, kept};
use crate::probe::preset::numbers;
use portolan_scanner::wire::Preset;

/// Two namespaces; the one called `near` scans the one called `far`. They go when this does.
struct Cable(String);

impl Cable {
    /// `None`, with the reason printed, where none can be made.
    fn lay() -> Option<Self> {
        let cable = Self(format!("portolan-unit-syn-{}", std::process::id()));
        let made = Command::new("ip").args(["netns", "add", &cable.end("near")]).output();
        if !made.as_ref().is_ok_and(|output| output.status.success()) {
            println!("skipped: no network namespace can be made here ({made:?})");
            return None;
        }
        let (near, far) = (cable.end("near"), cable.end("far"));
        ip(&format!("netns add {far}"));
        ip(&format!("-n {near} link add cable type veth peer name cable netns {far}"));
        for (end, host) in [(&near, 1), (&far, 2)] {
            ip(&format!("-n {end} link set lo up"));
            ip(&format!("-n {end} link set cable up"));
            ip(&format!("-n {end} addr add 10.96.0.{host}/24 dev cable"));
            ip(&format!("-n {end} addr add fd96::{host}/64 dev cable nodad"));
        }
        ip(&format!("-n {near} route add 10.96.1.0/24 via 10.96.0.2"));
        ip(&format!("-n {near} route add fd96:1::/64 via fd96::2"));
        ip(&format!("-n {far} route add blackhole 10.96.1.1"));
        ip(&format!("-n {far} route add blackhole fd96:1::1"));
        Some(cable)
    }

    fn end(&self, which: &str) -> String {
        format!("{}-{which}", self.0)
    }

    /// Runs a helper of this file at one end.
    fn run(&self, which: &str, helper: &str) -> Child {
        let test = format!("probe::syn::tests::{helper}");
        Command::new("ip")
            .args(["netns", "exec", &self.end(which)])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &test, "--nocapture"])
            .env("PORTOLAN_TEST_END", which)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for which in ["near", "far"] {
            let _ = Command::new("ip").args(["netns", "delete", &self.end(which)]).status();
        }
    }
}

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Not a test of its own: what listens at the far end.
#[test]
fn helper_listens() {
    if std::env::var("PORTOLAN_TEST_END").is_err() {
        return;
    }
    let _listeners = ["10.96.0.2:80", "[fd96::2]:80"].map(|at| TcpListener::bind(at).unwrap());
    println!("listening");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Not a test of its own: what scans at the near end.
#[test]
fn helper_scans() {
    if std::env::var("PORTOLAN_TEST_END").is_err() {
        return;
    }
    for [open, closed, silent] in
        [["10.96.0.2:80", "10.96.0.2:81", "10.96.1.1:80"], ["[fd96::2]:80", "[fd96::2]:81", "[fd96:1::1]:80"]]
    {
        let [open, closed, silent] = [open, closed, silent].map(|at| at.parse::<SocketAddr>().unwrap());
        let site = Site { open, closed, silent: Some(silent) };
        let targets =
            [open, silent].map(|at| addr_to_u128(at.ip())).map(portolan_scanner::net::Range::single);
        let targets = targets.into_iter().collect();
        let numbers = numbers(Preset::Fast);
        kept(&site, |input| Syn::open(numbers, &targets, input).unwrap());
        kept(&site, |input| Connect::open(numbers, input).unwrap());
    }
    println!("kept");
}

#[test]
fn it_keeps_the_contract_of_a_method() {
    let Some(cable) = Cable::lay() else { return };
    let mut far = cable.run("far", "helper_listens");
    let mut lines = BufReader::new(far.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().ends_with("listening")));
    let near = cable.run("near", "helper_scans").wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&near.stdout);
    assert!(near.status.success() && said.contains("kept\n"), "{said}");
    drop(far.stdin.take());
    far.wait().unwrap();
}

#[test]
fn source_ports_lie_beside_those_of_the_kernel() {
    assert_eq!(beside(32_768, 60_999), (24_576, 8_192));
    assert_eq!(beside(1_024, 50_000), (50_001, 8_192));
    assert_eq!(beside(1_024, 65_535), (57_344, 8_192));
}
