//! The console of a real appliance, as a person has it: by pipes, at a terminal, and what its units say.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use portolan_tests::binaries::{self, repository};
use portolan_tests::{Site, units};
use serde_json::Value;
use tempfile::TempDir;

/// A machine for the console: its folders and its programs, and none of the real one's.
struct Machine {
    folder: TempDir,
    data: PathBuf,
}

impl Machine {
    fn of(data: &Path) -> Machine {
        let folder = TempDir::with_prefix("portolan-console-").expect("a temporary folder can be made");
        let machine = Machine { folder, data: data.to_owned() };
        for name in ["settings", "run", "sys/class/net/enp1s0", "proc/sys/kernel", "bin"] {
            fs::create_dir_all(machine.at(name)).expect("the folder is ours");
        }
        fs::write(machine.at("sys/class/net/enp1s0/carrier"), "1\n").expect("the folder is ours");
        fs::write(machine.at("proc/sys/kernel/hostname"), "pump-house\n").expect("the folder is ours");
        for (name, says) in [
            ("ip", "case \"$*\" in *addr*) echo '2: enp1s0 inet 192.0.2.77/24 scope global enp1s0';; esac"),
            ("systemctl", "case \"$1\" in is-active) echo active; echo active; echo failed;; esac"),
            ("journalctl", "echo 2026-11-23 manager began"),
        ] {
            let path = machine.at("bin").join(name);
            fs::write(&path, format!("#!/bin/sh\n{says}\n")).expect("the folder is ours");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        machine
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn arguments(&self, further: &[&str]) -> Vec<String> {
        let text = |path: PathBuf| path.to_str().expect("the path is UTF-8").to_owned();
        let mut words = vec!["console".to_owned()];
        for (option, path) in [
            ("--data", self.data.clone()),
            ("--settings", self.at("settings")),
            ("--run", self.at("run")),
            ("--sys", self.at("sys")),
            ("--proc", self.at("proc")),
            ("--image", self.at("image")),
            ("--programs", self.at("bin")),
        ] {
            words.extend([option.to_owned(), text(path)]);
        }
        words.extend(further.iter().map(|word| (*word).to_owned()));
        words
    }

    fn command(&self, further: &[&str]) -> Command {
        let mut command = Command::new(binaries::portolan());
        command.args(self.arguments(further));
        command
    }

    /// Types these lines, and gives what was said until they were at an end.
    fn typed(&self, lines: &[&str]) -> String {
        typed(&mut self.command(&[]), lines)
    }
}

fn typed(command: &mut Command, lines: &[&str]) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}: {}", output.status, said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// What the audit has of the console, oldest first.
fn told(site: &Site) -> Vec<Value> {
    let mut query = Command::new(binaries::portolan());
    query.args([
        "admin",
        "--json",
        "audit",
        "query",
        "--actor",
        "console",
        "--all",
        "--oldest-first",
        "--data",
    ]);
    let output = query.arg(site.data()).output().expect("portolan starts");
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    answer["items"].as_array().expect("a list").clone()
}

#[test]
fn a_person_sets_the_machine_up_and_the_audit_has_it() {
    let mut site = Site::fresh();
    let machine = Machine::of(site.data());
    let before = machine.typed(&[]);
    assert!(before.contains("not started yet") && before.contains("made at the first start"), "{before}");

    // What is done before there is a database waits for it.
    let time = machine.typed(&["2", "1", "192.0.2.123", "yes"]);
    assert!(time.contains("+ ntp = 192.0.2.123") && time.contains("Not in the audit yet"), "{time}");

    site.run("all");
    let first = machine.typed(&[]);
    let port = site.url().rsplit(':').next().expect("a port").to_owned();
    for part in ["https://192.0.2.77:", &port, "dispatcher failed", "pump-house", "SHA-256"] {
        assert!(first.contains(part), "{part}\n{first}");
    }
    let code =
        first.lines().find_map(|line| line.split("enter ").nth(1)).expect("the code is shown").to_owned();
    assert_eq!(code.len(), 14, "{first}");
    let _owner = site.set_up();
    let done = machine.typed(&[]);
    assert!(!done.contains(&code) && done.contains("Setup         done"), "{done}");

    let network = machine.typed(&["1", "1", "1", "192.0.2.10/24", "off", "192.0.2.1", "7", "yes"]);
    assert!(network.contains("no longer reached at 192.0.2.77") && network.contains("Done."), "{network}");
    assert!(!network.contains("Not in the audit"), "{network}");
    let written = fs::read_to_string(machine.at("run/systemd/network/50-portolan-enp1s0.network"));
    assert!(written.expect("it was written").contains("Gateway=192.0.2.1"));

    let entries = told(&site);
    let actions: Vec<&str> = entries.iter().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions, ["machine.settings-changed"; 2], "{entries:#?}");
    let actor = &entries[1]["actor"];
    assert_eq!((actor["kind"].as_str(), actor["id"].as_str()), (Some("cli"), Some("console")), "{actor}");
    let text = entries[1].to_string();
    assert!(text.contains("192.0.2.10/24") && text.contains("done_at"), "{text}");
    assert!(!machine.at("settings/unrecorded.jsonl").exists());
    let mut verify = Command::new(binaries::portolan());
    verify.args(["audit", "verify", "--data"]).arg(site.data());
    let verified = verify.output().expect("portolan starts");
    assert!(verified.status.success(), "{}", said(&verified));

