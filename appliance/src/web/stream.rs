//! A file that is sent while it is made, so that it may be larger than memory. Whoever writes it holds a thread and a
//! reader of the results, so there are few of them at once, and none waits for a reader without end.

use axum::body::{Body, Bytes, HttpBody};
use http_body::Frame;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

/// A piece is sent when it has so many bytes.
const PIECE: usize = 64 * 1024;
/// So many pieces wait for a slow reader.
const AHEAD: usize = 4;
/// A reader that takes nothing for so long is given up …
const PATIENCE: Duration = Duration::from_secs(60);
/// … and so is one that, beyond that, takes fewer bytes in a second of waiting for it, from the first piece to the last.
const LEAST_RATE: u64 = 16 * 1024;
/// So many files are made at once.
pub(super) const AT_ONCE: usize = 8;

/// Where a file is written to; it blocks while the reader is behind.
pub struct Writer {
    to: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    piece: Vec<u8>,
    sent: u64,
    /// How long the reader was waited for, in all.
    waited: Duration,
    /// What this file is of [`AT_ONCE`].
    _permit: OwnedSemaphorePermit,
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

    fn send(&mut self, piece: io::Result<Bytes>) -> io::Result<()> {
        let bytes = piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let (patience, began) = (patience(self.sent, self.waited), Instant::now());
        let sent = async { tokio::time::timeout(patience, self.to.send(piece)).await };
        let sent = self.runtime.block_on(sent);
        self.waited += began.elapsed();
        self.sent += bytes;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// How much longer a reader is waited for that has taken so much and was waited for so long.
fn patience(sent: u64, waited: Duration) -> Duration {
    let earned = PATIENCE + Duration::from_secs(sent / LEAST_RATE);
    earned.saturating_sub(waited).min(PATIENCE)
}

/// A body that `work` writes, on the blocking pool. When `work` fails, the body breaks off in a way that the reader
/// notices: half a file is never taken for a whole one.
pub(super) fn body<E: std::error::Error + Send + Sync + 'static>(
    permit: OwnedSemaphorePermit,
    work: impl FnOnce(&mut Writer) -> Result<(), E> + Send + 'static,
) -> Body {
    let (to, pieces) = mpsc::channel(AHEAD);
    let (runtime, waited) = (Handle::current(), Duration::ZERO);
    let mut writer = Writer { to, runtime, piece: Vec::new(), sent: 0, waited, _permit: permit };
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

    fn permit() -> OwnedSemaphorePermit {
        Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned().unwrap()
    }

    #[test]
    fn a_reader_that_takes_a_little_now_and_then_is_given_up() {
        let (mut pieces, mut waited) = (0, Duration::ZERO);
        let pause = Duration::from_secs(59);
        while patience(pieces * PIECE as u64, waited) > pause {
            pieces += 1;
            waited += pause;
        }
        assert!(pieces <= 2, "{pieces} pieces");
        let honest = patience(100 * LEAST_RATE, Duration::from_secs(100));
        assert_eq!(honest, PATIENCE, "a slow line that goes on is not");
    }

    #[tokio::test]
    async fn what_is_written_arrives_whole_and_in_order() {
        let body = body(permit(), |to| {
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
        let body = body(permit(), |to| to.write("half").and(Err(io::Error::other("the disk is gone"))));
        assert!(axum::body::to_bytes(body, usize::MAX).await.is_err());
    }

    #[tokio::test]
    async fn no_more_is_made_than_a_reader_takes_and_nothing_once_it_is_gone() {
        let (made, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
        let (count, told) = (made.clone(), end.clone());
        let body = body(permit(), move |to| {
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
