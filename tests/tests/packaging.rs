//! What `make dist` packs, from the program under test: `install.sh` in a tree, again, with a changed configuration, and away.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use portolan_tests::binaries;
use serde_json::Value;
use tempfile::TempDir;

/// The tarball's folder, unpacked, signed with a key made for it.
struct Dist {
    folder: TempDir,
    unpacked: PathBuf,
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn done(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Dist {
    fn new() -> Dist {
        let folder = TempDir::with_prefix("portolan-dist-").expect("a temporary folder can be made");
        let (key, dist) = (folder.path().join("site.key"), folder.path().join("dist"));
        let portolan = || Command::new(binaries::portolan());
        done(portolan().args(["sign", "keygen", "--no-password", "--secret"]).arg(&key));
        let tools = binaries::repository().join("tools");
        let mut scanner = Command::new(tools.join("release-scanner.sh"));
        scanner.arg(binaries::scanner()).arg(binaries::portolan());
        done(scanner.env("SIGNING_KEY", &key).env("DIST", dist.join("scanner")));
        let mut pack = Command::new(tools.join("dist.sh"));
        pack.env("SIGNING_KEY", &key).env("DIST", &dist).env("DIST_TREE", "yes");
        let text = done(pack.env("DIST_PROGRAM", binaries::portolan()));
        let unpacked = PathBuf::from(text.lines().last().expect("it says where").trim());
        Dist { folder, unpacked }
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// As a hardened machine's root does it.
    fn install(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("sh");
        command
            .args(["-c", "umask 077; exec sh \"$@\"", "sh"])
            .arg(self.unpacked.join("install.sh"))
            .args(arguments)
            .arg("--root")
            .arg(self.tree());
        command.stdin(Stdio::null()).output().expect("a shell starts")
    }

    fn installed(&self) -> String {
        let output = self.install(&[]);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    /// Makes the checksums fit what is there, as a newer version's do.
    fn sum(&self) {
        let script = "find . -type f ! -path ./SHA256SUMS | sed 's|^\\./||' | xargs sha256sum >../sums && mv ../sums SHA256SUMS";
        done(Command::new("sh").args(["-c", script]).current_dir(&self.unpacked));
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).open(path).expect("it is ours");
    file.write_all(text.as_bytes()).expect("there is room");
}

fn refused(output: &Output, why: &str) {
    assert!(!output.status.success() && said(output).contains(why), "{}", said(output));
}

/// A unit that lies there too, or a link, is not installed; nor is anything else then.
fn refuses_what_was_not_packed(dist: &Dist) {
    let stray = dist.unpacked.join("systemd/portolan-stray.service");
    fs::write(&stray, "[Service]\nExecStart=/bin/false\n").expect("it is ours");
    refused(&dist.install(&[]), "what was not packed is here too");
    assert!(!dist.tree().join("etc/systemd/system/portolan-stray.service").exists());
    fs::remove_file(&stray).expect("it is ours");
    let manual = dist.unpacked.join("man/portolan.1");
    let text = fs::read(&manual).expect("it came along");
    fs::remove_file(&manual).expect("it is ours");
    std::os::unix::fs::symlink("portolan-scanner.1", &manual).expect("it is ours");
    refused(&dist.install(&[]), "there are links among the files");
    fs::remove_file(&manual).expect("it is ours");
    fs::write(&manual, text).expect("it is ours");
    assert!(!dist.tree().join("usr/local/lib/.portolan.new").exists());
}

#[test]
fn the_script_leaves_a_newer_version_a_package_and_a_scanner_of_its_own_alone() {
    if fs::metadata("/proc/self").expect("/proc is there").uid() != 0 {
        eprintln!("NOT TESTED: installing needs root");
        return;
    }
    let dist = Dist::new();
    let at = |path: &str| dist.tree().join(path);
    let put = |path: &str, text: &str| {
        fs::create_dir_all(at(path).parent().expect("a folder")).expect("the tree is ours");
        fs::write(at(path), text).expect("the tree is ours");
        fs::set_permissions(at(path), PermissionsExt::from_mode(0o755)).expect("the tree is ours");
    };
    put("usr/local/lib/portolan/portolan", "#!/bin/sh\necho portolan 999.0.0\n");
    refused(&dist.install(&[]), "999.0.0 is installed");

    let stanza = |state: &str| {
        format!(
            "Package: portolan\nStatus: install ok {state}\nVersion: 1\nArchitecture: amd64\nMaintainer: x\nDescription: x\n"
        )
    };
    put("var/lib/dpkg/status", &stanza("installed"));
    refused(&dist.install(&["--downgrade"]), "the Debian package portolan is installed");
    // Removed and not purged, it is no longer in the way.
    put(
        "var/lib/dpkg/status",
        &stanza("installed").replace("install ok installed", "deinstall ok config-files"),
    );

    let unit = "etc/systemd/system/portolan-scanner.service";
    let theirs = "[Service]\nExecStart=/usr/local/bin/portolan-scanner run --dir /srv\n";
    put(unit, theirs);
    put("usr/local/bin/portolan-scanner", "the host's own");
    for arguments in [&["--downgrade"][..], &["--uninstall"]] {
        let output = dist.install(arguments);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(fs::read_to_string(at(unit)).expect("it is there"), theirs);
        let program = fs::read_to_string(at("usr/local/bin/portolan-scanner"));
        assert_eq!(program.expect("it is there"), "the host's own");
    }
}

#[test]
fn the_script_installs_again_keeps_what_the_site_changed_and_leaves_the_data() {
    if fs::metadata("/proc/self").expect("/proc is there").uid() != 0 {
        eprintln!("NOT TESTED: installing needs root");
        return;
    }
    let dist = Dist::new();
    let at = |path: &str| dist.tree().join(path);
    let read = |path: &str| fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let first = dist.installed();
    assert!(first.contains("wrote"), "{first}");
    let program = at("usr/local/lib/portolan/portolan");
    assert_eq!(fs::metadata(&program).expect("it is there").permissions().mode() & 0o777, 0o755);
    assert_eq!(
        fs::canonicalize(at("usr/local/bin/portolan")).expect("it leads there"),
        program.canonicalize().expect("it is")
    );
    for path in [
        "usr/local/lib",
        "usr/local/lib/portolan",
        "usr/local/bin",
        "usr/local/share/man/man1",
        "etc/portolan",
    ] {
        let mode = fs::metadata(at(path)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "{path}");
    }
    for wanted in ["multi-user.target.wants/portolan.target", "sockets.target.wants/portolan-manager.socket"]
    {
        assert!(fs::symlink_metadata(at("etc/systemd/system").join(wanted)).is_ok(), "{wanted}: not enabled");
    }
    let unit = read("etc/systemd/system/portolan-manager.service");
    assert!(unit.contains("ExecStart=/usr/local/lib/portolan/portolan serve"), "{unit}");
    assert!(!unit.contains("/usr/lib/portolan"), "{unit}");
    assert!(
        at("var/lib/portolan/spool/new").is_dir()
            && at("usr/local/share/man/man1/portolan-scanner.1").is_file()
    );
    assert!(read("etc/passwd").contains("portolan-ingest:"));
    let public = dist.unpacked.join("release.pub");
    done(Command::new("minisign").args(["-Vqm"]).arg(&program).arg("-p").arg(&public));

    let again = dist.installed();
    assert!(!again.contains("wrote"), "{again}");

    refuses_what_was_not_packed(&dist);

    // The site's own configuration, and a version with another example.
    fs::write(at("etc/portolan/portolan.conf"), "PORTOLAN_LEASE=90\n").expect("the tree is ours");
    append(&dist.unpacked.join("systemd/portolan.conf"), "# newer\n");
    let damaged = dist.install(&[]);
    assert!(
        !damaged.status.success() && said(&damaged).contains("nothing was installed"),
        "{}",
        said(&damaged)
    );
    dist.sum();
    let upgraded = dist.installed();
    assert!(upgraded.contains("as you left it"), "{upgraded}");
    assert_eq!(read("etc/portolan/portolan.conf"), "PORTOLAN_LEASE=90\n");
    assert!(read("etc/portolan/portolan.conf.new").ends_with("# newer\n"));

    fs::write(at("var/lib/portolan/config/config.db"), "data").expect("the tree is ours");
    let away = dist.install(&["--uninstall"]);
    assert!(away.status.success(), "{}", said(&away));
    for path in ["usr/local/lib/portolan", "usr/local/bin/portolan", "etc/systemd/system/portolan.target"] {
        assert!(fs::symlink_metadata(at(path)).is_err(), "{path} is still there");
    }
    assert_eq!(read("var/lib/portolan/config/config.db"), "data");
    assert_eq!(read("etc/portolan/portolan.conf"), "PORTOLAN_LEASE=90\n");
    dist.installed();
    assert_eq!(read("var/lib/portolan/config/config.db"), "data");

    let list = fs::read(dist.unpacked.join("portolan.cdx.json")).expect("it came along");
    let list: Value = serde_json::from_slice(&list).expect("it is JSON");
    assert_eq!(list["metadata"]["component"]["name"], "portolan");
    let components = list["components"].as_array().expect("components");
    let names: Vec<&str> = components.iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(names.contains(&"axum") && names.contains(&"duckdb") && names.contains(&"rusqlite"), "{names:?}");
    for component in components {
        let licence = component["licenses"][0]["expression"].as_str().unwrap_or_default();
        assert!(!licence.is_empty(), "{component}");
    }
}
