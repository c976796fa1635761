//! The machine that the console runs on: where its folders are, and how its programs are run. All of it can be elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

/// Where things are.
#[derive(Args, Clone, Debug)]
pub struct Machine {
    /// The folder of the settings
    #[arg(long, value_name = "DIR", default_value = "/var/lib/portolan-settings")]
    pub settings: PathBuf,
    /// Where systemd reads what holds until the next boot
    #[arg(long, value_name = "DIR", default_value = "/run", hide = true)]
    pub run: PathBuf,
    /// What the kernel says of its devices
    #[arg(long, value_name = "DIR", default_value = "/sys", hide = true)]
    pub sys: PathBuf,
    /// What the kernel says of itself
    #[arg(long, value_name = "DIR", default_value = "/proc", hide = true)]
    pub proc: PathBuf,
    /// What only the image has
    #[arg(long, value_name = "DIR", default_value = "/usr/lib/portolan-image", hide = true)]
    pub image: PathBuf,
    /// Where the programs of the system are
    #[arg(long, value_name = "PATH", default_value = "/usr/sbin:/usr/bin:/sbin:/bin", hide = true)]
    pub programs: String,
}

/// How a program ended.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// Whether it did its work.
    pub done: bool,
    /// What it printed.
    pub out: String,
    /// What it said of its troubles.
    pub err: String,
}

impl Machine {
    /// The file of the settings.
    #[must_use]
    pub fn settings_file(&self) -> PathBuf {
        self.settings.join("machine.conf")
    }

    /// What was done and stands in no audit yet.
    #[must_use]
    pub fn unrecorded(&self) -> PathBuf {
        super::journal::unrecorded(&self.settings)
    }

    /// A program that only the image has, if it is there.
    #[must_use]
    pub fn of_image(&self, name: &str) -> Option<PathBuf> {
        Some(self.image.join(name)).filter(|path| path.is_file())
    }

    /// Runs a program with these arguments, without a terminal, and waits for it.
    #[must_use]
    pub fn run(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Ran {
        let program = program.as_ref();
        let found = self
            .programs
            .split(':')
            .map(|folder| Path::new(folder).join(program))
            .find(|path| path.is_file());
        let Some(found) = found else {
            return Ran { err: format!("{} is not on this machine", program.display()), ..Ran::default() };
        };
        let mut command = Command::new(&found);
        command.args(arguments).stdin(Stdio::null());
        // Nothing pages, colours or translates.
        command.env_clear().env("PATH", &self.programs).env("LC_ALL", "C.UTF-8");
        command.env("SYSTEMD_PAGER", "").env("SYSTEMD_COLORS", "0").env("SYSTEMD_URLIFY", "0");
        match command.output() {
            Ok(output) => Ran {
                done: output.status.success(),
                out: String::from_utf8_lossy(&output.stdout).into_owned(),
                err: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            },
            Err(error) => Ran { err: format!("{}: {error}", found.display()), ..Ran::default() },
        }
    }

    /// What a small file says, without white space around it; nothing where it cannot be read.
    #[must_use]
    pub fn says(path: &Path) -> String {
        fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
    }

    /// What the machine calls itself now.
    #[must_use]
    pub fn hostname(&self) -> String {
        Self::says(&self.proc.join("sys/kernel/hostname"))
    }

    /// The cards and VLANs that are there, loopback left out, by name.
    #[must_use]
    pub fn links(&self) -> Vec<String> {
        let entries = fs::read_dir(self.sys.join("class/net")).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name != "lo")
            .collect();
        names.sort();
        names
    }

    /// Whether a link has a signal: none where the kernel does not say, as of a link that is down.
    #[must_use]
    pub fn carrier(&self, link: &str) -> Option<bool> {
        match Self::says(&self.sys.join("class/net").join(link).join("carrier")).as_str() {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        }
    }

    /// Addresses that others can reach, each with its link and prefix.
    #[must_use]
    pub fn addresses(&self) -> Vec<(String, String)> {
        let listed = self.run("ip", &["-o", "addr", "show", "scope", "global"]);
        let of_line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [_, link, "inet" | "inet6", net, ..] => Some((link.to_owned(), net.to_owned())),
                _ => None,
            }
        };
        listed.out.lines().filter_map(of_line).collect()
    }
}
