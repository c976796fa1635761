//! Vantages: places in the network that scans look from.

use std::collections::HashMap;

use rusqlite::Transaction;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::list::{List, has_words};
use super::projection::{self, Seen};
use super::scanner;
use super::store::{self, ScannerRow, VantageRow};
use super::{Fleet, Presence, VantageInput};
use crate::app::App;
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::noun::{self, Does, EditPage, Noun, Use, Words};
use crate::web::{ListQuery, Nav, Page};

/// A place in the network.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Vantage {
    /// The id.
    pub id: Uuid,
    /// What people call the place.
    pub name: String,
    /// Anything worth knowing.
    pub note: String,
    /// The scanners that stand there, or stood there until they were revoked.
    pub scanners: Vec<Standing>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes; an edit names the version it was made from.
    pub version: i64,
}

/// A scanner in its vantage.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Standing {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub state: Presence,
}

impl Fleet {
    /// Every vantage, by name.
    ///
    /// # Errors
    /// The database's.
    pub async fn vantages(&self) -> Result<Vec<Vantage>> {
        let (vantages, scanners) =
            self.0.parts.store.read(|db| Ok((store::vantages(db)?, store::scanners(db)?))).await?;
        let seen = self.0.parts.jobs.read(projection::seen).await?;
        let now = self.0.parts.clock.now();
        Ok(vantages.into_iter().map(|row| shown(row, &scanners, &seen, now)).collect())
    }
}

const LIST: List = List { name: "vantages", fields: &["name", "created_at", "updated_at"] };

impl Noun for Vantage {
    type Room = Fleet;
    type Query = ListQuery;
    type Input = VantageInput;
    type Form = EditPage<Self>;
    const WORDS: Words = Words {
        one: "vantage",
        many: "vantages",
        docs: "fleet/vantages",
        templates: "fleet/vantages",
        scopes: ["scanners:view", "scanners:manage"],
        nav: Nav { group: "Fleet", title: "Vantages", icon: "vantages", order: 310 },
        viewed: None,
        does: Does {
            list: "List vantages, with the scanners that stand there",
            show: "One vantage",
            new: "The form of a new vantage",
            create: "Make a vantage",
            edit: "The form of a vantage",
            update: "Change name and note",
            ask: "The question before a vantage is deleted, and what is in the way",
            delete: "Delete a vantage that no scanner stands in",
        },
    };

    fn room(app: &App) -> &Fleet {
        &app.fleet
    }

    fn kept(&self) -> (Uuid, i64) {
        (self.id, self.version)
    }

    fn gone(&self) -> String {
        format!("The vantage “{}” is deleted.", self.name)
    }

    async fn page(fleet: &Fleet, query: ListQuery) -> Result<Page<Self>> {
        let mut rows = fleet.vantages().await?;
        rows.retain(|row| has_words(query.q.as_deref(), &[&row.name, &row.note]));
        LIST.page(rows, &query, |row, field| {
            let value = match field {
                "created_at" => row.created_at.to_string(),
                "updated_at" => row.updated_at.to_string(),
                _ => row.name.to_lowercase(),
            };
            [value, row.id.to_string()]
        })
    }

    async fn one(fleet: &Fleet, id: Uuid) -> Result<Self> {
        let all = fleet.vantages().await?;
        all.into_iter().find(|vantage| vantage.id == id).ok_or_else(|| Error::not_found("vantage", id))
    }

    async fn form(fleet: &Fleet, id: Option<Uuid>) -> Result<EditPage<Self>> {
        noun::edit_page(fleet, id).await
    }

    /// Every scanner that stands there, revoked or not.
    async fn uses(fleet: &Fleet, id: Uuid) -> Result<Vec<Use>> {
        Ok(uses(&fleet.0.parts.store.read(store::scanners).await?, id))
    }

    async fn create(fleet: &Fleet, actor: &Actor, input: VantageInput) -> Result<Self> {
        noun::not_yet(input.version)?;
        let VantageInput { name, note, .. } = input.checked()?;
        let (id, now) = (fleet.0.parts.ids.new(), fleet.0.parts.clock.now());
        let row = VantageRow { id, name, note, created_at: now, updated_at: now, version: 1 };
        let change = move |tx: &Transaction| {
            store::insert_vantage(tx, &row)?;
            Ok((Entry::created("vantage", row.id, &row), ()))
        };
        fleet.0.parts.store.change(actor, change).await?;
        Self::one(fleet, id).await
    }

    async fn update(fleet: &Fleet, actor: &Actor, id: Uuid, input: VantageInput) -> Result<Self> {
        let VantageInput { name, note, version } = input.checked()?;
        let now = fleet.0.parts.clock.now();
        let change = move |tx: &Transaction| {
            let before = store::vantage(tx, id)?;
            let after = VantageRow { name, note, ..before.clone() };
            // A form that was sent twice is answered like the first.
            if version.is_some() && after == before {
                return Ok((vec![], ()));
            }
            noun::based_on(version, before.version)?;
            store::update_vantage(tx, &after, now)?;
            Ok((vec![Entry::updated("vantage", id, &before, &after)], ()))
        };
        fleet.0.parts.store.changes(actor, change).await?;
        Self::one(fleet, id).await
    }

    /// A vantage that a scanner ever stood in stays: its results are told by it.
    async fn delete(fleet: &Fleet, actor: &Actor, id: Uuid, version: Option<i64>) -> Result<Self> {
        let gone = Self::one(fleet, id).await?;
        let change = move |tx: &Transaction| {
            let before = store::vantage(tx, id)?;
            noun::if_based_on(version, before.version)?;
            noun::unused("vantage", &before.name, &uses(&store::scanners(tx)?, id))?;
            store::delete_vantage(tx, id)?;
            Ok((Entry::deleted("vantage", id, &before), ()))
        };
        fleet.0.parts.store.change(actor, change).await?;
        Ok(gone)
    }
}

fn uses(scanners: &[ScannerRow], vantage: Uuid) -> Vec<Use> {
    let here = scanners.iter().filter(|scanner| scanner.vantage.id == vantage);
    here.map(|scanner| Use {
        id: scanner.id,
        path: format!("/scanners/{}", scanner.id),
        name: scanner.name.clone(),
        kind: "scanner",
    })
    .collect()
}

fn shown(row: VantageRow, scanners: &[ScannerRow], seen: &HashMap<Uuid, Seen>, now: Timestamp) -> Vantage {
    let here = scanners.iter().filter(|scanner| scanner.vantage.id == row.id);
    let standing = |scanner: &ScannerRow| Standing {
        id: scanner.id,
        name: scanner.name.clone(),
        state: scanner::presence(scanner, seen.get(&scanner.id), now),
    };
    Vantage {
        scanners: here.map(standing).collect(),
        id: row.id,
        name: row.name,
        note: row.note,
        created_at: row.created_at,
        updated_at: row.updated_at,
        version: row.version,
    }
}
