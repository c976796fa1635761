//! The way to a receiver. A batch has arrived only when the receiver said so: a webhook by its status, a syslog server
//! over TCP and TLS by ending the connection after it has our end of it ([`super::arrival`]), for syslog has no other
//! answer. Over UDP nobody ever says so.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use zeroize::Zeroizing;

use super::message::Message;
use super::{Body as Form, Kind, arrival};
use crate::clock::Timestamp;
use crate::outward::{self, Url};

/// How long one batch may take, from the name's look-up to the receiver's answer.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes of a datagram: what the smallest IPv6 path carries without fragments is 1,232; RFC 5426 asks for 2,048
/// to be read. A longer entry is cut there, which TCP, TLS and the webhook never do.
const DATAGRAM_MAX: usize = 2_048;

/// A receiver, with its secret opened.
#[derive(Clone)]
pub struct Target {
    /// How it is spoken to.
    pub kind: Kind,
    /// Its host and port, or URL.
    pub address: String,
    /// How entries are written.
    pub body: Form,
    /// PEM of who signs its certificate.
    pub ca: String,
    /// The webhook's secret.
    pub secret: Zeroizing<Vec<u8>>,
}

/// Why a batch did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody there, cut off, or a certificate that is not the CA's.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It took longer than [`PATIENCE`].
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Slow,
    /// An answer that is no success.
    #[error("the receiver answered {0}")]
    Status(u16),
    /// What is kept of the receiver cannot be used.
    #[error("{0}")]
    Settings(String),
}

impl Target {
    /// Sends a batch, in order.
    ///
    /// # Errors
    /// [`Failure`]: then none, some or all of it may have arrived, and it is to be sent again.
    pub async fn send(&self, host: &str, messages: &[Message], now: Timestamp) -> Result<(), Failure> {
        let work = async {
            match self.kind {
                Kind::SyslogUdp => self.datagrams(host, messages).await,
                Kind::SyslogTcp => {
                    let stream = TcpStream::connect(&self.address).await?;
                    Ok(arrival::plain(stream, &self.framed(host, messages)).await?)
                }
                Kind::SyslogTls => {
                    let config = outward::trusting(&self.ca).map_err(Failure::Settings)?;
                    let stream = outward::secured(&self.address, &config).await?;
                    Ok(arrival::secure(stream, &self.framed(host, messages)).await?)
                }
                Kind::Webhook => self.post(messages, now).await,
            }
        };
        tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(Failure::Slow))
    }

    fn text(&self, message: &Message) -> String {
        match self.body {
            Form::Json => message.json(),
            Form::Cef => message.cef(),
        }
    }

    /// Octet counting (RFC 6587, 3.4.1): an entry may hold anything and cannot be mistaken for two.
    fn framed(&self, host: &str, messages: &[Message]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            let text = message.syslog(host, &self.text(message));
            bytes.extend_from_slice(format!("{} {text}", text.len()).as_bytes());
        }
        bytes
    }

    async fn datagrams(&self, host: &str, messages: &[Message]) -> Result<(), Failure> {
        let to = lookup_host(&self.address).await?.next();
        let to = to.ok_or_else(|| Failure::Settings(format!("{} has no address", self.address)))?;
        let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(from).await?;
        socket.connect(to).await?;
        for message in messages {
            let text = message.syslog(host, &self.text(message));
            socket.send(&text.as_bytes()[..text.floor_char_boundary(DATAGRAM_MAX)]).await?;
        }
        Ok(())
    }

    async fn post(&self, messages: &[Message], now: Timestamp) -> Result<(), Failure> {
        let url = Url::parse(&self.address).map_err(Failure::Settings)?;
        let entries: Vec<String> = messages.iter().map(|message| self.text(message)).collect();
        let body = match self.body {
            Form::Json => format!("{{\"entries\":[{}]}}", entries.join(",")),
            Form::Cef => entries.join("\n"),
        };
        let request = Request::post(&url.path)
            .header(header::HOST, &url.authority)
            .header(header::CONTENT_TYPE, self.body.media())
            .header(header::USER_AGENT, concat!("portolan/", env!("CARGO_PKG_VERSION")))
            .header("portolan-signature", signature(&self.secret, now, body.as_bytes()))
            .body(Body::from(body))
            .map_err(|error| Failure::Settings(error.to_string()))?;
        let config =
            url.secure.then(|| outward::trusting(&self.ca)).transpose().map_err(Failure::Settings)?;
        let answer = outward::ask(&url, config.as_ref(), request).await?;
        let status = answer.status().as_u16();
        if (200..300).contains(&status) { Ok(()) } else { Err(Failure::Status(status)) }
    }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA-256 with the webhook's secret over the seconds (UTC, since 1970), a point and the body. The
/// time is covered so that a receiver can refuse what is sent again much later.
fn signature(secret: &[u8], now: Timestamp, body: &[u8]) -> String {
    let seconds = (now.micros() / 1_000_000).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(seconds.as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("t={seconds},v1={}", portolan_scanner::wire::hex::encode(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_time_and_body() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let one = signature(b"key", at(1), b"body");
        // HMAC-SHA-256 of "1.body" under "key", by openssl dgst.
        assert_eq!(one, "t=1,v1=91b5374b153842ad05b2c4eab9349b8321b14703165bd3fb8b034dfb8be98ae5");
        assert_ne!(one, signature(b"key", at(2), b"body"));
        assert_ne!(one, signature(b"yek", at(1), b"body"));
    }
}
