//! `portolan admin user`: accounts, and the way back in.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::confirm::Confirm;
use super::files::{Files, FilesArgs, json};
use super::{Failure, Outcome, Said};
use crate::cli::{password, table};
use crate::error::Error;
use crate::identity::passwords::{NewPassword, judge};
use crate::identity::users::{AccountInput, AccountQuery, Kind, State};

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// List accounts
    List(ListArgs),
    /// Show one account: its roles, locks, ways to sign in
    Show(NameArgs),
    /// Make an account
    ///
    /// A person's password is asked for twice, without being shown; without a terminal it is the next line of standard
    /// input. With --no-password nobody can sign in with it yet: make a link on its page, or set a password later.
    Create(CreateArgs),
    /// Set a person's password
    ///
    /// It is asked for twice, without being shown; without a terminal it is the next line of standard input. It is never
    /// taken from the command line, where every user of the machine could read it, and judged by the same rules as on
    /// the pages. The account's sessions end, its locks open. It works for the owner too: it is the way in that is left
    /// to root when every other is lost.
    SetPassword(SetPasswordArgs),
    /// Let an account take passwords from everywhere again
    Unlock(NameArgs),
    /// Take every second factor from an account: app, security keys, recovery codes
    ///
    /// For one who has lost them. Where a role asks for a second factor, the next sign-in leads to setting one up.
    #[command(visible_alias = "reset-factors")]
    ResetTotp(ResetArgs),
    /// Enable or disable an account
    ///
    /// A disabled account signs in no more; its sessions end and its tokens are refused. The owner cannot be disabled.
    SetStatus(StatusArgs),
}

/// Which accounts are listed.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only those with these words in a name or the e-mail address
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
    /// Only those in this state
    #[arg(long)]
    status: Option<Status>,
    /// Only services
    #[arg(long, conflicts_with = "people")]
    services: bool,
    /// Only people
    #[arg(long)]
    people: bool,
}

/// An account.
#[derive(Args, Debug)]
pub struct NameArgs {
    /// Its sign-in name, or its id
    #[arg(value_name = "NAME")]
    name: String,
}

/// An account that is made.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// The name used to sign in: letters, digits, `.`, `_`, `-` and `@`
    #[arg(value_name = "NAME")]
    name: String,
    /// The name shown; the sign-in name when absent
    #[arg(long, value_name = "TEXT", default_value = "")]
    display: String,
    /// The e-mail address
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    email: String,
    /// A role that it holds; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// A program's account: it never signs in, it comes with a token
    #[arg(long)]
    service: bool,
    /// Ask for no password
    #[arg(long, conflicts_with = "service")]
    no_password: bool,
    /// The password must be replaced at the first sign-in
    #[arg(long, conflicts_with_all = ["service", "no_password"])]
    once: bool,
}

/// Whose password is set.
#[derive(Args, Debug)]
pub struct SetPasswordArgs {
    #[command(flatten)]
    name: NameArgs,
    /// It must be replaced at the next sign-in
    #[arg(long)]
    once: bool,
}

/// Whose factors are taken.
#[derive(Args, Debug)]
pub struct ResetArgs {
    #[command(flatten)]
    name: NameArgs,
    #[command(flatten)]
    confirm: Confirm,
}

/// Whose status is set.
#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    name: NameArgs,
    /// What it is from now on
    status: NewStatus,
}

/// States that a list can be narrowed to.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    Active,
    Locked,
    Disabled,
}

/// States that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NewStatus {
    Active,
    Disabled,
}

/// Runs the command.
///
/// # Errors
/// As the service says.
pub fn run(args: &FilesArgs, command: &UserCommand) -> Outcome {
    let files = Files::open(args)?;
    match command {
        UserCommand::List(args) => list(&files, args),
        UserCommand::Show(args) => show(&files, &args.name),
        UserCommand::Create(args) => create(&files, args),
        UserCommand::SetPassword(args) => set_password(&files, args),
        UserCommand::Unlock(args) => unlock(&files, &args.name),
        UserCommand::ResetTotp(args) => reset(&files, args),
        UserCommand::SetStatus(args) => set_status(&files, args),
    }
}

fn list(files: &Files, args: &ListArgs) -> Outcome {
    files.looked("user", "", "user list")?;
    let identity = files.identity();
    let status = args.status.map(|status| match status {
        Status::Active => State::Active,
        Status::Locked => State::Locked,
        Status::Disabled => State::Disabled,
    });
    let kind = if args.services { Some(Kind::Service) } else { args.people.then_some(Kind::Person) };
    let items = files.every(|cursor| {
        let q = Some(args.words.join(" "));
        let query = AccountQuery { q, status, kind, limit: Some(500), cursor, ..AccountQuery::default() };
        let identity = identity.clone();
        async move { identity.accounts(query).await }
    })?;
    let columns = ["name", "display", "kind", "status", "owner", "roles", "methods", "last_seen"];
    Ok(Said::list(items, &columns))
}

