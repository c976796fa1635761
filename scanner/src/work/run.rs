//! A job at work: probes run, and what they find is kept, until it is over.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::child::{EndState, Event, Line, Probe};
use super::journal::Journal;
use super::keeper::Keeper;
use super::{Desk, Error, lock, say};
use crate::crypto;
use crate::net::Ranges;
use crate::wire::{Id, Job, split};

/// How often it is looked at how much waits in the spool.
const LOOK: Duration = Duration::from_millis(500);

/// How long the probe may take to end after a cancel.
const CANCEL: Duration = Duration::from_secs(30);

/// How often the probe may fail without finishing a block in between.
const TRIES: u32 = 3;

/// How the work on a job ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is over, and this is to be said to the appliance.
    Ended(EndState, String),
    /// It is not ours any more.
    Lost,
}

/// What the work and the renewals of its lease tell each other.
#[derive(Debug, Default)]
pub struct Shared {
    pub done: AtomicU64,
    pub open: AtomicU64,
    pub rate: AtomicU64,
    /// The appliance wants the job to be cancelled.
    pub cancel: AtomicBool,
    /// The appliance wants it to rest.
    pub pause: AtomicBool,
    /// The appliance has given the job to another, or forgotten it, or revoked us.
    pub lost: AtomicBool,
    /// What the appliance wants left alone.
    excluded: Mutex<Ranges>,
    /// How often that was heard to have changed; 0: never heard.
    heard: AtomicU64,
}

impl Shared {
    pub fn set(&self, done: u64, open: u64, rate: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.open.store(open, Ordering::Relaxed);
        self.rate.store(rate, Ordering::Relaxed);
    }

    pub fn exclude(&self, addresses: Ranges) {
        *lock(&self.excluded) = addresses;
        self.heard.fetch_add(1, Ordering::Release);
    }

    /// Whether it is known what to leave alone.
    pub fn is_known(&self) -> bool {
        self.heard.load(Ordering::Acquire) > 0
    }
}

/// Reads a job that this key must have signed for this scanner; the error says why it is not taken.
pub fn signed_job(frame: &[u8], job_key: &[u8; 32], scanner: Id) -> Result<Job, String> {
    let signed = split(frame).map_err(|error| error.to_string())?;
    if !crypto::verify(job_key, signed.text.as_bytes(), &signed.signature) {
        return Err("the job is not signed by the key that was given at enrolment".into());
    }
    let job = Job::decode(signed.text).map_err(|error| error.to_string())?;
    if job.scanner == scanner { Ok(job) } else { Err("the job is another scanner's".into()) }
}

/// A job at work.
pub struct Run<'a> {
    desk: &'a Desk<'a>,
    job: &'a Job,
    keeper: Keeper<'a>,
    shared: &'a Shared,
    /// Since when it is to end early, and as what.
    cancel: Option<(Instant, EndState, &'static str)>,
    /// As much was found as may wait to be sent.
    full: bool,
}

/// How one probe process ended.
enum Ending {
    /// It said so.
    Said(EndState, String),
    /// It broke; it may be started again.
    Broken(String),
    /// The job is not ours any more.
    Lost,
}

impl<'a> Run<'a> {
    pub fn new(
        desk: &'a Desk<'a>,
        job: &'a Job,
        hash: [u8; 32],
        journal: &'a mut Journal,
        shared: &'a Shared,
    ) -> Self {
        Self { desk, job, keeper: Keeper::new(desk, job, hash, journal), shared, cancel: None, full: false }
    }

