//! What decides that an update stays. Units run these at a start of which systemd-boot counted a try; at any other there is
//! nothing to decide.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use super::well::{self, Twice};
use super::{Failure, Files, FilesArgs, Outcome, PlacesArgs, Said, tell_loader};
use crate::audit::{self, Entry};
use crate::layout::write_file;
use crate::update::machine;
use crate::update::names;
use crate::update::pending::Pending;
use crate::update::trial;

/// How long it waits before it looks again.
const PAUSE: Duration = Duration::from_secs(2);

/// What `portolan update begin` takes.
#[derive(Args, Debug)]
pub struct BeginArgs {
    /// The folder of the firmware's variables, in which systemd-boot says what it counted
    #[arg(long, value_name = "DIR", default_value = trial::VARIABLES)]
    efivars: PathBuf,
}

/// What `portolan update gate` takes.
#[derive(Args, Debug)]
pub struct GateArgs {
    /// The scanner's program, for the scan of this machine by itself
    #[arg(long, value_name = "FILE", default_value = "/usr/lib/portolan/scanner/portolan-scanner")]
    scanner: PathBuf,
    /// The port that scanners connect to
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    scanner_port: u16,
    /// The file in which the dispatcher counts its steps
    #[arg(long, value_name = "FILE", default_value = "/run/portolan-dispatcher/steps")]
    dispatcher: PathBuf,
    /// Within how many seconds all has to be well
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    within: u64,
    /// Count them from the start of the machine, not from that of this command
    #[arg(long)]
    from_boot: bool,
    /// For how many seconds it has to stay well
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    settle: u64,
    /// The folder of the firmware's variables, in which systemd-boot says what it counted
    #[arg(long, value_name = "DIR", default_value = trial::VARIABLES)]
    efivars: PathBuf,
}

impl GateArgs {
    /// The scanner's program.
    pub fn scanner(&self) -> &Path {
        &self.scanner
    }

    /// The file in which the dispatcher counts.
    pub fn dispatcher(&self) -> &Path {
        &self.dispatcher
    }

    /// The port that scanners connect to.
    pub fn scanner_port(&self) -> u16 {
        self.scanner_port
    }
}

/// Notes whether one of the tries of what was started was counted: then it is on trial.
///
/// # Errors
/// A file.
pub fn begin(places: &PlacesArgs, args: &BeginArgs) -> Outcome {
    let on = trial::counted(&args.efivars)?;
    if on {
        let running = places.running.clone().unwrap_or_else(machine::running);
        trial::begin(&places.run_dir, &running)?;
    } else {
        trial::end(&places.run_dir)?;
    }
    let text = if on { "what was started is on trial" } else { "what was started is known to be good" };
    Ok(Said::new(text, json!({ "trial": on })))
}

/// Looks until all is well and stays so, or the time is over.
///
/// # Errors
/// [`Failure::Wrong`] with what is not well.
pub fn gate(files: &FilesArgs, places: &PlacesArgs, args: &GateArgs) -> Outcome {
    // The firmware is asked, not the file of the trial: a program that could not even write that is not well.
    if !trial::counted(&args.efivars)? {
        return Ok(Said::new("nothing is on trial", json!({ "trial": false })));
    }
    if !trial::is_on(&places.run_dir) {
        return bad(files, "the trial was not noted before anything else");
    }
    let gone = if args.from_boot { since_boot() } else { Duration::ZERO };
    let end = Instant::now() + Duration::from_secs(args.within).saturating_sub(gone);
    let mut twice = Twice::apart(Duration::from_secs(args.settle));
    let mut last = String::new();
    loop {
        let found = well::look(files, args);
        match twice.look(Instant::now(), found) {
            Ok(()) => {
                let running = places.running.clone().unwrap_or_else(machine::running);
                return Ok(Said::new(format!("version {running} is well"), json!({ "trial": true })));
            }
            Err(why) if Instant::now() >= end => return bad(files, &why),
            Err(why) => {
                if why != last {
                    eprintln!("not yet well: {why}");
                }
                last = why;
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// How long this machine has run, with what it slept.
fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::from_secs(now.tv_sec.try_into().unwrap_or(0))
}

/// It stays: told to the audit, and nothing is noted of it any more. Once systemd-bless-boot has renamed its kernel: before
/// that a power cut still starts the version before, which must find what was noted.
///
/// # Errors
/// A file, or the database.
pub fn good(args: &FilesArgs, places: &PlacesArgs) -> Outcome {
    let files = Files::open(args)?;
    let running = places.running.clone().unwrap_or_else(machine::running);
    let pending = Pending::read(&files.layout)?;
    let id = pending.as_ref().map(|pending| pending.id.to_string()).unwrap_or_default();
    let about = json!({ "version": running.to_string() });
    let entry = Entry::event("system.update-good", &about).on("update", &id);
    files.wait(files.store.change(&files.actor, move |_| Ok((entry, ()))))?;
    Pending::forget(&files.layout).map_err(Failure::file(files.layout.pending_update().display()))?;
    Ok(Said::new(format!("version {running} is well and stays"), about))
}

/// The trial is over: the configuration may be changed again.
///
/// # Errors
/// A file.
pub fn end(places: &PlacesArgs) -> Outcome {
    // First: from here on nothing restarts the machine any more.
    let over = trial::over(&places.run_dir);
    write_file(&over, b"", 0o644).map_err(Failure::file(over.display()))?;
    trial::end(&places.run_dir)?;
    Ok(Said::new("the trial is over", json!({ "trial": false })))
}

/// Tells systemd-boot to take what runs, where it would take a newer version that is still there: after an older one that was
/// asked for turned out well.
///
/// # Errors
/// A folder, or what systemd-boot's program says.
pub fn prefer(places: &PlacesArgs) -> Outcome {
    let machine = places.machine()?;
    let running = &machine.running;
    let newer = machine.kernels()?.into_iter().any(|(_, kernel)| kernel.version > *running);
    match (&machine.bootctl, newer) {
        (Some(program), true) => {
            tell_loader(program, &["set-default", &names::blessed(running)])?;
            Ok(Said::new(
                format!("version {running} is preferred to newer ones"),
                json!({ "preferred": true }),
            ))
        }
        _ => Ok(Said::new("what runs is the newest", json!({ "preferred": false }))),
    }
}

/// It does not stay. That can be told where the databases open; the restart comes from the unit.
fn bad(args: &FilesArgs, why: &str) -> Outcome {
    if let Ok(files) = Files::open(args) {
        let entry =
            Entry::event("system.update-failed", &json!({ "why": why })).outcome(audit::Outcome::Failed);
        if let Err(error) = files.wait(files.store.change(&files.actor, move |_| Ok((entry, ())))) {
            eprintln!("portolan: the audit could not be told: {error}");
        }
    }
    Err(Failure::Wrong(format!("not well: {why}")))
}