    // A boot begins with nothing in /run.
    fs::remove_dir_all(machine.at("run/systemd")).expect("it is ours");
    let applied = machine.command(&["apply"]).output().expect("it starts");
    assert!(applied.status.success(), "{}", said(&applied));
    assert!(machine.at("run/systemd/network/50-portolan-enp1s0.network").exists());
    assert!(machine.at("run/systemd/timesyncd.conf.d/50-portolan-ntp.conf").exists());

    // A file that somebody spoiled changes nothing, and is told of.
    let file = machine.at("settings/machine.conf");
    fs::write(&file, "link.enp1s0.ipv4 = 192.0.2.10\n").expect("it is ours");
    for further in [&["apply"][..], &["check", file.to_str().expect("UTF-8")]] {
        let refused = machine.command(further).output().expect("it starts");
        assert!(!refused.status.success() && said(&refused).contains("line 1"), "{}", said(&refused));
    }
    assert!(machine.at("run/systemd/network/50-portolan-enp1s0.network").exists());
}

#[test]
fn it_works_at_a_terminal_that_knows_nothing() {
    let site = Site::start();
    let machine = Machine::of(site.data());
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("NOT TESTED: script, which makes a terminal, is not here");
        return;
    }
    let quoted = |word: &String| format!("'{word}'");
    let line: Vec<String> = machine.arguments(&[]).iter().map(quoted).collect();
    let line = format!("{} {}", binaries::portolan().display(), line.join(" "));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("TERM", "dumb");
    // The last is the end of what is typed, as a terminal has it.
    let shown = typed(&mut command, &["4", "1", "9", "\u{4}"]);
    assert!(shown.contains("manager began") && shown.contains("none of these numbers"), "{shown}");
    let own = shown.lines().filter(|line| line.starts_with("  ") || line.starts_with('-'));
    for line in own {
        assert!(line.trim_end().chars().count() <= 80, "{line}");
    }
    assert!(!shown.contains('\u{1b}'), "no cursor is moved");
}

#[test]
fn the_units_are_clean_and_what_is_loosened_has_its_reason() {
    // In tenths: the reason for the first is in docs/console.md, under "How much it may do".
    let limits = [("portolan-console@.service", "33"), ("portolan-settings.service", "15")];
    let analyze = Command::new("systemd-analyze").arg("--version").output().is_ok();
    for (unit, limit) in limits {
        let text = units::text(unit);
        for group in ["\n# State: ", "\n# Privileges: ", "\n# View: ", "\n# Calls: ", "# Loosened: "] {
            assert!(text.contains(group), "{unit}: {group}");
        }
        for name in [
            "PrivateUsers=",
            "ProcSubset=",
            "ProtectKernelTunables=",
            "PrivateNetwork=",
            "PrivateDevices=",
            "ProtectHostname=",
        ] {
            let set = text.lines().any(|line| line.starts_with(name));
            let explained = text.split("# Loosened: ").skip(1).any(|reason| reason.contains(name));
            assert!(set || explained, "{unit} has neither {name} nor a reason");
        }
        if !analyze {
            eprintln!("NOT TESTED: systemd-analyze is not here");
            continue;
        }
        let folder = TempDir::with_prefix("portolan-units-").expect("a temporary folder can be made");
        let text = text.replace("/usr/lib/portolan/portolan ", "/bin/true ");
        fs::write(folder.path().join(unit), text).expect("the folder is ours");
        let run = |arguments: &[&str]| {
            let mut command = Command::new("systemd-analyze");
            command.args(arguments).arg(format!("./{unit}")).current_dir(folder.path());
            command.output().expect("systemd-analyze starts")
        };
        let checked = run(&["verify", "--man=no"]);
        assert!(checked.status.success() && said(&checked).is_empty(), "{}", said(&checked));
        let threshold = format!("--threshold={limit}");
        let security = run(&["security", "--offline=true", &threshold, "--no-pager"]);
        assert!(security.status.success(), "{unit}\n{}", said(&security));
    }
    let page = fs::read_to_string(repository().join("docs/console.md")).expect("it is there");
    assert!(page.contains("exposure of 3.2"));
}
