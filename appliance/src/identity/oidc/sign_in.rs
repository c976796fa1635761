//! A sign-in by a provider: the way there, the way back, and which account it is.

use super::claims::Person;
use super::flow::{self, Errand, Trip};
use super::settle::{Settled, changed, settle};
use super::{Oidc, Provider, back_to, client, place, sessions, store};
use crate::audit::{Actor, Entry, Outcome};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::identity::SignedIn;
use crate::identity::sessions::{Checked, Vouched};
use crate::identity::users::store as users;
use crate::secrets::sha256;
use crate::web::Call;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Transaction;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// How long the way there and back may take.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// What the trip is sealed as.
const TRIP: &str = "oidc/trip";
/// The longest signed token that is kept for the sign-out, in bytes: it goes into an address then.
const TOKEN: usize = 4 * 1024;

/// What came back in the address.
pub struct Back {
    pub code: Option<String>,
    pub state: Option<String>,
    pub error: Option<String>,
}

/// How somebody's way to a provider ended.
pub struct Arrived {
    /// The session that goes on.
    pub done: SignedIn,
    /// The page to go on to.
    pub next: String,
    /// It was a proof of one who was signed in already, not a sign-in.
    pub proof: bool,
}

/// What a sign-out here leaves to do at a provider.
pub struct Parting {
    provider: Uuid,
    id_token: Option<String>,
}

/// Whoever came back, their session's token from the provider, and what they had set out for.
struct Vouch {
    user: Uuid,
    vouched: Vouched,
    trip: Trip,
}

impl Oidc {
    /// Where to send the browser, and what it must bring back in its cookie.
    ///
    /// # Errors
    /// `NotFound` where it is not offered; `Unavailable` where it does not answer.
    pub async fn begin(&self, call: &Call, id: Uuid, next: String) -> Result<(Provider, String, String)> {
        self.set_out(call, id, next, None).await
    }

    /// As [`Oidc::begin`], for one who is signed in and shows by it that it is still they.
    ///
    /// # Errors
    /// As [`Oidc::begin`]; also `NotFound` where the provider does not know the caller; `SignIn` and the like without a
    /// session.
    pub async fn begin_proof(
        &self,
        call: &Call,
        id: Uuid,
        next: String,
    ) -> Result<(Provider, String, String)> {
        let (session, user) = (call.held()?.id(), call.user()?.id);
        if !self.known_by(user).await?.iter().any(|known| known.id == id) {
            return Err(Error::not_found("provider", id));
        }
        self.set_out(call, id, next, Some(session)).await
    }

    async fn set_out(
        &self,
        call: &Call,
        id: Uuid,
        next: String,
        proves: Option<String>,
    ) -> Result<(Provider, String, String)> {
        let provider = self.enabled(call, id).await?;
        let began = self.0.parts.clock.now();
        let errand = Errand { back: back_to(&call.host, id), next, began, until: began + PATIENCE, proves };
        let (url, trip) = flow::there(&provider, &client(&provider)?, errand).await?;
        let cookie = self.packed(&trip)?;
        Ok((provider, url, cookie))
    }

    /// A trip as its browser keeps it.
    pub(super) fn packed(&self, trip: &Trip) -> Result<String> {
        let text = serde_json::to_vec(trip)?;
        Ok(URL_SAFE_NO_PAD.encode(self.0.parts.master.seal(TRIP, &text, &self.0.parts.random)))
    }

