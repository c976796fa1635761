//! Releases of the scanner: the program that this appliance hands out, and the script that installs it. The appliance's own
//! signature is checked by the [`gate`] at each start.
//!
//! A release is a folder with `portolan-scanner`, its signature `portolan-scanner.minisig`, and `scanner.pub`, the key
//! it was signed with, as `make release-scanner` writes them. The appliance makes none of it and checks all of it: a
//! release whose signature does not hold is not handed out. Without a key the program is handed out unsigned, and the
//! script says what that does not protect from.

pub mod gate;
pub mod minisign;
pub mod routes;
mod script;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::body::Bytes;
use portolan_scanner::wire::hex;
use serde::{Deserialize, Serialize};

use crate::blocking;
use crate::error::{Error, Result};
use crate::secrets::sha256;
use minisign::{Form, PublicKey};

/// The largest program that is handed out, in bytes.
const MAX_PROGRAM: u64 = 32 << 20;

/// The largest file of a key or a signature that is read, in bytes.
const MAX_TEXT: u64 = 4 << 10;

/// What is said where there is no release.
const NONE_HERE: &str = "here: make one with `make release-scanner` and copy dist/scanner/ into the folder releases/ of \
                         the data folder, or name its folder with --scanner-dir";

/// What the script that installs a scanner says of this appliance: public, and from its administrator or its keys,
/// never from a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What a scanner dials, `name:port`.
    pub appliance: String,
    /// SHA-256 of the CA's certificate, hex.
    pub ca_sha256: String,
    /// The key that signs jobs, base64.
    pub job_key: String,
    /// Where the pages are, `https://name`.
    pub pages: String,
    /// The pin of the pages' key, as curl takes it: `sha256//…`.
    pub pages_pin: String,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Releases(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    facts: Facts,
    /// What was read last, and what the files looked like then.
    read: Mutex<Option<(Stamp, Looked)>>,
}

/// A release that may be handed out, or why it is not: either is remembered, as anybody may ask again and again.
type Looked = std::result::Result<Arc<Release>, String>;

/// Size and time of change of each file; none for one that is not there.
type Stamp = [Option<(u64, SystemTime)>; 3];

/// A release that may be handed out.
pub struct Release {
    program: Bytes,
    sha256: String,
    signed: Option<Signed>,
}

struct Signed {
    signature: String,
    key: PublicKey,
}

/// A file of a kit.
pub struct KitFile {
    /// What it is called.
    pub name: &'static str,
    /// All of it.
    pub bytes: Bytes,
    /// Its permissions.
    pub mode: u32,
}

/// How the script comes to the scanner's machine.
#[derive(Clone, Copy)]
enum Way {
    /// Fetched from the appliance, as is all that it installs.
    Line,
    /// In a folder, with all that it installs, and its token.
    Stick,
}

impl Releases {
    /// What lies in this folder; it need not be there.
    #[must_use]
    pub fn new(folder: PathBuf, facts: Facts) -> Self {
        Self(Arc::new(Inner { folder, facts, read: Mutex::new(None) }))
    }

    /// The line that fetches and runs the script: it trusts the pages' key, and nothing else.
    #[must_use]
    pub fn install_command(&self) -> String {
        let Facts { pages, pages_pin, .. } = &self.0.facts;
        format!("curl -kfsS --pinnedpubkey '{pages_pin}' {pages}/install.sh | sudo sh")
    }

    /// Whether there is a release that may be handed out.
    pub async fn is_there(&self) -> bool {
        self.release().await.is_ok()
    }

    /// The release, as its files are now.
    ///
    /// # Errors
    /// `NotFound` where there is none; `Unavailable` for one whose signature does not hold.
    pub async fn release(&self) -> Result<Arc<Release>> {
        let releases = self.clone();
        blocking::run(move || releases.0.look()).await?
    }

    /// The script that installs this release.
    ///
    /// # Errors
    /// As [`Releases::release`].
    pub async fn script(&self) -> Result<String> {
        let release = self.release().await?;
        script::with(&self.0.facts, &release, Way::Line)
    }

    /// The facts, and where the release lies.
    #[must_use]
    pub fn handed_out(&self) -> (&Facts, &Path) {
        (&self.0.facts, &self.0.folder)
    }

