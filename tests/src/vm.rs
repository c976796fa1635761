//! A virtual machine that runs the image: QEMU with UEFI, in software alone, from the tree of tools that the image was made
//! with. It listens on loopback alone, and reaches nothing.

mod console;
mod image;
pub mod media;

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use console::Shown;
pub use image::{Image, Tools};

use crate::client::Client;
use crate::http::Endpoint;
use crate::listeners::free_port;
use crate::process::Process;
use crate::tls;
use crate::wait::{pause, wait_until};

/// How long a boot may take: half a minute on a quiet machine, several on one that builds beside it.
pub const BOOT: Duration = Duration::from_secs(600);

/// A machine with its disk, its firmware's memory and perhaps a TPM, which outlive what runs on it.
pub struct Machine {
    tools: Tools,
    folder: TempDir,
    secure_boot: bool,
    tpm: bool,
    stick: Option<PathBuf>,
    also: Option<PathBuf>,
}

impl Machine {
    /// A machine whose disk holds this image, as if it was flashed onto a disk of 6 GB.
    pub fn flashed(image: &Image) -> Machine {
        let machine = Machine::empty(image);
        machine.flash(&image.disk());
        machine
    }

    /// A machine with an empty disk of 6 GB.
    pub fn empty(image: &Image) -> Machine {
        let tools = image.tools().clone();
        let folder = TempDir::with_prefix("portolan-vm-").expect("a temporary folder can be made");
        fs::copy(tools.at("usr/share/OVMF/OVMF_VARS_4M.fd"), folder.path().join("firmware"))
            .expect("the tools have OVMF");
        let machine = Machine { tools, folder, secure_boot: false, tpm: false, stick: None, also: None };
        run(machine
            .tools
            .command("qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(machine.disk())
            .arg("6G"));
        machine
    }

    /// The same, whose firmware does Secure Boot, in setup mode until it is given keys.
    #[must_use]
    pub fn with_secure_boot(self) -> Machine {
        Machine { secure_boot: true, ..self }
    }

    /// The same with a TPM 2.0.
    #[must_use]
    pub fn with_tpm(self) -> Machine {
        Machine { tpm: true, ..self }
    }

    /// Writes another image onto its disk; the firmware's memory and the TPM stay as they are.
    pub fn flash(&self, disk: &Path) {
        let _ = fs::remove_file(self.disk());
        let mut make = self.tools.command("qemu-img");
        make.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]);
        run(make.arg(disk).arg(self.disk()).arg("6G"));
    }

    /// Puts a stick in, from which it boots first (`None`: takes it out).
    pub fn stick(&mut self, stick: Option<PathBuf>) {
        self.stick = stick;
    }

    /// Puts a stick in, from which it does not boot (`None`: takes it out).
    pub fn also(&mut self, stick: Option<PathBuf>) {
        self.also = stick;
    }

    /// Puts another TPM in: what the old one had closed stays closed.
    pub fn exchange_tpm(&self) {
        fs::remove_dir_all(self.folder.path().join("tpm")).expect("it had one");
    }

    /// The file of its disk, in QEMU's format.
    pub fn disk(&self) -> PathBuf {
        self.folder.path().join("disk.qcow2")
    }

    /// Switches it on.
    pub fn start(&self) -> Running {
        let at = |name: &str| self.folder.path().join(name);
        let tpm = self.tpm.then(|| self.start_tpm());
        for name in ["console", "shell", "screen"] {
            let _ = fs::remove_file(at(name));
        }
        let _ = fs::remove_file(at("console.log"));
        let (pages, scanners, other) = (free_port(), free_port(), free_port());
        let code = if self.secure_boot { "OVMF_CODE_4M.secboot.fd" } else { "OVMF_CODE_4M.fd" };
        let code = self.tools.at(&format!("usr/share/OVMF/{code}"));
        let mut qemu = self.tools.command("qemu-system-x86_64");
        // Never a hardware accelerator: where there is one that does not suit, QEMU stops instead of going on without.
        // One processor: of a second one QEMU in software loses a timer now and then, and the machine stands still.
        qemu.args(["-accel", "tcg,thread=multi,tb-size=512", "-smp", "1", "-m", "2048", "-display", "none"]);
        // The fastest in software: no vectors but the short ones, and the instructions for hashes.
        qemu.args([
            "-cpu",
            "qemu64,+sha-ni,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq",
            "-nodefaults",
            "-vga",
            "std",
        ]);
        qemu.args(["-machine", if self.secure_boot { "q35,smm=on" } else { "q35" }]);
        if self.secure_boot {
            qemu.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
        }
        qemu.args(["-uuid", "6b0a8b1e-3b5c-4c1f-9d52-3c6f1c1b9a77", "-device", "virtio-rng-pci"]);
        qemu.arg("-drive").arg(format!("if=pflash,format=raw,readonly=on,file={}", code.display()));
        qemu.arg("-drive").arg(format!("if=pflash,format=raw,file={}", at("firmware").display()));
        // What the machine has flushed outlives QEMU; what it has not may go, as with a power cut.
        qemu.arg("-drive")
            .arg(format!("if=none,id=d0,format=qcow2,cache=writeback,file={}", self.disk().display()));
        qemu.args([
            "-device",
            "virtio-blk-pci,drive=d0,bootindex=2",
            "-device",
            "qemu-xhci",
            "-device",
            "usb-kbd",
        ]);
        if let Some(stick) = &self.stick {
            qemu.arg("-drive").arg(format!("if=none,id=u0,format=raw,file={}", stick.display()));
            qemu.args(["-device", "usb-storage,drive=u0,removable=on,bootindex=1"]);
        }
        let forward = |port: u16, to: u16| format!("hostfwd=tcp:127.0.0.1:{port}-:{to}");
        if let Some(stick) = &self.also {
            qemu.arg("-drive").arg(format!("if=none,id=u1,format=raw,file={}", stick.display()));
            qemu.args(["-device", "usb-storage,drive=u1,removable=on"]);
        }
        // `restrict`: what the guest sends reaches nobody.
        let network = [forward(pages, 443), forward(scanners, 8443), forward(other, 22)].join(",");
        qemu.arg("-netdev").arg(format!("user,id=n0,restrict=on,{network}"));
        qemu.args(["-device", "virtio-net-pci,netdev=n0,romfile="]);
        let socket = |name: &str| format!("path={},server=on,wait=off", at(name).display());
        qemu.arg("-chardev").arg(format!(
            "socket,id=console,{},logfile={}",
            socket("console"),
            at("console.log").display()
        ));
        qemu.args(["-serial", "chardev:console", "-device", "virtio-serial-pci"]);
        qemu.arg("-chardev").arg(format!("socket,id=shell,{}", socket("shell")));
        qemu.args(["-device", "virtserialport,chardev=shell,name=portolan.test"]);
        qemu.arg("-chardev").arg(format!("socket,id=screen,{}", socket("screen")));
        qemu.args(["-mon", "chardev=screen,mode=readline"]);
        if self.tpm {
            qemu.arg("-chardev").arg(format!("socket,id=tpm,path={}", at("tpm.socket").display()));
            qemu.args(["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"]);
        }
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Running {
            process: Process::start("QEMU", &mut qemu, &at("qemu.log")),
            _tpm: tpm,
            folder: self.folder.path().to_owned(),
            began: Instant::now(),
            shell: None,
            line: None,
            asked: 0,
            pages: loopback(pages),
            scanners: loopback(scanners),
            other: loopback(other),
        }
    }

    fn start_tpm(&self) -> Process {
        let at = |name: &str| self.folder.path().join(name);
        fs::create_dir_all(at("tpm")).expect("the folder is ours");
        let _ = fs::remove_file(at("tpm.socket"));
        let mut swtpm = self.tools.command("swtpm");
        swtpm.args(["socket", "--tpm2", "--flags", "startup-clear", "--terminate", "--tpmstate"]);
        swtpm.arg(format!("dir={}", at("tpm").display())).arg("--ctrl");
        swtpm.arg(format!("type=unixio,path={}", at("tpm.socket").display()));
        let process = Process::start("swtpm", &mut swtpm, &at("tpm.log"));
        wait_until("the TPM", Duration::from_secs(60), || at("tpm.socket").exists().then_some(()));
        process
    }
}

