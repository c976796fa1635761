//! A subnet in its one spelling.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::{Error, Range, addr_to_u128, cut, decimal, mapped};

/// A subnet: an address whose host bits are zero, and a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    first: u128,
    /// Of 128 bits, for IPv4 too.
    prefix: u8,
}

impl Cidr {
    /// Reads `address/prefix`.
    ///
    /// # Errors
    /// [`Error::HostBits`] names the canonical form; [`Error::Prefix`] and [`Error::Address`] what cannot be read.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (address, prefix) =
            text.split_once('/').ok_or_else(|| Error::Prefix { piece: cut(text), max: family_max(text) })?;
        let address: IpAddr = address.parse().map_err(|_| Error::Address(cut(address)))?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = decimal(prefix)
            .and_then(|n| u8::try_from(n).ok())
            .filter(|n| *n <= max)
            .ok_or_else(|| Error::Prefix { piece: cut(text), max })?;
        let number = addr_to_u128(address);
        let cidr = Self::holding(number, prefix + (128 - max));
        if cidr.first == number {
            Ok(cidr)
        } else {
            Err(Error::HostBits { piece: cut(text), canonical: cidr.to_string() })
        }
    }

    /// The subnet of `prefix` bits (of 128; more are taken as 128) that holds the address.
    pub fn holding(address: u128, prefix: u8) -> Self {
        let prefix = prefix.min(128);
        Self { first: address & !host_mask(prefix), prefix }
    }

    /// The subnet that is exactly this range, if there is one.
    pub fn exactly(range: Range) -> Option<Self> {
        let span = range.last.checked_sub(range.first)?;
        let host_bits = 128 - span.leading_zeros();
        let prefix = u8::try_from(128 - host_bits).ok()?;
        let cidr = Self::holding(range.first, prefix);
        (cidr.range() == range).then_some(cidr)
    }

    /// Its addresses, network and broadcast address included.
    pub fn range(&self) -> Range {
        Range { first: self.first, last: self.first | host_mask(self.prefix) }
    }

    /// Whether it is an IPv4 subnet.
    pub fn is_v4(&self) -> bool {
        self.prefix >= 96 && mapped(self.first).is_some()
    }

    /// The prefix as it is written: of 32 bits for IPv4, of 128 for IPv6.
    pub fn prefix(&self) -> u8 {
        if self.is_v4() { self.prefix - 96 } else { self.prefix }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match mapped(self.first) {
            Some(v4) if self.is_v4() => write!(f, "{v4}/{}", self.prefix()),
            _ => write!(f, "{}/{}", Ipv6Addr::from(self.first), self.prefix),
        }
    }
}

impl std::str::FromStr for Cidr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

fn host_mask(prefix: u8) -> u128 {
    u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)
}

fn family_max(text: &str) -> u8 {
    if text.contains(':') { 128 } else { 32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_canonical_subnet_is_read_and_written_alike() {
        for text in
            ["0.0.0.0/0", "10.0.0.0/24", "10.0.0.1/32", "::/0", "2001:db8::/32", "::1/128", "::/1", "::/80"]
        {
            assert_eq!(Cidr::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn host_bits_are_refused_and_the_subnet_is_named() {
        let error = Cidr::parse("10.0.0.7/24").unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"10.0.0.7/24\" has bits beyond its prefix: the subnet is 10.0.0.0/24"
        );
    }

    #[test]
    fn a_prefix_stays_in_its_family() {
        for bad in ["10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/", "10.0.0.0"] {
            assert!(matches!(Cidr::parse(bad), Err(Error::Prefix { .. })), "{bad}");
        }
    }

    #[test]
    fn a_mapped_subnet_is_ipv4() {
        assert_eq!(Cidr::parse("::ffff:10.0.0.0/120").unwrap().to_string(), "10.0.0.0/24");
    }

    proptest! {
        #[test]
        fn the_subnet_of_a_range_is_that_range(address: u128, prefix in 0u8..=128) {
            let cidr = Cidr::holding(address, prefix);
            prop_assert!(cidr.range().contains(address));
            prop_assert_eq!(Cidr::exactly(cidr.range()), Some(cidr));
            prop_assert_eq!(Cidr::parse(&cidr.to_string()), Ok(cidr));
        }

        #[test]
        fn a_range_that_is_no_subnet_has_none(first in 0u128..1000, count in 1u128..1000) {
            let range = Range { first, last: first + count - 1 };
            let exact = count.is_power_of_two() && first % count == 0;
            prop_assert_eq!(Cidr::exactly(range).is_some(), exact);
        }
    }
}
