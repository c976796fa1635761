//! A file that is sent while it is made, so that it may be larger than memory.

use axum::body::{Body, Bytes, HttpBody};
use http_body::Frame;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// A piece is sent when it has so many bytes.
const PIECE: usize = 64 * 1024;
/// So many pieces wait for a slow reader.
const AHEAD: usize = 4;
/// A reader that takes nothing for so long is given up: whoever writes holds a thread and the results store.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a file is written to; it blocks while the reader is behind.
pub struct Writer {
    to: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    piece: Vec<u8>,
}

impl Writer {
    /// Adds text.
    ///
    /// # Errors
    /// `BrokenPipe` when the reader is gone or takes nothing any more.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        self.piece.extend_from_slice(text.as_bytes());
        if self.piece.len() < PIECE { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() { Ok(()) } else { self.send(Ok(piece.into())) }
    }

    fn send(&self, piece: io::Result<Bytes>) -> io::Result<()> {
        let sent = async { tokio::time::timeout(PATIENCE, self.to.send(piece)).await };
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// A body that `work` writes, on the blocking pool. When `work` fails, the body breaks off in a way that the reader
/// notices: half a file is never taken for a whole one.
pub(super) fn body<E: std::error::Error + Send + Sync + 'static>(
    work: impl FnOnce(&mut Writer) -> Result<(), E> + Send + 'static,
) -> Body {
    let (to, pieces) = mpsc::channel(AHEAD);
    let mut writer = Writer { to, runtime: Handle::current(), piece: Vec::new() };
    tokio::task::spawn_blocking(move || {
        let done = work(&mut writer).map_err(io::Error::other).and_then(|()| writer.flush());
        if let Err(error) = done {
            tracing::warn!(%error, "a file broke off while it was sent");
            // Gone or not: there is nobody else to tell.
            let _ = writer.send(Err(error));
        }
    });
    Body::new(Pieces(pieces))
}

struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn what_is_written_arrives_whole_and_in_order() {
        let body = body(|to| {
            for line in 0..100_000 {
                to.write(&format!("{line}\n")).expect("the reader is there");
            }
            Ok::<_, Infallible>(())
        });
        let read = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(read.to_vec()).unwrap();
        assert!(text.lines().enumerate().all(|(at, line)| line == at.to_string()));
        assert_eq!(text.lines().count(), 100_000);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_finished_breaks_off() {
        let body = body(|to| to.write("half").and(Err(io::Error::other("the disk is gone"))));
        assert!(axum::body::to_bytes(body, usize::MAX).await.is_err());
    }

    #[tokio::test]
    async fn no_more_is_made_than_a_reader_takes_and_nothing_once_it_is_gone() {
        let (made, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
        let (count, told) = (made.clone(), end.clone());
        let body = body(move |to| {
            let text = "x".repeat(PIECE);
            let ended = (0..1_000_000).try_for_each(|_| {
                count.fetch_add(1, Ordering::Relaxed);
                to.write(&text)
            });
            told.notify_one();
            ended
        });
        drop(body);
        end.notified().await;
        assert!(made.load(Ordering::Relaxed) <= AHEAD + 2, "{made:?}");
    }
}
