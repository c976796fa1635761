//! The call `enrol`: the one that needs neither certificate nor key.

use std::net::IpAddr;

use axum::response::Response;
use portolan_scanner::wire::fields::Fields;
use portolan_scanner::wire::hex;
use tokio::time::Instant;

use super::refusal::Refusal;
use super::store::{self, Answered};
use super::{Ingest, LONGEST_WAIT, fields, wait};
use crate::error::Error;
use crate::fleet::enrolment::{self, is_proven};
use crate::secrets::sha256;

/// How often a key may ask again for an answer that it lost: each is a new certificate, and an entry in the audit.
const MOST_GRANTS: u32 = 20;

impl Ingest {
    /// Checks what can be checked here, queues it for the manager, and gives the manager's answer. The API key is made
    /// here and told here; beyond this request there is only its hash. Which key signs jobs is not told: it came with
    /// the enrolment command, from the manager.
    pub(super) async fn enrol(&self, source: IpAddr, asked: &Fields) -> Result<Response, Refusal> {
        asked.only(&["token", "public-key", "proof", "version"])?;
        let get = |key: &'static str| asked.read::<String>(key);
        let (token, public_key, proof) = (get("token")?, get("public-key")?, get("proof")?);
        let version = super::api::software(asked)?;
        let token_sha256 = sha256(token.as_bytes());
        let hash = hex::encode(&token_sha256);
        let now = self.0.parts.clock.now();
        let (of_token, of_key) = (hash.clone(), public_key.clone());
        let known = self.0.parts.jobs.read(move |db| store::token(db, &of_token, &of_key)).await?;
        let known = known.ok_or(enrolment::Refusal::TokenUnknown)?;
        if known.revoked {
            return Err(enrolment::Refusal::Revoked.into());
        }
        if known.used && !(1..MOST_GRANTS).contains(&known.by_this_key) {
            return Err(enrolment::Refusal::TokenUsed.into());
        }
        if known.expires_at <= now {
            return Err(enrolment::Refusal::TokenExpired.into());
        }
        if !is_proven(&token_sha256, &public_key, &proof) {
            return Err(enrolment::Refusal::BadProof.into());
        }
        let api_key = format!("pts_{}", self.0.parts.random.token());
        let new = store::Enrolment {
            token_sha256: hash,
            public_key,
            proof,
            api_key_sha256: hex::encode(&sha256(api_key.as_bytes())),
            version,
            source: source.to_string(),
        };
        let mut watch = self.0.parts.jobs.watch();
        let row = self.0.parts.jobs.write(move |tx| store::queue(tx, &new, now)).await?;
        let until = Instant::now() + LONGEST_WAIT;
        loop {
            match self.0.parts.jobs.read(move |db| store::answered(db, row)).await? {
                Some(Answered::Granted { scanner, vantage, certificate }) => {
                    let answer = Fields::new()
                        .with("scanner", scanner)
                        .with("vantage", vantage)
                        .with("api-key", api_key)
                        .with("certificate", certificate)
                        .with("now", self.0.parts.clock.now().micros());
                    return Ok(fields(200, answer));
                }
                Some(Answered::Refused(slug)) => {
                    let refusal = slug.parse::<enrolment::Refusal>();
                    return Err(match refusal {
                        Ok(refusal) => refusal.into(),
                        Err(()) => Error::internal(format!("unknown refusal {slug:?}")).into(),
                    });
                }
                Some(Answered::Gone) => return Ok(again()),
                None => {}
            }
            if !wait(&mut watch, until, &self.0.parts.stop).await {
                return Ok(again());
            }
        }
    }
}

/// The manager has not answered: the same may be asked again.
fn again() -> Response {
    fields(202, Fields::new().with("retry-after", 2))
}
