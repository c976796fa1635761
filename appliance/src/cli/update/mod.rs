//! `portolan update`: updates of this machine, from a folder or a file.

mod gate;
mod pack;
mod teller;
mod well;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin::{Failure, Files, FilesArgs, Outcome, Said, ended};
use crate::audit;
use crate::clock::Clock;
use crate::ids::{Ids, Random};
use crate::layout::Layout;
use crate::releases::gate as release;
use crate::releases::minisign::PublicKey;
use crate::update::apply::{Progress, admit, apply, tell_loader};
use crate::update::bundle::Bundle;
use crate::update::machine::{Machine, Places};
use crate::update::manifest::{RootHash, Version};
use crate::update::pending::{self, Pending};
use crate::update::{Error, gpt};
use gate::{BeginArgs, GateArgs};
use pack::PackArgs;
use teller::Teller;

/// What `portolan update` takes.
#[derive(Args, Debug)]
pub struct UpdateArgs {
    #[command(flatten)]
    files: FilesArgs,
    #[command(flatten)]
    places: PlacesArgs,
    #[command(subcommand)]
    command: UpdateCommand,
}

/// Where the machine's parts are, where they are not found by themselves.
#[derive(Args, Clone, Debug)]
struct PlacesArgs {
    /// The disk with both slots; the one that the running root is on when absent
    #[arg(long, global = true, value_name = "DEVICE")]
    disk: Option<PathBuf>,
    /// Where the EFI system partition is mounted; /efi or /boot when absent
    #[arg(long, global = true, value_name = "DIR")]
    esp: Option<PathBuf>,
    /// Where it is written that a trial is under way
    #[arg(long, global = true, value_name = "DIR", default_value = crate::update::machine::RUN)]
    run_dir: PathBuf,
    /// The version that runs; that of the image when absent
    #[arg(long, global = true, value_name = "VERSION")]
    running: Option<Version>,
    /// The root hash of what runs; what the kernel was started with when absent
    #[arg(long, global = true, value_name = "HEX")]
    root_hash: Option<RootHash>,
    /// What tells systemd-boot which version to prefer
    #[arg(long, global = true, value_name = "PROGRAM", default_value = "/usr/bin/bootctl")]
    bootctl: PathBuf,
}

impl PlacesArgs {
    fn machine(&self) -> Result<Machine, Error> {
        Machine::find(Places {
            disk: self.disk.clone(),
            esp: self.esp.clone(),
            run: Some(self.run_dir.clone()),
            running: self.running.clone(),
            root_hash: self.root_hash,
            bootctl: Some(self.bootctl.clone()),
        })
    }
}

/// What can be done with updates.
#[derive(Debug, Subcommand)]
enum UpdateCommand {
    /// Say what an update is, and whether it may go to this machine
    ///
    /// Checks the signature, the rules and every file. Nothing is written.
    Check(FromArgs),
    /// Write an update into the slot that does not run; the next start tries it
    ///
    /// It can be stopped at any moment, also by a power cut: what runs now boots again.
    Apply(FromArgs),
    /// Say which version is in which slot
    State,
    /// Note whether what was started is on trial: for a unit, before anything else
    Begin(BeginArgs),
    /// Say whether what is on trial is well, and stays: for a unit, before the boot counts as good
    ///
    /// It is well when the services answer, the databases open, and a scan of this machine by itself finds its own ports, and
    /// all of that still holds some time later. Ends with an error when it is not well in time: the unit then restarts the
    /// machine, and after the last try the version before boots.
    Gate(GateArgs),
    /// Prefer what runs to a newer version that is still there: for a unit, once systemd-boot knows that it is well
    Prefer,
    /// Say in the audit that what runs stays: for a unit, after that
    Good,
    /// Let the configuration be changed again: for a unit, last of all
    End,
    /// Make an update of an image's parts, signed with the release key
    Pack(PackArgs),
}

/// Which update.
#[derive(Args, Debug)]
struct FromArgs {
    /// The folder of the update, or the update as one file
    #[arg(long, value_name = "DIR|FILE")]
    from: PathBuf,
    /// Take a version that is older than what runs
    #[arg(long)]
    allow_downgrade: bool,
    /// Where it is written down what the audit cannot be told yet: the folder of the console's settings
    #[arg(long, value_name = "DIR", default_value = "/var/lib/portolan-settings")]
    settings: PathBuf,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(why) => Self::Wrong(format!("refused: {why}")),
            Error::File { path, source } => Self::file(path.display())(source),
            Error::Table(gpt::Error::Io(source)) => Self::file("the disk")(source),
            other => Self::Wrong(format!("refused: {other}")),
        }
    }
}

