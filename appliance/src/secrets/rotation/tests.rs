//! A rotation, whole and cut short after each of its steps.

use std::os::unix::fs::PermissionsExt as _;

use zeroize::Zeroizing;

use super::*;
use crate::app::sealed;
use crate::clock::{Clock, Timestamp};
use crate::identity::sessions::end_everyones;
use crate::sqlite::Opening;

const USER: &str = "01932f8e-7a10-7c41-9b2e-000000000001";
const SECRET: &[u8] = b"what only the master key opens";

/// An appliance's files, with a secret in each place.
struct World {
    _root: tempfile::TempDir,
    layout: Layout,
    store: Store,
    key: MasterKey,
}

impl World {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        layout.create().unwrap();
        let random = Random::seeded(1);
        let key = MasterKey::find_or_make(&layout, None, &random).unwrap();
        let store = Store::open(&layout.config_db(), Opening::Owner, Clock::fixed(Timestamp::EPOCH)).unwrap();
        let sealing = key.clone();
        let fill = move |tx: &Transaction| {
            tx.execute_batch(&format!(
                "INSERT INTO user (id, name, created_at) VALUES ('{USER}', 'ada', 0);
                 INSERT INTO session (id_hash, user, created_at, last_seen, expires_at, source, agent)
                   VALUES (x'01', '{USER}', 0, 0, 9, '', '');
                 INSERT INTO totp (user, sealed) VALUES ('{USER}', x'');
                 INSERT INTO oidc_provider (id, name, settings, sealed, created_at, updated_at)
                   VALUES ('{USER}', 'p', '', x'', 0, 0);
                 INSERT INTO receiver (id, name, kind, address, shown, body, sealed, created_at, updated_at)
                   VALUES ('{USER}', 'r', 'webhook', '', '', 'json', x'', 0, 0),
                          ('without', 'n', 'syslog-udp', '', '', 'json', NULL, 0, 0);"
            ))?;
            for Sealed { table, key, column, identity } in sealed() {
                if table == "sealed_key" {
                    keyring::keep(tx, &sealing, &random, ("scanner-ca", SECRET), Timestamp::EPOCH)?;
                } else {
                    let closed = sealing.seal(&identity(USER), SECRET, &random);
                    let sql = format!("UPDATE {table} SET {column} = ? WHERE {key} = ?");
                    assert_eq!(tx.execute(&sql, (closed, USER))?, 1, "{table}");
                }
            }
            Ok((Entry::event("x.y", &()), ()))
        };
        store.change(&Actor::system("manager"), fill).await.unwrap();
        Self { _root: root, layout, store, key }
    }

    fn actor() -> Actor {
        Actor::cli("admin")
    }

    async fn rotate(&self, old: &MasterKey) -> Result<Rotated> {
        let by = (&Self::actor(), &Random::system());
        rotate(&self.layout, &self.store, old, by, sealed(), end_everyones).await
    }

    /// What the next start finds.
    async fn started(&self) -> Result<MasterKey> {
        self.started_with(MasterKey::find_or_make(&self.layout, None, &Random::system()).unwrap()).await
    }

    async fn started_with(&self, first: MasterKey) -> Result<MasterKey> {
        let layout = self.layout.clone();
        let found = self.store.read(move |db| settle(&layout, db, first)).await?;
        assert!(!self.layout.next_master_key().exists(), "one key is left");
        Ok(found)
    }

    /// Whether this key opens every secret there is.
    async fn opens_all(&self, key: &MasterKey) -> bool {
        let key = key.clone();
        let read = move |db: &Connection| {
            let mut opened = true;
            for Sealed { table, key: name, column, identity } in sealed() {
                let sql = format!("SELECT {name}, {column} FROM {table} WHERE {column} IS NOT NULL");
                let none: [u8; 0] = [];
                let found = crate::listing::rows(db, &sql, none, |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
                })?;
                assert!(!found.is_empty(), "{table}");
                opened &= found.iter().all(|(name, closed)| key.open(&identity(name), closed).is_ok());
            }
            Ok(opened)
        };
        self.store.read(read).await.unwrap()
    }

    async fn sessions(&self) -> i64 {
        let count = |db: &Connection| Ok(db.query_row("SELECT count(*) FROM session", [], |row| row.get(0))?);
        self.store.read(count).await.unwrap()
    }
}

