//! `portolan admin roles`: which roles there are, and who holds them.

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::files::{Files, FilesArgs, json};
use super::{Failure, Outcome, Said};
use crate::error::Error;
use crate::identity::roles::{RoleQuery, Roles};
use crate::identity::users::AccountInput;

/// What can be done with roles.
#[derive(Debug, Subcommand)]
pub enum RolesCommand {
    /// List roles, with what they give
    List,
    /// Give roles to an account
    Grant(HolderArgs),
    /// Take roles from an account
    ///
    /// Those that a provider of identities gave, it gives again at the next sign-in: change its groups there.
    Revoke(HolderArgs),
}

/// Whose roles change.
#[derive(Args, Debug)]
pub struct HolderArgs {
    /// The account's sign-in name, or its id
    #[arg(value_name = "NAME")]
    name: String,
    /// The roles, by name or id
    #[arg(value_name = "ROLE", required = true)]
    roles: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// As the service says.
pub fn run(args: &FilesArgs, command: &RolesCommand) -> Outcome {
    let files = Files::open(args)?;
    match command {
        RolesCommand::List => list(&files),
        RolesCommand::Grant(args) => change(&files, args, true),
        RolesCommand::Revoke(args) => change(&files, args, false),
    }
}

fn list(files: &Files) -> Outcome {
    files.looked("role", "", "roles list")?;
    let roles = service(files);
    let items = files.every(|cursor| {
        let query = RoleQuery { limit: Some(500), cursor, ..RoleQuery::default() };
        let roles = roles.clone();
        async move { roles.roles(query).await }
    })?;
    Ok(Said::list(items, &["name", "builtin", "second_factor", "holders", "description", "id"]))
}

fn change(files: &Files, args: &HolderArgs, grant: bool) -> Outcome {
    let identity = files.identity();
    let account = files.wait(identity.account_named(&args.name))?;
    let named = ids(files, &args.roles)?;
    let mut roles: Vec<Uuid> = account.roles.iter().map(|role| role.id).collect();
    if grant {
        roles.extend(named);
    } else {
        let missing = args.roles.iter().zip(&named).find(|(_, id)| !roles.contains(id));
        if let Some((name, _)) = missing {
            let from = "the provider of identities gave";
            let given = account.provider_roles.iter().any(|role| named.contains(&role.id));
            let why = if given { from } else { "nobody gave" };
            return Err(Error::conflict(format!("{why} {} the role {name}", account.name)).into());
        }
        roles.retain(|id| !named.contains(id));
    }
    let input = AccountInput {
        name: account.name,
        display: account.display,
        email: account.email,
        kind: None,
        roles,
        must_change: account.must_change,
        version: Some(account.version),
    };
    let account = files.wait(identity.update_user(&files.by, account.id, input))?;
    let held: Vec<&str> = account.roles.iter().map(|role| role.name.as_str()).collect();
    let held = if held.is_empty() { "no role".to_owned() } else { held.join(", ") };
    Ok(Said::new(format!("{} holds {held}", account.name), json(&account)?))
}

fn service(files: &Files) -> Roles {
    Roles::new(files.store.clone(), files.clock.clone(), files.ids.clone())
}

/// The ids of these roles, which are named by name in any case, or by id.
///
/// # Errors
/// `NotFound`, naming the first that is not there.
pub fn ids(files: &Files, names: &[String]) -> Result<Vec<Uuid>, Failure> {
    let all = files.wait(service(files).all())?;
    let one = |name: &String| {
        let found =
            all.iter().find(|role| role.name.eq_ignore_ascii_case(name) || role.id.to_string() == *name);
        found.map(|role| role.id).ok_or_else(|| Error::not_found("role", name).into())
    };
    names.iter().map(one).collect()
}
