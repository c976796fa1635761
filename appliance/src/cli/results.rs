//! `portolan results`: the results store, without the appliance running.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::exit::Exit;
use crate::error::Error;
use crate::fleet::public_keys;
use crate::layout::Layout;
use crate::results::Error as StoreError;
use crate::results::rebuild::{Failure, Keys, Rebuilt, rebuild};
use crate::secrets::signing::JobKey;
use crate::sqlite::open_read_only;
use portolan_scanner::wire::Id;

/// What can be done with the results.
#[derive(Debug, Subcommand)]
pub enum ResultsCommand {
    /// Make the results store anew from the evidence
    ///
    /// The frames that scanners signed are the record, and lie in DIR/manager/evidence; the store is an index over
    /// them. Every signature is checked, the new store is read back, and only then it takes the place of the old one.
    /// The appliance must be stopped. Unless it is done, the old store is as it was.
    Rebuild(RebuildArgs),
}

/// Arguments of `portolan results rebuild`.
#[derive(Debug, Args)]
pub struct RebuildArgs {
    /// The data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Leave out frames that do not verify, naming each, instead of giving up
    #[arg(long)]
    leave_out_bad: bool,
}

/// Why a rebuild did not happen.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error("the keys cannot be read: {0}")]
    Keys(#[from] Error),
}

impl Stopped {
    fn exit(&self) -> Exit {
        match self {
            Self::Failure(Failure::Store(StoreError::Locked(_))) => Exit::Running,
            Self::Failure(_) | Self::Keys(_) => Exit::Unreachable,
        }
    }
}

/// Runs the command.
#[must_use]
pub fn run(command: &ResultsCommand) -> ExitCode {
    let ResultsCommand::Rebuild(args) = command;
    match from_evidence(args) {
        Ok(rebuilt) => {
            tell_bad(&rebuilt.bad);
            let Rebuilt { scans, frames, repeated, open, .. } = rebuilt;
            println!("ok: {frames} frames of {scans} scans, {repeated} repeated, {open} open ports");
            Exit::Done.into()
        }
        Err(Stopped::Failure(failure @ Failure::Unverified(_))) => {
            if let Failure::Unverified(bad) = &failure {
                tell_bad(bad);
            }
            eprintln!("{failure}");
            Exit::Refused.into()
        }
        Err(stopped) => {
            eprintln!("{stopped}");
            stopped.exit().into()
        }
    }
}

fn from_evidence(args: &RebuildArgs) -> Result<Rebuilt, Stopped> {
    let layout = Layout::new(&args.data);
    let config = open_read_only(&layout.config_db())?;
    let job = JobKey::load(&layout.job_signing_key())?.public();
    let scanners = public_keys(&config)?.into_iter();
    let scanners = scanners.map(|(id, key)| (Id::from_bytes(id.into_bytes()), key)).collect();
    let keys = Keys { scanners, job };
    let mut told = 0;
    let rebuilt = rebuild(&layout, &keys, args.leave_out_bad, &mut |so_far| {
        if so_far.frames >= told + 10_000 {
            told = so_far.frames;
            eprintln!("{told} frames");
        }
    })?;
    Ok(rebuilt)
}

fn tell_bad(bad: &[(PathBuf, String)]) {
    for (path, reason) in bad {
        eprintln!("{}: {reason}", path.display());
    }
}
