//! Settings become effective: the files in `/run/systemd`, the name of the machine, and, while it runs, the services anew.

use std::fs;
use std::io;
use std::path::Path;

use super::machine::{Machine, Ran};
use super::render::{self, FOLDERS, OURS};
use super::settings::{self, Settings, parse};
use crate::layout::write_file;

/// The settings as they are kept; none are kept before the first is made.
///
/// # Errors
/// In words: what is wrong with the file.
pub fn kept(machine: &Machine) -> Result<Settings, String> {
    let path = machine.settings_file();
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(format!("{}: {error}", path.display())),
        Ok(text) => parse(&text).map_err(|wrong| {
            let lines: Vec<String> =
                wrong.iter().map(|wrong| format!("{}: {wrong}", path.display())).collect();
            lines.join("\n")
        }),
    }
}

/// Keeps the settings: the file is the old one or the new one, whatever happens.
///
/// # Errors
/// Any from the file system.
pub fn keep(machine: &Machine, settings: &Settings) -> io::Result<()> {
    write_file(&machine.settings_file(), settings.text().as_bytes(), 0o644)
}

/// Makes the files below `/run/systemd` what the settings give, and says in which folders that changed something. Files that
/// are not ours stay.
///
/// # Errors
/// Any from the file system.
pub fn write(machine: &Machine, settings: &Settings) -> io::Result<Vec<&'static str>> {
    let wanted = render::files(settings);
    let below = machine.run.join("systemd");
    let mut changed = Vec::new();
    for folder in FOLDERS {
        let place = below.join(folder);
        fs::create_dir_all(&place)?;
        let mut any = false;
        for entry in fs::read_dir(&place)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{folder}/{name}");
            if name.starts_with(OURS) && !wanted.iter().any(|file| file.path == path) {
                fs::remove_file(entry.path())?;
                any = true;
            }
        }
        for file in wanted.iter().filter(|file| file.path.split('/').next() == Some(folder)) {
            let path = below.join(&file.path);
            if fs::read_to_string(&path).ok().as_deref() != Some(&file.text) {
                write_file(&path, file.text.as_bytes(), 0o644)?;
                any = true;
            }
        }
        if any {
            changed.push(folder);
        }
    }
    name(machine, settings)?;
    Ok(changed)
}

fn name(machine: &Machine, settings: &Settings) -> io::Result<()> {
    let Some(name) = settings.hostname.as_ref().map(ToString::to_string) else { return Ok(()) };
    if machine.hostname() == name {
        return Ok(());
    }
    fs::write(machine.proc.join(Path::new("sys/kernel/hostname")), name)
}

/// Has the running services go by the settings; says what did not go well.
#[must_use]
pub fn reload(machine: &Machine, before: &Settings, after: &Settings, changed: &[&str]) -> Vec<String> {
    let mut troubles = Vec::new();
    let mut run = |arguments: &[&str], program: &str| {
        let Ran { done, err, .. } = machine.run(program, arguments);
        if !done {
            troubles.push(format!("{program} {}: {err}", arguments.join(" ")));
        }
    };
    // A VLAN that is there keeps its number: one that is another now, or none, is taken away first.
    for (name, link) in &before.links {
        let same = after.links.get(name).is_some_and(|now| now.vlan == link.vlan);
        if link.vlan.is_some() && !same && machine.links().iter().any(|there| there == name.as_str()) {
            run(&["link", "delete", name.as_str()], "ip");
        }
    }
    for folder in changed {
        match *folder {
            "network" => run(&["restart", "systemd-networkd.service"], "systemctl"),
            "resolved.conf.d" => run(&["restart", "systemd-resolved.service"], "systemctl"),
            _ if after.ntp.is_empty() => run(&["stop", "systemd-timesyncd.service"], "systemctl"),
            _ => run(&["restart", "systemd-timesyncd.service"], "systemctl"),
        }
    }
    troubles
}

/// What a change does to who reaches the machine, in words, for whoever is asked.
#[must_use]
pub fn consequences(machine: &Machine, after: &Settings) -> Vec<String> {
    use settings::{V4, V6};
    let mut told = Vec::new();
    let there = machine.links();
    let on_card = |name: &str| there.iter().any(|link| link == name);
    for (name, link) in &after.links {
        let card = link.vlan.as_ref().map_or(name, |vlan| &vlan.on);
        if !on_card(card.as_str()) {
            told.push(format!("There is no card {card} in this machine now: nothing is set until there is."));
        } else if machine.carrier(card.as_str()) == Some(false) {
            told.push(format!("{card} has no signal now: is its cable in?"));
        }
        let routed = |ipv4: bool| link.gateway.iter().any(|gateway| gateway.is_ipv4() == ipv4);
        if let V4::Static(nets) = &link.ipv4
            && !routed(true)
        {
            let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
            told.push(format!(
                "{name} has no IPv4 gateway: only machines in the network of {} reach it there.",
                nets.join(", ")
            ));
        }
        if let V6::Static(nets) = &link.ipv6
            && !routed(false)
        {
            let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
            told.push(format!(
                "{name} has no IPv6 gateway: only machines in the network of {} reach it there.",
                nets.join(", ")
            ));
        }
    }
    // An address that is there now by a link whose settings do not give it.
    for (link, net) in machine.addresses() {
        let Some((_, now)) = after.links.iter().find(|(name, _)| name.as_str() == link) else { continue };
        let (ipv4, gone) = (!net.contains(':'), |listed: &str| !listed.split(", ").any(|one| one == net));
        let asked = if ipv4 { now.ipv4 == V4::Dhcp } else { now.ipv6 == V6::Auto };
        let listed = if ipv4 { now.ipv4.to_string() } else { now.ipv6.to_string() };
        if !asked && gone(&listed) {
            told.push(format!(
                "The pages are no longer reached at {}.",
                net.split('/').next().unwrap_or(&net)
            ));
        }
    }
    let silent = |name: &String| {
        let set = after.links.iter().find(|(link, _)| link.as_str() == name);
        set.is_some_and(|(_, link)| link.ipv4 == V4::Off && link.ipv6 == V6::Off)
    };
    let vlans = after
        .links
        .values()
        .any(|link| link.vlan.is_some() && !(link.ipv4 == V4::Off && link.ipv6 == V6::Off));
    if !there.is_empty() && there.iter().all(silent) && !vlans {
        told.push(
            "With this no link has an address: NOBODY reaches the pages, only this console is left."
                .to_owned(),
        );
    }
    told
}
