//! An update from a folder onto a disk with two slots, with the real program: good, forged, cut off by `kill -9` at many
//! points. Whatever happens, what ran before boots again, and nothing boots that is not whole.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use portolan_scanner::wire::hex;
use portolan_tests::wait::pause;
use portolan_tests::{Site, binaries};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The root hash of what runs.
const RUNNING: &str = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2";
/// How often an update is killed.
const KILLS: u32 = 16;
/// The root of an update, in bytes: long enough to be killed in the middle of.
const ROOT: usize = 48 << 20;

/// A partition's id from half of a root hash.
fn id(half: &str) -> String {
    format!("{}-{}-{}-{}-{}", &half[..8], &half[8..12], &half[12..16], &half[16..20], &half[20..])
}

/// A machine that was installed from an image, as far as an update sees it.
struct Machine {
    folder: TempDir,
    site: Site,
    key: String,
}

/// An update on a stick.
struct Update {
    version: &'static str,
    folder: PathBuf,
    hash: String,
    root: Vec<u8>,
    uki: Vec<u8>,
}

impl Machine {
    fn new() -> Machine {
        let folder = TempDir::with_prefix("portolan-update-").expect("a temporary folder can be made");
        let mut site = Site::in_folder(folder.path());
        site.run("all");
        site.stop("all");
        let at = |name: &str| folder.path().join(name);
        let disk = File::create(at("disk")).expect("the folder is ours");
        disk.set_len(160 << 20).expect("there is room for its blocks");
        let (root, verity) = (id(&RUNNING[..32]), id(&RUNNING[32..]));
        let table = format!(
            "label: gpt\n\
             size=8MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=esp\n\
             size=4MiB, type=2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5, uuid={verity}, name=portolan_0.1.0_verity\n\
             size=60MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid={root}, name=portolan_0.1.0\n\
             size=4MiB, type=2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5, name=_empty\n\
             size=60MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=_empty\n\
             type=4D21B016-B534-45C2-A9FB-5C16E091FD2D, name=var\n"
        );
        let mut sfdisk = sfdisk()
            .arg("--quiet")
            .arg(at("disk"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("sfdisk is here: tools/test-setup.sh installs it");
        sfdisk.stdin.take().expect("it was asked for").write_all(table.as_bytes()).expect("it reads");
        assert!(sfdisk.wait().expect("it is ours").success());
        fs::create_dir_all(at("esp/EFI/Linux")).expect("the folder is ours");
        fs::write(at("esp/EFI/Linux/portolan_0.1.0.efi"), "the kernel that runs")
            .expect("the folder is ours");
        fs::create_dir(at("run")).expect("the folder is ours");
        let mut keygen = Command::new(binaries::portolan());
        keygen.args(["sign", "keygen", "--no-password", "--secret"]).arg(at("release.key"));
        assert!(keygen.output().expect("portolan starts").status.success());
        let key = fs::read_to_string(at("release.pub")).expect("it was made");
        let key = key.lines().nth(1).expect("its second line is the key").to_owned();
        let machine = Machine { folder, site, key };
        // The slot that runs has something in it.
        let slot = machine.partitions().remove(2);
        let disk = File::options().write(true).open(machine.at("disk")).expect("it is there");
        disk.write_all_at(&noise("what runs", 1 << 20), slot.start).expect("it is a file");
        machine
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An update to this version, packed by the program itself.
    fn update(&self, version: &'static str) -> Update {
        let hash = hex::encode(&Sha256::digest(version));
        let (root, verity) = (noise(&format!("root {version}"), ROOT), noise("verity", 300_000));
        let uki = [&noise("uki", 2 << 20)[..], format!("ro roothash={hash} quiet").as_bytes()].concat();
        let files = [("root", &root), ("verity", &verity), ("uki", &uki)].map(|(name, bytes)| {
            let path = self.at(&format!("{name}-{version}"));
            fs::write(&path, bytes).expect("the folder is ours");
            path
        });
        let folder = self.at(&format!("stick-{version}"));
        let mut pack = Command::new(binaries::portolan());
        pack.args(["update", "pack", "--version", version, "--from-at-least", "0.1.0", "--hash", &hash]);
        pack.arg("--root").arg(&files[0]).arg("--verity").arg(&files[1]).arg("--uki").arg(&files[2]);
        pack.arg("--key").arg(self.at("release.key")).arg("--to").arg(&folder);
        pack.arg("--archive").arg(self.at(&format!("portolan-{version}.update")));
        let said = pack.output().expect("portolan starts");
        assert!(said.status.success(), "{said:?}");
        Update { version, folder, hash, root, uki }
    }

    fn command(&self, verb: &str, from: Option<&Path>) -> Command {
        let mut command = Command::new(binaries::portolan());
        command.args([
            "update",
            verb,
            "--running",
            "0.1.0",
            "--root-hash",
            RUNNING,
            "--bootctl",
            "/bin/true",
        ]);
        command.arg("--data").arg(self.site.data()).arg("--disk").arg(self.at("disk"));
        command.arg("--esp").arg(self.at("esp")).arg("--run-dir").arg(self.at("run"));
        if let Some(from) = from {
            command.arg("--from").arg(from).arg("--settings").arg(self.at("settings"));
        }
        command.env("PORTOLAN_RELEASE_KEY", &self.key);
        command
    }

    fn run(&self, verb: &str, from: &Path) -> Output {
        self.command(verb, Some(from)).output().expect("portolan starts")
    }

    /// What sfdisk, which is not ours, reads of the disk.
    fn partitions(&self) -> Vec<Partition> {
        let said = sfdisk().arg("--json").arg(self.at("disk")).output().expect("sfdisk starts");
        assert!(said.status.success(), "{said:?}");
        let said: Value = serde_json::from_slice(&said.stdout).expect("it is JSON");
        let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
        let all = said["partitiontable"]["partitions"].as_array().expect("there are some").iter();
        all.map(|one| Partition {
            label: text(&one["name"]),
            uuid: text(&one["uuid"]).to_lowercase(),
            start: one["start"].as_u64().expect("a number") * 512,
        })
        .collect()
    }

    fn kernels(&self) -> Vec<String> {
        let entries = fs::read_dir(self.at("esp/EFI/Linux")).expect("it is there");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("it can be read").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    fn read(&self, partition: &Partition, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let disk = File::open(self.at("disk")).expect("it is there");
        disk.read_exact_at(&mut bytes, partition.start).expect("it is long enough");
        bytes
    }

    /// What must hold at every moment: what runs can boot, and whatever else can is whole.
    fn boots(&self, update: &Update) {
        let parts = self.partitions();
        let named = (parts[2].label.as_str(), parts[2].uuid.clone(), parts[1].uuid.clone());
        assert_eq!(named, ("portolan_0.1.0", id(&RUNNING[..32]), id(&RUNNING[32..])));
        assert!(
            self.read(&parts[2], 1 << 20) == noise("what runs", 1 << 20),
            "the slot that runs was written"
        );
        let kernel = fs::read_to_string(self.at("esp/EFI/Linux/portolan_0.1.0.efi"));
        assert_eq!(kernel.expect("it is there"), "the kernel that runs");
        for name in
            self.kernels().iter().filter(|name| name.starts_with("portolan_") && !name.contains("0.1.0"))
        {
            assert_eq!(name, &format!("portolan_{}+3-0.efi", update.version));
            assert!(fs::read(self.at("esp/EFI/Linux").join(name)).expect("it is there") == update.uki);
            assert_eq!(parts[4].label, format!("portolan_{}", update.version));
        }
        if parts[4].label == "_empty" {
            assert_ne!(parts[4].uuid, id(&update.hash[..32]), "an empty slot would be found");
        } else {
            assert_eq!((&parts[4].uuid, &parts[3].uuid), (&id(&update.hash[..32]), &id(&update.hash[32..])));
            assert!(self.read(&parts[4], ROOT) == update.root, "a named slot is not whole");
        }
    }

    fn told(&self) -> Vec<String> {
        actions(self.site.data())
    }
}

fn sfdisk() -> Command {
    let mut command = Command::new("/usr/bin/env");
    command.arg("PATH=/usr/sbin:/sbin:/usr/bin:/bin").arg("sfdisk");
    command
}

struct Partition {
    label: String,
    uuid: String,
    start: u64,
}

fn noise(of: &str, length: usize) -> Vec<u8> {
    let seed = Sha256::digest(of);
    // Not the same block again and again: a piece in a wrong place is seen.
    let blocks = (0_u32..).map(|n| Sha256::digest([&seed[..], &n.to_le_bytes()].concat()));
    let few: Vec<u8> = blocks.take(4_099).flat_map(|block| block.to_vec()).collect();
    few.iter().copied().cycle().take(length).collect()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_update_from_a_stick_is_checked_written_and_told() {
    let machine = Machine::new();
    let update = machine.update("0.2.0");
    for from in [update.folder.clone(), machine.at("portolan-0.2.0.update")] {
        let checked = machine.run("check", &from);
        assert!(checked.status.success(), "{}", said(&checked));
        assert!(said(&checked).contains("0.2.0 may follow 0.1.0"), "{}", said(&checked));
        assert_eq!(machine.partitions()[4].label, "_empty", "check writes nothing");
    }
    assert_eq!(machine.told(), [""; 0]);
    let applied = machine.run("apply", &update.folder);
    assert!(applied.status.success(), "{}", said(&applied));
    assert!(said(&applied).contains("writing the root: "), "{}", said(&applied));
    machine.boots(&update);
    assert_eq!(machine.kernels(), ["portolan_0.1.0.efi", "portolan_0.2.0+3-0.efi"]);
    assert_eq!(machine.told(), ["system.update-started", "system.update-applied"]);
    let state = machine.command("state", None).output().expect("portolan starts");
    assert!(said(&state).contains("runs: 0.1.0\nother slot: 0.2.0\n"), "{}", said(&state));
    // The same once more, as one file.
    let again = machine.run("apply", &machine.at("portolan-0.2.0.update"));
    assert!(again.status.success(), "{}", said(&again));
    machine.boots(&update);
}

#[test]
fn a_database_that_does_not_open_does_not_keep_an_update_away() {
    let machine = Machine::new();
    let update = machine.update("0.2.0");
    let database = machine.site.data().join("config/config.db");
    let whole = fs::read(&database).expect("it is there");
    fs::write(&database, "of nobody").expect("it is ours");
    let applied = machine.run("apply", &update.folder);
    assert!(applied.status.success(), "{}", said(&applied));
    machine.boots(&update);
    assert!(machine.site.data().join("manager/update.pending").exists());
    fs::write(&database, whole).expect("it is ours");
    let noted = fs::read_to_string(machine.at("settings/unrecorded.jsonl")).expect("it was written down");
    let noted: Vec<Value> = noted.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let actions: Vec<&str> = noted.iter().filter_map(|one| one["action"].as_str()).collect();
    assert_eq!(actions, ["system.update-started", "system.update-applied"]);
}

#[test]
fn what_is_forged_damaged_or_older_is_refused_before_anything_is_written() {
    let machine = Machine::new();
    let update = machine.update("0.2.0");
    let before = fs::read(machine.at("disk")).expect("it is there");
    let refused = |why: &str, from: &Path| {
        for verb in ["check", "apply"] {
            let output = machine.run(verb, from);
            assert_eq!(output.status.code(), Some(1), "{}", said(&output));
            assert!(said(&output).contains(why), "{}", said(&output));
        }
        assert_eq!(machine.kernels(), ["portolan_0.1.0.efi"]);
    };
    let manifest = update.folder.join("portolan-update");
    let good = fs::read_to_string(&manifest).expect("it is there");
    fs::write(&manifest, good.replace("version: 0.2.0", "version: 0.9.0")).expect("the folder is ours");
    refused("signature", &update.folder);
    fs::write(&manifest, good).expect("the folder is ours");
    refused("older than 0.1.0", &machine.update("0.0.9").folder);
    assert!(fs::read(machine.at("disk")).expect("it is there") == before, "the disk was written");
    assert_eq!(machine.told(), ["system.update-refused"; 2]);
    // A damaged file is found while it is written, and what was written is called empty.
    let root = update.folder.join("portolan_0.2.0.root.raw");
    let file = File::options().write(true).open(root).expect("it is there");
    file.write_all_at(b"x", 1_000_000).expect("it is a file");
    refused("damaged", &update.folder);
    machine.boots(&update);
    let without = machine.command("check", Some(&update.folder)).env_remove("PORTOLAN_RELEASE_KEY").output();
    let without = without.expect("portolan starts");
    assert!(said(&without).contains("no release key"), "{}", said(&without));
}

#[test]
fn killed_at_any_moment_what_ran_boots_and_the_update_can_be_begun_anew() {
    let machine = Machine::new();
    let update = machine.update("0.2.0");
    let begun = Instant::now();
    assert!(machine.run("apply", &update.folder).status.success());
    let whole = begun.elapsed();
    let mut killed = 0;
    for at in 0..KILLS {
        let mut child = machine.command("apply", Some(&update.folder));
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("portolan starts");
        pause(whole.mul_f64(f64::from(at) / f64::from(KILLS)).max(Duration::from_millis(1)));
        killed += u32::from(child.try_wait().expect("it is ours").is_none());
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        machine.boots(&update);
    }
    eprintln!("killed {killed} of {KILLS} while it ran, which takes {whole:?}");
    assert!(killed > 0, "it was never caught at it");
    let again = machine.run("apply", &update.folder);
    assert!(again.status.success(), "{}", said(&again));
    machine.boots(&update);
    assert_eq!(machine.kernels(), ["portolan_0.1.0.efi", "portolan_0.2.0+3-0.efi"]);
}

/// A site on trial: version 0.2.0, of which systemd-boot counted a try.
struct Trial {
    site: Site,
    run: PathBuf,
}

impl Trial {
    fn start() -> Trial {
        Trial::of(true)
    }

    fn of(set_up: bool) -> Trial {
        let mut site = Site::fresh();
        let run = site.data().with_file_name("run");
        let variables = site.data().with_file_name("efivars");
        fs::create_dir(&run).expect("the folder is ours");
        fs::create_dir(&variables).expect("the folder is ours");
        site = site.with(&["--run-dir", run.to_str().expect("UTF-8"), "--running", "0.2.0"]);
        site = site.with_environment("RUNTIME_DIRECTORY", run.to_str().expect("UTF-8"));
        site.run("all");
        if set_up {
            site.set_up();
        }
        let mut variable = vec![6, 0, 0, 0];
        let text = "\\EFI\\Linux\\portolan_0.2.0+2-1.efi\0";
        variable.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        let name = "LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
        fs::write(variables.join(name), variable).expect("the folder is ours");
        site.stop("all");
        let trial = Trial { site, run };
        let begun =
            trial.command("begin").arg("--efivars").arg(&variables).output().expect("portolan starts");
        assert!(said(&begun).contains("is on trial"), "{}", said(&begun));
        trial
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(binaries::portolan());
        command
            .args(["update", verb, "--running", "0.2.0", "--bootctl", "/bin/true", "--data"])
            .arg(self.site.data());
        command.arg("--run-dir").arg(&self.run);
        command
    }

    fn gate(&self, port: u16, within: &str) -> Output {
        let mut command = self.command("gate");
        command.args(["--within", within, "--settle", "5", "--scanner-port", &port.to_string()]);
        command.arg("--efivars").arg(self.run.with_file_name("efivars"));
        command.arg("--dispatcher").arg(self.run.join("steps"));
        command.arg("--scanner").arg(binaries::scanner()).output().expect("portolan starts")
    }
}

#[test]
fn a_trial_changes_nothing_until_the_gate_says_that_it_is_well() {
    let mut trial = Trial::start();
    trial.site.run("all");
    // Signing in is told, and changes nothing.
    let owner = trial.site.signed_in();
    let subnet = serde_json::json!({ "name": "Plant", "cidr": "10.0.0.0/24" });
    let refused = owner.post("/subnets", &subnet);
    assert_eq!(refused.status, 503, "{}", refused.describe());
    assert_eq!(refused.json()["title"], "An update is on trial");
    let page = owner.page("/subnets");
    assert!(page.text().contains("An update is being tried"), "{}", page.describe());
    // Where something is missing it does not stay.
    let nowhere = portolan_tests::listeners::free_port();
    let output = trial.gate(nowhere, "0");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("ingest does not answer"), "{}", said(&output));
    assert_eq!(owner.post("/subnets", &subnet).status, 503);
    let output = trial.gate(trial.site.scanners().port(), "180");
    assert!(output.status.success(), "{}\n{}", said(&output), trial.site.logs());
    assert!(said(&output).contains("looked at again for 5 s"), "{}", said(&output));
    assert!(said(&output).contains("0.2.0 is well"), "{}", said(&output));
    // Until systemd-boot knows of it, all is as it was.
    assert!(trial.site.data().join("manager/update.pending").exists());
    assert_eq!(owner.post("/subnets", &subnet).status, 503);
    for verb in ["good", "end"] {
        let output = trial.command(verb).output().expect("portolan starts");
        assert!(output.status.success(), "{}", said(&output));
    }
    let done = owner.post("/subnets", &subnet);
    assert_eq!(done.status, 201, "{}", done.describe());
    let told: Vec<String> = actions(trial.site.data());
    assert_eq!(told, ["system.update-failed", "system.update-good"]);
    assert!(trial.run.join("over").exists());
    // A version that did not get so far as to note its trial.
    let output = trial.gate(trial.site.scanners().port(), "0");
    assert!(!output.status.success() && said(&output).contains("was not noted"), "{}", said(&output));
    fs::remove_dir_all(trial.run.with_file_name("efivars")).expect("it is ours");
    let output = trial.gate(nowhere, "0");
    assert!(said(&output).contains("nothing is on trial"), "{}", said(&output));
    assert!(!trial.site.data().join("manager/update.pending").exists());
}

#[test]
fn before_there_is_an_owner_the_gate_is_well_too() {
    let mut trial = Trial::of(false);
    trial.site.run("all");
    let output = trial.gate(trial.site.scanners().port(), "180");
    assert!(output.status.success(), "{}\n{}", said(&output), trial.site.logs());
}

#[test]
fn a_trial_that_did_not_stay_is_told_of_by_the_version_before() {
    let mut trial = Trial::start();
    trial.site.run("all");
    trial.site.kill("all");
    let pending = trial.site.data().join("manager/update.pending");
    let noted = fs::read_to_string(&pending).expect("the trial notes itself");
    assert!(noted.contains("version: 0.2.0\n"), "{noted}");
    // As of another boot.
    let lines = noted.lines().map(|line| if line.starts_with("boot: ") { "boot: another" } else { line });
    fs::write(&pending, lines.map(|line| format!("{line}\n")).collect::<String>()).expect("it is ours");
    fs::remove_file(trial.run.join("trial")).expect("the trial is over");
    let run = trial.run.to_str().expect("UTF-8").to_owned();
    // A results store that nobody can read: set aside, and made anew.
    let store = trial.site.data().join("manager/results.duckdb");
    fs::write(&store, "of a version to come").expect("it is ours");
    trial.site = trial.site.with(&["--run-dir", &run, "--running", "0.1.0"]);
    for _ in 0..2 {
        trial.site.run("all");
        assert_eq!(actions(trial.site.data()), ["system.rolled-back"]);
        trial.site.stop("all");
    }
    assert_eq!(
        fs::read_to_string(store.with_extension("duckdb.unreadable")).expect("it was kept"),
        "of a version to come"
    );
    let mut verify = Command::new(binaries::portolan());
    let verified =
        verify.args(["audit", "verify", "--data"]).arg(trial.site.data()).output().expect("it starts");
    assert!(verified.status.success(), "{}", said(&verified));
}

/// What the audit says of updates, oldest first.
fn actions(data: &Path) -> Vec<String> {
    let database = rusqlite::Connection::open(data.join("config/config.db")).expect("it is there");
    let sql = "SELECT action FROM audit_entry WHERE action LIKE 'system.%' ORDER BY seq";
    let mut statement = database.prepare(sql).expect("the audit has it");
    let rows = statement.query_map([], |row| row.get(0)).expect("the audit has it");
    rows.map(|row| row.expect("a text")).collect()
}
