//! What the image is made from, without making it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use portolan_tests::binaries::repository;
use portolan_tests::units::accounts;

fn image() -> PathBuf {
    repository().join("image")
}

fn read(path: &str) -> String {
    fs::read_to_string(image().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of the definition.
fn files() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![image()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read").flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

/// A setting of several lines, without comments.
fn setting(file: &str, name: &str) -> BTreeSet<String> {
    let text = read(file);
    let begin = format!("{name}=");
    let lines = text.lines().skip_while(|line| !line.starts_with(&begin)).skip(1);
    let lines = lines.take_while(|line| line.is_empty() || line.starts_with(' '));
    let words = lines.map(|line| line.split('#').next().unwrap_or_default().trim());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_command_line_locks_the_machine_down() {
    let line = setting("mkosi.conf", "KernelCommandLine");
    for word in [
        "ro",
        "gpt",
        "systemd.import_credentials=no",
        "systemd.verity_root_options=panic-on-corruption",
        "lockdown=integrity",
        "module.sig_enforce=1",
        "init_on_alloc=1",
        "slab_nomerge",
        "vsyscall=none",
        "panic=10",
    ] {
        assert!(line.contains(word), "{word} is not in {line:?}");
    }
    assert!(
        !line.iter().any(|word| word.contains("mitigations=off") || word.contains("debug_shell")),
        "{line:?}"
    );
}

#[test]
fn nothing_to_sign_in_with_nor_to_build_with_is_installed() {
    let packages = setting("mkosi.conf", "Packages");
    assert!(packages.contains("linux-image-amd64") && packages.contains("nftables"), "{packages:?}");
    for unwanted in ["ssh", "apt", "dpkg", "perl", "gcc", "python", "login", "sudo", "curl", "wget", "dev"] {
        let found = packages.iter().find(|one| one.split('-').any(|word| word == unwanted));
        assert_eq!(found, None, "{unwanted}");
    }
}

#[test]
fn no_key_and_no_mirror_is_in_the_definition() {
    for path in files() {
        let text = fs::read(&path).expect("it can be read");
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("PRIVATE KEY"), "{}", path.display());
        assert!(!text.contains("http://deb.") && !text.contains("debian.org"), "{}", path.display());
    }
}

#[test]
fn the_shell_of_the_tests_is_in_no_other_image() {
    for path in files() {
        let of_the_tests = path.starts_with(image().join("mkosi.profiles/test"));
        let text = fs::read(&path).expect("it can be read");
        let names = String::from_utf8_lossy(&text).contains("portolan.test");
        assert!(!names || of_the_tests, "{}", path.display());
    }
}

#[test]
fn every_user_and_group_has_a_number_and_none_has_two() {
    let text = read("mkosi.extra/usr/lib/sysusers.d/00-portolan-image.conf");
    let lines: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect())
        .collect();
    for name in accounts().keys() {
        assert!(lines.iter().any(|line| line[1] == name), "{name} has no number");
    }
    for one in &lines {
        let number: u32 = one[2].parse().unwrap_or_else(|_| panic!("{one:?}"));
        assert!((101..1000).contains(&number), "{one:?}");
        let others = lines.iter().filter(|other| other[2] == one[2] && other[1] != one[1]);
        assert_eq!(others.count(), 0, "{one:?}");
    }
    // /var of machines that run has files of these numbers: what stands here never changes.
    for (name, number) in [
        ("portolan-manager", "801"),
        ("portolan-ingest", "802"),
        ("portolan-dispatcher", "803"),
        ("portolan-scanner", "804"),
        ("portolan-config", "820"),
        ("portolan-jobs", "821"),
        ("portolan-spool", "822"),
        ("systemd-network", "102"),
        ("systemd-resolve", "103"),
        ("systemd-timesync", "104"),
    ] {
        let found = lines.iter().find(|line| line[1] == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(found[2], number, "{name}");
    }
}

#[test]
fn only_the_pages_and_the_scanners_are_let_in() {
    let rules = read("mkosi.extra/etc/nftables.conf");
    assert!(rules.contains("hook input priority filter; policy drop;"), "{rules}");
    assert!(rules.contains("hook forward priority filter; policy drop;"), "{rules}");
    let ports: Vec<&str> = rules.lines().filter(|line| line.trim().starts_with("tcp dport")).collect();
    assert_eq!(ports.len(), 1, "{ports:?}");
    assert!(ports[0].contains("{ 443, 8443 }"), "{ports:?}");
    let mut check = Command::new("nft");
    check.arg("-c").arg("-f").arg(image().join("mkosi.extra/etc/nftables.conf"));
    match check.stdin(Stdio::null()).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let may_not =
                said.contains("Operation not permitted") || said.contains("cache initialization failed");
            assert!(output.status.success() || may_not, "{said}");
        }
        Err(error) => eprintln!("NOT TESTED: nft: {error}"),
    }
}

/// Units of the program that the image leaves off, and why.
const ON_PURPOSE_NOT: [(&str, &str); 1] =
    [("portolan-scanner.service", "the scanner of the machine itself is off until it is chosen")];

#[test]
fn every_unit_that_can_be_enabled_is_or_is_left_off_on_purpose() {
    let presets = read("mkosi.extra/usr/lib/systemd/system-preset/00-portolan.preset");
    let enabled: BTreeSet<&str> = presets
        .lines()
        .filter_map(|line| line.strip_prefix("enable ")?.split(' ').next())
        .chain(ON_PURPOSE_NOT.map(|(unit, _)| unit))
        .collect();
    let folders = [repository().join("systemd"), image().join("mkosi.extra/usr/lib/systemd/system")];
    let mut seen = 0;
    for entry in folders.iter().flat_map(|folder| fs::read_dir(folder).expect("it can be read").flatten()) {
        if !entry.path().is_file() {
            continue;
        }
        let text = fs::read_to_string(entry.path()).expect("a unit is text");
        let name = entry.file_name().into_string().expect("a name in letters");
        if text.lines().any(|line| line == "[Install]") {
            seen += 1;
            assert!(enabled.contains(name.as_str()), "{name} is neither enabled nor left off on purpose");
        }
    }
    assert!(seen > 8, "{seen}");
}

#[test]
fn the_kernel_has_one_command_line() {
    // Of a kernel with a second one the loader starts that first while the version is on trial: an update would install.
    let told = files().into_iter().find(|path| path.to_string_lossy().contains("uki-profiles"));
    assert_eq!(told, None);
}

#[test]
fn what_the_console_offers_on_the_image_has_its_program_and_its_unit() {
    let power = repository().join("appliance/src/console/menu/power.rs");
    let power = fs::read_to_string(power).expect("source is text");
    assert!(
        power.contains("\"factory-reset\"") && power.contains("\"portolan-factory-reset.service\""),
        "{power}"
    );
    let unit = read("mkosi.extra/usr/lib/systemd/system/portolan-factory-reset.service");
    assert!(unit.contains("ExecStart=/usr/lib/portolan-image/factory-reset\n"), "{unit}");
    assert!(image().join("mkosi.extra/usr/lib/portolan-image/factory-reset").exists());
}

#[test]
fn a_machine_that_hangs_is_started_again() {
    let manager = read("mkosi.extra/usr/lib/systemd/system.conf.d/10-portolan.conf");
    assert!(manager.contains("\nRuntimeWatchdogSec=60s\n"), "{manager}");
}

#[test]
fn the_master_key_is_sealed_by_the_data_alone() {
    // Sealed to the TPM as well, it would be lost with the board, and the recovery key would open data full of closed secrets.
    let finalize = read("mkosi.finalize");
    let (_, masked) = finalize.split_once("for unit in ").expect("units are masked");
    let (masked, _) = masked.split_once("; do").expect("it ends");
    assert!(masked.split_whitespace().any(|unit| unit == "portolan-seal.service"), "{masked}");
}

#[test]
fn what_the_console_calls_is_installed() {
    let packages = setting("mkosi.conf", "Packages");
    let mut called = BTreeSet::new();
    let mut folders = vec![repository().join("appliance/src/console")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("it can be read").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|kind| kind == "rs") {
                let text = fs::read_to_string(entry.path()).expect("source is text");
                let parts = text.split(".run(\"").skip(1);
                called.extend(parts.filter_map(|part| part.split('"').next().map(str::to_owned)));
            }
        }
    }
    let of = |program: &str| match program {
        "ip" => "iproute2",
        "date" => "coreutils",
        "hwclock" => "util-linux-extra",
        "systemctl" | "journalctl" | "systemd-run" => "systemd",
        "mount" | "umount" => "mount",
        "lsblk" | "findmnt" => "util-linux",
        other => panic!("which package has {other}?"),
    };
    assert!(called.contains("hwclock") && called.contains("ip"), "{called:?}");
    for program in called {
        assert!(packages.contains(of(&program)), "{program}");
    }
}

#[test]
fn what_the_presets_start_is_there() {
    let presets = read("mkosi.extra/usr/lib/systemd/system-preset/00-portolan.preset");
    assert!(presets.trim_end().ends_with("disable *"), "{presets}");
    let ours = image().join("mkosi.extra/usr/lib/systemd/system");
    let program = repository().join("systemd");
    for line in presets.lines().filter_map(|line| line.strip_prefix("enable ")) {
        let unit = line.split(' ').next().expect("a unit is named");
        let there = |folder: &Path| folder.join(unit).exists();
        let of_debian = unit.starts_with("systemd-") || unit == "nftables.service";
        assert!(of_debian || there(&ours) || there(&program), "{unit}");
    }
}
