//! Signing in by a provider of the site (`OpenID` Connect).
//!
//! A provider says who somebody is; what that is worth here is decided here: which account it is, whether one is made,
//! and which of its groups give which roles. The owner signs in here and nowhere else. Nothing is fetched unless a
//! provider is configured and somebody signs in by it, or tries it.

mod claims;
mod flow;
mod http;
mod input;
pub mod local;
pub mod routes;
mod settle;
mod sign_in;
mod store;
#[cfg(test)]
mod tests;

use super::Identity;
use crate::audit::Entry;
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::identity::roles;
use crate::identity::sessions::store as sessions;
use crate::ids::{Ids, Random};
use crate::noun::{self, Kept, Link};
use crate::secrets::MasterKey;
use crate::secrets::rotation::Sealed;
use crate::settings::{self, Current};
use crate::store::Store;
use crate::web::{Call, ListQuery, Page};
use http::Client;
pub use input::{Mapping, ProviderInput, Settings};
use local::LocalSignIn;
use rusqlite::{Connection, Transaction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use uuid::Uuid;
use zeroize::Zeroizing;

/// A client's secret, opened.
type Secret = Zeroizing<Vec<u8>>;

/// The service.
#[derive(Clone)]
pub struct Oidc(Arc<Inner>);

/// What the service is made from.
pub struct Parts {
    /// config.db.
    pub store: Store,
    /// Tells the time.
    pub clock: Clock,
    /// Makes ids.
    pub ids: Ids,
    /// Source of secrets.
    pub random: Random,
    /// Seals secrets, and what a browser remembers on its way.
    pub master: MasterKey,
    /// Who is there.
    pub identity: Identity,
}

struct Inner {
    parts: Parts,
    /// States that came back, until when they could again.
    used: Mutex<HashMap<String, Timestamp>>,
}

/// A provider.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Provider {
    /// Its id.
    pub id: Uuid,
    /// What the button on the sign-in page calls it.
    pub name: String,
    /// Whether it is offered.
    pub enabled: bool,
    /// Whether its secret is kept here.
    pub has_secret: bool,
    /// How it is asked, and what its word is worth.
    #[serde(flatten)]
    pub settings: Settings,
    /// The mapping as its form has it.
    pub mapping: String,
    /// The address to register there, under the name that this page was opened by.
    pub redirect_uri: String,
    /// How many accounts it knows.
    pub people: u64,
    /// How many accounts hold roles by its word.
    pub holders: u64,
    /// How many accounts have no way in but this one.
    pub only_way: u64,
    /// How many sessions stand on its word.
    pub sessions: u64,
    /// Counts its changes.
    pub version: i64,
    /// When it was made or last changed.
    pub updated_at: Timestamp,
}

/// What the list of providers takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderQuery {
    /// Words of the name or the issuer.
    pub q: Option<String>,
    /// `name` or `updated_at`; `-` in front turns it round.
    pub sort: Option<String>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// What whoever configures a provider decides; what the audit tells of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Fields {
    name: String,
    enabled: bool,
    #[serde(flatten)]
    settings: Settings,
}