/// A machine that is on. Dropping it cuts its power.
pub struct Running {
    process: Process,
    _tpm: Option<Process>,
    folder: PathBuf,
    began: Instant,
    shell: Option<UnixStream>,
    line: Option<UnixStream>,
    asked: u32,
    pages: SocketAddr,
    scanners: SocketAddr,
    other: SocketAddr,
}

impl Running {
    /// What it wrote on its serial line until now, without colours.
    pub fn console(&self) -> String {
        let bytes = fs::read(self.folder.join("console.log")).unwrap_or_default();
        plain(&String::from_utf8_lossy(&bytes))
    }

    /// Waits until the serial line shows this, and gives what follows it on that line.
    pub fn shows(&mut self, words: &str) -> String {
        let console = self.until(&format!("`{words}` on the console"), |console| {
            let (_, rest) = console.split_once(words)?;
            // The line is whole when another has begun.
            rest.split_once('\n').map(|(line, _)| line.trim().to_owned())
        });
        eprintln!("{:6.1} s: {words}{console}", self.seconds());
        console
    }

    /// Waits until the serial line has what is looked for; panics with its end when the time is up.
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + BOOT;
        loop {
            let console = self.console();
            if let Some(found) = look(&console) {
                return found;
            }
            let ended = self.process.ended();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "waited for {what}; QEMU: {ended:?} {}\n{}",
                self.process.log_text(),
                tail(&console)
            );
            pause(Duration::from_millis(250));
        }
    }

    /// Panics with the end of its serial line when QEMU has ended.
    fn is_on(&mut self, what: &str) {
        let ended = self.process.ended();
        assert!(
            ended.is_none(),
            "waited for {what}; QEMU: {ended:?} {}\n{}",
            self.process.log_text(),
            tail(&self.console())
        );
    }

    /// Runs this in the machine's shell, which only the image of the tests has, and gives what it said; panics when it fails.
    pub fn sh(&mut self, script: &str) -> String {
        let (said, code) = self.try_sh(script);
        assert_eq!(code, 0, "{script}\n{said}");
        said
    }

    /// The same, with the exit code.
    pub fn try_sh(&mut self, script: &str) -> (String, i32) {
        self.asked += 1;
        let mark = format!("portolan-said-{}", self.asked);
        let shell = self.shell.get_or_insert_with(|| {
            let shell = UnixStream::connect(self.folder.join("shell")).expect("QEMU has the port open");
            shell.set_read_timeout(Some(BOOT)).expect("a socket takes a time limit");
            shell
        });
        let line = format!("( {script}\n) </dev/null 2>&1; code=$?; echo; echo {mark} $code\n");
        shell.write_all(line.as_bytes()).expect("QEMU reads it");
        let mut said = Vec::new();
        let mut byte = [0_u8];
        loop {
            let text = String::from_utf8_lossy(&said).into_owned();
            if let Some((before, after)) = text.split_once(&mark)
                && let Some((code, _)) = after.split_once('\n')
            {
                let code = code.trim().parse().unwrap_or_else(|_| panic!("{script}: {text}"));
                return (before.trim().to_owned(), code);
            }
            if let Err(error) = shell.read_exact(&mut byte) {
                panic!("{script}: {error}\n{text}\n{}", tail(&self.console()));
            }
            said.extend(byte);
        }
    }

    /// Since it was switched on.
    pub fn seconds(&self) -> f32 {
        self.began.elapsed().as_secs_f32()
    }

    /// The pages, as a visitor on this machine reaches them: with the certificate that the console showed.
    pub fn visitor(&self, sha256: &str) -> Client {
        let name = self.pages.ip().to_string();
        Client::new(Endpoint { address: self.pages, tls: Some((tls::pinned(sha256), name)) })
    }

    /// The forwarded port of the pages.
    pub fn pages(&self) -> SocketAddr {
        self.pages
    }

    /// The forwarded port of the scanners.
    pub fn scanners(&self) -> SocketAddr {
        self.scanners
    }

    /// A forwarded port on which nothing may answer: 22.
    pub fn other(&self) -> SocketAddr {
        self.other
    }

    /// A picture of its screen, as PPM.
    pub fn picture(&self, file: &Path) {
        let mut monitor = UnixStream::connect(self.folder.join("screen")).expect("QEMU has its monitor open");
        monitor.write_all(format!("screendump {}\n", file.display()).as_bytes()).expect("QEMU reads it");
        wait_until("a picture of the screen", Duration::from_secs(60), || file.exists().then_some(()));
    }

    /// Waits until it has switched itself off.
    pub fn goes_off(mut self) {
        wait_until("the machine to go off", BOOT, || self.process.ended());
    }

    /// Cuts its power.
    pub fn cut(mut self) {
        self.process.kill();
    }

    /// Switches it off as its power button does.
    pub fn switch_off(mut self) {
        let mut monitor = UnixStream::connect(self.folder.join("screen")).expect("QEMU has its monitor open");
        self.sh("sync");
        monitor.write_all(b"quit\n").expect("QEMU reads it");
        wait_until("QEMU to end", BOOT, || self.process.ended());
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("the tools are there");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The end of a console, for a message.
fn tail(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// Without the sequences by which a terminal is told of colours and places.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(one) = rest.next() {
        match one {
            '\u{1b}' => {
                if rest.next() == Some('[') {
                    let _ = rest.by_ref().find(char::is_ascii_alphabetic);
                }
            }
            '\r' => {}
            one => plain.push(one),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    #[test]
    fn colours_are_no_words() {
        assert_eq!(super::plain("\u{1b}[0;32m OK \u{1b}[0m x\r\n"), " OK  x\n");
    }
}
