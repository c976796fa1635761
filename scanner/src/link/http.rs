//! A small, strict reader and writer of HTTP/1.1, for the one server it talks to.
//!
//! What is read: a status line, at most 64 header lines in 16 KiB, a body of exactly `Content-Length` bytes. What is
//! not: chunked bodies, interim answers, continued lines, bare line feeds. Everything is bounded before it is kept.

use std::io::{self, Read};

use super::Error;
use crate::net::decimal;

/// The greatest head of an answer, in bytes.
pub const MAX_HEAD: usize = 16 << 10;

const MAX_HEADERS: usize = 64;

/// The status line and the header lines of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// From 200 to 599.
    pub status: u16,
    /// Names in lower case, each at most once where it matters.
    pub headers: Vec<(String, String)>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// From 200 to 599.
    pub status: u16,
    /// As many bytes as the head said.
    pub body: Vec<u8>,
    /// Whether the connection may be used again.
    pub keep: bool,
}

/// The connection ended before the first byte of an answer.
pub(super) fn closed() -> Error {
    Error::Network(io::Error::new(io::ErrorKind::NotConnected, "the connection was closed"))
}

/// Whether an error is [`closed`].
pub(super) fn is_closed(error: &Error) -> bool {
    matches!(error, Error::Network(error) if error.kind() == io::ErrorKind::NotConnected)
}

fn malformed(what: &str) -> Error {
    Error::Protocol(what.into())
}

fn too_large() -> Error {
    malformed("it is too large")
}

impl Head {
    /// Reads a head, its last empty line included, and nothing behind it.
    ///
    /// # Errors
    /// [`Error::Protocol`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_HEAD {
            return Err(too_large());
        }
        let text = str::from_utf8(bytes).map_err(|_| malformed("the head is not text"))?;
        let text = text.strip_suffix("\r\n\r\n").ok_or_else(|| malformed("the head does not end"))?;
        let mut lines = text.split("\r\n");
        let status = status(lines.next().unwrap_or_default())
            .ok_or_else(|| malformed("not an HTTP/1.1 status line"))?;
        let mut headers = Vec::new();
        for line in lines {
            if headers.len() == MAX_HEADERS {
                return Err(too_large());
            }
            headers.push(header(line).ok_or_else(|| malformed("a header line cannot be read"))?);
        }
        Ok(Self { status, headers })
    }

    /// The value of a header that may be there once.
    fn once(&self, name: &str) -> Result<Option<&str>, Error> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_some() { Err(malformed("a header is there twice")) } else { Ok(value) }
    }

    /// How long the body is.
    fn body_length(&self) -> Result<usize, Error> {
        if self.once("transfer-encoding")?.is_some() || self.once("content-encoding")?.is_some() {
            return Err(malformed("an encoded body is not read here"));
        }
        match self.once("content-length")? {
            None if self.status == 204 => Ok(0),
            value => value
                .and_then(decimal)
                .map(|length| length as usize)
                .ok_or_else(|| malformed("the content length is missing or no number")),
        }
    }
}

fn status(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("HTTP/1.1 ")?;
    let (code, reason) = (rest.get(..3)?, rest.get(3..)?);
    let digits = code.bytes().all(|b| b.is_ascii_digit());
    let proper =
        digits && (reason.is_empty() || reason.starts_with(' ')) && !line.chars().any(char::is_control);
    code.parse().ok().filter(|code| proper && (200..600).contains(code))
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let value = value.trim_matches([' ', '\t']);
    let proper =
        !name.is_empty() && name.bytes().all(token) && !value.chars().any(|c| c.is_control() && c != '\t');
    proper.then(|| (name.to_ascii_lowercase(), value.to_owned()))
}

