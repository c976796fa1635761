//! A sign-in by a provider: the way there, the way back, and which account it is.

use super::claims::Person;
use super::flow::{self, Trip};
use super::{Oidc, Provider, back_to, client, place, store};
use crate::audit::{Actor, Entry, Outcome};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::identity::users::{Fields, Kind, store as users};
use crate::identity::{SignedIn, Stage};
use crate::web::Call;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Transaction;
use serde_json::json;
use std::sync::PoisonError;
use std::time::Duration;
use uuid::Uuid;

/// How long the way there and back may take.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// What the trip is sealed as.
const TRIP: &str = "oidc/trip";

/// What came back in the address.
pub struct Back {
    pub code: Option<String>,
    pub state: Option<String>,
    pub error: Option<String>,
}

/// How a person of a provider becomes a user here, and what was done to get there.
struct Settled {
    user: Uuid,
    entries: Vec<Entry>,
}

impl Oidc {
    /// Where to send the browser, and what it must bring back in its cookie.
    ///
    /// # Errors
    /// `NotFound` where it is not offered; `Unavailable` where it does not answer.
    pub async fn begin(
        &self,
        call: &Call,
        id: Uuid,
        next: String,
        again: bool,
    ) -> Result<(Provider, String, String)> {
        let provider = self.enabled(call, id).await?;
        let until = self.0.parts.clock.now() + PATIENCE;
        let back = back_to(&call.host, id);
        let (url, trip) = flow::there(&provider, &client(&provider)?, (&back, next, until), again).await?;
        let text = serde_json::to_vec(&trip)?;
        let cookie = URL_SAFE_NO_PAD.encode(self.0.parts.master.seal(TRIP, &text, &self.0.parts.random));
        Ok((provider, url, cookie))
    }

    /// Ends a sign-in that the provider sent back: the session, and the page to go on to.
    ///
    /// # Errors
    /// `Conflict` with the reason; `Unavailable` where the provider does not answer.
    pub async fn come_back(&self, call: &Call, id: Uuid, back: Back) -> Result<(SignedIn, String)> {
        let provider = self.enabled(call, id).await?;
        self.0.parts.identity.0.wrong.check(call.source)?;
        match self.settled(call, &provider, back).await {
            Ok((user, next)) => {
                let read = move |db: &rusqlite::Connection| users::known(db, user);
                let known = self.0.parts.store.read(read).await?;
                let passed = if provider.settings.second_factor { None } else { Some(Stage::NewPassword) };
                let done = self.0.parts.identity.begin(call, &known.user, "oidc", passed).await?;
                Ok((done, next))
            }
            Err(error) => {
                let _ = self.0.parts.identity.0.wrong.take(call.source);
                let why: String = error.to_string().chars().take(500).collect();
                let detail = json!({ "method": "oidc", "provider": provider.name, "why": why });
                let entry = Entry::sign_in("sign-in", &detail).on("provider", id).outcome(Outcome::Refused);
                self.0.parts.store.change(&call.actor(), move |_| Ok((entry, ()))).await?;
                Err(error)
            }
        }
    }

    /// Where the caller's session, if a provider began it, is ended there too.
    pub async fn leave(&self, call: &Call) -> Option<(String, String)> {
        let held = call.held().ok().filter(|held| held.method.starts_with("oidc"))?;
        let user = call.user().ok()?.id;
        tracing::debug!(session = held.id(), "signing out at the provider");
        let id = self.0.parts.store.read(move |db| store::provider_of(db, user)).await.ok()??;
        let provider = self.provider(call, id).await.ok()?;
        let metadata = flow::metadata(&provider, &client(&provider).ok()?).await.ok()?;
        let end = metadata.additional_metadata().end_session_endpoint.as_ref()?;
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &provider.settings.client_id)
            .append_pair("post_logout_redirect_uri", &format!("https://{}/sign-in", call.host))
            .finish();
        let sign = if end.as_str().contains('?') { '&' } else { '?' };
        Some((provider.name, format!("{}{sign}{query}", end.as_str())))
    }

    async fn enabled(&self, call: &Call, id: Uuid) -> Result<Provider> {
        let provider = self.provider(call, id).await?;
        if provider.enabled { Ok(provider) } else { Err(Error::not_found("provider", id)) }
    }

    async fn settled(&self, call: &Call, provider: &Provider, back: Back) -> Result<(Uuid, String)> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let trip = self.trip(call, provider.id, back.state.as_deref(), now)?;
        if let Some(error) = back.error {
            let error: String = error.chars().filter(|letter| !letter.is_control()).take(100).collect();
            return Err(Error::conflict(format!("“{}” refused: {error}", provider.name)));
        }
        let code = back.code.ok_or_else(|| Error::conflict("the provider sent no code back"))?;
        let id = provider.id;
        let sealed = parts.store.read(move |db| store::sealed(db, id)).await?;
        let secret = sealed.map(|sealed| parts.master.open(&place(id), &sealed)).transpose()?;
        let to = back_to(&call.host, id);
        let claims =
            flow::back(provider, &client(provider)?, secret.as_ref(), (&to, code), &trip, now).await?;
        let person = Person::read(&claims, &provider.settings.claim)
            .ok_or_else(|| Error::conflict("the provider does not say who it is"))?;
        let (known, new) = (provider.clone(), parts.ids.new());
        let actor = call.acting(Actor::system(&format!("provider {}", provider.name)));
        let settle = move |tx: &Transaction| {
            let settled = settle(tx, &known, &person, new, now)?;
            Ok((settled.entries, settled.user))
        };
        Ok((parts.store.changes(&actor, settle).await?, trip.next))
    }

    /// What this browser took along, if what came back answers it; each trip ends once.
    fn trip(&self, call: &Call, provider: Uuid, state: Option<&str>, now: Timestamp) -> Result<Trip> {
        let lost = || {
            Error::conflict(
                "this sign-in was not begun in this browser, or not in the last ten minutes: begin again",
            )
        };
        let sealed = call.trip().and_then(|cookie| URL_SAFE_NO_PAD.decode(cookie).ok()).ok_or_else(lost)?;
        let text = self.0.parts.master.open(TRIP, &sealed).map_err(|_| lost())?;
        let trip: Trip = serde_json::from_slice(&text).map_err(|_| lost())?;
        let same = state.is_some_and(|state| crate::secrets::equal(state.as_bytes(), trip.state.as_bytes()));
        if trip.provider != provider || !same || trip.until <= now {
            return Err(lost());
        }
        let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, until| *until > now);
        if used.insert(trip.state.clone(), trip.until).is_some() {
            return Err(lost());
        }
        Ok(trip)
    }
}

