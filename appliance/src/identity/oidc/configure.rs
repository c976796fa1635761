//! Which providers there are, what their word is worth, and whether passwords still sign in.

#[cfg(test)]
mod tests;

use super::local::{Local, LocalSignIn};
use super::{
    Fields, Oidc, Provider, ProviderInput, Settings, client, flow, input, place, sessions, shown, store,
};
use crate::audit::Entry;
use crate::error::{Error, Result};
use crate::identity::{scopes, ways};
use crate::noun::{self, Link};
use crate::settings::{self, Current};
use crate::web::Call;
use rusqlite::Transaction;
use serde_json::json;
use uuid::Uuid;

/// Refuses who may not say which providers are believed. By the word of one of their own they could be anyone here: so
/// they hold everything already, and are no token, which would come back as a person without its end.
pub(super) fn may(call: &Call) -> Result<()> {
    call.in_person()?;
    if scopes::every().is_subset(&call.caller.scopes) { Ok(()) } else { Err(Error::Forbidden) }
}

impl Oidc {
    /// Refuses who may not change what providers there are, as a form does before it is shown.
    ///
    /// # Errors
    /// `InPerson`; `Forbidden` for who does not hold everything.
    pub fn may_configure(&self, call: &Call) -> Result<()> {
        may(call)
    }

    /// As [`Oidc::may_configure`], of who proved lately who they are.
    fn configures(&self, call: &Call) -> Result<()> {
        may(call)?;
        self.0.parts.identity.proved(call)
    }

    /// Configures a provider.
    ///
    /// # Errors
    /// As [`Oidc::may_configure`]; `Invalid`, `Prove`; any from the database.
    pub async fn create(&self, call: &Call, input: ProviderInput) -> Result<Provider> {
        self.configures(call)?;
        noun::not_yet(input.version)?;
        let (this, parts, now) = (call.clone(), self.clone(), self.0.parts.clock.now());
        let id = self.0.parts.ids.new();
        let make = move |tx: &Transaction| {
            let fields = input::check(tx, &input)?;
            if input.forget_links {
                return Err(nothing_to_forget());
            }
            let sealed = parts.sealed(id, &input.client_secret);
            store::insert(tx, id, &fields, sealed.as_deref(), now)?;
            Ok((Entry::created("provider", id, &fields), shown(tx, store::one(tx, id)?, &this)?))
        };
        self.0.parts.store.change(&call.actor(), make).await
    }

    /// Changes a provider. Its secret stays where none is sent. With one that is no longer offered go the roles that it
    /// gave, and the sessions that it began; with another issuer also who of its people is who here, if that is said: a
    /// person's name there is theirs for one issuer only.
    ///
    /// # Errors
    /// As [`Oidc::may_configure`]; `NotFound`, `Stale`, `Invalid`, `Prove`; `Conflict` where nobody could sign in any
    /// more; any from the database.
    pub async fn update(&self, call: &Call, id: Uuid, input: ProviderInput) -> Result<Provider> {
        self.configures(call)?;
        let (this, parts, now) = (call.clone(), self.clone(), self.0.parts.clock.now());
        let change = move |tx: &Transaction| {
            let (kept, _) = store::one(tx, id)?;
            let (before, fields) = (&kept.fields, input::check(tx, &input)?);
            let sealed = parts.sealed(id, &input.client_secret);
            let mut entries = if sealed.is_some() {
                noun::based_on(input.version, kept.version)?;
                vec![Entry::updated("provider", id, before, &fields)]
            } else {
                kept.change("provider", input.version, &fields, || Ok(()))?
            };
            let forgotten = forgotten(tx, id, before, &fields, input.forget_links)?;
            if !entries.is_empty() {
                store::update(tx, id, &fields, sealed.as_deref(), now)?;
            }
            if before.enabled && !fields.enabled || forgotten > 0 {
                entries.extend(withdraw(tx, id)?);
            }
            if forgotten > 0 {
                store::forget_links(tx, id)?;
                let detail = json!({ "accounts": forgotten, "issuer": before.settings.issuer });
                entries.push(Entry::event("provider.links-forgotten", &detail).on("provider", id));
            }
            if sealed.is_some() {
                entries.push(Entry::event("provider.secret-replaced", &()).on("provider", id));
            }
            if !entries.is_empty() {
                // Whether it still knows anyone by what it is asked with now, nobody has shown yet.
                let unproven = sealed.is_some() || asked_by(&before.settings) != asked_by(&fields.settings);
                ways::left(tx, unproven.then_some(id))?;
            }
            Ok((entries, shown(tx, store::one(tx, id)?, &this)?))
        };
        self.0.parts.store.changes(&call.actor(), change).await
    }

