//! When what was said over a connection has arrived, for a protocol without answers. We say all, end our direction, and
//! wait: first until the other end's kernel has acknowledged our end, and so everything before it; then until the other
//! end closes, which a syslog server does when it has read that far. A server that goes before it has read all makes its
//! kernel reset the connection, or has ended it before it had our end: neither counts. Over TLS the other end must say
//! that it closes (`close_notify`, RFC 8446, 6.1): else whoever is on the wire could swallow all and hang up.
//!
//! What this cannot know is whether the server keeps what it has read.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The first wait before the kernel is asked again, which doubles up to the second one.
const LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// Says this over a connection, in the clear. Returns when it has arrived.
///
/// # Errors
/// When it is not known to have: some of it, all of it or none may have.
pub async fn plain(mut stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
    let ends = (stream.local_addr()?, stream.peer_addr()?);
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    acknowledged(ends).await?;
    until_closed(&mut stream).await
}

/// The same over TLS.
///
/// # Errors
/// As [`plain`].
pub async fn secure(mut stream: TlsStream<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    let ends = (stream.get_ref().0.local_addr()?, stream.get_ref().0.peer_addr()?);
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    acknowledged(ends).await?;
    until_closed(&mut stream).await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(
            error.kind(),
            "the connection was cut before the server said that it closes it: what was sent may not be there",
        ),
        _ => error,
    })?;
    // Behind the last word of TLS: a server that had something unread is found out by the reset.
    until_closed(stream.get_mut().0).await
}

async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut heard = [0; 512];
    while stream.read(&mut heard).await? > 0 {}
    Ok(())
}

/// Waits until the other end has acknowledged our end of the connection.
async fn acknowledged((ours, theirs): (SocketAddr, SocketAddr)) -> io::Result<()> {
    let table = if ours.is_ipv4() { "/proc/self/net/tcp" } else { "/proc/self/net/tcp6" };
    let mut rest = LOOK.0;
    loop {
        match place(&fs::read_to_string(table)?, ours, theirs) {
            Place::Waiting => {}
            Place::Acknowledged => return Ok(()),
            Place::Over => {
                return Err(io::Error::new(
                    io::ErrorKind::ConnectionAborted,
                    "the server ended the connection before it had all of it",
                ));
            }
        }
        tokio::time::sleep(rest).await;
        rest = (rest * 2).min(LOOK.1);
    }
}

/// How far the end that we said has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It, or something before it, is not acknowledged.
    Waiting,
    /// It is, and so is all before it.
    Acknowledged,
    /// The other end ended the connection before it had ours, or reset it.
    Over,
}

/// Reads that from the kernel's table of connections (proc(5), `/proc/net/tcp`): its fourth column is the state, in the
/// numbers of `net/tcp_states.h`.
fn place(table: &str, ours: SocketAddr, theirs: SocketAddr) -> Place {
    let (ours, theirs) = (written(ours), written(theirs));
    let mut states = table.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        (words.next()? == ours && words.next()? == theirs).then(|| words.next())?
    });
    match states.next() {
        // Still being sent, or FIN_WAIT1.
        Some("01" | "04") => Place::Waiting,
        // FIN_WAIT2, TIME_WAIT.
        Some("05" | "06") => Place::Acknowledged,
        // Theirs came first (CLOSE_WAIT, LAST_ACK, CLOSING), or there is no connection any more.
        _ => Place::Over,
    }
}

/// An address as that table spells it: words of four bytes in the machine's own order, in hex, and the port.
fn written(address: SocketAddr) -> String {
    let bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = bytes.as_chunks::<4>().0.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word)));
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::{TcpListener, TcpSocket};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::{outward, tls};

    #[test]
    fn the_table_of_the_kernel_is_read_by_both_ends() {
        let table =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0100007F:C350 0100007F:0202 04 00000400:00000000 00:00000000 00000000     0        0 2
   2: 0100007F:C351 0100007F:0202 05 00000000:00000000 00:00000000 00000000     0        0 3
   3: 0100007F:C352 0100007F:0202 09 00000400:00000000 00:00000000 00000000     0        0 4
";
        let at =
            |port| place(table, SocketAddr::from(([127, 0, 0, 1], port)), "127.0.0.1:514".parse().unwrap());
        assert_eq!(
            [50_000, 50_001, 50_002, 50_003].map(at),
            [Place::Waiting, Place::Acknowledged, Place::Over, Place::Over]
        );
        assert_eq!(written("[::1]:514".parse().unwrap()), "00000000000000000000000001000000:0202");
    }

    async fn on(address: &str) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(address).await.unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    #[tokio::test]
    async fn what_was_read_to_its_end_has_arrived() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (listener, at) = on(address).await;
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut said = Vec::new();
                stream.read_to_end(&mut said).await.unwrap();
                said.len()
            });
            let stream = TcpStream::connect(at).await.unwrap();
            plain(stream, &vec![b'x'; 3_000_000]).await.unwrap();
            assert_eq!(server.await.unwrap(), 3_000_000);
        }
    }

    /// As one that is stopped in the middle of a batch: its end comes before it has ours.
    #[tokio::test]
    async fn a_server_that_ends_before_it_has_all_has_not_got_it() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let at = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.shutdown().await.unwrap();
            stream
        });
        let stream = TcpStream::connect(at).await.unwrap();
        let failed = plain(stream, &vec![b'x'; 100_000]).await.unwrap_err();
        assert!(failed.to_string().contains("before it had all of it"), "{failed}");
        drop(server.await.unwrap());
    }

    /// A server with a certificate of its own; the authority to be trusted, and what it does with a connection that read
    /// the first piece.
    async fn over_tls(polite: bool) -> io::Result<()> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let (listener, at) = on("127.0.0.1:0").await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
            if polite {
                stream.read_to_end(&mut Vec::new()).await.unwrap();
                stream.shutdown().await.unwrap();
            } else {
                // All of it is swallowed, and the end is the connection's alone: what someone on the wire can do.
                let (raw, _) = stream.get_mut();
                raw.read_to_end(&mut Vec::new()).await.unwrap();
                raw.shutdown().await.unwrap();
            }
        });
        let trusted = outward::trusting(&made.cert.pem()).unwrap();
        let stream = outward::secured(&at.to_string(), &trusted).await.unwrap();
        secure(stream, &b"x".repeat(100_000)).await
    }

    #[tokio::test]
    async fn a_tls_connection_that_is_cut_is_no_arrival_and_one_that_is_closed_is() {
        over_tls(true).await.unwrap();
        let cut = over_tls(false).await.unwrap_err();
        assert!(cut.to_string().contains("was cut"), "{cut}");
    }
}
