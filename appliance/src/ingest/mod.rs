//! What scanners talk to (port 8443), and the door by which results come in.
//!
//! This role faces hostile input and holds nothing: it opens jobs.db, its TLS leaf, and its ends of the spool. What it
//! knows of scanners is what the manager projected into jobs.db ([`crate::fleet`]). `docs/formats/scanner-api.md` is the
//! published description of the calls.

pub mod accept;
mod api;
mod enrol;
pub mod frame;
mod limit;
pub mod notes;
pub mod refusal;
pub mod spool;
mod store;
#[cfg(test)]
mod tests;
pub mod verify;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header, request::Parts as Head};
use axum::response::{IntoResponse as _, Response};
use axum_server::tls::TlsInfo;
use portolan_scanner::wire::fields::Fields;
use portolan_scanner::wire::{Id, MAX_FRAME};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::ids::Random;
use crate::jobs::{Jobs, Watch};
use crate::roles::Stop;
use limit::Limit;
use notes::Notes;
use refusal::Refusal;
use spool::Spool;
use verify::{Asked, Verified};

/// The largest body of every call but `results`.
const MAX_BODY: usize = 16 << 10;
/// How long a body may take to come: of a call of few lines, and of results on a slow line.
const BODY_TIME: Duration = Duration::from_secs(5);
const RESULTS_TIME: Duration = Duration::from_mins(2);
/// The longest wait for work, and for the manager's answer to an enrolment.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What ingest is made from.
#[derive(Clone)]
pub struct Parts {
    /// Tells the time.
    pub clock: Clock,
    /// Makes API keys.
    pub random: Random,
    /// jobs.db.
    pub jobs: Jobs,
    /// Where accepted frames go.
    pub spool: Spool,
    /// Where refusals go, on their way to the audit.
    pub notes: Notes,
    /// Ends the long waits, so that a stop need not wait for them.
    pub stop: Stop,
}

/// The role. Cheap to clone.
#[derive(Clone)]
struct Ingest(Arc<Inner>);

struct Inner {
    parts: Parts,
    scanners: Limit,
    strangers: Limit,
}

/// The scanner-facing API. Served over TLS with [`crate::tls::ingest_config`]; every request carries the peer's address
/// ([`ConnectInfo`]) and what TLS knows of it ([`TlsInfo`]).
pub fn router(parts: Parts) -> Router {
    let ingest =
        Ingest(Arc::new(Inner { parts, scanners: Limit::on_scanners(), strangers: Limit::on_strangers() }));
    Router::new().fallback(handle).with_state(ingest)
}

/// The calls. Every one but `enrol` is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Enrol,
    Heartbeat,
    Lease,
    Renew,
    Exclusions,
    Results,
    End,
}

impl Call {
    fn at(path: &str) -> Option<Self> {
        Some(match path.strip_prefix("/scanner/v1/")? {
            "enrol" => Self::Enrol,
            "heartbeat" => Self::Heartbeat,
            "lease" => Self::Lease,
            "renew" => Self::Renew,
            "exclusions" => Self::Exclusions,
            "results" => Self::Results,
            "end" => Self::End,
            _ => return None,
        })
    }
}

/// Who asks, as far as it is known when something is refused.
struct Asker {
    source: IpAddr,
    scanner: Option<Id>,
}

async fn handle(
    State(ingest): State<Ingest>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let mut asker = Asker { source: peer.ip().to_canonical(), scanner: None };
    let (head, body) = request.into_parts();
    match ingest.answer(&mut asker, &head, body).await {
        Ok(response) => response,
        Err(refusal) => {
            let (status, slug) = refusal.status_and_slug();
            let scanner = asker.scanner.map(|id| id.to_string()).unwrap_or_default();
            let path = head.uri.path();
            match &refusal {
                Refusal::Ours(error) => {
                    tracing::error!(source = %asker.source, scanner, path, %error, "a call failed");
                }
                other => {
                    tracing::info!(source = %asker.source, scanner, path, slug, detail = %other, "refused");
                }
            }
            ingest.0.parts.notes.note(&refusal, asker.source, asker.scanner);
            fields(status, refusal.body())
        }
    }
}