/// Reads one answer, with a body of at most `max_body` bytes.
///
/// # Errors
/// [`Error::Network`], [`closed`] among them, or [`Error::Protocol`]; the connection is of no more use then.
pub fn read_response(stream: &mut impl Read, max_body: usize) -> Result<Response, Error> {
    let mut bytes = Vec::new();
    let end = loop {
        let from = bytes.len().saturating_sub(3);
        if fill(stream, &mut bytes)? == 0 {
            return Err(if bytes.is_empty() { closed() } else { malformed("the head was cut off") });
        }
        if let Some(at) = bytes[from..].windows(4).position(|four| four == b"\r\n\r\n") {
            break from + at + 4;
        }
        if bytes.len() > MAX_HEAD {
            return Err(too_large());
        }
    };
    let head = Head::parse(&bytes[..end])?;
    let length = head.body_length()?;
    if length > max_body {
        return Err(too_large());
    }
    let mut body = bytes.split_off(end);
    while body.len() < length {
        if fill(stream, &mut body)? == 0 {
            return Err(malformed("the body was cut off"));
        }
    }
    if body.len() > length {
        return Err(malformed("more came than was announced"));
    }
    let close = head.once("connection")?.is_some_and(|value| !value.eq_ignore_ascii_case("keep-alive"));
    Ok(Response { status: head.status, body, keep: !close })
}

fn fill(stream: &mut impl Read, bytes: &mut Vec<u8>) -> Result<usize, Error> {
    let mut piece = [0; 4096];
    let count = stream.read(&mut piece).map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof if bytes.is_empty() => closed(),
        _ => Error::Network(error),
    })?;
    bytes.extend_from_slice(&piece[..count]);
    Ok(count)
}

/// Writes a request. Neither names nor values may hold line ends; a control character in a value becomes a space.
pub fn request(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("POST {path} HTTP/1.1\r\n");
    for (name, value) in headers {
        let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        head.extend([name, ": ", &value, "\r\n"]);
    }
    head.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n"]);
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Response, Error> {
        read_response(&mut text.as_bytes(), 100)
    }

    #[test]
    fn an_answer_is_read() {
        let answer = read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\ndate: now\r\n\r\nhello").unwrap();
        assert_eq!(answer, Response { status: 200, body: b"hello".to_vec(), keep: true });
        let answer = read("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
        assert_eq!(answer, Response { status: 204, body: Vec::new(), keep: false });
    }

    #[test]
    fn what_is_not_read_is_refused() {
        for bad in [
            "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 +20 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\ncontent-length: 0\n\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n folded: yes\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0",
        ] {
            assert!(matches!(read(bad), Err(Error::Protocol(_))), "{bad:?}");
        }
        assert!(is_closed(&read("").unwrap_err()));
    }

    fn is_too_large(answer: &str) -> bool {
        read(answer).unwrap_err().to_string().contains("too large")
    }

    #[test]
    fn a_large_answer_is_refused_before_it_is_kept() {
        assert!(is_too_large("HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n"));
        let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(MAX_HEAD));
        assert!(is_too_large(&head));
        let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(MAX_HEADERS));
        assert!(is_too_large(&many));
    }

    #[test]
    fn a_value_cannot_make_another_header() {
        let request = String::from_utf8(request("/x", &[("A", "b\r\nEvil: yes")], b"")).unwrap();
        assert_eq!(request, "POST /x HTTP/1.1\r\nA: b  Evil: yes\r\nContent-Length: 0\r\n\r\n");
    }

    /// Gives its bytes in pieces of these sizes.
    struct Pieces<'a>(&'a [u8], Vec<usize>);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let size = self.1.pop().unwrap_or(1).clamp(1, into.len()).min(self.0.len());
            into[..size].copy_from_slice(&self.0[..size]);
            self.0 = &self.0[size..];
            Ok(size)
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>, tail in "\\PC{0,60}") {
            let _ = read_response(&mut bytes.as_slice(), 100);
            let _ = read(&format!("HTTP/1.1 200 OK\r\n{tail}\r\n\r\n"));
            let _ = read(&format!("HTTP/1.1 200 OK\r\ncontent-length:{tail}\r\n\r\n"));
        }

        #[test]
        fn the_pieces_it_comes_in_do_not_matter(body in "[a-z]{0,90}", sizes in proptest::collection::vec(1usize..40, 0..20)) {
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let whole = read(&text).unwrap();
            let pieces = read_response(&mut Pieces(text.as_bytes(), sizes), 100).unwrap();
            prop_assert_eq!(whole, pieces);
        }
    }
}
