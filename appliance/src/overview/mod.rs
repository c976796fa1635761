//! The overview: what a person sees first.

pub mod routes;
mod search;

use crate::error::Error;
use crate::results::ResultsService;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// How much opened and closed between two scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Opened.
    pub opened: u64,
    /// Closed.
    pub closed: u64,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Overview {
    results: ResultsService,
    /// Two ended scans never differ in another way than they did: the last answer is kept.
    last: Arc<Mutex<Option<(Uuid, Uuid, Moved)>>>,
}

impl Overview {
    /// Over these results.
    #[must_use]
    pub fn new(results: ResultsService) -> Self {
        Self { results, last: Arc::default() }
    }

    /// What moved from one ended scan to another, over all vantages.
    ///
    /// # Errors
    /// The results store's.
    pub async fn moved(&self, before: Uuid, after: Uuid) -> Result<Moved, Error> {
        let kept = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((a, b, moved)) = kept
            && (a, b) == (before, after)
        {
            return Ok(moved);
        }
        let (counts, ()) = self.results.diff(before, after, (), |(), _, _| Ok(())).await?;
        let sum = |of: fn(&crate::results::diff::Counts) -> u128| {
            u64::try_from(counts.iter().map(|(_, counts)| of(counts)).sum::<u128>()).unwrap_or(u64::MAX)
        };
        let moved = Moved { opened: sum(|counts| counts.opened), closed: sum(|counts| counts.closed) };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((before, after, moved));
        Ok(moved)
    }
}
