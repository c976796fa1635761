//! Making, changing, disabling and deleting accounts, and handing over the appliance.

use super::{Account, AccountInput, Fields, State, store, within};
use crate::audit::Entry;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::identity::passwords::lockout;
use crate::identity::scopes::Builtin;
use crate::identity::{By, Identity, roles, sessions, ways};
use crate::noun::{self, Link};
use crate::web::Call;
use rusqlite::{Connection, Transaction};
use serde_json::json;
use uuid::Uuid;

impl From<&Account> for Fields {
    fn from(account: &Account) -> Self {
        let Account { name, display, email, kind, must_change, roles, .. } = account.clone();
        Self { name, display, email, kind, must_change, roles }
    }
}

impl Identity {
    /// Makes an account. A person's needs a link from [`Identity::make_reset_link`] before it can sign in.
    ///
    /// # Errors
    /// `Invalid`; `InPerson`, `Prove` where it gets roles; any from the database.
    pub async fn create_user(&self, by: &impl By, input: AccountInput) -> Result<Account> {
        noun::not_yet(input.version)?;
        let (this, at, id) = (by.clone(), self.0.clock.now(), self.0.ids.new());
        let proof = self.proved(by);
        let make = move |tx: &Transaction| {
            let known = known_roles(tx)?;
            let (fields, refusals) = Fields::check(&input, input.kind.unwrap_or_default(), &known);
            let fields = refusals.end_with(Some(fields))?;
            if input.must_change {
                return Err(Error::invalid("must_change", "there is no password yet"));
            }
            may_give(tx, &this, proof, &[], &fields.roles)?;
            store::insert(tx, &store::New { id, password_hash: None, owner: false, now: at }, &fields)?;
            Ok((Entry::created("user", id, &fields), store::one(tx, id, at)?))
        };
        self.0.store.change(&by.actor(), make).await
    }

    /// Changes an account.
    ///
    /// # Errors
    /// `NotFound`, `Stale`, `Invalid`, `Forbidden`; `InPerson`, `Prove` where roles or the address change; any from the
    /// database.
    pub async fn update_user(&self, by: &impl By, id: Uuid, input: AccountInput) -> Result<Account> {
        let (this, at) = (by.clone(), self.0.clock.now());
        let (proof, for_address) = (self.proved(by), self.proved(by));
        let change = move |tx: &Transaction| {
            let before = store::one(tx, id, at)?;
            within(tx, &this, &before)?;
            let known = known_roles(tx)?;
            let (fields, mut refusals) = Fields::check(&input, before.kind, &known);
            if input.kind.is_some_and(|kind| kind != before.kind) {
                refusals.say("kind", "is chosen once, when the account is made");
            }
            if fields.roles != before.roles && before.owner {
                refusals.say("roles", "the owner holds everything, and is not reduced");
            } else if fields.roles != before.roles && this.is_own(id) {
                refusals.say("roles", "nobody changes their own");
            }
            let fields = refusals.end_with(Some(fields))?;
            may_give(tx, &this, proof, &before.roles, &fields.roles)?;
            if fields.email != before.email {
                // A provider's word for an address may sign in as the account that has it.
                this.caller().in_person()?;
                for_address?;
            }
            let kept = noun::Kept {
                id,
                fields: Fields::from(&before),
                version: before.version,
                updated_at: before.updated_at,
            };
            let entries =
                kept.change("user", input.version, &fields, || store::update(tx, id, &fields, at))?;
            if fields.roles != before.roles {
                ways::left(tx, None)?;
            }
            Ok((entries, store::one(tx, id, at)?))
        };
        self.0.store.changes(&by.actor(), change).await
    }

    /// Disables an account, which ends its sessions, or enables it again.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `Conflict` for the owner and for oneself; any from the database.
    pub async fn set_user_active(&self, by: &impl By, id: Uuid, active: bool) -> Result<Account> {
        let (this, at) = (by.clone(), self.0.clock.now());
        let change = move |tx: &Transaction| {
            let before = one_of_others(tx, &this, id, at, "disabled")?;
            if (before.status != State::Disabled) == active {
                return Ok((vec![], before));
            }
            store::set_status(tx, id, active, at)?;
            if !active {
                sessions::store::end_all(tx, id, None)?;
                ways::left(tx, None)?;
            }
            let word = |active| json!({ "status": if active { "active" } else { "disabled" } });
            let entry = Entry::updated("user", id, &word(!active), &word(active)).action(if active {
                "user.enabled"
            } else {
                "user.disabled"
            });
            Ok((vec![entry], store::one(tx, id, at)?))
        };
        self.0.store.changes(&by.actor(), change).await
    }

