//! Port lists: named sets of TCP ports.

use portolan_scanner::net::Ports;
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Scope, extent, port_names, store};
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::noun::{self, DeletePage, Kept, Link, Refusals};
use crate::web::{ListQuery, Page};

/// A port list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PortList {
    /// Its id.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// Its ports in canonical form: `22,80-90,443`.
    pub ports: String,
    /// How many ports it has.
    pub count: u32,
    /// Anything worth knowing.
    pub note: String,
    /// Templates that name it.
    pub templates: Vec<Link>,
    /// Counts its changes.
    pub version: i64,
    /// When it was made or last changed.
    pub updated_at: Timestamp,
}

/// A port list as it is made or changed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortListInput {
    /// A name that no other port list has.
    pub name: String,
    /// Ports, ranges and service names with commas between: `22,80-90,https`.
    pub ports: String,
    /// Anything worth knowing.
    #[serde(default)]
    pub note: String,
    /// For a change: the version that was read (JSON may say it as `If-Match`).
    #[serde(default)]
    pub version: Option<i64>,
}

/// What the list of port lists takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortListQuery {
    /// Words of name, ports or note.
    pub q: Option<String>,
    /// `name`, `count` or `updated_at`; `-` in front turns it round.
    pub sort: Option<String>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// What the owner of a port list decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Fields {
    pub name: String,
    #[serde(serialize_with = "noun::as_text")]
    pub ports: Ports,
    pub note: String,
}

impl Fields {
    fn check(input: &PortListInput) -> Result<Self> {
        let mut refusals = Refusals::new();
        let name = refusals.name(&input.name);
        let ports = refusals.take("ports", port_names::parse(&input.ports));
        let note = refusals.note(&input.note);
        refusals.end_with(ports).map(|ports| Self { name, ports, note })
    }
}

impl Scope {
    /// One page of the port lists.
    ///
    /// # Errors
    /// `Invalid` on the query's fields; any from the database.
    pub async fn port_lists(&self, query: PortListQuery) -> Result<Page<PortList>> {
        let PortListQuery { q, sort, limit, cursor } = query;
        let list = ListQuery { q, sort, limit, cursor };
        self.store.read(move |db| store::port_lists(db, &list)?.try_map(|kept| shown(db, kept))).await
    }

    /// A port list.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    pub async fn port_list(&self, id: Uuid) -> Result<PortList> {
        self.store.read(move |db| shown(db, store::port_list(db, id)?)).await
    }

    /// A port list, and the templates that name it.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    pub async fn port_list_and_uses(&self, id: Uuid) -> Result<DeletePage<PortList>> {
        self.store
            .read(move |db| {
                let item = shown(db, store::port_list(db, id)?)?;
                Ok(DeletePage { item, in_use: store::templates_of_port_list(db, id)? })
            })
            .await
    }

    /// Makes a port list.
    ///
    /// # Errors
    /// `Invalid`, also on `name` when another port list has it; any from the database.
    pub async fn create_port_list(&self, actor: &Actor, input: PortListInput) -> Result<PortList> {
        noun::not_yet(input.version)?;
        let fields = Fields::check(&input)?;
        let (id, now) = (self.ids.new(), self.clock.now());
        self.store
            .change(actor, move |tx| {
                store::insert_port_list(tx, id, &fields, now)?;
                Ok((Entry::created("port-list", id, &fields), shown(tx, store::port_list(tx, id)?)?))
            })
            .await
    }

    /// Changes a port list; every template that names it must still fit its limits.
    ///
    /// # Errors
    /// `NotFound`, `Stale`, `Invalid`; any from the database.
    pub async fn update_port_list(&self, actor: &Actor, id: Uuid, input: PortListInput) -> Result<PortList> {
        let fields = Fields::check(&input)?;
        let now = self.clock.now();
        self.store
            .changes(actor, move |tx| {
                let entries =
                    store::port_list(tx, id)?.change("port-list", input.version, &fields, || {
                        store::update_port_list(tx, id, &fields, now)?;
                        extent::still_fit(tx, "ports", &store::templates_of_port_list(tx, id)?)
                    })?;
                Ok((entries, shown(tx, store::port_list(tx, id)?)?))
            })
            .await
    }

    /// Deletes a port list that no template names, and gives what it was.
    ///
    /// # Errors
    /// `NotFound`, `InUse`, `Stale`; any from the database.
    pub async fn delete_port_list(&self, actor: &Actor, id: Uuid, version: Option<i64>) -> Result<PortList> {
        self.store
            .change(actor, move |tx| {
                let kept = store::port_list(tx, id)?;
                noun::if_based_on(version, kept.version)?;
                noun::unused("port list", &kept.fields.name, &store::templates_of_port_list(tx, id)?)?;
                let entry = Entry::deleted("port-list", id, &kept.fields);
                let was = shown(tx, kept)?;
                store::delete(tx, "port_list", id)?;
                Ok((entry, was))
            })
            .await
    }
}

fn shown(db: &Connection, kept: Kept<Fields>) -> Result<PortList> {
    let Kept { id, fields: Fields { name, ports, note }, version, updated_at } = kept;
    let (count, ports) = (ports.count(), ports.to_string());
    let templates = store::links_to(store::templates_of_port_list(db, id)?);
    Ok(PortList { id, name, ports, count, note, templates, version, updated_at })
}