impl Oidc {
    /// The service.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner { parts, used: Mutex::default() }))
    }

    /// One page of the providers.
    ///
    /// # Errors
    /// `Invalid` on the query's fields; any from the database.
    pub async fn providers(&self, call: &Call, query: ProviderQuery) -> Result<Page<Provider>> {
        let ProviderQuery { q, sort, limit, cursor } = query;
        let (list, host) = (ListQuery { q, sort, limit, cursor }, call.host.clone());
        let read = move |db: &Connection| store::page(db, &list)?.try_map(|kept| shown(db, kept, &host));
        self.0.parts.store.read(read).await
    }

    /// A provider.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    pub async fn provider(&self, call: &Call, id: Uuid) -> Result<Provider> {
        let host = call.host.clone();
        self.0.parts.store.read(move |db| shown(db, store::one(db, id)?, &host)).await
    }

    /// The providers that the sign-in page offers.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn offered(&self) -> Result<Vec<Link>> {
        self.0.parts.store.read(store::offered).await
    }

    /// The providers that are offered and know this user.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn known_by(&self, user: Uuid) -> Result<Vec<Link>> {
        self.0.parts.store.read(move |db| store::known_by(db, user)).await
    }

    /// Configures a provider.
    ///
    /// # Errors
    /// `Invalid`, `Prove`; any from the database.
    pub async fn create(&self, call: &Call, input: ProviderInput) -> Result<Provider> {
        noun::not_yet(input.version)?;
        self.0.parts.identity.proved(call)?;
        let (this, parts, now) = (call.clone(), self.clone(), self.0.parts.clock.now());
        let id = self.0.parts.ids.new();
        let make = move |tx: &Transaction| {
            let fields = input::check(tx, &input)?;
            may_give(tx, &this, &[], &fields.settings.roles)?;
            let sealed = parts.sealed(id, &input.client_secret);
            store::insert(tx, id, &fields, sealed.as_deref(), now)?;
            Ok((Entry::created("provider", id, &fields), shown(tx, store::one(tx, id)?, &this.host)?))
        };
        self.0.parts.store.change(&call.actor(), make).await
    }

    /// Changes a provider. Its secret stays where none is sent. With one that is no longer offered go the roles that it
    /// gave, and the sessions that it began.
    ///
    /// # Errors
    /// `NotFound`, `Stale`, `Invalid`, `Prove`; `Conflict` where nobody could sign in any more; any from the database.
    pub async fn update(&self, call: &Call, id: Uuid, input: ProviderInput) -> Result<Provider> {
        self.0.parts.identity.proved(call)?;
        let (this, parts, now) = (call.clone(), self.clone(), self.0.parts.clock.now());
        let change = move |tx: &Transaction| {
            let (kept, _) = store::one(tx, id)?;
            let fields = input::check(tx, &input)?;
            may_give(tx, &this, &kept.fields.settings.roles, &fields.settings.roles)?;
            let sealed = parts.sealed(id, &input.client_secret);
            let mut entries = if sealed.is_some() {
                noun::based_on(input.version, kept.version)?;
                vec![Entry::updated("provider", id, &kept.fields, &fields)]
            } else {
                kept.change("provider", input.version, &fields, || Ok(()))?
            };
            if !entries.is_empty() {
                store::update(tx, id, &fields, sealed.as_deref(), now)?;
            }
            if kept.fields.enabled && !fields.enabled {
                entries.extend(withdraw(tx, id)?);
            }
            if sealed.is_some() {
                entries.push(Entry::event("provider.secret-replaced", &()).on("provider", id));
            }
            Ok((entries, shown(tx, store::one(tx, id)?, &this.host)?))
        };
        self.0.parts.store.changes(&call.actor(), change).await
    }

    /// Deletes a provider, and with it who of its people is who here, the roles that it gave, and the sessions that it
    /// began. The accounts stay.
    ///
    /// # Errors
    /// `NotFound`, `Stale`, `Prove`; `Conflict` where nobody could sign in any more; any from the database.
    pub async fn delete(&self, call: &Call, id: Uuid, version: Option<i64>) -> Result<()> {
        self.0.parts.identity.proved(call)?;
        let change = move |tx: &Transaction| {
            let (kept, _) = store::one(tx, id)?;
            noun::if_based_on(version, kept.version)?;
            let mut entries = withdraw(tx, id)?;
            store::delete(tx, id)?;
            entries.push(Entry::deleted("provider", id, &kept.fields));
            Ok((entries, ()))
        };
        self.0.parts.store.changes(&call.actor(), change).await
    }

    /// Asks a provider for its ends and keys, as a sign-in would.
    ///
    /// # Errors
    /// `Unavailable` with the reason.
    pub async fn try_out(&self, call: &Call, id: Uuid) -> Result<Provider> {
        let provider = self.provider(call, id).await?;
        flow::metadata(&provider, &client(&provider)?).await?;
        Ok(provider)
    }

    /// Who signs in by a password.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn local(&self) -> Result<Current<LocalSignIn>> {
        self.0.parts.store.read(settings::current).await
    }

    /// Decides who signs in by a password. Nobody does only if whoever decides it came by a provider: so there is a
    /// way in.
    ///
    /// # Errors
    /// `Invalid`, `Stale`, `Prove`; any from the database.
    pub async fn set_local(
        &self,
        call: &Call,
        version: Option<i64>,
        value: LocalSignIn,
    ) -> Result<Current<LocalSignIn>> {
        self.0.parts.identity.proved(call)?;
        let by_provider = call.caller.session.as_ref().is_some_and(|held| held.method.starts_with("oidc"));
        if value.local == local::Local::Off && !by_provider {
            let why =
                "can be switched off by one who came by a provider: that shows that there is another way in";
            return Err(Error::invalid("local", why));
        }
        settings::change(&self.0.parts.store, &call.actor(), version, value).await
    }

    fn sealed(&self, id: Uuid, secret: &str) -> Option<Vec<u8>> {
        let parts = &self.0.parts;
        (!secret.is_empty()).then(|| parts.master.seal(&place(id), secret.as_bytes(), &parts.random))
    }
}

