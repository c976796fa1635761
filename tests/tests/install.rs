//! The install script as INSTALL.md tells of it, in a tree: from a real appliance by its line, and from a stick.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use portolan_tests::api::{Template, list, text};
use portolan_tests::process::Process;
use portolan_tests::wait::PATIENCE;
use portolan_tests::{Listener, Site, binaries, wait_until};
use tempfile::TempDir;

/// A release, signed with a key made for it, as `make release-scanner` lays it out.
struct Release {
    folder: TempDir,
    dist: PathBuf,
}

impl Release {
    fn new() -> Release {
        let folder = TempDir::with_prefix("portolan-release-").expect("a temporary folder can be made");
        let key = folder.path().join("site.key");
        let mut keygen = Command::new(binaries::portolan());
        keygen.args(["sign", "keygen", "--no-password", "--secret"]).arg(&key);
        assert!(keygen.output().expect("portolan starts").status.success());
        let dist = folder.path().join("dist/scanner");
        let mut release = Command::new(binaries::repository().join("tools/release-scanner.sh"));
        release.arg(binaries::scanner()).arg(binaries::portolan());
        release.env("SIGNING_KEY", &key).env("DIST", &dist).stdin(Stdio::null());
        let output = release.output().expect("the script starts");
        assert!(output.status.success(), "{}", said(&output));
        Release { folder, dist }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dist.join(name)
    }

    /// A tree to install into.
    fn tree(&self, name: &str) -> PathBuf {
        let tree = self.folder.path().join(name);
        fs::create_dir_all(&tree).expect("the folder is ours");
        tree
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn taken(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, said(output));
    said(output)
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "it was taken: {}", said(output));
    said(output)
}

/// Runs a line in a shell, without a terminal, with a token in the environment, which nothing takes from there.
fn shell(line: &str) -> Output {
    let mut command = Command::new("setsid");
    command.args(["--wait", "dash", "-c", line]).env("PORTOLAN_TOKEN", "pte_x").stdin(Stdio::null());
    command.output().expect("a shell starts")
}

/// Runs the kit's script into a tree; `path` limits what the machine has.
fn kit(script: &Path, arguments: &[&str], tree: &Path, path: Option<&Path>) -> Output {
    let mut command = Command::new("/usr/bin/setsid");
    command.args(["--wait", "/usr/bin/dash"]).arg(script).args(arguments).arg("--root").arg(tree);
    command.stdin(Stdio::null());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    command.output().expect("a shell starts")
}

/// A folder of programs: what any machine has, and these besides.
fn machine(folder: &Path, besides: &[&str]) -> PathBuf {
    let bin = folder.join(format!("bin-{}", besides.join("-")));
    fs::create_dir(&bin).expect("the folder is ours");
    let common = "cat chmod cmp cp cut dash dd dirname grep head id ln mkdir mktemp mv rm rmdir sed sha256sum tr uname wc";
    for name in common.split(' ').chain(besides.iter().copied()) {
        let from = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
        let from =
            from.into_iter().find(|path| path.exists()).unwrap_or_else(|| panic!("{name} is not here"));
        symlink(from, bin.join(name)).expect("the folder is ours");
    }
    bin
}

fn installed(tree: &Path) -> PathBuf {
    tree.join("usr/local/bin/portolan-scanner")
}

