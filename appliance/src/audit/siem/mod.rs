//! Receivers: where audit entries are sent as they are written, for a SIEM or a log server of the site.
//!
//! Each receiver has its own place in the chain and moves on only once a batch has arrived; so an outage of days loses
//! nothing, and what was sent before a failure may come twice (the number in the chain tells). A new receiver begins at
//! the entry that tells of its making. Nothing is sent anywhere unless a receiver says so.

mod arrival;
mod input;
mod message;
pub mod routes;
mod send;
mod store;
mod task;
#[cfg(test)]
mod tests;

use std::fmt::Display;

use rusqlite::{Connection, Transaction};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Actor, Entry, Outcome};
use crate::app::App;
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::ids::{Ids, Random};
use crate::noun::{self, Does, EditPage, Noun, Words};
use crate::secrets::MasterKey;
use crate::secrets::rotation::Sealed;
use crate::store::Store;
use crate::tls;
use crate::web::{Call, ListQuery, Nav, Page};
use input::Fields;
pub use input::{Body, Kind, ReceiverInput};
use message::Message;
use send::Target;
pub use task::keep;

/// The most receivers there may be: each costs a connection of its own at a time.
const RECEIVERS_MAX: usize = 16;

/// How far a receiver has come.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct State {
    /// The last entry that it has.
    pub seq: u64,
    /// When that arrived.
    pub at: Timestamp,
    /// How many entries wait for it.
    pub waiting: u64,
    /// How often it was tried in vain since.
    pub tries: u64,
    /// Since when it fails.
    pub failing_since: Option<Timestamp>,
    /// What was said the last time it failed.
    pub error: String,
}

/// A receiver.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Receiver {
    /// Its id.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// How it is spoken to.
    pub kind: Kind,
    /// `host:port`, or a webhook's URL; what stands behind its host may be a secret and is not shown.
    pub address: String,
    /// How entries are written.
    pub body: Body,
    /// PEM of who signs its certificate.
    pub ca: String,
    /// Whether entries are sent.
    pub enabled: bool,
    /// How far it has come.
    pub state: State,
    /// Counts its changes.
    pub version: i64,
    /// When it was made or last changed.
    pub updated_at: Timestamp,
}

/// How a test went.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Tested {
    /// Whether the receiver said that it has the test; never over UDP.
    pub arrived: bool,
    /// The same in a sentence, with what went wrong.
    pub words: String,
}

/// The service.
#[derive(Clone)]
pub struct Siem {
    store: Store,
    clock: Clock,
    ids: Ids,
    random: Random,
    master: MasterKey,
    host: String,
}

impl Siem {
    /// The service.
    #[must_use]
    pub fn new(store: Store, (clock, ids): (Clock, Ids), random: Random, master: MasterKey) -> Self {
        let host = tls::host_name().unwrap_or_else(|| "portolan".to_owned());
        Self { store, clock, ids, random, master, host }
    }

    /// Sends one message that is no entry of the chain, and says how that went.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    pub async fn test(&self, actor: &Actor, id: Uuid) -> Result<Tested> {
        let receiver = self.store.read(move |db| store::one(db, id)).await?;
        let (target, now) = (self.target(&receiver)?, self.clock.now());
        let entry = Entry::event("receiver.tested", &()).on("receiver", id);
        let record = entry.clone().record(actor, now);
        let text = super::chain::canonical(serde_json::to_value(&record)?)?;
        let test = Message { seq: 0, record, entry: text, hash: String::new() };
        let failure = target.send(&self.host, &[test], now).await.err();
        let outcome = if failure.is_none() { Outcome::Done } else { Outcome::Failed };
        self.store.change(actor, move |_| Ok((entry.outcome(outcome), ()))).await?;
        let words = match (&failure, target.kind) {
            (Some(failure), _) => format!("The test did not arrive: {failure}."),
            (None, Kind::SyslogUdp) => {
                "The test was sent. Over UDP nobody says whether it arrived.".to_owned()
            }
            (None, _) => "The test arrived.".to_owned(),
        };
        Ok(Tested { arrived: failure.is_none() && target.kind != Kind::SyslogUdp, words })
    }

    fn target(&self, receiver: &store::Receiver) -> Result<Target> {
        let Fields { kind, address, body, ca, .. } = receiver.kept.fields.clone();
        let secret = match &receiver.sealed {
            Some(sealed) => self.master.open(&identity(receiver.kept.id), sealed)?,
            None => Zeroizing::default(),
        };
        Ok(Target { kind, address, body, ca, secret })
    }

    fn sealed(&self, id: Uuid, secret: String) -> Option<Vec<u8>> {
        let secret = Zeroizing::new(secret);
        (!secret.is_empty()).then(|| self.master.seal(&identity(id), secret.as_bytes(), &self.random))
    }
}

