//! Vantages: places in the network that scans look from.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::store::{self, Named, VantageRow};
use super::{Fleet, NewVantage, VantageEdit};
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::{Error, Result};

/// A place in the network.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Vantage {
    /// The id.
    pub id: Uuid,
    /// What people call the place.
    pub name: String,
    /// Anything worth knowing.
    pub note: String,
    /// The scanners that stand there, revoked ones left out.
    pub scanners: Vec<Named>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes; an edit names the version it was made from.
    pub version: i64,
}

impl Fleet {
    /// Every vantage, by name.
    ///
    /// # Errors
    /// The database's.
    pub async fn vantages(&self) -> Result<Vec<Vantage>> {
        let (vantages, scanners) =
            self.0.parts.store.read(|db| Ok((store::vantages(db)?, store::scanners(db)?))).await?;
        Ok(vantages.into_iter().map(|row| with_scanners(row, &scanners)).collect())
    }

    /// One vantage.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn vantage(&self, id: Uuid) -> Result<Vantage> {
        let (row, scanners) =
            self.0.parts.store.read(move |db| Ok((store::vantage(db, id)?, store::scanners(db)?))).await?;
        Ok(with_scanners(row, &scanners))
    }

    /// Makes a vantage.
    ///
    /// # Errors
    /// `Invalid`.
    pub async fn add_vantage(&self, actor: &Actor, new: NewVantage) -> Result<Vantage> {
        let NewVantage { name, note } = new.checked()?;
        let now = self.0.parts.clock.now();
        let row = VantageRow {
            id: self.0.parts.ids.new(),
            name,
            note,
            created_at: now,
            updated_at: now,
            version: 1,
        };
        let made = row.clone();
        self.0
            .parts
            .store
            .change(actor, move |tx| {
                store::insert_vantage(tx, &row)?;
                Ok((Entry::created("vantage", row.id, &row), ()))
            })
            .await?;
        Ok(with_scanners(made, &[]))
    }

    /// Changes a vantage.
    ///
    /// # Errors
    /// `NotFound`, `Stale`, `Invalid`.
    pub async fn change_vantage(&self, actor: &Actor, id: Uuid, edit: VantageEdit) -> Result<Vantage> {
        let NewVantage { name, note } = NewVantage { name: edit.name, note: edit.note }.checked()?;
        let now = self.0.parts.clock.now();
        self.0
            .parts
            .store
            .change(actor, move |tx| {
                let before = store::vantage(tx, id)?;
                let after = VantageRow { name, note, version: edit.version, ..before.clone() };
                store::update_vantage(tx, &after, now)?;
                Ok((Entry::updated("vantage", id, &before, &after), ()))
            })
            .await?;
        self.vantage(id).await
    }

    /// Deletes a vantage that no scanner ever stood in.
    ///
    /// # Errors
    /// `NotFound`; `InUse` while a scanner, revoked or not, refers to it.
    pub async fn delete_vantage(&self, actor: &Actor, id: Uuid) -> Result<()> {
        self.0
            .parts
            .store
            .change(actor, move |tx| {
                let before = store::vantage(tx, id)?;
                let users: Vec<String> = store::scanners(tx)?
                    .into_iter()
                    .filter(|scanner| scanner.vantage.id == id)
                    .map(|scanner| format!("scanner \"{}\"", scanner.name))
                    .collect();
                if !users.is_empty() {
                    return Err(Error::in_use(format!("vantage \"{}\"", before.name), users));
                }
                store::delete_vantage(tx, id)?;
                Ok((Entry::deleted("vantage", id, &before), ()))
            })
            .await
    }
}

fn with_scanners(row: VantageRow, scanners: &[store::ScannerRow]) -> Vantage {
    let here = |scanner: &&store::ScannerRow| scanner.vantage.id == row.id && scanner.revoked_at.is_none();
    let scanners = scanners.iter().filter(here).map(|s| Named { id: s.id, name: s.name.clone() }).collect();
    Vantage {
        id: row.id,
        name: row.name,
        note: row.note,
        scanners,
        created_at: row.created_at,
        updated_at: row.updated_at,
        version: row.version,
    }
}
