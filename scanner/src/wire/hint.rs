//! Service hints: what an open port said of itself, bounded and escaped.
//!
//! All of it comes from a peer that may be hostile, so a text is kept as it may be shown: never a control byte.

use std::fmt::{self, Write as _};

use super::hex::{self, Hex};
use super::lines::{self, line};
use super::{Error, HostRecord, Reason};

/// The greatest text that is kept of a peer, in its own bytes.
pub const MAX_TEXT: usize = 256;
/// The greatest name that is kept of a certificate, in its own bytes: that of a DNS name.
pub const MAX_NAME: usize = 253;
/// The most names that are kept of a certificate.
pub const MAX_NAMES: usize = 32;
/// The most bytes of body lines that the hints of one host take. A frame with 65,535 open ports still has room.
pub const MAX_HINTS: usize = 512 << 10;

/// Bytes from a peer as they may be shown: printable ASCII stands for itself, a backslash is `\\`, and every other
/// byte is `\x` with two lower-case hexadecimal digits. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(String);

impl Text {
    /// The first `most` bytes of these; `None` if there are none.
    pub fn escape(bytes: &[u8], most: usize) -> Option<Self> {
        let mut text = String::new();
        for byte in &bytes[..bytes.len().min(most)] {
            match byte {
                b'\\' => text.push_str("\\\\"),
                b' '..=b'~' => text.push(char::from(*byte)),
                _ => write!(text, "\\x{byte:02x}").expect("writing to a String does not fail"),
            }
        }
        (!text.is_empty()).then_some(Self(text))
    }

    /// Reads a text of at most `most` bytes in its one spelling.
    fn parse(text: &str, most: usize) -> Option<Self> {
        Self::escape(&unescape(text)?, most).filter(|proper| proper.0 == text)
    }

    /// As it is written and may be shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes that the peer sent. They may be anything.
    pub fn bytes(&self) -> Vec<u8> {
        unescape(&self.0).expect("a text is only made of what can be read")
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match (first, rest) {
            (b'\\', [b'\\', after @ ..]) => {
                rest = after;
                b'\\'
            }
            (b'\\', [b'x', high, low, after @ ..]) => {
                rest = after;
                hex::decode::<1>(str::from_utf8(&[*high, *low]).ok()?).ok()?[0]
            }
            (b'\\', _) => return None,
            (byte, _) => *byte,
        });
    }
    Some(bytes)
}

/// What one open port said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The port, which is open.
    pub port: u16,
    /// What was learned there.
    pub said: Said,
}

/// What was learned: a peer that speaks first is not asked for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The beginning of what it said unasked; at most [`MAX_TEXT`] bytes.
    Banner(Text),
    /// The certificate that it showed in a TLS handshake. Nothing of it is verified.
    Certificate(Certificate),
}

/// The leaf certificate of a TLS server; what could not be read of it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 over the certificate (DER).
    pub sha256: [u8; 32],
    /// When it expires: µs UTC.
    pub expires: Option<i64>,
    /// Its subject as RFC 4514 writes it, UTF-8; at most the first [`MAX_TEXT`] bytes.
    pub subject: Option<Text>,
    /// The DNS names and addresses that it is for, in its order; at most [`MAX_NAMES`] of at most [`MAX_NAME`] bytes.
    pub names: Vec<Text>,
}

impl Hint {
    /// Adds its body lines.
    pub fn write(&self, text: &mut String) {
        match &self.said {
            Said::Banner(said) => line(text, format_args!("says {said}")),
            Said::Certificate(leaf) => {
                line(text, format_args!("tls {}", Hex(leaf.sha256)));
                leaf.expires.iter().for_each(|at| line(text, format_args!("expires {at}")));
                leaf.subject.iter().for_each(|subject| line(text, format_args!("subject {subject}")));
                leaf.names.iter().for_each(|name| line(text, format_args!("name {name}")));
            }
        }
    }
}

/// Whether a body line that begins with this word is one of a hint.
pub fn is_hint(word: &str) -> bool {
    matches!(word, "says" | "tls" | "expires" | "subject" | "name")
}