    /// Deletes an account, with its sessions, tokens and factors. What it did stays in the audit.
    ///
    /// # Errors
    /// `NotFound`, `Stale`, `Forbidden`, `Conflict` for the owner and for oneself, `Prove`; any from the database.
    pub async fn delete_user(&self, call: &Call, id: Uuid, version: Option<i64>) -> Result<Account> {
        self.proved(call)?;
        let (this, at) = (call.clone(), self.0.clock.now());
        let change = move |tx: &Transaction| {
            let before = one_of_others(tx, &this, id, at, "deleted")?;
            noun::if_based_on(version, before.version)?;
            store::delete(tx, id)?;
            ways::left(tx, None)?;
            Ok((Entry::deleted("user", id, &Fields::from(&before)), before))
        };
        self.0.store.change(&call.actor(), change).await
    }

    /// Opens every lock of an account. The owner's too, by whoever manages accounts: it gives nothing but tries, and an
    /// owner who is locked out has nobody above to ask.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`; any from the database.
    pub async fn unlock_user(&self, by: &impl By, id: Uuid) -> Result<Account> {
        let (this, at) = (by.clone(), self.0.clock.now());
        let change = move |tx: &Transaction| {
            let account = store::one(tx, id, at)?;
            if !account.owner {
                within(tx, &this, &account)?;
            }
            let locks = lockout::standing(tx, id, at)?;
            lockout::forget(tx, id, None)?;
            let entry = Entry::event("user.unlocked", &json!({ "locks": locks })).on("user", id);
            Ok((entry, store::one(tx, id, at)?))
        };
        self.0.store.change(&by.actor(), change).await
    }

    /// Hands the appliance over: `id` becomes its owner, the owner until now gets the role admin.
    ///
    /// # Errors
    /// `Forbidden` for anyone but the owner; `NotFound`; `Conflict` for who cannot sign in; `InPerson`, `Prove`; any from
    /// the database.
    pub async fn hand_over(&self, call: &Call, id: Uuid) -> Result<Account> {
        call.in_person()?;
        self.proved(call)?;
        let (owner, at) = (call.user()?.clone(), self.0.clock.now());
        let admin = Builtin::Admin;
        let admin = Link { id: admin.id(), name: admin.name().to_owned() };
        let change = move |tx: &Transaction| {
            let next = store::one(tx, id, at)?;
            // As it is now: of two at the same moment, the second is no owner's any more.
            if !store::one(tx, owner.id, at)?.owner {
                return Err(Error::Forbidden);
            }
            let known = store::known(tx, id)?;
            if next.owner {
                return Err(Error::conflict("this account is the owner already"));
            }
            if !known.may_sign_in() || known.password_hash.is_none() {
                return Err(Error::conflict(
                    "the owner must be able to sign in with a password: this account is disabled, a service, or has none",
                ));
            }
            store::set_owner(tx, owner.id, false, at)?;
            store::set_owner(tx, id, true, at)?;
            let before = Fields::from(&store::one(tx, owner.id, at)?);
            let mut after = before.clone();
            if !after.roles.contains(&admin) {
                after.roles.push(admin);
                store::update(tx, owner.id, &after, at)?;
            }
            ways::left(tx, None)?;
            let is = |owner: bool, fields: &Fields| json!({ "owner": owner, "roles": fields.roles });
            let entries = vec![
                Entry::updated("user", owner.id, &is(true, &before), &is(false, &after))
                    .action("user.handed-over"),
                Entry::updated("user", id, &json!({ "owner": false }), &json!({ "owner": true }))
                    .action("user.made-owner"),
            ];
            Ok((entries, store::one(tx, id, at)?))
        };
        self.0.store.changes(&call.actor(), change).await
    }
}

fn known_roles(db: &Connection) -> Result<Vec<Link>> {
    let all = roles::all(db)?;
    Ok(all.into_iter().map(|role| Link { id: role.id, name: role.name }).collect())
}

/// Refuses to give or take roles beyond what they hold who do it, by a token, and without a fresh `proof` of who they are.
fn may_give(db: &Connection, by: &impl By, proof: Result<()>, before: &[Link], after: &[Link]) -> Result<()> {
    let ids = |roles: &[Link]| roles.iter().map(|role| role.id).collect();
    if !roles::may_grant(db, &by.caller().scopes, &ids(before), &ids(after))? {
        return Ok(());
    }
    by.caller().in_person()?;
    proof
}

/// An account that they may do this to: within what they hold, neither the owner's nor their own.
fn one_of_others(db: &Connection, by: &impl By, id: Uuid, now: Timestamp, what: &str) -> Result<Account> {
    let account = store::one(db, id, now)?;
    if account.owner {
        return Err(Error::conflict(format!("the owner cannot be {what}: it is the last way in")));
    }
    if by.is_own(id) {
        return Err(Error::conflict(format!("your own account cannot be {what} by yourself")));
    }
    within(db, by, &account)?;
    Ok(account)
}
