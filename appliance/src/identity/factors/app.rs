//! The authenticator app: its secret, the first code of it, and how a typed code is judged.

use super::totp::{self, Judged};
use super::{Factors, ISSUER, Qr, is_pending, no_way_around, qr, recovery, store, without_last};
use crate::audit::{Entry, Outcome};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::identity::SignedIn;
use crate::identity::sessions::store as sessions;
use crate::secrets::MasterKey;
use crate::secrets::rotation::Sealed;
use crate::web::Call;
use rusqlite::Transaction;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use std::fmt::Display;
use std::time::Duration;
use uuid::Uuid;

/// How long a secret waits for its first code.
pub(super) const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Steps to come that are remembered as burnt.
const BURNT: usize = 40;

/// A secret that an app is to be given.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// It as a QR code.
    pub qr: Option<Qr>,
    /// It as text, in groups of four.
    pub secret: String,
    /// It as an address, for an app on this device.
    pub uri: String,
    /// The name that the app will show.
    pub account: String,
    /// The appliance's time: where it is not the device's, codes do not fit.
    pub now: Timestamp,
}

/// What became of a typed code.
pub(super) enum Said {
    Right,
    No(String),
}

impl Factors {
    /// Makes a secret for the caller's app; it counts once a code of it has come, within a quarter of an hour.
    ///
    /// # Errors
    /// `Forbidden` in a sign-in that waits for a factor that is there; `Conflict` when an app is set up already.
    pub async fn begin(&self, call: &Call) -> Result<(), Error> {
        let user = self.may_add(call).await?;
        let secret = self.0.random.bytes::<{ totp::SECRET_LEN }>();
        let sealed = self.0.master.seal(&place(user.id), &secret, &self.0.random);
        let (pending, now) = (is_pending(call)?, self.0.clock.now());
        let change = move |tx: &Transaction| {
            no_way_around(tx, pending, user.id)?;
            if !store::begin_totp(tx, user.id, &sealed, now)? {
                return Err(Error::conflict("an authenticator app is set up already: remove it first"));
            }
            Ok((Entry::event("totp.begun", &()).on("user", user.id), ()))
        };
        self.0.store.change(&call.actor(), change).await
    }

    /// The secret that waits for its first code; for whoever may add it, and nobody else: it is a factor soon.
    ///
    /// # Errors
    /// `NotFound` when none does; `Forbidden` in a sign-in that waits for a factor that is there.
    pub async fn shown(&self, call: &Call) -> Result<Shown, Error> {
        let user = self.may_add(call).await?;
        let id = user.id;
        let (kept, now) = (self.0.store.read(move |db| store::totp(db, id)).await?, self.0.clock.now());
        let kept = kept.filter(|kept| kept.waits(now));
        let kept = kept.ok_or(Error::not_found("authenticator app to set up", &user.name))?;
        let secret = self.0.master.open(&place(user.id), &kept.sealed)?;
        let account = format!("{}@{}", user.name, call.host);
        let uri = totp::uri(&secret, ISSUER, &account);
        let letters: Vec<char> = totp::base32(&secret).chars().collect();
        let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
        Ok(Shown { qr: qr::of(&uri), secret: groups.join(" "), uri, account, now })
    }

