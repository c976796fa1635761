//! What comes off the wire, read strictly: Ethernet frames with ARP, IPv4, IPv6, TCP, and ICMP of both.
//!
//! The readers take any bytes and never look beyond them; what is not exactly one of the messages named here is no
//! message. Checksums of TCP and ICMP are not looked at: network cards and virtual links leave them unfilled on the
//! way to the kernel, and what counts is the number that only the asked host was told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of a network card.
pub type Mac = [u8; 6];

/// What an Ethernet frame begins with: its receiver, its sender, the kind of its content.
pub const ETHERNET: usize = 14;

/// Kinds of content (IEEE 802 numbers).
pub const IPV4: u16 = 0x0800;
/// IPv6.
pub const IPV6: u16 = 0x86DD;
/// Address resolution for IPv4 (RFC 826).
pub const ARP: u16 = 0x0806;

/// TCP as the content of IP.
pub const TCP: u8 = 6;
/// ICMP.
pub const ICMP: u8 = 1;
/// ICMP for IPv6.
pub const ICMPV6: u8 = 58;

/// TCP flags.
pub const SYN: u8 = 0x02;
/// Reset.
pub const RST: u8 = 0x04;
/// There is an acknowledgement.
pub const ACK: u8 = 0x10;

/// How many extension headers are looked behind before a packet is left alone (RFC 8200, 4).
const MAX_EXTENSIONS: usize = 8;

/// A message that answers something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// TCP that takes a connection or refuses it; both acknowledge what they answer.
    Tcp {
        /// From here
        from: (IpAddr, u16),
        /// to here,
        to: (IpAddr, u16),
        /// and this sequence number is expected next.
        acknowledged: u32,
        /// It is a SYN-ACK; else a reset.
        open: bool,
    },
    /// ICMP, of IPv4 or IPv6, that says why a TCP packet did not arrive.
    Unreachable {
        /// The packet came from here,
        from: (IpAddr, u16),
        /// was meant for there,
        to: (IpAddr, u16),
        /// and had this sequence number.
        sequence: u32,
        /// Why it did not arrive.
        why: Why,
    },
    /// An answer to the question who has an address on this link (RFC 826, RFC 4861).
    Neighbour(IpAddr, Mac),
}

/// Why a packet did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No way to that network.
    Net,
    /// No such host.
    Host,
    /// The host has no such port.
    Port,
    /// Not allowed.
    Prohibited,
    /// Something else.
    Other,
}

/// Reads an Ethernet frame, or the beginning of a long one.
pub fn read(frame: &[u8]) -> Option<Message> {
    let (kind, content) = (short(frame, 12)?, frame.get(ETHERNET..)?);
    let packet = match kind {
        ARP => return arp(content),
        IPV4 => ipv4(content)?,
        IPV6 => ipv6(content)?,
        _ => return None,
    };
    match (kind, packet.protocol) {
        (_, TCP) => tcp(&packet),
        (IPV4, ICMP) => icmp(packet.content),
        (IPV6, ICMPV6) => icmpv6(&packet),
        _ => None,
    }
}

/// An IP packet, as far as it is here.
struct Packet<'a> {
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    /// It passed no router.
    from_this_link: bool,
    content: &'a [u8],
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn address_v4(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv4Addr::from(long(bytes, at)?).into())
}

fn address_v6(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?).into())
}

/// A card's own address: not a group's, and not nobody's.
fn mac(bytes: &[u8], at: usize) -> Option<Mac> {
    let mac: Mac = bytes.get(at..at + 6)?.try_into().ok()?;
    (mac[0] & 1 == 0 && mac != [0; 6]).then_some(mac)
}

/// An ARP reply for IPv4 over Ethernet.
fn arp(bytes: &[u8]) -> Option<Message> {
    const REPLY: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 2];
    if *bytes.get(..8)? != REPLY {
        return None;
    }
    Some(Message::Neighbour(address_v4(bytes, 14)?, mac(bytes, 8)?))
}

/// An IPv4 packet that is whole or the first fragment (RFC 791), its header's checksum right.
fn ipv4(bytes: &[u8]) -> Option<Packet<'_>> {
    let length = ipv4_header(bytes)?;
    if checksum(bytes.get(..length)?, 0) != 0 {
        return None;
    }
    let total = usize::from(short(bytes, 2)?);
    let content = bytes.get(length..total.clamp(length, bytes.len()))?;
    Some(Packet {
        from: address_v4(bytes, 12)?,
        to: address_v4(bytes, 16)?,
        protocol: *bytes.get(9)?,
        from_this_link: *bytes.get(8)? == u8::MAX,
        content,
    })
}

