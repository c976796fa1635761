//! `portolan-scanner probe` by hand.

use std::io::{self, IsTerminal, StdoutLock, Write};
use std::process::ExitCode;

use portolan_scanner::wire::{Job, Preset, Reason, State, Timing};

use super::canary;
use super::clock::Clock;
use super::confine::{close_inherited, confine, confine_but_for_files};
use super::engine::{self, Driver, End, NO_SOCKETS};
use super::flags::Flags;
use super::forecast::{Forecast, duration};
use super::guard::Guard;
use super::method::Method;
use super::own;
use super::pace::{Instant, SECOND};
use super::preset::{Close, Numbers, numbers};
use super::report::Closing;
use super::report::output::Output;
use super::resume::{Resume, Totals};
use super::schedule::{Finished, Progress, Schedule};
use crate::sys;

/// The help; the presets' numbers come where it says so.
const HELP: &str = include_str!("../help/probe.txt");

/// Runs a scan by hand.
pub fn main(flags: Flags) -> ExitCode {
    run(flags).unwrap_or_else(|error| {
        crate::say!("portolan-scanner probe: {error}");
        ExitCode::FAILURE
    })
}

/// The help of the subcommand `probe`.
pub fn help() -> String {
    let line = |preset: Preset| {
        let Numbers { timing, in_flight, host_in_flight, close, .. } = numbers(preset);
        let Timing { rate, host_rate, timeout_ms, retries } = timing;
        let close = if *close == Close::Orderly { "closed in order" } else { "reset" };
        format!(
            "  {:<12} {rate:>9}/s {host_rate:>9}/s {timeout_ms:>5} ms {retries:>8} {in_flight:>10} {host_in_flight:>7}  \
             {close}\n",
            preset.as_str(),
        )
    };
    HELP.replace("{presets}", &Preset::ALL.map(line).concat())
}

fn run(flags: Flags) -> io::Result<ExitCode> {
    sys::stop_on_signals()?;
    let Flags { mut job, format, never_scan, resume } = flags;
    let mut guard = Guard::load(&never_scan)?;
    let (resume, found) = resume.map(|file| Resume::open(&file, &job)).transpose()?.unzip();
    let found = found.flatten();
    if let Some(found) = &found {
        job.seed = found.job.seed;
    }
    let warnings = guard.warnings(&job);
    if own::leave_out(&job, &mut guard)? == job.targets {
        return Err(io::Error::other("nothing is left to be probed"));
    }
    let mut schedule = Schedule::new(job.clone(), &guard).map_err(io::Error::other)?;
    announce(&schedule, &warnings);
    let clock = Clock::start();
    if let Some(found) = &found {
        found.restore(&mut schedule, clock.time_of_day(0))?;
        crate::say!("going on: {} of these probes were made before", schedule.progress().done);
    }
    let terminal = io::stderr().is_terminal();
    let mut screen = Screen {
        probes: job.probes(),
        job,
        output: Output::new(format),
        clock: &clock,
        terminal,
        out: io::stdout().lock(),
        totals: found.as_ref().map_or_else(Totals::default, |found| found.totals),
        before: schedule.progress().done,
        resume,
        untold: String::new(),
        said: 0,
    };
    close_inherited(None);
    canary::sing(&screen.job)?;
    let method = Method::open(&screen.job, None)?;
    if screen.resume.is_some() {
        confine_but_for_files()?;
    } else {
        confine(&method.sockets(), screen.job.hints)?;
    }
    if found.is_none() {
        screen.begin()?;
    }
    // A file that cannot be written is a wrong command line: to be said before anything is sent.
    screen.keep(&schedule, 0)?;
    let end = engine::run(schedule, method, &mut screen, &clock)?;
    screen.close(end, clock.now())?;
    Ok(match end {
        End::Done if screen.totals.short => ExitCode::from(3),
        End::Done => ExitCode::SUCCESS,
        End::Cancelled => ExitCode::from(130),
        End::NoSockets => ExitCode::FAILURE,
    })
}

/// Says before anything is sent what is about to be.
fn announce(schedule: &Schedule, warnings: &str) {
    let job = schedule.job();
    crate::say!(
        "{} hosts x {} ports: {} probes, preset {}, at most {}/s and {}/s a host\n{warnings}{}",
        job.hosts(),
        job.ports.count(),
        job.probes(),
        job.preset,
        job.rate,
        job.host_rate,
        Forecast::of(job, schedule.hosts_at_once()),
    );
}