#[test]
fn the_line_on_the_page_installs_enrols_runs_and_goes_again() {
    let release = Release::new();
    let folder = release.dist.to_str().expect("the path is UTF-8").to_owned();
    let mut site = Site::fresh().with(&["--scanner-dir", &folder]);
    site.run("all");
    let owner = site.set_up();
    let added = owner.add_scanner("one", &owner.vantage("Lab"));
    let (line, token) = (text(&added, "install_command"), text(&added, "token"));
    // No --name was given: it is the address that it listens on, not what the host calls itself.
    assert!(line.contains(&format!(" {}install.sh | sudo sh", site.url())), "{line}");
    assert_eq!(text(&added, "appliance"), site.scanners().to_string());

    let tree = release.tree("by-line");
    let line = line.replace("sudo sh", &format!("dash -s -- --root {}", tree.display()));
    let first = taken(&shell(&line));
    assert!(first.contains("the signature is good: portolan-scanner "), "{first}");
    assert!(first.contains("not enrolled: no token was given"), "{first}");
    let token_file = release.folder.path().join("token");
    fs::write(&token_file, format!("{token}\n")).expect("the folder is ours");
    let line = format!("{line} --token-file {}", token_file.display());
    let enrolled = taken(&shell(&line));
    assert!(enrolled.contains("enrolled as scanner"), "{enrolled}");
    assert_eq!(fs::read(installed(&tree)).ok(), fs::read(binaries::scanner()).ok());
    let unit = tree.join("etc/systemd/system/portolan-scanner.service");
    assert!(
        fs::read_to_string(unit)
            .expect("it is there")
            .contains("ExecStart=/usr/local/bin/portolan-scanner run")
    );
    assert!(tree.join("usr/local/share/man/man1/portolan-scanner.1").exists());
    let state = tree.join("var/lib/portolan-scanner");
    assert_eq!(fs::metadata(&state).expect("it is there").permissions().mode() & 0o777, 0o700);

    // It runs, and what it sees arrives.
    let listener = Listener::on("127.0.0.1:0");
    let mut run = Command::new(installed(&tree));
    run.arg("run").arg("--dir").arg(&state);
    let mut scanner = Process::start("installed", &mut run, &tree.join("scanner.log"));
    let template = owner.template(&Template {
        name: "Small",
        subnets: vec![owner.subnet("Here", "127.0.0.1/32")],
        port_lists: vec![owner.port_list("One", &listener.address().port().to_string())],
        scanners: vec![text(&added["scanner"], "id")],
        ..Template::default()
    });
    let scan = owner.launch(&template);
    let ended = owner.ended(&scan, Duration::from_secs(60), |_| {});
    assert_eq!(text(&ended, "state"), "completed", "{ended}\n{}", scanner.log_text());
    assert!(owner.open_ports(&scan).contains(&listener.address()));
    assert!(scanner.stop(Duration::from_secs(20)).success());

    // Again changes nothing, and what was written into never-scan stays.
    let never = tree.join("etc/portolan/never-scan");
    fs::write(&never, "10.60.4.0/24\n").expect("it is there");
    let inode = |path: &Path| fs::metadata(path).expect("it is there").ino();
    let before = inode(&installed(&tree));
    let again = taken(&shell(&line));
    assert!(!again.contains("wrote") && !again.contains("installed"), "{again}");
    assert_eq!(inode(&installed(&tree)), before);
    assert_eq!(fs::read_to_string(&never).expect("it is there"), "10.60.4.0/24\n");

    let uninstall = taken(&kit(&release.file("install.sh"), &["--uninstall"], &tree, None));
    assert!(uninstall.contains("stay"), "{uninstall}");
    assert!(!installed(&tree).exists() && state.join("link.conf").exists() && never.exists());
    taken(&kit(&release.file("install.sh"), &["--uninstall", "--purge"], &tree, None));
    assert!(!state.exists() && !never.exists());
}

/// Runs `portolan bundle scanner-kit` on a site's files.
fn bundle(site: &Site, to: &Path, further: &[&str]) -> Output {
    let mut command = Command::new(binaries::portolan());
    command.args(["bundle", "scanner-kit", "--data"]).arg(site.data()).arg("--to").arg(to).args(further);
    command.output().expect("portolan starts")
}

#[test]
fn a_scanner_is_installed_from_a_kit_alone_and_appears() {
    let release = Release::new();
    let folder = release.dist.to_str().expect("the path is UTF-8").to_owned();
    let mut site = Site::fresh().with(&["--scanner-dir", &folder]);
    site.run("all");
    let owner = site.set_up();
    let kit_at = release.folder.path().join("stick");
    assert!(refused(&bundle(&site, &kit_at, &[])).contains("there is none yet"));
    let _vantage = owner.vantage("Pump house");

    // The service may run, and need not: what it says of itself stays.
    let made = bundle(&site, &kit_at, &[]);
    taken(&made);
    let said_of_it = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(said_of_it.contains("the kit of the scanner Pump house"), "{said_of_it}");
    let token = fs::read_to_string(kit_at.join("token")).expect("it is there");
    assert!(!said_of_it.contains(token.trim()), "the token is on the stick alone");
    let mode =
        |name: &str| fs::metadata(kit_at.join(name)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode("token"), mode("install.sh"), mode("scanner.pub")), (0o600, 0o755, 0o644));
    assert!(refused(&bundle(&site, &kit_at, &[])).contains("--replace"));

    // The machine has nothing that fetches.
    let path = machine(release.folder.path(), &["openssl"]);
    let tree = release.tree("by-kit");
    let installed_so = taken(&kit(&kit_at.join("install.sh"), &[], &tree, Some(&path)));
    assert!(installed_so.contains("the signature is good"), "{installed_so}");
    assert!(installed_so.contains("enrolled as scanner"), "{installed_so}");
    let state = tree.join("var/lib/portolan-scanner");
    let mut run = Command::new(installed(&tree));
    run.arg("run").arg("--dir").arg(&state);
    let mut scanner = Process::start("by-kit", &mut run, &tree.join("scanner.log"));
    wait_until("the scanner appears", PATIENCE, || {
        let all = owner.get("/scanners").expect(200).json();
        let one = &list(&all, "items")[0];
        (text(one, "name") == "Pump house" && text(one, "state") == "online").then_some(())
    });
    assert!(scanner.stop(Duration::from_secs(20)).success());

    // The token is spent, for whoever finds the stick; and the scanner gets no other.
    let second = release.tree("by-kit-again");
    let spent = refused(&kit(&kit_at.join("install.sh"), &[], &second, Some(&path)));
    assert!(spent.contains("token"), "{spent}");
    assert!(refused(&bundle(&site, &kit_at, &["--replace", "--scanner", "Pump house"])).contains("enrolled"));

    // With the appliance stopped, and for an address that only the administrator knows.
    site.stop("all");
    let other = release.folder.path().join("other");
    taken(&bundle(&site, &other, &["--name", "Spare", "--appliance", "portolan.site.example:8443"]));
    let script = fs::read_to_string(other.join("install.sh")).expect("it is there");
    assert!(script.contains("appliance='portolan.site.example:8443'"));
    let mut query = Command::new(binaries::portolan());
    query.args(["admin", "--json", "audit", "query", "--actor", "admin", "--all", "--data"]).arg(site.data());
    let told = String::from_utf8_lossy(&query.output().expect("portolan starts").stdout).into_owned();
    let count = |action: &str| told.matches(&format!("\"{action}\"")).count();
    assert_eq!((count("scanner.created"), count("scanner.enrolment-offered")), (2, 2), "{told}");
    assert!(!told.contains(token.trim()));
}

