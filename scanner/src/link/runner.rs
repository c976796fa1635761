//! One job, from the lease to its end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::backoff::Backoff;
use super::session::{LONGEST, Session, nap};
use super::{Error, api, say, sender};
use crate::crypto;
use crate::net::Ranges;
use crate::wire::fields::Fields;
use crate::wire::{Job, hex};
use crate::work::child::EndState;
use crate::work::journal::Journal;
use crate::work::run::{Outcome, Run, Shared, signed_job};

/// How often the lease is renewed; the appliance wants to hear at least every 2 s.
const RENEW: Duration = Duration::from_millis(1500);

/// The longest wait before a renewal is tried again.
const RETRY: Duration = Duration::from_secs(8);

/// How long the list of exclusions may take, within the minute after which a silent scanner loses its job.
const LIST: Duration = Duration::from_secs(40);

/// How long to wait after a job that was not taken: the next may be no better.
const REFUSED: Duration = Duration::from_secs(5);

/// Does a job that the appliance leased, says how it ended, and forgets it.
pub fn work(session: &Session, frame: &[u8]) -> Result<(), Error> {
    let hash = crypto::sha256(frame);
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

    let (stopping, appliance) = (|| session.stopping(), || session.dial.appliance());
    let desk = session.desk(&stopping, &appliance);
    let (shared, over) = (Shared::default(), AtomicBool::new(false));
    shared.set(journal.totals().probes, journal.totals().open, 0);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| renew(session, &hash, &shared, &over));
        let outcome = Run::new(&desk, &job, hash, &mut journal, &shared)
            .run()
            .and_then(|outcome| when_sent(session, hash, &shared, outcome));
        over.store(true, Ordering::Relaxed);
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
    let job = signed_job(frame, &session.settings.job_key, session.settings.scanner)?;
    if session.clock.appliance_now() >= job.expires {
        return Err("the job's time was over before it began".into());
    }
    Ok(job)
}

/// Waits until the appliance has every result of this job, unless the job is not ours any more; then what is left is
/// sent all the same.
fn when_sent(session: &Session, job: [u8; 32], shared: &Shared, outcome: Outcome) -> Result<Outcome, Error> {
    while outcome != Outcome::Lost && session.spool.waiting()?.iter().any(|name| name.job == job) {
        if session.stopping() {
            return Err(Error::Stopped);
        }
        if shared.lost.load(Ordering::Relaxed) {
            return Ok(Outcome::Lost);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    match (session.spool.set_aside_of(&job)?, outcome) {
        (refused @ 1.., Outcome::Ended(EndState::Done, _)) => {
            Ok(Outcome::Ended(EndState::Failed, format!("the appliance refused {refused} of the results")))
        }
        (_, outcome) => Ok(outcome),
    }
}

/// Says how a job ended, until the appliance has heard it.
fn report(session: &Session, hash: &[u8; 32], state: EndState, detail: &str) -> Result<(), Error> {
    let detail: String = detail.chars().take(200).collect();
    let body = Fields::new()
        .with("job", hex::encode(hash))
        .with("state", state.as_str())
        .with("detail", if detail.is_empty() { "-" } else { &detail })
        .to_string();
    let mut client = session.client();
    session.insist("the job's end cannot be said", LONGEST, || {
        match client.post("/scanner/v1/end", body.as_bytes(), api::SHORT) {
            Err(Error::Refused { status, slug, detail }) if sender::for_ever(status) => {
                say(format_args!("the end of the job was not taken: {slug}: {detail}"));
                Ok(())
            }
            said => said.map(drop),
        }
    })
}

/// Renews the lease until the job is over.
fn renew(session: &Session, hash: &[u8; 32], shared: &Shared, over: &AtomicBool) {
    let (mut client, mut backoff) = (session.client(), Backoff::new(RETRY));
    let is_over = || over.load(Ordering::Relaxed) || session.stopping();
    let mut excluded = String::new();
    while !is_over() {
        let body = Fields::new()
            .with("job", hex::encode(hash))
            .with("done", shared.done.load(Ordering::Relaxed))
            .with("open", shared.open.load(Ordering::Relaxed))
            .with("rate", shared.rate.load(Ordering::Relaxed))
            .to_string();
        let answer = client.post("/scanner/v1/renew", body.as_bytes(), api::SHORT);
        let obeyed = answer.and_then(|answer| answer.fields()).and_then(|fields| {
            let state = fields.get("state").unwrap_or_default();
            shared.lost.fetch_or(state == "lost", Ordering::Relaxed);
            shared.cancel.fetch_or(state == "cancel", Ordering::Relaxed);
            let digest = fields.get("exclusions").filter(|digest| *digest != excluded);
            // Nothing goes until it is known what else is to be left alone.
            shared.pause.store(state == "pause" || digest.is_some(), Ordering::Relaxed);
            if let Some(digest) = digest {
                shared.exclude(exclusions(&mut client)?);
                digest.clone_into(&mut excluded);
                shared.pause.store(state == "pause", Ordering::Relaxed);
            }
            Ok(())
        });
        let wait = match obeyed {
            Ok(()) => {
                backoff = Backoff::new(RETRY);
                RENEW
            }
            Err(error) if error.is("revoked") => {
                say(format_args!("probing ends at once: {error}"));
                shared.lost.store(true, Ordering::Relaxed);
                Duration::ZERO
            }
            Err(error) => {
                let goes_on = shared.is_known() && !shared.pause.load(Ordering::Relaxed);
                let so = if goes_on { "probing goes on" } else { "nothing is probed until then" };
                say(format_args!("the appliance's word on the job cannot be had: {error}; {so}"));
                backoff.wait()
            }
        };
        if shared.lost.load(Ordering::Relaxed) {
            return;
        }
        nap(wait, is_over);
    }
}

/// What the appliance wants left alone. The next answer to a renewal tells if it changed while it was asked.
fn exclusions(client: &mut api::Client) -> Result<Ranges, Error> {
    let list = client.post("/scanner/v1/exclusions", b"", LIST)?.body;
    let unreadable = |what: String| Error::Protocol(format!("the exclusions cannot be read: {what}"));
    let list = str::from_utf8(&list).map_err(|error| unreadable(error.to_string()))?;
    Ranges::parse(list).map_err(|error| unreadable(error.to_string()))
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
