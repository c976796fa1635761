//! What is to be done about a scan, seen as a whole. Pure: everything follows from config.db and jobs.db, so a
//! dispatcher that was killed decides the same when it starts again.

use super::queue::{Job, JobEnd, JobState};
use super::{Assigned, Batch, BatchState, Scan, State};
use crate::clock::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// After so many jobs a batch is given up.
pub const MOST_EPOCHS: u32 = 5;

/// How long acknowledged results may wait to be loaded: the manager may be stopped for a while, as in an update.
pub const LOADING: Duration = Duration::from_secs(3600);

/// How long a scanner may take to stop: to end its probes, and to deliver what they found until then.
pub const STOPPING: Duration = Duration::from_secs(300);

/// How long a cancelled job's last results, acknowledged before its scanner said that it stopped, may take from the
/// spool to the store.
pub const SETTLING: Duration = Duration::from_secs(3);

/// A scan with everything that is known of it.
pub struct Situation<'a> {
    /// The scan.
    pub scan: &'a Scan,
    /// Those of its batches for which something may have to be done.
    pub batches: &'a [Batch],
    /// Who may work on it.
    pub scanners: &'a [Assigned],
    /// The jobs of those, by batch and epoch.
    pub(super) jobs: &'a [Job],
    /// Scanners that are enrolled and not revoked.
    pub able: &'a BTreeSet<Uuid>,
    /// The time.
    pub now: Timestamp,
    /// How long a scanner may be silent.
    pub lease: Duration,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Take a job from its scanner.
    Lose(String),
    /// Tell its scanner to stop.
    Cancel(String),
    /// Tell its scanner to rest, or to go on.
    Pause(String, bool),
    /// Write where a batch stands now.
    Batch(Batch),
}

/// What the batches of a scan come to when none is open any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// How many there are.
    pub batches: u64,
    /// How many of them were not done.
    pub not_done: u64,
    /// Pairs with a result.
    pub covered: u64,
    /// Why the last one was given up.
    pub why: Option<String>,
    /// Hosts of its scope that are excluded by now.
    pub excluded: u128,
}

/// How a scan ends.
#[must_use]
pub fn end(scan: &Scan, tally: &Tally) -> (State, Option<String>) {
    let missing = scan.probes.saturating_sub(tally.covered);
    let detail = match &tally.why {
        Some(why) if tally.batches == 1 => Some(format!("Its one batch was not done: {why}.")),
        Some(why) => {
            let were = if tally.not_done == 1 { "was" } else { "were" };
            Some(format!("{} of {} batches {were} not done: {why}.", tally.not_done, tally.batches))
        }
        None if missing > 0 && tally.excluded > 0 => Some(format!(
            "{missing} of {} probes have no result; {} of {} hosts were excluded after the launch.",
            scan.probes, tally.excluded, scan.hosts
        )),
        None if missing > 0 => Some(format!("{missing} of {} probes have no result.", scan.probes)),
        None => None,
    };
    let state = if missing == 0 && tally.not_done == 0 {
        State::Completed
    } else if scan.state == State::Cancelling {
        State::Cancelled
    } else if tally.covered == 0 {
        State::Failed
    } else {
        State::Partial
    };
    (state, detail)
}

