//! The filter by which the kernel throws away what cannot be an answer, before it is copied.

use portolan_scanner::net::packet::{ACK, ARP, ICMP, ICMPV6, IPV4, IPV6, RST, SYN, TCP};

use crate::sys::bpf::{
    AND, HEADER, HEADER_IS, IF_ANY_BIT, IF_AT_LEAST, IF_EQUAL, IF_MORE, Instruction, LOAD_8, LOAD_8_BEHIND,
    LOAD_16, LOAD_16_BEHIND, LOAD_32, RETURN,
};
use crate::sys::packet::FRAME;

/// Where the kernel says to whom a frame was sent (`SKF_AD_OFF + SKF_AD_PKTTYPE`); 0 is "to us".
const PACKET_TYPE: u32 = 0xFFFF_F000 + 4;

/// The program: frames to this machine alone, and of them answers to a SYN from one of `count` ports from `first` on,
/// "unreachable", and answers to who has an address. IPv6 with extension headers is left for later to judge.
pub fn filter(first: u16, count: u16) -> Vec<Instruction> {
    let [first, count, both] = [first, count, u16::from(SYN | ACK)].map(u32::from);
    let [tcp, icmp, icmpv6, rst] = [TCP, ICMP, ICMPV6, RST].map(u32::from);
    let most = u32::try_from(FRAME).expect("frames are short");
    let [arp, ipv4, ipv6] = [ARP, IPV4, IPV6].map(u32::from);
    // A name for the place, what is done there, and where it goes if that holds and if not; "" is on.
    #[rustfmt::skip]
    let program = [
        ("",     LOAD_32, PACKET_TYPE, "", ""),
        ("",     IF_EQUAL, 0, "", "drop"),
        ("",     LOAD_16, 12, "", ""),
        ("",     IF_EQUAL, ipv4, "ipv4", ""),
        ("",     IF_EQUAL, ipv6, "ipv6", ""),
        ("",     IF_EQUAL, arp, "", "drop"),
        ("",     LOAD_16, 20, "", ""),
        ("",     IF_EQUAL, 2, "take", "drop"),                  // a reply
        ("ipv4", LOAD_16, 20, "", ""),
        ("",     IF_ANY_BIT, 0x1FFF, "drop", ""),               // a later fragment
        ("",     HEADER, 14, "", ""),
        ("",     LOAD_8, 23, "", ""),
        ("",     IF_EQUAL, tcp, "tcp", ""),
        ("",     IF_EQUAL, icmp, "", "drop"),
        ("",     LOAD_8_BEHIND, 14, "", ""),
        ("",     IF_EQUAL, 3, "take", "drop"),                  // unreachable
        ("ipv6", HEADER_IS, 40, "", ""),
        ("",     LOAD_8, 20, "", ""),
        ("",     IF_EQUAL, tcp, "tcp", ""),
        ("",     IF_EQUAL, 0, "take", ""),                      // extension headers
        ("",     IF_EQUAL, 43, "take", ""),
        ("",     IF_EQUAL, 44, "take", ""),
        ("",     IF_EQUAL, 60, "take", ""),
        ("",     IF_EQUAL, icmpv6, "", "drop"),
        ("",     LOAD_8_BEHIND, 14, "", ""),
        ("",     IF_EQUAL, 1, "take", ""),                      // unreachable
        ("",     IF_EQUAL, 136, "take", "drop"),                // a neighbour
        ("tcp",  LOAD_16_BEHIND, 16, "", ""),
        ("",     IF_AT_LEAST, first, "", "drop"),
        ("",     IF_MORE, first + count - 1, "drop", ""),
        ("",     LOAD_8_BEHIND, 27, "", ""),
        ("",     IF_ANY_BIT, rst, "take", ""),
        ("",     AND, both, "", ""),
        ("",     IF_EQUAL, both, "take", "drop"),
        ("drop", RETURN, 0, "", ""),
        ("take", RETURN, most, "", ""),
    ];
    let jump = |from: usize, to: &str| match to {
        "" => 0,
        to => {
            let there = program.iter().position(|line| line.0 == to).expect("each name is that of a place");
            u8::try_from(there - from - 1).expect("the program is short, and goes forwards")
        }
    };
    let line = |(at, (_, code, value, yes, no)): (usize, (_, u16, u32, &str, &str))| Instruction {
        code,
        yes: jump(at, yes),
        no: jump(at, no),
        value,
    };
    program.into_iter().enumerate().map(line).collect()
}
