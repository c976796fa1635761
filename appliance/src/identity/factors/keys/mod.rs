//! Security keys: as a second factor, or alone where the key itself asks for a PIN or a finger.
//!
//! A key belongs to the name under which the site was open when it was registered (the relying party's id): browsers
//! show it to no other. They refuse addresses there, so with `https://192.0.2.1/` there are no security keys.

mod challenge;
mod judge;
pub mod routes;
#[cfg(test)]
mod tests;
mod webauthn;
mod wire;

use super::{Factors, NewCodes, Step, is_pending, no_way_around, recovery, store, without_last};
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::identity::sessions::{Checked, store as sessions};
use crate::identity::users::store as users;
use crate::identity::{SignedIn, ways};
use crate::noun::Refusals;
use crate::web::Call;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
pub(super) use challenge::Challenges;
use judge::Purpose;
use rusqlite::Transaction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::net::IpAddr;
use uuid::Uuid;
use webauthn::{Asked, PublicKey};
use wire::{Account, Algorithm, Descriptor, Party, Selection};
pub use wire::{Answered, NewKey, ToMake, ToUse};

/// The most keys one person has.
const MOST: usize = 20;

/// A security key, as pages show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Key {
    /// Its id here.
    pub id: Uuid,
    /// What its owner calls it.
    pub name: String,
    /// The name of this site that it was registered under; it works there only.
    pub site: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last signed in.
    pub last_used: Option<Timestamp>,
}

/// What is kept of a key beside its id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Credential {
    /// Its public key.
    pub key: PublicKey,
    /// Its counter of signatures.
    pub count: u32,
    /// The site's name it belongs to.
    pub site: String,
    /// How it is connected, as the browser said: a help for the next time.
    pub transports: Vec<String>,
}

/// A key as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub key: Key,
    pub user: Uuid,
    pub credential_id: Vec<u8>,
    pub credential: Credential,
}

/// This site as the browser has it open.
struct Site {
    /// The name alone.
    name: String,
    /// With scheme and port.
    origin: String,
}

impl Site {
    fn of(call: &Call) -> Result<Self, Error> {
        Self::named(&call.host)
    }

    fn named(host: &str) -> Result<Self, Error> {
        let host = host.to_ascii_lowercase();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &host,
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if name.is_empty() || bare.parse::<IpAddr>().is_ok() {
            return Err(Error::conflict(
                "browsers take security keys for a name only, not for an address: open this site by its name, \
                 or use an authenticator app",
            ));
        }
        Ok(Self { name: name.to_owned(), origin: format!("https://{host}") })
    }

    fn asked<'a>(&'a self, challenge: &'a [u8], verified: bool) -> Asked<'a> {
        Asked { challenge, origin: &self.origin, rp: &self.name, verified }
    }
}

/// What a challenge was given for: nobody can answer it in another session or to another end.
fn purpose(what: &str, call: &Call) -> String {
    let session = call.caller.session.as_ref().map_or_else(String::new, crate::identity::sessions::Held::id);
    format!("{what}/{session}")
}

/// The challenge in a browser's client data: it is checked by who made it, us.
fn challenge_in(client_data: &[u8]) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Said {
        challenge: String,
    }
    let said = serde_json::from_slice::<Said>(client_data).ok();
    said.and_then(|said| URL_SAFE_NO_PAD.decode(said.challenge).ok()).unwrap_or_default()
}

fn bytes(text: &str) -> Result<Vec<u8>, Error> {
    if text.is_empty() {
        return Err(Error::invalid("key", "did not answer: this needs JavaScript, and a touch of the key"));
    }
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| wrong(webauthn::Refused::Form))
}

fn wrong(refused: webauthn::Refused) -> Error {
    Error::invalid("key", refused.to_string())
}

