//! The keys by which results are believed: read from config.db, which ingest cannot touch.

use std::sync::Arc;

use super::loader::KeyOf;
use crate::fleet::public_keys;
use crate::store::Store;

/// Looks scanners up in config.db, each time anew.
#[must_use]
pub fn from(store: Store) -> KeyOf {
    Arc::new(move |scanner| {
        let store = store.clone();
        Box::pin(async move { Ok(store.read(public_keys).await?.get(&scanner).copied()) })
    })
}

#[cfg(test)]
mod test {
    use portolan_scanner::wire::base64;

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
