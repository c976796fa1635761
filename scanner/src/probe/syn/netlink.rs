//! What the kernel knows of links, routes and neighbours (rtnetlink(7)), asked once before the first probe.
//!
//! The bytes are the kernel's own, and are read as strictly as any others: what is too short is left out.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::IpAddr;

use portolan_scanner::net::packet::Mac;
use portolan_scanner::net::{Range, addr_to_u128, u128_to_addr};

use crate::sys::errno;
use crate::sys::packet::routes;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const GET_LINK: u16 = 18;
const GET_ROUTE: u16 = 26;
const GET_NEIGHBOUR: u16 = 30;
const GET_RULE: u16 = 34;
const REQUEST: u16 = 0x001;
const DUMP: u16 = 0x300;
/// The head of a message, and of what it holds of routes and rules, of links and neighbours.
const HEAD: usize = 16;
const ROUTE: usize = 12;
const LINK: usize = 16;
const NEIGHBOUR: usize = 12;

/// An Ethernet interface that is up and asks for its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub number: u32,
    /// The address of its card.
    pub mac: Mac,
}

/// The way to an address, as the kernel would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// By the link of this number,
    pub link: u32,
    /// from this address,
    pub source: IpAddr,
    /// over this router, if it is not on the link.
    pub gateway: Option<IpAddr>,
}

/// The kernel, to be asked.
#[derive(Debug)]
pub struct Netlink {
    socket: File,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens the way to it.
    ///
    /// # Errors
    /// What opening says.
    pub fn open() -> io::Result<Self> {
        let socket = routes().map_err(io::Error::from_raw_os_error)?;
        Ok(Self { socket, buffer: vec![0; 1 << 16] })
    }

