//! An appliance under test: a fresh data folder, the real server, an owner.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::client::Client;
use crate::http::Endpoint;
use crate::listeners::free_port;
use crate::process::Process;
use crate::wait::PATIENCE;
use crate::{binaries, tls};

/// The name the owner signs in with.
pub const OWNER: &str = "owner";
/// The owner's password in tests.
pub const PASSWORD: &str = "correct horse battery staple";

/// The processes that a site is made of.
pub const ROLES: [&str; 3] = ["manager", "ingest", "dispatcher"];

/// A running appliance. Dropping it kills its processes and removes its folder.
pub struct Site {
    data: PathBuf,
    pages: SocketAddr,
    scanners: SocketAddr,
    code: Option<String>,
    processes: Vec<(String, Process)>,
    users: Vec<(String, String)>,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    pages_tls: std::sync::Arc<rustls::ClientConfig>,
    folder: Option<TempDir>,
}

impl Site {
    /// A site on free ports of 127.0.0.1, in a fresh folder; nothing is started yet.
    pub fn fresh() -> Site {
        let folder = TempDir::with_prefix("portolan-").expect("a temporary folder can be made");
        let mut site = Self::in_folder(folder.path());
        site.folder = Some(folder);
        site
    }

    /// The same, with all roles running in one process.
    pub fn start() -> Site {
        let mut site = Self::fresh();
        site.run("all");
        site
    }

    /// All roles in one process, in this folder, which is kept.
    pub fn start_in(folder: &Path, pages: SocketAddr) -> Site {
        let mut site = Self::in_folder(folder);
        site.pages = pages;
        site.run("all");
        site
    }

    /// One process a role, all under the user who runs the tests.
    pub fn start_roles() -> Site {
        let mut site = Self::fresh();
        for role in ROLES {
            site.run(role);
        }
        site
    }

    /// One process a role, each under its own user; `users` gives for a role the arguments of `setpriv` that it is
    /// started through. `prepare` makes the data folder beforehand, as an installer does.
    pub fn start_roles_as(users: &[(&str, &str)], prepare: impl FnOnce(&Path)) -> Site {
        let mut site = Self::fresh();
        let folder = site.data.parent().expect("it lies in the temporary folder").to_owned();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("it is ours");
        prepare(&site.data);
        site.users = users.iter().map(|(role, how)| ((*role).to_owned(), (*how).to_owned())).collect();
        site.program = binaries::for_everyone(&folder);
        for role in ROLES {
            site.run(role);
        }
        site
    }

    /// The program that its processes run.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A site in this folder, nothing started yet.
    pub fn in_folder(folder: &Path) -> Site {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Site {
            data: folder.join("data"),
            pages: loopback(free_port()),
            scanners: loopback(free_port()),
            code: None,
            processes: Vec::new(),
            users: Vec::new(),
            program: binaries::portolan(),
            arguments: Vec::new(),
            environment: Vec::new(),
            pages_tls: tls::pinned(""),
            folder: None,
        }
    }

    /// Further arguments for every process started from now on.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Site {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }

    /// A further variable for every process started from now on.
    #[must_use]
    pub fn with_environment(mut self, name: &str, value: &str) -> Site {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts a role (`all`: every role in one process) and waits until it serves.
    pub fn run(&mut self, role: &str) {
        let log = self.data.with_file_name(format!("{role}.log"));
        let mut command = self.command(role);
        command.args(["serve", "--data"]).arg(&self.data);
        if role != "all" {
            command.args(["--role", role]);
        }
        if ["all", "manager"].contains(&role) {
            command.args(["--listen", &self.pages.to_string()]);
        }
        if ["all", "ingest"].contains(&role) {
            command.args(["--scanner-listen", &self.scanners.to_string()]);
        }
        command.args(&self.arguments);
        let fresh = !self.data.join("config/config.db").exists();
        let mut process = Process::start(role, &mut command, &log);
        if ["all", "manager"].contains(&role) {
            process.line_after("portolan: pages at ", PATIENCE);
            let sha256 = process.line_after("portolan: certificate sha256 ", PATIENCE);
            self.pages_tls = tls::pinned(&sha256);
            if fresh {
                self.code = Some(process.line_after("portolan: setup code ", PATIENCE));
            }
        }
        if ["all", "ingest"].contains(&role) {
            process.line_after("portolan: scanners at ", PATIENCE);
        }
        self.processes.push((role.into(), process));
    }

    fn command(&self, role: &str) -> Command {
        let mut command = match self.users.iter().find(|(name, _)| name == role) {
            None => Command::new(&self.program),
            Some((_, how)) => {
                let mut command = Command::new("setpriv");
                command.args(how.split(' ')).arg(&self.program);
                // Where `for_everyone` put the library, if there is one.
                command.env("LD_LIBRARY_PATH", self.program.parent().expect("it lies in a folder"));
                command
            }
        };
        command.env_remove("RUST_LOG").env("RUST_BACKTRACE", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Ends a role's process as `kill -9` does.
    pub fn kill(&mut self, role: &str) {
        self.process(role).kill();
        self.processes.retain(|(name, _)| name != role);
    }

    /// Ends a role's process orderly.
    pub fn stop(&mut self, role: &str) {
        let status = self.process(role).stop(Duration::from_secs(20));
        let log = self.process(role).log_text();
        assert!(status.success(), "{role} ended with {status}\n{log}");
        self.processes.retain(|(name, _)| name != role);
    }

    /// A role's process.
    pub fn process(&mut self, role: &str) -> &mut Process {
        let found = self.processes.iter_mut().find(|(name, _)| name == role);
        &mut found.unwrap_or_else(|| panic!("{role} does not run")).1
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The address of the pages.
    pub fn url(&self) -> String {
        format!("https://{}/", self.pages)
    }

    /// Where scanners connect to.
    pub fn scanners(&self) -> SocketAddr {
        self.scanners
    }

    /// The one-time code, printed at the first start.
    pub fn setup_code(&self) -> &str {
        self.code.as_deref().expect("the first start prints `portolan: setup code …`")
    }

    /// A visitor who is not signed in.
    pub fn visitor(&self) -> Client {
        let name = self.pages.ip().to_string();
        Client::new(Endpoint { address: self.pages, tls: Some((self.pages_tls.clone(), name)) })
    }

    /// Makes the owner with the setup code; the client is signed in.
    pub fn set_up(&self) -> Client {
        self.set_up_with(PASSWORD)
    }

    /// Makes the owner with this password; the client is signed in.
    pub fn set_up_with(&self, password: &str) -> Client {
        let client = self.visitor();
        let owner = json!({
            "code": self.setup_code(), "name": OWNER, "display": "The Owner",
            "password": password, "password_again": password,
        });
        let answer = client.post("/setup", &owner);
        assert!(answer.status < 300, "{}", answer.describe());
        client
    }

    /// A client signed in as the owner.
    pub fn signed_in(&self) -> Client {
        let client = self.visitor();
        let answer = client.post("/sign-in", &json!({ "name": OWNER, "password": PASSWORD }));
        assert!(answer.status < 300, "{}", answer.describe());
        client
    }

    /// The logs of all processes, for a message.
    pub fn logs(&self) -> String {
        self.processes.iter().map(|(role, process)| format!("--- {role}\n{}", process.log_text())).collect()
    }
}
