//! Accounts: people who sign in, and services that come with a token.
//!
//! Nobody gives or takes what they do not hold: whoever changes an account holds at least all that it may do, and gives
//! only roles within what they hold themselves. The owner holds everything, is never disabled, deleted or reduced, and
//! is changed by nobody else: so there is always one way in.

mod change;
pub(super) mod input;
pub mod routes;
pub(super) mod store;
#[cfg(test)]
mod tests;

use super::passwords::lockout::{self, Lock};
use super::roles::{Role, scopes_of};
use super::{By, Identity, ways};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::noun::Link;
use crate::web::{Call, Page, Via};
pub use input::{AccountInput, Fields};
use rusqlite::Connection;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whether a person or a program uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Signs in.
    #[default]
    Person,
    /// Never signs in: it comes with a token.
    Service,
}

impl Kind {
    /// The spelling in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Service => "service",
        }
    }
}

impl FromSql for Kind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "person" => Ok(Self::Person),
            "service" => Ok(Self::Service),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// Whether it can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It can.
    Active,
    /// It can, but takes no password from at least one network after too many wrong ones.
    Locked,
    /// It cannot.
    Disabled,
}

/// A way to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// By a password that this appliance keeps the hash of.
    Password,
    /// At a provider of identities.
    Oidc,
    /// By a security key.
    SecurityKey,
    /// By none of them yet.
    None,
}

impl Method {
    /// The spelling in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Oidc => "oidc",
            Self::SecurityKey => "security-key",
            Self::None => "none",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Password, Self::Oidc, Self::SecurityKey].into_iter().find(|method| method.as_str() == text)
    }
}

/// When someone was here last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// Within 24 hours.
    Day,
    /// Within 7 days.
    Week,
    /// Within 30 days.
    Month,
    /// Longer ago than 30 days.
    Longer,
    /// Never.
    Never,
}

/// An account.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Account {
    /// Its id.
    pub id: Uuid,
    /// The name used to sign in.
    pub name: String,
    /// The name shown.
    pub display: String,
    /// The e-mail address; may be empty.
    pub email: String,
    /// Whether a person or a program uses it.
    pub kind: Kind,
    /// Holds every scope; made by the setup wizard, or handed over.
    pub owner: bool,
    /// Whether it can be used.
    pub status: State,
    /// Whether the password must be replaced at the next sign-in.
    pub must_change: bool,
    /// Its roles, as given here.
    pub roles: Vec<Link>,
    /// Its roles, as its provider of identities gave them.
    pub provider_roles: Vec<Link>,
    /// The ways it signs in.
    pub methods: Vec<Method>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was here last, to the minute; none: never.
    pub last_seen: Option<Timestamp>,
    /// When it was made or last changed.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub version: i64,
}

/// What the list of accounts takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountQuery {
    /// Words of the names or the e-mail address.
    pub q: Option<String>,
    /// Only those with this role.
    pub role: Option<Uuid>,
    /// Only those that sign in this way.
    pub method: Option<Method>,
    /// Only those in this state.
    pub status: Option<State>,
    /// Only people, or only services.
    pub kind: Option<Kind>,
    /// Only those that were here then.
    pub seen: Option<Seen>,
    /// `name`, `display`, `role`, `method`, `status`, `last_seen` or `created_at`; `-` in front turns it round.
    pub sort: Option<String>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// A page of accounts, and the roles that it can be narrowed to.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AccountList {
    /// The accounts.
    #[serde(flatten)]
    pub page: Page<Account>,
    /// Every role there is.
    pub role_options: Vec<RoleOption>,
}

/// A role, as the form of an account offers it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RoleOption {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub more: String,
}

/// An account's own page.
#[expect(clippy::struct_excessive_bools, reason = "each is a thing the page offers, apart from the others")]
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AccountPage {
    /// The account.
    #[serde(flatten)]
    pub account: Account,
    /// The networks it takes no password from now.
    pub locks: Vec<Lock>,
    /// Until when a link works that sets its password.
    pub link_until: Option<Timestamp>,
    /// How many sessions it has.
    pub sessions: u64,
    /// Whether the caller may change it: only who holds all that it may do.
    pub may_change: bool,
    /// Whether it is the caller's own.
    pub own: bool,
    /// Whether its password can be taken away: it has another way in, and is not the owner's.
    pub password_may_go: bool,
    /// Whether the caller can hand the appliance over to it.
    pub may_own: bool,
}

