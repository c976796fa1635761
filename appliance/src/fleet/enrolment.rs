//! Enrolment: ingest queues what a scanner asks, the manager performs it here, ingest gives the answer.
//!
//! A token works once, for one key. As long as the scanner has not been heard of after that, the same key may ask
//! again: its first answer may have been lost on the way. The key is what it proves to hold.

use std::fmt;
use std::str::FromStr;

use portolan_scanner::wire::{base64, enrolment_proof, hex};
use rusqlite::{Connection, Row, Transaction};
use serde_json::json;

use super::Fleet;
use super::store::{self, ScannerRow, TokenRow};
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::secrets::{sha256, signing};
use crate::tls;

/// Why a scanner may not enrol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody offered this token, or a newer one took its place.
    TokenUnknown,
    /// Another key used it, or the scanner is enrolled for good.
    TokenUsed,
    /// It was not used in time.
    TokenExpired,
    /// The key that is to be enrolled did not sign the token.
    BadProof,
    /// The scanner was revoked: for ever.
    Revoked,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::TokenUnknown, Self::TokenUsed, Self::TokenExpired, Self::BadProof, Self::Revoked];

    /// One word for the answer, the audit and the count of a flood.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::TokenUnknown => "token-unknown",
            Self::TokenUsed => "token-used",
            Self::TokenExpired => "token-expired",
            Self::BadProof => "bad-proof",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenUnknown => "this token is not known: make a new one on the appliance",
            Self::TokenUsed => "this token was used: make a new one on the appliance",
            Self::TokenExpired => "this token has expired: make a new one on the appliance",
            Self::BadProof => "the proof does not fit the public key and the token",
            Self::Revoked => "this scanner was revoked: add a new one on the appliance",
        })
    }
}

impl std::error::Error for Refusal {}

impl FromStr for Refusal {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        Self::ALL.into_iter().find(|refusal| refusal.slug() == text).ok_or(())
    }
}

/// Whether the holder of this key signed for this token. `public_key` and `proof` are base64.
#[must_use]
pub fn is_proven(token_sha256: &[u8; 32], public_key: &str, proof: &str) -> bool {
    match (base64::decode_array::<32>(public_key), base64::decode_array::<64>(proof)) {
        (Ok(key), Ok(signature)) => {
            signing::verify(&key, enrolment_proof(token_sha256).as_bytes(), &signature)
        }
        _ => false,
    }
}

/// What a scanner asked, as ingest queued it.
struct Asked {
    row: i64,
    token_sha256: String,
    public_key: String,
    proof: String,
    api_key_sha256: String,
    version: String,
    source: String,
}

/// What the scanner gets.
struct Granted {
    scanner: String,
    vantage: String,
    certificate: String,
}

impl Fleet {
    /// Performs every enrolment that is queued. One that fails by a fault of ours stays queued, and does not stop the
    /// others.
    pub(super) async fn perform_enrolments(&self) -> Result<()> {
        for asked in self.0.parts.jobs.read(queue).await? {
            let row = asked.row;
            let answer = match self.grant(asked).await {
                Ok(granted) => {
                    self.project().await?;
                    Ok(granted)
                }
                Err(Failure::Refused(refusal)) => Err(refusal),
                Err(Failure::Ours(error)) => {
                    tracing::error!(%error, "an enrolment could not be performed; it stays queued");
                    continue;
                }
            };
            self.0.parts.jobs.write(move |tx| answer_queued(tx, row, &answer)).await?;
        }
        Ok(())
    }

