//! A real scanner process, enrolled and run as the install line does it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::binaries;
use crate::http::Endpoint;
use crate::process::Process;
use crate::tls;

/// What the manager's page gives out for an enrolment, and no listener says.
#[derive(Clone, Debug)]
pub struct Pins {
    /// SHA-256 of the CA's certificate.
    pub ca_sha256: String,
    /// The key that signs jobs.
    pub job_key: String,
}

impl Pins {
    /// From what the API answers when a scanner is added.
    pub fn of(added: &Value) -> Pins {
        let text =
            |key: &str| added[key].as_str().unwrap_or_else(|| panic!("no {key} in {added}")).to_owned();
        Pins { ca_sha256: text("ca_sha256"), job_key: text("job_key") }
    }
}

/// An enrolled scanner with its folder of keys. Dropping it kills its process.
pub struct Scanner {
    name: String,
    dir: PathBuf,
    process: Option<Process>,
    _folder: TempDir,
}

impl Scanner {
    /// Enrols with this token; panics with what the scanner said when it was refused.
    pub fn enrol(name: &str, appliance: SocketAddr, pins: &Pins, token: &str) -> Scanner {
        let folder = TempDir::with_prefix("portolan-scanner-").expect("a temporary folder can be made");
        let dir = folder.path().join("scanner");
        let output = Self::try_enrol(&dir, appliance, pins, token);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "enrolment of {name}: {}\n{said}", output.status);
        Scanner { name: name.into(), dir, process: None, _folder: folder }
    }

    /// Runs `portolan-scanner enrol` into this folder, whatever comes of it. The token goes in on stdin: an
    /// argument could be read by every user of the machine.
    pub fn try_enrol(dir: &Path, appliance: SocketAddr, pins: &Pins, token: &str) -> Output {
        let mut command = Command::new(binaries::scanner());
        command.args(["enrol", "--appliance", &appliance.to_string(), "--ca-sha256", &pins.ca_sha256]);
        command.args(["--job-key", &pins.job_key, "--token-file", "-", "--dir"]).arg(dir);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the scanner starts");
        let mut input = child.stdin.take().expect("stdin was asked for");
        let _ = std::io::Write::write_all(&mut input, format!("{token}\n").as_bytes());
        drop(input);
        child.wait_with_output().expect("a child can be waited for")
    }

    /// Starts its link process.
    pub fn run(&mut self) {
        let mut command = Command::new(binaries::scanner());
        command.arg("run").arg("--dir").arg(&self.dir);
        self.process =
            Some(Process::start(&self.name, &mut command, &self.dir.with_file_name("scanner.log")));
    }

    /// Ends it as `kill -9` does; its probe child goes with it.
    pub fn kill(&mut self) {
        self.process.take().expect("the scanner runs").kill();
    }

    /// Ends it orderly.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("the scanner runs");
        let status = process.stop(Duration::from_secs(20));
        assert!(status.success(), "{} ended with {status}\n{}", self.name, process.log_text());
    }

    /// Whether its process runs.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.with_file_name("scanner.log")).unwrap_or_default()
    }

    /// The folder with its keys.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The name it has in the tests.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The scanners' door as this scanner reaches it: its CA pinned, its certificate shown.
    pub fn endpoint(&self, appliance: SocketAddr) -> Endpoint {
        let read = |name: &str| {
            let path = self.dir.join(name);
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let (certificate, key) = (read("certificate.der"), read("identity.key"));
        let config = tls::trusting(&read("ca.der"), Some((&certificate, &key))).expect("its keys are good");
        Endpoint { address: appliance, tls: Some((config, "portolan-ingest".into())) }
    }
}
