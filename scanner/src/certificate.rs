//! What a TLS server's certificate says of itself: subject, names, expiry.
//!
//! A strict and bounded reader of the little of X.509 (RFC 5280) that a service hint shows. It decides nothing: the
//! certificate may come from anyone, and no signature in it is looked at. What breaks DER anywhere on the way makes
//! the whole unreadable; what is merely unknown, such as a kind of name, is left out.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::wire::hint::{MAX_NAME, MAX_NAMES, MAX_TEXT};
use crate::wire::{Certificate, Text, hex};

// Tags (X.690): universal, constructed where it is a sequence or a set, and context-specific.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;
const BOOLEAN: u8 = 0x01;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// `id-ce-subjectAltName`, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// Attribute types that have a name: those of RFC 4514, and two that certificates are full of.
const NAMED: [(&[u8], &str); 11] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// What can be read of a certificate (DER) whose SHA-256 is this; of one that is not X.509, that alone.
pub fn read(der: &[u8], sha256: [u8; 32]) -> Certificate {
    let unread = Certificate { sha256, expires: None, subject: None, names: Vec::new() };
    fields(der).map_or(unread, |(expires, subject, names)| Certificate {
        sha256,
        expires: Some(expires),
        subject: Text::escape(subject.as_bytes(), MAX_TEXT),
        names,
    })
}

/// Values in DER, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value with its tag, which has one byte; its length has the shortest form.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&short, rest) = rest.split_first()?;
        let (length, rest) = match short {
            0..=0x7f => (usize::from(short), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(short & 3))?;
                let length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                let shortest = bytes[0] != 0 && length >= 0x80;
                (Some(length).filter(|_| shortest)?, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (tag & 0x1f != 0x1f).then_some((tag, value))
    }

    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, value)| value)
    }

    fn inside(&mut self, wanted: u8) -> Option<Self> {
        self.take(wanted).map(Self)
    }

    /// The next value, if it has this tag; else nothing.
    fn optional(&mut self, wanted: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&wanted) { self.take(wanted) } else { Some(&[]) }
    }

    /// Nothing may follow.
    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Expiry, subject and names.
fn fields(der: &[u8]) -> Option<(i64, String, Vec<Text>)> {
    let mut file = Der(der);
    let mut certificate = file.inside(SEQUENCE)?;
    file.end()?;
    let mut signed = certificate.inside(SEQUENCE)?;
    certificate.take(SEQUENCE)?;
    certificate.take(BIT_STRING)?;
    certificate.end()?;

    signed.optional(VERSION)?;
    signed.take(INTEGER)?;
    signed.take(SEQUENCE)?;
    signed.take(SEQUENCE)?;
    let mut validity = signed.inside(SEQUENCE)?;
    validity.next()?;
    let expires = validity.next().and_then(|(tag, value)| time(tag, value))?;
    validity.end()?;
    let subject = subject(signed.inside(SEQUENCE)?)?;
    signed.take(SEQUENCE)?;
    signed.optional(ISSUER_ID)?;
    signed.optional(SUBJECT_ID)?;
    let mut names = Vec::new();
    let mut wrapped = Der(signed.optional(EXTENSIONS)?);
    if !wrapped.0.is_empty() {
        let mut list = wrapped.inside(SEQUENCE)?;
        wrapped.end()?;
        while !list.0.is_empty() {
            let mut extension = list.inside(SEQUENCE)?;
            let id = extension.take(OID)?;
            extension.optional(BOOLEAN)?;
            let value = extension.take(OCTET_STRING)?;
            extension.end()?;
            if id == SUBJECT_ALT_NAME {
                names = alternatives(value)?;
            }
        }
    }
    signed.end()?;
    Some((expires, subject, names))
}

/// The DNS names and addresses among the alternative names.
fn alternatives(value: &[u8]) -> Option<Vec<Text>> {
    let mut wrapped = Der(value);
    let mut list = wrapped.inside(SEQUENCE)?;
    wrapped.end()?;
    let mut names = Vec::new();
    while !list.0.is_empty() {
        let (tag, value) = list.next()?;
        let name = match (tag, value.len()) {
            (DNS_NAME, 1..=MAX_NAME) => Text::escape(value, MAX_NAME),
            (IP_ADDRESS, 4) => value.try_into().ok().map(|four: [u8; 4]| address(Ipv4Addr::from(four))),
            (IP_ADDRESS, 16) => value.try_into().ok().map(|many: [u8; 16]| address(Ipv6Addr::from(many))),
            _ => None,
        };
        names.extend(name.filter(|_| names.len() < MAX_NAMES));
    }
    Some(names)
}

