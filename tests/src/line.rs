//! One connection for many requests, from an address of one's own: for whoever asks often, and for limits by source.

use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tokio::net::TcpSocket;

use crate::http::{Endpoint, Request, Response, Secure, answer, read};

/// A connection that is kept between requests, and made anew when the other side has closed it.
pub struct Line {
    endpoint: Endpoint,
    source: Option<IpAddr>,
    open: Option<BufReader<Box<dyn Both + Send>>>,
}

trait Both: Read + Write {}
impl<T: Read + Write> Both for T {}

impl Line {
    /// To this endpoint; from `source`, or from where the system chooses.
    pub fn new(endpoint: Endpoint, source: Option<IpAddr>) -> Line {
        Line { endpoint, source, open: None }
    }

    /// Sends the request and reads the answer. One that a closed connection swallowed is sent once more.
    pub fn send(&mut self, request: &Request) -> io::Result<Response> {
        let kept = self.open.is_some();
        match self.ask(request) {
            Err(_) if kept => {
                self.open = None;
                self.ask(request)
            }
            answered => answered,
        }
    }

    fn ask(&mut self, request: &Request) -> io::Result<Response> {
        if self.open.is_none() {
            self.open = Some(BufReader::new(self.connect()?));
        }
        let stream = self.open.as_mut().expect("it was just opened");
        let asked = format!("{} {}", request.method, request.target);
        let to = stream.get_mut();
        let head = self.endpoint.head(request, "keep-alive");
        let sent = to
            .write_all(head.as_bytes())
            .and_then(|()| to.write_all(&request.body))
            .and_then(|()| to.flush());
        let cut = sent.is_err();
        let answer = answer(read(stream, &asked), sent);
        if cut || !answer.as_ref().is_ok_and(|answer| answer.header("connection") != Some("close")) {
            self.open = None;
        }
        answer
    }

    fn connect(&self) -> io::Result<Box<dyn Both + Send>> {
        let socket = match self.source {
            None => TcpStream::connect_timeout(&self.endpoint.address, Duration::from_secs(10))?,
            Some(source) => connect_from(source, self.endpoint.address)?,
        };
        socket.set_read_timeout(Some(Duration::from_secs(90)))?;
        socket.set_write_timeout(Some(Duration::from_secs(90)))?;
        socket.set_nodelay(true)?;
        let Some((config, name)) = &self.endpoint.tls else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from(name.clone()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Box::new(Secure::new(StreamOwned::new(session, socket))))
    }
}

/// The standard library cannot choose the address that a connection comes from; tokio can.
fn connect_from(source: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let connected = runtime.block_on(async {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind((source, 0).into())?;
        socket.connect(to).await
    });
    let socket = connected?.into_std()?;
    socket.set_nonblocking(false)?;
    Ok(socket)
}
