//! Three processes under three users, with the users, groups and folders that `systemd/` defines: the story works as in
//! one process, and each can open only what is its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use portolan_tests::site::ROLES;
use portolan_tests::{Site, story, units};

/// The folders as systemd-tmpfiles makes them, each with its owner, group and mode.
fn prepare(data: &Path) {
    let accounts = units::accounts();
    let id = |name: &str| if name == "root" { 0 } else { accounts[name] };
    for folder in units::folders() {
        // The scanner's own is another one.
        let Ok(inside) = Path::new(&folder.path).strip_prefix("/var/lib/portolan") else { continue };
        let path = data.join(inside);
        fs::create_dir_all(&path).expect("the folder can be made");
        chown(&path, Some(id(&folder.owner)), Some(id(&folder.group))).expect("root may give it away");
        fs::set_permissions(&path, Permissions::from_mode(folder.mode)).expect("root may set its mode");
    }
}

/// Whether this user can open the file for reading.
fn can_read(how: &str, file: &Path) -> bool {
    let mut command = Command::new("setpriv");
    command.args(how.split(' ')).args(["head", "-c", "1"]).arg(file);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("setpriv runs").success()
}

/// Whether this user can give the file another name beside its own.
fn can_move(how: &str, file: &Path) -> bool {
    let mut command = Command::new("setpriv");
    command.args(how.split(' ')).arg("mv").arg(file).arg(file.with_extension("moved"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("setpriv runs").success()
}

/// The files that a process has open.
fn open_files(process: u32) -> Vec<PathBuf> {
    let folder = fs::read_dir(format!("/proc/{process}/fd")).expect("root may look into /proc");
    folder.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

#[test]
fn three_users_share_a_folder_and_ingest_can_open_neither_config_nor_results_nor_any_key() {
    if fs::metadata("/proc/self").expect("/proc is there").uid() != 0 {
        eprintln!("NOT TESTED: three users need root");
        return;
    }
    let users = ROLES.map(|role| (role, units::runs_as(&format!("portolan-{role}.service"))));
    let users: Vec<(&str, &str)> = users.iter().map(|(role, how)| (*role, how.as_str())).collect();
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
    assert_eq!(readers("manager/run/operator.token"), ["manager"]);
    assert_eq!(readers("manager/results.duckdb"), ["manager"]);
    assert_eq!(readers("config/config.db"), ["manager", "dispatcher"]);
    assert_eq!(readers("jobs/jobs.db"), ["manager", "ingest", "dispatcher"]);
    assert_eq!(readers("dispatcher/job-signing.key"), ["manager", "dispatcher"]);
    // The one key that ingest has.
    assert_eq!(readers("ingest/leaf.key"), ["manager", "ingest"]);

    // Else a link of its making in the place of one would have the manager write what ingest chose where it chose.
    let (_, ingest) = users.iter().find(|(role, _)| *role == "ingest").expect("it is a role");
    for folder in ["spool", "spool/bad", "spool/import", "spool/new", "jobs", "ingest"] {
        assert!(!can_move(ingest, &data.join(folder)), "ingest moves {folder}");
    }

    // The dispatcher's user shares config.db, and is no administrator of the machine for that; ingest's has nothing of it.
    for (role, how) in users.iter().filter(|(role, _)| *role != "manager") {
        for words in
            ["user list", "passwords owner-only", "audit tail", "roles list", "sessions revoke-all --yes"]
        {
            let mut admin = Command::new("setpriv");
            admin.args(how.split(' ')).arg(site.program()).arg("admin").args(words.split(' '));
            admin.arg("--data").arg(&data);
            admin.env("LD_LIBRARY_PATH", site.program().parent().expect("it lies in a folder"));
            let refused = admin.output().expect("setpriv runs");
            let said = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(3), "{role}: {words}: {said}");
            assert!(said.contains("is not yours to open"), "{role}: {words}: {said}");
            assert!(refused.stdout.is_empty(), "{role}: {words}: it showed something");
        }
    }

    for file in open_files(site.process("ingest").id()) {
        let Ok(inside) = file.strip_prefix(&data) else { continue };
        let own = ["jobs", "spool", "ingest"].iter().any(|folder| inside.starts_with(folder));
        assert!(own, "ingest has {} open", file.display());
    }
}