#[test]
fn an_appliance_hands_out_no_program_whose_signature_does_not_hold() {
    let release = Release::new();
    let folder = release.dist.to_str().expect("the path is UTF-8").to_owned();
    let mut site = Site::fresh().with(&["--scanner-dir", &folder]);
    site.run("all");
    let _owner = site.set_up();
    let visitor = site.visitor();
    for name in ["scanner/portolan-scanner", "scanner/portolan-scanner.minisig", "scanner/scanner.pub"] {
        let answer = visitor.get(&format!("/{name}")).expect(200);
        let file = release.file(name.trim_start_matches("scanner/"));
        if !name.ends_with("portolan-scanner") {
            assert_eq!(
                answer.text().lines().nth(1),
                fs::read_to_string(file).expect("it is there").lines().nth(1)
            );
        }
    }
    let mut program = fs::read(release.file("portolan-scanner")).expect("it is there");
    program.push(0);
    fs::write(release.file("portolan-scanner"), program).expect("it is ours");
    assert!(visitor.get("/install.sh").expect(503).text().contains("signature"));
    let _ = visitor.get("/scanner/portolan-scanner").expect(503);
    fs::remove_dir_all(&release.dist).expect("it is ours");
    assert!(visitor.get("/install.sh").expect(404).text().contains("make release-scanner"));
}

#[test]
fn the_kit_verifies_with_what_the_machine_has_and_fails_closed() {
    let release = Release::new();
    let from = release.dist.to_str().expect("the path is UTF-8").to_owned();
    let script = release.file("install.sh");
    let machines =
        [&["minisign"][..], &["openssl"], &[]].map(|besides| machine(release.folder.path(), besides));
    let arguments = ["--from", &from, "--no-enrol"];
    for (number, path) in machines[..2].iter().enumerate() {
        let tree = release.tree(&format!("good-{number}"));
        let first = taken(&kit(&script, &arguments, &tree, Some(path)));
        assert!(first.contains("the signature is good"), "{first}");
        assert!(installed(&tree).exists());
    }
    let tree = release.tree("blind");
    let blind = refused(&kit(&script, &arguments, &tree, Some(&machines[2])));
    assert!(blind.contains("nothing here can check a signature"), "{blind}");
    assert!(!installed(&tree).exists());

    // Changed, cut, its comment changed, signed by another, signed in the form with a hash, not signed at all.
    let (program, signature) = (release.file("portolan-scanner"), release.file("portolan-scanner.minisig"));
    let (good, signed) =
        (fs::read(&program).expect("it is there"), fs::read_to_string(&signature).expect("it is there"));
    let other = Release::new();
    let mut changed = good.clone();
    changed[1000] ^= 1;
    let hashed = {
        let mut sign = Command::new(binaries::portolan());
        sign.args(["sign", "sign", "--key"]).arg(release.folder.path().join("site.key")).arg(&program);
        taken(&sign.output().expect("portolan starts"));
        fs::read_to_string(&signature).expect("it is there")
    };
    let foreign = fs::read_to_string(other.file("portolan-scanner.minisig")).expect("it is there");
    let commented = signed.replace("trusted comment: portolan", "trusted comment: Portolan");
    let cases: [(&str, &[u8], &str); 6] = [
        ("changed", &changed, &signed),
        ("cut", &good[..good.len() - 1], &signed),
        ("commented", &good, &commented),
        ("foreign", &good, &foreign),
        ("hashed", &good, &hashed),
        ("unsigned", &good, ""),
    ];
    for (what, bytes, text) in cases {
        fs::write(&program, bytes).expect("it is ours");
        fs::write(&signature, text).expect("it is ours");
        for path in &machines[..2] {
            let tree = release.tree("bad");
            let words = refused(&kit(&script, &arguments, &tree, Some(path)));
            assert!(words.contains("signature is not good"), "{what}: {words}");
            assert!(
                fs::read_dir(&tree).expect("it is there").next().is_none(),
                "{what}: something was written"
            );
        }
    }
    fs::remove_file(&signature).expect("it is ours");
    let words = refused(&kit(&script, &arguments, &release.tree("bad"), None));
    assert!(words.contains("without its signature"), "{words}");

    // A file that is not there is no key.
    let arguments = ["--from", &from, "--no-enrol", "--key", "/typo/scanner.pub"];
    let words = refused(&kit(&script, &arguments, &release.tree("bad"), None));
    assert!(words.contains("--key: /typo/scanner.pub is no key, nor a file with one"), "{words}");

    // A pinned key is not replaced by what another kit brings.
    let tree = release.tree("good-0");
    let other_from = other.dist.to_str().expect("the path is UTF-8");
    let words = refused(&kit(&other.file("install.sh"), &["--from", other_from, "--no-enrol"], &tree, None));
    assert!(words.contains("another key is pinned"), "{words}");
}