impl Ingest {
    async fn answer(&self, asker: &mut Asker, head: &Head, body: Body) -> Result<Response, Refusal> {
        let tls = head.extensions.get::<Arc<TlsInfo>>();
        let shows_one = tls.is_some_and(|tls| !tls.peer_certificates.is_empty());
        let limit = if shows_one { &self.0.scanners } else { &self.0.strangers };
        let _place = limit.enter(asker.source).ok_or(Refusal::Busy)?;
        let call = Call::at(head.uri.path()).ok_or(Refusal::NotFound)?;
        if head.method != Method::POST {
            return Err(Refusal::Method);
        }
        if call == Call::Enrol {
            let fields = Fields::parse(&read(body, &head.headers, MAX_BODY).await?)?;
            return self.enrol(asker.source, &fields).await;
        }
        let most = if call == Call::Results { MAX_FRAME } else { MAX_BODY };
        let (verified, body) = self.verify(asker, head, body, most).await?;
        match call {
            Call::Results => self.results(&verified, body).await,
            Call::Lease => self.lease(&verified, &Fields::parse(&body)?).await,
            Call::Renew => self.renew(&verified, &Fields::parse(&body)?).await,
            Call::Exclusions => self.exclusions(&Fields::parse(&body)?).await,
            Call::End => self.end(&verified, &Fields::parse(&body)?).await,
            Call::Heartbeat | Call::Enrol => {
                self.heartbeat(asker.source, &verified, &Fields::parse(&body)?).await
            }
        }
    }

    /// The body, once it is sure whose it is. What needs no body is checked before one byte of it is read.
    async fn verify(
        &self,
        asker: &mut Asker,
        head: &Head,
        body: Body,
        most: usize,
    ) -> Result<(Verified, Vec<u8>), Refusal> {
        let tls = head.extensions.get::<Arc<TlsInfo>>();
        let asked = Asked {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query(),
            headers: &head.headers,
            certificate: tls.and_then(|tls| tls.peer_certificates.first()).map(Vec::as_slice),
            source: asker.source,
        };
        let fingerprint = verify::fingerprint(&asked)?;
        let known = self.0.parts.jobs.read(move |db| store::by_certificate(db, &fingerprint)).await?;
        asker.scanner = known.as_ref().map(|known| known.id);
        let claim = verify::claim(&asked, known, self.0.parts.clock.now())?;
        let body = read(body, &head.headers, most).await?;
        let verified = claim.hold(&asked, &body)?;
        let (taken, source, now) = (verified.clone(), asker.source.to_string(), self.0.parts.clock.now());
        if !self.0.parts.jobs.write(move |tx| store::take_nonce(tx, &taken, &source, now)).await? {
            return Err(Refusal::Replayed);
        }
        Ok((verified, body))
    }
}

/// Waits for a write to jobs.db. False when there is nothing to wait for any more: `until` is there, or a stop.
async fn wait(watch: &mut Watch, until: Instant, stop: &Stop) -> bool {
    let stop = stop.clone();
    tokio::select! {
        changed = watch.changed_within(until.saturating_duration_since(Instant::now())) => changed,
        () = stop.asked() => false,
    }
}

async fn read(body: Body, headers: &HeaderMap, most: usize) -> Result<Vec<u8>, Refusal> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > most as u64) {
        return Err(Refusal::TooLarge);
    }
    let time = if most > MAX_BODY { RESULTS_TIME } else { BODY_TIME };
    let read = tokio::time::timeout(time, axum::body::to_bytes(body, most));
    Ok(read.await.map_err(|_| Refusal::Timeout)?.map_err(|_| Refusal::TooLarge)?.into())
}

/// Lines of `key: value`.
fn fields(status: u16, fields: Fields) -> Response {
    text(status, fields.into())
}

fn text(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).expect("statuses here are written as constants");
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}
