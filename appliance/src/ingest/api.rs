//! The signed calls: heartbeat, lease, renew, results, end.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use portolan_scanner::wire::Error as Malformed;
use portolan_scanner::wire::fields::Fields;
use portolan_scanner::wire::hex;
use tokio::time::Instant;

use super::accept::{self, Before, accept};
use super::frame::{self, Frame, JobFrame};
use super::refusal::Refusal;
use super::store::{self, Progress};
use super::verify::Verified;
use super::{Ingest, LONGEST_WAIT, fields, text, wait};
use crate::blocking;
use crate::clock::Timestamp;
use crate::error::Error;

/// The least time between two looks for work: every request of any scanner writes to jobs.db.
const REST: Duration = Duration::from_millis(25);
/// The longest name of a version.
const MAX_VERSION: usize = 64;
/// The longest account of how a job ended, in bytes.
const MAX_DETAIL: usize = 200;

impl Ingest {
    pub(super) async fn heartbeat(
        &self,
        source: IpAddr,
        who: &Verified,
        asked: &Fields,
    ) -> Result<Response, Refusal> {
        asked.only(&["version", "clock"])?;
        let (version, clock) = (software(asked)?, Timestamp::from_micros(asked.read("clock")?));
        let (scanner, source, now) = (who.scanner, source.to_string(), self.0.parts.clock.now());
        let heard =
            self.0.parts.jobs.write(move |tx| store::heard(tx, scanner, &source, &version, clock, now));
        heard.await?;
        Ok(fields(200, Fields::new().with("now", self.0.parts.clock.now().micros())))
    }

    /// Says that the scanner waits, and waits with it until the dispatcher has signed a job for it.
    pub(super) async fn lease(&self, who: &Verified, asked: &Fields) -> Result<Response, Refusal> {
        asked.only(&["wait"])?;
        let patience = Duration::from_secs(asked.read("wait")?).min(LONGEST_WAIT);
        let (scanner, jobs) = (who.scanner, &self.0.parts.jobs);
        let mut watch = jobs.watch();
        let until = Instant::now() + patience;
        let wanted_until = self.0.parts.clock.now() + patience;
        jobs.write(move |tx| store::want(tx, scanner, wanted_until)).await?;
        loop {
            if let Some((hash, frame)) = jobs.read(move |db| store::job_for(db, scanner)).await? {
                let now = self.0.parts.clock.now();
                let leased = jobs.write(move |tx| {
                    store::want_no_more(tx, scanner, wanted_until)?;
                    store::lease(tx, &hash, now)
                });
                if leased.await? {
                    return Ok(text(200, frame));
                }
            }
            if !wait(&mut watch, until, &self.0.parts.stop).await {
                jobs.write(move |tx| store::want_no_more(tx, scanner, wanted_until)).await?;
                return Ok(StatusCode::NO_CONTENT.into_response());
            }
            tokio::time::sleep(REST).await;
        }
    }

    pub(super) async fn renew(&self, who: &Verified, asked: &Fields) -> Result<Response, Refusal> {
        asked.only(&["job", "done", "open", "rate"])?;
        let count = |key| asked.read::<u64>(key).map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        let progress = Progress { done: count("done")?, open: count("open")?, rate: count("rate")? };
        let (hash, scanner, now) = (job(asked)?, who.scanner, self.0.parts.clock.now());
        let renewed = self.0.parts.jobs.write(move |tx| {
            Ok((store::renew(tx, &hash, scanner, progress, now)?, store::exclusions_sha256(tx)?))
        });
        let (state, exclusions) = renewed.await?;
        let answer = Fields::new().with("state", state);
        // Not known yet, just after jobs.db was lost: a scanner does not begin without it.
        Ok(fields(
            200,
            exclusions.into_iter().fold(answer, |answer, sha256| answer.with("exclusions", sha256)),
        ))
    }

    /// What every scanner leaves alone.
    pub(super) async fn exclusions(&self, asked: &Fields) -> Result<Response, Refusal> {
        asked.only(&[])?;
        let ranges = self.0.parts.jobs.read(store::exclusions).await?;
        Ok(text(200, ranges.ok_or_else(|| Error::internal("the exclusions are not known yet"))?))
    }

    pub(super) async fn end(&self, who: &Verified, asked: &Fields) -> Result<Response, Refusal> {
        asked.only(&["job", "state", "detail"])?;
        let state: String = asked.read("state")?;
        if !["done", "cancelled", "failed"].contains(&state.as_str()) {
            return Err(Malformed::Value {
                key: "state",
                value: "neither done nor cancelled nor failed".into(),
            }
            .into());
        }
        let mut detail = asked.get("detail").unwrap_or_default().to_owned();
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
        let (hash, scanner, now) = (job(asked)?, who.scanner, self.0.parts.clock.now());
        let known =
            self.0.parts.jobs.write(move |tx| store::end(tx, &hash, scanner, &state, &detail, now)).await?;
        if known { Ok(fields(200, Fields::new().with("ok", "yes"))) } else { Err(Refusal::UnknownJob) }
    }

    pub(super) async fn results(&self, who: &Verified, body: Vec<u8>) -> Result<Response, Refusal> {
        let frame = blocking::run(move || Frame::parse(body)).await??;
        if frame.scanner() != who.scanner {
            return Err(frame::Refusal::UnknownScanner(frame.scanner()).into());
        }
        let hash = frame.job();
        let (name, size) = (hash.clone(), frame.bytes().len() as u64);
        let sha256 = hex::encode(&frame.hash());
        let this = sha256.clone();
        let found = self
            .0
            .parts
            .jobs
            .read(move |db| Ok((store::job_frame(db, &hash)?, store::is_kept(db, &hash, &this)?)));
        let (job, kept) = found.await?;
        let (text, bytes) = job.ok_or_else(|| frame::Refusal::UnknownJob(frame.job()))?;
        let (spool, key, now) = (self.0.parts.spool.clone(), who.public_key, self.0.parts.clock.now());
        let accepted = blocking::run(move || {
            let job = JobFrame::parse(&text)?;
            accept(&spool, frame, &key, &job, Before { bytes, kept }, now)
        });
        let receipt = match accepted.await? {
            Ok(receipt) => receipt,
            Err(accept::Error::Refused(refusal)) => return Err(refusal.into()),
            Err(accept::Error::OverBudget(budget)) => return Err(Refusal::OverBudget(budget)),
            Err(accept::Error::NotKept(error)) => return Err(Error::from(error).into()),
        };
        // Counted after it is kept: a few that come at once may go beyond the budget, by so many frames and no more.
        if !kept {
            self.0.parts.jobs.write(move |tx| store::kept(tx, &name, &sha256, size)).await?;
        }
        let answer = Fields::new()
            .with("kind", "receipt")
            .with("frame", hex::encode(&receipt.frame))
            .with("accepted", receipt.accepted);
        Ok(fields(200, answer))
    }
}

/// The version of the scanner's program.
pub(super) fn software(asked: &Fields) -> Result<String, Malformed> {
    let version: String = asked.read("version")?;
    if version.is_empty() || version.len() > MAX_VERSION {
        return Err(Malformed::Value { key: "version", value: "missing or too long".into() });
    }
    Ok(version)
}

/// A job's hash.
fn job(asked: &Fields) -> Result<String, Malformed> {
    let hash: String = asked.read("job")?;
    match hex::decode::<32>(&hash) {
        Ok(_) => Ok(hash),
        Err(_) => Err(Malformed::Value { key: "job", value: "not a SHA-256 in hexadecimal".into() }),
    }
}
