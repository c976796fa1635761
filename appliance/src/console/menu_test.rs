//! The dialogue as a person has it: lines typed, what is said, what was run, and what is in force afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::clock::Timestamp;

/// A machine in a folder: two cards, and programs that write down how they were called.
struct Bench {
    root: tempfile::TempDir,
    console: Console,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for folder in [
            "settings",
            "run",
            "sys/class/net/enp1s0",
            "sys/class/net/enp2s0",
            "proc/sys/kernel",
            "bin",
            "image",
            "data",
        ] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("sys/class/net/enp1s0/carrier"), "1\n").unwrap();
        fs::write(at("sys/class/net/enp2s0/carrier"), "0\n").unwrap();
        fs::write(at("proc/sys/kernel/hostname"), "portolan\n").unwrap();
        let machine = Machine {
            settings: at("settings"),
            run: at("run"),
            sys: at("sys"),
            proc: at("proc"),
            image: at("image"),
            programs: format!("{}:/nowhere", at("bin").display()),
        };
        let bench = Self {
            console: Console {
                machine,
                data: FilesArgs { data: at("data"), json: false },
                clock: Clock::fixed(Timestamp::parse("2026-11-23T06:00:00Z").unwrap()),
                terminal: "ttyS0".into(),
            },
            root,
        };
        for name in ["systemctl", "date", "hwclock", "journalctl"] {
            bench.program(name, "");
        }
        bench.program(
            "ip",
            "case \"$*\" in *addr*) echo '2: enp1s0 inet 192.0.2.77/24 brd 192.0.2.255 scope global dynamic enp1s0';; esac\n",
        );
        bench
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn program(&self, name: &str, does: &str) {
        let path = self.at("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\necho \"{name} $*\" >>{}\n{does}", self.at("calls").display()))
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Types these lines, and gives what was said.
    fn typed(&self, lines: &[&str]) -> String {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let (mut from, mut to) = (text.as_bytes(), Vec::new());
        self.console.run(&mut Talk::new(&mut from, &mut to)).unwrap();
        String::from_utf8(to).unwrap()
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.at("calls")).unwrap_or_default();
        text.lines()
            .filter(|line| !line.contains("addr") && !line.contains("is-active"))
            .map(str::to_owned)
            .collect()
    }

    fn text(&self, path: impl AsRef<Path>) -> String {
        fs::read_to_string(self.root.path().join(path)).unwrap_or_default()
    }

    /// What was written down and waits for the audit.
    fn noted(&self) -> Vec<Deed> {
        self.text("settings/unrecorded.jsonl")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

#[test]
fn an_address_is_set_after_it_was_shown_and_agreed_to() {
    let bench = Bench::new();
    let said = bench.typed(&["1", "1", "1", "192.0.2.10/24", "off", "192.0.2.1", "7", "yes"]);
    for part in [
        "+ link.enp1s0.ipv4 = 192.0.2.10/24",
        "The pages are no longer reached at 192.0.2.77.",
        "https://192.0.2.77/",
        "enp2s0          no signal",
        "Done.",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    assert_eq!(
        bench.text("settings/machine.conf").lines().skip(1).collect::<Vec<_>>(),
        ["link.enp1s0.ipv4 = 192.0.2.10/24", "link.enp1s0.ipv6 = off", "link.enp1s0.gateway = 192.0.2.1"]
    );
    let network = bench.text("run/systemd/network/50-portolan-enp1s0.network");
    assert!(network.contains("Address=192.0.2.10/24\nGateway=192.0.2.1\n"), "{network}");
    assert_eq!(bench.calls(), ["systemctl restart systemd-networkd.service"]);
    let noted = bench.noted();
    assert_eq!(
        (noted.len(), noted[0].action.as_str(), noted[0].on.as_str()),
        (1, "machine.settings-changed", "ttyS0")
    );
    assert!(said.contains("Not in the audit yet"), "there is no database here\n{said}");
}

#[test]
fn without_a_yes_nothing_changes() {
    let bench = Bench::new();
    for answer in ["no", "", "y"] {
        let said = bench.typed(&["1", "1", "1", "192.0.2.10/24", "off", "", "7", answer]);
        assert!(said.contains("Not confirmed"), "{said}");
    }
    assert!(!bench.at("settings/machine.conf").exists() && !bench.at("run/systemd").exists());
    assert!(bench.calls().is_empty() && bench.noted().is_empty());
    // A line that breaks off is no answer either.
    let said = bench.typed(&["1", "1", "1", "192.0.2.10/24"]);
    assert!(!said.contains("Done") && bench.calls().is_empty());
}

#[test]
fn a_typo_is_told_and_asked_again_and_what_does_not_fit_is_not_set() {
    let bench = Bench::new();
    let said = bench.typed(&["1", "1", "1", "192.0.2.10", "192.0.2.10/24", "", "192.0.3.1", "7"]);
    assert!(said.contains("has no prefix"), "{said}");
    assert!(said.contains("192.0.3.1 is in no network of this link"), "{said}");
    assert!(said.contains("was not set"), "{said}");
    assert!(!bench.at("settings/machine.conf").exists());
}

#[test]
fn whoever_would_cut_the_machine_off_is_told_so() {
    let bench = Bench::new();
    let off = ["off", "off", ""];
    let mut lines = vec!["1", "1", "1"];
    lines.extend(off);
    lines.extend(["1", "2"]);
    lines.extend(off);
    lines.extend(["7", "no"]);
    let said = bench.typed(&lines);
    assert!(said.contains("NOBODY reaches the pages"), "{said}");
    assert!(said.contains("enp2s0 has no signal now"), "{said}");
}

#[test]
fn a_vlan_comes_and_its_number_changes() {
    let bench = Bench::new();
    let set = |number: &str| {
        let vlan = format!("{number} on enp1s0");
        bench.typed(&["1", "3", "plant", &vlan, "7", "yes"])
    };
    let said = set("20");
    assert!(said.contains("+ link.plant.vlan = 20 on enp1s0"), "{said}");
    assert!(bench.text("run/systemd/network/50-portolan-plant.netdev").contains("Id=20"));
    assert!(bench.text("run/systemd/network/50-portolan-enp1s0.network").contains("VLAN=plant"));
    fs::create_dir_all(bench.at("sys/class/net/plant")).unwrap();
    set("21");
    let calls = bench.calls();
    assert!(calls.contains(&"ip link delete plant".to_owned()), "{calls:?}");
    // Forgotten: its files go, the card's own too.
    let said = bench.typed(&["1", "4", "3", "7", "yes"]);
    assert!(said.contains("- link.plant.vlan = 21 on enp1s0"), "{said}");
    assert_eq!(fs::read_dir(bench.at("run/systemd/network")).unwrap().count(), 0);
}

#[test]
fn time_comes_by_servers_or_by_hand_and_never_by_both() {
    let bench = Bench::new();
    let said = bench.typed(&["2", "1", "192.0.2.123", "yes"]);
    assert!(said.contains("+ ntp = 192.0.2.123"), "{said}");
    assert!(bench.text("run/systemd/timesyncd.conf.d/50-portolan-ntp.conf").contains("NTP=192.0.2.123"));
    let said = bench.typed(&["2", "2"]);
    assert!(said.contains("take them back first"), "{said}");
    let said = bench.typed(&["2", "1", "-", "yes", "2", "2", "2026-11-23 07:00", "yes"]);
    assert!(said.contains("The clock goes from 2026-11-23T06:00:00"), "{said}");
    assert_eq!(
        bench.calls(),
        [
            "systemctl restart systemd-timesyncd.service",
            "systemctl stop systemd-timesyncd.service",
            "date -u -s @1795417200",
            "hwclock --systohc --utc"
        ]
    );
    assert_eq!(bench.noted().last().unwrap().action, "machine.clock-set");
}

#[test]
fn logs_are_paged_and_tests_say_what_they_found() {
    let bench = Bench::new();
    bench.program("journalctl", "i=0; while [ $i -lt 30 ]; do echo entry $i; i=$((i + 1)); done\n");
    let said = bench.typed(&["4", "1", "q"]);
    assert!(said.contains("entry 20\n") && !said.contains("entry 21\n"), "{said}");
    let said = bench.typed(&["3", ""]);
    assert!(said.contains("enp2s0: NO SIGNAL") && said.contains("gateway   none"), "{said}");
    assert!(said.contains("0 with errors"), "{said}");
}

#[test]
fn the_machine_restarts_and_is_erased_only_when_that_was_said() {
    let bench = Bench::new();
    let said = bench.typed(&["5", "n", "6", "yes"]);
    assert!(said.contains("Not confirmed"), "{said}");
    assert_eq!(bench.calls(), ["systemctl poweroff"]);
    assert!(!said.contains("Factory reset"), "only the image has it");
    fs::write(bench.at("image/factory-reset"), "").unwrap();
    let said = bench.typed(&["7", "yes", "7", "portolan"]);
    assert!(said.contains("That is not its name") && said.contains("as it was made"), "{said}");
    assert_eq!(bench.calls()[1..], ["systemctl start --no-block portolan-factory-reset.service"]);
    assert_eq!(bench.noted().last().unwrap().action, "machine.factory-reset");
}

#[test]
fn settings_that_cannot_be_read_are_not_in_force_and_not_lost() {
    let bench = Bench::new();
    fs::write(bench.at("settings/machine.conf"), "ipv4 = dhcp\n").unwrap();
    let said = bench.typed(&["1", "no"]);
    assert!(said.contains("line 1: \"ipv4\" is no key"), "{said}");
    assert_eq!(bench.text("settings/machine.conf"), "ipv4 = dhcp\n");
    apply::kept(&bench.console.machine).unwrap_err();
}

#[test]
fn a_boot_writes_what_was_kept_and_takes_away_what_is_no_longer() {
    let bench = Bench::new();
    let machine = &bench.console.machine;
    let settings = super::super::settings::parse("hostname = pump-house\ndns = 192.0.2.53\n").unwrap();
    apply::keep(machine, &settings).unwrap();
    fs::create_dir_all(bench.at("run/systemd/network")).unwrap();
    fs::write(bench.at("run/systemd/network/50-portolan-old.network"), "").unwrap();
    fs::write(bench.at("run/systemd/network/70-other.network"), "").unwrap();
    let kept = apply::kept(machine).unwrap();
    assert_eq!(apply::write(machine, &kept).unwrap(), ["network", "resolved.conf.d"]);
    assert_eq!(apply::write(machine, &kept).unwrap(), [""; 0], "the second time there is nothing to do");
    assert_eq!(bench.text("proc/sys/kernel/hostname"), "pump-house");
    assert!(bench.at("run/systemd/network/70-other.network").exists());
    assert!(!bench.at("run/systemd/network/50-portolan-old.network").exists());
    assert!(bench.text("run/systemd/resolved.conf.d/50-portolan-dns.conf").contains("DNS=192.0.2.53"));
}
