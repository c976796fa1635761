//! Whether what was started is well: what decides that an update stays. Units run these at every start; without a trial there
//! is nothing to decide.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::super::ctl;
use super::{Failure, Files, FilesArgs, Outcome, PlacesArgs, Said, tell_loader};
use crate::audit::{self, Entry};
use crate::layout::Layout;
use crate::sqlite::{Schema, open_read_only};
use crate::update::machine;
use crate::update::names::Kernel;
use crate::update::pending::Pending;
use crate::update::trial;
use crate::{jobs, store};

/// How long it waits before it looks again.
const PAUSE: Duration = Duration::from_secs(2);
/// What `portolan update begin` takes.
#[derive(Args, Debug)]
pub struct BeginArgs {
    /// The folder of the firmware's variables, in which systemd-boot says what it counted
    #[arg(long, value_name = "DIR", default_value = "/sys/firmware/efi/efivars")]
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
    /// Within how many seconds all has to be well
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    within: u64,
}

/// Notes whether one of the tries of what was started was counted: then it is on trial.
///
/// # Errors
/// A file.
pub fn begin(places: &PlacesArgs, args: &BeginArgs) -> Outcome {
    let counted = trial::counted(&args.efivars)?;
    let on = if let Some(Kernel { version, tries: Some(_) }) = &counted {
        trial::begin(&places.run_dir, version)?;
        true
    } else {
        trial::end(&places.run_dir)?;
        false
    };
    let text = if on { "what was started is on trial" } else { "what was started is known to be good" };
    Ok(Said::new(text, json!({ "trial": on })))
}

/// Looks until all is well or the time is over.
///
/// # Errors
/// [`Failure::Wrong`] with what is not well.
pub fn gate(files: &FilesArgs, places: &PlacesArgs, args: &GateArgs) -> Outcome {
    if !trial::is_on(&places.run_dir) {
        return Ok(Said::new("nothing is on trial", json!({ "trial": false })));
    }
    let end = Instant::now() + Duration::from_secs(args.within);
    let mut last = String::new();
    loop {
        match well(files, args) {
            Ok(()) => return good(files, places),
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

/// Everything that has to be well, the cheapest first.
fn well(files: &FilesArgs, args: &GateArgs) -> Result<(), String> {
    databases(&Layout::new(&files.data))?;
    let pages = answers(files)?;
    canary(args, pages)
}

/// The files are whole and as this version made them.
fn databases(layout: &Layout) -> Result<(), String> {
    let look = |name: &str,
                path: PathBuf,
                schema: fn(&rusqlite::Connection) -> crate::error::Result<Schema>| {
        let found =
            open_read_only(&path).and_then(|db| schema(&db)).map_err(|error| format!("{name}: {error}"))?;
        match found {
            Schema { found, known, .. } if found != known => {
                Err(format!("{name} has schema {found}, and this version makes {known}"))
            }
            Schema { wrong, .. } if !wrong.is_empty() => Err(format!("{name}: {}", wrong.join("; "))),
            _ => Ok(()),
        }
    };
    look("config.db", layout.config_db(), store::schema)?;
    look("jobs.db", layout.jobs_db(), jobs::schema)
}

/// The pages answer this machine's own operator, out of config.db and out of the results, which the manager alone has
/// open. The port they answer on.
fn answers(files: &FilesArgs) -> Result<u16, String> {
    for path in ["/scans", "/hosts/127.0.0.1"] {
        ctl::look(&files.data, path).map_err(|why| format!("the pages do not answer {path}: {why}"))?;
    }
    let said = std::fs::read_to_string(Layout::new(&files.data).operator_pages());
    let said = said.map_err(|error| format!("where the pages are: {error}"))?;
    let url = said.split(' ').next().unwrap_or_default();
    url.rsplit(':').next().and_then(|port| port.parse().ok()).ok_or_else(|| format!("{url} has no port"))
}

/// The scanner that came along finds this machine's own two ports open, and one that nobody has closed.
fn canary(args: &GateArgs, pages: u16) -> Result<(), String> {
    // Bound and let go: nobody else has it now.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let free = free.map_err(|error| format!("a port of this machine: {error}"))?.port();
    let ports = [pages, args.scanner_port, free].map(|port| port.to_string()).join(",");
    let said = Command::new(&args.scanner)
        .args([
            "probe",
            "--targets",
            "127.0.0.1",
            "--ports",
            &ports,
            "--output",
            "jsonl",
            "--preset",
            "normal",
        ])
        .output()
        .map_err(|error| format!("{}: {error}", args.scanner.display()))?;
    if !said.status.success() {
        let why = String::from_utf8_lossy(&said.stderr);
        return Err(format!("the scan of this machine by itself ended with {}: {}", said.status, why.trim()));
    }
    let found = open(&String::from_utf8_lossy(&said.stdout));
    let mut wanted = vec![pages, args.scanner_port];
    wanted.sort_unstable();
    if found == wanted {
        return Ok(());
    }
    Err(format!("the scan of this machine by itself found {found:?} open, and not {wanted:?}"))
}

/// The ports that a scanner's JSON lines say are open.
fn open(lines: &str) -> Vec<u16> {
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let open = lines.filter(|line| line["type"] == "port" && line["state"] == "open");
    let mut ports: Vec<u16> =
        open.filter_map(|line| line["port"].as_u64().and_then(|port| port.try_into().ok())).collect();
    ports.sort_unstable();
    ports
}

/// It stays: told to the audit, then the configuration may be changed again. The file of the kernel is renamed by
/// systemd-bless-boot, once this has ended.
fn good(args: &FilesArgs, places: &PlacesArgs) -> Outcome {
    let files = Files::open(args)?;
    let running = places.running.clone().unwrap_or_else(machine::running);
    let pending = Pending::read(&files.layout)?;
    let id = pending.as_ref().map(|pending| pending.id.to_string()).unwrap_or_default();
    let about = json!({ "version": running.to_string() });
    let entry = Entry::event("system.update-good", &about).on("update", &id);
    files.wait(files.store.change(&files.actor, move |_| Ok((entry, ()))))?;
    Pending::forget(&files.layout).map_err(Failure::file(files.layout.pending_update().display()))?;
    trial::end(&places.run_dir)?;
    Ok(Said::new(format!("version {running} is well and stays"), about))
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
            tell_loader(program, &["set-default", &format!("portolan_{running}*.efi")])?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_ports_are_read_from_what_the_scanner_prints() {
        let lines = r#"{"type":"port","address":"127.0.0.1","port":8443,"state":"open","reason":"syn-ack","rtt_us":30}
{"type":"port","address":"127.0.0.1","port":443,"state":"open","reason":"syn-ack","rtt_us":30}
{"type":"port","address":"127.0.0.1","port":444,"state":"filtered","reason":"no-answer"}
{"type":"summary","end":"done","open":2}
no JSON"#;
        assert_eq!(open(lines), [443, 8443]);
    }
}
