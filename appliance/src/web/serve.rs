//! A TLS listener that drains before it ends.

use super::connections::Connections;
use super::intake::{Intake, Peer};
use axum::Router;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use rustls::ServerConfig;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// How long who was just taken has to send the first request, after a stop was asked for.
const FIRST: Duration = Duration::from_secs(3);
/// How long requests under way may go on then: 15 s in all.
const DRAIN: Duration = Duration::from_secs(12);

/// How long a client may take for the handshake, then to its first request, then for the head of each request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests of one HTTP/2 connection under way at once.
const STREAMS: u32 = 64;

/// A bound socket, and the address it got.
pub struct Listener {
    socket: TcpListener,
    /// Where it listens; with port 0 asked for, the port it got.
    pub address: SocketAddr,
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    /// The address, with the reason it cannot be had.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
        Self::over(socket)
    }

    /// Over a socket that listens already: systemd's.
    ///
    /// # Errors
    /// The socket's.
    pub fn over(socket: TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Whether connections over IPv4 come in here.
    #[must_use]
    pub fn takes_v4(&self) -> bool {
        self.address.is_ipv4() || rustix::net::sockopt::ipv6_v6only(&self.socket).is_ok_and(|only| !only)
    }
}

/// A listener's serving, as others see it. Cheap to clone.
#[derive(Clone)]
pub struct Serving {
    handle: Handle<Peer>,
    tls: RustlsConfig,
}

impl Serving {
    /// Not begun yet; connections will be met with this certificate.
    #[must_use]
    pub fn with(tls: ServerConfig) -> Self {
        Self { handle: Handle::new(), tls: RustlsConfig::from_config(Arc::new(tls)) }
    }

    /// Resolves once connections are taken; false when that will never be.
    pub async fn begun(&self) -> bool {
        self.handle.listening().await.is_some()
    }

    /// New connections are met with this from now on; those that are open go on.
    pub fn renew(&self, tls: ServerConfig) {
        self.tls.reload_from_config(Arc::new(tls));
    }
}

/// Serves until `stop` resolves, then takes no new connection and gives those under way 15 s. Who was taken gets an
/// answer; who comes later waits in the socket, if someone else holds it too.
///
/// # Errors
/// The socket's.
pub async fn serve(
    listener: Listener,
    serving: Serving,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_with(listener, serving, router, stop, PATIENCE, Connections::for_this_process()).await
}

async fn serve_with(
    listener: Listener,
    serving: Serving,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
    patience: Duration,
    connections: Connections,
) -> io::Result<()> {
    let Serving { handle, tls } = serving;
    let ends = handle.clone();
    let (intake, closer) = Intake::over(listener.socket)?;
    tokio::spawn(async move {
        stop.await;
        // The server would drop who is still in the handshake.
        let _ = tokio::time::timeout(FIRST, closer.close()).await;
        ends.graceful_shutdown(Some(DRAIN));
    });
    let newer = tls.get_inner().alpn_protocols.iter().any(|protocol| protocol == b"h2");
    let acceptor = RustlsAcceptor::new(tls).handshake_timeout(patience).acceptor(connections);
    // hyper begins to count only once it knows which HTTP it is: a client that never says is told off here.
    let mut server = Server::<Peer>::from_listener(intake)
        .acceptor(acceptor)
        .handle(handle)
        .first_request_timeout(patience);
    let http = server.http_builder();
    http.http1().timer(hyper_timer()).header_read_timeout(patience).max_buf_size(64 * 1024);
    http.http2()
        .timer(hyper_timer())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(PATIENCE * 3)
        .keep_alive_timeout(PATIENCE);
    // Without this, who begins with HTTP/2's preface gets it, offered or not.
    let server = if newer { server } else { server.http1_only() };
    server.serve(router.into_make_service_with_connect_info::<SocketAddr>()).await
}

fn hyper_timer() -> hyper_util::rt::TokioTimer {
    hyper_util::rt::TokioTimer::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Random;
    use crate::tls::{UiCertificate, provider};
    use rustls::pki_types::CertificateDer;
    use rustls::{ClientConfig, RootCertStore};
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_rustls::client::TlsStream;

    /// A listener with this much patience, and how a client reaches it.
    struct Served {
        address: SocketAddr,
        client: Arc<ClientConfig>,
    }

    impl Served {
        fn start(alpn: &[&[u8]], most: usize) -> Self {
            let certificate = UiCertificate::make(&[], &Random::seeded(1)).unwrap();
            let mut tls = certificate.config().unwrap();
            tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
            let mut roots = RootCertStore::empty();
            let shown: CertificateDer<'static> = certificate.der().unwrap();
            roots.add(shown).unwrap();
            let client = ClientConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let address = listener.address;
            let router = Router::new().fallback(|| async { "here" });
            let (stop, patience) = (std::future::pending(), Duration::from_millis(300));
            tokio::spawn(async move {
                serve_with(listener, Serving::with(tls), router, stop, patience, Connections::at_most(most))
                    .await
            });
            Self { address, client: Arc::new(client) }
        }

        async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
            let connector = tokio_rustls::TlsConnector::from(self.client.clone());
            let stream = TcpStream::connect(self.address).await?;
            connector.connect("localhost".try_into().unwrap(), stream).await
        }
    }

    /// What comes until the other side closes, which it must do soon.
    async fn rest(stream: &mut TlsStream<TcpStream>) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A close without a farewell is a close.
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes))
            .await
            .expect("the other side closes");
        bytes
    }

    #[tokio::test]
    async fn who_says_nothing_is_not_waited_for() {
        let served = Served::start(&[b"h2", b"http/1.1"], 16);
        let mut silent = served.connect().await.unwrap();
        assert!(rest(&mut silent).await.is_empty());
        // Half of HTTP/2's preface leaves open which HTTP it will be.
        let mut undecided = served.connect().await.unwrap();
        undecided.write_all(b"PRI * HT").await.unwrap();
        assert!(rest(&mut undecided).await.is_empty());
        let mut kept = served.connect().await.unwrap();
        kept.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(rest(&mut kept).await.ends_with(b"here"), "idle after an answer");
    }

    #[tokio::test]
    async fn http_2_is_spoken_only_where_it_is_offered() {
        let served = Served::start(&[b"http/1.1"], 16);
        let mut newer = served.connect().await.unwrap();
        newer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let answer = rest(&mut newer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }

    #[tokio::test]
    async fn one_source_cannot_take_every_connection() {
        let served = Served::start(&[b"http/1.1"], 4);
        let first = served.connect().await.unwrap();
        let _second = served.connect().await.unwrap();
        assert!(served.connect().await.is_err(), "half of four are taken");
        drop(first);
        let mut again = None;
        for _ in 0..50 {
            again = served.connect().await.ok();
            if again.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(again.is_some(), "a place was given back");
    }
}
