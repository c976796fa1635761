//! Results on disk, until the appliance has them.
//!
//! A frame is written to `tmp/`, then its block is noted in the job's journal, then it is renamed into the spool.
//! Killed before the note, the block is probed again and the frame in `tmp/` is thrown away; killed after it, the
//! frame is taken up at the next start. So every block is in the spool exactly once.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};

use super::folder::{Folder, private_folder, sync_folder, write_private};
use super::{Error, lock};
use crate::wire::hex;

/// The frames that wait, `refused/` for those that the appliance will never take, `tmp/` for unfinished ones.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    bell: Condvar,
    rung: Mutex<bool>,
}

/// Which part of which block of which job a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub job: [u8; 32],
    pub block: u64,
    pub part: u32,
}

impl Name {
    pub fn file(&self) -> String {
        format!("{}-{}-{}.frame", hex::encode(&self.job), self.block, self.part)
    }

    pub fn parse(file: &str) -> Option<Self> {
        let mut words = file.strip_suffix(".frame")?.split('-');
        let name = Self {
            job: hex::decode(words.next()?).ok()?,
            block: words.next()?.parse().ok()?,
            part: words.next()?.parse().ok()?,
        };
        (name.file() == file).then_some(name)
    }
}

impl Spool {
    /// Opens the spool of a scanner's folder.
    pub fn open(folder: &Folder) -> Result<Self, Error> {
        let spool = Self { folder: folder.path("spool"), bell: Condvar::new(), rung: Mutex::new(false) };
        private_folder(&spool.tmp())?;
        private_folder(&spool.refused())?;
        Ok(spool)
    }

    fn tmp(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    fn refused(&self) -> PathBuf {
        self.folder.join("refused")
    }

    /// Puts the unfinished frames in order after a start: those whose block was noted join the spool.
    pub fn recover(&self, noted: impl Fn(&Name) -> Result<bool, Error>) -> Result<(), Error> {
        let mut kept = Vec::new();
        for name in names(&self.tmp())? {
            if noted(&name)? {
                kept.push(name);
            }
        }
        self.publish(&kept)?;
        for entry in fs::read_dir(self.tmp()).map_err(Error::file(self.tmp()))? {
            let path = entry.map_err(Error::file(self.tmp()))?.path();
            fs::remove_file(&path).map_err(Error::file(&path))?;
        }
        Ok(())
    }

    /// Writes a frame that is not in the spool yet. The file is to be given to [`Spool::settle`].
    pub fn prepare(&self, name: &Name, frame: &str) -> Result<File, Error> {
        let path = self.tmp().join(name.file());
        write_private(&path, frame.as_bytes()).map_err(Error::file(path))
    }

    /// Waits until prepared frames are on the disk.
    pub fn settle(&self, frames: &[File]) -> Result<(), Error> {
        let synced = frames.iter().try_for_each(File::sync_all);
        synced.and_then(|()| sync_folder(&self.tmp())).map_err(Error::file(self.tmp()))
    }

    /// Throws prepared frames away.
    pub fn discard(&self, names: &[Name]) {
        for name in names {
            // What stays is thrown away at the next start.
            let _ = fs::remove_file(self.tmp().join(name.file()));
        }
    }

    /// Moves prepared frames into the spool, all or (if the machine fails in between) the rest at the next start.
    pub fn publish(&self, names: &[Name]) -> Result<(), Error> {
        for name in names {
            let path = self.folder.join(name.file());
            fs::rename(self.tmp().join(name.file()), &path).map_err(Error::file(path))?;
        }
        sync_folder(&self.folder).map_err(Error::file(&self.folder))?;
        *lock(&self.rung) = true;
        self.bell.notify_all();
        Ok(())
    }

    #[cfg(feature = "network")]
    /// Waits until a frame joins the spool, at most so long.
    pub fn wait(&self, at_most: std::time::Duration) {
        let waited = self.bell.wait_timeout_while(lock(&self.rung), at_most, |rung| !*rung);
        *waited.unwrap_or_else(std::sync::PoisonError::into_inner).0 = false;
    }

    /// The frames that wait, by job, block and part.
    pub fn waiting(&self) -> Result<Vec<Name>, Error> {
        names(&self.folder)
    }

    /// How many bytes wait.
    pub fn size(&self) -> Result<u64, Error> {
        let mut size = 0;
        for name in self.waiting()? {
            // One that was sent meanwhile does not wait.
            size += fs::metadata(self.folder.join(name.file())).map_or(0, |about| about.len());
        }
        Ok(size)
    }

    pub fn read(&self, name: &Name) -> Result<Vec<u8>, Error> {
        let path = self.folder.join(name.file());
        fs::read(&path).map_err(Error::file(path))
    }

    /// Removes a frame that the appliance has.
    pub fn remove(&self, name: &Name) -> Result<(), Error> {
        let path = self.folder.join(name.file());
        fs::remove_file(&path).map_err(Error::file(path))
    }

    #[cfg(any(test, feature = "network"))]
    /// Puts a frame aside that the appliance will never take.
    pub fn set_aside(&self, name: &Name) -> Result<(), Error> {
        let path = self.folder.join(name.file());
        fs::rename(&path, self.refused().join(name.file())).map_err(Error::file(path))
    }

    #[cfg(any(test, feature = "network"))]
    /// How many frames of this job were put aside.
    pub fn set_aside_of(&self, job: &[u8; 32]) -> Result<usize, Error> {
        Ok(names(&self.refused())?.iter().filter(|name| name.job == *job).count())
    }
}

fn names(folder: &Path) -> Result<Vec<Name>, Error> {
    let list = || -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.extend(entry?.file_name().to_str().and_then(Name::parse));
        }
        names.sort_unstable();
        Ok(names)
    };
    list().map_err(Error::file(folder))
}

