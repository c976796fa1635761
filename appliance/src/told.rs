//! What the manager tells the machine that it runs on: how others reach this appliance, and whether it waits for its first
//! owner. In files of the manager's own folder, for that user and root: the command line and the console read them.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout::{Layout, open_plain, write_file};
use crate::releases::Facts;

/// How others reach this appliance, as of the manager's last start. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What a scanner is told.
    pub facts: Facts,
    /// SHA-256 of the pages' certificate, hex.
    pub certificate: String,
    /// Where the release of the scanner lies.
    pub scanner_dir: PathBuf,
}

impl Told {
    /// Writes it, with the setup code while there is no owner.
    ///
    /// # Errors
    /// Any from the file system.
    pub fn write(&self, layout: &Layout, setup_code: Option<&str>) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        write_file(&layout.told(), text.as_bytes(), 0o600)?;
        let path = layout.setup_code();
        match setup_code {
            Some(code) => write_file(&path, format!("{code}\n").as_bytes(), 0o600)?,
            None => gone(fs::remove_file(path))?,
        }
        Ok(())
    }

    /// Reads it.
    ///
    /// # Errors
    /// `Unavailable` where no manager has started yet, or an older one did.
    pub fn read(layout: &Layout) -> Result<Self> {
        let path = layout.told();
        let text = small(&path).map_err(|error| {
            let path = path.display();
            Error::Unavailable(format!(
                "{path}: {error}: the manager writes it when it starts, so start it once"
            ))
        })?;
        serde_json::from_str(&text)
            .map_err(|error| Error::Unavailable(format!("{}: {error}", path.display())))
    }
}

/// The setup code of this start. It is void once there is an owner, and the file may outlive that moment.
#[must_use]
pub fn setup_code(layout: &Layout) -> Option<String> {
    small(&layout.setup_code()).ok().map(|code| code.trim().to_owned())
}

/// Root reads what the manager's user wrote: no link, no pipe, and no more than such a file has.
fn small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open_plain(path)?.take(64 * 1024).read_to_string(&mut text)?;
    Ok(text)
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_was_told_is_read_again_and_the_code_goes_with_the_first_owner() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        layout.create().unwrap();
        assert!(Told::read(&layout).unwrap_err().to_string().contains("start it once"));
        let facts = Facts {
            appliance: "portolan.test:8443".into(),
            ca_sha256: "ab".repeat(32),
            job_key: "a2V5".into(),
            pages: "https://portolan.test".into(),
            pages_pin: "sha256//cGlu".into(),
        };
        let told = Told { facts, certificate: "cd".repeat(32), scanner_dir: "/srv/scanner".into() };
        told.write(&layout, Some("ABCD-EFGH-JKLM")).unwrap();
        assert_eq!(Told::read(&layout).unwrap(), told);
        assert_eq!(setup_code(&layout).as_deref(), Some("ABCD-EFGH-JKLM"));
        let mode = fs::metadata(layout.setup_code()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        told.write(&layout, None).unwrap();
        assert_eq!(setup_code(&layout), None);
        fs::write(layout.told(), "{}").unwrap();
        assert!(matches!(Told::read(&layout), Err(Error::Unavailable(_))));
    }
}
