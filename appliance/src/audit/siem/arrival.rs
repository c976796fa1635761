//! When what was said over a connection has arrived, for a protocol without answers. We say all, end our direction, and wait
//! until the other end closes, which a syslog server does when it has read that far. Then the kernel is asked whether the
//! other end's kernel acknowledged all of it. A server that goes before it has read all makes its kernel reset the
//! connection, or has ended it before it had all: neither counts.
//!
//! Over TLS the other end must say that it closes (`close_notify`, RFC 8446, 6.1): else whoever is on the wire could swallow
//! all and hang up. That word decides: a server that had ours may end the connection before its kernel has the end of it,
//! which is no more than one packet on the way. Without TLS there is no such word: a server that ended before we did had its
//! own reasons, and gets it again.
//!
//! What this cannot know is whether the server keeps what it has read, or reads what its kernel has when it said all the same
//! that it ends.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::blocking;

/// The first wait before the kernel is asked again, which doubles up to the second one. It is asked once as a rule, and in
/// the time that a batch has no more than forty times.
const LOOK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Says this over a connection, in the clear. Returns when it has arrived.
///
/// # Errors
/// When it is not known to have: some of it, all of it or none may have.
pub async fn plain(mut stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
    let ends = (stream.local_addr()?, stream.peer_addr()?);
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    until_closed(&mut stream).await?;
    match acknowledged(ends).await? {
        Place::Acknowledged => Ok(()),
        _ => Err(too_soon()),
    }
}

/// The same over TLS.
///
/// # Errors
/// As [`plain`].
pub async fn secure(mut stream: TlsStream<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    let ends = (stream.get_ref().0.local_addr()?, stream.get_ref().0.peer_addr()?);
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    until_closed(&mut stream).await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(
            error.kind(),
            "the connection was cut before the server said that it closes it: what was sent may not be there",
        ),
        _ => error,
    })?;
    // Behind the last word of TLS: a server that had something unread is found out by the reset.
    until_closed(stream.get_mut().0).await?;
    let place = acknowledged(ends).await?;
    if let Some(reset) = stream.get_ref().0.take_error()? {
        return Err(reset);
    }
    if place == Place::Early { Err(too_soon()) } else { Ok(()) }
}

fn too_soon() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the server ended the connection before it had all of it",
    )
}

async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut heard = [0; 512];
    while stream.read(&mut heard).await? > 0 {}
    Ok(())
}

/// How it ended, once both ends of the connection have said that they end it and nothing of ours is on the way.
async fn acknowledged((ours, theirs): (SocketAddr, SocketAddr)) -> io::Result<Place> {
    let table = if ours.is_ipv4() { "/proc/self/net/tcp" } else { "/proc/self/net/tcp6" };
    let mut rest = LOOK.0;
    loop {
        // With many connections it is long, and the kernel makes it while it is read.
        let look = move || place(BufReader::new(File::open(table)?), ours, theirs);
        let place = blocking::run(look).await.map_err(io::Error::other)??;
        if place != Place::Waiting {
            return Ok(place);
        }
        tokio::time::sleep(rest).await;
        rest = (rest * 2).min(LOOK.1);
    }
}

/// How far the end that we said has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is not acknowledged, or something before it is not and the other end has not ended.
    Waiting,
    /// It is, and so is all before it, in a connection that we ended first, or both at once.
    Acknowledged,
    /// The other end ended the connection while something that we said before was on the way: it had not got that.
    Early,
    /// The other end ended first, and its connection is over: in order, or by a reset.
    Over,
}