struct Screen<'a> {
    job: Job,
    probes: u128,
    output: Output,
    clock: &'a Clock,
    /// Standard error is a terminal: progress is one line that is written over.
    terminal: bool,
    out: StdoutLock<'a>,
    /// What was reported.
    totals: Totals,
    /// Probes made by an earlier process.
    before: u64,
    resume: Option<Resume>,
    /// What was not printed yet: with a file of the scan it waits until that is about to count it.
    untold: String,
    /// When progress was last told in a line of its own.
    said: Instant,
}

impl Driver for Screen<'_> {
    fn block(&mut self, block: &Finished, _clock: &Clock, _now: Instant) -> io::Result<()> {
        for host in &block.hosts {
            for (sum, count) in self.totals.counts.iter_mut().zip(host.counts(&self.job.ports)) {
                *sum += count;
            }
            self.totals.hosts += host.last - host.first + 1;
            self.totals.short |= host.base == Reason::LocalLimit
                || host.exceptions.iter().any(|run| run.reason == Reason::LocalLimit);
            self.output.host(host, &self.job.ports, &mut self.untold);
        }
        self.totals.sent += block.sent;
        self.totals.sample += block.sample;
        if self.resume.is_none() { self.print() } else { Ok(()) }
    }

    fn progress(&mut self, progress: Progress, rate: u64, now: Instant) -> io::Result<()> {
        let percent = u128::from(progress.done) * 100 / self.probes.max(1);
        // What is left at the rate so far; retries and timeouts are in it.
        let left = self.probes.saturating_sub(progress.done.into()) * u128::from(now / SECOND);
        let left =
            left.checked_div(progress.done.saturating_sub(self.before).into()).map_or("?".into(), duration);
        let slowed = progress.slowed.map_or(String::new(), |rate| format!(" (slowed down to {rate}/s)"));
        let line = format!(
            "{percent} %: {} of {} probes, {} open, {rate}/s{slowed}, {left} left",
            progress.done, self.probes, progress.open
        );
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K{line}");
        } else if now >= self.said + 5 * SECOND {
            self.said = now;
            crate::say!("{line}");
        }
        Ok(())
    }

    fn note(&mut self, text: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        crate::say!("{clear}portolan-scanner probe: {text}");
    }

    fn keep(&mut self, schedule: &Schedule, now: Instant) -> io::Result<()> {
        let Some(resume) = self.resume.take() else { return Ok(()) };
        let millis = self.totals.millis + now / (SECOND / 1_000);
        let (totals, zero) = (Totals { millis, ..self.totals }, self.clock.time_of_day(0));
        let kept = resume.write(schedule, &totals, zero, || self.print());
        self.resume = Some(resume);
        kept
    }

    fn keeps_the_rest(&self, _end: End) -> bool {
        self.resume.is_some()
    }
}

impl Screen<'_> {
    fn begin(&mut self) -> io::Result<()> {
        let command: Vec<String> = std::env::args().collect();
        self.untold = self.output.begin(&self.job, &command.join(" "), self.clock.time_of_day(0));
        if self.resume.is_none() { self.print() } else { Ok(()) }
    }

    fn print(&mut self) -> io::Result<()> {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        self.out.write_all(std::mem::take(&mut self.untold).as_bytes())?;
        self.out.flush()
    }

    fn close(&mut self, end: End, now: Instant) -> io::Result<()> {
        if end == End::NoSockets {
            self.note(NO_SOCKETS);
        }
        if let Some(resume) = &self.resume {
            if end != End::Done {
                crate::say!(
                    "portolan-scanner probe: not finished; {resume} keeps it, the same command goes on"
                );
                return Ok(());
            }
            resume.remove()?;
        }
        let mut counts = self.totals.counts;
        counts[State::NotProbed as usize] += self.probes - counts.iter().sum::<u128>();
        let closing = Closing {
            end: match end {
                End::Done => "done",
                End::Cancelled => "interrupted",
                End::NoSockets => "failed",
            },
            hosts: self.job.hosts(),
            unreached: self.job.hosts() - self.totals.hosts,
            probes: self.probes,
            counts,
            sent: self.totals.sent,
            millis: self.totals.millis + now / (SECOND / 1_000),
            sample: self.totals.sample,
        };
        let (text, aside) = self.output.end(&closing, self.clock.time_of_day(now));
        self.untold = text;
        self.print()?;
        let _ = write!(io::stderr(), "{aside}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_eighty_odd_columns_and_names_every_preset() {
        let text = help();
        for preset in ["gentle", "normal", "fast"] {
            assert!(text.contains(&format!("\n  {preset} ")), "{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    }
}
