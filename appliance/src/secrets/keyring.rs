//! Keys that the appliance made for itself, kept in config.db, closed by the master key.

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use zeroize::Zeroizing;

use super::rotation::Sealed;
use super::{KEY_LEN, LASTING, MasterKey};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::Random;

/// Where these keys lie.
pub const SEALED: Sealed = Sealed { table: "sealed_key", key: "name", column: "sealed", identity };

fn identity(name: &str) -> String {
    format!("sealed_key/{name}")
}

/// Under which name the key of a label is kept that outlived its master key.
fn lasting(label: &str) -> String {
    format!("derived/{label}")
}

/// Whether this master key closed what is kept; also when nothing is.
///
/// # Errors
/// Any from the database.
pub fn opens(connection: &Connection, master: &MasterKey) -> Result<bool> {
    let first = "SELECT name, sealed FROM sealed_key ORDER BY name LIMIT 1";
    let first = connection
        .query_row(first, [], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()?;
    Ok(first.is_none_or(|(name, sealed)| master.open(&identity(&name), &sealed).is_ok()))
}

/// The master key, with the keys that outlived the ones before it.
///
/// # Errors
/// Any from the database; or one of them does not open.
pub fn with_lasting(connection: &Connection, master: &MasterKey) -> Result<MasterKey> {
    let mut found = Vec::new();
    for label in LASTING {
        if let Some(bytes) = find(connection, master, &lasting(label))? {
            let key: [u8; KEY_LEN] = bytes[..].try_into().map_err(Error::internal)?;
            found.push((label, Zeroizing::new(key)));
        }
    }
    Ok(master.with_lasting(found))
}

/// Keeps the keys that outlive `old`, closed by `new`.
///
/// # Errors
/// Any from the database.
pub fn keep_lasting(
    tx: &Transaction,
    (old, new): (&MasterKey, &MasterKey),
    random: &Random,
    at: Timestamp,
) -> Result<()> {
    for label in LASTING {
        keep(tx, new, random, (&lasting(label), &old.derive(label)[..]), at)?;
    }
    Ok(())
}

/// Puts a key in the place of the one that the master key gives this label, one of [`LASTING`]; the next
/// [`with_lasting`] finds it.
///
/// # Errors
/// Any from the database.
pub fn renew_lasting(
    tx: &Transaction,
    master: &MasterKey,
    random: &Random,
    (label, key): (&str, &[u8; KEY_LEN]),
    at: Timestamp,
) -> Result<()> {
    keep(tx, master, random, (&lasting(label), key), at)
}

/// The secret kept under this name, opened.
///
/// # Errors
/// Any from the database; or it does not open.
pub fn find(connection: &Connection, master: &MasterKey, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let sealed = connection
        .query_row("SELECT sealed FROM sealed_key WHERE name = ?", [name], |row| row.get::<_, Vec<u8>>(0))
        .optional()?;
    Ok(sealed.map(|sealed| master.open(&identity(name), &sealed)).transpose()?)
}

/// Keeps a secret under this name, in place of an older one.
///
/// # Errors
/// Any from the database.
pub fn keep(
    tx: &Transaction,
    master: &MasterKey,
    random: &Random,
    (name, secret): (&str, &[u8]),
    at: Timestamp,
) -> Result<()> {
    let sealed = master.seal(&identity(name), secret, random);
    tx.execute(
        "INSERT INTO sealed_key (name, sealed, made_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET sealed = ?2, made_at = ?3",
        (name, sealed, at),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::{Actor, Entry};
    use crate::clock::Clock;
    use crate::store::Store;

    #[tokio::test]
    async fn a_kept_secret_is_found_and_is_not_in_the_file_in_the_clear() {
        let store = Store::in_memory(Clock::fixed(Timestamp::EPOCH)).unwrap();
        let master = MasterKey::from_bytes(Zeroizing::new([1; 32]));
        let (keeper, finder) = (master.clone(), master);
        let manager = Actor::system("manager");
        let kept = store.change(&manager, move |tx| {
            for secret in ["old secret", "the secret"] {
                keep(tx, &keeper, &Random::seeded(1), ("ca", secret.as_bytes()), Timestamp::EPOCH)?;
            }
            Ok((Entry::event("key.made", &json!(null)), ()))
        });
        kept.await.unwrap();
        let (found, raw, none) = store
            .read(move |c| {
                let raw: Vec<u8> = c.query_row("SELECT sealed FROM sealed_key", [], |r| r.get(0))?;
                Ok((find(c, &finder, "ca")?, raw, find(c, &finder, "other")?))
            })
            .await
            .unwrap();
        assert_eq!(&found.unwrap()[..], b"the secret");
        assert!(none.is_none());
        assert!(!raw.windows(6).any(|w| w == b"secret"));
    }
}
