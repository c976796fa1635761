//! Refusals on their way to the audit: gathered in memory, written to jobs.db at once and then ten times a second at
//! most, so that a flood of requests is not a flood of writes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portolan_scanner::wire::Id;
use rusqlite::{Transaction, params};

use super::limit::network;
use super::refusal::Refusal;
use crate::clock::{Clock, Timestamp};
use crate::error::Result;
use crate::jobs::Jobs;

const MINUTE: i64 = 60_000_000;
/// Between two writes.
const REST: Duration = Duration::from_millis(100);
/// The most rows of one minute; what is more is counted without its source.
const ROWS: i64 = 500;

/// Gathers refusals. Cheap to clone.
#[derive(Clone)]
pub struct Notes(Arc<Inner>);

struct Inner {
    jobs: Jobs,
    clock: Clock,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    notes: HashMap<Key, Note>,
    is_writing: bool,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    minute: i64,
    source: String,
    scanner: String,
    reason: &'static str,
}

struct Note {
    detail: String,
    count: i64,
}

impl Notes {
    /// Notes that go to this database.
    #[must_use]
    pub fn new(jobs: Jobs, clock: Clock) -> Self {
        Self(Arc::new(Inner { jobs, clock, waiting: Mutex::default() }))
    }

    /// Notes a refusal, if the audit is to hear of it. `scanner` is the one whose certificate was shown.
    pub fn note(&self, refusal: &Refusal, source: IpAddr, scanner: Option<Id>) {
        if !refusal.is_for_the_audit() {
            return;
        }
        let key = Key {
            minute: self.0.clock.now().micros().div_euclid(MINUTE) * MINUTE,
            source: folded(source),
            scanner: scanner.map(|id| id.to_string()).unwrap_or_default(),
            reason: refusal.status_and_slug().1,
        };
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let full = waiting.notes.len() >= usize::try_from(ROWS).unwrap_or(usize::MAX);
        let key = if full && !waiting.notes.contains_key(&key) { nameless(&key) } else { key };
        let note = waiting.notes.entry(key).or_insert_with(|| Note { detail: refusal.to_string(), count: 0 });
        note.count += 1;
        if !waiting.is_writing {
            waiting.is_writing = true;
            tokio::spawn(self.clone().write());
        }
    }

    /// Returns when everything noted until now is written: for the end of the process.
    pub async fn written(&self) {
        while self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_writing {
            tokio::time::sleep(REST / 10).await;
        }
    }

    /// Writes until there is nothing left.
    async fn write(self) {
        loop {
            let notes = {
                let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.is_writing = !waiting.notes.is_empty();
                std::mem::take(&mut waiting.notes)
            };
            if notes.is_empty() {
                return;
            }
            let written =
                self.0.jobs.write(move |tx| notes.iter().try_for_each(|(key, note)| put(tx, key, note)));
            if let Err(error) = written.await {
                tracing::error!(%error, "refusals could not be noted for the audit");
            }
            tokio::time::sleep(REST).await;
        }
    }
}

/// A source as it is noted: of IPv6 the /64, of which a flood may use every address.
fn folded(source: IpAddr) -> String {
    match network(source) {
        IpAddr::V6(network) => format!("{network}/64"),
        v4 @ IpAddr::V4(_) => v4.to_string(),
    }
}

fn nameless(key: &Key) -> Key {
    Key { minute: key.minute, source: String::new(), scanner: String::new(), reason: key.reason }
}

fn put(tx: &Transaction, key: &Key, note: &Note) -> Result<()> {
    let add =
        "UPDATE refusal SET count = count + ? WHERE minute = ? AND source = ? AND scanner = ? AND reason = ?";
    let minute = Timestamp::from_micros(key.minute);
    let added =
        tx.prepare_cached(add)?.execute(params![note.count, minute, key.source, key.scanner, key.reason])?;
    if added == 1 {
        return Ok(());
    }
    let there = "SELECT count(*) FROM refusal WHERE minute = ?";
    let there: i64 = tx.prepare_cached(there)?.query_row([minute], |row| row.get(0))?;
    let other = nameless(key);
    let key = if there < ROWS { key } else { &other };
    tx.prepare_cached(
        "INSERT INTO refusal (minute, source, scanner, reason, detail, count) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET count = count + ?6",
    )?
    .execute(params![minute, key.source, key.scanner, key.reason, note.detail, note.count])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_ipv6_is_noted_by_its_network() {
        for (source, noted) in [
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
            ("::ffff:10.0.0.9", "10.0.0.9"),
            ("10.0.0.9", "10.0.0.9"),
        ] {
            assert_eq!(folded(source.parse().unwrap()), noted);
        }
    }

    async fn rows(jobs: &Jobs, sql: &'static str) -> i64 {
        jobs.read(move |db| Ok(db.query_row(sql, [], |row| row.get(0))?)).await.unwrap()
    }

    #[tokio::test]
    async fn a_flood_is_counted_in_a_bounded_number_of_rows() {
        let jobs = Jobs::in_memory().unwrap();
        let notes = Notes::new(jobs.clone(), Clock::fixed(Timestamp::from_micros(MINUTE + 1)));
        for n in 0..3_000_u32 {
            notes.note(&Refusal::BadKey, std::net::Ipv4Addr::from_bits(n % 1_500).into(), None);
        }
        notes.note(&Refusal::Busy, std::net::Ipv4Addr::LOCALHOST.into(), None);
        let mut watch = jobs.watch();
        while rows(&jobs, "SELECT coalesce(sum(count), 0) FROM refusal").await < 3_000 {
            watch.changed().await;
        }
        assert!(rows(&jobs, "SELECT count(*) FROM refusal").await <= ROWS + 1);
        assert_eq!(
            rows(&jobs, "SELECT count(DISTINCT minute) FROM refusal WHERE minute = 60000000").await,
            1
        );
        assert_eq!(rows(&jobs, "SELECT count(*) FROM refusal WHERE reason = 'busy'").await, 0);
    }
}
