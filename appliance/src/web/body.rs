//! A request's body, read to a limit.

use super::guard::MAX_BODY;
use crate::error::Error;
use axum::body::{Body, HttpBody};
use std::future::poll_fn;
use std::pin::Pin;

/// How much of a body that is too large is read and thrown away, in bytes. A client that is still writing does not
/// read the answer: HTTP/2 clients report a broken stream instead of our 413.
const THROWN_AWAY: usize = 32 * 1024 * 1024;

/// The whole body.
///
/// # Errors
/// `TooLarge` beyond [`MAX_BODY`]; what follows was read then, as far as it is worth it.
pub async fn whole(mut body: Body) -> Result<Vec<u8>, Error> {
    let mut kept = Vec::new();
    let mut read = 0_usize;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        // A body that ends before its length is one that the client gave up.
        let frame = frame.map_err(|_| Error::TooLarge)?;
        let Ok(data) = frame.into_data() else { continue };
        read = read.saturating_add(data.len());
        if read <= MAX_BODY {
            kept.extend_from_slice(&data);
        } else if read > THROWN_AWAY {
            break;
        }
    }
    if read > MAX_BODY { Err(Error::TooLarge) } else { Ok(kept) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_at_the_limit_is_read_and_one_byte_more_is_too_large() {
        assert_eq!(whole(Body::from(vec![7; MAX_BODY])).await.unwrap().len(), MAX_BODY);
        assert_eq!(whole(Body::empty()).await.unwrap(), b"");
        for length in [MAX_BODY + 1, THROWN_AWAY + 1] {
            assert!(matches!(whole(Body::from(vec![7; length])).await, Err(Error::TooLarge)));
        }
    }
}
