//! The addresses of this machine, as the kernel lists them, and the two that lead to it from anywhere: `0.0.0.0`, `::`.
//!
//! Loopback is not among them: whoever writes 127.0.0.1 or `::1` can mean this machine only, while an address on
//! a network may be this machine's by accident, inside a subnet.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portolan_scanner::net::{Range, Ranges, addr_to_u128, u128_to_addr};
use portolan_scanner::wire::Job;

use super::guard::Guard;

/// The addresses of this machine in this network namespace.
///
/// # Errors
/// What reading `/proc/net` says; that a family is not there is none.
pub fn addresses() -> io::Result<Ranges> {
    let read = |file: &str| match std::fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other.map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}"))),
    };
    let (trie, inet6) = (read("/proc/net/fib_trie")?, read("/proc/net/if_inet6")?);
    let any = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()].map(addr_to_u128);
    Ok(ipv4(&trie).chain(ipv6(&inet6)).chain(any).map(Range::single).collect())
}

/// Has the guard take out what can hardly be meant, and says so: this machine, unless the job means it, and what is on one
/// link only, as an address does not say on which. Gives what it was.
///
/// # Errors
/// As [`addresses`].
pub fn leave_out(job: &Job, guard: &mut Guard) -> io::Result<Ranges> {
    let own = if job.own { Ranges::new() } else { addresses()? };
    let links = Ranges::parse("fe80::/10").expect("a list that a test reads");
    let mut out = Ranges::new();
    for (what, why) in [
        (own, "this machine itself, left out; --own probes it all the same"),
        (links, "of one link only, left out"),
    ] {
        let hit = job.targets.intersect(&what);
        if !hit.is_empty() {
            crate::say!("{hit}: {why}");
            guard.add(&hit);
            out = out.union(&hit);
        }
    }
    Ok(out)
}

/// From which address of this machine all targets of a family are connected to, where there is no doubt: it has one
/// such address, and no target is on this machine or on its link alone.
///
/// # Errors
/// As [`addresses`].
pub fn sources(targets: &Ranges) -> io::Result<Vec<IpAddr>> {
    Ok(unambiguous(targets, &addresses()?))
}

fn unambiguous(targets: &Ranges, own: &Ranges) -> Vec<IpAddr> {
    let near =
        Ranges::parse("0.0.0.0, ::, 127.0.0.0/8, ::1, fe80::/10, 169.254.0.0/16, ff00::/8, 224.0.0.0/4");
    let near = near.expect("a list that a test reads");
    if !targets.intersect(&near.union(own)).is_empty() {
        return Vec::new();
    }
    let (v4, v6): (Vec<Range>, Vec<Range>) =
        own.subtract(&near).iter().partition(|range| u128_to_addr(range.first).is_ipv4());
    let only = |ranges: &[Range]| match ranges {
        [one] if one.first == one.last => Some(u128_to_addr(one.first)),
        _ => None,
    };
    only(&v4).into_iter().chain(only(&v6)).collect()
}

/// The local addresses of `fib_trie`: a leaf `|-- address`, and below it `/32 host LOCAL`.
fn ipv4(trie: &str) -> impl Iterator<Item = u128> {
    let mut leaf: Option<Ipv4Addr> = None;
    trie.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        }
        let local = line == "/32 host LOCAL";
        leaf.filter(|address| local && !address.is_loopback()).map(|address| addr_to_u128(address.into()))
    })
}

/// The addresses of `if_inet6`: 32 hexadecimal digits begin each line.
fn ipv6(inet6: &str) -> impl Iterator<Item = u128> {
    let number = |line: &str| u128::from_str_radix(line.split(' ').next()?, 16).ok();
    let addresses = inet6.lines().filter_map(number).map(Ipv6Addr::from);
    addresses.filter(|address| !address.is_loopback()).map(|address| addr_to_u128(address.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::job;

    #[test]
    fn a_source_is_only_named_where_there_is_no_doubt() {
        let ranges = |text| Ranges::parse(text).unwrap();
        let of = |targets, own| unambiguous(&ranges(targets), &ranges(own));
        let v4 = IpAddr::from([10, 0, 0, 5]);
        assert_eq!(of("10.0.0.0/30", "10.0.0.5, fe80::1"), [v4]);
        assert_eq!(of("10.0.0.0/30, fd00::/120", "10.0.0.5, fd00:1::9").len(), 2);
        for (targets, own) in [
            ("10.0.0.0/30", "10.0.0.5, 10.0.1.5"),
            ("10.0.0.0/30", "10.0.0.5-10.0.0.6"),
            ("10.0.0.0/29", "10.0.0.5"),
            ("10.0.0.0/30, 127.0.0.1", "10.0.0.5"),
            ("10.0.0.0/30, fe80::7", "10.0.0.5"),
            ("10.0.0.0/30", "fe80::1"),
            ("10.0.0.0/30, 0.0.0.0", "10.0.0.5"),
        ] {
            assert_eq!(of(targets, own), [v4; 0], "{targets} from {own}");
        }
    }

    #[test]
    fn what_leads_to_this_machine_from_anywhere_is_its_own_and_a_links_address_is_nobodys() {
        let targets = Ranges::parse("0.0.0.0, ::, fe80::9, 127.0.0.1, 2001:db8::9").unwrap();
        for (own, wanted) in [(false, "0.0.0.0, ::, fe80::9"), (true, "fe80::9")] {
            let (wanted, mut guard) = (Ranges::parse(wanted).unwrap(), Guard::default());
            let job = Job { targets: targets.clone(), own, ..job("::1", "80") };
            assert_eq!(leave_out(&job, &mut guard).unwrap(), wanted);
            assert_eq!(guard.spares(&job).hosts, wanted);
        }
    }

    #[test]
    fn the_kernels_lists_are_read_and_loopback_is_left_out() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.9.0.0\n        /24 link UNICAST\n     |-- 10.9.0.5\n        \
                    /32 host LOCAL\n     |-- 10.9.0.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fd000000000000000000000000000007 02 40 00 80     eth0\n";
        let all: Ranges = ipv4(trie).chain(ipv6(inet6)).map(Range::single).collect();
        assert_eq!(all, Ranges::parse("10.9.0.5, fd00::7").unwrap());
    }
}
