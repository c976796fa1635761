//! Messages as they come, and any bytes at all.

use proptest::prelude::*;

use super::*;

const OWN: Mac = [2, 0, 0, 0, 0, 1];
const PEER: Mac = [2, 0, 0, 0, 0, 2];

fn ethernet(kind: u16, content: &[u8]) -> Vec<u8> {
    [&OWN[..], &PEER, &kind.to_be_bytes(), content].concat()
}

fn v4_packet(from: [u8; 4], to: [u8; 4], protocol: u8, options: &[u8], content: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut bytes = vec![0x40 | u8::try_from(header / 4).unwrap(), 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    bytes.extend_from_slice(&from);
    bytes.extend_from_slice(&to);
    bytes.extend_from_slice(options);
    let total = u16::try_from(header + content.len()).unwrap();
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    let check = checksum(&bytes, 0);
    bytes[10..12].copy_from_slice(&check.to_be_bytes());
    bytes.extend_from_slice(content);
    bytes
}

fn v6_packet(hops: u8, next: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 0, next, hops];
    bytes[5] = u8::try_from(content.len()).unwrap();
    bytes.extend_from_slice(&"fd00::9".parse::<Ipv6Addr>().unwrap().octets());
    bytes.extend_from_slice(&"fd00::1".parse::<Ipv6Addr>().unwrap().octets());
    bytes.extend_from_slice(content);
    bytes
}

fn segment(flags: u8) -> Vec<u8> {
    let mut bytes = vec![0, 80, 0x70, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0x50, flags, 0, 0, 0, 0, 0, 0];
    bytes.resize(20, 0);
    bytes
}

