//! `portolan admin tokens`: what scripts come with.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use uuid::Uuid;

use super::confirm::Confirm;
use super::files::{Files, FilesArgs, json};
use super::{Outcome, Said};
use crate::error::Error;
use crate::identity::tokens::prune::KEPT_DAYS;
use crate::identity::tokens::{State, TokenQuery, Tokens};

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// List everyone's tokens, never their secrets
    List(ListArgs),
    /// Revoke a token, from the next request on
    Revoke(RevokeArgs),
    /// Forget tokens that were revoked or expired long ago
    ///
    /// The appliance does so by itself after 90 days. What they were stays in the audit.
    Prune(PruneArgs),
}

/// Which tokens are listed.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only those with these words in their name, or in that of their account or maker
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
    /// Only those in this state
    #[arg(long)]
    state: Option<Is>,
}

/// Whether a token is in force.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Is {
    InForce,
    Expired,
    Revoked,
}

/// Which token is revoked.
#[derive(Args, Debug)]
pub struct RevokeArgs {
    /// Its id, as the list shows it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    confirm: Confirm,
}

/// Which tokens are forgotten.
#[derive(Args, Debug)]
pub struct PruneArgs {
    /// Those that have been over for more than this many days
    #[arg(long, value_name = "DAYS", default_value_t = KEPT_DAYS)]
    older_than: u32,
    #[command(flatten)]
    confirm: Confirm,
}

/// Runs the command.
///
/// # Errors
/// As the service says.
pub fn run(args: &FilesArgs, command: &TokensCommand) -> Outcome {
    let files = Files::open(args)?;
    let tokens =
        Tokens::new(files.store.clone(), files.clock.clone(), files.ids.clone(), files.random.clone());
    match command {
        TokensCommand::List(args) => list(&files, &tokens, args),
        TokensCommand::Revoke(args) => revoke(&files, &tokens, args),
        TokensCommand::Prune(args) => {
            let days = args.older_than;
            args.confirm
                .ask(&format!("Tokens that have been over for more than {days} days are forgotten"))?;
            let count = files.wait(tokens.prune(&files.actor, days))?;
            Ok(Said::new(format!("{count} forgotten"), json!({ "forgotten": count })))
        }
    }
}

fn list(files: &Files, tokens: &Tokens, args: &ListArgs) -> Outcome {
    files.looked("token", "", "tokens list")?;
    let state = args.state.map(|state| match state {
        Is::InForce => State::InForce,
        Is::Expired => State::Expired,
        Is::Revoked => State::Revoked,
    });
    let items = files.every(|cursor| {
        let q = Some(args.words.join(" "));
        let query = TokenQuery { q, state, limit: Some(500), cursor, sort: None };
        let tokens = tokens.clone();
        async move { tokens.all(query).await }
    })?;
    let columns = ["id", "name", "account", "hint", "state", "expires_at", "last_used", "scopes"];
    Ok(Said::list(items, &columns))
}

fn revoke(files: &Files, tokens: &Tokens, args: &RevokeArgs) -> Outcome {
    let id = Uuid::try_parse(&args.id).map_err(|_| Error::not_found("token", &args.id))?;
    args.confirm.ask(&format!("What uses the token {id} is refused from now on"))?;
    let token = files.wait(tokens.revoke(&files.by, id))?;
    let text = format!("revoked: {} of {}", token.name, token.account.name);
    Ok(Said::new(text, json(&token)?))
}
