//! `probe --job -`: the probe as a child of the link.
//!
//! In, before the job, what holds from the first probe on: `exclude ADDRESSES` (addresses, ranges and subnets to which
//! nothing is sent), `start N` (go on from step N of the walk over the blocks), `state` as it came out of an earlier
//! process (go on with the blocks that it had begun), `pause`. Then the text of a job frame, and a line `.`. Then orders,
//! one a line: `cancel`, `expire` (to end too, as the job's time is over), `pause`, `resume`, `exclude ADDRESSES`.
//! An `exclude` that cannot be read ends the scan: half a list protects nobody. The end of the input cancels: a scan
//! that nobody controls must end; only a file as input, which cannot be waited for, is let run to its end.
//!
//! Out: for each block, in walk order, `block <number> <started> <ended> <sent> <probed> <answered> <missed>` (µs UTC,
//! connection attempts, the counts of the sample that was probed a second time),
//! its body lines as in a results frame, and `.`; once a second `progress <pairs done> <open> <attempts a second>`, and
//! lines of `state` (see `schedule/saved.rs`), the last of which is `state .`, or less often where they are many;
//! at the end `end done`, `end cancelled` or `end failed`, with the reason behind it.

use std::fs::File;
use std::io::{self, Read, StdoutLock, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use portolan_scanner::net::Ranges;
use portolan_scanner::wire::{self, Job, MAX_FRAME, Reason, Sample};

use super::canary;
use super::clock::Clock;
use super::confine::{close_inherited, confine};
use super::engine::{self, Driver, End, NO_SOCKETS, Order};
use super::forecast::Forecast;
use super::guard::Guard;
use super::method::Method;
use super::own;
use super::pace::{Instant, SECOND};
use super::schedule::{Finished, Progress, Schedule};
use crate::sys;

/// How many bytes of `state` may come out in a second; and the most that do at all.
const STATE_A_SECOND: usize = 1 << 20;
const MAX_STATE: usize = MAX_FRAME;

/// Runs the job that comes in on standard input; `never_scan` are lists beside the machine's own.
pub fn main(never_scan: &[String]) -> ExitCode {
    match run(never_scan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let detail = error.to_string().replace(char::is_control, " ");
            // If this cannot be written either, the exit code still tells.
            let _ = writeln!(io::stdout(), "end failed {detail}");
            ExitCode::FAILURE
        }
    }
}

fn run(never_scan: &[String]) -> io::Result<()> {
    let mut guard = Guard::load(never_scan)?;
    sys::stop_on_signals()?;
    let mut input = Input::new()?;
    let (opening, job) = input.job()?;
    guard.add(&opening.excluded);
    own::leave_out(&job, &mut guard)?;
    let warnings = guard.warnings(&job);
    let mut schedule = Schedule::new(job, &guard).map_err(io::Error::other)?;
    crate::say!("{warnings}{}", Forecast::of(schedule.job(), schedule.hosts_at_once()));
    let clock = Clock::start();
    let (out, zero) = (io::stdout().lock(), clock.time_of_day(0));
    schedule.start_at(opening.step);
    if !opening.state.is_empty()
        && let Err(line) = schedule.restore(&opening.state, opening.step, zero)
    {
        crate::say!("portolan-scanner probe: line {line} of what was kept is not of this job: not gone by");
        schedule.start_at(opening.step);
    }
    schedule.pause(opening.paused);
    let mut link = Link { input, out, keep_at: 0, zero };
    close_inherited(Some(link.input.file.as_fd()));
    canary::sing(schedule.job())?;
    let orders = (!link.input.is_file).then(|| link.input.file.as_fd());
    let method = Method::open(schedule.job(), orders)?;
    confine(&method.sockets(), schedule.job().hints)?;
    match engine::run(schedule, method, &mut link, &clock)? {
        End::Done => writeln!(link.out, "end done")?,
        End::Cancelled => writeln!(link.out, "end cancelled")?,
        End::NoSockets => writeln!(link.out, "end failed {NO_SOCKETS}")?,
    }
    link.out.flush()
}

/// Standard input, without a buffer that others would not see into.
struct Input {
    file: File,
    /// A file is read to its end at once.
    is_file: bool,
    bytes: Vec<u8>,
}

/// What was said before the job.
#[derive(Default)]
struct Opening {
    excluded: Ranges,
    step: u64,
    /// What was kept of the schedule.
    state: String,
    paused: bool,
}

