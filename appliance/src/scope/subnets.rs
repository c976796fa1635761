//! Subnets: the addresses that scans may cover.

use portolan_scanner::net::{Cidr, Ranges};
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Count, Scope, extent, store};
use crate::app::App;
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::noun::{self, Does, EditPage, Kept, Link, Noun, Refusals, Use, Words};
use crate::web::{ListQuery, Nav, Page};

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

impl Noun for Subnet {
    type Room = Scope;
    type Query = SubnetQuery;
    type Input = SubnetInput;
    type Form = EditPage<Self>;
    const WORDS: Words = Words {
        one: "subnet",
        many: "subnets",
        docs: "scope/subnets",
        templates: "scope/subnets",
        scopes: ["subnets:view", "subnets:manage"],
        nav: Nav { group: "Scope", title: "Subnets", icon: "subnets", order: 200 },
        viewed: None,
        does: Does {
            list: "List subnets",
            show: "One subnet",
            new: "The form of a new subnet",
            create: "Make a subnet",
            edit: "The form of a subnet",
            update: "Change a subnet",
            ask: "What a subnet's deletion would meet",
            delete: "Delete a subnet that no template names",
        },
    };

    fn room(app: &App) -> &Scope {
        &app.scope
    }

    fn kept(&self) -> (Uuid, i64) {
        (self.id, self.version)
    }

    fn gone(&self) -> String {
        format!("The subnet “{}” is deleted.", self.name)
    }

    async fn page(scope: &Scope, query: SubnetQuery) -> Result<Page<Self>> {
        let SubnetQuery { q, family, sort, limit, cursor } = query;
        let list = ListQuery { q, sort, limit, cursor };
        scope.store.read(move |db| store::subnets(db, &list, family)?.try_map(|kept| shown(db, kept))).await
    }

    async fn one(scope: &Scope, id: Uuid) -> Result<Self> {
        scope.store.read(move |db| shown(db, store::subnet(db, id)?)).await
    }

    async fn uses(scope: &Scope, id: Uuid) -> Result<Vec<Use>> {
        scope.store.read(move |db| store::templates_of_subnet(db, id)).await
    }

    async fn form(scope: &Scope, id: Option<Uuid>) -> Result<EditPage<Self>> {
        noun::edit_page(scope, id).await
    }

    async fn create(scope: &Scope, actor: &Actor, input: SubnetInput) -> Result<Self> {
        noun::not_yet(input.version)?;
        let fields = Fields::check(&input)?;
        let (id, now) = (scope.ids.new(), scope.clock.now());
        scope
            .store
            .change(actor, move |tx| {
                store::insert_subnet(tx, id, &fields, now)?;
                Ok((Entry::created("subnet", id, &fields), shown(tx, store::subnet(tx, id)?)?))
            })
            .await
    }

    /// Every template that names it must still fit its limits.
    async fn update(scope: &Scope, actor: &Actor, id: Uuid, input: SubnetInput) -> Result<Self> {
        let fields = Fields::check(&input)?;
        let now = scope.clock.now();
        scope
            .store
            .changes(actor, move |tx| {
                let entries = store::subnet(tx, id)?.change("subnet", input.version, &fields, || {
                    store::update_subnet(tx, id, &fields, now)?;
                    extent::still_fit(tx, "cidr", &store::templates_of_subnet(tx, id)?)
                })?;
                Ok((entries, shown(tx, store::subnet(tx, id)?)?))
            })
            .await
    }

    async fn delete(scope: &Scope, actor: &Actor, id: Uuid, version: Option<i64>) -> Result<Self> {
        scope
            .store
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
