//! HTTP/1.1, one connection a request: small, so that a test can send exactly the bytes it means to, right or wrong.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

/// Where requests go: an address, and how its TLS is done (none: plain TCP).
#[derive(Clone)]
pub struct Endpoint {
    /// The socket that is dialled.
    pub address: SocketAddr,
    /// TLS settings and the name that the certificate must have.
    pub tls: Option<(Arc<ClientConfig>, String)>,
}

/// A request, as it will be written. `Host`, `Content-Length` and `Connection` are added.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, POST, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// In this order, as they are.
    pub headers: Vec<(String, String)>,
    /// Any bytes.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &str, target: &str) -> Request {
        Request { method: method.into(), target: target.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// The same with one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with this body.
    #[must_use]
    pub fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self.header("Content-Type", kind)
    }
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Response {
    /// What was asked, for messages.
    pub asked: String,
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, unchunked.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics with the answer when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.describe()))
    }

    /// This answer, if it has that status; panics with it otherwise.
    #[must_use]
    pub fn expect(self, status: u16) -> Response {
        assert_eq!(self.status, status, "{}", self.describe());
        self
    }

    /// What was asked and answered, for a message.
    pub fn describe(&self) -> String {
        let text: String = self.text().chars().take(2000).collect();
        format!("{} → {}\n{text}", self.asked, self.status)
    }
}

impl Endpoint {
    /// Sends the request and reads the answer. An answer that comes before the whole body was taken counts too.
    pub fn send(&self, request: &Request) -> io::Result<Response> {
        let asked = format!("{} {}", request.method, request.target);
        self.send_raw(&asked, self.head(request, "close").as_bytes(), &request.body)
    }

    /// What stands before the body.
    pub(crate) fn head(&self, request: &Request, connection: &str) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.target, self.host());
        for (name, value) in &request.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !request.body.is_empty() || request.method != "GET" {
            head += &format!("Content-Length: {}\r\n", request.body.len());
        }
        head + &format!("Connection: {connection}\r\n\r\n")
    }

    /// Sends these bytes as they are.
    pub fn send_raw(&self, asked: &str, head: &[u8], body: &[u8]) -> io::Result<Response> {
        let socket = TcpStream::connect_timeout(&self.address, Duration::from_secs(10))?;
        socket.set_read_timeout(Some(Duration::from_secs(90)))?;
        socket.set_write_timeout(Some(Duration::from_secs(90)))?;
        socket.set_nodelay(true)?;
        let Some((config, name)) = &self.tls else {
            let mut socket = socket;
            let sent = socket.write_all(head).and_then(|()| socket.write_all(body));
            return answer(read(BufReader::new(socket), asked), sent);
        };
        let name = ServerName::try_from(name.clone()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        let mut stream = Secure::new(StreamOwned::new(session, socket));
        let sent = stream.write_all(head).and_then(|()| stream.write_all(body)).and_then(|()| stream.flush());
        answer(read(BufReader::new(stream), asked), sent)
    }

    fn host(&self) -> String {
        self.address.to_string()
    }
}

/// The answer; if there is none, why the request could not be sent, if it could not.
pub(crate) fn answer(read: io::Result<Response>, sent: io::Result<()>) -> io::Result<Response> {
    read.map_err(|error| sent.err().unwrap_or(error))
}

/// A TLS stream that is still read when the other side has stopped reading: what it said before may lie in the socket.
pub(crate) struct Secure {
    stream: StreamOwned<ClientConnection, TcpStream>,
    only_read: bool,
}

impl Secure {
    pub(crate) fn new(stream: StreamOwned<ClientConnection, TcpStream>) -> Secure {
        Secure { stream, only_read: false }
    }

    fn sent<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        self.only_read |= outcome.is_err();
        outcome
    }
}

impl Write for Secure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.stream.write(bytes);
        self.sent(outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.stream.flush();
        self.sent(outcome)
    }
}

impl Read for Secure {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.only_read {
            return self.stream.read(buffer);
        }
        // rustls' own reading would first try to send what is left.
        loop {
            match self.stream.conn.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            if self.stream.conn.read_tls(&mut self.stream.sock)? == 0 {
                return Ok(0);
            }
            self.stream.conn.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

/// Reads one answer.
pub(crate) fn read(mut stream: impl BufRead, asked: &str) -> io::Result<Response> {
    let bad = |what: &str| io::Error::new(ErrorKind::InvalidData, format!("{asked}: {what}"));
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status =
        line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| bad("no status line"))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut answer = Response { asked: asked.into(), status, headers, body: Vec::new() };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = chunks(&mut stream).map_err(|_| bad("a broken chunk"))?;
    } else if let Some(length) = answer.header("content-length") {
        let length = length.parse().map_err(|_| bad("Content-Length is no number"))?;
        answer.body.resize(length, 0);
        stream.read_exact(&mut answer.body)?;
    }
    Ok(answer)
}

fn chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        line.clear();
        stream.read_line(&mut line)?;
        if size == 0 {
            return Ok(body);
        }
    }
}