fn host(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn answer(from: &str, to: &str, open: bool) -> Message {
    Message::Tcp { from: (host(from), 80), to: (host(to), 0x7001), acknowledged: 8, open }
}

const PEER_V4: [u8; 4] = [10, 0, 0, 9];
const OWN_V4: [u8; 4] = [10, 0, 0, 1];

#[test]
fn only_what_acknowledges_a_syn_answers_it() {
    for (flags, open) in [
        (SYN | ACK, Some(true)),
        (RST | ACK, Some(false)),
        (SYN, None),
        (RST, None),
        (ACK, None),
        (SYN | RST | ACK, None),
        (0x01 | ACK, None),
    ] {
        let packet = v4_packet(PEER_V4, OWN_V4, TCP, &[], &segment(flags));
        let expected = open.map(|open| answer("10.0.0.9", "10.0.0.1", open));
        assert_eq!(read(&ethernet(IPV4, &packet)), expected, "{flags:#x}");
        let packet = v6_packet(64, TCP, &segment(flags));
        let expected = open.map(|open| answer("fd00::9", "fd00::1", open));
        assert_eq!(read(&ethernet(IPV6, &packet)), expected, "{flags:#x}");
    }
}

#[test]
fn options_and_extension_headers_are_looked_behind_up_to_a_bound() {
    let packet = v4_packet(PEER_V4, OWN_V4, TCP, &[1; 40], &segment(SYN | ACK));
    assert_eq!(read(&ethernet(IPV4, &packet)), Some(answer("10.0.0.9", "10.0.0.1", true)));
    for (count, found) in [(1, true), (MAX_EXTENSIONS, true), (MAX_EXTENSIONS + 1, false)] {
        let mut content = Vec::new();
        for left in (0..count).rev() {
            content.extend_from_slice(&[if left == 0 { TCP } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
        }
        content.extend_from_slice(&segment(SYN | ACK));
        let said = read(&ethernet(IPV6, &v6_packet(64, 60, &content)));
        assert_eq!(said, found.then(|| answer("fd00::9", "fd00::1", true)), "{count} headers");
    }
    let later = [&[TCP, 0, 0, 8, 0, 0, 0, 1][..], &segment(SYN | ACK)].concat();
    assert_eq!(read(&ethernet(IPV6, &v6_packet(64, 44, &later))), None, "a later fragment");
}

#[test]
fn a_header_that_was_damaged_is_not_believed() {
    let packet = v4_packet(PEER_V4, OWN_V4, TCP, &[], &segment(SYN | ACK));
    for place in 0..20 {
        let mut damaged = packet.clone();
        damaged[place] ^= 0x04;
        assert_eq!(read(&ethernet(IPV4, &damaged)), None, "byte {place}");
    }
}

#[test]
fn icmp_says_why_and_quotes_what() {
    use Why::{Host, Net, Other, Port, Prohibited};
    let quoted = [&segment(SYN)[..4], &[0, 0, 0, 7]].concat();
    let inner = v4_packet(OWN_V4, PEER_V4, TCP, &[], &quoted);
    for (code, why) in [
        (0, Some(Net)),
        (1, Some(Host)),
        (2, Some(Other)),
        (3, Some(Port)),
        (4, None),
        (9, Some(Prohibited)),
        (10, Some(Prohibited)),
        (13, Some(Prohibited)),
        (16, None),
    ] {
        let message = [&[3, code, 0, 0, 0, 0, 0, 0][..], &inner].concat();
        let packet = v4_packet([10, 0, 0, 254], OWN_V4, ICMP, &[], &message);
        let expected = why.map(|why| Message::Unreachable {
            from: (host("10.0.0.1"), 80),
            to: (host("10.0.0.9"), 0x7001),
            sequence: 7,
            why,
        });
        assert_eq!(read(&ethernet(IPV4, &packet)), expected, "code {code}");
    }
    let inner = v6_packet(64, TCP, &quoted);
    for (code, expected) in [(0, Net), (1, Prohibited), (3, Host), (4, Port), (5, Prohibited)] {
        let message = [&[1, code, 0, 0, 0, 0, 0, 0][..], &inner].concat();
        match read(&ethernet(IPV6, &v6_packet(64, ICMPV6, &message))) {
            Some(Message::Unreachable { why, sequence: 7, .. }) => assert_eq!(why, expected, "code {code}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_neighbour_is_believed_only_from_this_link_and_with_a_card_of_its_own() {
    let reply = [&[0, 1, 8, 0, 6, 4, 0, 2][..], &PEER, &PEER_V4, &OWN, &OWN_V4].concat();
    let found = Some(Message::Neighbour(host("10.0.0.9"), PEER));
    assert_eq!(read(&ethernet(ARP, &reply)), found);
    let mut request = reply.clone();
    request[7] = 1;
    assert_eq!(read(&ethernet(ARP, &request)), None);
    let mut group = reply;
    group[8] |= 1;
    assert_eq!(read(&ethernet(ARP, &group)), None);

    let address = "fd00::9".parse::<Ipv6Addr>().unwrap();
    let advertised =
        |options: &[u8]| [&[136, 0, 0, 0, 0x60, 0, 0, 0][..], &address.octets(), options].concat();
    let card = [&[2, 1][..], &PEER].concat();
    let said = |hops, options: &[u8]| read(&ethernet(IPV6, &v6_packet(hops, ICMPV6, &advertised(options))));
    let found = Some(Message::Neighbour(address.into(), PEER));
    assert_eq!(said(255, &card), found);
    assert_eq!(said(255, &[&[14, 1, 0, 0, 0, 0, 0, 0][..], &card].concat()), found, "behind another option");
    assert_eq!(said(64, &card), None, "it came over a router");
    assert_eq!(said(255, &[]), None);
    assert_eq!(said(255, &[2, 0, 0, 0, 0, 0, 0, 0]), None, "an option of no length");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_message_cut_short_or_changed_is_read_without_a_panic(
        which in 0usize..5,
        cut in 0usize..120,
        changes in prop::collection::vec((0usize..120, any::<u8>()), 0..6),
    ) {
        let inner = v4_packet(OWN_V4, PEER_V4, TCP, &[], &segment(SYN));
        let icmp = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &inner].concat();
        let icmpv6 = [&[1, 0, 0, 0, 0, 0, 0, 0][..], &v6_packet(64, TCP, &segment(SYN))].concat();
        let mut frame = match which {
            0 => ethernet(IPV4, &v4_packet(PEER_V4, OWN_V4, TCP, &[1; 8], &segment(SYN | ACK))),
            1 => ethernet(IPV4, &v4_packet(PEER_V4, OWN_V4, ICMP, &[], &icmp)),
            2 => ethernet(IPV6, &v6_packet(64, ICMPV6, &icmpv6)),
            3 => ethernet(IPV6, &v6_packet(64, 60, &[&[TCP, 0, 1, 4, 0, 0, 0, 0][..], &segment(RST | ACK)].concat())),
            _ => ethernet(ARP, &[&[0, 1, 8, 0, 6, 4, 0, 2][..], &PEER, &PEER_V4, &OWN, &OWN_V4].concat()),
        };
        let length = frame.len();
        for (place, value) in changes {
            frame[place % length] = value;
        }
        let _ = read(&frame[..cut.min(length)]);
        let _ = read(&frame);
    }
}