    /// Deletes a provider, and with it who of its people is who here, the roles that it gave, and the sessions that it
    /// began. The accounts stay.
    ///
    /// # Errors
    /// As [`Oidc::may_configure`]; `NotFound`, `Stale`, `Prove`; `Conflict` where nobody could sign in any more; any from
    /// the database.
    pub async fn delete(&self, call: &Call, id: Uuid, version: Option<i64>) -> Result<()> {
        self.configures(call)?;
        let change = move |tx: &Transaction| {
            let (kept, _) = store::one(tx, id)?;
            noun::if_based_on(version, kept.version)?;
            let mut entries = withdraw(tx, id)?;
            store::delete(tx, id)?;
            ways::left(tx, None)?;
            entries.push(Entry::deleted("provider", id, &kept.fields));
            Ok((entries, ()))
        };
        self.0.parts.store.changes(&call.actor(), change).await
    }

    /// Asks a provider for its ends and keys, as a sign-in would.
    ///
    /// # Errors
    /// `Unavailable` with the reason.
    pub async fn try_out(&self, call: &Call, id: Uuid) -> Result<Provider> {
        let provider = self.provider(call, id).await?;
        flow::metadata(&provider, &client(&provider)?).await?;
        Ok(provider)
    }

    /// Who signs in by a password.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn local(&self) -> Result<Current<LocalSignIn>> {
        self.0.parts.store.read(settings::current).await
    }

    /// Decides who signs in by a password. Nobody does only if whoever decides it came by a provider, and could now: so
    /// there is a way in.
    ///
    /// # Errors
    /// As [`Oidc::may_configure`]; `Invalid`, `Stale`, `Prove`; `Conflict` where nobody could sign in any more; any from
    /// the database.
    pub async fn set_local(
        &self,
        call: &Call,
        version: Option<i64>,
        value: LocalSignIn,
    ) -> Result<Current<LocalSignIn>> {
        self.configures(call)?;
        let off = value.local == Local::Off;
        let by_provider = call.caller.session.as_ref().is_some_and(|held| held.method.starts_with("oidc"));
        let who = call.caller.user.as_ref().map(|user| user.id).filter(|_| by_provider);
        let change = move |tx: &Transaction| {
            let done = settings::change_in(tx, version, value)?;
            if off && !who.map(|user| ways::any(tx, user)).transpose()?.unwrap_or(false) {
                let why = "can be switched off by one who came by a provider that is offered: that shows that there is \
                           another way in";
                return Err(Error::invalid("local", why));
            }
            ways::left(tx, None)?;
            Ok(done)
        };
        self.0.parts.store.changes(&call.actor(), change).await
    }

    fn sealed(&self, id: Uuid, secret: &str) -> Option<Vec<u8>> {
        let parts = &self.0.parts;
        (!secret.is_empty()).then(|| parts.master.seal(&place(id), secret.as_bytes(), &parts.random))
    }
}

/// What a provider is asked by, and what its answer gives: all but what only makes its word count for less or more here.
fn asked_by(settings: &Settings) -> Settings {
    let settings = settings.clone();
    Settings { link_by_email: false, make_accounts: false, second_factor: false, ..settings }
}

fn nothing_to_forget() -> Error {
    Error::invalid("forget_links", "is for another issuer of a provider that knows accounts")
}

/// How many accounts a provider knows no longer, as it has another issuer now.
fn forgotten(tx: &Transaction, id: Uuid, before: &Fields, after: &Fields, said: bool) -> Result<u64> {
    let (people, ..) = store::people(tx, id)?;
    match (before.settings.issuer != after.settings.issuer && people > 0, said) {
        (true, true) => Ok(people),
        (false, false) => Ok(0),
        (false, true) => Err(nothing_to_forget()),
        (true, false) => {
            let whom = if people == 1 {
                "1 account that it knows"
            } else {
                &format!("{people} accounts that it knows")
            };
            let why = format!(
                "is needed: at another issuer the same name is someone else, so the {whom} would be forgotten. Or make \
                 another provider"
            );
            Err(Error::invalid("forget_links", why))
        }
    }
}

/// Takes back what stands on a provider's word: roles, user by user, and sessions.
fn withdraw(tx: &Transaction, provider: Uuid) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    loop {
        let some = store::holders(tx, provider)?;
        if some.is_empty() {
            break;
        }
        for user in some {
            let before = store::given(tx, user)?;
            store::take(tx, user, provider)?;
            entries.push(regiven(user, &before, &store::given(tx, user)?));
        }
    }
    let ended = sessions::end_of_provider(tx, provider)?;
    if ended > 0 {
        entries.push(Entry::sign_in("session.revoked", &json!({ "count": ended })).on("provider", provider));
    }
    Ok(entries)
}

/// The entry of a user whose roles by a provider's word are others now.
pub(super) fn regiven(user: Uuid, before: &[Link], after: &[Link]) -> Entry {
    let roles = |roles: &[Link]| json!({ "provider_roles": roles });
    Entry::updated("user", user, &roles(before), &roles(after)).action("user.provider-roles")
}