/// Runs the command.
#[must_use]
pub fn run(args: &UpdateArgs) -> ExitCode {
    let UpdateArgs { files, places, command } = args;
    ended(files, || match command {
        UpdateCommand::Check(args) => check(places, args),
        UpdateCommand::Apply(args) => applied(files, places, args),
        UpdateCommand::State => state(places),
        UpdateCommand::Begin(args) => gate::begin(places, args),
        UpdateCommand::Gate(args) => gate::gate(files, places, args),
        UpdateCommand::Prefer => gate::prefer(places),
        UpdateCommand::Good => gate::good(files, places),
        UpdateCommand::End => gate::end(places),
        UpdateCommand::Pack(args) => pack::run(args),
    })
}

/// The key that updates have to be signed with.
fn key() -> Result<PublicKey, Error> {
    let key = release::key().map_err(|error| Error::refused(error.to_string()))?;
    key.ok_or_else(|| {
        Error::refused(
            "this is a development build with no release key in it: it cannot tell an update from a forgery",
        )
    })
}

fn about(machine: &Machine, bundle: &Bundle) -> Value {
    let manifest = &bundle.manifest;
    json!({
        "from": machine.running.to_string(),
        "to": manifest.version.to_string(),
        "signed": bundle.comment,
        "root_hash": manifest.root_hash.to_string(),
        "bytes": manifest.files().iter().map(|listed| listed.size).sum::<u64>(),
    })
}

fn check(places: &PlacesArgs, args: &FromArgs) -> Outcome {
    let machine = places.machine()?;
    let bundle = Bundle::open(&args.from, &key()?)?;
    admit(&machine, &bundle.manifest, args.allow_downgrade)?;
    bundle.verify()?;
    let about = about(&machine, &bundle);
    let text = format!(
        "ok: version {} may follow {}; signed: {}",
        bundle.manifest.version, machine.running, bundle.comment
    );
    Ok(Said::new(text, about))
}

fn applied(args: &FilesArgs, places: &PlacesArgs, from: &FromArgs) -> Outcome {
    let teller = Teller::of(args, &from.settings);
    let path = from.from.display().to_string();
    let admitted = || {
        let machine = places.machine()?;
        let bundle = Bundle::open(&from.from, &key()?)?;
        admit(&machine, &bundle.manifest, from.allow_downgrade)?;
        Ok::<_, Error>((machine, bundle))
    };
    let refused = |error: Error, outcome, about: Value| {
        let detail = json!({ "path": path, "why": error.to_string(), "update": about });
        teller.tell("system.update-refused", &detail, outcome, None)?;
        Err(Failure::from(error))
    };
    let (machine, bundle) = match admitted() {
        Ok(both) => both,
        Err(error) => return refused(error, audit::Outcome::Refused, Value::Null),
    };
    let about = about(&machine, &bundle);
    let detail = json!({ "path": path, "update": about });
    teller.tell("system.update-started", &detail, audit::Outcome::Done, None)?;
    let mut say = |progress: Progress| {
        // Whoever does not listen any more does not stop it.
        let _ = writeln!(io::stderr(), "{progress}");
    };
    if let Err(error) = apply(&machine, &bundle, &Random::system(), &mut say) {
        return refused(error, audit::Outcome::Failed, about);
    }
    let pending = Pending {
        id: Ids::with(Clock::system(), Random::system()).new(),
        version: bundle.manifest.version.clone(),
        from: Some(machine.running.clone()),
        boot: pending::boot(),
        restored: None,
    };
    let layout = Layout::new(&args.data);
    pending.write(&layout).map_err(Failure::file(layout.pending_update().display()))?;
    teller.tell("system.update-applied", &detail, audit::Outcome::Done, Some(pending.id))?;
    let text = format!("version {} is written, and is tried at the next start", bundle.manifest.version);
    Ok(Said::new(text, about))
}

fn state(places: &PlacesArgs) -> Outcome {
    let machine = places.machine()?;
    let state = crate::update::state::State::of(&machine)?;
    let mut text = String::new();
    for (name, version) in [("runs", Some(&state.running)), ("other slot", state.other.as_ref())] {
        let version = version.map_or("empty", String::as_str);
        writeln!(text, "{name}: {version}").expect("writing to a String does not fail");
    }
    for kernel in &state.kernels {
        writeln!(text, "kernel: {kernel}").expect("writing to a String does not fail");
    }
    if state.trial {
        text.push_str("what runs is on trial\n");
    }
    let json = serde_json::to_value(&state).map_err(crate::error::Error::from)?;
    Ok(Said::new(text, json))
}
