//! The trial of a new version: from the boot on which systemd-boot counted one of its tries until the gate says
//! that it is well. Meanwhile the configuration is not changed: what was changed would be lost if the old version came back.
//!
//! That there is a trial says a file in [`super::machine::RUN`], which root makes before anything else starts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::manifest::Version;
use super::names::Kernel;
use crate::layout::write_file;

/// Where systemd-boot says which file it counted a try of; there only when it did.
const COUNTED: &str = "LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// The file that says that there is a trial.
#[must_use]
pub fn flag(run: &Path) -> PathBuf {
    run.join("trial")
}

/// Whether what runs is on trial.
#[must_use]
pub fn is_on(run: &Path) -> bool {
    flag(run).exists()
}

/// Says that this version is on trial.
///
/// # Errors
/// [`Error::File`].
pub fn begin(run: &Path, version: &Version) -> Result<(), Error> {
    let path = flag(run);
    write_file(&path, format!("{version}\n").as_bytes(), 0o644).map_err(Error::file(&path))
}

/// The trial is over.
///
/// # Errors
/// [`Error::File`].
pub fn end(run: &Path) -> Result<(), Error> {
    let path = flag(run);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file(&path)(error)),
        _ => Ok(()),
    }
}

/// The kernel that was started, if one of its tries was counted; `variables` is the folder of the firmware's variables.
///
/// # Errors
/// [`Error::File`] when the variable is there and cannot be read.
pub fn counted(variables: &Path) -> Result<Option<Kernel>, Error> {
    let path = variables.join(COUNTED);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file(&path)(error)),
    };
    // Four bytes of attributes, then UTF-16 with a zero at its end.
    let letters =
        bytes.get(4..).unwrap_or_default().chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
    let letters: Vec<u16> = letters.take_while(|letter| *letter != 0).collect();
    let text = String::from_utf16_lossy(&letters);
    Ok(text.rsplit('\\').next().and_then(Kernel::of))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::version;
    use super::*;

    #[test]
    fn a_try_that_was_counted_is_a_trial() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(counted(folder.path()).unwrap(), None);
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend("\\EFI\\Linux\\portolan_0.2.0+2-1.efi\0".encode_utf16().flat_map(u16::to_le_bytes));
        fs::write(folder.path().join(COUNTED), &bytes).unwrap();
        let kernel = counted(folder.path()).unwrap().unwrap();
        assert_eq!((kernel.version, kernel.tries), (version("0.2.0"), Some(2)));
        fs::write(folder.path().join(COUNTED), [1, 2]).unwrap();
        assert_eq!(counted(folder.path()).unwrap(), None);
        assert!(!is_on(folder.path()));
        begin(folder.path(), &version("0.2.0")).unwrap();
        assert!(is_on(folder.path()));
        end(folder.path()).unwrap();
        end(folder.path()).unwrap();
        assert!(!is_on(folder.path()));
    }
}