impl Input {
    fn new() -> io::Result<Self> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let is_file = file.metadata().is_ok_and(|data| data.is_file());
        Ok(Self { file, is_file, bytes: Vec::new() })
    }

    /// Reads what is there, waiting if nothing is. Nothing read is the end of the input.
    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 1 << 14];
        let count = loop {
            match self.file.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    if sys::stop_requested() {
                        return Ok(0);
                    }
                }
                other => break other?,
            }
        };
        self.bytes.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// The next whole line, without its line feed, if there is one.
    fn line(&mut self) -> io::Result<Option<String>> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            let fits = self.bytes.len() <= MAX_FRAME;
            return if fits { Ok(None) } else { Err(invalid("an order is too long".into())) };
        };
        let line = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        self.bytes.drain(..=end);
        Ok(Some(line))
    }

    /// Reads what goes before the job, and the job: everything up to the line `.`. The job's signature line, if it came
    /// along, is cut off; the link has verified it.
    fn job(&mut self) -> io::Result<(Opening, Job)> {
        let mut looked = 0;
        let end = loop {
            let end = self.bytes[looked..].windows(3).position(|bytes| bytes == b"\n.\n");
            if let Some(end) = end {
                break looked + end + 1;
            }
            looked = self.bytes.len().saturating_sub(2);
            if self.bytes.len() > 2 * MAX_FRAME {
                return Err(invalid(format!("the job is longer than {MAX_FRAME} bytes")));
            }
            if self.fill()? == 0 {
                return Err(invalid("the input ended before the line \".\" that ends the job".into()));
            }
        };
        // A file cannot be waited for.
        while self.is_file && self.fill()? > 0 {}
        let rest = self.bytes.split_off(end);
        let text = std::mem::replace(&mut self.bytes, rest[2..].to_vec());
        let text = String::from_utf8(text).map_err(|_| invalid("the job is not UTF-8".into()))?;
        let (mut opening, mut frame) = (Opening::default(), text.as_str());
        while let Some((line, rest)) = frame.split_once('\n') {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("exclude", list) => opening.excluded = opening.excluded.union(&exclusion(list)?),
                ("start", step) => {
                    let wrong = |_| invalid(format!("{step:?} is no step to start at"));
                    opening.step = step.parse().map_err(wrong)?;
                }
                ("state", ".") => {}
                ("state", kept) => opening.state.extend([kept, "\n"]),
                ("pause", "") => opening.paused = true,
                _ => break,
            }
            frame = rest;
        }
        let job = Job::decode(wire::split(frame.as_bytes()).map_or(frame, |signed| signed.text));
        let job = job.map_err(|error| invalid(format!("the job cannot be read: {error}")))?;
        Ok((opening, job))
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn exclusion(list: &str) -> io::Result<Ranges> {
    Ranges::parse(list).map_err(|error| invalid(format!("an exclusion cannot be read: {error}")))
}

/// The link, as the engine sees it.
struct Link<'a> {
    input: Input,
    out: StdoutLock<'a>,
    /// When the schedule is to be kept next; and the time of day at the clock's start.
    keep_at: Instant,
    zero: i64,
}

impl Driver for Link<'_> {
    fn orders(&mut self, readable: bool) -> io::Result<Vec<Order>> {
        let gone = readable && self.input.fill()? == 0;
        let mut orders = Vec::new();
        while let Some(line) = self.input.line()? {
            let order = order(&line)?;
            if order.is_none() {
                crate::say!("portolan-scanner probe: {line:?} is not an order");
            }
            orders.extend(order);
        }
        if gone {
            orders.push(Order::Gone);
        }
        Ok(orders)
    }

    fn block(&mut self, block: &Finished, clock: &Clock, now: Instant) -> io::Result<()> {
        let started = self.zero.saturating_add(block.started);
        // The system's time may have been set back since an earlier process began it.
        let ended = clock.time_of_day(now).max(started);
        let Sample { probed, answered, missed } = block.sample;
        let mut text =
            format!("block {} {started} {ended} {} {probed} {answered} {missed}\n", block.number, block.sent);
        for host in &block.hosts {
            host.write(&mut text);
        }
        text.push_str(".\n");
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    fn progress(&mut self, progress: Progress, rate: u64, _now: Instant) -> io::Result<()> {
        writeln!(self.out, "progress {} {} {rate}", progress.done, progress.open)?;
        self.out.flush()
    }

    fn keep(&mut self, schedule: &Schedule, now: Instant) -> io::Result<()> {
        if now >= self.keep_at {
            let state = schedule.save(self.zero);
            self.keep_at = now + SECOND * (1 + (state.len() / STATE_A_SECOND) as u64);
            if state.len() <= MAX_STATE {
                let lines: String =
                    state.lines().chain(["."]).map(|line| format!("state {line}\n")).collect();
                self.out.write_all(lines.as_bytes())?;
                self.out.flush()?;
            }
        }
        Ok(())
    }

    /// Begins it again: what it failed to do is not to stand as done.
    fn keeps_the_rest(&self, end: End) -> bool {
        end == End::NoSockets
    }
}

/// Reads an order; what is none is `None`.
fn order(line: &str) -> io::Result<Option<Order>> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    Ok(match (word, rest) {
        ("cancel", "") => Some(Order::Cancel(Reason::Cancelled)),
        ("expire", "") => Some(Order::Cancel(Reason::Expired)),
        ("pause", "") => Some(Order::Pause),
        ("resume", "") => Some(Order::Resume),
        ("exclude", list) => Some(Order::Exclude(exclusion(list)?)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_one_spelling() {
        let order = |line| order(line).unwrap();
        assert_eq!(order("pause"), Some(Order::Pause));
        assert_eq!(order("expire"), Some(Order::Cancel(Reason::Expired)));
        let excluded = Ranges::parse("10.0.0.5, 10.1.0.0/24").unwrap();
        assert_eq!(order("exclude 10.0.0.5, 10.1.0.0/24"), Some(Order::Exclude(excluded)));
        for bad in ["", "Pause", "start", "start -1", "start 1 2", "stop"] {
            assert_eq!(order(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_exclusion_that_cannot_be_read_is_no_order_to_go_on_without_it() {
        let error = order("exclude 10.0.0.5, 10.1.0.1/24").unwrap_err().to_string();
        assert!(error.contains("10.1.0.1/24"), "{error}");
    }
}
