//! The machine's own operator: a short-lived token in a file that only the manager's user (and root) can read. It is for
//! the command line of this machine; it is nobody's account. Where a request comes from grants nothing.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::text::Kind;
use crate::blocking;
use crate::clock::{Clock, Timestamp};
use crate::error::Result;
use crate::ids::Random;
use crate::layout::write_file;
use crate::secrets::sha256;

/// How long a token is good.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How often a new one takes its place in the file; who read the one before has time to use it.
const RENEW: Duration = Duration::from_secs(5 * 60);

/// The tokens that are good now. They live in memory alone: none outlives the process that made it.
#[derive(Clone)]
pub struct Operator(Arc<Inner>);

struct Inner {
    clock: Clock,
    random: Random,
    /// SHA-256 of each, and when it ends.
    good: Mutex<Vec<([u8; 32], Timestamp)>>,
}

impl Operator {
    /// None is good yet.
    #[must_use]
    pub fn new(clock: Clock, random: Random) -> Self {
        Self(Arc::new(Inner { clock, random, good: Mutex::default() }))
    }

    /// A new token; those before it stay good until their own end.
    #[must_use]
    pub fn renew(&self) -> String {
        let token = Kind::Operator.mint(&self.0.random);
        let now = self.0.clock.now();
        let mut good = self.0.good.lock().unwrap_or_else(PoisonError::into_inner);
        good.retain(|(_, until)| *until > now);
        good.push((sha256(token.as_bytes()), now + LIFETIME));
        token
    }

    /// Whether this is a token that is good now.
    #[must_use]
    pub fn knows(&self, token: &str) -> bool {
        let (hash, now) = (sha256(token.as_bytes()), self.0.clock.now());
        let good = self.0.good.lock().unwrap_or_else(PoisonError::into_inner);
        good.iter().any(|(known, until)| *known == hash && *until > now)
    }

    /// From now on none is good.
    pub fn end(&self) {
        self.0.good.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Puts a new token into the file: 0600, the whole of it or the one before.
    ///
    /// # Errors
    /// Any from the file system.
    pub async fn write(&self, path: &Path) -> Result<()> {
        let (path, line) = (path.to_owned(), self.renew() + "\n");
        Ok(blocking::run(move || write_file(&path, line.as_bytes(), 0o600)).await??)
    }
}

/// Renews the token in the file until `stop` is over, then makes all of them void and takes the file away.
pub async fn keep(operator: Operator, path: PathBuf, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    let mut renew = tokio::time::interval(RENEW);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = renew.tick() => if let Err(error) = operator.write(&path).await {
                tracing::error!(%error, "the token of the local command line could not be renewed");
            },
        }
    }
    operator.end();
    if let Ok(Err(error)) = blocking::run(move || std::fs::remove_file(path)).await {
        tracing::warn!(%error, "the token of the local command line is void, but its file could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_good_for_its_time_and_the_one_before_it_too() {
        let (clock, hand) = Clock::settable(Timestamp::EPOCH);
        let operator = Operator::new(clock, Random::seeded(1));
        let first = operator.renew();
        hand.advance(RENEW);
        let second = operator.renew();
        assert!(operator.knows(&first) && operator.knows(&second));
        hand.advance(RENEW * 2);
        assert!(!operator.knows(&first) && operator.knows(&second));
        operator.end();
        assert!(!operator.knows(&second));
        let other = Operator::new(Clock::fixed(Timestamp::EPOCH), Random::seeded(2));
        assert!(!other.knows(&second), "of another process");
    }

    #[tokio::test]
    async fn the_file_is_the_managers_alone_and_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("operator.token");
        let operator = Operator::new(Clock::fixed(Timestamp::EPOCH), Random::seeded(1));
        operator.write(&path).await.unwrap();
        let token = std::fs::read_to_string(&path).unwrap();
        assert!(operator.knows(token.trim_end()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        keep(operator.clone(), path.clone(), std::future::ready(())).await;
        assert!(!path.exists() && !operator.knows(token.trim_end()));
    }
}
