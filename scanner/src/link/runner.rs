//! One job, from the lease to its end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::child::{EndState, Event, Line, Probe};
use super::journal::Journal;
use super::keeper::Keeper;
use super::session::{Session, nap};
use super::{Error, api, keys, say, sender};
use crate::net::Ranges;
use crate::wire::fields::Fields;
use crate::wire::{Job, hex, split};

/// How often the lease is renewed; the appliance wants to hear at least every 2 s.
const RENEW: Duration = Duration::from_millis(1500);

/// How often it is looked at how much waits in the spool.
const LOOK: Duration = Duration::from_millis(500);

/// How long the probe may take to end after a cancel.
const CANCEL: Duration = Duration::from_secs(30);

/// How long to wait after a job that was not taken: the next may be no better.
const REFUSED: Duration = Duration::from_secs(5);

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
struct Shared {
    done: AtomicU64,
    open: AtomicU64,
    rate: AtomicU64,
    /// The work is over.
    over: AtomicBool,
    /// The appliance wants the job to be cancelled.
    cancel: AtomicBool,
    /// The appliance wants it to rest.
    pause: AtomicBool,
    /// The appliance has given the job to another, or forgotten it, or revoked us.
    lost: AtomicBool,
    /// What the appliance wants left alone.
    excluded: Mutex<Ranges>,
    /// How often that was heard to have changed; 0: never heard.
    heard: AtomicU64,
}

impl Shared {
    fn set(&self, done: u64, open: u64, rate: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.open.store(open, Ordering::Relaxed);
        self.rate.store(rate, Ordering::Relaxed);
    }

    fn exclude(&self, addresses: Ranges) {
        *self.excluded.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
        self.heard.fetch_add(1, Ordering::Release);
    }
}

/// Does a job that the appliance leased, says how it ended, and forgets it.
pub fn work(session: &Session, frame: &[u8]) -> Result<(), Error> {
    let hash = keys::sha256(frame);
    let job = match accepted(session, frame) {
        Ok(job) => job,
        Err(reason) => {
            say(format_args!("a job was not taken: {reason}"));
            report(session, &hash, EndState::Failed, &reason)?;
            nap(REFUSED, || session.stopping());
            return Ok(());
        }
    };
    let mut journal = Journal::open(&session.folder, &hash, &job)?;
    Journal::forget_others(&session.folder, &hash)?;
    let (blocks, next) = (job.blocks(), journal.next());
    say(format_args!(
        "job {}: {} probes in {blocks} blocks, from block {next} of the walk on",
        job.id,
        job.probes()
    ));

    let shared = Shared::default();
    shared.set(journal.totals().probes, journal.totals().open, 0);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| renew(session, &hash, &shared));
        let mut run = Run {
            session,
            job: &job,
            keeper: Keeper::new(session, &job, hash, &mut journal),
            shared: &shared,
            cancel: None,
            full: false,
        };
        let outcome = run.run();
        shared.over.store(true, Ordering::Relaxed);
        outcome
    })?;
    match outcome {
        Outcome::Lost => say(format_args!("job {}: the appliance has taken it back", job.id)),
        Outcome::Ended(state, detail) => {
            say(format_args!("job {}: {} {detail}", job.id, state.as_str()));
            report(session, &hash, state, &detail)?;
        }
    }
    journal.remove()
}

/// Reads a job; the error is what the appliance is told.
fn accepted(session: &Session, frame: &[u8]) -> Result<Job, String> {
    let signed = split(frame).map_err(|error| error.to_string())?;
    if !keys::verify(&session.settings.job_key, signed.text.as_bytes(), &signed.signature) {
        return Err("the job is not signed by the key that was given at enrolment".into());
    }
    let job = Job::decode(signed.text).map_err(|error| error.to_string())?;
    if job.scanner != session.settings.scanner {
        return Err("the job is another scanner's".into());
    }
    if session.clock.appliance_now() >= job.expires {
        return Err("the job's time was over before it began".into());
    }
    Ok(job)
}

