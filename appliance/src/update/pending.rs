//! What is noted of an update that was written, until it is known to be good or was undone: a small text in the manager's
//! folder, which outlasts the restart that tries it.

use std::fs;
use std::io;

use portolan_scanner::wire::fields::Fields;
use uuid::Uuid;

use super::manifest::Version;
use crate::error::{Error, Result};
use crate::layout::{Layout, adopt, sync_folder, write_file};

/// An update that is not known to be good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Tells it from any other.
    pub id: Uuid,
    /// What it brings.
    pub version: Version,
    /// What ran when it was written; none where the trial itself had to note it.
    pub from: Option<Version>,
    /// The boot it was written in.
    pub boot: String,
    /// How many entries of the audit come along, once what its trial made of config.db is being undone.
    pub restored: Option<u64>,
}

impl Pending {
    /// What is noted, if anything is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.pending_update();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::internal(format!("{}: {error}", path.display()))),
        };
        let unreadable = |error: &dyn std::fmt::Display| {
            Error::internal(format!("{}: cannot be read: {error}", path.display()))
        };
        let fields = Fields::parse(&text).map_err(|error| unreadable(&error))?;
        let from = fields.get("from").map(str::parse).transpose();
        let restored = fields.get("restored").map(str::parse).transpose();
        Ok(Some(Self {
            id: fields.read("id").map_err(|error| unreadable(&error))?,
            version: fields.read("version").map_err(|error| unreadable(&error))?,
            from: from.map_err(|error| unreadable(&error))?,
            boot: fields.read("boot").map_err(|error| unreadable(&error))?,
            restored: restored.map_err(|error| unreadable(&error))?,
        }))
    }

    /// Notes it.
    ///
    /// # Errors
    /// Any from the file system.
    pub fn write(&self, layout: &Layout) -> io::Result<()> {
        let fields =
            Fields::new().with("id", self.id).with("version", &self.version).with("boot", &self.boot);
        let fields = self.from.iter().fold(fields, |fields, from| fields.with("from", from));
        let fields = self.restored.iter().fold(fields, |fields, restored| fields.with("restored", restored));
        let path = layout.pending_update();
        write_file(&path, fields.to_string().as_bytes(), 0o600)?;
        adopt(&path)
    }

    /// It is good, or undone: nothing is noted any more.
    ///
    /// # Errors
    /// Any from the file system.
    pub fn forget(layout: &Layout) -> io::Result<()> {
        match fs::remove_file(layout.pending_update()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_folder(&layout.manager()),
        }
    }
}

/// What tells one boot of this machine from the next; empty where nothing does.
///
/// A role's unit says it (`%b`): `ProcSubset=pid` hides the kernel's own word.
#[must_use]
pub fn boot() -> String {
    let said =
        std::env::var("PORTOLAN_BOOT").or_else(|_| fs::read_to_string("/proc/sys/kernel/random/boot_id"));
    said.unwrap_or_default().trim().replace('-', "")
}
