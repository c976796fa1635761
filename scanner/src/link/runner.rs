//! One job, from the lease to its end.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::child::{EndState, Event, Line, Probe};
use super::journal::{Done, Journal};
use super::session::{Session, nap};
use super::spool::Name;
use super::{Error, api, keys, say};
use crate::wire::fields::Fields;
use crate::wire::{HostRecord, Job, Reason, Results, hex, results, seal, split};

/// How often the lease is renewed; the appliance wants to hear at least every 2 s.
const RENEW: Duration = Duration::from_millis(1500);

/// A part of a block is sent when its text is longer than this. One host more takes at most 2.4 MB, so that a frame
/// stays below its limit.
const PART: usize = 1 << 20;

/// How many finished blocks go into the spool at once, at most.
const GROUP: usize = 64;

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
    /// The appliance has given the job to another, or forgotten it.
    lost: AtomicBool,
}

impl Shared {
    fn set(&self, done: u64, open: u64, rate: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.open.store(open, Ordering::Relaxed);
        self.rate.store(rate, Ordering::Relaxed);
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
            hash,
            journal: &mut journal,
            shared: &shared,
            finished: Vec::new(),
            cancel: None,
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
        return Err("the job is not signed by the key that was pinned at enrolment".into());
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
            Err(Error::Refused { status, slug, detail }) if (400..500).contains(&status) && status != 401 => {
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
    while !over() {
        let body = Fields::new()
            .with("job", hex::encode(hash))
            .with("done", shared.done.load(Ordering::Relaxed))
            .with("open", shared.open.load(Ordering::Relaxed))
            .with("rate", shared.rate.load(Ordering::Relaxed))
            .to_string();
        let answer =
            client.post("/scanner/v1/renew", body.as_bytes(), api::SHORT).and_then(|answer| answer.fields());
        let wait = match answer.as_ref().map(|fields| fields.get("state").unwrap_or_default()) {
            Ok("cancel") => {
                shared.cancel.store(true, Ordering::Relaxed);
                RENEW
            }
            Ok("lost") => {
                shared.lost.store(true, Ordering::Relaxed);
                return;
            }
            Ok(_) => {
                backoff.reset();
                RENEW
            }
            Err(error) => {
                say(format_args!("the lease cannot be renewed: {error}; probing goes on"));
                backoff.wait()
            }
        };
        nap(wait, over);
    }
}

/// A job at work.
struct Run<'a> {
    session: &'a Session,
    job: &'a Job,
    hash: [u8; 32],
    journal: &'a mut Journal,
    shared: &'a Shared,
    /// Blocks that are whole, but not yet in the spool.
    finished: Vec<Block>,
    /// Since when it is to end early, and as what.
    cancel: Option<(Instant, EndState, &'static str)>,
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
        while !self.journal.complete() {
            let before = self.journal.totals();
            let ending = self.one_probe()?;
            if self.journal.totals() != before {
                failures = 0;
            }
            let trouble = match (ending, self.cancel) {
                (Ending::Lost, _) => return Ok(Outcome::Lost),
                (_, Some((_, state, detail))) => {
                    ended = (state, detail.to_owned());
                    break;
                }
                (Ending::Said(EndState::Done, _), None) if self.journal.complete() => break,
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
        let refused = self.session.spool.set_aside_of(&self.hash)?;
        if refused > 0 && ended.0 == EndState::Done {
            ended = (EndState::Failed, format!("the appliance refused {refused} of the results"));
        }
        Ok(Outcome::Ended(ended.0, ended.1))
    }

    /// Starts one probe process and keeps what it finds until it ends.
    fn one_probe(&mut self) -> Result<Ending, Error> {
        let command = &self.session.probe;
        let (sender, events) = sync_channel(1024);
        let mut probe = match Probe::start(command, &self.job.encode(), self.journal.next(), sender) {
            Ok(probe) => probe,
            Err(error) => return Ok(Ending::Broken(error.to_string())),
        };
        let before = self.journal.totals();
        let mut block: Option<Block> = None;
        let ending = loop {
            if self.session.stopping() {
                break Err(Error::Stopped);
            }
            if self.shared.lost.load(Ordering::Relaxed) {
                break Ok(Ending::Lost);
            }
            if self.shared.cancel.load(Ordering::Relaxed) {
                self.cancel(&mut probe, EndState::Cancelled, "as the appliance asked");
            }
            if self.cancel.is_none() && self.session.clock.appliance_now() >= self.job.expires {
                self.cancel(&mut probe, EndState::Failed, "the job's time was over");
            }
            if self.cancel.is_some_and(|(since, ..)| since.elapsed() > CANCEL) {
                break Ok(Ending::Broken("it did not end when it was cancelled".into()));
            }
            let event = if let Ok(event) = events.try_recv() {
                event
            } else {
                self.commit()?;
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
            match (said, &mut block) {
                (Line::Progress { done, open, rate }, _) => {
                    self.shared.set(done, before.open.saturating_add(open), rate);
                }
                (Line::End { state, detail }, None) => break Ok(Ending::Said(state, detail)),
                (Line::Block { block: number, started, ended, sent }, None)
                    if number < self.job.blocks()
                        && self.finished.iter().all(|done| done.number != number) =>
                {
                    block = Some(Block { number, started, ended, sent, ..Block::default() });
                }
                (Line::Body(line), Some(open)) => match self.add(open, &line) {
                    Err(Error::Probe(what)) => break Ok(Ending::Broken(what)),
                    Err(error) => break Err(error),
                    Ok(()) => {}
                },
                (Line::Dot, Some(open)) => match self.finish(open) {
                    Err(Error::Probe(what)) => break Ok(Ending::Broken(what)),
                    Err(error) => break Err(error),
                    Ok(()) => block = None,
                },
                (line, _) => break Ok(Ending::Broken(format!("it said {line:?} out of turn"))),
            }
        };
        if let Some(block) = block {
            self.session.spool.discard(&block.parts);
        }
        self.commit()?;
        ending
    }

    fn cancel(&mut self, probe: &mut Probe, state: EndState, detail: &'static str) {
        if self.cancel.is_none() {
            self.cancel = Some((Instant::now(), state, detail));
            if let Err(error) = probe.say("cancel") {
                say(error);
            }
        }
    }

    /// Takes a body line of the block.
    fn add(&self, block: &mut Block, line: &str) -> Result<(), Error> {
        if block.text.len() > PART && line.starts_with("host") {
            self.prepare(block, false)?;
        }
        block.text.push_str(line);
        block.text.push('\n');
        Ok(())
    }

    /// Writes the part that was read, signed.
    fn prepare(&self, block: &mut Block, last: bool) -> Result<(), Error> {
        let wrong = |error: crate::wire::Error| Error::Probe(format!("block {}: {error}", block.number));
        let hosts = results::parse_hosts(&block.text).map_err(wrong)?;
        let first = hosts.first().map(|host| host.first);
        if block.reached.is_some_and(|reached| first.is_none_or(|first| first <= reached)) {
            return Err(Error::Probe(format!("block {}: hosts do not ascend", block.number)));
        }
        let mut part = Results {
            job: self.hash,
            block: block.number,
            part: u32::try_from(block.parts.len()).unwrap_or(u32::MAX),
            last,
            scanner: self.job.scanner,
            clock: self.session.clock.now(),
            offset: self.session.clock.offset(),
            started: block.started,
            ended: block.ended,
            probes: 0,
            sent: if block.parts.is_empty() { block.sent } else { 0 },
            hosts,
        };
        let stopped = |host: &HostRecord| {
            host.base == Reason::Cancelled
                || host.exceptions.iter().any(|run| run.reason == Reason::Cancelled)
        };
        if self.cancel.is_none() && part.hosts.iter().any(stopped) {
            return Err(Error::Probe("it was stopped from outside".into()));
        }
        let count = part.targets().count();
        part.probes =
            u64::try_from(count.saturating_mul(u128::from(self.job.ports.count()))).unwrap_or(u64::MAX);
        part.check_against(self.job).map_err(wrong)?;
        block.hosts += count;
        block.probes += part.probes;
        block.open += part.hosts.iter().map(open_ports).sum::<u64>();
        block.reached = part.hosts.last().map(|host| host.last);
        let name = Name { job: self.hash, block: block.number, part: part.part };
        let frame = seal(part.encode(), |text| self.session.credentials.identity.sign(text));
        block.parts.push(name);
        block.files.push(self.session.spool.prepare(&name, &frame)?);
        block.text.clear();
        Ok(())
    }

    /// Takes a whole block; it is in the spool after the next [`Run::commit`].
    fn finish(&mut self, block: &mut Block) -> Result<(), Error> {
        self.prepare(block, true)?;
        if block.hosts != self.job.block_targets(block.number).count() {
            return Err(Error::Probe(format!("block {}: hosts are missing", block.number)));
        }
        if self.journal.is_ahead(block.number) {
            // Done before a restart, out of turn.
            self.session.spool.discard(&block.parts);
            return Ok(());
        }
        self.finished.push(std::mem::take(block));
        if self.finished.len() < GROUP { Ok(()) } else { self.commit() }
    }

    /// Puts the finished blocks into the spool. Many at once cost the disk little more than one.
    fn commit(&mut self) -> Result<(), Error> {
        if self.finished.is_empty() {
            return Ok(());
        }
        let mut finished = std::mem::take(&mut self.finished);
        let files: Vec<File> = finished.iter_mut().flat_map(|block| block.files.drain(..)).collect();
        self.session.spool.settle(&files)?;
        let done = |block: &Block| Done { block: block.number, probes: block.probes, open: block.open };
        self.journal.note(&finished.iter().map(done).collect::<Vec<_>>())?;
        let names: Vec<Name> = finished.iter().flat_map(|block| block.parts.iter().copied()).collect();
        self.session.spool.publish(&names)
    }

    /// Waits until the appliance has every result of this job; `false` if the job is not ours any more. Then what
    /// is left is sent all the same.
    fn until_sent(&self) -> Result<bool, Error> {
        while self.session.spool.waiting()?.iter().any(|name| name.job == self.hash) {
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

/// A block that is being read.
#[derive(Debug, Default)]
struct Block {
    number: u64,
    started: i64,
    ended: i64,
    sent: u64,
    /// The body lines of the part that is being read.
    text: String,
    parts: Vec<Name>,
    files: Vec<File>,
    hosts: u128,
    probes: u64,
    open: u64,
    /// The last host of the parts before.
    reached: Option<u128>,
}

fn open_ports(host: &HostRecord) -> u64 {
    host.exceptions.iter().filter(|run| run.reason == Reason::SynAck).count() as u64
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