    /// The first code of the caller's app: from now on it is asked for. Answers the recovery codes, and the session
    /// that goes on, where this was what it waited for.
    ///
    /// # Errors
    /// `Invalid("code")`; `RateLimited` after too many wrong ones.
    pub async fn confirm(&self, call: &Call, typed: &str) -> Result<(Vec<String>, Option<SignedIn>), Error> {
        let user = self.may_add(call).await?;
        self.0.identity.0.wrong.check(call.source)?;
        let code = totp::parse(typed).ok_or_else(|| Error::invalid("code", "is six digits"))?;
        let codes = recovery::make(&self.0.random);
        let hashes: Vec<[u8; 32]> = codes.iter().map(|code| self.0.codes.hash(user.id, code)).collect();
        let (now, master) = (self.0.clock.now(), self.0.master.clone());
        let (step, source, own) = (self.step(call, "totp")?, call.source, call.held()?.hash);
        let pending = is_pending(call)?;
        let change = move |tx: &Transaction| {
            no_way_around(tx, pending, user.id)?;
            let kept = store::totp(tx, user.id)?.filter(|kept| kept.waits(now));
            let kept = kept.ok_or(Error::not_found("authenticator app to set up", user.id))?;
            let (said, detail) = judged(tx, user.id, &kept, &master, code, now)?;
            let entry = Entry::event("totp.confirmed", &detail).on("user", user.id);
            if let Said::No(why) = said {
                return Ok((entry.outcome(Outcome::Refused), Err(why)));
            }
            store::confirm_totp(tx, user.id, now)?;
            store::keep_codes(tx, user.id, &hashes)?;
            // Who just gave a code of it need not give another for the session that goes on.
            sessions::strengthen(tx, &own)?;
            let done = step.map(|step| step.take(tx, user, source, now)).transpose()?;
            Ok((entry, Ok(done)))
        };
        match self.0.store.change(&call.actor(), change).await? {
            Ok(done) => Ok((codes, done)),
            Err(why) => Err(self.refused(call, why)),
        }
    }

    /// Removes the caller's app; without any other factor, the recovery codes go with it.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Conflict` when a role asks for a factor and this is the last.
    pub async fn remove_app(&self, call: &Call) -> Result<(), Error> {
        let user = self.person(call)?.id;
        let change = move |tx: &Transaction| {
            if !store::delete_totp(tx, user)? {
                return Err(Error::not_found("authenticator app", user));
            }
            without_last(tx, user)?;
            Ok((Entry::event("totp.removed", &()).on("user", user), ()))
        };
        self.0.store.change(&call.actor(), change).await
    }
}

/// Where the secrets of authenticator apps lie.
pub const SEALED: Sealed =
    Sealed { table: "totp", key: "user", column: "sealed", identity: |user| place(user) };

fn place(user: impl Display) -> String {
    format!("totp/{user}/sealed")
}

/// Judges a code and keeps what follows from it; the second is what the audit is told.
pub(super) fn judged(
    tx: &Transaction,
    user: Uuid,
    kept: &store::Totp,
    master: &MasterKey,
    code: u32,
    now: Timestamp,
) -> Result<(Said, serde_json::Value), Error> {
    let secret = master.open(&place(user), &kept.sealed)?;
    Ok(match totp::judge(&secret, code, now.seconds(), kept.last_step, &kept.burnt) {
        Judged::Right { step, away } => {
            store::use_step(tx, user, step, away, now)?;
            (Said::Right, json!({}))
        }
        Judged::Used => (Said::No("was used already: wait for the next one".into()), json!({ "used": true })),
        Judged::Drifted { step, away } => {
            // Whoever is told that a code of a time to come fits could wait for that time: it is not taken then.
            let past = totp::step(now.seconds()) - totp::WINDOW;
            let ahead = kept.burnt.iter().copied().filter(|burnt| *burnt >= past);
            let burnt: Vec<i64> = ahead.chain((away > 0).then_some(step)).take(BURNT).collect();
            store::note_drift(tx, user, away, &burnt, now)?;
            let seconds = away * totp::STEP;
            (Said::No(drift_words(seconds, now)), json!({ "device_ahead_s": seconds }))
        }
        Judged::Wrong => {
            let why = "is not the code that the app shows now, or the clocks differ by more than ten minutes";
            (Said::No(format!("{why}: here it is {}", clock_words(now))), json!({}))
        }
    })
}

fn drift_words(ahead_s: i64, now: Timestamp) -> String {
    let (seconds, side) = (ahead_s.abs(), if ahead_s > 0 { "ahead of" } else { "behind" });
    format!(
        "fits another time: the clock of your device is about {seconds} s {side} the appliance's, where it is {}. \
         Set the one that is wrong, or ask an administrator",
        clock_words(now)
    )
}

fn clock_words(now: Timestamp) -> String {
    format!("{} UTC", &now.to_string()[11..19])
}