    /// Ends a sign-in or a proof that the provider sent back. What does not answer a question that this browser was sent out
    /// with is refused, and that is all: any page anywhere can have a browser come here, with a picture's address or a link,
    /// so it takes no try from the network, and no entry says that someone there tried to sign in.
    ///
    /// # Errors
    /// `Conflict` with the reason; `Unavailable` where the provider does not answer.
    pub async fn come_back(&self, call: &Call, id: Uuid, back: Back) -> Result<Arrived> {
        let provider = self.enabled(call, id).await?;
        self.0.parts.identity.0.wrong.check(call.source)?;
        let trip = self.brought(call.trip(), back.state.as_deref())?;
        let mut action = "sign-in";
        match self.settled(call, &provider, back, trip, &mut action).await {
            Ok(Vouch { vouched, trip, .. }) if trip.proves.is_some() => {
                let done = self.prove(call, &provider, vouched).await?;
                Ok(Arrived { done, next: trip.next, proof: true })
            }
            Ok(Vouch { user, vouched, trip }) => {
                let read = move |db: &rusqlite::Connection| users::known(db, user);
                let known = self.0.parts.store.read(read).await?;
                let checked = Checked::Provider { vouched, strong: !provider.settings.second_factor };
                let done = self.0.parts.identity.begin(call, &known.user, checked).await?;
                Ok(Arrived { done, next: trip.next, proof: false })
            }
            Err(error) => {
                // What is the provider's fault or ours takes no tries from those who sign in from there.
                if !matches!(error, Error::Unavailable(_) | Error::Internal(_) | Error::OnTrial) {
                    let _ = self.0.parts.identity.0.wrong.take(call.source);
                }
                let why: String = error.to_string().chars().take(500).collect();
                let detail = json!({ "method": "oidc", "provider": provider.name, "why": why });
                let entry = Entry::sign_in(action, &detail).on("provider", id).outcome(Outcome::Refused);
                self.0.parts.store.change(&call.actor(), move |_| Ok((entry, ()))).await?;
                Err(error)
            }
        }
    }

    /// The caller's session, whose user just showed at the provider that it is still they, under its new secret.
    async fn prove(&self, call: &Call, provider: &Provider, vouched: Vouched) -> Result<SignedIn> {
        let (held, user) = (call.held()?.clone(), call.user()?.clone());
        let (identity, id) = (self.0.parts.identity.clone(), user.id);
        let detail = json!({ "method": "oidc", "provider": provider.name });
        let stage = held.stage;
        let change = move |tx: &Transaction| {
            if !sessions::is_vouched_for(tx, id, vouched.provider)? {
                return Err(changed());
            }
            // Only where the provider began the session is it left there, too.
            if sessions::origin(tx, &held.hash)?.is_some_and(|origin| origin.provider == vouched.provider) {
                sessions::keep_origin(tx, &held.hash, &vouched)?;
            }
            identity.proven(tx, &held, id, &detail)
        };
        let token = self.0.parts.store.change(&call.actor(), change).await?;
        Ok(SignedIn { user, stage, token })
    }

