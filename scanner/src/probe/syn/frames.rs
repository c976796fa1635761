//! The frames that are sent: a SYN (RFC 9293, 3.5), and the question who has an address (RFC 826, RFC 4861).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use portolan_scanner::net::packet::{ARP, ETHERNET, ICMPV6, IPV4, IPV6, Mac, SYN, TCP, checksum};

const BROADCAST: Mac = [0xFF; 6];

/// A TCP header with one option, the greatest segment.
const HEADER: u8 = 24;

/// A SYN from one address of one link; what differs from one to the next is filled in.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    /// Where the IP header ends.
    tcp: usize,
    /// The sums of what does not differ, for the checksums of IP and TCP.
    ip_sum: u32,
    tcp_sum: u32,
}

impl Template {
    /// From this card and address.
    pub fn new(card: Mac, source: IpAddr) -> Self {
        let mut bytes = ethernet(BROADCAST, card, if source.is_ipv4() { IPV4 } else { IPV6 });
        match source {
            IpAddr::V4(source) => {
                // 44 bytes, not to be fragmented, through at most 64 routers.
                bytes.extend_from_slice(&[0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, TCP, 0, 0]);
                bytes.extend_from_slice(&source.octets());
                bytes.extend_from_slice(&[0; 4]);
            }
            IpAddr::V6(source) => {
                bytes.extend_from_slice(&ipv6(HEADER, TCP, 64, source, Ipv6Addr::UNSPECIFIED));
            }
        }
        let tcp = bytes.len();
        let segment: u16 = if source.is_ipv4() { 1_460 } else { 1_440 };
        bytes.extend_from_slice(&[0; 12]);
        bytes.extend_from_slice(&[HEADER << 2, SYN, 0xFA, 0xF0, 0, 0, 0, 0, 2, 4]);
        bytes.extend_from_slice(&segment.to_be_bytes());
        let ip_sum = sum(&bytes[ETHERNET..tcp]);
        let addresses = if source.is_ipv4() { 8 } else { 32 };
        // The pseudo header's other fields are the length and the number of TCP.
        let tcp_sum = sum(&bytes[tcp - addresses..]) + u32::from(HEADER) + u32::from(TCP);
        Self { bytes, tcp, ip_sum, tcp_sum }
    }

    /// How long it is.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Writes the SYN to a target over the neighbour with this card. `frame` is as long as [`Template::length`], and
    /// the target of the family of the source.
    pub fn write(&self, frame: &mut [u8], to: Mac, target: SocketAddr, port: u16, sequence: u32) {
        frame.copy_from_slice(&self.bytes);
        frame[..6].copy_from_slice(&to);
        let (ip, tcp) = frame.split_at_mut(self.tcp);
        let differs = match target.ip() {
            IpAddr::V4(address) => {
                let octets = address.octets();
                let differs = sum(&octets);
                ip[self.tcp - 4..].copy_from_slice(&octets);
                ip[ETHERNET + 10..ETHERNET + 12]
                    .copy_from_slice(&checksum(&[], self.ip_sum + differs).to_be_bytes());
                differs
            }
            IpAddr::V6(address) => {
                let octets = address.octets();
                ip[self.tcp - 16..].copy_from_slice(&octets);
                sum(&octets)
            }
        };
        tcp[..2].copy_from_slice(&port.to_be_bytes());
        tcp[2..4].copy_from_slice(&target.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        let check = checksum(&[], self.tcp_sum + differs + sum(&tcp[..8]));
        tcp[16..18].copy_from_slice(&check.to_be_bytes());
    }
}

/// Asks everyone on the link who has the address; `card` and `source` are the asker's. Both addresses are of one
/// family, or the gateway is of IPv6 and the link has an address of that: else nobody can be asked.
pub fn who_has(address: IpAddr, card: Mac, source: IpAddr) -> Option<Vec<u8>> {
    match (address, source) {
        (IpAddr::V4(address), IpAddr::V4(source)) => {
            let mut frame = ethernet(BROADCAST, card, ARP);
            frame.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
            frame.extend_from_slice(&card);
            frame.extend_from_slice(&source.octets());
            frame.extend_from_slice(&[0; 6]);
            frame.extend_from_slice(&address.octets());
            Some(frame)
        }
        (IpAddr::V6(address), IpAddr::V6(source)) => {
            // The group of all whose address ends like this one (RFC 4291, 2.7.1).
            let [.., a, b, c] = address.octets();
            let group = Ipv6Addr::from([0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF, a, b, c]);
            let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
            message.extend_from_slice(&address.octets());
            message.extend_from_slice(&[1, 1]);
            message.extend_from_slice(&card);
            let header = ipv6(32, ICMPV6, u8::MAX, source, group);
            let check = checksum(&message, sum(&header[8..]) + 32 + u32::from(ICMPV6));
            message[2..4].copy_from_slice(&check.to_be_bytes());
            let mut frame = ethernet([0x33, 0x33, 0xFF, a, b, c], card, IPV6);
            frame.extend_from_slice(&header);
            frame.extend_from_slice(&message);
            Some(frame)
        }
        _ => None,
    }
}

fn ethernet(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes()].concat()
}

fn ipv6(length: u8, protocol: u8, hops: u8, source: Ipv6Addr, target: Ipv6Addr) -> [u8; 40] {
    let mut header = [0; 40];
    header[0] = 0x60;
    (header[5], header[6], header[7]) = (length, protocol, hops);
    header[8..24].copy_from_slice(&source.octets());
    header[24..].copy_from_slice(&target.octets());
    header
}

/// The sum of these bytes, an even number, as a checksum adds them up.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: Mac = [2, 0, 0, 0, 0, 1];

    #[test]
    fn the_checksums_of_a_syn_are_right() {
        for (source, target) in [("10.9.0.1", "10.9.0.200:443"), ("fd00::1", "[2001:db8::ffff:1]:65535")] {
            let (source, target): (IpAddr, SocketAddr) = (source.parse().unwrap(), target.parse().unwrap());
            let template = Template::new(CARD, source);
            let mut frame = vec![0xEE; template.length()];
            template.write(&mut frame, [2, 0, 0, 0, 0, 9], target, 31_000, 0xDEAD_BEEF);
            let tcp = frame.len() - usize::from(HEADER);
            let addresses = if source.is_ipv4() { 8 } else { 32 };
            let pseudo = 24 + u32::from(TCP);
            assert_eq!(checksum(&frame[tcp - addresses..], pseudo), 0, "TCP to {target}");
            if source.is_ipv4() {
                assert_eq!(checksum(&frame[ETHERNET..tcp], 0), 0, "IP to {target}");
            }
            assert_eq!(frame[..6], [2, 0, 0, 0, 0, 9]);
            assert_eq!(
                frame[tcp + 2..tcp + 8],
                [&target.port().to_be_bytes()[..], &[0xDE, 0xAD, 0xBE, 0xEF]].concat()
            );
        }
    }

    #[test]
    fn a_question_on_the_link_is_as_the_standards_have_it() {
        let frame = who_has("10.0.0.2".parse().unwrap(), CARD, "10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!((frame.len(), &frame[12..22]), (42, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1][..]));
        let frame = who_has("fd00::12:3456".parse().unwrap(), CARD, "fd00::1".parse().unwrap()).unwrap();
        assert_eq!(frame[..6], [0x33, 0x33, 0xFF, 0x12, 0x34, 0x56]);
        assert_eq!(frame[38..54], "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(checksum(&frame[22..], 32 + u32::from(ICMPV6)), 0);
    }
}
