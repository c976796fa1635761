//! A folder on a stick, and how files come into it: none in the place of another unless that was said, each whole and on the
//! disk before the next.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::layout::{sync_folder, write_file};

/// A folder that files may go into.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at this path, made if it is not there; what it lies in must be there, as a stick that is not mounted is
    /// no place. Nothing in it has one of these names, or `replace` was said.
    ///
    /// # Errors
    /// `Conflict` naming what is in the way; the file system's, naming the path.
    pub fn for_files(path: &Path, names: &[&str], replace: bool) -> Result<Self> {
        let named = |error: io::Error| Error::Unavailable(format!("{}: {error}", path.display()));
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(named(error)),
            Err(_) if !fs::metadata(path).map_err(named)?.is_dir() => {
                return Err(named(io::ErrorKind::NotADirectory.into()));
            }
            Err(_) => {}
            Ok(()) => {
                let above = path.parent().filter(|above| !above.as_os_str().is_empty());
                sync_folder(above.unwrap_or(Path::new("."))).map_err(named)?;
            }
        }
        let there = |name: &&&str| path.join(name).symlink_metadata().is_ok();
        let there: Vec<&str> = names.iter().filter(there).copied().collect();
        if there.is_empty() || replace {
            return Ok(Self(path.to_owned()));
        }
        Err(Error::conflict(format!(
            "{} has {} already: name another folder, or say --replace",
            path.display(),
            there.join(", ")
        )))
    }

    /// Puts a file there: whole, synced, and its name too. Says whether this file system kept the mode: that of a stick
    /// often knows none.
    ///
    /// # Errors
    /// `Unavailable`, naming the path.
    pub fn put(&self, name: &str, bytes: &[u8], mode: u32) -> Result<bool> {
        let path = self.0.join(name);
        write_file(&path, bytes, mode).map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(fs::metadata(&path)?.permissions().mode() & 0o777 == mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_over_unless_it_is_said() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("kit");
        let folder = Folder::for_files(&path, &["token"], false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(folder.put("token", b"one", 0o600).unwrap());
        fs::write(path.join("holiday.jpg"), "mine").unwrap();
        let refused = Folder::for_files(&path, &["install.sh", "token"], false).unwrap_err().to_string();
        assert!(refused.contains("has token already") && refused.contains("--replace"), "{refused}");
        Folder::for_files(&path, &["install.sh"], false).unwrap();
        let folder = Folder::for_files(&path, &["token"], true).unwrap();
        assert!(folder.put("token", b"two", 0o600).unwrap());
        assert_eq!(fs::read(path.join("token")).unwrap(), b"two");
        assert_eq!(fs::read(path.join("holiday.jpg")).unwrap(), b"mine");
    }

    #[test]
    fn a_link_is_in_the_way_and_is_replaced_itself() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = root.path().join("elsewhere");
        fs::write(&elsewhere, "kept").unwrap();
        let path = root.path().join("kit");
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, path.join("token")).unwrap();
        Folder::for_files(&path, &["token"], false).unwrap_err();
        Folder::for_files(&path, &["token"], true).unwrap().put("token", b"new", 0o600).unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"kept");
    }

    #[test]
    fn a_stick_that_is_not_there_is_no_folder_to_make() {
        let root = tempfile::tempdir().unwrap();
        let refused = Folder::for_files(&root.path().join("stick/kit"), &[], false).unwrap_err().to_string();
        assert!(refused.contains("stick/kit"), "{refused}");
        fs::write(root.path().join("file"), "").unwrap();
        Folder::for_files(&root.path().join("file"), &[], true).unwrap_err();
    }
}
