//! Every key that the manager makes at first start and finds again at the next.

use std::sync::Arc;

use serde_json::json;

use super::{Ca, UiCertificate};
use crate::audit::{Actor, Entry};
use crate::error::{Error, Result};
use crate::ids::Random;
use crate::layout::Layout;
use crate::secrets::signing::JobKey;
use crate::secrets::{MasterKey, keyring};
use crate::store::Store;

const CA: &str = "scanner-ca";
const UI: &str = "ui-certificate";

/// The manager's keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Knows the scanners.
    pub ca: Arc<Ca>,
    /// Serves the web pages.
    pub ui: Arc<UiCertificate>,
    /// Signs jobs; the dispatcher reads it from its file.
    pub job: JobKey,
}

impl Keys {
    /// Finds the keys, and makes those that are missing, each with its entry in the audit. The files of ingest
    /// and dispatcher are written when they are not there. `names` are host names and addresses for the web
    /// pages' certificate beside the loopback ones.
    ///
    /// # Errors
    /// When a key does not open (another master key), a name is impossible, or a file cannot be written.
    pub async fn find_or_make(
        store: &Store,
        layout: &Layout,
        master: &MasterKey,
        random: &Random,
        names: &[String],
    ) -> Result<Self> {
        let ca = find_or_make_ca(store, master, random).await?;
        let ui = find_or_make_ui(store, master, random, names).await?;
        let (job, made) = JobKey::load_or_make(&layout.job_signing_key(), random)?;
        if made {
            let public = portolan_scanner::wire::base64::encode(&job.public());
            let entry = Entry::created("key", "job-signing", &json!({ "public_key": public }));
            store.change(&Actor::system("manager"), move |_| Ok((entry, ()))).await?;
        }
        if ca.provide_ingest(layout)? {
            let entry = Entry::event("key.ingest-leaf-issued", &json!({ "ca": ca.fingerprint() }));
            store.change(&Actor::system("manager"), move |_| Ok((entry, ()))).await?;
        }
        Ok(Self { ca: Arc::new(ca), ui: Arc::new(ui), job })
    }
}

/// The pages' certificate as it is kept now; `None` before there is one.
///
/// # Errors
/// When it does not open.
pub async fn kept_ui(store: &Store, master: &MasterKey) -> Result<Option<UiCertificate>> {
    kept(store, master, UI).await?.map(|bytes| UiCertificate::from_json(&bytes)).transpose()
}

async fn find_or_make_ca(store: &Store, master: &MasterKey, random: &Random) -> Result<Ca> {
    if let Some(pem) = kept(store, master, CA).await? {
        return Ca::from_pem(std::str::from_utf8(&pem).map_err(Error::internal)?, random);
    }
    let ca = Ca::make(random)?;
    let entry = Entry::created("key", CA, &json!({ "sha256": ca.fingerprint(), "pin": ca.pin() }));
    keep(store, master, random, (CA, ca.to_pem().as_bytes()), entry).await?;
    Ok(ca)
}

async fn find_or_make_ui(
    store: &Store,
    master: &MasterKey,
    random: &Random,
    names: &[String],
) -> Result<UiCertificate> {
    let found = kept_ui(store, master).await?;
    let (made, entry) = match found {
        None => {
            let made = UiCertificate::make(names, random)?;
            let entry = Entry::created("key", UI, &shown(&made)?);
            (made, entry)
        }
        Some(found) => {
            let Some(wider) = found.covering(names, random)? else { return Ok(found) };
            let entry = Entry::updated("key", UI, &shown(&found)?, &shown(&wider)?);
            (wider, entry)
        }
    };
    keep(store, master, random, (UI, &made.to_json()?), entry).await?;
    Ok(made)
}

fn shown(certificate: &UiCertificate) -> Result<serde_json::Value> {
    let names: Vec<&str> = certificate.names().collect();
    Ok(json!({ "names": names, "sha256": certificate.fingerprint()?, "pin": certificate.pin()? }))
}

async fn kept(
    store: &Store,
    master: &MasterKey,
    name: &'static str,
) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>> {
    let master = master.clone();
    store.read(move |c| keyring::find(c, &master, name)).await
}

async fn keep(
    store: &Store,
    master: &MasterKey,
    random: &Random,
    (name, secret): (&'static str, &[u8]),
    entry: Entry,
) -> Result<()> {
    let (master, random, at) = (master.clone(), random.clone(), store.clock().now());
    let secret = zeroize::Zeroizing::new(secret.to_vec());
    store
        .change(&Actor::system("manager"), move |tx| {
            keyring::keep(tx, &master, &random, (name, &secret), at)?;
            Ok((entry, ()))
        })
        .await
}

/// This machine's host name, as the kernel says; `None` when it has none that could stand in a certificate.
#[must_use]
pub fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_ascii_lowercase();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    (!name.is_empty() && name != "(none)" && name.chars().all(fits)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit;
    use crate::clock::{Clock, Timestamp};

    #[tokio::test]
    async fn keys_are_made_once_with_entries_and_found_again() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        layout.create().unwrap();
        let random = Random::system();
        let master = MasterKey::find_or_make(&layout, None, &random).unwrap();
        let store = Store::in_memory(Clock::fixed(Timestamp::EPOCH)).unwrap();
        let first = Keys::find_or_make(&store, &layout, &master, &random, &[]).await.unwrap();
        let entries = store.audit_head().await.unwrap().seq;
        assert_eq!(entries, 4);
        let next = Keys::find_or_make(&store, &layout, &master, &random, &[]).await.unwrap();
        assert_eq!(store.audit_head().await.unwrap().seq, entries);
        assert_eq!(first.ca.fingerprint(), next.ca.fingerprint());
        assert_eq!(first.ui.fingerprint().unwrap(), next.ui.fingerprint().unwrap());
        assert_eq!(first.job.public(), next.job.public());
        let wider =
            Keys::find_or_make(&store, &layout, &master, &random, &["a.example".into()]).await.unwrap();
        assert_eq!(wider.ui.pin().unwrap(), first.ui.pin().unwrap());
        let text: String = store
            .read(|c| {
                audit::store::verify(c, None)?.unwrap();
                Ok(c.query_row("SELECT group_concat(entry) FROM audit_entry", [], |r| r.get(0))?)
            })
            .await
            .unwrap();
        assert!(text.contains("a.example") && !text.contains("PRIVATE"), "{text}");
    }
}
