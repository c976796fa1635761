//! Whether what a key answered proves anything.

use super::webauthn::{self, Signed};
use super::wire::Answered;
use super::{Credential, Kept, Site, bytes, challenge_in};
use crate::audit::{Entry, Outcome};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::identity::factors::{Factors, store};
use crate::web::Call;
use rusqlite::Transaction;
use serde_json::json;
use uuid::Uuid;

/// What is said of a key that nobody has.
const UNKNOWN: &str = "is not known here";

/// What a key is asked for.
pub(super) struct Purpose {
    /// What its challenge was given for.
    pub what: String,
    /// What the audit calls it.
    pub action: &'static str,
    /// The key must have verified its user by itself.
    pub verified: bool,
}

/// A key that proved itself, with its counter as it is now.
pub(super) struct Proof {
    pub key: Uuid,
    pub name: String,
    pub credential: Credential,
}

impl Proof {
    /// Keeps the counter, in the transaction of what the key proves.
    ///
    /// # Errors
    /// `Invalid("key")` where the key was taken away since.
    pub fn keep(&self, tx: &Transaction, alone: bool, now: Timestamp) -> Result<(), Error> {
        if store::used_key(tx, self.key, &self.credential, alone, now)? {
            return Ok(());
        }
        Err(Error::invalid("key", UNKNOWN))
    }
}

impl Factors {
    /// Judges what a key answered. A refusal is counted for its source and written down.
    pub(super) async fn judge(
        &self,
        call: &Call,
        answered: &Answered,
        kept: Option<Kept>,
        asked: &Purpose,
    ) -> Result<Proof, Error> {
        self.0.identity.0.wrong.check(call.source)?;
        let site = Site::of(call)?;
        let whose = kept.as_ref().map(|kept| kept.user);
        let why = match self.checked(&site, answered, kept, asked) {
            Ok(proof) => return Ok(proof),
            Err(why) => why,
        };
        let _ = self.0.identity.0.wrong.take(call.source);
        let id = whose.map_or_else(|| "unknown".to_owned(), |user| user.to_string());
        let detail = json!({ "method": "security-key", "why": why });
        let entry = Entry::sign_in(asked.action, &detail).on("user", id).outcome(Outcome::Refused);
        self.0.store.change(&call.actor(), move |_| Ok((entry, ()))).await?;
        Err(Error::invalid("key", why))
    }

    fn checked(
        &self,
        site: &Site,
        answered: &Answered,
        kept: Option<Kept>,
        purpose: &Purpose,
    ) -> Result<Proof, String> {
        let read = |text: &str| bytes(text).map_err(|_| webauthn::Refused::Form.to_string());
        let client_data = read(&answered.client_data)?;
        let (data, signature) = (read(&answered.authenticator_data)?, read(&answered.signature)?);
        let (now, challenge) = (self.0.clock.now(), challenge_in(&client_data));
        let old = || webauthn::Refused::Challenge.to_string();
        if !self.0.challenges.is_open(&purpose.what, &challenge, now) {
            return Err(old());
        }
        let Some(Kept { key, mut credential, .. }) = kept else {
            return Err(UNKNOWN.to_owned());
        };
        let signed = Signed { client_data: &client_data, authenticator_data: &data, signature: &signature };
        let asked = site.asked(&challenge, purpose.verified);
        let (count, _) = webauthn::sign_in(&signed, &credential.key, credential.count, &asked)
            .map_err(|refused| refused.to_string())?;
        if credential.site != site.name {
            return Err(webauthn::Refused::Site.to_string());
        }
        if !self.0.challenges.close(&challenge, now) {
            return Err(old());
        }
        credential.count = count;
        Ok(Proof { key: key.id, name: key.name, credential })
    }
}
