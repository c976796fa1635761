//! Signing in by a provider of the site (`OpenID` Connect).
//!
//! A provider says who somebody is; what that is worth here is decided here: which account it is, whether one is made,
//! and which of its groups give which roles. The owner signs in here and nowhere else. Nothing is fetched unless a
//! provider is configured and somebody signs in by it, or tries it. Whoever configures one can be anyone here, by its
//! word: so only a person does who holds everything.

mod claims;
mod configure;
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
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::identity::sessions::store as sessions;
use crate::ids::{Ids, Random};
use crate::noun::{Kept, Link};
use crate::secrets::MasterKey;
use crate::secrets::rotation::Sealed;
use crate::store::Store;
use crate::web::{Call, ListQuery, Page};
use http::Client;
pub use input::{Mapping, ProviderInput, Settings};
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::sync::Arc;
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
    /// Whether the caller may change it: only a person who holds everything.
    pub may_change: bool,
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
        Self(Arc::new(Inner { parts }))
    }

    /// One page of the providers.
    ///
    /// # Errors
    /// `Invalid` on the query's fields; any from the database.
    pub async fn providers(&self, call: &Call, query: ProviderQuery) -> Result<Page<Provider>> {
        let ProviderQuery { q, sort, limit, cursor } = query;
        let (list, call) = (ListQuery { q, sort, limit, cursor }, call.clone());
        let read = move |db: &Connection| store::page(db, &list)?.try_map(|kept| shown(db, kept, &call));
        self.0.parts.store.read(read).await
    }

    /// A provider.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    pub async fn provider(&self, call: &Call, id: Uuid) -> Result<Provider> {
        let call = call.clone();
        self.0.parts.store.read(move |db| shown(db, store::one(db, id)?, &call)).await
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

fn shown(db: &Connection, (kept, has_secret): (Kept<Fields>, bool), call: &Call) -> Result<Provider> {
    let Kept { id, fields: Fields { name, enabled, settings }, version, updated_at } = kept;
    let mapping = input::written(&settings.roles, &store::role_names(db)?);
    let redirect_uri = back_to(&call.host, id);
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
        may_change: configure::may(call).is_ok(),
        version,
        updated_at,
    })
}

/// Where a provider sends a browser back to.
fn back_to(host: &str, id: Uuid) -> String {
    format!("https://{host}/sign-in/provider/{id}/back")
}
