//! Vantages: places in the network that scans look from.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::projection::{self, Seen};
use super::scanner;
use super::store::{self, ScannerRow, VantageRow};
use super::{Fleet, Presence, VantageInput};
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::noun::{self, Use};

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

    /// One vantage.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn vantage(&self, id: Uuid) -> Result<Vantage> {
        let all = self.vantages().await?;
        all.into_iter().find(|vantage| vantage.id == id).ok_or_else(|| Error::not_found("vantage", id))
    }

    /// Makes a vantage.
    ///
    /// # Errors
    /// `Invalid`.
    pub async fn add_vantage(&self, actor: &Actor, input: VantageInput) -> Result<Vantage> {
        noun::not_yet(input.version)?;
        let VantageInput { name, note, .. } = input.checked()?;
        let (id, now) = (self.0.parts.ids.new(), self.0.parts.clock.now());
        let row = VantageRow { id, name, note, created_at: now, updated_at: now, version: 1 };
        self.0
            .parts
            .store
            .change(actor, move |tx| {
                store::insert_vantage(tx, &row)?;
                Ok((Entry::created("vantage", row.id, &row), ()))
            })
            .await?;
        self.vantage(id).await
    }

    /// Changes a vantage.
    ///
    /// # Errors
    /// `NotFound`, `Stale`, `Invalid`.
    pub async fn change_vantage(&self, actor: &Actor, id: Uuid, input: VantageInput) -> Result<Vantage> {
        let VantageInput { name, note, version } = input.checked()?;
        let now = self.0.parts.clock.now();
        self.0
            .parts
            .store
            .changes(actor, move |tx| {
                let before = store::vantage(tx, id)?;
                let after = VantageRow { name, note, ..before.clone() };
                // A form that was sent twice is answered like the first.
                if version.is_some() && after == before {
                    return Ok((vec![], ()));
                }
                noun::based_on(version, before.version)?;
                store::update_vantage(tx, &after, now)?;
                Ok((vec![Entry::updated("vantage", id, &before, &after)], ()))
            })
            .await?;
        self.vantage(id).await
    }

    /// What keeps a vantage from being deleted: every scanner that stands there, revoked or not.
    ///
    /// # Errors
    /// The database's.
    pub async fn vantage_uses(&self, id: Uuid) -> Result<Vec<Use>> {
        Ok(uses(&self.0.parts.store.read(store::scanners).await?, id))
    }

    /// Deletes a vantage that no scanner ever stood in.
    ///
    /// # Errors
    /// `NotFound`, `Stale`; `InUse` while a scanner, revoked or not, refers to it.
    pub async fn delete_vantage(&self, actor: &Actor, id: Uuid, version: Option<i64>) -> Result<()> {
        self.0
            .parts
            .store
            .change(actor, move |tx| {
                let before = store::vantage(tx, id)?;
                noun::if_based_on(version, before.version)?;
                noun::unused("vantage", &before.name, &uses(&store::scanners(tx)?, id))?;
                store::delete_vantage(tx, id)?;
                Ok((Entry::deleted("vantage", id, &before), ()))
            })
            .await
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
