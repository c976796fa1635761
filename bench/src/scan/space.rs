//! Network namespaces with a cable between them: traffic that stays on this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::scenario::Scenario;

/// The end of the cable where the targets are: what a raw scanner sends its frames to.
pub const GATEWAY_MAC: &str = "02:00:00:00:00:02";

/// Removes the namespaces when its input ends, however this process does: Ctrl-C and `kill -9` too.
const KEEPER: &str = "trap '' INT TERM HUP; cat >/dev/null; for n in \"$@\"; do \
    ip netns pids \"$n\" 2>/dev/null | xargs -r kill 2>/dev/null; ip netns delete \"$n\" 2>/dev/null; done; true";

/// Namespaces `from` and `to` joined by a veth pair, with the scenario's hosts answering in `to`; gone when dropped.
/// For what is far away a third one stands between them.
pub struct Space {
    from: String,
    /// What runs in the others, the targets first; each ends with its input.
    served: Vec<(Child, BufReader<ChildStdout>)>,
    keeper: Child,
}

impl Space {
    /// Makes them.
    ///
    /// # Errors
    /// A sentence: mostly that this needs root.
    pub fn new(scenario: &Scenario) -> Result<Self, String> {
        let [from, to, between] =
            ["from", "to", "between"].map(|end| format!("portolan-bench-{}-{end}", std::process::id()));
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper", &from, &to, &between])
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| format!("sh: {error}"))?;
        let mut space = Self { from: from.clone(), served: Vec::new(), keeper };
        ip(&["-batch", "-"], &format!("netns add {from}\nnetns add {to}\n"))?;
        if scenario.far {
            ip(&["-batch", "-"], &format!("netns add {between}\n"))?;
            set(&between, "ipv6/conf/default/disable_ipv6", "1")?;
            for (end, name) in [("near", &from), ("far", &to)] {
                ip(
                    &["-n", &between, "-batch", "-"],
                    &format!(
                        "link add {end} type veth peer name cable netns {name}\nlink set {end} up mtu 1500\n"
                    ),
                )?;
                // Checksums that are left to the hardware would be missing from the frames that are carried on.
                run(Command::new("ip").args(["netns", "exec", name, "ethtool", "-K", "cable", "tx", "off"]))?;
            }
        } else {
            let pair = format!("link add cable type veth peer name cable netns {to}\n");
            ip(&["-n", &from, "-batch", "-"], &pair)?;
        }
        set(&to, "ipv6/ip_nonlocal_bind", "1")?;
        for (name, n) in [(&from, 1), (&to, 2)] {
            let lines = format!(
                "link set cable address 02:00:00:00:00:0{n}\naddress add 10.97.0.{n}/30 dev cable\n\
                 address add fd00:97::{n}/64 dev cable nodad\nlink set lo up\nlink set cable up\n"
            );
            ip(&["-n", name, "-batch", "-"], &lines)?;
        }
        // masscan and zmap look for a default route.
        let routes = "route add default via 10.97.0.2\nroute add default via fd00:97::2\n";
        ip(&["-n", &from, "-batch", "-"], routes)?;
        let hosts: String = if scenario.one_in == 1 {
            format!("route add local {} dev lo\n", scenario.subnet)
        } else {
            // What has no route here is dropped without a word.
            scenario.hosts().iter().map(|host| format!("route add local {host} dev lo\n")).collect()
        };
        ip(&["-n", &to, "-batch", "-"], &hosts)?;
        space.serve(&to, &["targets", scenario.name])?;
        if scenario.far {
            space.serve(&between, &["wire"])?;
        }
        Ok(space)
    }

    /// A command that runs where is scanned from. The program replaces `ip`, so that its process is the child.
    pub fn from(&self, program: &str) -> Command {
        inside(&self.from, program)
    }

    /// Starts this program in a namespace, with the words of its command line, and waits until it is ready.
    fn serve(&mut self, name: &str, words: &[&str]) -> Result<(), String> {
        let failed = |what: &dyn std::fmt::Display| format!("{}: {what}", words.join(" "));
        let own = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut child = inside(name, &own.to_string_lossy())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let mut said = BufReader::new(child.stdout.take().ok_or_else(|| failed(&"no output"))?);
        let mut line = String::new();
        said.read_line(&mut line).map_err(|error| failed(&error))?;
        self.served.push((child, said));
        if line == "ready\n" { Ok(()) } else { Err(failed(&"did not start")) }
    }

    /// Ends what runs in the namespaces, and returns what it said last.
    pub fn close(mut self) -> String {
        self.end()
    }

    fn end(&mut self) -> String {
        let mut last = String::new();
        for (mut child, mut said) in self.served.drain(..) {
            drop(child.stdin.take());
            // What it had to say is a remark; that it ends is what counts.
            let _ = said.read_to_string(&mut last);
            let _ = child.wait();
        }
        last
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.end();
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn inside(name: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", name, program]);
    command
}

/// Writes a setting of the kernel that a namespace has for itself.
fn set(name: &str, setting: &str, value: &str) -> Result<(), String> {
    run(inside(name, "sh").args(["-c", &format!("echo {value} >/proc/sys/net/{setting}")]))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Runs `ip` on these lines.
fn ip(words: &[&str], lines: &str) -> Result<(), String> {
    let mut child = Command::new("ip")
        .args(words)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("ip: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.as_bytes()).map_err(|error| format!("ip: {error}"))?;
    }
    let output = child.wait_with_output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip: {} (network namespaces need root)", said.trim()))
}
