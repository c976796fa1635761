//! Which blocks of a job are done, so that a restarted scanner goes on where it was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::Error;
use super::folder::{Folder, private_folder, remove_if_there, sync_folder, write_synced};
use crate::net::Permutation;
use crate::wire::{Job, hex};

/// One line a finished block, in the order of the job's walk, each on the disk before its frames are in the spool; beside it, what the probe said last of
/// the blocks that are not done.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    walk: Permutation,
    /// The step of the walk before which everything is done, and nothing after it.
    next: u64,
    totals: Totals,
}

/// What the finished blocks come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub probes: u64,
    pub open: u64,
}

/// One finished block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    pub block: u64,
    pub probes: u64,
    pub open: u64,
}

impl Done {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("block ")?.split(' ');
        let mut number = || words.next()?.parse().ok();
        let done = Self { block: number()?, probes: number()?, open: number()? };
        words.next().is_none().then_some(done)
    }
}

impl Journal {
    /// Opens the journal of a job, or begins it. A line that a kill tore off is cut away.
    pub fn open(folder: &Folder, hash: &[u8; 32], job: &Job) -> Result<Self, Error> {
        private_folder(&folder.path("journal"))?;
        let path = path(folder, hash);
        let failed = || Error::file(&path);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed())?;
        let (lines, whole) = read(&file).map_err(failed())?;
        file.set_len(whole).map_err(failed())?;
        sync_folder(&folder.path("journal")).map_err(failed())?;
        let mut journal = Self { path, file, walk: job.walk(), next: 0, totals: Totals::default() };
        journal.count(&lines);
        Ok(journal)
    }

    /// Whether a block was noted in the journal of a job, which may be gone.
    pub fn noted(folder: &Folder, hash: &[u8; 32], block: u64) -> Result<bool, Error> {
        let path = path(folder, hash);
        match File::open(&path).and_then(|file| read(&file)) {
            Ok((lines, _)) => Ok(lines.iter().any(|done| done.block == block)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::File { path, source }),
        }
    }

    #[cfg(any(test, feature = "network"))]
    /// Removes the journals of all jobs but this one.
    pub fn forget_others(folder: &Folder, hash: &[u8; 32]) -> Result<(), Error> {
        let (journals, keep) = (folder.path("journal"), path(folder, hash));
        let forget = |journals: &std::path::Path| -> io::Result<()> {
            for entry in fs::read_dir(journals)? {
                let path = entry?.path();
                if path.with_extension("") != keep {
                    fs::remove_file(path)?;
                }
            }
            Ok(())
        };
        private_folder(&journals)?;
        forget(&journals).map_err(Error::file(journals))
    }

    /// The step of the walk to go on with.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The block to be done when so many more are, if there is one.
    pub fn after(&self, more: usize) -> Option<u64> {
        let step = u128::from(self.next) + more as u128;
        u64::try_from(self.walk.at(step)).ok().filter(|_| step < self.walk.count())
    }

    /// Keeps what the probe needs to go on with the blocks that are not done, in place of what was kept before.
    pub fn keep(&self, state: &str) -> Result<(), Error> {
        let (path, new) = (self.state(), self.path.with_extension("new"));
        let written = write_synced(&new, state.as_bytes()).and_then(|()| fs::rename(&new, &path));
        written.map_err(Error::file(path))
    }

    /// What was kept; empty if nothing was.
    pub fn kept(&self) -> Result<String, Error> {
        match fs::read_to_string(self.state()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(Error::file(self.state())),
        }
    }

    /// Forgets it.
    pub fn forget_kept(&self) -> Result<(), Error> {
        remove_if_there(&self.state()).map_err(Error::file(self.state()))
    }

    fn state(&self) -> PathBuf {
        self.path.with_extension("state")
    }

    /// Whether every block is done.
    pub fn complete(&self) -> bool {
        u128::from(self.next) >= self.walk.count()
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Notes finished blocks, and waits until that is on the disk.
    pub fn note(&mut self, blocks: &[Done]) -> Result<(), Error> {
        let line = |done: &Done| format!("block {} {} {}\n", done.block, done.probes, done.open);
        let lines: String = blocks.iter().map(line).collect();
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(Error::file(&self.path))?;
        self.count(blocks);
        Ok(())
    }

    fn count(&mut self, blocks: &[Done]) {
        self.next += blocks.len() as u64;
        for done in blocks {
            self.totals.probes = self.totals.probes.saturating_add(done.probes);
            self.totals.open = self.totals.open.saturating_add(done.open);
        }
    }

    /// The job is over.
    pub fn remove(self) -> Result<(), Error> {
        self.forget_kept()?;
        fs::remove_file(&self.path).map_err(Error::file(&self.path))
    }
}

