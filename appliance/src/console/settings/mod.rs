//! Network and time of the machine, as decided: typed, and valid as a whole.
//!
//! The file has a line for each decision, `key = value`; [`parse`] reads it strictly, [`Settings::pairs`] writes it, and
//! reading what was written gives the same. docs/console.md describes the keys.

mod parse;
mod rules;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use parse::{Wrong, parse, put};
pub use rules::check;
pub use values::{HostName, LinkName, Net, Route, Server};

/// The most links that are set.
pub const LINKS: usize = 32;
/// The most values of a list.
pub const LIST: usize = 32;
/// The largest file that is read, in bytes.
pub const MAX_FILE: usize = 64 << 10;

/// All that is decided. Nothing decided: every wired card asks for an address, no server of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What the machine calls itself.
    pub hostname: Option<HostName>,
    /// Servers of names; none: those that DHCP or the routers tell of.
    pub dns: Vec<IpAddr>,
    /// Servers of time; none: the clock is set by hand.
    pub ntp: Vec<Server>,
    /// Links that are set here; every other wired card asks for an address.
    pub links: BTreeMap<LinkName, Link>,
}

/// A link: a card of the machine, or a VLAN on one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// For a VLAN: its number, and the card it is on.
    pub vlan: Option<Vlan>,
    /// Its IPv4 addresses.
    pub ipv4: V4,
    /// Its IPv6 addresses.
    pub ipv6: V6,
    /// Where everything goes that no route names: at most one of each family.
    pub gateway: Vec<IpAddr>,
    /// Where the rest goes.
    pub routes: Vec<Route>,
}

/// A VLAN (IEEE 802.1Q).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// 1 to 4094.
    pub id: u16,
    /// The card.
    pub on: LinkName,
}

/// How a link comes to IPv4 addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum V4 {
    /// A server tells.
    #[default]
    Dhcp,
    /// It has none.
    Off,
    /// These.
    Static(Vec<Net<Ipv4Addr>>),
}

/// How a link comes to IPv6 addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum V6 {
    /// Routers tell, or a server that they name.
    #[default]
    Auto,
    /// It has none, not even a link-local one.
    Off,
    /// These, and no router is listened to.
    Static(Vec<Net<Ipv6Addr>>),
}

impl Settings {
    /// Every decision as key and value, in the order of the file.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let mut say = |key: &str, value: String| {
            if !value.is_empty() {
                pairs.push((key.to_owned(), value));
            }
        };
        say("hostname", self.hostname.as_ref().map(ToString::to_string).unwrap_or_default());
        say("dns", list(&self.dns));
        say("ntp", list(&self.ntp));
        for (name, link) in &self.links {
            let vlan = link.vlan.as_ref().map(|Vlan { id, on }| format!("{id} on {on}"));
            say(&format!("link.{name}.vlan"), vlan.unwrap_or_default());
            say(&format!("link.{name}.ipv4"), link.ipv4.to_string());
            say(&format!("link.{name}.ipv6"), link.ipv6.to_string());
            say(&format!("link.{name}.gateway"), list(&link.gateway));
            say(&format!("link.{name}.routes"), list(&link.routes));
        }
        pairs
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# Network and time of this machine, as its console wrote them: docs/console.md describes the keys.\n",
        );
        for (key, value) in self.pairs() {
            text.push_str(&format!("{key} = {value}\n"));
        }
        text
    }
}

/// What differs: `-` as it was, `+` as it will be, by key.
#[must_use]
pub fn difference(before: &Settings, after: &Settings) -> Vec<String> {
    let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (before.pairs().into_iter().collect(), after.pairs().into_iter().collect());
    let mut lines = Vec::new();
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        if before.get(key) == after.get(key) {
            continue;
        }
        lines.extend(before.get(key).map(|value| format!("- {key} = {value}")));
        lines.extend(after.get(key).map(|value| format!("+ {key} = {value}")));
    }
    lines
}

fn list<T: fmt::Display>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for V4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dhcp => f.write_str("dhcp"),
            Self::Off => f.write_str("off"),
            Self::Static(nets) => f.write_str(&list(nets)),
        }
    }
}

impl fmt::Display for V6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::Static(nets) => f.write_str(&list(nets)),
        }
    }
}

#[cfg(test)]
mod tests;
