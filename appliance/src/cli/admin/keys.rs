//! `portolan admin master-key`: a new master key.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::confirm::Confirm;
use super::files::{Files, FilesArgs, json, stopped};
use super::{Failure, Outcome, Said};
use crate::app::sealed;
use crate::identity::sessions::end_everyones;
use crate::secrets::{credentials_directory, rotation};

/// What can be done with the master key.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Put a new master key in the place of the old one
    ///
    /// Everything that the old one closed is closed anew: the CA of the scanners, the pages' certificate, the key of
    /// statements, secrets of authenticator apps, of providers and of webhooks. All sessions end. The key that signs
    /// checkpoints, the one that signs statements, and the one that recovery codes are checked by, stay: auditors, systems
    /// and people keep what they made. A new master key heals none of them: whoever had the old one and the database has
    /// these, too (`portolan admin signing-key renew`). The appliance must be stopped. Killed at any moment, it starts again with the old key or the new one.
    ///
    /// Backups from before need the old key: --save-old keeps it, for where they are kept. Where systemd hands the key out as a
    /// credential, run this with that credential (`systemd-run -p LoadCredentialEncrypted=…`), seal the new key, which is
    /// then in manager/master.key, in its place, and remove that file.
    Rotate(RotateArgs),
}

/// How it is confirmed.
#[derive(Args, Debug)]
pub struct RotateArgs {
    /// Keep the old key in this file (mode 0600), for backups from before; it may not be there yet
    #[arg(long, value_name = "FILE")]
    save_old: Option<PathBuf>,
    #[command(flatten)]
    confirm: Confirm,
}

/// Runs the command.
///
/// # Errors
/// When the appliance runs, the key is not here, or something that it closed does not open.
pub fn run(args: &FilesArgs, command: &KeyCommand) -> Outcome {
    let KeyCommand::Rotate(wanted) = command;
    let _held = stopped(args)?;
    let files = Files::open(args)?;
    let (layout, settling) = (files.layout.clone(), files.layout.clone());
    let random = files.random.clone();
    // Also finishes a rotation that was cut short.
    let old = files.wait(files.store.read(move |db| rotation::settle_here(&settling, db, &random)))?;
    wanted.confirm.ask("A new master key takes the place of the old one, and everyone must sign in again")?;
    if let Some(path) = &wanted.save_old {
        old.save(path).map_err(Failure::file(path.display()))?;
    }
    let by = (&files.actor, &files.random);
    let rotated = rotation::rotate(&layout, &files.store, &old, by, sealed(), end_everyones);
    let rotated = files.wait(rotated)?;
    let count: usize = rotated.sealed_anew.values().sum();
    let mut text = format!(
        "the master key is a new one; secrets closed anew: {count}, sessions ended: {}\n",
        rotated.sessions_ended
    );
    text += &match &wanted.save_old {
        Some(path) => format!("backups from before need the old key, which is in {}", path.display()),
        None => "backups from before need the old key, which is gone from here".to_owned(),
    };
    if credentials_directory().is_some() {
        text += &format!(
            "\nseal {0} as the credential that systemd hands out, then remove {0}",
            layout.master_key().display()
        );
    }
    Ok(Said::new(text, json(&rotated)?))
}