fn path(folder: &Folder, hash: &[u8; 32]) -> PathBuf {
    folder.path("journal").join(hex::encode(hash))
}

/// The whole lines from the start, and how many bytes they take.
fn read(mut file: &File) -> io::Result<(Vec<Done>, u64)> {
    file.rewind()?;
    let (mut reader, mut lines, mut whole) = (BufReader::new(file), Vec::new(), 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        let text = str::from_utf8(&line).ok().and_then(|text| text.strip_suffix('\n'));
        let Some(done) = text.and_then(Done::parse) else { return Ok((lines, whole)) };
        lines.push(done);
        whole += length as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{job, temporary};
    use super::*;

    const HASH: [u8; 32] = [1; 32];

    fn order(journal: &Journal) -> Vec<u64> {
        (0..journal.walk.count()).map(|i| u64::try_from(journal.walk.at(i)).unwrap()).collect()
    }

    #[test]
    fn a_restart_goes_on_with_the_first_block_that_is_not_done() {
        let (folder, _guard) = temporary("journal");
        let mut journal = Journal::open(&folder, &HASH, &job()).unwrap();
        let blocks = order(&journal);
        assert!(blocks.len() >= 5);
        for block in &blocks[..3] {
            journal.note(&[Done { block: *block, probes: 10, open: 1 }]).unwrap();
        }
        drop(journal);
        let mut journal = Journal::open(&folder, &HASH, &job()).unwrap();
        assert_eq!(journal.next(), 3);
        assert_eq!((journal.after(0), journal.after(1)), (Some(blocks[3]), Some(blocks[4])));
        assert_eq!(journal.totals(), Totals { probes: 30, open: 3 });
        for block in &blocks[3..] {
            assert!(!journal.complete());
            journal.note(&[Done { block: *block, probes: 1, open: 0 }]).unwrap();
        }
        assert!(journal.complete() && journal.after(0).is_none());
        journal.remove().unwrap();
        assert!(!Journal::noted(&folder, &HASH, blocks[0]).unwrap());
    }

    #[test]
    fn a_torn_line_is_cut_away() {
        let (folder, _guard) = temporary("torn");
        let mut journal = Journal::open(&folder, &HASH, &job()).unwrap();
        let blocks = order(&journal);
        journal.note(&[Done { block: blocks[0], probes: 1, open: 0 }]).unwrap();
        journal.file.write_all(format!("block {} 1", blocks[1]).as_bytes()).unwrap();
        drop(journal);
        assert!(!Journal::noted(&folder, &HASH, blocks[1]).unwrap());
        let mut journal = Journal::open(&folder, &HASH, &job()).unwrap();
        assert_eq!(journal.next(), 1);
        journal.note(&[Done { block: blocks[1], probes: 1, open: 0 }]).unwrap();
        assert!(Journal::noted(&folder, &HASH, blocks[1]).unwrap());
    }

    #[test]
    fn what_was_kept_last_is_there_until_the_job_is_over() {
        let (folder, _guard) = temporary("kept");
        let journal = Journal::open(&folder, &HASH, &job()).unwrap();
        assert_eq!(journal.kept().unwrap(), "");
        journal.keep("state one\n").unwrap();
        journal.keep("state two\n").unwrap();
        Journal::forget_others(&folder, &HASH).unwrap();
        let journal = Journal::open(&folder, &HASH, &job()).unwrap();
        assert_eq!(journal.kept().unwrap(), "state two\n");
        journal.remove().unwrap();
        assert_eq!(fs::read_dir(folder.path("journal")).unwrap().count(), 0);
    }

    #[test]
    fn journals_of_other_jobs_are_forgotten() {
        let (folder, _guard) = temporary("others");
        let mut journal = Journal::open(&folder, &HASH, &job()).unwrap();
        journal.note(&[Done { block: 0, probes: 1, open: 0 }]).unwrap();
        Journal::forget_others(&folder, &HASH).unwrap();
        assert!(Journal::noted(&folder, &HASH, 0).unwrap());
        Journal::forget_others(&folder, &[2; 32]).unwrap();
        assert!(!Journal::noted(&folder, &HASH, 0).unwrap());
    }
}
