//! The appliance's units: what systemd makes of them, and that what they say holds together.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

use portolan_tests::binaries::{self, repository};
use portolan_tests::units::{accounts, directive, folders, text};
use tempfile::TempDir;

const SERVICES: [&str; 7] = [
    "portolan-manager.service",
    "portolan-ingest.service",
    "portolan-dispatcher.service",
    "portolan-seal.service",
    "portolan-update-trial.service",
    "portolan-update-gate.service",
    "portolan-update-good.service",
];
const OTHERS: [&str; 5] = [
    "portolan.target",
    "portolan-manager.socket",
    "portolan-ingest.socket",
    // It runs nothing.
    "portolan-update-deadline.service",
    "portolan-update-deadline.timer",
];

fn found(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// The units in a folder, with programs that are there.
fn units() -> TempDir {
    let folder = TempDir::with_prefix("portolan-units-").expect("a temporary folder can be made");
    for name in SERVICES.iter().chain(&OTHERS).copied().chain(["portolan-scanner.service"]) {
        let unit = text(name).replace("/usr/lib/portolan/portolan ", "/bin/true ");
        let unit = unit.replace("/usr/local/bin/portolan-scanner ", "/bin/true ");
        fs::write(folder.path().join(name), unit).expect("the folder is ours");
    }
    // systemd-boot's, where that is not installed.
    let bless = "[Service]\nType=oneshot\nExecStart=/bin/true\n";
    fs::write(folder.path().join("systemd-bless-boot.service"), bless).expect("the folder is ours");
    folder
}

fn analyze(folder: &Path, arguments: &[&str], units: &[&str]) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).args(units.iter().map(|unit| format!("./{unit}"))).current_dir(folder);
    command.output().expect("systemd-analyze starts")
}

#[test]
fn systemd_takes_the_units_and_finds_little_exposed() {
    if !found("systemd-analyze") {
        eprintln!("NOT TESTED: systemd-analyze is not here");
        return;
    }
    let folder = units();
    let all: Vec<&str> = SERVICES.into_iter().chain(OTHERS).collect();
    let checked = analyze(folder.path(), &["verify", "--man=no"], &all);
    assert!(checked.status.success() && said(&checked).is_empty(), "{}", said(&checked));
    for service in SERVICES {
        // In tenths.
        let arguments = ["security", "--offline=true", "--threshold=15", "--no-pager"];
        let security = analyze(folder.path(), &arguments, &[service]);
        assert!(security.status.success(), "{service}\n{}", said(&security));
    }
}

#[test]
fn directives_are_grouped_and_what_is_loosened_has_its_reason() {
    for service in SERVICES {
        let text = text(service);
        let groups =
            ["\n# State: ", "\n# Privileges: ", "\n# View: ", "\n# Calls: "].map(|group| text.find(group));
        assert!(groups.iter().all(Option::is_some) && groups.is_sorted(), "{service}: {groups:?}");
        let lines: Vec<&str> = text.lines().collect();
        let with_reason = |name: &str| {
            lines.windows(2).any(|two| two[0].starts_with("# Loosened: ") && two[1].starts_with(name))
        };
        for name in ["RestrictAddressFamilies=AF_INET", "ExecPaths=", "SocketBindAllow=", "DeviceAllow="] {
            if lines.iter().any(|line| line.starts_with(name)) {
                let before_that = lines.iter().position(|line| line.starts_with(name)).expect("seen") - 2;
                assert!(
                    with_reason(name) || lines[before_that].starts_with("# Loosened: "),
                    "{service}: {name}"
                );
            }
        }
        for name in ["PrivateNetwork=yes", "PrivateUsers=yes", "PrivateDevices=yes", "ProcSubset=pid"] {
            let key = name.split('=').next().expect("a name");
            let explained = lines.iter().any(|line| {
                line.starts_with("# Loosened: ")
                    && (line.contains(key) || (key == "PrivateUsers" && line.contains("root")))
            });
            assert!(lines.contains(&name) || explained, "{service} has neither {name} nor a reason");
        }
    }
}

/// What tells the manager that a log server had all of it (`appliance/src/audit/siem/arrival.rs`).
#[test]
fn in_a_view_of_processes_alone_a_process_still_sees_its_own_connections() {
    assert_eq!(directive("portolan-manager.service", "ProcSubset"), ["pid"]);
    let line = "mount -t proc -o subset=pid,hidepid=invisible proc /proc && ! test -e /proc/net \
                && head -n 1 /proc/self/net/tcp /proc/self/net/tcp6";
    let output = Command::new("unshare").args(["--mount", "sh", "-c", line]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("not permitted") {
        eprintln!("NOT TESTED: a view of its own needs root");
        return;
    }
    assert!(output.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).matches("local_address").count(), 2);
}

