//! Roles: named sets of scopes. Four are part of the program and cannot be changed; the others are the site's own.
//!
//! Who holds several holds what any of them gives. Nobody gives what they do not hold themselves, neither by making a
//! role nor by handing one out ([`may_grant`]).

pub mod routes;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::scopes::{self, Builtin};
use crate::audit::Entry;
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::ids::Ids;
use crate::noun::{self, DeletePage, Kept, Refusals};
use crate::store::Store;
use crate::web::{Call, ListQuery, Page};

/// The most characters of a description.
const DESCRIPTION_MAX: usize = 300;
/// The most roles there may be: the page of who may do what has a column for each.
const ROLES_MAX: u64 = 100;

/// A role.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Role {
    /// Its id.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// What it is for, in a line.
    pub description: String,
    /// Part of the program: its scopes cannot be changed, and it cannot be deleted.
    pub builtin: bool,
    /// Whoever holds it must have a second factor.
    pub second_factor: bool,
    /// What it gives, in the order of the alphabet.
    pub scopes: BTreeSet<String>,
    /// How many accounts hold it.
    pub holders: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was made or last changed.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub version: i64,
}

/// A role as it is made or changed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleInput {
    /// What people call it; unique.
    pub name: String,
    /// What it is for, in a line.
    #[serde(default)]
    pub description: String,
    /// What it gives. Of a role that is part of the program, it may be left out.
    #[serde(default)]
    pub scopes: BTreeSet<String>,
    /// Whoever holds it must have a second factor.
    #[serde(default)]
    pub second_factor: bool,
    /// For a change: the version that was read (JSON may say it as `If-Match`).
    #[serde(default)]
    pub version: Option<i64>,
}

/// What the list of roles takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleQuery {
    /// Words of name or description.
    pub q: Option<String>,
    /// Only those of the program, or only the site's own.
    pub kind: Option<Origin>,
    /// `name`, `holders` or `updated_at`; `-` in front turns it round.
    pub sort: Option<String>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// Where a role comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Part of the program.
    Builtin,
    /// Made on this site.
    Custom,
}

/// What whoever makes a role decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Fields {
    name: String,
    description: String,
    second_factor: bool,
    scopes: BTreeSet<String>,
}

impl Fields {
    fn check(input: RoleInput) -> Result<Self> {
        let mut refusals = Refusals::new();
        let name = refusals.name(&input.name);
        let description = match input.description.trim() {
            "" => String::new(),
            typed => refusals.line("description", typed, DESCRIPTION_MAX),
        };
        if let Some(unknown) = input.scopes.iter().find(|name| scopes::find(name).is_none()) {
            refusals.say("scopes", format!("there is no scope “{unknown}”"));
        } else if input.scopes.is_empty() {
            refusals.say("scopes", "a role gives at least one");
        }
        refusals.end()?;
        Ok(Self { name, description, second_factor: input.second_factor, scopes: input.scopes })
    }

    /// What may be said of a role that is part of the program: whether it needs a second factor, and what is there.
    fn check_builtin(input: RoleInput, kept: &Self) -> Result<Self> {
        let mut refusals = Refusals::new();
        let mut fixed = |field: &str, same: bool| {
            if !same {
                refusals
                    .say(field, "is part of the program: of this role only the second factor can be changed");
            }
        };
        fixed("name", input.name.trim() == kept.name);
        fixed("description", [&kept.description, ""].contains(&input.description.trim()));
        fixed("scopes", input.scopes.is_empty() || input.scopes == kept.scopes);
        refusals.end()?;
        Ok(Self { second_factor: input.second_factor, ..kept.clone() })
    }
}

/// The service.
#[derive(Clone)]
pub struct Roles {
    store: Store,
    clock: Clock,
    ids: Ids,
}

impl Roles {
    /// The service.
    #[must_use]
    pub fn new(store: Store, clock: Clock, ids: Ids) -> Self {
        Self { store, clock, ids }
    }

    /// One page of the roles.
    ///
    /// # Errors
    /// `Invalid` on the query's fields; any from the database.
    pub async fn roles(&self, query: RoleQuery) -> Result<Page<Role>> {
        let RoleQuery { q, kind, sort, limit, cursor } = query;
        let list = ListQuery { q, sort, limit, cursor };
        self.store.read(move |db| store::page(db, &list, kind)).await
    }