#[tokio::test]
async fn everything_is_under_the_new_key_and_what_others_keep_goes_on() {
    let world = World::new().await;
    let rotated = world.rotate(&world.key).await.unwrap();
    assert_eq!(rotated.sealed_anew["totp"], 1);
    assert_eq!((rotated.sealed_anew["receiver"], rotated.sessions_ended), (1, 1));
    let new = world.started().await.unwrap();
    assert!(world.opens_all(&new).await && !world.opens_all(&world.key).await);
    assert_ne!(new.derive("session"), world.key.derive("session"));
    for label in crate::secrets::LASTING {
        assert_eq!(new.derive(label), world.key.derive(label), "{label}");
    }
    assert_eq!(world.sessions().await, 0);
    assert_eq!(fs::metadata(world.layout.master_key()).unwrap().permissions().mode() & 0o777, 0o600);
    let entry = world.store.read(|db| {
        let last = "SELECT entry FROM audit_entry ORDER BY seq DESC LIMIT 1";
        Ok(db.query_row(last, [], |row| row.get::<_, String>(0))?)
    });
    let entry = entry.await.unwrap();
    assert!(entry.contains("key.master-rotated") && entry.contains("\"kind\":\"cli\""), "{entry}");

    // And once more: what outlived one rotation outlives the next.
    world.rotate(&new).await.unwrap();
    let newest = world.started().await.unwrap();
    assert!(world.opens_all(&newest).await && !world.opens_all(&new).await);
    assert_eq!(newest.derive("audit-checkpoint"), world.key.derive("audit-checkpoint"));
}

#[tokio::test]
async fn killed_before_the_commit_the_old_key_counts() {
    let world = World::new().await;
    stage(&world.layout, &Random::system()).unwrap();
    assert!(world.layout.next_master_key().exists());
    let found = world.started().await.unwrap();
    assert!(world.opens_all(&found).await);
    assert_eq!((found.derive("session"), world.sessions().await), (world.key.derive("session"), 1));
}

#[tokio::test]
async fn killed_after_the_commit_the_new_key_counts() {
    let world = World::new().await;
    let (random, actor) = (Random::system(), World::actor());
    let new = stage(&world.layout, &random).unwrap();
    let keys = (&world.key, &new);
    commit(&world.store, keys, (&actor, &random), sealed(), end_everyones).await.unwrap();
    // Who only looks finds it, and changes nothing.
    let layout = world.layout.clone();
    let looked = world.store.read(move |db| find(&layout, db, &Random::system())).await.unwrap();
    assert_eq!(looked.derive("session"), new.derive("session"));
    assert!(world.layout.next_master_key().exists());

    let found = world.started().await.unwrap();
    assert!(world.opens_all(&found).await);
    assert_eq!(found.derive("session"), new.derive("session"));
    // The start has finished it: the next one finds nothing to do.
    let again = world.started().await.unwrap();
    assert_eq!(again.derive("session"), new.derive("session"));
}

#[tokio::test]
async fn a_secret_that_does_not_open_stops_it_before_anything_is_changed() {
    let world = World::new().await;
    let bend = |tx: &Transaction| {
        tx.execute("UPDATE totp SET sealed = x'0102'", [])?;
        Ok((Entry::event("x.y", &()), ()))
    };
    world.store.change(&World::actor(), bend).await.unwrap();
    let head = world.store.audit_head().await.unwrap();
    let refused = world.rotate(&world.key).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("totp/{USER}/sealed")), "{refused}");
    assert!(!world.layout.next_master_key().exists());
    assert_eq!(world.store.audit_head().await.unwrap(), head);
    assert_eq!(world.started().await.unwrap().derive("session"), world.key.derive("session"));
}

#[tokio::test]
async fn a_credential_of_before_the_rotation_gives_way_to_the_file() {
    let world = World::new().await;
    world.rotate(&world.key).await.unwrap();
    let found = world.started_with(world.key.clone()).await.unwrap();
    assert!(world.opens_all(&found).await);
    let stranger = MasterKey::from_bytes(Zeroizing::new([9; KEY_LEN]));
    fs::write(world.layout.master_key(), [8; KEY_LEN]).unwrap();
    let refused = world.started_with(stranger).await.unwrap_err().to_string();
    assert!(refused.contains("no master key that is here opens"), "{refused}");
}

#[tokio::test]
async fn no_sealed_column_is_forgotten() {
    let world = World::new().await;
    let known: Vec<Sealed> = sealed().into_iter().filter(|place| place.table != "receiver").collect();
    let by = (&World::actor(), &Random::system());
    let refused = rotate(&world.layout, &world.store, &world.key, by, known, end_everyones).await;
    assert!(refused.unwrap_err().to_string().contains("receiver has secrets"));
}
