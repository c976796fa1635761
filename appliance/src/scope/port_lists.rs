//! Port lists: named sets of TCP ports.

use portolan_scanner::net::Ports;
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Scope, extent, port_names, store};
use crate::app::App;
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::noun::{self, Does, EditPage, Kept, Link, Noun, Refusals, Use, Words};
use crate::web::{ListQuery, Nav, Page};

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

impl Noun for PortList {
    type Room = Scope;
    type Query = PortListQuery;
    type Input = PortListInput;
    type Form = EditPage<Self>;
    const WORDS: Words = Words {
        one: "port list",
        many: "port-lists",
        docs: "scope/port-lists",
        templates: "scope/port_lists",
        scopes: ["port-lists:view", "port-lists:manage"],
        nav: Nav { group: "Scope", title: "Port lists", icon: "port-lists", order: 210 },
        viewed: None,
        does: Does {
            list: "List port lists",
            show: "One port list",
            new: "The form of a new port list",
            create: "Make a port list",
            edit: "The form of a port list",
            update: "Change a port list",
            ask: "What a port list's deletion would meet",
            delete: "Delete a port list that no template names",
        },
    };

    fn room(app: &App) -> &Scope {
        &app.scope
    }

    fn kept(&self) -> (Uuid, i64) {
        (self.id, self.version)
    }

    fn gone(&self) -> String {
        format!("The port list “{}” is deleted.", self.name)
    }

    async fn page(scope: &Scope, query: PortListQuery) -> Result<Page<Self>> {
        let PortListQuery { q, sort, limit, cursor } = query;
        let list = ListQuery { q, sort, limit, cursor };
        scope.store.read(move |db| store::port_lists(db, &list)?.try_map(|kept| shown(db, kept))).await
    }

    async fn one(scope: &Scope, id: Uuid) -> Result<Self> {
        scope.store.read(move |db| shown(db, store::port_list(db, id)?)).await
    }

    async fn uses(scope: &Scope, id: Uuid) -> Result<Vec<Use>> {
        scope.store.read(move |db| store::templates_of_port_list(db, id)).await
    }

    async fn form(scope: &Scope, id: Option<Uuid>) -> Result<EditPage<Self>> {
        noun::edit_page(scope, id).await
    }

    async fn create(scope: &Scope, actor: &Actor, input: PortListInput) -> Result<Self> {
        noun::not_yet(input.version)?;
        let fields = Fields::check(&input)?;
        let (id, now) = (scope.ids.new(), scope.clock.now());
        scope
            .store
            .change(actor, move |tx| {
                store::insert_port_list(tx, id, &fields, now)?;
                Ok((Entry::created("port-list", id, &fields), shown(tx, store::port_list(tx, id)?)?))
            })
            .await
    }

    /// Every template that names it must still fit its limits.
    async fn update(scope: &Scope, actor: &Actor, id: Uuid, input: PortListInput) -> Result<Self> {
        let fields = Fields::check(&input)?;
        let now = scope.clock.now();
        scope
            .store
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

    async fn delete(scope: &Scope, actor: &Actor, id: Uuid, version: Option<i64>) -> Result<Self> {
        scope
            .store
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
