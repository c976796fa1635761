//! The wish to stop, as every task hears it.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Hears that a stop was asked for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// Asks for a stop.
#[derive(Clone, Debug)]
pub struct Asker(watch::Sender<bool>);

impl Stop {
    /// Both ends.
    #[must_use]
    pub fn channel() -> (Asker, Self) {
        let (sender, receiver) = watch::channel(false);
        (Asker(sender), Self(receiver))
    }

    /// Resolves once a stop was asked for, or nobody is left to ask.
    pub async fn asked(mut self) {
        // An error means that the asker is gone: that is a stop as well.
        let _ = self.0.wait_for(|asked| *asked).await;
    }

    /// Whether a stop was asked for.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// What `work` gives; nothing when a stop was asked for before it was done.
    pub async fn before<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.clone().asked() => None,
        }
    }
}

impl Asker {
    /// Asks every task to stop.
    pub fn ask(&self) {
        self.0.send_replace(true);
    }

    /// Asks on the first SIGTERM or SIGINT.
    pub async fn on_signal(&self) {
        let (Ok(mut term), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        self.ask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_ends_a_wait_that_would_never_end() {
        let (asker, stop) = Stop::channel();
        assert_eq!(stop.before(async { 7 }).await, Some(7));
        asker.ask();
        assert_eq!(stop.before(std::future::pending::<()>()).await, None);
    }
}
