//! `portolan admin signing-key`: new keys for what the appliance signs.

use clap::{Args, Subcommand, ValueEnum};

use super::confirm::Confirm;
use super::files::{Files, FilesArgs, json, stopped};
use super::{Outcome, Said};
use crate::audit::checkpoints;
use crate::identity::statements;
use crate::secrets::rotation;

/// What can be done with the keys that sign.
#[derive(Debug, Subcommand)]
pub enum SigningCommand {
    /// Put a new key in the place of the one that signs checkpoints or statements
    ///
    /// For when the old one may be known to others: a new master key does not replace it. The appliance must be stopped, and
    /// the master key is needed, as for its rotation. An entry of the audit names both public keys.
    ///
    /// Checkpoints that the old key signed go on to count, up to that entry: give its public key up, and note the new one
    /// down. Whoever has the old key can still sign heads of a time before it: what was kept elsewhere holds him to them.
    ///
    /// Statements that the old key signed hold no more. A system that checks them by itself fetches the new key from
    /// /jwks.json.
    Renew(RenewArgs),
}

/// Which one, and how it is confirmed.
#[derive(Args, Debug)]
pub struct RenewArgs {
    /// What the key signs
    of: Signs,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Signs {
    Checkpoints,
    Statements,
}

/// Runs the command.
///
/// # Errors
/// When the appliance runs, the master key is not here, or the database cannot be written.
pub fn run(args: &FilesArgs, command: &SigningCommand) -> Outcome {
    let SigningCommand::Renew(wanted) = command;
    let _held = stopped(args)?;
    let files = Files::open(args)?;
    let (settling, random) = (files.layout.clone(), files.random.clone());
    let master = files.wait(files.store.read(move |db| rotation::settle_here(&settling, db, &random)))?;
    let Files { store, random, actor, .. } = &files;
    match wanted.of {
        Signs::Checkpoints => {
            wanted
                .confirm
                .ask("A new key signs checkpoints from now on: whoever noted the old one needs it")?;
            let renewed = files.wait(checkpoints::keys::renew(store, &master, random, actor))?;
            let text = format!(
                "checkpoints are signed with a new key: note it down, and give it to whoever checks\nold {}\nnew {}",
                renewed.old, renewed.new
            );
            Ok(Said::new(text, json(&renewed)?))
        }
        Signs::Statements => {
            wanted
                .confirm
                .ask("A new key signs statements from now on, and those that are out hold no more")?;
            let renewed = files.wait(statements::key::renew(store, &master, random, actor))?;
            let text =
                format!("statements are signed with a new key\nold {}\nnew {}", renewed.old, renewed.new);
            Ok(Said::new(text, json(&renewed)?))
        }
    }
}
