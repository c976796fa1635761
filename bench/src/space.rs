//! Two network namespaces with a cable between them: traffic that stays on this machine.

use std::process::Command;

/// From where is scanned.
const FROM: &str = "portolan-bench-from";
/// What is scanned.
const TO: &str = "portolan-bench-to";

/// Two namespaces, `from` and `to`, joined by a veth pair; gone when dropped.
pub struct Space {
    from: &'static str,
    to: &'static str,
}

impl Space {
    /// Makes them, with `subnet` (in CIDR notation) answering in `to` on every one of its addresses.
    ///
    /// # Errors
    /// A sentence: mostly that this needs root.
    pub fn new(subnet: &str) -> Result<Self, String> {
        // What an earlier run left behind, if it was killed.
        remove();
        let space = Self { from: FROM, to: TO };
        ip(&format!("netns add {FROM}"))?;
        ip(&format!("netns add {TO}"))?;
        ip(&format!("-n {FROM} link add cable type veth peer name cable netns {TO}"))?;
        for (name, address) in [(FROM, "10.97.0.1/30"), (TO, "10.97.0.2/30")] {
            ip(&format!("-n {name} address add {address} dev cable"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set cable up"))?;
        }
        ip(&format!("-n {FROM} route add {subnet} via 10.97.0.2"))?;
        ip(&format!("-n {TO} route add local {subnet} dev lo"))?;
        Ok(space)
    }

    /// A command that runs where is scanned from. The program replaces `ip`, so that its process is the child.
    pub fn from(&self, program: &str) -> Command {
        inside(self.from, program)
    }

    /// A command that runs where the targets are.
    pub fn to(&self, program: &str) -> Command {
        inside(self.to, program)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        remove();
    }
}

fn inside(name: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", name, program]);
    command
}

fn remove() {
    for name in [FROM, TO] {
        // That there is none is the usual case before a run.
        let _ = Command::new("ip").args(["netns", "delete", name]).output();
    }
}

fn ip(line: &str) -> Result<(), String> {
    let output = Command::new("ip").args(line.split(' ')).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {line}: {} (network namespaces need root)", said.trim()))
}
