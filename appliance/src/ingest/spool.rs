//! The spool: a maildir of frames between who accepts them and the loader.
//!
//! A frame is first written in the writer's own folder (`tmp` of ingest, `import` of the manager), synced, then
//! renamed into `new` under the hash of its bytes, and the folder synced. So a file in `new` is always whole, and one
//! that was delivered twice is there once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use portolan_scanner::wire::hex;

use crate::layout::sync_folder;

/// One writer's end of the spool.
#[derive(Clone, Debug)]
pub struct Spool {
    tmp: PathBuf,
    new: PathBuf,
}

impl Spool {
    /// A writer whose own folder is `tmp`; nobody else writes there. Both folders are on one file system.
    pub fn new(tmp: impl Into<PathBuf>, new: impl Into<PathBuf>) -> Self {
        Self { tmp: tmp.into(), new: new.into() }
    }

    /// Removes what a killed writer left in its own folder. For the start of the one process that writes there.
    ///
    /// # Errors
    /// Any from the file system.
    pub fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.tmp)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// Puts a frame where the loader finds it. When this returns, the frame outlasts a power cut.
    ///
    /// # Errors
    /// Any from the file system; then nothing is promised and the sender tries again.
    pub fn put(&self, hash: [u8; 32], bytes: &[u8]) -> io::Result<()> {
        let name = hex::encode(&hash);
        let there = self.new.join(&name);
        if there.exists() {
            // Whole, since it was renamed; but its name is only sure to last once the folder is synced.
            return sync_folder(&self.new);
        }
        let tmp = self.tmp.join(format!("{name}.{}", serial()));
        let written = write(&tmp, bytes).and_then(|()| fs::rename(&tmp, &there));
        if written.is_err() {
            let _ = fs::remove_file(&tmp);
        }
        written?;
        sync_folder(&self.new)
    }
}

/// Two deliveries of one frame at once must not write into one file.
fn serial() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    // The loader is another user: what shuts others out is the folder, not the file.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.sync_all()
}

#[cfg(test)]
mod test {
    use super::*;

    fn spool() -> (tempfile::TempDir, Spool) {
        let root = tempfile::tempdir().unwrap();
        for folder in ["tmp", "new"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let spool = Spool::new(root.path().join("tmp"), root.path().join("new"));
        (root, spool)
    }

    #[test]
    fn a_frame_put_twice_is_there_once_and_nothing_stays_behind() {
        let (root, spool) = spool();
        spool.put([7; 32], b"frame").unwrap();
        spool.put([7; 32], b"frame").unwrap();
        let names: Vec<_> =
            fs::read_dir(root.path().join("new")).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(names, [root.path().join("new").join("07".repeat(32))]);
        assert_eq!(fs::read(&names[0]).unwrap(), b"frame");
        assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_writer_left_is_swept() {
        let (root, spool) = spool();
        fs::write(root.path().join("tmp/half"), "x").unwrap();
        spool.sweep().unwrap();
        assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn a_frame_that_cannot_be_written_is_an_error_and_not_a_promise() {
        let (root, spool) = spool();
        fs::remove_dir(root.path().join("new")).unwrap();
        assert!(spool.put([7; 32], b"frame").is_err());
        assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
    }
}