    async fn grant(&self, asked: Asked) -> std::result::Result<Granted, Failure> {
        let token_sha256 = hex::decode::<32>(&asked.token_sha256).map_err(|_| Refusal::TokenUnknown)?;
        if !is_proven(&token_sha256, &asked.public_key, &asked.proof) {
            return Err(Refusal::BadProof.into());
        }
        let public_key = base64::decode_array::<32>(&asked.public_key).map_err(|_| Refusal::BadProof)?;
        let (ca, now) = (self.0.parts.ca.whole()?, self.0.parts.clock.now());
        let mut actor = Actor::system("manager");
        if let Ok(source) = asked.source.parse() {
            actor = actor.seen_from(source);
        }
        let granted = self.0.parts.store.change(&actor, move |tx| {
            let (before, token) = match admitted(tx, &asked, now)? {
                Ok(admitted) => admitted,
                // Carried out of the change, which so leaves nothing behind.
                Err(refusal) => return Err(Error::internal(refusal)),
            };
            let certificate = ca.issue_client_certificate(&public_key, before.id)?;
            let after = ScannerRow {
                public_key: Some(asked.public_key.clone()),
                certificate_sha256: Some(tls::fingerprint(&certificate)),
                api_key_sha256: Some(asked.api_key_sha256.clone()),
                enrolled_at: Some(now),
                ..before.clone()
            };
            store::update_scanner(tx, &after, now)?;
            store::use_token(tx, &token.sha256, &asked.public_key, now)?;
            let key = hex::encode(&sha256(&public_key));
            let entry = Entry::updated("scanner", before.id, &before, &after)
                .action("scanner.enrolled")
                .detail(&json!({ "software": asked.version, "public_key_sha256": key }));
            let granted = Granted {
                scanner: before.id.to_string(),
                vantage: before.vantage.id.to_string(),
                certificate: base64::encode(&certificate),
            };
            Ok((entry, granted))
        });
        granted.await.map_err(Failure::of)
    }
}

enum Failure {
    Refused(Refusal),
    Ours(Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::of(error)
    }
}

impl Failure {
    fn of(error: Error) -> Self {
        match error {
            Error::Internal(cause) => match cause.downcast::<Refusal>() {
                Ok(refusal) => Self::Refused(*refusal),
                Err(cause) => Self::Ours(Error::Internal(cause)),
            },
            other => Self::Ours(other),
        }
    }
}

/// The scanner and the token of this request, if it may enrol.
fn admitted(
    tx: &Transaction,
    asked: &Asked,
    now: Timestamp,
) -> Result<std::result::Result<(ScannerRow, TokenRow), Refusal>> {
    let Some(token) = store::token(tx, &asked.token_sha256)? else {
        return Ok(Err(Refusal::TokenUnknown));
    };
    let scanner = store::scanner(tx, token.scanner)?;
    let by_this_key = token.public_key.as_ref() == Some(&asked.public_key);
    Ok(if scanner.revoked_at.is_some() {
        Err(Refusal::Revoked)
    } else if scanner.confirmed_at.is_some() || (token.used_at.is_some() && !by_this_key) {
        Err(Refusal::TokenUsed)
    } else if token.expires_at <= now {
        Err(Refusal::TokenExpired)
    } else {
        Ok((scanner, token))
    })
}

fn queue(db: &Connection) -> Result<Vec<Asked>> {
    let asked = |row: &Row| {
        Ok(Asked {
            row: row.get(0)?,
            token_sha256: row.get(1)?,
            public_key: row.get(2)?,
            proof: row.get(3)?,
            api_key_sha256: row.get(4)?,
            version: row.get(5)?,
            source: row.get(6)?,
        })
    };
    let mut statement = db.prepare_cached(
        "SELECT id, token_sha256, public_key, proof, api_key_sha256, version, source FROM enrolment
         WHERE state = 'asked' ORDER BY id",
    )?;
    Ok(statement.query_map([], asked)?.collect::<rusqlite::Result<_>>()?)
}

fn answer_queued(tx: &Transaction, row: i64, answer: &std::result::Result<Granted, Refusal>) -> Result<()> {
    match answer {
        Ok(granted) => tx.execute(
            "UPDATE enrolment SET state = 'granted', scanner = ?, vantage = ?, certificate = ? WHERE id = ?",
            (&granted.scanner, &granted.vantage, &granted.certificate, row),
        )?,
        Err(refusal) => tx.execute(
            "UPDATE enrolment SET state = 'refused', refusal = ? WHERE id = ?",
            (refusal.slug(), row),
        )?,
    };
    Ok(())
}