/// How long the header of an IPv4 packet is, options included, if it is no later fragment.
fn ipv4_header(bytes: &[u8]) -> Option<usize> {
    let first = *bytes.first()?;
    let length = usize::from(first & 0x0F) * 4;
    let later = short(bytes, 6)? & 0x1FFF != 0;
    (first >> 4 == 4 && length >= 20 && !later).then_some(length)
}

/// An IPv6 packet with a bounded number of extension headers before its content, none of them of a later fragment.
fn ipv6(bytes: &[u8]) -> Option<Packet<'_>> {
    if *bytes.first()? >> 4 != 6 {
        return None;
    }
    let total = 40 + usize::from(short(bytes, 4)?);
    let bytes = bytes.get(..total.min(bytes.len()))?;
    let (mut protocol, mut at) = (*bytes.get(6)?, 40);
    for _ in 0..MAX_EXTENSIONS {
        let length = match protocol {
            // Hop-by-hop options, routing, destination options.
            0 | 43 | 60 => 8 + 8 * usize::from(*bytes.get(at + 1)?),
            44 if short(bytes, at + 2)? & 0xFFF8 == 0 => 8,
            _ => break,
        };
        protocol = *bytes.get(at)?;
        at += length;
    }
    Some(Packet {
        from: address_v6(bytes, 8)?,
        to: address_v6(bytes, 24)?,
        protocol,
        from_this_link: *bytes.get(7)? == u8::MAX,
        content: bytes.get(at..)?,
    })
}

fn tcp(packet: &Packet<'_>) -> Option<Message> {
    let bytes = packet.content;
    let header = usize::from(*bytes.get(12)? >> 4) * 4;
    if header < 20 || header > bytes.len() {
        return None;
    }
    let open = match bytes[13] & (SYN | RST | ACK) {
        flags if flags == SYN | ACK => true,
        flags if flags == RST | ACK => false,
        _ => return None,
    };
    Some(Message::Tcp {
        from: (packet.from, short(bytes, 0)?),
        to: (packet.to, short(bytes, 2)?),
        acknowledged: long(bytes, 8)?,
        open,
    })
}

/// The TCP packet that an ICMP message quotes: at least its first eight bytes are there.
fn quoted(packet: &Packet<'_>, why: Why) -> Option<Message> {
    if packet.protocol != TCP {
        return None;
    }
    let bytes = packet.content;
    Some(Message::Unreachable {
        from: (packet.from, short(bytes, 0)?),
        to: (packet.to, short(bytes, 2)?),
        sequence: long(bytes, 4)?,
        why,
    })
}

/// "Destination unreachable" (RFC 792, RFC 1122, RFC 1812), of which code 4 wants smaller packets.
fn icmp(bytes: &[u8]) -> Option<Message> {
    let why = match (*bytes.first()?, *bytes.get(1)?) {
        (3, 0 | 6 | 11) => Why::Net,
        (3, 1 | 7 | 8 | 12) => Why::Host,
        (3, 3) => Why::Port,
        (3, 9 | 10 | 13..=15) => Why::Prohibited,
        (3, 2 | 5) => Why::Other,
        _ => return None,
    };
    let inner = bytes.get(8..)?;
    // The quoted header may have been changed on its way: its checksum is not looked at.
    let length = ipv4_header(inner)?;
    let packet = Packet {
        from: address_v4(inner, 12)?,
        to: address_v4(inner, 16)?,
        protocol: *inner.get(9)?,
        from_this_link: false,
        content: inner.get(length..)?,
    };
    quoted(&packet, why)
}

/// "Destination unreachable" (RFC 4443, 3.1), or a neighbour advertisement (RFC 4861, 4.4).
fn icmpv6(packet: &Packet<'_>) -> Option<Message> {
    let bytes = packet.content;
    let why = match (*bytes.first()?, *bytes.get(1)?) {
        (136, 0) if packet.from_this_link => return advertisement(bytes),
        (1, 0 | 2) => Why::Net,
        (1, 1 | 5 | 6) => Why::Prohibited,
        (1, 3) => Why::Host,
        (1, 4) => Why::Port,
        (1, _) => Why::Other,
        _ => return None,
    };
    quoted(&ipv6(bytes.get(8..)?)?, why)
}

/// A neighbour advertisement that names the card.
fn advertisement(bytes: &[u8]) -> Option<Message> {
    const TARGET_CARD: u8 = 2;
    let address = address_v6(bytes, 8)?;
    let mut options = bytes.get(24..)?;
    loop {
        let length = usize::from(*options.get(1)?) * 8;
        if length == 0 {
            return None;
        }
        if options[0] == TARGET_CARD {
            return Some(Message::Neighbour(address, mac(options, 2)?));
        }
        options = options.get(length..)?;
    }
}

/// The Internet checksum (RFC 1071) of these bytes behind a sum of others; 0 over what has a right one in it.
pub fn checksum(bytes: &[u8], before: u32) -> u16 {
    let mut sum = before;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
