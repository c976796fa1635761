//! Scanners: added, shown, changed, revoked, and the token with which one enrols.

use std::collections::HashMap;
use std::time::Duration;

use portolan_scanner::wire::{base64, hex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::input::no_vantage;
use super::projection::{self, Seen};
use super::store::{self, ScannerRow, TokenRow};
use super::{Fleet, ScannerInput};
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::noun::{self, Link};
use crate::secrets::sha256;

/// A scanner that was not heard of for this long is offline; it speaks every 60 s at least.
pub const OFFLINE_AFTER: Duration = Duration::from_secs(120);
/// How long an enrolment token may be used.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(3_600);

/// Whether a scanner is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// It was heard of within [`OFFLINE_AFTER`].
    Online,
    /// It enrolled, and is silent.
    Offline,
    /// It has not enrolled.
    Never,
    /// It may not come any more.
    Revoked,
}

/// A scanner.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Scanner {
    /// The id: also in its certificate and in every frame it signs.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// Where it stands.
    pub vantage: Link,
    /// Ranges its requests may come from; empty: any.
    pub binding: String,
    /// Anything worth knowing.
    pub note: String,
    /// Whether it is there.
    pub state: Presence,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// The address it was last heard from.
    pub source: Option<String>,
    /// The version of its program.
    pub software: Option<String>,
    /// Microseconds to add to its clock to get the appliance's.
    pub clock_offset_us: Option<i64>,
    /// Its public key (Ed25519, base64).
    pub public_key: Option<String>,
    /// SHA-256 of its client certificate.
    pub certificate_sha256: Option<String>,
    /// Until when its unused token is good.
    pub token_expires_at: Option<Timestamp>,
    /// Whether a new token may be made for it.
    pub may_enrol: bool,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it enrolled.
    pub enrolled_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Counts its changes; an edit names the version it was made from.
    pub version: i64,
}

/// A scanner with the token it may enrol with: told once, kept nowhere.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Enrolment {
    /// The scanner.
    pub scanner: Scanner,
    /// The token.
    pub token: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// Where the scanner reaches the appliance: `host:port`.
    pub appliance: String,
    /// SHA-256 of the certificate of the appliance's CA: the scanner trusts no other.
    pub ca_sha256: String,
    /// The key that signs jobs (Ed25519, public, base64): the scanner obeys no other.
    pub job_key: String,
    /// The line that installs a scanner on a machine without the program; none where there is no release to hand out.
    pub install_command: Option<String>,
    /// The line to run on the scanner's machine. The token goes through a pipe, so that it is in no process list.
    pub enrol_command: String,
    /// What runs the scanner from then on.
    pub run_command: String,
}

/// Where the commands shown keep the scanner's keys.
const SCANNER_FOLDER: &str = "/var/lib/portolan-scanner";

impl Fleet {
    /// Every scanner, by name.
    ///
    /// # Errors
    /// The databases'.
    pub async fn scanners(&self) -> Result<Vec<Scanner>> {
        let (rows, tokens) =
            self.0.parts.store.read(|db| Ok((store::scanners(db)?, store::tokens(db)?))).await?;
        let seen = self.0.parts.jobs.read(projection::seen).await?;
        let now = self.0.parts.clock.now();
        Ok(rows.into_iter().map(|row| shown(row, &tokens, &seen, now)).collect())
    }

