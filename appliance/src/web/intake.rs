//! Taking connections, and taking no more of them: who was taken gets an answer to the first request, who comes later
//! waits in the socket for who listens after us. So a restart drops nobody, as long as someone (systemd) keeps the socket.

use axum::extract::connect_info::Connected;
use axum_server::{AddrListener, Address};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::Service;

/// A listener that can be told to take no more.
pub struct Intake {
    listener: TcpListener,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// No more are to be taken.
    closing: watch::Sender<bool>,
    /// No more are taken.
    closed: watch::Sender<bool>,
    /// Connections without a request until now.
    young: watch::Sender<usize>,
}

/// Closes an [`Intake`]. Cheap to clone.
#[derive(Clone)]
pub struct Closer(Arc<State>);

impl Closer {
    /// Takes no more connections; resolves when each that was taken has had its first request begun, or is gone.
    pub async fn close(&self) {
        self.0.closing.send_replace(true);
        // Neither can fail: what they wait for is sent by the state that this holds.
        let _ = self.0.closed.subscribe().wait_for(|closed| *closed).await;
        let _ = self.0.young.subscribe().wait_for(|young| *young == 0).await;
    }
}

impl Intake {
    /// Over a bound socket; inside tokio.
    ///
    /// # Errors
    /// When tokio cannot watch it.
    pub fn over(socket: std::net::TcpListener) -> io::Result<(Self, Closer)> {
        let state = Arc::new(State::default());
        let intake = Self { listener: TcpListener::from_std(socket)?, state: state.clone() };
        Ok((intake, Closer(state)))
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(SocketAddr);

impl Address for Peer {
    type Stream = Arrived;
    type Listener = Intake;
}

impl Connected<Peer> for SocketAddr {
    fn connect_info(peer: Peer) -> Self {
        peer.0
    }
}

impl AddrListener<Arrived, Peer> for Intake {
    async fn bind_to(_: Peer) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "an intake is over a socket that is bound"))
    }

    async fn accept_stream(&self) -> io::Result<(Arrived, Peer)> {
        let mut closing = self.state.closing.subscribe();
        let closing = async move { closing.wait_for(|closing| *closing).await.map(drop) };
        tokio::select! {
            biased;
            _ = closing => {
                self.state.closed.send_replace(true);
                std::future::pending().await
            }
            taken = self.listener.accept() => {
                let (stream, peer) = taken?;
                // An answer goes out at once: held back until the last small piece of the handshake is acknowledged,
                // it comes 40 ms late. Where the system refuses, it comes late.
                let _ = stream.set_nodelay(true);
                self.state.young.send_modify(|young| *young += 1);
                Ok((Arrived { stream, young: Young(self.state.clone()) }, Peer(peer)))
            }
        }
    }

    fn get_local_addr(&self) -> io::Result<Peer> {
        self.listener.local_addr().map(Peer)
    }
}

/// A connection without a request until now.
pub struct Arrived {
    pub(super) stream: TcpStream,
    pub(super) young: Young,
}

/// Counts for a connection as long as it has had no request.
pub struct Young(Arc<State>);

impl Drop for Young {
    fn drop(&mut self) {
        self.0.young.send_modify(|young| *young -= 1);
    }
}

/// A connection's service, which tells of the first request.
#[derive(Clone)]
pub struct Begins<S> {
    service: S,
    young: Arc<Mutex<Option<Young>>>,
}

impl<S> Begins<S> {
    pub(super) fn new(service: S, young: Young) -> Self {
        Self { service, young: Arc::new(Mutex::new(Some(young))) }
    }
}

impl<S: Service<R>, R> Service<R> for Begins<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        drop(self.young.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.service.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_waits_for_no_acknowledgement() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let (intake, _closer) = Intake::over(socket).unwrap();
        let SocketAddr::V4(address) = intake.get_local_addr().unwrap().0 else {
            panic!("it was bound to IPv4")
        };
        let _visitor = TcpStream::connect(address).await.unwrap();
        let (arrived, _) = intake.accept_stream().await.unwrap();
        assert!(arrived.stream.nodelay().unwrap());
    }
}
