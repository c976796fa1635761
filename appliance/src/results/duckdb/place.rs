//! The file of the store: who may have it open, and how a rebuilt one takes its place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::layout::{Hold, adopt, sync_folder};
use crate::results::Error;

/// The right to be the one who has the store open; ends with the process, also if it is killed. The lock is on a file
/// beside the store, since the store itself may be put aside or be broken.
#[derive(Debug)]
pub struct Claim {
    _held: Hold,
}

impl Claim {
    /// Takes it, or fails at once; then finishes a replacement that was cut short.
    pub fn take(path: &Path) -> Result<Self, Error> {
        let lock = beside(path, ".lock");
        let held = Hold::take(&lock).map_err(|error| Error::File(lock, error))?;
        let held = held.ok_or_else(|| Error::Locked(path.to_owned()))?;
        put_in_place(path)?;
        Ok(Self { _held: held })
    }
}

/// A replacement of a store under way. Dropped without [`Replacement::commit`], it leaves the old store as it was.
#[derive(Debug)]
pub struct Replacement {
    path: PathBuf,
    fresh: PathBuf,
    _claim: Claim,
}

impl Replacement {
    /// Claims the store at `path`; the new one is to be made at [`Self::fresh`].
    pub fn begin(path: &Path) -> Result<Self, Error> {
        let claim = Claim::take(path)?;
        let fresh = beside(path, ".new");
        remove(&fresh)?;
        remove(&beside(&fresh, ".wal"))?;
        Ok(Self { path: path.to_owned(), fresh, _claim: claim })
    }

    /// Where the new store is made.
    pub fn fresh(&self) -> &Path {
        &self.fresh
    }

    /// Puts the new store, which is closed, in the place of the old one.
    ///
    /// One rename decides: from then on the new store counts, and whoever opens the store next finishes the rest.
    pub fn commit(self) -> Result<(), Error> {
        if beside(&self.fresh, ".wal").exists() {
            return Err(Error::Broken("a store that was closed"));
        }
        adopt(&self.fresh).map_err(|error| Error::File(self.fresh.clone(), error))?;
        let rebuilt = rebuilt(&self.path);
        fs::rename(&self.fresh, &rebuilt).map_err(|error| Error::File(rebuilt.clone(), error))?;
        sync(&self.path)?;
        put_in_place(&self.path)?;
        remove(&beside(&self.fresh, ".lock"))
    }
}

/// Finishes a replacement: a rebuilt store lies beside the old one. Run again after a kill, it goes on.
fn put_in_place(path: &Path) -> Result<(), Error> {
    let rebuilt = rebuilt(path);
    if !rebuilt.exists() {
        return Ok(());
    }
    remove(path)?;
    // The log belongs to the old store; read into the new one it would spoil it.
    remove(&beside(path, ".wal"))?;
    sync(path)?;
    fs::rename(&rebuilt, path).map_err(|error| Error::File(path.to_owned(), error))?;
    sync(path)
}

fn rebuilt(path: &Path) -> PathBuf {
    beside(path, ".rebuilt")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn sync(path: &Path) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    sync_folder(folder).map_err(|error| Error::File(folder.to_owned(), error))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::File(path.to_owned(), error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let claim = Claim::take(&path).unwrap();
        assert!(matches!(Claim::take(&path), Err(Error::Locked(_))));
        drop(claim);
        Claim::take(&path).unwrap();
    }

    #[test]
    fn a_replacement_that_was_killed_is_finished_by_the_next_to_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        for killed_after in 0..3 {
            fs::write(&path, "old").unwrap();
            fs::write(beside(&path, ".wal"), "old log").unwrap();
            fs::write(rebuilt(&path), "new").unwrap();
            if killed_after >= 1 {
                fs::remove_file(&path).unwrap();
            }
            if killed_after >= 2 {
                fs::remove_file(beside(&path, ".wal")).unwrap();
            }
            Claim::take(&path).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert!(!beside(&path, ".wal").exists() && !rebuilt(&path).exists());
        }
    }

    #[test]
    fn a_replacement_that_never_was_leaves_the_old_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        fs::write(&path, "old").unwrap();
        let replacement = Replacement::begin(&path).unwrap();
        fs::write(replacement.fresh(), "half").unwrap();
        drop(replacement);
        Claim::take(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
