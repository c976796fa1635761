//! The kit of a scanner: its program with signature and key, the script that installs it, the certificate of the appliance's
//! CA, and a one-time token. With it a machine becomes a scanner that has nothing but the stick and the way to the appliance.

use std::fs;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use uuid::Uuid;

use super::folder::Folder;
use crate::audit::Actor;
use crate::error::{Error, Result};
use crate::fleet::{Enrolment, Fleet, ScannerInput, Vantage};
use crate::noun::Link;
use crate::releases::Releases;
use crate::tls;

/// What a kit consists of. The token is the last: where it is, all the others are.
pub const FILES: [&str; 7] = [
    "portolan-scanner",
    "portolan-scanner.minisig",
    "scanner.pub",
    "install.sh",
    "ca.pem",
    "README.txt",
    "token",
];

/// Which scanner a kit is for.
pub enum For {
    /// One that is added now.
    New(ScannerInput),
    /// One that is there and has not enrolled.
    Known(Uuid),
}

/// A kit that was written.
pub struct Written {
    /// The scanner, and what it was offered. The token in it is a secret.
    pub enrolment: Enrolment,
    /// Whether the token is for its owner alone on that file system.
    pub kept_to_owner: bool,
}

/// The CA's certificate as it is handed to ingest: proven to be the one that scanners are told to trust.
///
/// # Errors
/// `Unavailable` when it is not there, or another one.
pub fn certificate(path: &Path, sha256: &str) -> Result<String> {
    let named = |what: &dyn std::fmt::Display| Error::Unavailable(format!("{}: {what}", path.display()));
    let pem = fs::read_to_string(path).map_err(|error| named(&error))?;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| named(&error))?;
    if tls::fingerprint(&der) == sha256 {
        return Ok(pem);
    }
    Err(named(&"it is not the CA that the manager told of when it started: start the manager anew"))
}

/// The vantage that was meant: by name or id, or the only one there is.
///
/// # Errors
/// `Invalid`, with those there are.
pub async fn vantage(fleet: &Fleet, said: Option<&str>) -> Result<Link> {
    let all = fleet.vantages().await?;
    let meant = |vantage: &&Vantage| match said {
        None => all.len() == 1,
        Some(said) => vantage.name.to_lowercase() == said.to_lowercase() || vantage.id.to_string() == said,
    };
    if let Some(vantage) = all.iter().find(meant) {
        return Ok(Link { id: vantage.id, name: vantage.name.clone() });
    }
    let names: Vec<&str> = all.iter().take(20).map(|vantage| vantage.name.as_str()).collect();
    Err(Error::invalid(
        "vantage",
        match (said, names.is_empty()) {
            (_, true) => "there is none yet: make one on the pages first".to_owned(),
            (None, false) => format!("name one of: {}", names.join(", ")),
            (Some(said), false) => format!("{said} is none of: {}", names.join(", ")),
        },
    ))
}

/// The scanner that was meant, by name or id; one that was revoked only by its id.
///
/// # Errors
/// `NotFound`.
pub async fn scanner(fleet: &Fleet, said: &str) -> Result<Uuid> {
    let all = fleet.scanners().await?;
    let meant = all.iter().find(|scanner| {
        scanner.id.to_string() == said
            || (scanner.revoked_at.is_none() && scanner.name.to_lowercase() == said.to_lowercase())
    });
    meant.map(|scanner| scanner.id).ok_or_else(|| Error::not_found("scanner", said))
}

/// A name for a new scanner that no other has: that of its vantage, with a number from the second on.
///
/// # Errors
/// The databases'.
pub async fn free_name(fleet: &Fleet, vantage: &str) -> Result<String> {
    let taken = fleet.scanners().await?;
    let taken = |name: &str| taken.iter().any(|scanner| scanner.name.to_lowercase() == name.to_lowercase());
    let numbered = (2..).map(|number| format!("{vantage} {number}"));
    let mut names = std::iter::once(vantage.to_owned()).chain(numbered);
    Ok(names.find(|name| !taken(name)).unwrap_or_default())
}

/// Offers the token and writes the kit. All that can be refused is refused before anything changes.
///
/// # Errors
/// The fleet's; `Unavailable` when the kit could not be written whole: then it says that the scanner is there already.
pub async fn write(
    (fleet, releases): (&Fleet, &Releases),
    actor: &Actor,
    whom: For,
    (to, replace): (&Path, bool),
    ca: &str,
) -> Result<Written> {
    let files = releases.kit().await?;
    let folder = Folder::for_files(to, &FILES, replace)?;
    let enrolment = match whom {
        For::New(input) => fleet.add_scanner(actor, input, Ok(())).await?,
        For::Known(id) => fleet.new_token(actor, id).await?,
    };
    let put = || {
        for file in files {
            folder.put(file.name, &file.bytes, file.mode)?;
        }
        folder.put("ca.pem", ca.as_bytes(), 0o644)?;
        folder.put("README.txt", about(&enrolment).as_bytes(), 0o644)?;
        folder.put("token", format!("{}\n", enrolment.token).as_bytes(), 0o600)
    };
    match put() {
        Ok(kept_to_owner) => Ok(Written { enrolment, kept_to_owner }),
        Err(error) => Err(Error::Unavailable(format!(
            "{error}; the kit is not whole. The scanner {} is there: make its kit anew with --scanner {}",
            enrolment.scanner.name, enrolment.scanner.id
        ))),
    }
}

fn about(enrolment: &Enrolment) -> String {
    let Enrolment { scanner, appliance, ca_sha256, job_key, expires_at, .. } = enrolment;
    format!(
        "Portolan: the kit of a scanner\n\n\
         scanner            {}\n\
         vantage            {}\n\
         appliance          {appliance}\n\
         its CA, SHA-256    {ca_sha256}\n\
         signs its jobs     {job_key}\n\
         token good until   {expires_at}\n\n\
         On the machine that becomes this scanner, as root, in this folder:\n\n    sh install.sh\n\n\
         It verifies the program with the key in install.sh and scanner.pub, installs it, and enrols with the token: once,\n\
         and with the appliance that is named above. Nothing is downloaded. Whoever has this folder before the token was\n\
         used can enrol in its place: afterwards there is no secret in it.\n",
        scanner.name, scanner.vantage.name
    )
}

#[cfg(test)]
#[path = "kit_test.rs"]
mod tests;