fn address(address: impl std::fmt::Display) -> Text {
    Text::escape(address.to_string().as_bytes(), MAX_NAME).expect("an address is not empty")
}

/// A distinguished name as RFC 4514 writes it: the last part first.
fn subject(mut name: Der<'_>) -> Option<String> {
    let mut parts = Vec::new();
    while !name.0.is_empty() {
        let mut set = name.inside(SET)?;
        let mut part = String::new();
        while !set.0.is_empty() {
            let mut attribute = set.inside(SEQUENCE)?;
            let id = attribute.take(OID)?;
            let whole = attribute.0;
            let (tag, value) = attribute.next()?;
            attribute.end()?;
            if !part.is_empty() {
                part.push('+');
            }
            let known = NAMED.iter().find(|(known, _)| *known == id);
            if let (Some((_, name)), Some(value)) = (known, string(tag, value)) {
                part += name;
                part.push('=');
                escape(&value, &mut part);
            } else {
                part += &dotted(id)?;
                part += "=#";
                part += &hex::encode(whole);
            }
        }
        parts.push(part);
    }
    parts.reverse();
    Some(parts.join(","))
}

/// A string of one of the kinds that names are made of.
fn string(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        UTF8_STRING | PRINTABLE_STRING | IA5_STRING => str::from_utf8(value).ok().map(str::to_owned),
        // Meant to be T.61; what is found in certificates is Latin 1.
        TELETEX_STRING => Some(value.iter().map(|byte| char::from(*byte)).collect()),
        BMP_STRING if value.len().is_multiple_of(2) => {
            let units: Vec<u16> =
                value.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]])).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// Adds a value with what has a meaning in a distinguished name escaped (RFC 4514, section 2.4).
fn escape(value: &str, text: &mut String) {
    for (at, c) in value.char_indices() {
        let edge = at == 0 && matches!(c, ' ' | '#') || at + 1 == value.len() && c == ' ';
        if edge || matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
}

/// An object identifier in decimals with dots between them.
fn dotted(id: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut arc = 0u64;
    for (at, byte) in id.iter().enumerate() {
        arc = arc.checked_mul(128)? + u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            (at + 1 < id.len()).then_some(())?;
            continue;
        }
        if text.is_empty() {
            let first = (arc / 40).min(2);
            write!(text, "{first}.{}", arc - 40 * first).ok()?;
        } else {
            write!(text, ".{arc}").ok()?;
        }
        arc = 0;
    }
    (!text.is_empty()).then_some(text)
}

