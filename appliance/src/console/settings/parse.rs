//! The file of settings, read strictly: what is not understood is refused with its line, and nothing of the file is taken.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::values::host;
use super::{LINKS, LIST, Link, LinkName, MAX_FILE, Settings, V4, V6, Vlan, rules};

/// What is wrong, and in which line; in none: with the settings as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// From 1.
    pub line: Option<usize>,
    /// In words.
    pub why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// Reads a file of settings.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(text: &str) -> Result<Settings, Vec<Wrong>> {
    let as_a_whole = |why: String| Wrong { line: None, why };
    if text.len() > MAX_FILE {
        return Err(vec![as_a_whole(format!("it is larger than {MAX_FILE} bytes"))]);
    }
    let (mut settings, mut wrong, mut seen) = (Settings::default(), Vec::new(), BTreeSet::new());
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let taken = match line.split_once('=') {
            None => Err(format!("{line:?} is not `key = value`")),
            Some((key, value)) => {
                let (key, value) = (key.trim(), value.trim());
                if seen.insert(key.to_owned()) {
                    put(&mut settings, key, value)
                } else {
                    Err(format!("{key} is there twice"))
                }
            }
        };
        wrong.extend(taken.err().map(|why| Wrong { line: Some(at + 1), why }));
    }
    if wrong.is_empty() {
        wrong.extend(rules::check(&settings).into_iter().map(as_a_whole));
    }
    if wrong.is_empty() { Ok(settings) } else { Err(wrong) }
}

/// Sets one key. An empty value takes back what was decided.
///
/// # Errors
/// In words; the settings are as they were.
pub fn put(settings: &mut Settings, key: &str, value: &str) -> Result<(), String> {
    match key {
        "hostname" => settings.hostname = if value.is_empty() { None } else { Some(value.parse()?) },
        "dns" => settings.dns = each(value, host)?,
        "ntp" => settings.ntp = list(value)?,
        _ => {
            let words: Vec<&str> = key.split('.').collect();
            let ["link", name, what] = words[..] else {
                return Err(format!("{key:?} is no key: hostname, dns, ntp or link.NAME.…"));
            };
            let name: LinkName = name.parse()?;
            let mut link = settings.links.get(&name).cloned().unwrap_or_default();
            put_link(&mut link, what, value)?;
            if settings.links.len() >= LINKS && !settings.links.contains_key(&name) {
                return Err(format!("there are more than {LINKS} links"));
            }
            settings.links.insert(name, link);
        }
    }
    Ok(())
}

fn put_link(link: &mut Link, what: &str, value: &str) -> Result<(), String> {
    match (what, value) {
        ("vlan", "") => link.vlan = None,
        ("vlan", _) => link.vlan = Some(vlan(value)?),
        ("ipv4", "dhcp" | "") => link.ipv4 = V4::Dhcp,
        ("ipv4", "off") => link.ipv4 = V4::Off,
        ("ipv4", _) => link.ipv4 = V4::Static(list(value)?),
        ("ipv6", "auto" | "") => link.ipv6 = V6::Auto,
        ("ipv6", "off") => link.ipv6 = V6::Off,
        ("ipv6", _) => link.ipv6 = V6::Static(list(value)?),
        ("gateway", _) => link.gateway = each(value, host)?,
        ("routes", _) => link.routes = list(value)?,
        _ => return Err(format!("a link has no {what:?}: vlan, ipv4, ipv6, gateway or routes")),
    }
    Ok(())
}

fn vlan(value: &str) -> Result<Vlan, String> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let [id, "on", on] = words[..] else {
        return Err(format!("{value:?} is no VLAN: write it as 20 on NAME-OF-CARD"));
    };
    let number = id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0');
    match id.parse() {
        Ok(id @ 1..=4094) if number => Ok(Vlan { id, on: on.parse()? }),
        _ => Err(format!("{id:?} is no number of a VLAN: 1 to 4094")),
    }
}

fn list<T: FromStr<Err = String>>(value: &str) -> Result<Vec<T>, String> {
    each(value, str::parse)
}

/// Values with commas between; none of them twice.
fn each<T>(value: &str, one: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let words: Vec<&str> = value.split(',').map(str::trim).collect();
    if words.len() > LIST {
        return Err(format!("there are more than {LIST} values"));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = words.iter().find(|word| !seen.insert(**word)) {
        return Err(format!("{twice:?} is there twice"));
    }
    words.into_iter().map(one).collect()
}