/// Finds or makes the account of a person, and gives the roles that their groups give now.
fn settle(
    tx: &Transaction,
    provider: &Provider,
    person: &Person,
    new: Uuid,
    now: Timestamp,
) -> Result<Settled> {
    let mut entries = Vec::new();
    let mappings = &provider.settings.roles;
    let roles: Vec<Uuid> =
        mappings.iter().filter(|one| person.groups.contains(&one.value)).map(|one| one.role).collect();
    let linked = store::linked(tx, provider.id, &person.subject)?;
    let user = match linked {
        Some(user) => user,
        None => found(tx, provider, person, !roles.is_empty(), new, now, &mut entries)?,
    };
    let known = users::known(tx, user)?;
    if known.user.owner {
        return Err(Error::conflict("the owner signs in here, with the password: a provider is not enough"));
    }
    if !known.may_sign_in() {
        return Err(Error::conflict("your account here is disabled: ask an administrator"));
    }
    let before = store::given(tx, user)?;
    store::give(tx, user, &roles)?;
    let after = store::given(tx, user)?;
    if before != after {
        let entry = Entry::updated(
            "user",
            user,
            &json!({ "provider_roles": before }),
            &json!({ "provider_roles": after }),
        );
        entries.push(entry.action("user.provider-roles"));
    }
    if before == after && entries.is_empty() {
        // Nothing changed; the sign-in has its own entry.
        return Ok(Settled {
            user,
            entries: vec![
                Entry::event("user.vouched-for", &json!({ "provider": provider.name })).on("user", user),
            ],
        });
    }
    Ok(Settled { user, entries })
}

/// The account of a person who comes by this provider for the first time: one with their address, or a new one.
fn found(
    tx: &Transaction,
    provider: &Provider,
    person: &Person,
    has_role: bool,
    new: Uuid,
    now: Timestamp,
    entries: &mut Vec<Entry>,
) -> Result<Uuid> {
    let by_email = person.email.as_deref().filter(|_| provider.settings.link_by_email);
    let user = match by_email.map(|email| store::by_email(tx, email)).transpose()?.flatten() {
        Some(user) => user,
        None if provider.settings.make_accounts && has_role => {
            let fields = account(tx, person)?;
            let row = users::New { id: new, password_hash: None, owner: false, now };
            users::insert(tx, &row, &fields)?;
            entries.push(Entry::created("user", new, &fields));
            new
        }
        None if provider.settings.make_accounts => {
            return Err(Error::conflict("none of your groups has a role here: ask an administrator"));
        }
        None => return Err(Error::conflict("you have no account here: ask an administrator")),
    };
    store::keep_link(tx, provider.id, &person.subject, user, now)?;
    let detail = json!({ "provider": provider.name, "subject": person.subject });
    entries.push(Entry::event("user.linked", &detail).on("user", user));
    Ok(user)
}

/// The fields of a new account: a name that nobody has.
fn account(tx: &Transaction, person: &Person) -> Result<Fields> {
    let mut name = person.name.clone();
    let mut more = 2;
    while store::name_is_taken(tx, &name)? {
        name = format!("{}-{more}", person.name);
        more += 1;
        if more > 99 {
            return Err(Error::conflict(
                "there are too many accounts of this name here: ask an administrator",
            ));
        }
    }
    Ok(Fields {
        name,
        display: person.display.clone(),
        email: person.email.clone().unwrap_or_default(),
        kind: Kind::Person,
        must_change: false,
        roles: vec![],
    })
}