/// Where the secrets that providers gave us lie.
pub const SEALED: Sealed =
    Sealed { table: "oidc_provider", key: "id", column: "sealed", identity: |id| place(id) };

fn place(id: impl Display) -> String {
    format!("oidc_provider/{id}/sealed")
}

fn client(provider: &Provider) -> Result<Client> {
    Client::trusting(&provider.settings.ca).map_err(|why| {
        Error::Unavailable(format!("the certificates of “{}” cannot be used: it {why}", provider.name))
    })
}

fn shown(db: &Connection, (kept, has_secret): (Kept<Fields>, bool), host: &str) -> Result<Provider> {
    let Kept { id, fields: Fields { name, enabled, settings }, version, updated_at } = kept;
    let mapping = input::written(&settings.roles, &store::role_names(db)?);
    let redirect_uri = back_to(host, id);
    let (people, holders, only_way) = store::people(db, id)?;
    Ok(Provider {
        id,
        name,
        enabled,
        has_secret,
        settings,
        mapping,
        redirect_uri,
        people,
        holders,
        only_way,
        sessions: sessions::of_provider(db, id)?,
        version,
        updated_at,
    })
}

/// Takes back what stands on a provider's word: roles, user by user, and sessions.
fn withdraw(tx: &Transaction, provider: Uuid) -> Result<Vec<Entry>> {
    let passwords = settings::current::<LocalSignIn>(tx)?.value.local;
    if passwords == local::Local::Off && !store::is_another_offered(tx, provider)? {
        return Err(Error::conflict(
            "this is the last way in, as passwords sign in nobody: let the owner sign in by password first",
        ));
    }
    let mut entries = Vec::new();
    loop {
        let some = store::holders(tx, provider)?;
        if some.is_empty() {
            break;
        }
        for user in some {
            let before = store::given(tx, user)?;
            store::take(tx, user, provider)?;
            entries.push(regiven(user, &before, &store::given(tx, user)?));
        }
    }
    let ended = sessions::end_of_provider(tx, provider)?;
    if ended > 0 {
        entries.push(Entry::sign_in("session.revoked", &json!({ "count": ended })).on("provider", provider));
    }
    Ok(entries)
}

/// The entry of a user whose roles by a provider's word are others now.
fn regiven(user: Uuid, before: &[Link], after: &[Link]) -> Entry {
    let roles = |roles: &[Link]| json!({ "provider_roles": roles });
    Entry::updated("user", user, &roles(before), &roles(after)).action("user.provider-roles")
}

/// Where a provider sends a browser back to.
fn back_to(host: &str, id: Uuid) -> String {
    format!("https://{host}/sign-in/provider/{id}/back")
}

/// Refuses to let a provider give, or no longer give, what the caller does not hold.
fn may_give(db: &Connection, call: &Call, before: &[Mapping], after: &[Mapping]) -> Result<()> {
    let without = |these: &[Mapping], those: &[Mapping]| -> Vec<Uuid> {
        these.iter().filter(|one| !those.contains(one)).map(|one| one.role).collect()
    };
    roles::may_grant(db, &call.caller.scopes, &[without(before, after), without(after, before)].concat())
}