    /// One scanner.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn scanner(&self, id: Uuid) -> Result<Scanner> {
        let all = self.scanners().await?;
        all.into_iter().find(|scanner| scanner.id == id).ok_or_else(|| Error::not_found("scanner", id))
    }

    /// Adds a scanner and makes its token, if `proof` says that who asks may have it: that is looked at last, so that who has to
    /// prove it has nothing to mend when they come back.
    ///
    /// # Errors
    /// `Invalid`; the proof's.
    pub async fn add_scanner(
        &self,
        actor: &Actor,
        input: ScannerInput,
        proof: Result<()>,
    ) -> Result<Enrolment> {
        noun::not_yet(input.version)?;
        let ScannerInput { name, vantage, binding, note, .. } = input.checked()?;
        let (id, now) = (self.0.parts.ids.new(), self.0.parts.clock.now());
        let (token, token_row) = self.mint(id, now);
        self.0
            .parts
            .store
            .changes(actor, move |tx| {
                let row = ScannerRow {
                    id,
                    name,
                    note,
                    vantage: existing(tx, vantage)?,
                    binding,
                    public_key: None,
                    certificate_sha256: None,
                    api_key_sha256: None,
                    created_at: now,
                    updated_at: now,
                    enrolled_at: None,
                    confirmed_at: None,
                    revoked_at: None,
                    version: 1,
                };
                store::insert_scanner(tx, &row)?;
                store::replace_token(tx, &token_row, now)?;
                proof?;
                Ok((vec![Entry::created("scanner", id, &row), token_made(&token_row)], ()))
            })
            .await?;
        self.project().await?;
        self.enrolment(id, token, now).await
    }

    /// Makes a new token for a scanner that has not yet spoken; the one before is void.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for a scanner that is enrolled or revoked.
    pub async fn new_token(&self, actor: &Actor, id: Uuid) -> Result<Enrolment> {
        let now = self.0.parts.clock.now();
        let (token, row) = self.mint(id, now);
        self.0
            .parts
            .store
            .change(actor, move |tx| {
                let scanner = store::scanner(tx, id)?;
                if scanner.revoked_at.is_some() {
                    return Err(Error::conflict(
                        "A revoked scanner does not enrol again: add a new one, under the same name if you like.",
                    ));
                }
                if scanner.confirmed_at.is_some() {
                    return Err(Error::conflict(
                        "This scanner is enrolled. To replace it, revoke it and add a new one.",
                    ));
                }
                store::replace_token(tx, &row, now)?;
                Ok((token_made(&row), ()))
            })
            .await?;
        self.project().await?;
        self.enrolment(id, token, now).await
    }

    /// Changes name, vantage, binding and note.
    ///
    /// # Errors
    /// `NotFound`, `Stale`, `Invalid`; `Conflict` for a revoked scanner.
    pub async fn change_scanner(&self, actor: &Actor, id: Uuid, input: ScannerInput) -> Result<Scanner> {
        let ScannerInput { name, vantage, binding, note, version } = input.checked()?;
        let now = self.0.parts.clock.now();
        self.0
            .parts
            .store
            .changes(actor, move |tx| {
                let before = store::scanner(tx, id)?;
                if before.revoked_at.is_some() {
                    return Err(Error::conflict("A revoked scanner stays as it was."));
                }
                let vantage = existing(tx, vantage)?;
                let after = ScannerRow { name, note, vantage, binding, ..before.clone() };
                // A form that was sent twice is answered like the first.
                if version.is_some() && after == before {
                    return Ok((vec![], ()));
                }
                noun::based_on(version, before.version)?;
                store::update_scanner(tx, &after, now)?;
                Ok((vec![Entry::updated("scanner", id, &before, &after)], ()))
            })
            .await?;
        self.project().await?;
        self.scanner(id).await
    }

    /// Revokes a scanner: for ever, and from now on. Twice is once.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke_scanner(&self, actor: &Actor, id: Uuid) -> Result<Scanner> {
        let now = self.0.parts.clock.now();
        self.0
            .parts
            .store
            .changes(actor, move |tx| {
                let before = store::scanner(tx, id)?;
                if before.revoked_at.is_some() {
                    return Ok((vec![], ()));
                }
                let after = ScannerRow { revoked_at: Some(now), ..before.clone() };
                store::update_scanner(tx, &after, now)?;
                Ok((vec![Entry::updated("scanner", id, &before, &after).action("scanner.revoked")], ()))
            })
            .await?;
        self.project().await?;
        self.scanner(id).await
    }

    fn mint(&self, scanner: Uuid, now: Timestamp) -> (String, TokenRow) {
        let token = format!("pte_{}", self.0.parts.random.token());
        let sha256 = hex::encode(&sha256(token.as_bytes()));
        let row =
            TokenRow { sha256, scanner, expires_at: now + TOKEN_LIFETIME, used_at: None, public_key: None };
        (token, row)
    }

    async fn enrolment(&self, id: Uuid, token: String, made_at: Timestamp) -> Result<Enrolment> {
        let (appliance, ca_sha256) = (self.0.parts.address.clone(), self.0.parts.ca.fingerprint());
        let job_key = base64::encode(&self.0.parts.job_key);
        let enrol_command = format!(
            "printf '%s\\n' '{token}' | portolan-scanner enrol --appliance {appliance} --ca-sha256 {ca_sha256} \
             --job-key {job_key} --dir {SCANNER_FOLDER} --token-file -"
        );
        let releases = &self.0.parts.releases;
        let install_command = releases.is_there().await.then(|| releases.install_command());
        let run_command = format!("portolan-scanner run --dir {SCANNER_FOLDER}");
        let scanner = self.scanner(id).await?;
        let expires_at = made_at + TOKEN_LIFETIME;
        Ok(Enrolment {
            scanner,
            token,
            expires_at,
            appliance,
            ca_sha256,
            job_key,
            install_command,
            enrol_command,
            run_command,
        })
    }
}

fn existing(tx: &rusqlite::Transaction, vantage: Uuid) -> Result<Link> {
    match store::vantage(tx, vantage) {
        Ok(row) => Ok(Link { id: row.id, name: row.name }),
        Err(Error::NotFound { .. }) => Err(no_vantage()),
        Err(other) => Err(other),
    }
}

fn token_made(row: &TokenRow) -> Entry {
    Entry::event("scanner.enrolment-offered", &json!({ "until": row.expires_at })).on("scanner", row.scanner)
}

fn shown(row: ScannerRow, tokens: &[TokenRow], seen: &HashMap<Uuid, Seen>, now: Timestamp) -> Scanner {
    let state = presence(&row, seen.get(&row.id), now);
    let seen = seen.get(&row.id).cloned();
    let open =
        |token: &&TokenRow| token.scanner == row.id && token.used_at.is_none() && token.expires_at > now;
    let token_expires_at =
        tokens.iter().find(open).filter(|_| row.revoked_at.is_none()).map(|token| token.expires_at);
    Scanner {
        id: row.id,
        name: row.name,
        vantage: row.vantage,
        binding: row.binding,
        note: row.note,
        state,
        last_seen: seen.as_ref().map(|seen| seen.at),
        source: seen.as_ref().map(|seen| seen.source.clone()),
        software: seen.as_ref().map(|seen| seen.version.clone()),
        clock_offset_us: seen.as_ref().map(|seen| seen.clock_offset),
        public_key: row.public_key,
        certificate_sha256: row.certificate_sha256,
        token_expires_at,
        may_enrol: row.revoked_at.is_none() && row.confirmed_at.is_none(),
        created_at: row.created_at,
        updated_at: row.updated_at,
        enrolled_at: row.enrolled_at,
        revoked_at: row.revoked_at,
        version: row.version,
    }
}

pub(super) fn presence(row: &ScannerRow, seen: Option<&Seen>, now: Timestamp) -> Presence {
    match seen {
        _ if row.revoked_at.is_some() => Presence::Revoked,
        _ if row.enrolled_at.is_none() => Presence::Never,
        Some(seen) if now.since(seen.at) <= OFFLINE_AFTER => Presence::Online,
        _ => Presence::Offline,
    }
}
