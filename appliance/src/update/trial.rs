//! The trial of a new version: from the boot on which systemd-boot counted one of its tries until the gate says
//! that it is well, and systemd-boot knows it. Meanwhile the configuration is not changed: what was changed would be lost if
//! the old version came back.
//!
//! That there is a trial says a file in [`super::machine::RUN`], which root makes before anything else starts. The gate asks
//! the firmware itself: a version that cannot even make that file is on trial all the same.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::manifest::Version;
use crate::layout::write_file;

/// The folder of the firmware's variables.
pub const VARIABLES: &str = "/sys/firmware/efi/efivars";
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

/// The file that says that a trial ended well in this boot.
#[must_use]
pub fn over(run: &Path) -> PathBuf {
    run.join("over")
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

/// Whether one of the tries of what was started was counted; `variables` is the folder of the firmware's variables.
///
/// # Errors
/// [`Error::File`] when that cannot be told.
pub fn counted(variables: &Path) -> Result<bool, Error> {
    let path = variables.join(COUNTED);
    path.try_exists().map_err(Error::file(&path))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::version;
    use super::*;

    #[test]
    fn a_try_that_was_counted_is_a_trial() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!counted(folder.path()).unwrap());
        // Whatever it says: that it is there is what counts.
        fs::write(folder.path().join(COUNTED), [1, 2]).unwrap();
        assert!(counted(folder.path()).unwrap());
        assert!(!is_on(folder.path()));
        begin(folder.path(), &version("0.2.0")).unwrap();
        assert!(is_on(folder.path()));
        end(folder.path()).unwrap();
        end(folder.path()).unwrap();
        assert!(!is_on(folder.path()));
    }
}
