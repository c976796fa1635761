//! Work that blocks, off the async threads: the one place that hands it over.

use crate::error::Error;

/// Runs `work` on the blocking pool.
///
/// # Errors
/// `Internal` when `work` panicked.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)
}
