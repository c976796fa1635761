//! Subnets: the addresses that scans may cover.

use portolan_scanner::net::{Cidr, Ranges};
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Count, Scope, extent, store};
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::noun::{self, DeletePage, Kept, Link, Refusals};
use crate::web::{ListQuery, Page};

/// A subnet.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Subnet {
    /// Its id.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// Its addresses, in canonical form: `10.20.0.0/16`, `2001:db8:7::/48`.
    pub cidr: String,
    /// IPv4 or IPv6.
    pub family: Family,
    /// How many addresses it has, network and broadcast address included.
    pub hosts: Count,
    /// Anything worth knowing.
    pub note: String,
    /// Subnets that share addresses with it, the largest first.
    pub overlaps: Vec<Link>,
    /// Templates that name it.
    pub templates: Vec<Link>,
    /// Counts its changes.
    pub version: i64,
    /// When it was made or last changed.
    pub updated_at: Timestamp,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    pub(super) fn of(cidr: &Cidr) -> Self {
        if cidr.is_v4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// A subnet as it is made or changed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubnetInput {
    /// A name that no other subnet has.
    pub name: String,
    /// Address and prefix, no bits set behind the prefix: `10.20.0.0/16`.
    pub cidr: String,
    /// Anything worth knowing.
    #[serde(default)]
    pub note: String,
    /// For a change: the version that was read (JSON may say it as `If-Match`).
    #[serde(default)]
    pub version: Option<i64>,
}

/// What the list of subnets takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubnetQuery {
    /// Words of name, range or note; an address finds the subnets it lies in.
    pub q: Option<String>,
    /// Only this family.
    pub family: Option<Family>,
    /// `name`, `cidr`, `hosts` or `updated_at`; `-` in front turns it round.
    pub sort: Option<String>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// What the owner of a subnet decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Fields {
    pub name: String,
    #[serde(serialize_with = "noun::as_text")]
    pub cidr: Cidr,
    pub note: String,
}

impl Fields {
    fn check(input: &SubnetInput) -> Result<Self> {
        let mut refusals = Refusals::new();
        let name = refusals.name(&input.name);
        let cidr = refusals.take("cidr", Cidr::parse(input.cidr.trim()));
        let note = refusals.note(&input.note);
        refusals.end_with(cidr).map(|cidr| Self { name, cidr, note })
    }
}

impl Scope {
    /// One page of the subnets.
    ///
    /// # Errors
    /// `Invalid` on the query's fields; any from the database.
    pub async fn subnets(&self, query: SubnetQuery) -> Result<Page<Subnet>> {
        let SubnetQuery { q, family, sort, limit, cursor } = query;
        let list = ListQuery { q, sort, limit, cursor };
        self.store.read(move |db| store::subnets(db, &list, family)?.try_map(|kept| shown(db, kept))).await
    }

    /// A subnet.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    pub async fn subnet(&self, id: Uuid) -> Result<Subnet> {
        self.store.read(move |db| shown(db, store::subnet(db, id)?)).await
    }

    /// A subnet, and the templates that name it.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    pub async fn subnet_and_uses(&self, id: Uuid) -> Result<DeletePage<Subnet>> {
        self.store
            .read(move |db| {
                let item = shown(db, store::subnet(db, id)?)?;
                Ok(DeletePage { item, in_use: store::templates_of_subnet(db, id)? })
            })
            .await
    }

    /// Makes a subnet.
    ///
    /// # Errors
    /// `Invalid`, also on `name` when another subnet has it; any from the database.
    pub async fn create_subnet(&self, actor: &Actor, input: SubnetInput) -> Result<Subnet> {
        noun::not_yet(input.version)?;
        let fields = Fields::check(&input)?;
        let (id, now) = (self.ids.new(), self.clock.now());
        self.store
            .change(actor, move |tx| {
                store::insert_subnet(tx, id, &fields, now)?;
                Ok((Entry::created("subnet", id, &fields), shown(tx, store::subnet(tx, id)?)?))
            })
            .await
    }

    /// Changes a subnet; every template that names it must still fit its limits.
    ///
    /// # Errors
    /// `NotFound`, `Stale`, `Invalid`; any from the database.
    pub async fn update_subnet(&self, actor: &Actor, id: Uuid, input: SubnetInput) -> Result<Subnet> {
        let fields = Fields::check(&input)?;
        let now = self.clock.now();
        self.store
            .changes(actor, move |tx| {
                let entries = store::subnet(tx, id)?.change("subnet", input.version, &fields, || {
                    store::update_subnet(tx, id, &fields, now)?;
                    extent::still_fit(tx, "cidr", &store::templates_of_subnet(tx, id)?)
                })?;
                Ok((entries, shown(tx, store::subnet(tx, id)?)?))
            })
            .await
    }

    /// Deletes a subnet that no template names, and gives what it was.
    ///
    /// # Errors
    /// `NotFound`, `InUse`, `Stale`; any from the database.
    pub async fn delete_subnet(&self, actor: &Actor, id: Uuid, version: Option<i64>) -> Result<Subnet> {
        self.store
            .change(actor, move |tx| {
                let kept = store::subnet(tx, id)?;
                noun::if_based_on(version, kept.version)?;
                noun::unused("subnet", &kept.fields.name, &store::templates_of_subnet(tx, id)?)?;
                let entry = Entry::deleted("subnet", id, &kept.fields);
                let was = shown(tx, kept)?;
                store::delete(tx, "subnet", id)?;
                Ok((entry, was))
            })
            .await
    }
}

fn shown(db: &Connection, kept: Kept<Fields>) -> Result<Subnet> {
    let Kept { id, fields: Fields { name, cidr, note }, version, updated_at } = kept;
    let overlaps = store::overlaps(db, id, &cidr)?;
    let hosts = Count::of(&Ranges::from(cidr.range()));
    let family = Family::of(&cidr);
    let templates = store::links_to(store::templates_of_subnet(db, id)?);
    let cidr = cidr.to_string();
    Ok(Subnet { id, name, cidr, family, hosts, note, overlaps, templates, version, updated_at })
}