impl Noun for Receiver {
    type Room = Siem;
    type Query = ListQuery;
    type Input = ReceiverInput;
    type Form = EditPage<Self>;
    const WORDS: Words = Words {
        one: "receiver",
        many: "receivers",
        docs: "audit/receivers",
        templates: "audit/receivers",
        scopes: ["receivers:view", "receivers:manage"],
        nav: Nav { group: "Record", title: "Receivers", icon: "receivers", order: 890 },
        viewed: Some("receiver"),
        does: Does {
            list: "List where audit entries are sent, and how far each receiver has come",
            show: "One receiver",
            new: "The form of a new receiver",
            create: "Make a receiver; entries written from now on are sent to it",
            edit: "The form of a receiver",
            update: "Change a receiver; its place in the chain stays",
            ask: "What a receiver's deletion would end",
            delete: "Delete a receiver: nothing more is sent to it",
        },
    };

    fn room(app: &App) -> &Siem {
        &app.siem
    }

    fn kept(&self) -> (Uuid, i64) {
        (self.id, self.version)
    }

    fn gone(&self) -> String {
        format!("The receiver “{}” is deleted.", self.name)
    }

    async fn page(siem: &Siem, query: ListQuery) -> Result<Page<Self>> {
        let read = move |db: &Connection| store::page(db, &query)?.try_map(|receiver| shown(db, receiver));
        siem.store.read(read).await
    }

    async fn one(siem: &Siem, id: Uuid) -> Result<Self> {
        siem.store.read(move |db| shown(db, store::one(db, id)?)).await
    }

    async fn form(siem: &Siem, id: Option<Uuid>) -> Result<EditPage<Self>> {
        noun::edit_page(siem, id).await
    }

    /// Whoever says where entries go reads all of them, for as long as the receiver is there: that takes what an export
    /// takes, a proof, and a person, as an API token ends before.
    async fn admit(call: &Call, id: Option<Uuid>, input: &ReceiverInput) -> Result<()> {
        if let Some(id) = id {
            let before = call.app.siem.store.read(move |db| store::one(db, id)).await?;
            if input.leads_nowhere_else(&before.kept.fields) {
                return Ok(());
            }
        }
        call.in_person()?;
        if !call.caller.may("audit:export") {
            return Err(Error::Forbidden);
        }
        call.app.identity.proved(call)
    }

    async fn create(siem: &Siem, actor: &Actor, input: ReceiverInput) -> Result<Self> {
        noun::not_yet(input.version)?;
        let (id, now) = (siem.ids.new(), siem.clock.now());
        let fields = Fields::check(&input, None)?;
        let sealed = siem.sealed(id, input.secret);
        let change = move |tx: &Transaction| {
            if store::count(tx)? >= RECEIVERS_MAX {
                return Err(Error::invalid(
                    "name",
                    format!("there are {RECEIVERS_MAX} receivers: delete one first"),
                ));
            }
            let head = super::store::head(tx)?.seq;
            store::insert(tx, id, &fields, sealed.as_deref(), (now, head))?;
            Ok((Entry::created("receiver", id, &fields), shown(tx, store::one(tx, id)?)?))
        };
        siem.store.change(actor, change).await
    }

    /// Where it stands in the chain stays.
    async fn update(siem: &Siem, actor: &Actor, id: Uuid, input: ReceiverInput) -> Result<Self> {
        let now = siem.clock.now();
        let before = siem.store.read(move |db| store::one(db, id)).await?;
        let fields = Fields::check(&input, Some(&before))?;
        let sealed = siem.sealed(id, input.secret);
        let change = move |tx: &Transaction| {
            let before = store::one(tx, id)?;
            let write = || store::update(tx, id, &fields, sealed.as_deref(), now);
            let mut entries = before.kept.change("receiver", input.version, &fields, write)?;
            if sealed.is_some() {
                if entries.is_empty() {
                    noun::based_on(input.version, before.kept.version)?;
                    store::update(tx, id, &fields, sealed.as_deref(), now)?;
                }
                entries.push(Entry::event("receiver.secret-changed", &()).on("receiver", id));
            }
            Ok((entries, shown(tx, store::one(tx, id)?)?))
        };
        siem.store.changes(actor, change).await
    }

    async fn delete(siem: &Siem, actor: &Actor, id: Uuid, version: Option<i64>) -> Result<Self> {
        let change = move |tx: &Transaction| {
            let before = store::one(tx, id)?;
            noun::if_based_on(version, before.kept.version)?;
            let entry = Entry::deleted("receiver", id, &before.kept.fields);
            let gone = shown(tx, before)?;
            store::delete(tx, id)?;
            Ok((entry, gone))
        };
        siem.store.change(actor, change).await
    }
}

/// Where the secrets of webhooks lie.
pub const SEALED: Sealed =
    Sealed { table: "receiver", key: "id", column: "sealed", identity: |id| identity(id) };

fn identity(id: impl Display) -> String {
    format!("receiver/{id}/secret")
}

fn shown(db: &Connection, receiver: store::Receiver) -> Result<Receiver> {
    let noun::Kept { id, fields, version, updated_at } = receiver.kept;
    let address = fields.shown();
    let Fields { name, kind, body, ca, enabled, .. } = fields;
    let state = store::state(db, id)?;
    Ok(Receiver { id, name, kind, address, body, ca, enabled, state, version, updated_at })
}
