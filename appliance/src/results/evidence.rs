//! The frames themselves, kept for good: what the store is an index over, and what an auditor is shown.
//!
//! ```text
//! evidence/SCAN/counted                          which frame was counted as which, one line each
//! evidence/SCAN/JOB-HASH/job.frame.zst           the job as the appliance signed it
//! evidence/SCAN/JOB-HASH/BLOCK-PART.frame.zst    the results as the scanner signed them
//! ```
//! `zstdcat FILE | less` shows one; its SHA-256 is its name in receipts and in the store. A second, different frame
//! under the same key (a scanner that probed a block anew after a crash) is kept as `BLOCK-PART.HASH.frame.zst`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

use portolan_scanner::wire::{MAX_FRAME, hex};

use crate::ingest::frame::{JobFrame, Proven};
use crate::layout::sync_folder;
use zstd::bulk::Compressor;

use super::Counted;

const JOB: &str = "job.frame.zst";
const SUFFIX: &str = ".frame.zst";
const COUNTED: &str = "counted";

/// zstd's own default: frames are text, this halves them several times over at the speed of a disk.
const LEVEL: i32 = 3;

/// Files written at once.
const WRITERS: usize = 32;

/// The evidence folder.
#[derive(Clone, Debug)]
pub struct Evidence {
    root: PathBuf,
}

impl Evidence {
    /// The evidence under `root`, which exists.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Keeps counted frames, with their jobs. When this returns, they outlast a power cut. Keeping one again changes
    /// nothing.
    ///
    /// # Errors
    /// Any from the file system, with the path.
    pub fn keep(&self, frames: &[(&Proven, Counted)]) -> io::Result<()> {
        let mut lines: BTreeMap<PathBuf, String> = BTreeMap::new();
        let mut folders = BTreeSet::new();
        let mut files: Vec<(PathBuf, &[u8])> = Vec::with_capacity(frames.len());
        for (frame, counted) in frames {
            let scan = self.root.join(frame.job().job().scan.to_string());
            let hash = hex::encode(&frame.frame().hash());
            if counted.same {
                let line = format!("{:010} {hash}\n", counted.number);
                lines.entry(scan.join(COUNTED)).or_default().push_str(&line);
            }
            let folder = scan.join(frame.job().hash());
            if folders.insert(folder.clone()) {
                self.make(&scan, &folder)?;
                files.push((folder.join(JOB), frame.job().text().as_bytes()));
            }
            let key = format!("{}-{}", frame.results().block, frame.results().part);
            let name = if counted.same {
                format!("{key}{SUFFIX}")
            } else {
                format!("{key}.{}{SUFFIX}", &hash[..16])
            };
            files.push((folder.join(name), frame.frame().bytes()));
        }
        write_all(&files)?;
        for folder in &folders {
            sync_folder(folder)?;
        }
        for (path, lines) in lines {
            let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
            // What is written behind a line that a kill tore off would be torn as well.
            if is_torn(&mut file)? {
                file.write_all(b"\n")?;
            }
            file.write_all(lines.as_bytes())?;
            file.sync_data()?;
        }
        for scan in folders.iter().filter_map(|folder| folder.parent()).collect::<BTreeSet<_>>() {
            sync_folder(scan)?;
        }
        Ok(())
    }

    /// Makes the folders of a job; the evidence folder itself has to be there (it may be a disk of its own).
    fn make(&self, scan: &Path, folder: &Path) -> io::Result<()> {
        let make = |path: &Path| match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(named(path, &error)),
            _ => Ok(()),
        };
        if !folder.exists() {
            make(scan)?;
            // Also when it is there: who made it may have been killed before this.
            sync_folder(&self.root)?;
            make(folder)?;
        }
        Ok(())
    }

    /// A job by the hash of its frame, if anything was ever counted for it.
    ///
    /// # Errors
    /// Any from the file system, with the path.
    pub fn job(&self, hash: &str) -> io::Result<Option<JobFrame>> {
        for scan in self.scans()? {
            let path = scan.join(hash).join(JOB);
            if path.exists() {
                return read_job(&path).map(Some);
            }
        }
        Ok(None)
    }

    /// Whether there is any.
    ///
    /// # Errors
    /// Any from the file system, with the path.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.scans()?.is_empty())
    }

    /// The folder of every scan.
    pub(super) fn scans(&self) -> io::Result<Vec<PathBuf>> {
        folders(&self.root)
    }
}

/// Whether the file ends within a line.
fn is_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(io::SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// One kept frame: where it lies.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub path: PathBuf,
    /// The folder of its job.
    pub job: PathBuf,
}

/// Every frame of a scan, in the order in which they were counted; what was never counted comes last.
pub(super) fn frames(scan: &Path) -> io::Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for job in folders(scan)? {
        for entry in read_dir(&job)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(SUFFIX) && name != JOB {
                kept.push(Kept { path, job: job.clone() });
            }
        }
    }
    Ok(kept)
}

/// The numbers under which frames were counted, by the hash of the frame.
pub(super) fn numbers(scan: &Path) -> io::Result<BTreeMap<String, u64>> {
    let text = match fs::read_to_string(scan.join(COUNTED)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(named(&scan.join(COUNTED), &error)),
    };
    // A line that a power cut left half written names a frame that is still in the spool.
    let line = |line: &str| {
        let (number, hash) = line.split_once(' ')?;
        (hash.len() == 64).then_some((hash.to_owned(), number.parse().ok()?))
    };
    Ok(text.lines().rev().filter_map(line).collect())
}

/// The job of a folder.
pub(super) fn job_of(folder: &Path) -> io::Result<JobFrame> {
    read_job(&folder.join(JOB))
}

fn read_job(path: &Path) -> io::Result<JobFrame> {
    let bad =
        |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
    let text = String::from_utf8(read(path)?).map_err(|_| bad("not UTF-8".to_owned()))?;
    JobFrame::parse(&text).map_err(|refusal| bad(refusal.to_string()))
}

/// A kept frame as it came; never more than a frame may have, whatever the file unpacks to.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let unpack = || {
        let mut bytes = Vec::new();
        zstd::Decoder::new(File::open(path)?)?.take(MAX_FRAME as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    unpack().map_err(|error: io::Error| named(path, &error))
}

fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

fn read_dir(path: &Path) -> io::Result<fs::ReadDir> {
    fs::read_dir(path).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Writes files that are not there yet. Each is synced, so a few are written at once: the disk takes their syncs
/// together. The caller syncs the folders.
fn write_all(files: &[(PathBuf, &[u8])]) -> io::Result<()> {
    let share = files.len().div_ceil(WRITERS).max(1);
    std::thread::scope(|scope| {
        let writers: Vec<_> = files.chunks(share).map(|files| scope.spawn(|| write_some(files))).collect();
        writers.into_iter().try_for_each(|writer| writer.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn write_some(files: &[(PathBuf, &[u8])]) -> io::Result<()> {
    let mut compressor = Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    for (path, bytes) in files {
        if !path.exists() {
            write_new(path, &compressor.compress(bytes)?).map_err(|error| named(path, &error))?;
        }
    }
    Ok(())
}

/// Writes a file so that it is there whole or not at all: beside it first, synced, renamed.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
