//! The values of settings: each is valid once it is there, and is written in its one spelling.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What a link is called by the kernel: 1 to 15 of `a-z A-Z 0-9 _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkName(String);

impl LinkName {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LinkName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        // Networkd takes these names of its own.
        if begins && text.len() <= 15 && text.bytes().all(fits) && !["all", "default", "lo"].contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is no name of a link: 1 to 15 letters, digits, _ or -, and not lo, all or default"
        ))
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name of a host (RFC 1123): labels of letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // The kernel keeps 64 bytes; what is all digits reads as an address.
        let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if text.len() <= 64 && !numeric && text.split('.').all(label) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(format!(
            "{text:?} is no name of a host: letters, digits and hyphens, with dots between, 64 at most"
        ))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A server, by address or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// By address.
    At(IpAddr),
    /// By name.
    Named(HostName),
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match host(text) {
            Ok(address) => Ok(Self::At(address)),
            Err(why) if text.parse::<IpAddr>().is_ok() => Err(why),
            Err(_) => text.parse().map(Self::Named),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Named(name) => name.fmt(f),
        }
    }
}

/// The address of one machine that is not this one.
///
/// # Errors
/// In words, for any other address and for what is none.
pub fn host(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| format!("{text:?} is no address"))?;
    let several = address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST);
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    if several || mapped || address.is_unspecified() || address.is_loopback() {
        return Err(format!("{address} is not the address of a machine in a network"));
    }
    Ok(address)
}

/// An address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net<A> {
    /// The address.
    pub address: A,
    /// Bits of the network.
    pub prefix: u8,
}

impl<A: fmt::Display> fmt::Display for Net<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<A: Copy + Into<IpAddr>> Net<A> {
    /// The same, of any family.
    #[must_use]
    pub fn any(self) -> Net<IpAddr> {
        Net { address: self.address.into(), prefix: self.prefix }
    }
}

/// An address as a number with its first bit on top, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

impl Net<IpAddr> {
    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0)
    }

    /// Whether this address is in the network.
    #[must_use]
    pub fn holds(self, other: IpAddr) -> bool {
        self.address.is_ipv4() == other.is_ipv4()
            && bits(self.address).0 & self.mask() == bits(other).0 & self.mask()
    }

    /// Whether the two networks have an address in common.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        let wider = if self.prefix <= other.prefix { (self, other) } else { (other, self) };
        wider.0.holds(wider.1.address)
    }

    /// The bits of the address behind the prefix.
    fn rest(self) -> u128 {
        bits(self.address).0 & !self.mask()
    }
}

fn net(text: &str) -> Result<Net<IpAddr>, String> {
    let (address, prefix) = text.split_once('/').ok_or_else(|| {
        format!("{text:?} has no prefix: write the address as 192.0.2.10/24 or fd00::10/64")
    })?;
    let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is no address"))?;
    let most = bits(address).1;
    let digits =
        prefix.bytes().all(|byte| byte.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
    match prefix.parse::<u8>() {
        Ok(prefix) if digits && u32::from(prefix) <= most => Ok(Net { address, prefix }),
        _ => Err(format!("/{prefix} is no length of a prefix: 0 to {most}")),
    }
}

/// An address of this machine: of the one family, and of one machine.
fn own(text: &str) -> Result<Net<IpAddr>, String> {
    let net = net(text)?;
    host(&net.address.to_string())?;
    if net.prefix == 0 {
        return Err(format!("{net} would be the whole of the network: it takes a prefix from 1 on"));
    }
    if let IpAddr::V4(_) = net.address
        && net.prefix < 31
    {
        let (rest, all) = (net.rest(), !net.mask() & (u128::from(u32::MAX) << 96));
        if rest == 0 {
            return Err(format!("{net} is the network itself: give the address that this machine has in it"));
        }
        if rest == all {
            return Err(format!("{net} is the broadcast address of that network"));
        }
    }
    Ok(net)
}

impl FromStr for Net<Ipv4Addr> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match own(text)? {
            Net { address: IpAddr::V4(address), prefix } => Ok(Self { address, prefix }),
            Net { .. } => Err(format!("{text} is no IPv4 address")),
        }
    }
}

impl FromStr for Net<Ipv6Addr> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match own(text)? {
            Net { address: IpAddr::V6(address), .. } if address.is_unicast_link_local() => {
                Err(format!("{text} is link-local, which a link has by itself"))
            }
            Net { address: IpAddr::V6(address), prefix } => Ok(Self { address, prefix }),
            Net { .. } => Err(format!("{text} is no IPv6 address")),
        }
    }
}

/// A way to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub to: Net<IpAddr>,
    /// Through whom.
    pub via: IpAddr,
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [to, "via", via] = words[..] else {
            return Err(format!("{text:?} is no route: write it as 10.0.0.0/8 via 192.0.2.1"));
        };
        let (to, via) = (net(to)?, host(via)?);
        if to.rest() != 0 {
            return Err(format!("{to} has bits behind its prefix: name the network itself"));
        }
        if to.prefix == 0 {
            return Err("a route to everything is the gateway: set that".to_owned());
        }
        if to.address.is_multicast() || to.address.is_loopback() {
            return Err(format!("there is no route to {to}"));
        }
        if to.address.is_ipv4() != via.is_ipv4() {
            return Err(format!("{to} and {via} are of different families"));
        }
        Ok(Self { to, via })
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} via {}", self.to, self.via)
    }
}
