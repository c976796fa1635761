//! What systemd does for a service, by its own protocol: holds its socket, and hears what it says.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::binaries;
use crate::process::Process;
use crate::wait::PATIENCE;

/// Holds a listening socket of loopback and hears the one service that is started over it.
pub struct Supervisor {
    folder: PathBuf,
    name: String,
    socket: TcpListener,
    heard: UnixDatagram,
}

impl Supervisor {
    /// Over a service; what it needs lies in this folder.
    pub fn new(folder: &Path, name: &str) -> Supervisor {
        let heard = UnixDatagram::bind(folder.join(format!("{name}.notify"))).expect("the folder is ours");
        heard.set_read_timeout(Some(PATIENCE)).expect("a time that is not zero");
        let socket = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
        Supervisor { folder: folder.into(), name: name.into(), socket, heard }
    }

    /// Where its socket listens.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("it is bound")
    }

    /// Starts `portolan` over the socket; it is to give a sign of life within this time, again and again.
    pub fn start(&self, arguments: &[&str], watchdog: Duration) -> Process {
        self.start_over("exec 3<&0 0</dev/null; export LISTEN_FDS=1", arguments, watchdog)
    }

    /// As [`Supervisor::start`], for a service without a socket.
    pub fn start_without(&self, arguments: &[&str], watchdog: Duration) -> Process {
        self.start_over("exec 0</dev/null; export", arguments, watchdog)
    }

    /// As [`Supervisor::start`], as if the unit of the socket had two addresses.
    pub fn start_with_two(&self, arguments: &[&str], watchdog: Duration) -> Process {
        self.start_over("exec 3<&0 4<&0 0</dev/null; export LISTEN_FDS=2", arguments, watchdog)
    }

    fn start_over(&self, sockets: &str, arguments: &[&str], watchdog: Duration) -> Process {
        let socket = OwnedFd::from(self.socket.try_clone().expect("descriptors are left"));
        // The first socket that systemd gives is the descriptor 3.
        let script = format!("{sockets} LISTEN_PID=$$; exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(binaries::portolan()).args(arguments);
        command.env("NOTIFY_SOCKET", self.folder.join(format!("{}.notify", self.name)));
        command.env("WATCHDOG_USEC", watchdog.as_micros().to_string()).env_remove("WATCHDOG_PID");
        let log = self.folder.join(format!("{}.log", self.name));
        Process::start_reading(&self.name, &mut command, Stdio::from(socket), &log)
    }

    /// Waits until the service has said this; panics with its log when it does not.
    pub fn hear(&self, word: &str) {
        let (mut bytes, mut said) = ([0; 4096], Vec::new());
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let Ok(length) = self.heard.recv(&mut bytes) else { break };
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.lines().any(|line| line == word) {
                return;
            }
            said.push(text);
        }
        let log = std::io::read_to_string(
            File::open(self.folder.join(format!("{}.log", self.name))).expect("a log"),
        );
        panic!("{} did not say {word}, but {said:?}\n{}", self.name, log.unwrap_or_default());
    }
}
