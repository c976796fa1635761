//! The network: settings are changed on a draft, and become effective together, after they were shown and agreed to.

use std::io;

use super::{Console, chosen, numbered};
use crate::console::settings::{self, LinkName, Settings, put};
use crate::console::talk::Talk;

const WORDS: [&str; 7] = [
    "Addresses of a link",
    "Gateway and routes of a link",
    "A VLAN",
    "Forget what is set of a link",
    "Servers of names (DNS)",
    "Name of this machine",
    "Show what changes, and set it",
];

pub fn menu(console: &Console, talk: &mut Talk<'_>) -> io::Result<()> {
    let Some(before) = console.settings(talk)? else { return Ok(()) };
    let mut draft = before.clone();
    loop {
        talk.say(&shown(console, &draft))?;
        talk.say(&numbered(&WORDS))?;
        let typed = talk.ask("Number, or Enter to go back:")?;
        match chosen(&typed, WORDS.len()) {
            Some(0) => addresses(console, talk, &mut draft)?,
            Some(1) => ways(console, talk, &mut draft)?,
            Some(2) => vlan(talk, &mut draft)?,
            Some(3) => forget(console, talk, &mut draft)?,
            Some(4) => value(
                talk,
                &mut draft,
                "dns",
                "Addresses with commas between; none: those that DHCP tells of.",
            )?,
            Some(5) => value(talk, &mut draft, "hostname", "A name, with or without a domain.")?,
            Some(_) if console.settle(talk, &before, &draft)? => return Ok(()),
            Some(_) => {}
            None if draft == before => return Ok(()),
            None => {
                if talk.agreed("What you changed was not set, and is forgotten.")? {
                    return Ok(());
                }
            }
        }
    }
}

/// Cards and VLANs, how each is set, and what addresses it has now.
fn shown(console: &Console, draft: &Settings) -> String {
    let mut names = console.machine.links();
    names.extend(draft.links.keys().map(ToString::to_string));
    names.sort();
    names.dedup();
    let now = console.machine.addresses();
    let mut lines = vec!["  Links".to_owned()];
    for name in names {
        let signal = match console.machine.carrier(&name) {
            Some(true) => "up",
            Some(false) => "no signal",
            None if console.machine.links().contains(&name) => "down",
            None => "not there",
        };
        let set = match draft.links.iter().find(|(link, _)| link.as_str() == name) {
            None => "not set: asks for addresses".to_owned(),
            Some((_, link)) => {
                let vlan = link.vlan.as_ref().map(|vlan| format!("VLAN {} on {}, ", vlan.id, vlan.on));
                format!("{}IPv4 {}, IPv6 {}", vlan.unwrap_or_default(), link.ipv4, link.ipv6)
            }
        };
        lines.push(format!("  {name:<15} {signal:<10} {set}"));
        let has: Vec<&str> =
            now.iter().filter(|(link, _)| *link == name).map(|(_, net)| net.as_str()).collect();
        if !has.is_empty() {
            lines.push(format!("  {:<26} has {}", "", has.join(", ")));
        }
    }
    lines.join("\n")
}

fn link(console: &Console, talk: &mut Talk<'_>, draft: &Settings) -> io::Result<Option<LinkName>> {
    let mut names = console.machine.links();
    names.extend(draft.links.keys().map(ToString::to_string));
    names.sort();
    names.dedup();
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    talk.say(&numbered(&words))?;
    let typed = talk.ask("Number of the link, or Enter to go back:")?;
    let Some(at) = chosen(&typed, names.len()) else { return Ok(None) };
    match names[at].parse() {
        Ok(name) => Ok(Some(name)),
        Err(why) => talk.say(&format!("  {why}")).map(|()| None),
    }
}

/// Asks for a value until it is one; Enter leaves it, `-` takes it back.
fn value(talk: &mut Talk<'_>, draft: &mut Settings, key: &str, what: &str) -> io::Result<()> {
    let now = draft.pairs().into_iter().find(|(known, _)| known == key).map(|(_, value)| value);
    talk.say(&format!("  {key} = {}\n  {what}", now.as_deref().unwrap_or("(not set)")))?;
    loop {
        let typed = talk.ask("Value, - for none, or Enter to leave it:")?;
        let taken = match typed.as_str() {
            "" => return Ok(()),
            "-" => put(draft, key, ""),
            typed => put(draft, key, typed),
        };
        match taken {
            Ok(()) => return Ok(()),
            Err(why) => talk.say(&format!("  {why}"))?,
        }
    }
}

fn gateway(talk: &mut Talk<'_>, draft: &mut Settings, link: &LinkName) -> io::Result<()> {
    let example = "192.0.2.1, fd00::1: one of each family, where addresses are set";
    value(talk, draft, &format!("link.{link}.gateway"), example)
}

fn addresses(console: &Console, talk: &mut Talk<'_>, draft: &mut Settings) -> io::Result<()> {
    let Some(name) = link(console, talk, draft)? else { return Ok(()) };
    value(talk, draft, &format!("link.{name}.ipv4"), "dhcp, off, or addresses with prefix: 192.0.2.10/24")?;
    value(talk, draft, &format!("link.{name}.ipv6"), "auto, off, or addresses with prefix: fd00::10/64")?;
    gateway(talk, draft, &name)?;
    told(talk, draft)
}

fn ways(console: &Console, talk: &mut Talk<'_>, draft: &mut Settings) -> io::Result<()> {
    let Some(name) = link(console, talk, draft)? else { return Ok(()) };
    gateway(talk, draft, &name)?;
    value(talk, draft, &format!("link.{name}.routes"), "10.0.0.0/8 via 192.0.2.254, with commas between")?;
    told(talk, draft)
}

fn vlan(talk: &mut Talk<'_>, draft: &mut Settings) -> io::Result<()> {
    let typed = talk.ask("What the VLAN is called here, as plant or v20, or Enter to go back:")?;
    if typed.is_empty() {
        return Ok(());
    }
    let key = match typed.parse::<LinkName>() {
        Ok(name) => format!("link.{name}.vlan"),
        Err(why) => return talk.say(&format!("  {why}")),
    };
    value(talk, draft, &key, "its number and its card: 20 on enp1s0")?;
    told(talk, draft)
}

fn forget(console: &Console, talk: &mut Talk<'_>, draft: &mut Settings) -> io::Result<()> {
    let Some(name) = link(console, talk, draft)? else { return Ok(()) };
    draft.links.remove(&name);
    told(talk, draft)
}

/// What does not fit together yet: said at once, and refused when it is to be set.
fn told(talk: &mut Talk<'_>, draft: &Settings) -> io::Result<()> {
    for why in settings::check(draft) {
        talk.say(&format!("  ! {why}"))?;
    }
    Ok(())
}
