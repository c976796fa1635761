//! A scan walked from end to end, a stride of hosts at a time, to be compared with another.

use std::sync::Arc;

use portolan_scanner::net::Ports;
use uuid::Uuid;

use super::diff::{self, Change, Counts, Seen};
use super::{Error, HostQuery, Observation, Store};

/// What changed from one scan to the other, one vantage after the other; where only one of the two was at a vantage,
/// everything there is not comparable.
///
/// # Errors
/// When the store fails, or the first error of `emit`.
pub fn diff_scans(
    store: &dyn Store,
    before: Uuid,
    after: Uuid,
    mut emit: impl FnMut(Uuid, Change) -> Result<(), Error>,
) -> Result<Vec<(Uuid, Counts)>, Error> {
    let mut vantages: Vec<Uuid> = Vec::new();
    for sweep in store.sweeps(before)?.into_iter().chain(store.sweeps(after)?) {
        if !vantages.contains(&sweep.vantage) {
            vantages.push(sweep.vantage);
        }
    }
    let mut counts = Vec::with_capacity(vantages.len());
    for vantage in vantages {
        let of = |scan| Walk::new(store, HostQuery { vantage: Some(vantage), ..HostQuery::of(scan) });
        counts.push((vantage, diff::diff(of(before), of(after), |change| emit(vantage, change))?));
    }
    Ok(counts)
}

/// All hosts of one scan and vantage, read in strides.
struct Walk<'s> {
    store: &'s dyn Store,
    query: HostQuery,
    stride: std::vec::IntoIter<Observation>,
    ended: bool,
    lists: Vec<Arc<Ports>>,
}

impl<'s> Walk<'s> {
    fn new(store: &'s dyn Store, query: HostQuery) -> Self {
        Self { store, query, stride: Vec::new().into_iter(), ended: false, lists: Vec::new() }
    }

    /// One and the same list for all strides, so that the diff need not compare lists.
    fn shared(&mut self, mut seen: Seen) -> Seen {
        match self.lists.iter().find(|list| **list == seen.ports) {
            Some(list) => seen.ports = list.clone(),
            None => self.lists.push(seen.ports.clone()),
        }
        seen
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Seen, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stride.len() == 0 && !self.ended {
            match self.store.hosts(&self.query) {
                Ok(stride) => {
                    self.ended = stride.len() < self.query.limit;
                    self.query.after = stride.last().map(Observation::place);
                    self.stride = stride.into_iter();
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        let next = self.stride.next()?.seen();
        Some(Ok(self.shared(next)))
    }
}