#[test]
fn a_version_that_cannot_even_begin_its_trial_does_not_stay() {
    let tried = "/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    let units = ["trial.service", "gate.service", "good.service", "deadline.timer", "deadline.service"];
    for unit in units.map(|name| format!("portolan-update-{name}")) {
        // The firmware says that a try was counted, whatever the version that is tried does or does not write.
        let conditions = directive(&unit, "ConditionPathExists");
        assert_eq!(conditions.first().map(String::as_str), Some(tried), "{unit}");
        assert!(conditions[1..].iter().all(|one| one == "!/run/portolan/over"), "{unit}: {conditions:?}");
    }
    let one = |unit: &str, name: &str| directive(&format!("portolan-update-{unit}"), name).join(" ");
    for unit in ["trial.service", "gate.service"] {
        assert_eq!(one(unit, "FailureAction"), "reboot-force", "{unit}");
    }
    assert_eq!(one("deadline.service", "SuccessAction"), "reboot-force");
    assert_eq!(one("gate.service", "Requires"), "portolan-update-trial.service");
    assert_eq!(one("gate.service", "RequiredBy"), "boot-complete.target");
    assert!(one("gate.service", "Before").contains("boot-complete.target"));
    assert!(one("gate.service", "ExecStart").ends_with("update gate --from-boot"));
    // Nothing is forgotten before systemd-boot knows that it stays.
    assert_eq!(one("good.service", "Requires"), "systemd-bless-boot.service");
    assert!(one("good.service", "After").contains("systemd-bless-boot.service"));
    // Wanted by nothing else: where nothing was tried, what it requires fails.
    assert_eq!(one("good.service", "WantedBy"), "systemd-bless-boot.service");
    assert!(one("good.service", "ExecStartPre").starts_with("-+"), "what fails there undoes nothing");
    assert!(!one("gate.service", "ReadWritePaths").contains("/run"), "a role ends no trial");
    assert!(folders().iter().any(|folder| folder.path == "/run/portolan" && folder.owner == "root"));
    assert_eq!(one("deadline.timer", "OnBootSec"), "20min");
    assert_eq!(one("deadline.timer", "WantedBy"), "sysinit.target");
}

#[test]
fn ingest_sees_of_the_data_folder_what_it_needs_and_no_network() {
    let unit = "portolan-ingest.service";
    assert_eq!(directive(unit, "TemporaryFileSystem"), ["/var/lib/portolan:ro"]);
    assert_eq!(directive(unit, "BindPaths"), ["/var/lib/portolan/jobs /var/lib/portolan/spool"]);
    assert_eq!(directive(unit, "BindReadOnlyPaths"), ["/var/lib/portolan/ingest"]);
    assert_eq!(directive(unit, "PrivateNetwork"), ["yes"]);
    assert_eq!(directive(unit, "ReadWritePaths"), [""; 0]);
    assert_eq!(directive(unit, "LoadCredentialEncrypted"), [""; 0]);
}

#[test]
fn no_two_roles_are_one_user_and_groups_are_shared_as_the_design_says() {
    let roles = ["manager", "ingest", "dispatcher"];
    let of = |role: &str, name: &str| directive(&format!("portolan-{role}.service"), name).join(" ");
    let users: BTreeSet<String> = roles.iter().map(|role| of(role, "User")).collect();
    assert_eq!(users.len(), 3);
    let groups = roles.map(|role| of(role, "SupplementaryGroups"));
    let [manager, ingest, dispatcher] = groups.each_ref().map(String::as_str);
    assert_eq!(manager, "portolan-config portolan-jobs portolan-spool");
    assert_eq!(ingest, "portolan-jobs portolan-spool");
    assert_eq!(dispatcher, "portolan-config portolan-jobs");
    for folder in folders() {
        let shared = folder.mode & 0o070 != 0 || folder.path == "/var/lib/portolan";
        assert_eq!(folder.mode & 0o002, 0, "{} can be written by everyone", folder.path);
        assert!(shared || folder.mode & 0o7777 == 0o700, "{folder:?}");
    }
}

#[test]
fn a_role_that_is_away_comes_back_and_no_pause_of_it_reaches_the_limit() {
    for role in ["manager", "ingest", "dispatcher"] {
        let unit = format!("portolan-{role}.service");
        let one = |name: &str| directive(&unit, name).join(" ");
        // Also after a SIGTERM of somebody else, and an end in order.
        assert_eq!(one("Restart"), "always");
        assert_eq!(one("RestartPreventExitStatus"), "2 77");
        assert_eq!(one("StartLimitIntervalSec"), "1min");
        let (pause, limit): (u32, u32) =
            (one("RestartSec").parse().expect("seconds"), one("StartLimitBurst").parse().expect("a number"));
        assert!(60 / pause < limit, "{unit}: {limit} restarts within a minute leave it failed for good");
        assert_eq!(one("RequiresMountsFor"), "/var/lib/portolan");
        let settings = ["-/etc/portolan/portolan.conf", "-/var/lib/portolan-settings/portolan.conf"];
        assert_eq!(directive(&unit, "EnvironmentFile"), settings);
    }
}

