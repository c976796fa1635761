//! The program and its own signature: one that does not hold is served to nobody. And who looks into it at the start is in
//! the audit.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use portolan_tests::listeners::free_port;
use portolan_tests::process::Process;
use portolan_tests::wait::PATIENCE;
use portolan_tests::{Site, binaries, wait_until};
use tempfile::TempDir;

/// A copy of the program and its library, and a key.
struct Installed {
    folder: TempDir,
    program: PathBuf,
    key: String,
}

impl Installed {
    fn new() -> Installed {
        let folder = TempDir::with_prefix("portolan-gate-").expect("a temporary folder can be made");
        let program = binaries::for_everyone(folder.path());
        let secret = folder.path().join("site.key");
        let mut keygen = Command::new(binaries::portolan());
        keygen.args(["sign", "keygen", "--no-password", "--secret"]).arg(&secret);
        assert!(keygen.output().expect("portolan starts").status.success());
        let key = fs::read_to_string(folder.path().join("site.pub")).expect("it was made");
        let key = key.lines().nth(1).expect("its second line is the key").to_owned();
        Installed { folder, program, key }
    }

    fn library(&self) -> Option<PathBuf> {
        Some(self.folder.path().join("libduckdb.so")).filter(|path| path.exists())
    }

    fn sign(&self, file: &Path) {
        let mut sign = Command::new(binaries::portolan());
        sign.args(["sign", "sign", "--key"]).arg(self.folder.path().join("site.key")).arg(file);
        assert!(sign.output().expect("portolan starts").status.success());
    }

    /// With a library path of one's own.
    fn refused_with(&self, libraries: &Path) -> String {
        self.refusal_of(self.command().env("LD_LIBRARY_PATH", libraries))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let loopback = format!("127.0.0.1:{}", free_port());
        command.args(["serve", "--role", "manager", "--listen", &loopback, "--data"]).arg(self.data());
        command.env("LD_LIBRARY_PATH", self.folder.path()).env("PORTOLAN_RELEASE_KEY", &self.key);
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it says when it does not start.
    fn refused(&self) -> String {
        self.refusal_of(&mut self.command())
    }

    fn refusal_of(&self, command: &mut Command) -> String {
        let output: Output = command.stdin(Stdio::null()).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(77), "{said}");
        assert!(said.contains("does not hold"), "{said}");
        assert!(!self.data().exists(), "it was refused, and yet something was made");
        said
    }
}

/// One byte more: a program that runs as before.
fn append(file: &Path) {
    let mut file = OpenOptions::new().append(true).open(file).expect("it is ours");
    file.write_all(b"x").expect("there is room");
}

#[test]
fn a_program_whose_signature_does_not_hold_serves_nobody() {
    let installed = Installed::new();
    assert!(installed.refused().contains("portolan.minisig"));
    installed.sign(&installed.program);
    if let Some(library) = installed.library() {
        assert!(installed.refused().contains("libduckdb.so.minisig"));
        installed.sign(&library);
    }
    let log = installed.folder.path().join("log");
    let mut process = Process::start("signed", &mut installed.command(), &log);
    process.line_after("portolan: pages at ", PATIENCE);
    assert!(process.log_text().contains("the signature of this program holds"), "{}", process.log_text());
    assert!(process.stop(PATIENCE).success());
    fs::remove_dir_all(installed.data()).expect("it is ours");

    append(&installed.program);
    assert!(installed.refused().contains("portolan: the signature does not fit the file"));
    installed.sign(&installed.program);
    if let Some(library) = installed.library() {
        append(&library);
        assert!(installed.refused().contains("libduckdb.so: the signature does not fit the file"));
    }
}

#[test]
fn a_library_from_elsewhere_needs_its_signature_too() {
    let installed = Installed::new();
    let Some(library) = installed.library() else {
        eprintln!("NOT TESTED: DuckDB is in the program here");
        return;
    };
    installed.sign(&installed.program);
    installed.sign(&library);
    let elsewhere = TempDir::with_prefix("portolan-elsewhere-").expect("a temporary folder can be made");
    fs::copy(&library, elsewhere.path().join("libduckdb.so")).expect("there is room");
    let said = installed.refused_with(elsewhere.path());
    assert!(said.contains(&format!("{}/libduckdb.so.minisig", elsewhere.path().display())), "{said}");
    // The loader looks here first, by itself; it is a folder for every CPU that it knows better by.
    #[cfg(target_arch = "x86_64")]
    {
        let folder = installed.folder.path().join("glibc-hwcaps/x86-64-v2");
        fs::create_dir_all(&folder).expect("it is ours");
        fs::rename(elsewhere.path().join("libduckdb.so"), folder.join("libduckdb.so"))
            .or_else(|_| fs::copy(&library, folder.join("libduckdb.so")).map(drop))
            .expect("there is room");
        let said = installed.refused();
        assert!(said.contains("glibc-hwcaps/x86-64-v2/libduckdb.so.minisig"), "{said}");
    }
}

#[test]
fn a_build_without_a_key_says_so_and_preloaded_code_is_in_the_audit() {
    let mut site = Site::fresh().with_environment("LD_PRELOAD", "/nowhere/spy.so");
    for role in portolan_tests::site::ROLES {
        site.run(role);
    }
    let owner = site.set_up();
    for role in portolan_tests::site::ROLES {
        assert!(site.process(role).log_text().contains("DEVELOPMENT BUILD"), "{role}");
        wait_until("the audit to tell of it", PATIENCE, || {
            // The words of `q` stand in the entry.
            let path = format!("/audit?action=program.watched&resource=program&resource_id={role}&q=spy.so");
            owner.get(&path).expect(200).text().contains("program.watched").then_some(())
        });
    }
    assert_eq!(owner.get("").expect(200).json()["development"], true);
    assert!(owner.page("/").expect(200).text().contains("Development build"));
}
