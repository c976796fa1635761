//! The key that signs statements: made once, and renewed by the administrator of the machine.

use rusqlite::Transaction;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Statements, jwt};
use crate::audit::{Actor, Entry};
use crate::error::Result;
use crate::ids::Random;
use crate::secrets::signing::StatementKey;
use crate::secrets::{MasterKey, keyring};
use crate::store::Store;

/// The name under which the key is sealed.
const KEY: &str = "statement-signing";

impl Statements {
    /// Finds the key, or makes it, with its entry: to be called once, before anything is answered.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn ready(&self) -> Result<()> {
        self.key().await.map(drop)
    }

    pub(super) async fn key(&self) -> Result<&StatementKey> {
        self.key.get_or_try_init(|| self.find_or_make()).await
    }

    async fn find_or_make(&self) -> Result<StatementKey> {
        let (master, random, at) =
            (self.parts.master.clone(), self.parts.random.clone(), self.parts.clock.now());
        let change = move |tx: &Transaction| {
            if let Some(bytes) = keyring::find(tx, &master, KEY)? {
                return Ok((vec![], StatementKey::unsealed(&bytes)?));
            }
            let (key, bytes) = StatementKey::make(&random);
            keyring::keep(tx, &master, &random, (KEY, &bytes[..]), at)?;
            let detail = json!({ "purpose": KEY, "public": jwt::public_jwk(&key.public()) });
            Ok((vec![Entry::event("key.made", &detail).on("key", KEY)], key))
        };
        self.parts.store.changes(&Actor::system("manager"), change).await
    }
}

/// A renewal that was done: the public keys, as JWKs.
#[derive(Clone, Debug, Serialize)]
pub struct Renewed {
    /// The one that signed until now; null if there was none.
    pub old: Value,
    /// The one that signs from the next start on.
    pub new: Value,
}

/// Puts a new key in the place of the one that signs statements. What the old one signed holds no more here; whoever checks
/// offline takes it until its end, or until they fetch the new key. The manager must not run: it has the old one in memory.
///
/// # Errors
/// Any from the database.
pub async fn renew(store: &Store, master: &MasterKey, random: &Random, actor: &Actor) -> Result<Renewed> {
    let (master, random, at) = (master.clone(), random.clone(), store.clock().now());
    let change = move |tx: &Transaction| {
        let old = keyring::find(tx, &master, KEY)?.map(|bytes| StatementKey::unsealed(&bytes)).transpose()?;
        let (key, bytes) = StatementKey::make(&random);
        keyring::keep(tx, &master, &random, (KEY, &bytes[..]), at)?;
        let renewed = Renewed {
            old: old.map_or(Value::Null, |old| jwt::public_jwk(&old.public())),
            new: jwt::public_jwk(&key.public()),
        };
        Ok((Entry::event("key.statement-renewed", &renewed).on("key", KEY), renewed))
    };
    store.change(actor, change).await
}