/// The form of an account.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AccountForm {
    /// The account as it is; none for a new one.
    pub item: Option<Account>,
    /// The roles that the caller may give: those within what they hold.
    pub role_options: Vec<RoleOption>,
    /// Whether the roles may be changed: not one's own, and not the owner's.
    pub may_change_roles: bool,
}

impl Identity {
    /// One page of the accounts.
    ///
    /// # Errors
    /// `Invalid` on the query's fields; any from the database.
    pub async fn users(&self, call: &Call, query: AccountQuery) -> Result<AccountList> {
        let page = self.accounts(query).await?;
        let role_options = call.app.roles.all().await?.into_iter().map(RoleOption::from).collect();
        Ok(AccountList { page, role_options })
    }

    /// One page of the accounts, alone.
    ///
    /// # Errors
    /// As [`Identity::users`].
    pub async fn accounts(&self, query: AccountQuery) -> Result<Page<Account>> {
        let now = self.0.clock.now();
        self.0.store.read(move |db| store::page(db, query, now)).await
    }

    /// The account of this sign-in name, in any case, or of this id.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    pub async fn account_named(&self, name: &str) -> Result<Account> {
        let (now, name) = (self.0.clock.now(), name.to_owned());
        self.0
            .store
            .read(move |db| {
                let found = store::by_name(db, &name)?.map(|known| known.user.id);
                let id = found.or_else(|| Uuid::try_parse(&name).ok());
                store::one(db, id.ok_or_else(|| Error::not_found("user", &name))?, now)
            })
            .await
    }

    /// An account.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    pub async fn user(&self, by: &impl By, id: Uuid) -> Result<AccountPage> {
        let (now, by) = (self.0.clock.now(), by.clone());
        self.0
            .store
            .read(move |db| {
                let account = store::one(db, id, now)?;
                let limits = crate::settings::current(db)?.value;
                let query = super::sessions::SessionQuery { user: Some(id), ..Default::default() };
                let person = account.kind == Kind::Person && account.status != State::Disabled;
                let password = account.methods.contains(&Method::Password);
                Ok(AccountPage {
                    password_may_go: password && !account.owner && ways::beside_password(db, id)?,
                    may_own: by.caller().owns() && !account.owner && person && password,
                    locks: lockout::standing(db, id, now)?,
                    link_until: super::passwords::store::link_until(db, id, now)?,
                    sessions: super::sessions::store::page(db, query, &limits, now)?.total,
                    may_change: within(db, &by, &account).is_ok(),
                    own: by.is_own(id),
                    account,
                })
            })
            .await
    }

    /// The ways in which an account signs in.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    pub async fn methods(&self, id: Uuid) -> Result<Vec<Method>> {
        let now = self.0.clock.now();
        Ok(self.0.store.read(move |db| store::one(db, id, now)).await?.methods)
    }

    /// The form of an account, or of a new one.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`; any from the database.
    pub async fn user_form(&self, call: &Call, id: Option<Uuid>) -> Result<AccountForm> {
        let (now, this) = (self.0.clock.now(), call.clone());
        let read = move |db: &Connection| {
            let item = id.map(|id| store::one(db, id, now)).transpose()?;
            item.iter().try_for_each(|account| within(db, &this, account))?;
            Ok(item)
        };
        let item = self.0.store.read(read).await?;
        let may_change_roles = !item.as_ref().is_some_and(|item| item.owner || call.caller.is(item.id));
        let had = |role: &Role| item.iter().any(|item| item.roles.iter().any(|had| had.id == role.id));
        let mut role_options = call.app.roles.all().await?;
        role_options.retain(|role| had(role) || role.scopes.is_subset(&call.caller.scopes));
        let role_options = role_options.into_iter().map(RoleOption::from).collect();
        Ok(AccountForm { item, role_options, may_change_roles })
    }
}

impl From<Role> for RoleOption {
    fn from(role: Role) -> Self {
        Self { id: role.id, name: role.name, more: role.description }
    }
}

/// Refuses who does not hold all that this account may do; for the owner's account, everyone but the owner and the
/// machine's administrator.
pub(super) fn within(db: &Connection, by: &impl By, account: &Account) -> Result<()> {
    let caller = by.caller();
    let strange = account.owner && !by.is_own(account.id) && caller.via != Via::Files;
    if strange || !scopes_of(db, account.id, account.owner)?.is_subset(&caller.scopes) {
        return Err(Error::Forbidden);
    }
    Ok(())
}
