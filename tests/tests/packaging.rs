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
    said(&output)
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

    fn install(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("sh");
        command.arg(self.unpacked.join("install.sh")).args(arguments).arg("--root").arg(self.tree());
        command.stdin(Stdio::null()).output().expect("a shell starts")
    }

    fn installed(&self) -> String {
        let output = self.install(&[]);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    /// Makes the checksums fit what is there, as a newer version's do.
    fn sum(&self) {
        let script = "find . -type f ! -name SHA256SUMS | sed 's|^\\./||' | xargs sha256sum >../sums && mv ../sums SHA256SUMS";
        done(Command::new("sh").args(["-c", script]).current_dir(&self.unpacked));
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).open(path).expect("it is ours");
    file.write_all(text.as_bytes()).expect("there is room");
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
