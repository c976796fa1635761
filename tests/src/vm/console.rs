//! What a person in front of the virtual machine sees on its serial line, and types there.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{BOOT, Running, tail};
use crate::wait::pause;

/// What the console says of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The certificate's SHA-256, hex.
    pub certificate: String,
    /// The code for setup; none once there is an owner.
    pub code: Option<String>,
    /// Whether the data are encrypted, in its words.
    pub data: String,
    /// What can be chosen, in the order of its numbers.
    pub choices: Vec<String>,
}

impl Running {
    /// Types this on the serial line.
    pub fn types(&mut self, text: &str) {
        let line = self.line.get_or_insert_with(|| {
            let line =
                UnixStream::connect(self.folder.join("console")).expect("QEMU has the serial line open");
            // It stays open, as what QEMU has not read yet would be lost; and is read, as QEMU waits for that. The log has it all.
            let mut other = line.try_clone().expect("a socket can be cloned");
            thread::spawn(move || io::copy(&mut other, &mut io::sink()));
            line
        });
        line.write_all(text.as_bytes()).expect("QEMU reads it");
    }

    /// Looks at the console, again and again, until it shows a machine whose services are all there.
    pub fn look(&mut self) -> Shown {
        let deadline = Instant::now() + BOOT;
        let before = self.console().len();
        loop {
            self.is_on("the console");
            let console = self.console();
            // Of this start of the machine, and newer than the question.
            let boot = console.rfind("starting Boot0").unwrap_or_default();
            if let Some(shown) = console.get(boot.max(before)..).and_then(read) {
                eprintln!("{:6.1} s: the console shows a machine that is ready", self.seconds());
                return shown;
            }
            assert!(
                Instant::now() < deadline,
                "the console shows no machine that is ready\n{}",
                tail(&self.console())
            );
            // Typed before there is a console, it is nothing.
            if console[boot..].contains("Number, or Enter to look again:") {
                self.types("\n");
            }
            pause(Duration::from_secs(3));
        }
    }

    /// Chooses what is called so.
    pub fn choose(&mut self, word: &str) {
        let choices = self.look().choices;
        let at = choices.iter().position(|choice| choice == word);
        let at = at.unwrap_or_else(|| panic!("{word} is not among {choices:?}"));
        self.types(&format!("{}\n", at + 1));
    }

    /// The recovery key, once it is shown.
    pub fn recovery_key(&mut self) -> String {
        self.until("the recovery key", |console| {
            let (_, rest) = console.rsplit_once("and then never again:\n")?;
            let (key, _) = rest.trim_start().split_once('\n')?;
            rest.contains("Type its last block:").then(|| key.trim().to_owned())
        })
    }
}

/// The last screen of the console, if it is whole and of a machine that is ready.
fn read(console: &str) -> Option<Shown> {
    let (before, _) = console.rsplit_once("Number, or Enter to look again:")?;
    let (_, screen) = before.rsplit_once("\n  Portolan ")?;
    let value = |name: &str| {
        let line = screen.lines().find_map(|line| line.strip_prefix("  ")?.strip_prefix(name));
        line.map(|rest| rest.trim().to_owned()).filter(|rest| !rest.is_empty())
    };
    let services = value("Services ")?;
    if services.split(", ").any(|one| !one.ends_with(" active")) {
        return None;
    }
    let (_, rest) = screen.split_once("SHA-256 ")?;
    let pairs = rest.lines().take(2).flat_map(|line| line.trim().split(':'));
    let certificate: String = pairs.map(str::to_lowercase).collect();
    let setup = value("Setup ")?;
    let code = setup.split_once("enter ").map(|(_, code)| code.to_owned());
    if code.is_none() && setup != "done" {
        return None;
    }
    let choices = screen
        .lines()
        .filter_map(|line| {
            let (number, word) = line.trim().split_once("  ")?;
            number.parse::<u32>().ok().map(|_| word.trim().to_owned())
        })
        .collect();
    Some(Shown { certificate, code, data: value("Data ").unwrap_or_default(), choices })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "------------------------------------------------------------------------------";

    fn screen(services: &str, setup: &str) -> String {
        format!(
            "before\n{RULE}\n  Portolan 0.1.0                              portolan\n{RULE}\n  Pages         https://10.0.2.15/\n  \
             Certificate   SHA-256 {}3F\n                        {}3F\n  Services      {services}\n  Data          NOT ENCRYPTED: x\n  \
             Setup         {setup}\n{RULE}\n  1  Network\n  2  Power off\nNumber, or Enter to look again: ",
            "3F:".repeat(15),
            "3F:".repeat(15),
        )
    }

    #[test]
    fn a_screen_is_read_once_all_is_there() {
        let ready = "manager active, ingest active, dispatcher active";
        let shown = read(&screen(ready, "open the pages, compare the certificate, enter ABCD-EF")).unwrap();
        assert_eq!(shown.certificate, "3f".repeat(32));
        assert_eq!(shown.code.as_deref(), Some("ABCD-EF"));
        assert_eq!(shown.choices, ["Network", "Power off"]);
        assert_eq!(read(&screen(ready, "done")).unwrap().code, None);
        assert_eq!(read(&screen(ready, "the appliance is not started yet")), None);
        assert_eq!(read(&screen("manager activating, ingest active, dispatcher active", "done")), None);
    }
}