/// Says how a job ended, until the appliance has heard it.
fn report(session: &Session, hash: &[u8; 32], state: EndState, detail: &str) -> Result<(), Error> {
    let detail: String = detail.chars().take(200).collect();
    let body = Fields::new()
        .with("job", hex::encode(hash))
        .with("state", state.as_str())
        .with("detail", if detail.is_empty() { "-" } else { &detail })
        .to_string();
    let (mut client, mut backoff) = (session.client(), Backoff::new(Duration::from_mins(1)));
    loop {
        match client.post("/scanner/v1/end", body.as_bytes(), api::SHORT) {
            Ok(_) => return Ok(()),
            Err(Error::Refused { status, slug, detail }) if sender::for_ever(status) => {
                say(format_args!("the end of the job was not taken: {slug}: {detail}"));
                return Ok(());
            }
            Err(error) => session.trouble("the job's end cannot be said", error, backoff.wait())?,
        }
    }
}

/// Renews the lease until the job is over.
fn renew(session: &Session, hash: &[u8; 32], shared: &Shared) {
    let (mut client, mut backoff) = (session.client(), Backoff::new(Duration::from_secs(8)));
    let over = || shared.over.load(Ordering::Relaxed) || session.stopping();
    let mut excluded = String::new();
    while !over() {
        let body = Fields::new()
            .with("job", hex::encode(hash))
            .with("done", shared.done.load(Ordering::Relaxed))
            .with("open", shared.open.load(Ordering::Relaxed))
            .with("rate", shared.rate.load(Ordering::Relaxed))
            .to_string();
        let answer = client
            .post("/scanner/v1/renew", body.as_bytes(), api::SHORT)
            .and_then(|answer| answer.fields())
            .and_then(|fields| {
                if let Some(digest) = fields.get("exclusions").filter(|digest| *digest != excluded) {
                    shared.exclude(exclusions(&mut client)?);
                    digest.clone_into(&mut excluded);
                }
                Ok(fields)
            });
        let wait = match answer.as_ref().map(|fields| fields.get("state").unwrap_or_default()) {
            Ok("lost") => {
                shared.lost.store(true, Ordering::Relaxed);
                return;
            }
            Ok(state) => {
                shared.cancel.fetch_or(state == "cancel", Ordering::Relaxed);
                shared.pause.store(state == "pause", Ordering::Relaxed);
                backoff.reset();
                RENEW
            }
            Err(error) if error.is("revoked") => {
                say(format_args!("probing ends at once: {error}"));
                shared.lost.store(true, Ordering::Relaxed);
                return;
            }
            Err(error) => {
                say(format_args!("the lease cannot be renewed: {error}; probing goes on"));
                backoff.wait()
            }
        };
        nap(wait, over);
    }
}

/// What the appliance wants left alone. The next answer to a renewal tells if it changed while it was asked.
fn exclusions(client: &mut api::Client) -> Result<Ranges, Error> {
    let list = client.post("/scanner/v1/exclusions", b"", api::SHORT)?.body;
    let unreadable = |what: String| Error::Protocol(format!("the exclusions cannot be read: {what}"));
    let list = str::from_utf8(&list).map_err(|error| unreadable(error.to_string()))?;
    Ranges::parse(list).map_err(|error| unreadable(error.to_string()))
}

/// A job at work.
struct Run<'a> {
    session: &'a Session,
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