/// Reads that from the kernel's table of connections (proc(5), `/proc/net/tcp`): its fourth column is the state, in the
/// numbers of `net/tcp_states.h`, the fifth begins with how many bytes are not acknowledged, of which our end is one.
fn place(table: impl BufRead, ours: SocketAddr, theirs: SocketAddr) -> io::Result<Place> {
    let (ours, theirs) = (written(ours), written(theirs));
    for line in table.lines() {
        let line = line?;
        let mut words = line.split_ascii_whitespace().skip(1);
        if words.next() != Some(&ours) || words.next() != Some(&theirs) {
            continue;
        }
        let state = words.next().unwrap_or_default();
        let unsaid = words.next().and_then(|word| u64::from_str_radix(word.split(':').next()?, 16).ok());
        return Ok(match state {
            // Still being sent, or FIN_WAIT1.
            "01" | "04" => Place::Waiting,
            // FIN_WAIT2, TIME_WAIT.
            "05" | "06" => Place::Acknowledged,
            // CLOSING, LAST_ACK: theirs came before ours was acknowledged, or before we said it.
            "0B" | "09" if unsaid.is_some_and(|bytes| bytes <= 1) => Place::Waiting,
            "0B" | "09" => Place::Early,
            _ => Place::Over,
        });
    }
    // LAST_ACK ends in nothing.
    Ok(Place::Over)
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
   4: 0100007F:C353 0100007F:0202 0B 00000401:00000000 00:00000000 00000000     0        0 5
   5: 0100007F:C354 0100007F:0202 0B 00000001:00000000 00:00000000 00000000     0        0 6
   6: 0100007F:C355 0100007F:0202 09 00000001:00000000 00:00000000 00000000     0        0 7
   7: 0100007F:C356 0100007F:0202 06 00000000:00000000 00:00000000 00000000     0        0 0
";
        let at = |port| {
            let ours = SocketAddr::from(([127, 0, 0, 1], port));
            place(table.as_bytes(), ours, "127.0.0.1:514".parse().unwrap()).unwrap()
        };
        for (port, is) in [
            (50_000, Place::Waiting),
            (50_001, Place::Acknowledged),
            (50_002, Place::Early),
            (50_003, Place::Early),
            (50_004, Place::Waiting),
            (50_005, Place::Waiting),
            (50_006, Place::Acknowledged),
            (50_007, Place::Over),
        ] {
            assert_eq!(at(port), is, "{port}");
        }
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

    /// What a server does with a connection.
    #[derive(Clone, Copy)]
    enum Does {
        /// Reads to our end, says that it closes, closes.
        Closes,
        /// Swallows all of it; the end is the connection's alone: what someone on the wire can do.
        Cuts,
        /// Says that it closes before it has read anything.
        ClosesEarly,
    }

    /// A server with a certificate of its own, on a socket that holds little, and a connection to it.
    async fn over_tls(does: Does) -> TlsStream<TcpStream> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
            match does {
                Does::Closes => {
                    stream.read_to_end(&mut Vec::new()).await.unwrap();
                    stream.shutdown().await.unwrap();
                }
                Does::Cuts => {
                    let (raw, _) = stream.get_mut();
                    raw.read_to_end(&mut Vec::new()).await.unwrap();
                    raw.shutdown().await.unwrap();
                }
                Does::ClosesEarly => {
                    stream.shutdown().await.unwrap();
                    std::future::pending::<()>().await;
                }
            }
        });
        let trusted = outward::trusting(&made.cert.pem()).unwrap();
        outward::secured(&at.to_string(), &trusted).await.unwrap()
    }

    #[tokio::test]
    async fn a_tls_connection_that_is_cut_is_no_arrival_and_one_that_is_closed_is() {
        let said = b"x".repeat(100_000);
        secure(over_tls(Does::Closes).await, &said).await.unwrap();
        let cut = secure(over_tls(Does::Cuts).await, &said).await.unwrap_err();
        assert!(cut.to_string().contains("was cut"), "{cut}");
        let early = secure(over_tls(Does::ClosesEarly).await, &said).await.unwrap_err();
        assert!(early.to_string().contains("before it had all of it"), "{early}");
    }

    /// As when the server answers our last word before our end of the connection has come.
    #[tokio::test]
    async fn a_tls_server_that_had_all_and_ends_a_moment_before_we_do_has_got_it() {
        let mut stream = over_tls(Does::Closes).await;
        stream.write_all(&b"x".repeat(100_000)).await.unwrap();
        stream.get_mut().1.send_close_notify();
        stream.flush().await.unwrap();
        // Its end is here, ours is not said.
        while stream.get_ref().0.peek(&mut [0]).await.unwrap() > 0 {
            let mut heard = [0; 512];
            while stream.read(&mut heard).await.unwrap() > 0 {}
        }
        secure(stream, &[]).await.unwrap();
    }
}