fn show(files: &Files, name: &str) -> Outcome {
    let identity = files.identity();
    let account = files.wait(identity.account_named(name))?;
    files.looked("user", &account.id.to_string(), "user show")?;
    let mut shown = json(&files.wait(identity.user(&files.by, account.id))?)?;
    if let Some(fields) = shown.as_object_mut() {
        // They are about who asks on a page.
        fields.remove("own");
        fields.remove("may_change");
    }
    Ok(Said::new(table::show(&shown), shown))
}

fn create(files: &Files, args: &CreateArgs) -> Outcome {
    let identity = files.identity();
    if files.wait(identity.needs_setup())? {
        // Any account would end the setup, and leave nobody who owns the appliance.
        return Err(Error::conflict(
            "there is no owner yet: open the pages and enter the setup code that the start printed",
        )
        .into());
    }
    let roles = super::roles::ids(files, &args.roles)?;
    let new = if args.service || args.no_password { None } else { Some(asked(&args.name)?) };
    if let Some(new) = &new {
        judge(&args.name, new)?;
    }
    let input = AccountInput {
        name: args.name.clone(),
        display: args.display.clone(),
        email: args.email.clone(),
        kind: Some(if args.service { Kind::Service } else { Kind::Person }),
        roles,
        must_change: false,
        version: None,
    };
    let account = files.wait(identity.create_user(&files.by, input))?;
    let may = match new {
        Some(new) => {
            files.wait(identity.set_password(&files.by, account.id, new, args.once))?;
            "signs in with the password that you typed"
        }
        None if args.service => "is a program's: make it a token on the page of tokens",
        None => "cannot sign in yet: make a link on its page, or set a password",
    };
    Ok(Said::new(format!("made: {} {may}", account.name), json(&account)?))
}

fn set_password(files: &Files, args: &SetPasswordArgs) -> Outcome {
    let identity = files.identity();
    let account = files.wait(identity.account_named(&args.name.name))?;
    let new = asked(&account.name)?;
    files.wait(identity.set_password(&files.by, account.id, new, args.once))?;
    let mut text = format!("the password of {} is set; its sessions are over", account.name);
    if account.status == State::Disabled {
        text += "\nthe account is disabled: portolan admin user set-status NAME active";
    }
    if !files.wait(super::passwords::admits(files, account.owner))? {
        text += "\npasswords do not sign in for this account: portolan admin passwords on";
    }
    Ok(Said::new(text, json(&files.wait(identity.account_named(&args.name.name))?)?))
}

fn unlock(files: &Files, name: &str) -> Outcome {
    let identity = files.identity();
    let account = files.wait(identity.account_named(name))?;
    let account = files.wait(identity.unlock_user(&files.by, account.id))?;
    Ok(Said::new(format!("{} takes passwords from everywhere again", account.name), json(&account)?))
}

fn reset(files: &Files, args: &ResetArgs) -> Outcome {
    let identity = files.identity();
    let account = files.wait(identity.account_named(&args.name.name))?;
    args.confirm.ask(&format!("{} loses its app, security keys and recovery codes", account.name))?;
    let done = files.wait(identity.reset_factors(&files.by, account.id))?;
    let mut text = format!("{} has no second factor any more", account.name);
    if done.last_way {
        text += ", and no way in: a key was the last one";
    }
    Ok(Said::new(text, json!({ "user": account.id, "name": account.name, "last_way": done.last_way })))
}

fn set_status(files: &Files, args: &StatusArgs) -> Outcome {
    let identity = files.identity();
    let account = files.wait(identity.account_named(&args.name.name))?;
    let active = args.status == NewStatus::Active;
    let account = files.wait(identity.set_user_active(&files.by, account.id, active))?;
    let is = if active { "is active" } else { "is disabled; its sessions are over, its tokens are refused" };
    Ok(Said::new(format!("{} {is}", account.name), json(&account)?))
}

/// A new password: twice at a terminal, else the next line of standard input.
fn asked(name: &str) -> Result<NewPassword, Failure> {
    let typed = password::ask_new(&format!("New password of {name}"));
    let typed = typed.map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(NewPassword { password: typed.to_string(), again: typed.to_string() })
}
