//! The scanner's folder: what is kept between two starts.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Error;

/// `identity.key`, `spool/`, `journal/`; with a link `certificate.der`, `ca.der`, `api.key`, `link.conf`; with a stick
/// `stick.conf`, `enrol.frame`, `done/`. The folder is for its owner alone, and so is every file in it.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// Names a folder that is there.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Makes the folder, for its owner alone, if it is not there.
    pub fn create(&self) -> Result<(), Error> {
        private_folder(&self.0)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes sure that no second process works here; the lock lasts as long as the file is held.
    pub fn lock(&self) -> Result<File, Error> {
        let path = self.path("lock");
        let file =
            options().create(true).write(true).truncate(false).open(&path).map_err(Error::file(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                Err(Error::at(&self.0, "another scanner works here; stop it, or choose another --dir"))
            }
            Err(fs::TryLockError::Error(source)) => Err(Error::File { path, source }),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.path(name);
        fs::read(&path).map_err(Error::file(path))
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let (path, tmp) = (self.path(name), self.path(&format!("{name}.tmp")));
        write_synced(&tmp, bytes)
            .and_then(|()| fs::rename(&tmp, &path))
            .and_then(|()| sync_folder(&self.0))
            .map_err(Error::file(path))
    }
}

/// Makes a folder for its owner alone, if it is not there.
pub fn private_folder(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file(path))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Writes a file for its owner alone, and waits until it is on the disk.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_private(path, bytes)?.sync_all()
}

/// Writes a file for its owner alone. It is on the disk when the file that is returned was synced.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<File> {
    // A file left over could have other permissions: it is not written into.
    remove_if_there(path)?;
    let mut file = options().create_new(true).write(true).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Removes a file; that there is none is no error.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Waits until the names in a folder are on the disk.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::testing::temporary;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_kept_is_for_its_owner_alone() {
        let (folder, _guard) = temporary("folder");
        folder.write("api.key", b"first").unwrap();
        folder.write("api.key", b"second").unwrap();
        assert_eq!(folder.read("api.key").unwrap(), b"second");
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.path("api.key")), 0o600);
        assert_eq!(mode(folder.path("")), 0o700);
    }

    #[test]
    fn two_scanners_do_not_share_a_folder() {
        let (folder, _guard) = temporary("lock");
        let held = folder.lock().unwrap();
        assert!(folder.lock().unwrap_err().to_string().contains("another scanner works here"));
        drop(held);
        folder.lock().unwrap();
    }
}
