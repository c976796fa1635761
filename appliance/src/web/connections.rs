//! How many connections a listener holds, in all and of one source: a connection costs a file descriptor, and who
//! takes the last one shuts everybody out.

use super::intake::{Arrived, Begins};
use axum_server::accept::Accept;
use std::collections::HashMap;
use std::future::{Ready, ready};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Descriptors left for databases and files.
const SPARE: usize = 128;
/// What is taken for the limit where the kernel does not tell it: systemd's own default.
const USUAL: usize = 1024;

/// The connections of one listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    open: Mutex<Open>,
    most: usize,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

impl Connections {
    /// As many as suit this process, in which two listeners may stand.
    pub fn for_this_process() -> Self {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self::at_most(descriptors(&limits).unwrap_or(USUAL).saturating_sub(SPARE) / 2)
    }

    /// So many in all, half of them of one source.
    pub fn at_most(most: usize) -> Self {
        Self(Arc::new(Inner { open: Mutex::default(), most: most.max(2) }))
    }

    /// A place for one connection, given back when it is dropped.
    fn take(&self, source: IpAddr) -> Option<Place> {
        let source = crate::identity::network(source.to_canonical());
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = open.by_source.get(&source).copied().unwrap_or(0);
        if open.all >= self.0.most || of_one >= self.0.most / 2 {
            return None;
        }
        open.all += 1;
        open.by_source.insert(source, of_one + 1);
        Some(Place { of: self.clone(), source })
    }
}

/// The soft limit of open files, from the text of `/proc/self/limits`.
fn descriptors(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[derive(Debug)]
struct Place {
    of: Connections,
    source: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.of.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        if let Some(count) = open.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.by_source.remove(&self.source);
            }
        }
    }
}

impl<S> Accept<Arrived, S> for Connections {
    type Stream = Counted;
    type Service = Begins<S>;
    type Future = Ready<io::Result<(Counted, Begins<S>)>>;

    fn accept(&self, arrived: Arrived, service: S) -> Self::Future {
        let Arrived { stream, young } = arrived;
        let place = stream.peer_addr().map(|peer| self.take(peer.ip()));
        ready(match place {
            Ok(Some(place)) => Ok((Counted { stream, _place: place }, Begins::new(service, young))),
            Ok(None) => {
                tracing::debug!("a connection was not taken: too many are open");
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            Err(error) => Err(error),
        })
    }
}

/// A connection that gives its place back when it ends.
#[derive(Debug)]
pub struct Counted {
    stream: TcpStream,
    _place: Place,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_leaves_places_for_others_and_gives_its_own_back() {
        let connections = Connections::at_most(4);
        let (one, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut places: Vec<_> = (0..2).map(|_| connections.take(one).unwrap()).collect();
        assert!(connections.take(one).is_none());
        assert!(connections.take("::ffff:10.0.0.1".parse().unwrap()).is_none(), "the same, written as IPv6");
        places.extend((0..2).map(|_| connections.take(other).unwrap()));
        assert!(connections.take("10.0.0.3".parse().unwrap()).is_none());
        places.clear();
        assert!(connections.take(one).is_some());
        assert!(connections.0.open.lock().unwrap().by_source.is_empty());
    }

    #[test]
    fn the_limit_is_read_as_the_kernel_writes_it() {
        let text = "Max processes             63432    63432   processes\n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(descriptors(text), Some(1024));
        assert_eq!(
            descriptors("Max open files            unlimited            unlimited            files"),
            None
        );
    }
}
