//! A program under test: its output is collected, and it never outlives the test.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::wait::wait_until;

/// A running child process. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    log: PathBuf,
}

impl Process {
    /// Starts the command; its standard output is kept line by line, its log goes to the file.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Process {
        Self::start_reading(name, command, Stdio::null(), log)
    }

    /// The same, with this as its standard input.
    pub fn start_reading(name: &str, command: &mut Command, input: Stdio, log: &Path) -> Process {
        let file = File::options().create(true).append(true).open(log);
        let file = file.unwrap_or_else(|error| panic!("cannot write {}: {error}", log.display()));
        let command = command.stdin(input).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let output = BufReader::new(child.stdout.take().expect("stdout was asked for"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                kept.lock().expect("no one panics while holding it").push(line);
            }
        });
        Process { name: name.into(), child, lines, log: log.into() }
    }

    /// The rest of the first output line that begins so; panics with the log when the program ends first.
    pub fn line_after(&mut self, beginning: &str, within: Duration) -> String {
        let what = format!("{} to print `{beginning}…`", self.name);
        wait_until(&what, within, || {
            let ended = self.ended();
            let lines = self.lines.lock().expect("no one panics while holding it");
            let found = lines.iter().find_map(|line| line.strip_prefix(beginning)).map(str::to_owned);
            assert!(
                found.is_some() || ended.is_none(),
                "{} ended: {ended:?}\n{}",
                self.name,
                self.log_text()
            );
            found
        })
    }

    /// Whether such a line was printed until now.
    pub fn printed(&self, beginning: &str) -> Option<String> {
        let lines = self.lines.lock().expect("no one panics while holding it");
        lines.iter().find_map(|line| line.strip_prefix(beginning)).map(str::to_owned)
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// What it logged.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal: `TERM`, `HUP`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot signal {}", self.name);
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub fn stop(&mut self, within: Duration) -> ExitStatus {
        self.signal("TERM");
        let what = format!("{} to stop", self.name);
        wait_until(&what, within, || self.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
