//! The keys by which results are believed: read from config.db, which ingest cannot touch.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_scanner::wire::{Id, base64};
use rusqlite::Connection;

use super::loader::KeyOf;
use crate::error::{Error, Result};
use crate::store::Store;

/// The Ed25519 public key of every scanner that ever enrolled. A revoked scanner is among them: what it delivered
/// before stays believed, and ingest takes nothing more from it.
///
/// # Errors
/// When the database fails, or holds what is not a key.
pub fn scanners(db: &Connection) -> Result<BTreeMap<Id, [u8; 32]>> {
    let mut statement = db.prepare("SELECT id, public_key FROM scanner WHERE public_key IS NOT NULL")?;
    let mut rows = statement.query([])?;
    let mut keys = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (id, key): (String, String) = (row.get(0)?, row.get(1)?);
        let not_one = |_| Error::internal(format!("scanner {id}: not a public key in config.db"));
        let key = base64::decode_array(&key).map_err(not_one)?;
        keys.insert(id.parse().map_err(Error::internal)?, key);
    }
    Ok(keys)
}

/// Looks scanners up in config.db, each time anew.
#[must_use]
pub fn from(store: Store) -> KeyOf {
    Arc::new(move |scanner| {
        let (store, id) = (store.clone(), Id::from_bytes(*scanner.as_bytes()));
        Box::pin(async move { Ok(store.read(scanners).await?.get(&id).copied()) })
    })
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::results::fixture::{public, uuid};

    #[tokio::test]
    async fn who_never_enrolled_has_no_key_and_who_was_revoked_keeps_it() {
        let store = Store::in_memory(Clock::fixed(Timestamp::EPOCH)).unwrap();
        let (key, three, four) = (base64::encode(&public(3)), uuid(3).to_string(), uuid(4).to_string());
        store
            .change(&crate::audit::Actor::system("test"), move |tx| {
                tx.execute("INSERT INTO vantage (id, name, created_at, updated_at) VALUES ('v', 'v', 0, 0)", [])?;
                tx.execute(
                    "INSERT INTO scanner (id, name, vantage, public_key, certificate_sha256, api_key_sha256, created_at, updated_at,
                       enrolled_at, revoked_at) VALUES (?, 'a', 'v', ?, 'c', 'k', 0, 0, 1, 2)",
                    [three, key],
                )?;
                tx.execute("INSERT INTO scanner (id, name, vantage, created_at, updated_at) VALUES (?, 'b', 'v', 0, 0)", [four])?;
                Ok((crate::audit::Entry::event("test", &serde_json::json!({})), ()))
            })
            .await
            .unwrap();
        let key_of = from(store);
        assert_eq!(key_of(uuid(3)).await.unwrap(), Some(public(3)));
        assert_eq!(key_of(uuid(4)).await.unwrap(), None);
        assert_eq!(key_of(uuid(5)).await.unwrap(), None);
    }
}