#[test]
fn without_a_key_the_sum_decides_and_the_script_says_what_that_lacks() {
    let release = Release::new();
    let from = release.dist.to_str().expect("the path is UTF-8").to_owned();
    // As it stands in the source: no appliance and no release wrote anything into it.
    let script = binaries::repository().join("scanner/install.sh");
    let tree = release.tree("sum");
    let first = taken(&kit(&script, &["--from", &from, "--no-enrol"], &tree, None));
    assert!(first.contains("not who made it") && installed(&tree).exists(), "{first}");
    fs::write(release.file("portolan-scanner"), b"#!/bin/sh\n").expect("it is ours");
    let tree = release.tree("other-sum");
    let words = refused(&kit(&script, &["--from", &from, "--no-enrol"], &tree, None));
    assert!(words.contains("another one") && !installed(&tree).exists(), "{words}");
}

#[test]
fn a_scanner_that_runs_is_restarted_when_its_program_or_its_unit_is_new() {
    let release = Release::new();
    let (folder, from) = (release.folder.path().display(), release.dist.display());
    let bin = release.tree("bin");
    for (name, script) in [
        ("systemctl", format!("echo \"$@\" >>{folder}/told")),
        ("id", "echo 0".to_owned()),
        ("chown", String::new()),
    ] {
        fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).expect("it is ours");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    // A machine of its own, in which systemd seems to run.
    let script = format!(
        "for place in /etc /run /usr/local /var/lib; do mount -t tmpfs none $place; done && \
         mkdir -p /run/systemd/system /var/lib/portolan-scanner && : >/var/lib/portolan-scanner/link.conf && \
         for option in --no-enrol --no-enrol --syn; do echo $option >>{folder}/told; \
         PATH={folder}/bin:/usr/bin:/bin dash {from}/install.sh --from {from} $option || exit 1; done"
    );
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output();
    let output = match output {
        Ok(output) if !said(&output).contains("unshare") => output,
        other => return println!("skipped: no mount namespace can be made here ({other:?})"),
    };
    taken(&output);
    let told = fs::read_to_string(release.file("../../told")).expect("it was told something");
    let restarts: Vec<bool> = told
        .split("--no-enrol\n")
        .flat_map(|part| part.split("--syn\n"))
        .map(|part| part.contains("try-restart"))
        .collect();
    assert_eq!(restarts, [false, true, false, true], "{told}");
}

#[test]
fn a_download_that_breaks_off_does_nothing() {
    let script = fs::read_to_string(binaries::repository().join("scanner/install.sh")).expect("it is there");
    let folder = TempDir::with_prefix("portolan-cut-").expect("a temporary folder can be made");
    let tree = folder.path().join("tree");
    for tenth in 1..10 {
        let cut = &script[..script.floor_char_boundary(script.len() * tenth / 10)];
        let mut command = Command::new("dash");
        command.args(["-s", "--", "--from", "/nowhere", "--root"]).arg(&tree);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a shell starts");
        child.stdin.take().expect("it was asked for").write_all(cut.as_bytes()).expect("it reads all of it");
        let _ = child.wait();
        assert!(!tree.exists(), "{tenth} tenths of the script wrote something");
    }
}
