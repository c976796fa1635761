//! Addresses and ports as sets that are never expanded.
//!
//! Every address is a `u128`; IPv4 lives at `::ffff:0:0/96`, as in IPv6's own mapping.

mod cidr;
mod error;
pub mod packet;
mod permutation;
mod ports;
mod range;
mod ranges;
mod top;

pub use cidr::Cidr;
pub use error::Error;
pub(crate) use error::cut;
pub use permutation::Permutation;
pub use ports::Ports;
pub use range::Range;
pub use ranges::Ranges;
pub use top::top;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where the IPv4 addresses begin: `::ffff:0.0.0.0`.
pub(crate) const MAPPED: u128 = 0xffff_0000_0000;

/// The number of an address; IPv4 is mapped into `::ffff:0:0/96`.
pub fn addr_to_u128(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => MAPPED | u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address with this number; one in `::ffff:0:0/96` is IPv4.
pub fn u128_to_addr(number: u128) -> IpAddr {
    match mapped(number) {
        Some(v4) => IpAddr::V4(v4),
        None => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// The IPv4 address of this number, if it is one.
pub(crate) fn mapped(number: u128) -> Option<Ipv4Addr> {
    (number >> 32 == MAPPED >> 32).then(|| Ipv4Addr::from((number & 0xffff_ffff) as u32))
}

/// A decimal number in its one spelling: digits only, no leading zero.
pub(crate) fn decimal(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let canonical = plain && (text.len() == 1 || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_mapped_and_comes_back() {
        let v4: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(addr_to_u128(v4), 0xffff_0a00_0001);
        assert_eq!(u128_to_addr(0xffff_0a00_0001), v4);
        assert_eq!(u128_to_addr(1), "::1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn a_decimal_has_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("65535"), Some(65535));
        for bad in ["", "+1", "-1", "01", "1 ", "99999999999"] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }
}
