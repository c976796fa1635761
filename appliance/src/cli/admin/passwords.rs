//! `portolan admin passwords`: who may sign in by a password. Where a provider of identities signs people in, and that is
//! gone, this is how passwords come back.

use clap::{Args, ValueEnum};

use super::files::{Files, FilesArgs, json};
use super::{Outcome, Said};
use crate::error::Result;
use crate::identity::oidc::local::{Local, LocalSignIn};
use crate::settings::{self, Current};

/// Who may.
#[derive(Args, Debug)]
pub struct PasswordsArgs {
    /// Whoever has one, or the owner alone; without it, it is shown
    who: Option<Who>,
}

/// Who may sign in by a password. Nobody is no choice here: the pages offer it to who came by a provider.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Who {
    /// Whoever has one
    On,
    /// The owner alone
    OwnerOnly,
}

/// Runs the command.
///
/// # Errors
/// As the service says.
pub fn run(args: &FilesArgs, wanted: &PasswordsArgs) -> Outcome {
    let files = Files::open(args)?;
    let now = files.wait(files.store.read(settings::current::<LocalSignIn>))?;
    let now: Current<LocalSignIn> = match wanted.who {
        None => now,
        Some(who) => {
            let local = match who {
                Who::On => Local::On,
                Who::OwnerOnly => Local::OwnerOnly,
            };
            let version = Some(now.version);
            files.wait(settings::change(&files.store, &files.actor, version, LocalSignIn { local }))?
        }
    };
    let text = match now.value.local {
        Local::On => "whoever has a password may sign in by it",
        Local::OwnerOnly => "the owner alone may sign in by a password",
        Local::Off => "nobody may sign in by a password",
    };
    Ok(Said::new(text, json(&now)?))
}

/// Whether a password signs in an account that is the owner's, or is not.
///
/// # Errors
/// Any from the database.
pub async fn admits(files: &Files, owner: bool) -> Result<bool> {
    let now = files.store.read(settings::current::<LocalSignIn>).await?;
    Ok(now.value.admits(owner))
}