#[test]
fn an_upgrade_restarts_the_services_and_leaves_the_sockets_open() {
    for socket in ["portolan-manager.socket", "portolan-ingest.socket"] {
        // A stop of the target closes them; so would a restart of it.
        assert_eq!(directive(socket, "PartOf"), ["portolan.target"]);
    }
    for file in ["packaging/install.sh", "packaging/deb/postinst", "INSTALL.md", "systemd/portolan.conf"] {
        let text = fs::read_to_string(repository().join(file)).expect("it is there");
        assert!(!text.contains("restart portolan.target"), "{file}");
    }
}

#[test]
fn nobody_writes_in_a_folder_that_holds_folders_of_others() {
    let all = folders();
    for folder in &all {
        let inside = |other: &&portolan_tests::units::Folder| {
            Path::new(&other.path).parent() == Some(Path::new(&folder.path)) && other.owner != folder.owner
        };
        if let Some(other) = all.iter().find(inside) {
            assert_eq!(folder.mode & 0o022, 0, "{} holds {}", folder.path, other.path);
        }
    }
}

#[test]
fn systemd_makes_the_users_and_the_folders() {
    let root = fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0);
    if !root || !found("systemd-sysusers") || !found("systemd-tmpfiles") {
        eprintln!("NOT TESTED: systemd-sysusers and systemd-tmpfiles need root, and to be here");
        return;
    }
    let tree = TempDir::with_prefix("portolan-tree-").expect("a temporary folder can be made");
    let at = |path: &str| tree.path().join(path);
    for (folder, file, name) in [
        ("sysusers.d", "portolan.sysusers", "systemd-sysusers"),
        ("tmpfiles.d", "portolan.tmpfiles", "systemd-tmpfiles"),
    ] {
        let place = at("usr/lib").join(folder);
        fs::create_dir_all(&place).expect("the tree is ours");
        fs::create_dir_all(at("etc")).expect("the tree is ours");
        fs::write(place.join("portolan.conf"), text(file)).expect("the tree is ours");
        // Twice: the second time all of it is there.
        for _ in 0..2 {
            let mut command = Command::new(name);
            command.arg(format!("--root={}", tree.path().display())).arg("portolan.conf");
            if name == "systemd-tmpfiles" {
                command.arg("--create");
            }
            let output = command.output().expect("it starts");
            assert!(output.status.success(), "{name}: {}", said(&output));
            assert!(!said(&output).contains("unsafe"), "{name}: {}", said(&output));
        }
    }
    let passwd = fs::read_to_string(at("etc/passwd")).expect("users were made");
    let group = fs::read_to_string(at("etc/group")).expect("groups were made");
    let id = |text: &str, name: &str| -> u32 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        let id = line.and_then(|line| line.split(':').nth(1));
        id.and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
    };
    for name in accounts().keys() {
        assert!(id(&group, name) > 0);
    }
    for folder in folders() {
        let about = fs::metadata(at(folder.path.trim_start_matches('/'))).expect("it was made");
        let owner = if folder.owner == "root" { 0 } else { id(&passwd, &folder.owner) };
        let group = if folder.group == "root" { 0 } else { id(&group, &folder.group) };
        assert_eq!(
            (about.uid(), about.gid(), about.mode() & 0o7777),
            (owner, group, folder.mode),
            "{folder:?}"
        );
    }
}

#[test]
fn the_example_configuration_explains_every_key_that_the_program_reads() {
    let output = Command::new(binaries::portolan()).args(["serve", "--help"]).output().expect("it starts");
    let help = said(&output);
    let mut read: BTreeSet<&str> =
        help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next()).collect();
    read.insert("PORTOLAN_LOG");
    let example = fs::read_to_string(repository().join("systemd/portolan.conf")).expect("it is there");
    let lines: Vec<&str> = example.lines().collect();
    let mut explained = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.strip_prefix('#').unwrap_or(line).split_once('=') else { continue };
        if key.starts_with("PORTOLAN_") {
            assert!(lines[at - 1].starts_with("# "), "{key} has no explanation");
            explained.insert(key);
        }
    }
    assert_eq!(explained, read);
    assert!(lines.iter().all(|line| line.is_empty() || line.starts_with('#')), "as it comes it sets nothing");
}
