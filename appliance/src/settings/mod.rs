//! Settings: what is decided once for the whole appliance. Each group of them is one type, and one row of JSON in the
//! table `setting`; the room that it belongs to has its page.

mod store;

use crate::audit::{Actor, Entry};
use crate::error::Result;
use crate::noun::{self, Refusals};
use crate::store::Store;
use rusqlite::{Connection, Transaction};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A group of settings. What it was never set to is its default.
pub trait Setting: Serialize + DeserializeOwned + Default + PartialEq + Send + 'static {
    /// Its name in the table and in the audit.
    const NAME: &'static str;

    /// Refuses what makes no sense.
    fn check(&self, refusals: &mut Refusals);
}

/// A group of settings as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Current<S> {
    /// What holds.
    #[serde(flatten)]
    pub value: S,
    /// Counts its changes; 0 while it was never changed.
    pub version: i64,
}

/// A group of settings, for the transactions of other rooms.
///
/// # Errors
/// Any from the database; `Internal` where the row holds something else.
pub fn current<S: Setting>(db: &Connection) -> Result<Current<S>> {
    match store::find(db, S::NAME)? {
        Some((text, version)) => Ok(Current { value: serde_json::from_str(&text)?, version }),
        None => Ok(Current { value: S::default(), version: 0 }),
    }
}

/// Changes a group of settings that was read as `version`.
///
/// # Errors
/// `Invalid` on what [`Setting::check`] refuses; `Stale`; any from the database.
pub async fn change<S: Setting>(
    store: &Store,
    actor: &Actor,
    version: Option<i64>,
    value: S,
) -> Result<Current<S>> {
    store.changes(actor, move |tx| change_in(tx, version, value)).await
}

/// As [`change`], in the transaction of who has more to say about it.
///
/// # Errors
/// As [`change`].
pub fn change_in<S: Setting>(
    tx: &Transaction,
    version: Option<i64>,
    value: S,
) -> Result<(Vec<Entry>, Current<S>)> {
    let mut refusals = Refusals::new();
    value.check(&mut refusals);
    refusals.end()?;
    let before = current::<S>(tx)?;
    if version.is_some() && before.value == value {
        return Ok((vec![], before));
    }
    noun::based_on(version, before.version)?;
    store::keep(tx, S::NAME, &serde_json::to_string(&value)?)?;
    let entry = Entry::updated("setting", S::NAME, &before.value, &value);
    Ok((vec![entry], Current { value, version: before.version + 1 }))
}
