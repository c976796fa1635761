//! `portolan admin sessions`: who is signed in, and an end to it.

use clap::{Args, Subcommand};
use serde_json::json;

use super::confirm::Confirm;
use super::files::{Files, FilesArgs};
use super::{Outcome, Said};
use crate::identity::sessions::SessionQuery;

/// What can be done with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// List the sessions of everyone
    List,
    /// End the sessions of everyone, or of one account
    RevokeAll(RevokeArgs),
}

/// Whose sessions end.
#[derive(Args, Debug)]
pub struct RevokeArgs {
    /// Only those of this account: its sign-in name, or its id
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    confirm: Confirm,
}

/// Runs the command.
///
/// # Errors
/// As the service says.
pub fn run(args: &FilesArgs, command: &SessionsCommand) -> Outcome {
    let files = Files::open(args)?;
    let identity = files.identity();
    match command {
        SessionsCommand::List => {
            files.looked("session", "", "sessions list")?;
            let items = files.every(|cursor| {
                let query = SessionQuery { limit: Some(500), cursor, ..SessionQuery::default() };
                let (identity, by) = (identity.clone(), files.by.clone());
                async move { identity.sessions(&by, query).await }
            })?;
            let columns = ["user", "method", "stage", "source", "began_at", "last_seen", "agent"];
            Ok(Said::list(items, &columns))
        }
        SessionsCommand::RevokeAll(args) => {
            let ended = match &args.user {
                None => {
                    args.confirm.ask("Everyone must sign in again")?;
                    files.wait(identity.revoke_every_session(&files.by))?
                }
                Some(name) => {
                    let account = files.wait(identity.account_named(name))?;
                    args.confirm.ask(&format!("{} must sign in again", account.name))?;
                    files.wait(identity.revoke_sessions_of(&files.by, account.id))?
                }
            };
            let text = if ended == 1 {
                "1 session is over".to_owned()
            } else {
                format!("{ended} sessions are over")
            };
            Ok(Said::new(text, json!({ "ended": ended })))
        }
    }
}
