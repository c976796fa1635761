//! `--resume FILE`: a scan by hand that can be ended at any moment, a power cut included, and gone on with.
//!
//! The file holds what was reported in sum, the job, and the schedule. It is written once a second and whenever
//! blocks are reported, beside its place and then renamed, so that there is always a whole one. Blocks are reported when
//! the file that counts them is on the disk, just before it takes its place: only a process that is killed between these
//! two calls leaves a block that is reported again.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use portolan_scanner::wire::{Job, Sample};

use super::report::Counts;
use super::schedule::Schedule;

const MAGIC: &str = "portolan-resume: 2";

/// What was reported of a scan, in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// What the pairs were found to be.
    pub counts: Counts,
    /// Hosts of blocks that were reported.
    pub hosts: u128,
    /// Connection attempts for them.
    pub sent: u64,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// Some probes were not made for want of room.
    pub short: bool,
    /// What probing a sample of them a second time showed.
    pub sample: Sample,
}

/// A scan that was found in its file.
#[derive(Debug)]
pub struct Found {
    /// The job, as it was begun.
    pub job: Job,
    /// What was reported of it.
    pub totals: Totals,
    schedule: String,
}

/// The file of a scan.
#[derive(Debug)]
pub struct Resume {
    path: PathBuf,
}

impl Resume {
    /// The file at this path, and what is in it, if there is one.
    ///
    /// # Errors
    /// A sentence, if it cannot be read or is not of this scan: of a job that differs from `job` in more than
    /// its random order.
    pub fn open(path: &Path, job: &Job) -> io::Result<(Self, Option<Found>)> {
        let resume = Self { path: path.to_owned() };
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((resume, None)),
            Err(error) => return Err(resume.wrong(format_args!("cannot be read: {error}"))),
            Ok(text) => text,
        };
        let found =
            parse(&text).ok_or_else(|| resume.wrong("is not of a scan by this version of the program"))?;
        if (Job { seed: found.job.seed, ..job.clone() }) != found.job {
            let what = "is of another scan: give the options that it was begun with, or another file";
            return Err(resume.wrong(what));
        }
        Ok((resume, Some(found)))
    }

    /// Writes what is to be known for going on; `zero` is the time of day at the clock's start. `report` prints what it
    /// counts and was not printed before.
    ///
    /// # Errors
    /// The first thing that fails; what was there before is still there.
    pub fn write(
        &self,
        schedule: &Schedule,
        totals: &Totals,
        zero: i64,
        report: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let Totals { counts, hosts, sent, millis, short, sample } = totals;
        let [open, closed, filtered, unreachable, not_probed] = counts;
        let Sample { probed, answered, missed } = sample;
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let written = File::create(&beside).and_then(|mut file| {
            write!(
                file,
                "{MAGIC}\ntotals {open} {closed} {filtered} {unreachable} {not_probed} {hosts} {sent} {millis} {} {probed} {answered} {missed}\n{}.\n{}",
                u8::from(*short),
                schedule.job().encode(),
                schedule.save(zero),
            )?;
            file.sync_data()
        });
        let failed = |error| self.wrong(format_args!("cannot be written: {error}"));
        written.map_err(failed)?;
        report()?;
        fs::rename(&beside, &self.path).map_err(failed)
    }

    /// Removes the file: the scan is done.
    ///
    /// # Errors
    /// What removing says.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path).map_err(|error| self.wrong(format_args!("cannot be removed: {error}")))
    }

    fn wrong(&self, what: impl std::fmt::Display) -> io::Error {
        io::Error::other(format!("--resume: {} {what}", self.path.display()))
    }
}

impl fmt::Display for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Found {
    /// Brings a fresh schedule of its job to where it was.
    ///
    /// # Errors
    /// A sentence, if what was kept of the schedule is not of this job.
    pub fn restore(&self, schedule: &mut Schedule, zero: i64) -> io::Result<()> {
        let wrong =
            |line| io::Error::other(format!("--resume: line {line} of what was kept is not of this scan"));
        schedule.restore(&self.schedule, 0, zero).map_err(wrong)
    }
}

fn parse(text: &str) -> Option<Found> {
    let rest = text.strip_prefix(MAGIC)?.strip_prefix("\ntotals ")?;
    let (totals, rest) = rest.split_once('\n')?;
    let (job, schedule) = rest.split_once("\n.\n")?;
    let numbers: Vec<u64> = totals.split(' ').map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let (&[probed, answered, missed], numbers) =
        numbers.split_last_chunk().map(|(head, tail)| (tail, head))?;
    let [open, closed, filtered, unreachable, not_probed, hosts, sent, millis, short] = numbers[..] else {
        return None;
    };
    let sample = Sample { probed, answered, missed };
    let counts = [open, closed, filtered, unreachable, not_probed].map(u128::from);
    let totals = Totals { counts, hosts: hosts.into(), sent, millis, short: short == 1, sample };
    let job = Job::decode(&format!("{job}\n")).ok()?;
    Some(Found { job, totals, schedule: schedule.to_owned() })
}