/// Adds what a body line tells of the port that was read last; `wrong` makes the error of what is wrong with the line.
pub(super) fn read(
    host: &mut HostRecord,
    line: &str,
    wrong: impl Fn(&'static str) -> Error,
) -> Result<(), Error> {
    let port = host.exceptions.last().filter(|run| run.reason == Reason::SynAck).map(|run| run.first);
    let port = port.ok_or_else(|| wrong("a hint belongs to the open port before it"))?;
    let text = |value, most| Text::parse(value, most).ok_or_else(|| wrong("not an escaped text"));
    let (word, value) = line.split_once(' ').unwrap_or((line, ""));
    let hint = host.hints.last_mut().filter(|hint| hint.port == port);
    match (word, hint.map(|hint| &mut hint.said)) {
        ("says", None) => {
            host.hints.push(Hint { port, said: Said::Banner(text(value, MAX_TEXT)?) });
        }
        ("tls", None) => {
            let sha256 = lines::value::<Hex<32>>("tls", value)?.0;
            let leaf = Certificate { sha256, expires: None, subject: None, names: Vec::new() };
            host.hints.push(Hint { port, said: Said::Certificate(leaf) });
        }
        ("expires", Some(Said::Certificate(leaf)))
            if leaf.expires.is_none() && leaf.subject.is_none() && leaf.names.is_empty() =>
        {
            leaf.expires = Some(lines::value("expires", value)?);
        }
        ("subject", Some(Said::Certificate(leaf))) if leaf.subject.is_none() && leaf.names.is_empty() => {
            leaf.subject = Some(text(value, MAX_TEXT)?);
        }
        ("name", Some(Said::Certificate(leaf))) if leaf.names.len() < MAX_NAMES => {
            leaf.names.push(text(value, MAX_NAME)?);
        }
        _ => return Err(wrong("this line of a hint cannot stand here")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::results::parse_hosts;

    #[test]
    fn nothing_a_peer_sends_is_shown_raw() {
        let text = Text::escape(b"\x1b[31mred\r\n\\ \xff", MAX_TEXT).unwrap();
        assert_eq!(text.as_str(), "\\x1b[31mred\\x0d\\x0a\\\\ \\xff");
        assert_eq!(text.bytes(), b"\x1b[31mred\r\n\\ \xff");
        let all: Vec<u8> = (0..=255).collect();
        let text = Text::escape(&all, MAX_TEXT).unwrap();
        assert!(text.as_str().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert_eq!(text.bytes(), all);
        assert_eq!(Text::escape(&[], MAX_TEXT), None);
        assert_eq!(Text::escape(&[b'a'; 300], MAX_TEXT).unwrap().as_str().len(), MAX_TEXT);
    }

    #[test]
    fn a_hint_line_that_cannot_stand_is_refused() {
        let open = "host 10.0.0.1 closed refused\nport 22 open syn-ack 1\n";
        let tls = format!("tls {}\n", "ab".repeat(32));
        let good = [
            "says SSH-2.0\n".to_owned(),
            tls.clone(),
            format!("{tls}expires -5\nsubject CN=a b\nname a\nname b\n"),
            format!("{tls}name 10.0.0.1\n"),
            format!("says {}\n", "\\x00".repeat(MAX_TEXT)),
            tls.clone() + &"name a\n".repeat(MAX_NAMES),
        ];
        for lines in good {
            let hosts = parse_hosts(&format!("{open}{lines}port 23 open syn-ack 2\nsays x\n")).unwrap();
            assert_eq!(hosts[0].hints.len(), 2, "{lines}");
        }
        let bad = [
            "says\n".to_owned(),
            "says \n".to_owned(),
            "says a\nsays b\n".to_owned(),
            "says a\\b\n".to_owned(),
            "says \\x41\n".to_owned(),
            "says \\xAB\n".to_owned(),
            "says \\x1\n".to_owned(),
            "says \u{e9}\n".to_owned(),
            "says a\tb\n".to_owned(),
            format!("says {}\n", "a".repeat(MAX_TEXT + 1)),
            format!("says a\n{tls}"),
            "expires 1\n".to_owned(),
            "subject CN=a\n".to_owned(),
            "says a\nname b\n".to_owned(),
            format!("{tls}{tls}"),
            format!("{tls}says a\n"),
            format!("{tls}expires 01\n"),
            format!("{tls}expires 1\nexpires 1\n"),
            format!("{tls}subject CN=a\nexpires 1\n"),
            format!("{tls}subject CN=a\nsubject CN=a\n"),
            format!("{tls}name a\nsubject CN=a\n"),
            format!("{tls}name \n"),
            format!("{tls}name {}\n", "a".repeat(MAX_NAME + 1)),
            tls.clone() + &"name a\n".repeat(MAX_NAMES + 1),
            tls.to_uppercase().replace("TLS", "tls"),
            "port 23 filtered no-answer\nsays a\n".to_owned(),
        ];
        for lines in bad {
            assert!(parse_hosts(&format!("{open}{lines}")).is_err(), "{lines}");
        }
        assert!(parse_hosts("says a\n").is_err());
        assert!(parse_hosts("host 10.0.0.1 closed refused\nsays a\n").is_err());
        assert!(parse_hosts("hosts 10.0.0.1-10.0.0.2 closed refused\nsays a\n").is_err());
    }

    #[test]
    fn the_hints_of_a_host_have_a_bound() {
        let lines = |port: u16| format!("port {port} open syn-ack 1\nsays {}\n", "\\x00".repeat(MAX_TEXT));
        let most = u16::try_from(MAX_HINTS / (4 * MAX_TEXT + 6)).unwrap();
        let hosts = |most| format!("host ::1 closed refused\n{}", (1..=most).map(lines).collect::<String>());
        let refused =
            Err(Error::Body { line: 2 * usize::from(most) + 3, what: "more hints than a host may have" });
        assert_eq!(parse_hosts(&hosts(most)).unwrap()[0].hints.len(), usize::from(most));
        assert_eq!(parse_hosts(&hosts(most + 1)), refused);
        let two = hosts(most) + &hosts(most).replace("::1", "::2");
        assert_eq!(parse_hosts(&two).unwrap().len(), 2, "each host has its own");
    }
}