    /// The Ethernet interfaces.
    ///
    /// # Errors
    /// What asking says; so for all of these.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        const ETHER: u16 = 1;
        const UP: u32 = 0x1;
        const LOOPBACK_OR_NO_ARP: u32 = 0x8 | 0x80;
        let mut links = Vec::new();
        self.ask(GET_LINK, DUMP, &[0; LINK], |body| {
            let (kind, flags) = (native16(body, 2)?, native32(body, 8)?);
            let mac = attribute(body, LINK, 1)?.try_into().ok()?;
            if kind == ETHER && flags & UP != 0 && flags & LOOPBACK_OR_NO_ARP == 0 {
                links.push(Link { number: native32(body, 4)?, mac });
            }
            Some(())
        })?;
        Ok(links)
    }

    /// The prefixes of every route, of every table, and of the rules that choose among tables: within one that no
    /// other divides, every address goes one way.
    pub fn prefixes(&mut self) -> io::Result<Vec<Range>> {
        let mut prefixes = Vec::new();
        for (kind, family) in
            [GET_ROUTE, GET_RULE].into_iter().flat_map(|kind| [(kind, AF_INET), (kind, AF_INET6)])
        {
            let mut request = [0; ROUTE];
            request[0] = family;
            let asked = self.ask(kind, DUMP, &request, |body| {
                let free = (if family == AF_INET { 32 } else { 128 }) - u32::from(*body.get(1)?);
                let nothing = if family == AF_INET { vec![0; 4] } else { vec![0; 16] };
                let first = addr_to_u128(address(attribute(body, ROUTE, 1).unwrap_or(&nothing))?);
                let size = 1u128.checked_shl(free).unwrap_or(0).wrapping_sub(1);
                prefixes.push(Range { first, last: first.saturating_add(size) });
                Some(())
            });
            // A kernel can be built without rules.
            if kind == GET_ROUTE
                || !asked.as_ref().is_err_and(|e| e.raw_os_error() == Some(errno::EOPNOTSUPP))
            {
                asked?;
            }
        }
        Ok(prefixes)
    }

    /// The way to an address; none if it is this machine's own, a group's, or there is no way.
    pub fn route(&mut self, target: u128) -> io::Result<Option<Route>> {
        const UNICAST: u8 = 1;
        let target = u128_to_addr(target);
        let mut request = vec![0; ROUTE];
        let octets = match target {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        request[0] = if target.is_ipv4() { AF_INET } else { AF_INET6 };
        request[1] = u8::try_from(octets.len() * 8).expect("an address has at most 128 bits");
        let length = u16::try_from(4 + octets.len()).expect("an address has at most 16 bytes");
        request.extend_from_slice(&length.to_ne_bytes());
        request.extend_from_slice(&1u16.to_ne_bytes());
        request.extend_from_slice(&octets);
        let mut found = None;
        let asked = self.ask(GET_ROUTE, 0, &request, |body| {
            if *body.get(7)? != UNICAST {
                return None;
            }
            let link = native32(attribute(body, ROUTE, 4)?, 0)?;
            let source = address(attribute(body, ROUTE, 7)?)?;
            // The router of an IPv4 route may have an IPv6 address (RFC 5549); its family comes before it.
            let other = || attribute(body, ROUTE, 18)?.get(2..).and_then(address);
            let gateway = attribute(body, ROUTE, 5).and_then(address).or_else(other);
            found = Some(Route { link, source, gateway });
            Some(())
        });
        match asked {
            Err(error) if error.raw_os_error().is_none() => Err(error),
            // The kernel says what hinders: there is no way.
            _ => Ok(found),
        }
    }

    /// The neighbours that the kernel is sure of: link, address and card.
    pub fn neighbours(&mut self) -> io::Result<Vec<(u32, IpAddr, Mac)>> {
        const REACHABLE_OR_FIXED: u16 = 0x02 | 0x40 | 0x80;
        let mut known = Vec::new();
        self.ask(GET_NEIGHBOUR, DUMP, &[0; NEIGHBOUR], |body| {
            let address = address(attribute(body, NEIGHBOUR, 1)?)?;
            let mac = attribute(body, NEIGHBOUR, 2)?.try_into().ok()?;
            if native16(body, 8)? & REACHABLE_OR_FIXED != 0 {
                known.push((native32(body, 4)?, address, mac));
            }
            Some(())
        })?;
        Ok(known)
    }

    /// Asks, and hands on what each message of the answer holds.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut each: impl FnMut(&[u8]) -> Option<()>,
    ) -> io::Result<()> {
        let length = u32::try_from(HEAD + body.len()).expect("a question is short");
        let mut request = length.to_ne_bytes().to_vec();
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        request.extend_from_slice(&[0; 8]);
        request.extend_from_slice(body);
        self.socket.write_all(&request)?;
        let cut =
            || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer about routes is cut short");
        loop {
            let filled = self.socket.read(&mut self.buffer)?;
            let mut rest = &self.buffer[..filled];
            while !rest.is_empty() {
                let length = native32(rest, 0).ok_or_else(cut)? as usize;
                let kind = native16(rest, 4).ok_or_else(cut)?;
                let body = rest.get(HEAD..length).ok_or_else(cut)?;
                match kind {
                    DONE => return Ok(()),
                    ERROR => {
                        let number = native32(body, 0).ok_or_else(cut)?;
                        return Err(io::Error::from_raw_os_error(number.cast_signed().wrapping_neg()));
                    }
                    // What lacks something is of no use here.
                    _ => _ = each(body),
                }
                if flags & DUMP == 0 {
                    return Ok(());
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

fn native16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn native32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// An address of four or of sixteen bytes.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The attribute of a kind, of those behind the first `head` bytes.
fn attribute(body: &[u8], head: usize, wanted: u16) -> Option<&[u8]> {
    let mut rest = body.get(head..)?;
    loop {
        let (length, kind) = (usize::from(native16(rest, 0)?), native16(rest, 2)?);
        let value = rest.get(4..length)?;
        if kind & 0x3FFF == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_and_what_is_cut_short_is_none() {
        let mut body = vec![0; 4];
        for (kind, value) in [(7u16, &[1u8, 2, 3][..]), (1, &[10, 0, 0, 1])] {
            body.extend_from_slice(&u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            body.extend_from_slice(&kind.to_ne_bytes());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        assert_eq!(attribute(&body, 4, 7), Some(&[1, 2, 3][..]));
        assert_eq!(attribute(&body, 4, 1).and_then(address), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(attribute(&body, 4, 9), None);
        assert_eq!(attribute(&body[..body.len() - 1], 4, 1), None);
        // A length of nothing goes nowhere.
        assert_eq!(attribute(&[0; 16], 0, 1), None);
    }

    #[test]
    fn loopback_goes_no_ethernet_way() {
        let mut kernel = Netlink::open().unwrap();
        let loopback = addr_to_u128("127.0.0.1".parse().unwrap());
        assert_eq!(kernel.route(loopback).unwrap(), None);
        let prefixes = kernel.prefixes().unwrap();
        assert!(prefixes.iter().any(|range| (range.first..=range.last).contains(&loopback)));
        assert!(kernel.links().unwrap().iter().all(|link| link.mac != [0; 6]));
        kernel.neighbours().unwrap();
    }
}
