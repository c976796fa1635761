//! What is never probed, by hand and by job.

use std::path::PathBuf;
use std::process::Command;

use crate::common::{Link, Namespace, SCANNER, complaint, job, listen, probe, text};
use portolan_scanner::wire::{Preset, Reason};

/// A list of what is never scanned, gone afterwards.
struct List(PathBuf);

impl List {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portolan-{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for List {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn an_address_on_a_list_is_not_touched_and_said_to_be_excluded() {
    let (open, at) = listen("127.84.0.2");
    open.set_nonblocking(true).unwrap();
    let (open_six, six) = listen("::1");
    open_six.set_nonblocking(true).unwrap();
    let list = List::new("never-hand", "127.84.0.2 # the press\n127.84.0.4/30\n::/127\n");
    let line = format!("--targets 127.84.0.0/29,::1 --ports {},{},1-8 --preset fast", at.port(), six.port());
    let output = probe(&format!("{line} --never-scan {}", list.path()));
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    assert!(text(&output).contains("127.84.0.2: every port not probed (excluded)\n"), "{}", text(&output));
    assert!(text(&output).contains("127.84.0.4-127.84.0.7: every port not probed (excluded)\n"));
    assert!(text(&output).contains("::1: every port not probed (excluded)\n"), "{}", text(&output));
    assert!(text(&output).ends_with("30 closed, 0 filtered, 0 unreachable, 60 not probed\n"));
    assert!(complaint(&output).contains("6 of the hosts are on a list of what is never scanned"));
    assert!(open.accept().is_err() && open_six.accept().is_err(), "nobody connected");
}

#[test]
fn a_list_that_cannot_be_read_ends_the_scan_before_it_begins() {
    let (open, at) = listen("127.84.1.1");
    open.set_nonblocking(true).unwrap();
    let list = List::new("never-bad", "10.0.0.1\n10.0.0.1/24\n");
    for (file, what) in
        [(list.path(), ", line 2: \"10.0.0.1/24\" has bits"), ("/nonexistent/list", " cannot be read")]
    {
        let output = probe(&format!("--targets 127.84.1.1 --ports {} --never-scan {file}", at.port()));
        assert_eq!((output.status.code(), text(&output)), (Some(1), ""));
        assert!(complaint(&output).contains(&format!("{file}{what}")), "{}", complaint(&output));
        let output =
            Command::new(SCANNER).args(["probe", "--job", "-", "--never-scan", file]).output().unwrap();
        let said = text(&output);
        assert!(said.starts_with(&format!("end failed {file}{what}")), "{said}");
    }
    assert!(open.accept().is_err(), "nobody connected");
}

#[test]
fn a_job_cannot_reach_what_is_on_a_list() {
    let (open, at) = listen("127.84.2.5");
    open.set_nonblocking(true).unwrap();
    let list = List::new("never-job", "127.84.2.5 127.84.2.8-127.84.2.255 ::1");
    let job = job("127.84.2.0/26,::1", &format!("1-10,{}", at.port()));
    let words = ["--never-scan", list.path()];
    let (blocks, end) = Link::start_as(&words, &format!("{}.\n", job.encode())).finish();
    assert_eq!((blocks.len(), end.as_str()), (17, "done"));
    for block in &blocks {
        block.check(&job);
    }
    let excluded: u128 = blocks
        .iter()
        .flat_map(|block| &block.hosts)
        .filter(|host| host.base == Reason::Excluded && host.exceptions.is_empty())
        .map(|host| host.last - host.first + 1)
        .sum();
    assert_eq!(excluded, 58);
    assert_eq!(blocks.iter().map(|block| block.sent - block.again).sum::<u64>(), 7 * 11);
    assert!(open.accept().is_err(), "nobody connected");
}

#[test]
fn a_gentle_job_leaves_fragile_ports_out() {
    let mut job = job("127.84.3.1,::1", "101-103,502");
    (job.preset, job.host_rate) = (Preset::Gentle, 1_000);
    let (blocks, _) = Link::start(&job, "").finish();
    for address in ["127.84.3.1", "::1"] {
        let says = |port| blocks[0].says((address.parse::<std::net::IpAddr>().unwrap(), port).into());
        assert_eq!([101, 103].map(says), [Some(Reason::Refused); 2]);
        assert_eq!([102, 502].map(says), [Some(Reason::Excluded); 2]);
    }
    assert_eq!(blocks[0].sent, 4);
}

#[test]
fn what_a_scan_will_take_is_said_before_it_begins() {
    let output = probe("--targets 127.84.4.0/30 --ports 500-502 --preset normal");
    let said = complaint(&output);
    assert!(said.starts_with("4 hosts x 3 ports: 12 probes, preset normal"), "{said}");
    for line in [
        "warning: equipment behind these ports is fragile: 502 (502 is Modbus",
        "expected: less than a second if every port answers, 3 s if none does",
        "track connections: up to 36 entries (2000/s, kept 120 s)",
    ] {
        assert!(said.contains(line), "{line:?} is missing in {said}");
    }
}

#[test]
fn an_own_address_needs_a_flag_and_loopback_does_not() {
    let Some(space) = Namespace::new("own") else { return };
    space.run("ip link add portolan0 type veth peer name portolan1");
    space.run("ip address add 10.98.0.1/30 dev portolan0");
    space.run("ip -6 address add fd98::1/64 dev portolan0 nodad");
    space.run("ip link set portolan0 up");
    space.run("ip link set portolan1 up");
    let quick = "--ports 1-3 --preset fast --timeout 100 --retries 0";
    let output = space.probe(&format!("--targets 10.98.0.0/30,fd98::1,127.0.0.1 {quick}"));
    assert!(
        complaint(&output).contains("10.98.0.1, fd98::1: this machine itself, left out"),
        "{}",
        complaint(&output)
    );
    for line in ["10.98.0.1: every port not probed (excluded)", "127.0.0.1: every port closed (refused)"] {
        assert!(text(&output).lines().any(|said| said == line), "{}", text(&output));
    }
    let output = space.probe(&format!("--targets 10.98.0.1,fd98::1 {quick}"));
    assert_eq!((output.status.code(), text(&output)), (Some(1), ""));
    assert!(complaint(&output).contains("--own probes it all the same"), "{}", complaint(&output));
    let output = space.probe(&format!("--targets 10.98.0.1,fd98::1 {quick} --own"));
    assert!(text(&output).ends_with("0 open, 6 closed, 0 filtered, 0 unreachable, 0 not probed\n"));
}

#[test]
fn a_job_spares_this_machine_unless_it_says_otherwise() {
    let Some(space) = Namespace::new("own-job") else { return };
    space.run("ip address add 10.97.0.1/32 dev lo");
    space.run("ip -6 address add fd97::1/128 dev lo nodad");
    let mut job = job("10.97.0.1,127.0.0.1,fd97::1", "1-3");
    for (own, closed) in [(false, 3), (true, 9)] {
        job.own = own;
        let text = format!("{}.\n", job.encode());
        let script = format!("printf '%s' '{text}' | {SCANNER} probe --job - 2>&1; :");
        let output = space.command("sh").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.contains("10.97.0.1, fd97::1: this machine itself, left out"), !own, "{said}");
        assert_eq!(said.contains("host 10.97.0.1 not-probed excluded"), !own, "{said}");
        assert_eq!(said.contains("host fd97::1 not-probed excluded"), !own, "{said}");
        assert!(said.contains("block 0 ") && said.contains(&format!(" {closed} 0 0 0\n")), "{said}");
    }
}

#[test]
fn the_machines_own_list_holds_without_being_named() {
    // A mount namespace with an /etc of its own.
    let script = format!(
        "mount -t tmpfs none /etc && mkdir /etc/portolan && echo 127.84.5.1 ::1 > /etc/portolan/never-scan && \
         exec {SCANNER} probe --targets 127.84.5.0/30,::1 --ports 1 --preset fast"
    );
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output();
    let output = match output {
        Ok(output) if output.status.success() => output,
        other => {
            println!("skipped: no mount namespace can be made here ({other:?})");
            return;
        }
    };
    for address in ["127.84.5.1", "::1"] {
        let line = format!("{address}: every port not probed (excluded)\n");
        assert!(text(&output).contains(&line), "{}", text(&output));
    }
}