impl Situation<'_> {
    /// Everything that is to be done now, in this order.
    #[must_use]
    pub fn decide(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        let rest = self.scan.state == State::Paused;
        for batch in self.batches.iter().filter(|batch| batch.state.is_open()) {
            let next = self.batch(batch, &mut actions);
            let otherwise = |job: &&Job| active(job) && job.epoch == next.epoch && job.pause != rest;
            let told = self.jobs_of(batch).iter().filter(otherwise);
            actions.extend(told.map(|job| Action::Pause(job.hash.clone(), rest)));
            if next != *batch {
                actions.push(Action::Batch(next));
            }
        }
        actions
    }

    /// Where an open batch stands now, and what its jobs need.
    #[expect(clippy::match_same_arms, reason = "read from top to bottom, each arm is a case of its own")]
    fn batch(&self, batch: &Batch, actions: &mut Vec<Action>) -> Batch {
        let cancelling = self.scan.state == State::Cancelling;
        let jobs = || self.jobs_of(batch).iter();
        if let Some(whole) = jobs().find(|job| job.is_whole()) {
            let rest = jobs().filter(|job| job.hash != whole.hash);
            actions.extend(rest.filter(|job| active(job)).map(|job| Action::Lose(job.hash.clone())));
            return self.ended(batch, BatchState::Done, Some(whole), None);
        }
        if batch.state == BatchState::Waiting {
            return if cancelling {
                self.ended(batch, BatchState::Cancelled, None, None)
            } else if self.nobody_left(batch.vantage) {
                let why = "no scanner of its vantage is enrolled any more";
                self.ended(batch, BatchState::GivenUp, None, Some(why.to_owned()))
            } else {
                batch.clone()
            };
        }
        let Some(job) = jobs().find(|job| job.epoch == batch.epoch) else {
            // jobs.db was lost, or the dispatcher was killed between signing and handing over.
            return self.again(batch, None, "its job was lost");
        };
        let silent = self.now.since(job.alive_at()) >= self.lease;
        match (job.state, &job.end) {
            (JobState::Ready | JobState::Leased, _) if silent => {
                actions.push(Action::Lose(job.hash.clone()));
                self.again(batch, Some(job), "its scanner fell silent")
            }
            (JobState::Leased, _) if job.expires_at.is_some_and(|end| self.now >= end + self.lease) => {
                actions.push(Action::Lose(job.hash.clone()));
                let rested = self.scan.state == State::Paused;
                let why = if rested {
                    "its job's time was over while it rested"
                } else {
                    "its scanner took longer than it may"
                };
                self.again(batch, Some(job), why)
            }
            (JobState::Ready | JobState::Leased, _) if !self.able.contains(&job.scanner) => {
                actions.push(Action::Lose(job.hash.clone()));
                self.again(batch, Some(job), "its scanner was revoked")
            }
            (JobState::Ready, _) if cancelling => {
                actions.push(Action::Lose(job.hash.clone()));
                self.ended(batch, BatchState::Cancelled, Some(job), None)
            }
            (JobState::Leased, _) if cancelling => match job.cancel {
                Some(since) if self.now.since(since) >= STOPPING => {
                    actions.push(Action::Lose(job.hash.clone()));
                    self.again(batch, Some(job), "its scanner did not stop")
                }
                Some(_) => batch.clone(),
                None => {
                    actions.push(Action::Cancel(job.hash.clone()));
                    batch.clone()
                }
            },
            (JobState::Ready | JobState::Leased, _) => batch.clone(),
            (JobState::Lost, _) => self.again(batch, Some(job), "its scanner fell silent"),
            (JobState::Ended, Some((JobEnd::Failed, detail))) => self.again(batch, Some(job), detail),
            (JobState::Ended, Some((JobEnd::Cancelled, _)))
                if cancelling && self.now.since(job.alive_at()) < SETTLING =>
            {
                batch.clone()
            }
            (JobState::Ended, Some((JobEnd::Cancelled, _))) if cancelling => {
                self.ended(batch, BatchState::Cancelled, Some(job), None)
            }
            // A scanner says "done" once every result of it is acknowledged. Those lie in the spool, and the loader may
            // be behind, or not be running: to scan it all again would not bring them sooner.
            (JobState::Ended, Some((JobEnd::Done, _))) if self.now.since(job.alive_at()) < LOADING => {
                batch.clone()
            }
            (JobState::Ended, _) if silent => self.again(batch, Some(job), "part of its results never came"),
            (JobState::Ended, _) => batch.clone(),
        }
    }

    /// Back to waiting, or given up after too many jobs; while the scan rests, nothing is given up.
    fn again(&self, batch: &Batch, job: Option<&Job>, why: &str) -> Batch {
        if self.scan.state == State::Cancelling {
            self.ended(batch, BatchState::Cancelled, job, None)
        } else if batch.epoch >= MOST_EPOCHS && self.scan.state != State::Paused {
            self.ended(
                batch,
                BatchState::GivenUp,
                job,
                Some(format!("given up after {MOST_EPOCHS} tries: {why}")),
            )
        } else {
            Batch { state: BatchState::Waiting, detail: Some(why.to_owned()), ..batch.clone() }
        }
    }

    /// An ended batch. What earlier jobs brought counts too: over all of them, the loader counts every pair once.
    fn ended(&self, batch: &Batch, state: BatchState, job: Option<&Job>, detail: Option<String>) -> Batch {
        let sum = |of: fn(&Job) -> i64| {
            let brought = self.jobs_of(batch).iter().map(of).fold(0, i64::saturating_add);
            u64::try_from(brought).unwrap_or(0)
        };
        Batch {
            state,
            covered: sum(|job| job.loaded_covered).min(batch.probes),
            open: sum(|job| job.loaded_open),
            scanner: job.map(|job| job.scanner).or(batch.scanner),
            detail,
            ..batch.clone()
        }
    }

    /// The jobs are in the order of the batches: looking at each for each would be quadratic.
    fn jobs_of(&self, batch: &Batch) -> &[Job] {
        let first = self.jobs.partition_point(|job| job.batch < batch.number);
        let rest = &self.jobs[first..];
        &rest[..rest.partition_point(|job| job.batch == batch.number)]
    }

    fn nobody_left(&self, vantage: Uuid) -> bool {
        !self
            .scanners
            .iter()
            .any(|assigned| assigned.vantage == vantage && self.able.contains(&assigned.scanner))
    }
}

fn active(job: &Job) -> bool {
    matches!(job.state, JobState::Ready | JobState::Leased)
}

#[cfg(test)]
#[path = "decide_test.rs"]
mod tests;