/// A moment: µs UTC.
fn time(tag: u8, value: &[u8]) -> Option<i64> {
    let digits = value.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        // RFC 5280, section 4.1.2.5.1.
        (UTC_TIME, 12) => {
            let short = number(&digits[..2]);
            (short + if short < 50 { 2000 } else { 1900 }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let of_month = usize::try_from(month - 1).ok().filter(|month| *month < 12)?;
    if year == 0 || !(1..=lengths[of_month]).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let before = year - 1;
    let days = before * 365 + before / 4 - before / 100 + before / 400 - 719_162;
    let days = days + lengths[..of_month].iter().sum::<i64>() + day - 1;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(tag: u8, inside: &[u8]) -> Vec<u8> {
        let mut der = vec![tag];
        match inside.len() {
            short @ 0..128 => der.push(u8::try_from(short).unwrap()),
            longer @ 128..256 => der.extend([0x81, u8::try_from(longer).unwrap()]),
            long => der.extend([0x82, u8::try_from(long >> 8).unwrap(), u8::try_from(long & 255).unwrap()]),
        }
        der.extend(inside);
        der
    }

    fn part(id: &[u8], tag: u8, text: &[u8]) -> Vec<u8> {
        value(SEQUENCE, &[value(OID, id), value(tag, text)].concat())
    }

    /// A certificate of which only what is read makes sense.
    fn certificate(subject: &[Vec<u8>], expires: &[u8], names: &[u8]) -> Vec<u8> {
        let parts: Vec<u8> = subject.iter().flat_map(|parts| value(SET, parts)).collect();
        let names = value(OCTET_STRING, &value(SEQUENCE, names));
        let critical = value(BOOLEAN, &[0xff]);
        let extension = value(SEQUENCE, &[value(OID, SUBJECT_ALT_NAME), critical, names].concat());
        let signed = [
            value(VERSION, &value(INTEGER, &[2])),
            value(INTEGER, &[1]),
            value(SEQUENCE, &[]),
            value(SEQUENCE, &[]),
            value(SEQUENCE, &[value(UTC_TIME, b"250101000000Z"), expires.to_vec()].concat()),
            value(SEQUENCE, &parts),
            value(SEQUENCE, &[]),
            value(EXTENSIONS, &value(SEQUENCE, &extension)),
        ];
        value(
            SEQUENCE,
            &[value(SEQUENCE, &signed.concat()), value(SEQUENCE, &[]), value(BIT_STRING, &[0])].concat(),
        )
    }

    fn example() -> Vec<u8> {
        let subject = [
            part(&[0x55, 4, 6], PRINTABLE_STRING, b"DE"),
            [
                part(&[0x55, 4, 10], UTF8_STRING, "Süd, \"Nord\" + Co ".as_bytes()),
                part(&[0x55, 4, 17], PRINTABLE_STRING, b"1"),
            ]
            .concat(),
            part(&[0x55, 4, 3], BMP_STRING, &[0, b'#', 0, b'p', 0x20, 0xac]),
        ];
        let names = [
            value(DNS_NAME, b"plc.example"),
            value(0x81, b"mail@example"),
            value(DNS_NAME, b"\x1b[2J"),
            value(DNS_NAME, &[b'a'; 300]),
            value(IP_ADDRESS, &[10, 0, 0, 7]),
            value(IP_ADDRESS, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]),
            value(IP_ADDRESS, &[10, 0, 0]),
        ];
        certificate(&subject, &value(UTC_TIME, b"300102030405Z"), &names.concat())
    }

    #[test]
    fn subject_names_and_expiry_are_read_and_the_odd_is_left_out() {
        let leaf = read(&example(), [7; 32]);
        assert_eq!((leaf.sha256, leaf.expires), ([7; 32], Some(1_893_553_445_000_000)));
        let subject = String::from_utf8(leaf.subject.unwrap().bytes()).unwrap();
        assert_eq!(subject, "CN=\\#p€,O=Süd\\, \\\"Nord\\\" \\+ Co\\ +2.5.4.17=#130131,C=DE");
        let names: Vec<&str> = leaf.names.iter().map(Text::as_str).collect();
        assert_eq!(names, ["plc.example", "\\x1b[2J", "10.0.0.7", "2001:db8::7"]);
    }

    #[test]
    fn what_is_no_certificate_is_known_by_its_hash_alone() {
        let whole = example();
        let alone = Certificate { sha256: [7; 32], expires: None, subject: None, names: Vec::new() };
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut], [7; 32]), alone);
        }
        assert_eq!(read(&[&whole[..], &[0]].concat(), [7; 32]), alone, "something follows");
        let unending = certificate(&[], &value(UTC_TIME, b"301302030405Z"), &[]);
        assert_eq!(read(&unending, [7; 32]), alone, "there is no month 13");
    }

    #[test]
    fn names_have_a_bound() {
        let names = value(DNS_NAME, b"a").repeat(MAX_NAMES + 1);
        let leaf = read(&certificate(&[], &value(UTC_TIME, b"300102030405Z"), &names), [0; 32]);
        assert_eq!((leaf.names.len(), leaf.subject), (MAX_NAMES, None));
    }

    #[test]
    fn a_length_has_its_shortest_form() {
        for (der, read) in [
            (&[4u8, 1, 9][..], Some((4, &[9u8][..]))),
            (&[4, 0x81, 1, 9], None),
            (&[4, 0x80, 9, 0, 0], None),
            (&[4, 0x84, 0, 0, 0, 1, 9], None),
            (&[4, 0x82, 0, 0x80], None),
            (&[0x1f, 1, 9], None),
            (&[4, 2, 9], None),
        ] {
            assert_eq!(Der(der).next(), read, "{der:?}");
        }
    }

    #[test]
    fn a_time_is_read_to_the_second() {
        let moment = |tag, text: &str| time(tag, text.as_bytes()).map(|at| at / 1_000_000);
        assert_eq!(moment(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(moment(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(moment(UTC_TIME, "500101000000Z"), Some(-631_152_000));
        assert_eq!(moment(GENERALIZED_TIME, "20000229120000Z"), Some(951_825_600));
        assert_eq!(moment(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        for bad in
            ["19000229000000Z", "20250230000000Z", "20250100000000Z", "20250101240000Z", "2025010100000Z"]
        {
            assert_eq!(moment(GENERALIZED_TIME, bad), None, "{bad}");
        }
        assert_eq!(moment(UTC_TIME, "250101000000"), None);
        assert_eq!(moment(UTC_TIME, "2501010000-1Z"), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            let _ = read(&bytes, [0; 32]);
        }

        #[test]
        fn a_changed_byte_never_panics(at: proptest::sample::Index, byte: u8) {
            let mut bytes = example();
            *at.get_mut(&mut bytes) = byte;
            let leaf = read(&bytes, [0; 32]);
            prop_assert!(leaf.names.len() <= MAX_NAMES);
        }
    }
}