    /// All roles, the immutable ones first.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn all(&self) -> Result<Vec<Role>> {
        self.store.read(store::all).await
    }

    /// A role.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    pub async fn role(&self, id: Uuid) -> Result<Role> {
        self.store.read(move |db| store::one(db, id)).await
    }

    /// A role, and who holds it, which keeps it from being deleted.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    pub async fn role_and_holders(&self, id: Uuid) -> Result<DeletePage<Role>> {
        self.store
            .read(move |db| Ok(DeletePage { item: store::one(db, id)?, in_use: store::holders(db, id)? }))
            .await
    }

    /// Makes a role of scopes that the caller holds; in person, as an API token that made one would leave it behind.
    ///
    /// # Errors
    /// `InPerson`, `Invalid`, `Beyond`; `Conflict` when there are too many; any from the database.
    pub async fn create(&self, call: &Call, input: RoleInput) -> Result<Role> {
        call.in_person()?;
        noun::not_yet(input.version)?;
        let fields = Fields::check(input)?;
        held(&call.caller.scopes, &fields.scopes)?;
        let (id, now) = (self.ids.new(), self.clock.now());
        let change = move |tx: &Transaction| {
            if store::count(tx)? >= ROLES_MAX {
                return Err(Error::conflict(format!("There are {ROLES_MAX} roles: delete one first.")));
            }
            store::insert(tx, id, &fields, now)?;
            Ok((Entry::created("role", id, &fields), store::one(tx, id)?))
        };
        self.store.change(&call.actor(), change).await
    }

    /// Changes a role. Who holds it has what it gives, and is asked for what it asks for, from the next request on. Only
    /// who holds all that the role gives, before and after, may change it: to give people more, or to ask less of them, is
    /// what giving them a role is.
    ///
    /// # Errors
    /// `NotFound`, `Stale`, `Invalid`, `Beyond`; `InPerson` and `Prove` where more changes than its name; any from the
    /// database.
    pub async fn update(&self, call: &Call, id: Uuid, input: RoleInput) -> Result<Role> {
        let (may, now, this) = (call.caller.scopes.clone(), self.clock.now(), call.clone());
        let change = move |tx: &Transaction| {
            let (kept, version) = (kept(store::one(tx, id)?), input.version);
            let fields = match Builtin::of(id) {
                Some(_) => Fields::check_builtin(input, &kept.fields)?,
                None => Fields::check(input)?,
            };
            held(&may, &kept.fields.scopes)?;
            held(&may, &fields.scopes)?;
            if (&kept.fields.scopes, kept.fields.second_factor) != (&fields.scopes, fields.second_factor) {
                this.in_person()?;
                this.app.identity.proved(&this)?;
            }
            let entries = kept.change("role", version, &fields, || store::update(tx, id, &fields, now))?;
            Ok((entries, store::one(tx, id)?))
        };
        self.store.changes(&call.actor(), change).await
    }

    /// Deletes a role that nobody holds, and gives what it was.
    ///
    /// # Errors
    /// `NotFound`, `Stale`; `InUse` while someone holds it; `Conflict` for one that is part of the program; `Beyond`
    /// for one that gives more than the caller holds.
    pub async fn delete(&self, call: &Call, id: Uuid, version: Option<i64>) -> Result<Role> {
        let may = call.caller.scopes.clone();
        let change = move |tx: &Transaction| {
            let role = store::one(tx, id)?;
            if role.builtin {
                return Err(Error::conflict(format!("The role “{}” is part of the program.", role.name)));
            }
            held(&may, &role.scopes)?;
            noun::if_based_on(version, role.version)?;
            noun::unused("the role", &role.name, &store::holders(tx, id)?)?;
            store::delete(tx, id)?;
            Ok((Entry::deleted("role", id, &kept(role.clone()).fields), role))
        };
        self.store.change(&call.actor(), change).await
    }

    /// What an account may do: the union of its roles, or everything for the owner.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn scopes_of(&self, user: Uuid, owner: bool) -> Result<BTreeSet<String>> {
        self.store.read(move |db| scopes_of(db, user, owner)).await
    }
}

/// What an account may do: the union of its roles, or everything for the owner. For the transactions of other rooms,
/// too.
///
/// # Errors
/// Any from the database.
pub fn scopes_of(db: &Connection, user: Uuid, owner: bool) -> Result<BTreeSet<String>> {
    if owner {
        return Ok(scopes::every());
    }
    let mut held = BTreeSet::new();
    for role in store::of_user(db, user)? {
        held.extend(store::scopes(db, role)?);
    }
    Ok(held)
}

/// All roles, the immutable ones first. For the transactions of other rooms.
///
/// # Errors
/// Any from the database.
pub fn all(db: &Connection) -> Result<Vec<Role>> {
    store::all(db)
}

/// Whether a role of this account asks for a second factor.
///
/// # Errors
/// Any from the database.
pub fn second_factor_needed(db: &Connection, user: Uuid) -> Result<bool> {
    store::second_factor_needed(db, user)
}

/// Refuses to hand out roles, or to take them, that give what the one who does it (`may`) does not hold: who holds less
/// than a role gives does not decide on it. The refusal is of the field `roles`. Says whether anything changes between
/// `before` and `after`.
///
/// # Errors
/// `Beyond` on `roles`; `Invalid` on it when there is no such role; any from the database.
pub fn may_grant(
    db: &Connection,
    may: &BTreeSet<String>,
    before: &BTreeSet<Uuid>,
    after: &BTreeSet<Uuid>,
) -> Result<bool> {
    let mut changes = false;
    for role in before.symmetric_difference(after) {
        changes = true;
        let role = store::one(db, *role).map_err(|error| match error {
            Error::NotFound { .. } => Error::invalid("roles", format!("there is no role {role}")),
            other => other,
        })?;
        if let Some(scope) = beyond(may, &role.scopes) {
            let message = format!("the role “{}” gives {scope}, which you do not hold yourself", role.name);
            return Err(Error::beyond("roles", scope, message));
        }
    }
    Ok(changes)
}

/// Refuses scopes beyond those that the caller holds; the refusal is of the field `scopes`.
///
/// # Errors
/// `Beyond` on `scopes`.
pub fn held(may: &BTreeSet<String>, wanted: &BTreeSet<String>) -> Result<()> {
    match beyond(may, wanted) {
        None => Ok(()),
        Some(scope) => {
            Err(Error::beyond("scopes", scope, format!("{scope} is not yours to give: you do not hold it")))
        }
    }
}

fn beyond<'a>(may: &'a BTreeSet<String>, wanted: &'a BTreeSet<String>) -> Option<&'a String> {
    wanted.difference(may).next()
}

fn kept(role: Role) -> Kept<Fields> {
    let Role { id, name, description, second_factor, scopes, version, updated_at, .. } = role;
    Kept { id, fields: Fields { name, description, second_factor, scopes }, version, updated_at }
}
