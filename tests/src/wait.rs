//! Waiting for a condition instead of sleeping and hoping.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a test waits for something that takes a moment: generous, because it only costs when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `ready` again and again until it has an answer, and panics with `what` after `within`.
pub fn wait_until<T>(what: &str, within: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(5);
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {} s for: {what}", within.as_secs());
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// The time of this machine's clock, since 1970.
#[expect(clippy::disallowed_methods, reason = "a test is outside: it has the clock that everyone has")]
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970")
}

/// Lets time pass: for a moment that is to come at random, or as long as an answer asked for; never in the hope that something is done by then.
pub fn pause(time: Duration) {
    sleep(time);
}