#[cfg(test)]
mod tests {
    use super::super::testing::temporary;
    use super::*;

    fn name(block: u64, part: u32) -> Name {
        Name { job: [7; 32], block, part }
    }

    #[test]
    fn a_file_name_has_one_spelling() {
        let file = name(3, 1).file();
        assert_eq!(Name::parse(&file), Some(name(3, 1)));
        for bad in
            [file.replace("-3-", "-03-"), file.replace("-3-", "-+3-"), file.replace(".frame", ""), file + "x"]
        {
            assert_eq!(Name::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_frame_waits_until_it_is_removed_or_set_aside() {
        let (folder, _guard) = temporary("spool");
        let spool = Spool::open(&folder).unwrap();
        for part in 0..3 {
            spool.prepare(&name(9, part), &format!("part {part}")).unwrap();
        }
        assert_eq!(spool.waiting().unwrap(), []);
        spool.publish(&[name(9, 0), name(9, 1)]).unwrap();
        spool.discard(&[name(9, 2)]);
        assert_eq!(spool.waiting().unwrap(), [name(9, 0), name(9, 1)]);
        assert_eq!(spool.read(&name(9, 1)).unwrap(), b"part 1");
        spool.remove(&name(9, 0)).unwrap();
        spool.set_aside(&name(9, 1)).unwrap();
        assert_eq!(spool.waiting().unwrap(), []);
        assert_eq!(spool.set_aside_of(&[7; 32]).unwrap(), 1);
        assert_eq!(spool.set_aside_of(&[8; 32]).unwrap(), 0);
    }

    #[test]
    fn after_a_kill_noted_blocks_are_kept_and_others_thrown_away() {
        let (folder, _guard) = temporary("recover");
        let spool = Spool::open(&folder).unwrap();
        spool.prepare(&name(1, 0), "noted").unwrap();
        spool.prepare(&name(2, 0), "not noted").unwrap();
        fs::write(spool.tmp().join("torn"), "x").unwrap();
        spool.recover(|name| Ok(name.block == 1)).unwrap();
        assert_eq!(spool.waiting().unwrap(), [name(1, 0)]);
        assert_eq!(fs::read_dir(spool.tmp()).unwrap().count(), 0);
    }
}