    /// Runs probes until every block is done or there is no use in it.
    pub fn run(&mut self) -> Result<Outcome, Error> {
        let mut failures = 0;
        // Nothing is sent before it is known what must be left alone.
        while !self.shared.is_known() && !self.keeper.journal.complete() {
            if (self.desk.stopping)() {
                return Err(Error::Stopped);
            }
            if self.shared.lost.load(Ordering::Relaxed) {
                return Ok(Outcome::Lost);
            }
            if let Some((state, detail)) = self.wanted_end() {
                return Ok(Outcome::Ended(state, detail.into()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        while !self.keeper.journal.complete() {
            let before = self.keeper.journal.totals();
            let ending = self.one_probe()?;
            if self.keeper.journal.totals() != before {
                failures = 0;
            }
            let trouble = match (ending, self.cancel) {
                (Ending::Lost, _) => return Ok(Outcome::Lost),
                (_, Some((_, state, detail))) => return Ok(Outcome::Ended(state, detail.into())),
                (Ending::Said(EndState::Done, _), None) if self.keeper.journal.complete() => break,
                (Ending::Said(EndState::Done, _), None) => {
                    "it said that it was done, but blocks are missing".into()
                }
                (Ending::Said(_, detail) | Ending::Broken(detail), None) => detail,
            };
            failures += 1;
            say(format_args!("the probe process failed: {trouble}"));
            if failures > 1 {
                // It may be what it goes on with that breaks it.
                self.keeper.journal.forget_kept()?;
            }
            if failures == TRIES {
                return Ok(Outcome::Ended(EndState::Failed, trouble));
            }
        }
        Ok(Outcome::Ended(EndState::Done, String::new()))
    }

    /// Starts one probe process and keeps what it finds until it ends.
    fn one_probe(&mut self) -> Result<Ending, Error> {
        let command = self.desk.probe;
        let (sender, events) = sync_channel(1024);
        let mut heard = self.shared.heard.load(Ordering::Acquire);
        let mut rests = self.is_to_rest()?;
        let opening = format!(
            "{}{}start {}\n{}{}.\n",
            self.excluded(),
            self.keeper.journal.kept()?,
            self.keeper.journal.next(),
            if rests { "pause\n" } else { "" },
            self.job.encode(),
        );
        let mut probe = match Probe::start(command, opening, sender) {
            Ok(probe) => probe,
            Err(error) => return Ok(Ending::Broken(error.to_string())),
        };
        let before = self.keeper.journal.totals();
        let mut looked = Instant::now();
        let ending = loop {
            let now_heard = self.shared.heard.load(Ordering::Acquire);
            if now_heard != heard {
                heard = now_heard;
                let line = self.excluded();
                if !line.is_empty() {
                    say(format_args!("job {}: {}", self.job.id, line.trim_end()));
                    probe.say(line.trim_end());
                }
            }
            if looked.elapsed() > LOOK {
                looked = Instant::now();
                if self.is_to_rest()? != rests {
                    rests = !rests;
                    probe.say(if rests { "pause" } else { "resume" });
                }
            }
            if (self.desk.stopping)() {
                break Err(Error::Stopped);
            }
            if self.shared.lost.load(Ordering::Relaxed) {
                break Ok(Ending::Lost);
            }
            if let (None, Some((state, detail))) = (self.cancel, self.wanted_end()) {
                self.cancel = Some((Instant::now(), state, detail));
                probe.say(if state == EndState::Cancelled { "cancel" } else { "expire" });
            }
            if self.cancel.is_some_and(|(since, ..)| since.elapsed() > CANCEL) {
                break Ok(Ending::Broken("it did not end when it was cancelled".into()));
            }
            let event = if let Ok(event) = events.try_recv() {
                event
            } else {
                self.keeper.commit()?;
                match events.recv_timeout(Duration::from_millis(200)) {
                    Ok(event) => event,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => Event::Silent,
                }
            };
            let said = match event {
                Event::Said(line) => line,
                Event::Nonsense(text) => break Ok(Ending::Broken(format!("it said {text:?}"))),
                Event::Silent => break Ok(Ending::Broken(format!("it ended: {}", probe.wait()))),
            };
            let taken = match said {
                Line::Progress { done, open, rate } => {
                    self.shared.set(done, before.open.saturating_add(open), rate);
                    Ok(())
                }
                Line::End { state, detail } => break Ok(Ending::Said(state, detail)),
                Line::State(line) => self.keeper.state(&line),
                Line::Block(head) => self.keeper.begin(head),
                Line::Body(line) => self.keeper.add(&line),
                Line::Dot => self.keeper.finish(self.cancel.is_some()),
            };
            match taken {
                Err(Error::Probe(what)) => break Ok(Ending::Broken(what)),
                Err(error) => break Err(error),
                Ok(()) => {}
            }
        };
        self.keeper.abandon();
        self.keeper.commit()?;
        ending
    }

    /// What must be left alone, as the line that the probe is told; empty where there is nothing.
    fn excluded(&self) -> String {
        let mut all = lock(&self.shared.excluded).clone();
        if !self.job.own {
            all = all.union(&(self.desk.appliance)());
        }
        let hit = self.job.targets.intersect(&all);
        if hit.is_empty() { String::new() } else { format!("exclude {hit}\n") }
    }

    /// Whether the probe is to rest: while the appliance wants it, or does not take what was found, until half of that
    /// is gone.
    fn is_to_rest(&mut self) -> Result<bool, Error> {
        let (kept, most) = (self.desk.spool.size()?, self.desk.most_kept);
        if if self.full { kept <= most / 2 } else { kept >= most } {
            self.full = !self.full;
            let word = if self.full { "the probe rests" } else { "the probe goes on" };
            say(format_args!("{kept} bytes of results wait to be sent: {word}"));
        }
        Ok(self.full || self.shared.pause.load(Ordering::Relaxed))
    }

    /// As what the job is to end now, if it is to end early.
    fn wanted_end(&self) -> Option<(EndState, &'static str)> {
        if self.shared.cancel.load(Ordering::Relaxed) {
            return Some((EndState::Cancelled, "as the appliance asked"));
        }
        let over = self.desk.clock.appliance_now() >= self.job.expires;
        over.then_some((EndState::Failed, "the job's time was over"))
    }
}
