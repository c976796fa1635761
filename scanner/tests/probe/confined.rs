//! What a running probe has given up, as the kernel tells it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{SCANNER, job};

/// Starts a probe that inherits a file it has no use for, and waits until it is confined.
fn start(arguments: &str) -> Child {
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec 9</etc/passwd; exec {SCANNER} probe {arguments}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    if arguments == "--job -" {
        let mut job = job("127.83.0.0/24", "1-1000");
        job.rate = 100;
        let input = format!("{}.\n", job.encode());
        child.stdin.as_mut().unwrap().write_all(input.as_bytes()).unwrap();
    }
    let begun = Instant::now();
    while !status(&child).contains("Seccomp:\t2") {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", status(&child));
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn status(child: &Child) -> String {
    fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap()
}

fn descriptors(child: &Child) -> BTreeSet<String> {
    let folder = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
    // One that is closed meanwhile has no name any more.
    let names = folder.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_running_probe_has_no_capabilities_and_its_calls_are_filtered() {
    let bounded = fs::read_to_string("/proc/self/status").unwrap().contains("CapEff:\t0000000000000000");
    for arguments in ["--job -", "--targets 127.83.1.0/24 --ports 1-1000 --rate 100"] {
        let mut child = start(arguments);
        let status = status(&child);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            line.unwrap_or_else(|| panic!("{name} is not in {status}")).to_owned()
        };
        assert_eq!(value("NoNewPrivs"), "1", "{arguments}");
        assert_eq!(value("Seccomp"), "2", "{arguments}");
        assert_eq!(value("Threads"), "1", "{arguments}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(value(set), "0000000000000000", "{set}, {arguments}");
        }
        assert!(bounded || value("CapBnd") == "0000000000000000", "{arguments}: {}", value("CapBnd"));
        let said = String::from_utf8(output.stderr).unwrap();
        for line in said.lines().filter(|line| line.contains("confined")) {
            assert!(line.contains("which this kernel does not offer"), "{line}");
        }
    }
}

#[test]
fn a_running_probe_holds_no_descriptor_but_its_own() {
    for arguments in ["--job -", "--targets 127.83.2.0/24 --ports 1-1000 --rate 100"] {
        let mut child = start(arguments);
        let held = descriptors(&child);
        child.kill().unwrap();
        child.wait().unwrap();
        for name in &held {
            let own =
                ["pipe:[", "socket:[", "anon_inode:[eventpoll]"].iter().any(|kind| name.starts_with(kind));
            assert!(own, "{arguments}: {held:?}");
        }
    }
}

#[test]
fn a_list_can_still_come_over_a_descriptor_that_is_closed_later() {
    let script = format!(
        "exec 9<<END\n127.83.3.1\nEND\n\
         exec {SCANNER} probe --never-scan /dev/fd/9 --targets 127.83.3.0/31 --ports 1-3 --preset fast"
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("127.83.3.1: every port not probed (excluded)\n"), "{text}");
    assert!(text.contains("127.83.3.0: every port closed (refused)\n"), "{text}");
}
