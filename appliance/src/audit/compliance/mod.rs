//! The controls of frameworks, and what the audit shows of each: how many entries, the latest one, and where they are.

pub mod controls;
pub mod routes;

use std::collections::HashMap;

use rusqlite::Connection;

use super::filter::Filter;
use super::store::{self, Span};
use crate::clock::Timestamp;
use crate::error::Result;
use controls::Evidence;

/// What the audit has of one kind of evidence.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// How many entries.
    pub count: u64,
    /// Number and time of the latest.
    pub last: Option<(u64, Timestamp)>,
}

/// Counts evidence in a time, each kind once.
pub struct Tally<'c> {
    connection: &'c Connection,
    from: Timestamp,
    to: Timestamp,
    known: HashMap<&'static str, Found>,
}

impl<'c> Tally<'c> {
    /// Not before `from`, and before `to`.
    #[must_use]
    pub fn new(connection: &'c Connection, from: Timestamp, to: Timestamp) -> Self {
        Self { connection, from, to, known: HashMap::new() }
    }

    /// The entries that are this evidence.
    #[must_use]
    pub fn filter(&self, evidence: &Evidence) -> Filter {
        Filter { from: Some(self.from), to: Some(self.to), ..evidence.filter() }
    }

    /// What there is of it.
    ///
    /// # Errors
    /// Any from the database.
    pub fn find(&mut self, evidence: &'static Evidence) -> Result<Found> {
        if let Some(found) = self.known.get(evidence.what) {
            return Ok(*found);
        }
        let span = Span { ascending: false, after: None, limit: 1 };
        let (last, count) = store::list(self.connection, &self.filter(evidence), span)?;
        let last = last.into_iter().next().map(|(seq, record)| (seq, record.at));
        let found = Found { count, last };
        self.known.insert(evidence.what, found);
        Ok(found)
    }
}
