//! Three processes under three users: the story works as in one process, and each can open only what is its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use portolan_tests::{Site, story};

const MANAGER: u32 = 64_001;
const INGEST: u32 = 64_002;
const DISPATCHER: u32 = 64_003;
/// Who shares config.db: manager and dispatcher.
const CONFIG: u32 = 64_010;
/// Who shares jobs.db: all three.
const JOBS: u32 = 64_020;
/// Who shares the spool: ingest and manager.
const SPOOL: u32 = 64_030;

fn user(id: u32, groups: &[u32]) -> String {
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    format!("--reuid={id} --regid={id} --groups={} --inh-caps=-all --no-new-privs", groups.join(","))
}

/// The folders as an installer makes them, each with its owner, group and mode.
fn prepare(data: &Path) {
    let folders = [
        ("", MANAGER, MANAGER, 0o711),
        ("manager", MANAGER, MANAGER, 0o700),
        ("config", MANAGER, CONFIG, 0o2770),
        ("jobs", MANAGER, JOBS, 0o2770),
        ("dispatcher", MANAGER, DISPATCHER, 0o2750),
        ("ingest", MANAGER, INGEST, 0o2750),
        ("spool", MANAGER, SPOOL, 0o2770),
        ("spool/tmp", INGEST, SPOOL, 0o700),
        ("spool/import", MANAGER, SPOOL, 0o700),
        ("spool/new", INGEST, SPOOL, 0o2770),
        ("spool/bad", MANAGER, SPOOL, 0o700),
    ];
    for (name, owner, group, mode) in folders {
        let path = data.join(name);
        fs::create_dir_all(&path).expect("the folder can be made");
        chown(&path, Some(owner), Some(group)).expect("root may give it away");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("root may set its mode");
    }
}

/// Whether this user can open the file for reading.
fn can_read(how: &str, file: &Path) -> bool {
    let mut command = Command::new("setpriv");
    command.args(how.split(' ')).args(["head", "-c", "1"]).arg(file);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("setpriv runs").success()
}

/// The files that a process has open.
fn open_files(process: u32) -> Vec<PathBuf> {
    let folder = fs::read_dir(format!("/proc/{process}/fd")).expect("root may look into /proc");
    folder.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

#[test]
fn three_users_share_a_folder_and_ingest_can_open_neither_config_nor_results() {
    if fs::metadata("/proc/self").expect("/proc is there").uid() != 0 {
        eprintln!("NOT TESTED: three users need root");
        return;
    }
    let manager = user(MANAGER, &[MANAGER, CONFIG, JOBS, SPOOL]);
    let ingest = user(INGEST, &[INGEST, JOBS, SPOOL]);
    let dispatcher = user(DISPATCHER, &[DISPATCHER, CONFIG, JOBS]);
    let users = [("manager", manager.as_str()), ("ingest", &ingest), ("dispatcher", &dispatcher)];
    let mut site = Site::start_roles_as(&users, prepare);
    let owner = site.set_up();
    let told = story::tell(&site, &owner, |_| {});
    assert_eq!(told.found, told.truth);

    let data = site.data().to_owned();
    let readers = |file: &str| -> Vec<&str> {
        let path = data.join(file);
        assert!(path.exists(), "{file} is not there");
        users.iter().filter(|(_, how)| can_read(how, &path)).map(|(role, _)| *role).collect()
    };
    assert_eq!(readers("manager/master.key"), ["manager"]);
    assert_eq!(readers("manager/results.duckdb"), ["manager"]);
    assert_eq!(readers("config/config.db"), ["manager", "dispatcher"]);
    assert_eq!(readers("jobs/jobs.db"), ["manager", "ingest", "dispatcher"]);
    assert_eq!(readers("dispatcher/job-signing.key"), ["manager", "dispatcher"]);
    assert_eq!(readers("ingest/leaf.key"), ["manager", "ingest"]);

    for file in open_files(site.process("ingest").id()) {
        let Ok(inside) = file.strip_prefix(&data) else { continue };
        let own = ["jobs", "spool", "ingest"].iter().any(|folder| inside.starts_with(folder));
        assert!(own, "ingest has {} open", file.display());
    }
}