impl Factors {
    /// What the caller's browser needs to make a key.
    ///
    /// # Errors
    /// `Conflict` where this site is open by address; `Prove`.
    pub async fn key_to_make(&self, call: &Call) -> Result<ToMake, Error> {
        let site = Site::of(call)?;
        let user = self.may_add(call).await?;
        let id = user.id;
        let known = self.0.store.read(move |db| store::keys(db, id)).await?;
        let challenge = self.0.challenges.make(&purpose("make", call), self.0.clock.now(), &self.0.random);
        Ok(ToMake {
            challenge: URL_SAFE_NO_PAD.encode(challenge),
            exclude_credentials: described(&known, &site.name),
            rp: Party { id: site.name, name: super::ISSUER },
            user: Account {
                id: URL_SAFE_NO_PAD.encode(user.id.as_bytes()),
                name: user.name,
                display_name: user.display,
            },
            pub_key_cred_params: webauthn::ALGORITHMS
                .into_iter()
                .map(|alg| Algorithm { r#type: "public-key", alg })
                .collect(),
            timeout: 300_000,
            authenticator_selection: Selection { resident_key: "preferred", user_verification: "preferred" },
            attestation: "none",
        })
    }

    /// Keeps a key that the caller's browser made. With the first factor come recovery codes; a session that waited
    /// for it goes on.
    ///
    /// # Errors
    /// `Invalid`.
    pub async fn add_key(&self, call: &Call, new: NewKey) -> Result<(NewCodes, Option<SignedIn>), Error> {
        let site = Site::of(call)?;
        let user = self.may_add(call).await?;
        let mut refusals = Refusals::new();
        let name = refusals.name(&new.name);
        refusals.end()?;
        let (client_data, attestation) = (bytes(&new.client_data)?, bytes(&new.attestation)?);
        let (now, challenge) = (self.0.clock.now(), challenge_in(&client_data));
        if !self.0.challenges.is_open(&purpose("make", call), &challenge, now) {
            return Err(wrong(webauthn::Refused::Challenge));
        }
        let made =
            webauthn::register(&client_data, &attestation, &site.asked(&challenge, false)).map_err(wrong)?;
        if !self.0.challenges.close(&challenge, now) {
            return Err(wrong(webauthn::Refused::Challenge));
        }
        let ways = ["usb", "nfc", "ble", "internal", "hybrid", "smart-card"];
        let said = new.transports.split(',').filter(|way| ways.contains(way)).map(str::to_owned);
        let credential =
            Credential { key: made.key, count: made.count, site: site.name, transports: said.collect() };
        let key = Key {
            id: self.0.ids.new(),
            name,
            site: credential.site.clone(),
            created_at: now,
            last_used: None,
        };
        let kept = Kept { key, user: user.id, credential_id: made.id, credential };
        let codes = recovery::make(&self.0.random);
        let hashes: Vec<[u8; 32]> = codes.iter().map(|code| self.0.codes.hash(user.id, code)).collect();
        let (step, source, own) = (self.step(call, "security-key")?, call.source, call.held()?.hash);
        let pending = is_pending(call)?;
        let change = move |tx: &Transaction| {
            no_way_around(tx, pending, user.id)?;
            if store::keys(tx, user.id)?.len() >= MOST {
                return Err(Error::conflict(format!(
                    "nobody has more than {MOST} security keys: remove one"
                )));
            }
            let first = !store::has_factor(tx, user.id)?;
            store::insert_key(tx, &kept)?;
            sessions::strengthen(tx, &own)?;
            if first {
                store::keep_codes(tx, user.id, &hashes)?;
            }
            let done = step.map(|step: Step| step.take(tx, user, source, now)).transpose()?;
            let detail = json!({ "name": kept.key.name, "site": kept.key.site });
            Ok((Entry::event("security-key.added", &detail).on("user", kept.user), (first, done)))
        };
        let (first, done) = self.0.store.change(&call.actor(), change).await?;
        Ok((NewCodes { codes: if first { codes } else { vec![] }, next: String::new() }, done))
    }

    /// What the browser needs to ask for one of the caller's keys, as the second step of signing in.
    ///
    /// # Errors
    /// `Conflict` where this site is open by address.
    pub async fn key_to_use(&self, call: &Call) -> Result<ToUse, Error> {
        let (site, allowed) = self.own_keys(call, super::waiting(call)?.id).await?;
        Ok(self.to_use(site, &purpose("second", call), allowed, "discouraged"))
    }

    /// What the browser needs to ask for any key that knows this site, to sign in with it alone. It names no key, and
    /// so tells nobody who has an account.
    ///
    /// # Errors
    /// `Conflict` where this site is open by address.
    pub fn key_alone(&self, call: &Call) -> Result<ToUse, Error> {
        Ok(self.to_use(Site::of(call)?, "alone", vec![], "required"))
    }

    fn to_use(
        &self,
        site: Site,
        purpose: &str,
        allowed: Vec<Descriptor>,
        verification: &'static str,
    ) -> ToUse {
        let challenge = self.0.challenges.make(purpose, self.0.clock.now(), &self.0.random);
        ToUse {
            challenge: URL_SAFE_NO_PAD.encode(challenge),
            rp_id: site.name,
            timeout: 300_000,
            allow_credentials: allowed,
            user_verification: verification,
        }
    }

    /// The second step of signing in, by a key.
    ///
    /// # Errors
    /// `Invalid("key")`; `RateLimited` after too many wrong ones.
    pub async fn second_by_key(&self, call: &Call, answered: &Answered) -> Result<SignedIn, Error> {
        let user = super::waiting(call)?.clone();
        let step = self.step(call, "security-key")?.ok_or(Error::SignIn)?;
        let id = user.id;
        let kept = self.find(answered).await?.filter(|kept| kept.user == id);
        let asked = Purpose { what: purpose("second", call), action: "second-factor", verified: false };
        let proof = self.judge(call, answered, kept, &asked).await?;
        let (now, source) = (self.0.clock.now(), call.source);
        let change = move |tx: &Transaction| {
            proof.keep(tx, false, now)?;
            let detail = json!({ "method": "security-key", "key": proof.name });
            let done = step.take(tx, user, source, now)?;
            Ok((Entry::sign_in("second-factor", &detail).on("user", id), done))
        };
        self.0.store.change(&call.actor(), change).await
    }

    /// Signs in by a key alone: it has verified its user by itself, which makes two factors.
    ///
    /// # Errors
    /// `Invalid("key")`; `RateLimited` after too many wrong ones.
    pub async fn sign_in_by_key(&self, call: &Call, answered: &Answered) -> Result<SignedIn, Error> {
        let kept = self.find(answered).await?;
        let whose = kept.as_ref().map(|kept| kept.user);
        // A key that says whose it is says the same as we do.
        let said = URL_SAFE_NO_PAD.decode(&answered.user_handle).unwrap_or_default();
        let kept = kept.filter(|kept| said == kept.user.as_bytes());
        let known = match whose {
            Some(user) => self.0.store.read(move |db| Ok(Some(users::known(db, user)?))).await?,
            None => None,
        };
        let known = known.filter(users::Known::may_sign_in);
        let kept = kept.filter(|_| known.is_some());
        let asked = Purpose { what: "alone".to_owned(), action: "sign-in", verified: true };
        let proof = self.judge(call, answered, kept, &asked).await?;
        let user = known.ok_or(Error::SignIn)?.user;
        let now = self.0.clock.now();
        let actor = Actor::user(user.id, user.name.clone()).seen_from(call.source);
        let (id, key) = (user.id, proof.key);
        let change = move |tx: &Transaction| {
            proof.keep(tx, true, now)?;
            Ok((Entry::sign_in("security-key.used", &json!({ "key": proof.name })).on("user", id), ()))
        };
        self.0.store.change(&actor, change).await?;
        self.0.identity.begin(call, &user, Checked::Key(key)).await
    }

    /// What the browser needs to ask for one of the caller's keys, to prove that it is still they.
    ///
    /// # Errors
    /// `Conflict` where this site is open by address, or the caller has no key for it.
    pub async fn key_to_prove(&self, call: &Call) -> Result<ToUse, Error> {
        let (site, allowed) = self.own_keys(call, call.user()?.id).await?;
        call.held()?;
        Ok(self.to_use(site, &purpose("prove", call), allowed, "required"))
    }

    /// Proves by a key that the caller is still who signed in; gives the session's new secret. The key verifies its user
    /// by itself, as it does when it signs in alone: holding it is not enough.
    ///
    /// # Errors
    /// `Invalid("key")`; `RateLimited` after too many wrong ones.
    pub async fn prove_by_key(&self, call: &Call, answered: &Answered) -> Result<String, Error> {
        let (held, id) = (call.held()?.clone(), call.user()?.id);
        let kept = self.find(answered).await?.filter(|kept| kept.user == id);
        let asked = Purpose { what: purpose("prove", call), action: "prove", verified: true };
        let proof = self.judge(call, answered, kept, &asked).await?;
        let (identity, now) = (self.0.identity.clone(), self.0.clock.now());
        let change = move |tx: &Transaction| {
            proof.keep(tx, false, now)?;
            identity.proven(tx, &held, id, &json!({ "method": "security-key", "key": proof.name }))
        };
        self.0.store.change(&call.actor(), change).await
    }

    /// This site, and the keys of a user that it knows.
    async fn own_keys(&self, call: &Call, user: Uuid) -> Result<(Site, Vec<Descriptor>), Error> {
        let site = Site::of(call)?;
        let known = self.0.store.read(move |db| store::keys(db, user)).await?;
        let allowed = described(&known, &site.name);
        if allowed.is_empty() {
            return Err(Error::conflict(format!("you have no security key for {}", site.name)));
        }
        Ok((site, allowed))
    }

    /// Removes one of the caller's keys.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when a role asks for a factor and this is the last, and when it is the last way in.
    pub async fn remove_key(&self, call: &Call, key: Uuid) -> Result<(), Error> {
        let user = self.person(call)?.id;
        let change = move |tx: &Transaction| {
            let known = store::keys(tx, user)?.into_iter().find(|kept| kept.key.id == key);
            let known = known.ok_or(Error::not_found("security key", key))?;
            let had_way = ways::any(tx, user)?;
            store::delete_key(tx, key)?;
            ways::kept(tx, user, had_way)?;
            without_last(tx, user)?;
            let detail = json!({ "name": known.key.name, "site": known.key.site });
            Ok((Entry::event("security-key.removed", &detail).on("user", user), ()))
        };
        self.0.store.change(&call.actor(), change).await
    }

    async fn find(&self, answered: &Answered) -> Result<Option<Kept>, Error> {
        let id = bytes(&answered.id)?;
        self.0.store.read(move |db| store::key_of(db, &id)).await
    }
}

fn described(keys: &[Kept], site: &str) -> Vec<Descriptor> {
    let here = keys.iter().filter(|kept| kept.credential.site == site);
    here.map(|kept| Descriptor {
        r#type: "public-key",
        id: URL_SAFE_NO_PAD.encode(&kept.credential_id),
        transports: kept.credential.transports.clone(),
    })
    .collect()
}
