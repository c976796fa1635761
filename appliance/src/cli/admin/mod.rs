//! `portolan admin`: what the administrator of the machine does on its files, with the service running or not. It goes
//! through the same services as the pages, under the same rules; every change stands in the audit as `cli` `admin`, with
//! the name of the system's user.

pub mod audit;
mod confirm;
mod files;
mod keys;
mod passwords;
mod roles;
mod schema;
mod sessions;
mod signing;
mod tokens;
mod users;
mod who;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::exit::Exit;
use crate::cli::table;
use crate::error::Error;
use audit::AuditCommand;
pub use files::{Files, FilesArgs};
use keys::KeyCommand;
use passwords::PasswordsArgs;
use roles::RolesCommand;
use schema::SchemaCommand;
use sessions::SessionsCommand;
use signing::SigningCommand;
use tokens::TokensCommand;
use users::UserCommand;

/// What `portolan admin` takes.
#[derive(Args, Debug)]
pub struct AdminArgs {
    #[command(flatten)]
    files: FilesArgs,
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Accounts: the way back in for someone who lost every other
    #[command(subcommand)]
    User(UserCommand),
    /// The roles that accounts hold
    #[command(subcommand)]
    Roles(RolesCommand),
    /// API tokens
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Sessions
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Say who may sign in by a password: for when the provider of identities is gone
    Passwords(PasswordsArgs),
    /// The audit: read, checked, taken away
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The schema of the databases
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// The master key, which closes every other secret
    #[command(subcommand)]
    MasterKey(KeyCommand),
    /// The keys that sign checkpoints and statements
    #[command(subcommand)]
    SigningKey(SigningCommand),
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line, or a confirmation that did not come.
    #[error("{0}")]
    Usage(String),
    /// The appliance runs.
    #[error("{0}")]
    Running(String),
    /// A file.
    #[error("{what}: {error}")]
    File {
        /// Which.
        what: String,
        /// What is the matter with it.
        error: io::Error,
    },
    /// What a service says.
    #[error("{}", in_full(.0))]
    Service(#[from] Error),
    /// What was checked does not hold, in words.
    #[error("{0}")]
    Wrong(String),
}

impl Failure {
    /// For `map_err` of what was done with this file.
    pub fn file(what: impl ToString) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_string();
        move |error| Self::File { what, error }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Running(_) => Exit::Running,
            Self::File { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => Exit::Forbidden,
            Self::File { .. } | Self::Service(Error::Internal(_) | Error::Unavailable(_)) => {
                Exit::Unreachable
            }
            Self::Service(
                Error::Forbidden | Error::Beyond { .. } | Error::SignIn | Error::Prove | Error::InPerson,
            ) => Exit::Forbidden,
            Self::Service(_) | Self::Wrong(_) => Exit::Refused,
        }
    }
}

/// An error with nothing held back: every field that was refused, and every cause behind a fault.
fn in_full(error: &Error) -> String {
    match error {
        Error::Invalid(fields) => {
            let lines: Vec<String> =
                fields.iter().map(|wrong| format!("{} {}", wrong.field, wrong.message)).collect();
            lines.join("; ")
        }
        Error::Internal(cause) => {
            let mut text = cause.to_string();
            let mut next = cause.source();
            while let Some(cause) = next {
                text.push_str(&format!(": {cause}"));
                next = cause.source();
            }
            text
        }
        other => other.to_string(),
    }
}

/// What a command says when it is done: for a person, and for a script.
#[derive(Debug)]
pub struct Said {
    text: String,
    json: Value,
}

impl Said {
    /// A text, and the same as JSON.
    pub fn new(text: impl Into<String>, json: Value) -> Self {
        let mut text = text.into();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        Self { text, json }
    }

    /// A list, as a table of these columns.
    fn list(items: Vec<Value>, columns: &[&str]) -> Self {
        Self { text: table::columns(&items, columns), json: json!({ "items": items }) }
    }

    /// Nothing more: it was written as it came.
    fn nothing() -> Self {
        Self { text: String::new(), json: Value::Null }
    }
}

/// What comes of a command.
pub type Outcome = Result<Said, Failure>;

/// Runs the command.
#[must_use]
pub fn run(args: &AdminArgs) -> ExitCode {
    let AdminArgs { files, command } = args;
    ended(files, || match command {
        AdminCommand::User(command) => users::run(files, command),
        AdminCommand::Roles(command) => roles::run(files, command),
        AdminCommand::Tokens(command) => tokens::run(files, command),
        AdminCommand::Sessions(command) => sessions::run(files, command),
        AdminCommand::Passwords(args) => passwords::run(files, args),
        AdminCommand::Audit(command) => audit::run(files, command),
        AdminCommand::Schema(command) => schema::run(files, command),
        AdminCommand::MasterKey(command) => keys::run(files, command),
        AdminCommand::SigningKey(command) => signing::run(files, command),
    })
}

/// Runs a command, prints what it says and gives its exit code.
pub fn ended(files: &FilesArgs, command: impl FnOnce() -> Outcome) -> ExitCode {
    match command() {
        Ok(Said { text, json }) => {
            let text = match json {
                json if files.json && !json.is_null() => format!("{json:#}\n"),
                _ => text,
            };
            // Whoever closes the pipe has read enough.
            let _ = io::stdout().write_all(text.as_bytes());
            Exit::Done.into()
        }
        Err(failure) => {
            match &failure {
                // It is the answer, and no mistake.
                Failure::Wrong(found) if files.json => {
                    println!("{:#}", json!({ "holds": false, "found": found }));
                }
                Failure::Wrong(found) => println!("{found}"),
                other => eprintln!("portolan: {other}"),
            }
            failure.exit().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_why_is_held_back_and_the_code_says_what_kind_it_is() {
        let refused = Failure::from(Error::invalid("password", "has 3 characters; 12 is the least"));
        assert_eq!(refused.to_string(), "password has 3 characters; 12 is the least");
        assert_eq!(refused.exit(), Exit::Refused);
        let cause = io::Error::other(io::Error::other("the disk is gone"));
        let fault = Failure::from(Error::internal(cause));
        assert!(fault.to_string().contains("the disk is gone"), "{fault}");
        assert_eq!(fault.exit(), Exit::Unreachable);
        let denied = Failure::file("config.db")(io::ErrorKind::PermissionDenied.into());
        assert_eq!(denied.exit(), Exit::Forbidden);
        assert_eq!(Failure::from(Error::not_found("user", "eve")).exit(), Exit::Refused);
    }
}
