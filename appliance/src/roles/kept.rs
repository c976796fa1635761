//! What goes on as long as a role does: that one of its tasks ends, or is silent, is noticed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::Stop;

/// How often the tasks are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Beats while work that may hang goes on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Heartbeat {
    /// It goes on.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Feels a heartbeat from time to time.
#[derive(Debug)]
pub struct Pulse {
    heart: Heartbeat,
    patience: Duration,
    /// The beats counted, and when they had become so many.
    felt: Mutex<(u64, Instant)>,
}

impl Pulse {
    /// Of work that may be silent for so long.
    #[must_use]
    pub fn of(heart: Heartbeat, patience: Duration, now: Instant) -> Self {
        let felt = Mutex::new((heart.0.load(Ordering::Relaxed), now));
        Self { heart, patience, felt }
    }

    /// Whether there was a beat within its patience, as far as it was felt.
    #[must_use]
    pub fn goes_on(&self, now: Instant) -> bool {
        let mut felt = self.felt.lock().unwrap_or_else(PoisonError::into_inner);
        let beats = self.heart.0.load(Ordering::Relaxed);
        if beats != felt.0 {
            *felt = (beats, now);
        }
        now.duration_since(felt.1) <= self.patience
    }
}

/// Resolves when a stop is asked for, or, with its name, when one of these tasks has ended before that: none ends by
/// itself, so it panicked.
pub async fn ended_early(tasks: Vec<(&'static str, AbortHandle)>, stop: Stop) -> Option<&'static str> {
    let ended = async {
        loop {
            if let Some((name, _)) = tasks.iter().find(|(_, task)| task.is_finished()) {
                break *name;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let name = stop.before(ended).await?;
    // Some end because a stop was asked for, and may be seen before that is.
    (!stop.is_asked()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_noticed_once_it_lasts() {
        let (heart, begin) = (Heartbeat::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let pulse = Pulse::of(heart.clone(), Duration::from_secs(60), begin);
        heart.beat();
        assert!(pulse.goes_on(at(50)));
        assert!(pulse.goes_on(at(110)));
        assert!(!pulse.goes_on(at(111)));
        heart.beat();
        assert!(pulse.goes_on(at(112)));
    }

    #[tokio::test]
    async fn a_task_that_panics_is_named_and_one_that_stops_is_not() {
        let (asker, stop) = Stop::channel();
        let quiet = tokio::spawn(std::future::pending::<()>());
        let broken = tokio::spawn(async { panic!("on purpose") });
        let tasks = vec![("quiet", quiet.abort_handle()), ("broken", broken.abort_handle())];
        assert_eq!(ended_early(tasks, stop.clone()).await, Some("broken"));
        let tasks = vec![("quiet", quiet.abort_handle())];
        let watching = tokio::spawn(ended_early(tasks, stop));
        tokio::task::yield_now().await;
        asker.ask();
        quiet.abort();
        assert_eq!(watching.await.unwrap(), None);
    }
}
