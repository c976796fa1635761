//! Whether the request that is being answered has written an entry: a change that turned out to be made already writes none,
//! and what it answers is then a look.

use std::cell::Cell;
use std::future::Future;

tokio::task_local! {
    static WROTE: Cell<bool>;
}

/// Answers a request, and says whether an entry was written meanwhile, by the same task.
pub async fn watched<T>(answer: impl Future<Output = T>) -> (T, bool) {
    let watched = async {
        let answer = answer.await;
        (answer, WROTE.with(Cell::get))
    };
    WROTE.scope(Cell::new(false), watched).await
}

/// An entry was written. Outside of a request nobody asks.
pub fn wrote() {
    let _ = WROTE.try_with(|wrote| wrote.set(true));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_entry_is_known_to_the_request_that_wrote_it_and_to_no_other() {
        wrote();
        assert_eq!(watched(async { 1 }).await, (1, false));
        let ((), one) = watched(async { wrote() }).await;
        let (_, other) = watched(async { tokio::spawn(async { wrote() }).await.is_ok() }).await;
        assert_eq!((one, other), (true, false));
    }
}