    /// The release as files that lie beside one another: a machine is installed from them without this appliance.
    ///
    /// # Errors
    /// As [`Releases::release`]; `Unavailable` for a release without a signature, as a stick passes through many hands.
    pub async fn kit(&self) -> Result<Vec<KitFile>> {
        let release = self.release().await?;
        let signed = release.signed.as_ref().ok_or_else(|| {
            let folder = self.0.folder.display();
            Error::Unavailable(format!(
                "The release of the scanner in {folder} is not signed, and a kit is nothing without a signature: make one \
                 with `make release-scanner SIGNING_KEY=…`."
            ))
        })?;
        let script = script::with(&self.0.facts, &release, Way::Stick)?;
        let file = |name, bytes, mode| KitFile { name, bytes, mode };
        Ok(vec![
            file("portolan-scanner", release.program.clone(), 0o755),
            file("portolan-scanner.minisig", signed.signature.clone().into(), 0o644),
            file("scanner.pub", signed.key.file().into(), 0o644),
            file("install.sh", script.into(), 0o755),
        ])
    }
}

impl Inner {
    fn look(&self) -> Result<Arc<Release>> {
        let paths = ["portolan-scanner", "portolan-scanner.minisig", "scanner.pub"]
            .map(|name| self.folder.join(name));
        let stamp = [stamp(&paths[0])?, stamp(&paths[1])?, stamp(&paths[2])?];
        if stamp[0].is_none() {
            return Err(Error::not_found("release of the scanner", NONE_HERE));
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = if let Some((_, looked)) = read.as_ref().filter(|(known, _)| *known == stamp) {
            looked.clone()
        } else {
            let looked = Release::read(&paths, &stamp)?.map(Arc::new);
            *read = Some((stamp, looked.clone()));
            looked
        };
        looked.map_err(|why| {
            Error::Unavailable(format!("The release of the scanner is not handed out: {why}."))
        })
    }
}

fn stamp(path: &Path) -> Result<Option<(u64, SystemTime)>> {
    match fs::metadata(path) {
        Ok(data) => Ok(Some((data.len(), data.modified()?))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Release {
    /// Reads what the stamp says is there, or says why it is held back.
    ///
    /// # Errors
    /// When a file cannot be read: the next look may succeed.
    fn read(
        [program, signature, key]: &[PathBuf; 3],
        stamp: &Stamp,
    ) -> Result<std::result::Result<Self, String>> {
        for (file, most, what) in [
            (stamp[0], MAX_PROGRAM, "the program"),
            (stamp[1], MAX_TEXT, "the signature"),
            (stamp[2], MAX_TEXT, "scanner.pub"),
        ] {
            if file.is_some_and(|(size, _)| size > most) {
                return Ok(Err(format!("{what} is too large")));
            }
        }
        let program = fs::read(program)?;
        let signed = match (stamp[1], stamp[2]) {
            (_, None) => None,
            (None, Some(_)) => return Ok(Err("there is scanner.pub, and no signature".to_owned())),
            (Some(_), Some(_)) => {
                let (key, signature) = (fs::read(key)?, fs::read(signature)?);
                match Signed::check(&program, key, signature) {
                    Ok(signed) => Some(signed),
                    Err(why) => return Ok(Err(why)),
                }
            }
        };
        Ok(Ok(Self { sha256: hex::encode(&sha256(&program)), program: program.into(), signed }))
    }
}

impl Signed {
    fn check(program: &[u8], key: Vec<u8>, signature: Vec<u8>) -> std::result::Result<Self, String> {
        let text = |bytes, what| String::from_utf8(bytes).map_err(|_| format!("{what} is not text"));
        let (key, signature) = (text(key, "scanner.pub")?, text(signature, "the signature")?);
        let key = PublicKey::parse(&key).map_err(|error| format!("scanner.pub: {error}"))?;
        match key.verify(program, &signature).map_err(|error| error.to_string())? {
            (_, Form::Legacy) => Ok(Self { signature, key }),
            (_, Form::Hashed) => Err("sign it with `portolan sign sign --legacy`".to_owned()),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
