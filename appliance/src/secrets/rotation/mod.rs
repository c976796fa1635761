//! A new master key in the place of the old one: what the old one sealed is sealed anew, what it derived is carried over
//! ([`super::LASTING`]) or void.
//!
//! Both keys are on disk until it is done. The commit of config.db decides: before it the old key counts, after it the
//! new one. Killed anywhere, the next start finds the key that opens ([`settle`]).

mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use rusqlite::{Connection, Transaction};
use serde::Serialize;
use serde_json::json;

use super::{KEY_LEN, MasterKey, credentials_directory, keyring, master};
use crate::audit::{Actor, Entry};
use crate::error::{Error, Result};
use crate::ids::Random;
use crate::layout::{Layout, adopt, sync_folder, write_file};
use crate::store::Store;

/// A column with what the master key sealed.
#[derive(Clone, Copy, Debug)]
pub struct Sealed {
    /// The table.
    pub table: &'static str,
    /// The column that names its rows.
    pub key: &'static str,
    /// The column itself; a row without a secret has NULL there.
    pub column: &'static str,
    /// What a row's secret is sealed as, from its key.
    pub identity: fn(&str) -> String,
}

/// What a rotation did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rotated {
    /// How many secrets of each table were sealed anew.
    pub sealed_anew: BTreeMap<&'static str, usize>,
    /// How many sessions ended.
    pub sessions_ended: usize,
}

/// Puts a new master key in the place of `old`, which must be the one that opens config.db. `places` are all columns
/// that it sealed; `end_sessions` ends all sessions, whose key it derives, and says how many. Whoever calls holds
/// [`Layout::manager_lock`].
///
/// # Errors
/// Any from the file system and the database, and when a secret does not open: before the commit everything is as it was.
/// An error after it is finished by the next start.
pub async fn rotate(
    layout: &Layout,
    store: &Store,
    old: &MasterKey,
    (actor, random): (&Actor, &Random),
    places: Vec<Sealed>,
    end_sessions: impl FnOnce(&Transaction) -> Result<usize> + Send + 'static,
) -> Result<Rotated> {
    let new = stage(layout, random)?;
    let rotated = match commit(store, (old, &new), (actor, random), places, end_sessions).await {
        Ok(rotated) => rotated,
        Err(error) => {
            // It counts for nothing, whether it can be taken away now or at the next start.
            let _ = forget(&layout.next_master_key());
            return Err(error);
        }
    };
    install(layout)?;
    Ok(rotated)
}

/// Step one: the new key, beside the old one.
fn stage(layout: &Layout, random: &Random) -> Result<MasterKey> {
    let bytes = zeroize::Zeroizing::new(random.bytes::<KEY_LEN>());
    let path = layout.next_master_key();
    write_file(&path, &bytes[..], 0o600)?;
    adopt(&path)?;
    Ok(MasterKey::from_bytes(bytes))
}

/// Step two: everything under the new key, in one transaction, with its entry.
async fn commit(
    store: &Store,
    (old, new): (&MasterKey, &MasterKey),
    (actor, random): (&Actor, &Random),
    places: Vec<Sealed>,
    end_sessions: impl FnOnce(&Transaction) -> Result<usize> + Send + 'static,
) -> Result<Rotated> {
    let (old, new, random, at) = (old.clone(), new.clone(), random.clone(), store.clock().now());
    let change = move |tx: &Transaction| {
        store::all_known(tx, &places)?;
        let mut rotated = Rotated::default();
        for place in &places {
            let count = store::seal_anew(tx, place, (&old, &new), &random)?;
            *rotated.sealed_anew.entry(place.table).or_default() += count;
        }
        keyring::keep_lasting(tx, (&old, &new), &random, at)?;
        rotated.sessions_ended = end_sessions(tx)?;
        let entry = Entry::event("key.master-rotated", &json!(rotated)).on("key", "master");
        Ok((entry, rotated))
    };
    store.change(actor, change).await
}

/// Step three: the new key in the place of the old one.
fn install(layout: &Layout) -> Result<()> {
    fs::rename(layout.next_master_key(), layout.master_key())?;
    sync_folder(&layout.manager())?;
    Ok(())
}

/// Where the key was found that opens config.db.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Where it was looked for first.
    First,
    /// A rotation was cut short between its commit and its end.
    Next,
    /// A rotation replaced a key that systemd still hands out.
    File,
}

/// The master key that opens config.db, with the keys that outlived the ones before it; `first` is the one that was found
/// as [`MasterKey::find_or_make`] says. Finishes a rotation that was cut short, or forgets one that came to nothing.
///
/// # Errors
/// [`Error::Unavailable`] when no key does; any from the file system and the database.
pub fn settle(layout: &Layout, connection: &Connection, first: MasterKey) -> Result<MasterKey> {
    let (place, key) = that_opens(layout, connection, first)?;
    match place {
        Place::First => forget(&layout.next_master_key())?,
        Place::Next => {
            tracing::warn!("a rotation of the master key was cut short; finishing it");
            install(layout)?;
        }
        Place::File => {
            tracing::warn!(
                "systemd still hands out the master key of before its rotation: seal {} as its credential, \
                 then remove that file",
                layout.master_key().display()
            );
            forget(&layout.next_master_key())?;
        }
    }
    keyring::with_lasting(connection, &key)
}

/// As [`settle`], with the key that is found where this process would find it.
///
/// # Errors
/// As [`settle`].
pub fn settle_here(layout: &Layout, connection: &Connection, random: &Random) -> Result<MasterKey> {
    let first = MasterKey::find_or_make(layout, credentials_directory().as_deref(), random)?;
    settle(layout, connection, first)
}

/// As [`settle_here`], beside an appliance that may run: it finishes nothing.
///
/// # Errors
/// As [`settle`].
pub fn find(layout: &Layout, connection: &Connection, random: &Random) -> Result<MasterKey> {
    let first = MasterKey::find_or_make(layout, credentials_directory().as_deref(), random)?;
    let (_, key) = that_opens(layout, connection, first)?;
    keyring::with_lasting(connection, &key)
}

fn that_opens(layout: &Layout, connection: &Connection, first: MasterKey) -> Result<(Place, MasterKey)> {
    if keyring::opens(connection, &first)? {
        return Ok((Place::First, first));
    }
    for (place, path) in [(Place::Next, layout.next_master_key()), (Place::File, layout.master_key())] {
        if path.exists() {
            let key = master::read(&path)?;
            if keyring::opens(connection, &key)? {
                return Ok((place, key));
            }
        }
    }
    Err(Error::Unavailable(format!(
        "no master key that is here opens {}: bring back the one that closed its secrets, or restore a backup",
        layout.config_db().display()
    )))
}

fn forget(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}