impl Run<'_> {
    /// Runs probes until every block is done or there is no use in it, and waits until all results are sent.
    fn run(&mut self) -> Result<Outcome, Error> {
        let mut failures = 0;
        let mut ended = (EndState::Done, String::new());
        // Nothing is sent before it is known what must be left alone.
        while self.shared.heard.load(Ordering::Acquire) == 0 && !self.keeper.journal.complete() {
            if self.session.stopping() {
                return Err(Error::Stopped);
            }
            if self.shared.lost.load(Ordering::Relaxed) {
                return Ok(Outcome::Lost);
            }
            if self.session.clock.appliance_now() >= self.job.expires {
                return Ok(Outcome::Ended(EndState::Failed, "the job's time was over".into()));
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
                (_, Some((_, state, detail))) => {
                    ended = (state, detail.to_owned());
                    break;
                }
                (Ending::Said(EndState::Done, _), None) if self.keeper.journal.complete() => break,
                (Ending::Said(EndState::Done, _), None) => {
                    "it said that it was done, but blocks are missing".into()
                }
                (Ending::Said(_, detail) | Ending::Broken(detail), None) => detail,
            };
            failures += 1;
            say(format_args!("the probe process failed: {trouble}"));
            if failures == TRIES {
                ended = (EndState::Failed, trouble);
                break;
            }
        }
        if !self.until_sent()? {
            return Ok(Outcome::Lost);
        }
        let refused = self.session.spool.set_aside_of(&self.keeper.hash)?;
        if refused > 0 && ended.0 == EndState::Done {
            ended = (EndState::Failed, format!("the appliance refused {refused} of the results"));
        }
        Ok(Outcome::Ended(ended.0, ended.1))
    }

    /// Starts one probe process and keeps what it finds until it ends.
    fn one_probe(&mut self) -> Result<Ending, Error> {
        let command = &self.session.probe;
        let (sender, events) = sync_channel(1024);
        let mut heard = self.shared.heard.load(Ordering::Acquire);
        let mut rests = self.is_to_rest()?;
        let opening = format!(
            "{}{}.\nstart {}\n{}",
            self.excluded(),
            self.job.encode(),
            self.keeper.journal.next(),
            if rests { "pause\n" } else { "" }
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
            if self.session.stopping() {
                break Err(Error::Stopped);
            }
            if self.shared.lost.load(Ordering::Relaxed) {
                break Ok(Ending::Lost);
            }
            if self.shared.cancel.load(Ordering::Relaxed) {
                self.cancel(&probe, EndState::Cancelled, "as the appliance asked");
            }
            if self.cancel.is_none() && self.session.clock.appliance_now() >= self.job.expires {
                self.cancel(&probe, EndState::Failed, "the job's time was over");
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
        let mut all = self.shared.excluded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !self.job.own {
            all = all.union(&self.session.dial.appliance());
        }
        let hit = self.job.targets.intersect(&all);
        if hit.is_empty() { String::new() } else { format!("exclude {hit}\n") }
    }

    /// Whether the probe is to rest: while the appliance wants it, or does not take what was found, until half of that
    /// is gone.
    fn is_to_rest(&mut self) -> Result<bool, Error> {
        let (kept, most) = (self.session.spool.size()?, self.session.most_kept);
        if if self.full { kept <= most / 2 } else { kept >= most } {
            self.full = !self.full;
            let word = if self.full { "the probe rests" } else { "the probe goes on" };
            say(format_args!("{kept} bytes of results wait to be sent: {word}"));
        }
        Ok(self.full || self.shared.pause.load(Ordering::Relaxed))
    }

    fn cancel(&mut self, probe: &Probe, state: EndState, detail: &'static str) {
        if self.cancel.is_none() {
            self.cancel = Some((Instant::now(), state, detail));
            probe.say("cancel");
        }
    }

    /// Waits until the appliance has every result of this job; `false` if the job is not ours any more. Then what
    /// is left is sent all the same.
    fn until_sent(&self) -> Result<bool, Error> {
        while self.session.spool.waiting()?.iter().any(|name| name.job == self.keeper.hash) {
            if self.session.stopping() {
                return Err(Error::Stopped);
            }
            if self.shared.lost.load(Ordering::Relaxed) {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(true)
    }
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
