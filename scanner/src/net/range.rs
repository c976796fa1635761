//! One run of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::{Error, addr_to_u128, cut, mapped};

/// The addresses from `first` to `last`, both included. One with `first > last` holds nothing; none of the parsers
/// makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// The lowest address.
    pub first: u128,
    /// The highest address.
    pub last: u128,
}

impl Range {
    /// The range of one address.
    pub fn single(address: u128) -> Self {
        Self { first: address, last: address }
    }

    /// How many addresses; the whole of IPv6 counts as `u128::MAX`.
    pub fn count(&self) -> u128 {
        if self.first > self.last { 0 } else { (self.last - self.first).saturating_add(1) }
    }

    /// Whether the address lies in the range.
    pub fn contains(&self, address: u128) -> bool {
        self.first <= address && address <= self.last
    }
}

/// `first-last`, or the one address. Both ends are written as IPv4 only if both are.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (mapped(self.first), mapped(self.last)) {
            (Some(only), Some(_)) if self.first == self.last => write!(f, "{only}"),
            (Some(first), Some(last)) => write!(f, "{first}-{last}"),
            _ if self.first == self.last => write!(f, "{}", Ipv6Addr::from(self.first)),
            _ => write!(f, "{}-{}", Ipv6Addr::from(self.first), Ipv6Addr::from(self.last)),
        }
    }
}

/// Reads `first-last` or one address; a subnet is [`super::Cidr`]'s.
impl FromStr for Range {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let address = |piece: &str| piece.parse::<IpAddr>().map_err(|_| Error::Address(cut(piece)));
        let Some((first, last)) = text.split_once('-') else {
            return Ok(Self::single(addr_to_u128(address(text)?)));
        };
        let (first, last) = (address(first)?, address(last)?);
        if first.is_ipv4() != last.is_ipv4() {
            return Err(Error::Mixed(cut(text)));
        }
        let range = Self { first: addr_to_u128(first), last: addr_to_u128(last) };
        if range.first > range.last { Err(Error::Reversed(cut(text))) } else { Ok(range) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_names_what_is_wrong() {
        assert_eq!("10.0.0.9-10.0.0.1".parse::<Range>(), Err(Error::Reversed("10.0.0.9-10.0.0.1".into())));
        assert_eq!("10.0.0.1-::1".parse::<Range>(), Err(Error::Mixed("10.0.0.1-::1".into())));
        assert_eq!("10.0.0.256".parse::<Range>(), Err(Error::Address("10.0.0.256".into())));
        assert!("10.0.0.1-10.0.0.2-10.0.0.3".parse::<Range>().is_err());
    }

    #[test]
    fn a_range_over_the_edge_of_ipv4_is_written_as_ipv6() {
        let range = Range { first: 1, last: addr_to_u128("10.0.0.1".parse().unwrap()) };
        assert_eq!(range.to_string(), "::1-::ffff:10.0.0.1");
        assert_eq!(range.to_string().parse(), Ok(range));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(a: u128, b: u128, v4: bool) {
            let fold = |n: u128| if v4 { super::super::MAPPED | (n & 0xffff_ffff) } else { n };
            let (a, b) = (fold(a), fold(b));
            let range = Range { first: a.min(b), last: a.max(b) };
            prop_assert_eq!(range.to_string().parse(), Ok(range));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Range>();
        }
    }
}
