//! A TLS listener that drains before it ends.

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::ServerConfig;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// How long requests under way may go on after a stop was asked for.
pub const DRAIN: Duration = Duration::from_secs(15);

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
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }
}

/// Serves until `stop` resolves, then takes no new connection and gives those under way [`DRAIN`].
///
/// # Errors
/// The socket's.
pub async fn serve(
    listener: Listener,
    tls: Arc<ServerConfig>,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let handle = Handle::new();
    let ends = handle.clone();
    tokio::spawn(async move {
        stop.await;
        ends.graceful_shutdown(Some(DRAIN));
    });
    let acceptor =
        RustlsAcceptor::new(RustlsConfig::from_config(tls)).handshake_timeout(Duration::from_secs(10));
    let mut server = axum_server::from_tcp(listener.socket)?.acceptor(acceptor).handle(handle);
    server
        .http_builder()
        .http1()
        .timer(hyper_timer())
        .header_read_timeout(Duration::from_secs(10))
        .max_buf_size(64 * 1024);
    server.serve(router.into_make_service_with_connect_info::<SocketAddr>()).await
}

fn hyper_timer() -> hyper_util::rt::TokioTimer {
    hyper_util::rt::TokioTimer::new()
}