    /// What is left to do at a provider once the caller's session is over; none where no provider began it.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn parting(&self, call: &Call) -> Result<Option<Parting>> {
        let (Ok(held), Ok(user)) = (call.held(), call.user()) else { return Ok(None) };
        let (hash, user) = (held.hash, user.id);
        let origin = self.0.parts.store.read(move |db| sessions::origin(db, &hash)).await?;
        Ok(origin.map(|Vouched { provider, id_token }| {
            let opened =
                id_token.and_then(|sealed| self.0.parts.master.open(&kept_at(user, provider), &sealed).ok());
            let id_token = opened.map(|text| String::from_utf8_lossy(&text).into_owned());
            Parting { provider, id_token }
        }))
    }

    /// What the provider is called, and the address at which it ends the session there too, with its own token, so that
    /// it knows whose without asking. None where it has no such address, or does not answer.
    pub async fn leave(&self, call: &Call, parting: Parting) -> Option<(String, String)> {
        let provider = self.provider(call, parting.provider).await.ok()?;
        let metadata = flow::metadata(&provider, &client(&provider).ok()?).await.ok()?;
        let end = metadata.additional_metadata().end_session_endpoint.as_ref()?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("client_id", &provider.settings.client_id)
            .append_pair("post_logout_redirect_uri", &format!("https://{}/sign-in", call.host));
        if let Some(token) = &parting.id_token {
            query.append_pair("id_token_hint", token);
        }
        let sign = if end.as_str().contains('?') { '&' } else { '?' };
        Some((provider.name, format!("{}{sign}{}", end.as_str(), query.finish())))
    }

    async fn enabled(&self, call: &Call, id: Uuid) -> Result<Provider> {
        let provider = self.provider(call, id).await?;
        if provider.enabled { Ok(provider) } else { Err(Error::not_found("provider", id)) }
    }

    /// Who came back. `action` becomes what it was that they had set out for, as the audit calls it.
    async fn settled(
        &self,
        call: &Call,
        provider: &Provider,
        back: Back,
        trip: Trip,
        action: &mut &'static str,
    ) -> Result<Vouch> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        self.ends(&trip, provider.id, now).await?;
        let own = match &trip.proves {
            Some(session) => {
                *action = "prove";
                // The cookie of the trip is the browser's; the session in which it is used must be the one that began it.
                call.held().ok().filter(|held| held.id() == *session).ok_or_else(lost)?;
                Some(call.user()?.id)
            }
            None => None,
        };
        if let Some(error) = back.error {
            let error: String = error.chars().filter(|letter| !letter.is_control()).take(100).collect();
            return Err(Error::conflict(format!("“{}” refused: {error}", provider.name)));
        }
        let code = back.code.ok_or_else(|| Error::conflict("the provider sent no code back"))?;
        let id = provider.id;
        let sealed = parts.store.read(move |db| store::sealed(db, id)).await?;
        let secret = sealed.map(|sealed| parts.master.open(&place(id), &sealed)).transpose()?;
        let to = back_to(&call.host, id);
        let said = flow::back(provider, &client(provider)?, secret.as_ref(), (&to, code), &trip, now).await?;
        let took_s = parts.clock.now().seconds() - trip.began.seconds();
        if own.is_some() && !flow::is_fresh(said.ago_s, took_s) {
            return Err(Error::conflict(format!(
                "“{}” does not say that you signed in there just now: it was asked to have you sign in again",
                provider.name
            )));
        }
        let person = Person::read(&said.claims, &provider.settings.claim)
            .ok_or_else(|| Error::conflict("the provider does not say who it is"))?;
        let (known, new) = (provider.clone(), parts.ids.new());
        let actor = call.acting(Actor::system(&format!("provider {}", provider.name)));
        let on_trial = parts.store.is_on_trial();
        let settle = move |tx: &Transaction| {
            if own.is_some() && store::linked(tx, known.id, &person.subject)? != own {
                return Err(Error::conflict(format!(
                    "it was someone else who signed in at “{}”",
                    known.name
                )));
            }
            let Settled { user, entries } = settle(tx, &known, &person, (new, now), on_trial)?;
            Ok((entries, user))
        };
        let user = parts.store.changes(&actor, settle).await?;
        let seal = |text: &[u8]| parts.master.seal(&kept_at(user, id), text, &parts.random);
        let id_token =
            Some(said.id_token).filter(|text| text.len() <= TOKEN).map(|text| seal(text.as_bytes()));
        Ok(Vouch { user, vouched: Vouched { provider: id, id_token }, trip })
    }

    /// What this browser took along, if what came back answers it. Nobody else knows the state, so whoever has both was
    /// sent out from here.
    pub(super) fn brought(&self, cookie: Option<&str>, state: Option<&str>) -> Result<Trip> {
        let sealed = cookie.and_then(|cookie| URL_SAFE_NO_PAD.decode(cookie).ok()).ok_or_else(lost)?;
        let text = self.0.parts.master.open(TRIP, &sealed).map_err(|_| lost())?;
        let trip: Trip = serde_json::from_slice(&text).map_err(|_| lost())?;
        let same = state.is_some_and(|state| crate::secrets::equal(state.as_bytes(), trip.state.as_bytes()));
        if same { Ok(trip) } else { Err(lost()) }
    }

    /// Ends a trip: at its own provider, in time, and once.
    pub(super) async fn ends(&self, trip: &Trip, provider: Uuid, now: Timestamp) -> Result<()> {
        if trip.provider != provider || trip.until <= now {
            return Err(lost());
        }
        // Kept in the database: a restart makes no state good again.
        let (hash, until) = (sha256(trip.state.as_bytes()), trip.until);
        let first = self.0.parts.store.note(move |tx| store::comes_back(tx, &hash, until, now)).await?;
        if first { Ok(()) } else { Err(lost()) }
    }
}

fn lost() -> Error {
    Error::conflict("this sign-in was not begun in this browser, or not in the last ten minutes: begin again")
}

/// What a session's token from a provider is sealed as.
fn kept_at(user: Uuid, provider: Uuid) -> String {
    format!("session_origin/{user}/{provider}/id_token")
}
