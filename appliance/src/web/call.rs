//! One call of a route: who calls, from where, and with which path.

use crate::app::App;
use crate::audit::Actor;
use crate::error::Error;
use crate::identity::{Held, Stage, User};
use std::collections::BTreeSet;
use std::net::IpAddr;
use uuid::Uuid;

/// By what a caller is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// By nothing.
    #[default]
    Nobody,
    /// By the session's cookie.
    Session,
    /// By the API token of this id.
    Token(Uuid),
    /// By the token that the manager keeps for this machine's own command line. Such a caller has no account.
    Operator,
    /// By nothing but the right to write the files: a command of this machine, not a request. Such a caller has no account.
    Files,
}

/// Who calls.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The signed-in user.
    pub user: Option<User>,
    /// What the caller may do: what the user's roles give, cut to the token's scopes.
    pub scopes: BTreeSet<String>,
    /// What the sign-in still lacks; none once it is complete.
    pub pending: Option<Stage>,
    /// The session, for who came with one.
    pub session: Option<Held>,
    /// By what they are known.
    pub via: Via,
}

impl Caller {
    /// Whether the caller holds this scope.
    #[must_use]
    pub fn may(&self, scope: &str) -> bool {
        self.scopes.contains(scope)
    }

    /// Whether the caller is the user of this id.
    #[must_use]
    pub fn is(&self, user: Uuid) -> bool {
        self.user.as_ref().is_some_and(|own| own.id == user)
    }

    /// Whether the caller owns the appliance.
    #[must_use]
    pub fn owns(&self) -> bool {
        self.user.as_ref().is_some_and(|own| own.owner)
    }

    /// Refuses who came with an API token: what changes who may come in takes a person, or the administrator of this
    /// machine. A token is bound to its end, its scopes and its sources; what it could make would not be.
    ///
    /// # Errors
    /// `InPerson`.
    pub fn in_person(&self) -> Result<(), Error> {
        match self.via {
            Via::Token(_) => Err(Error::InPerson),
            Via::Nobody | Via::Session | Via::Operator | Via::Files => Ok(()),
        }
    }

    /// Whether it is known who this is.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.user.is_some() || self.via == Via::Operator
    }
}

/// One call of a route.
#[derive(Clone)]
pub struct Call {
    /// The services.
    pub app: App,
    /// Who calls.
    pub caller: Caller,
    /// The peer's address.
    pub source: IpAddr,
    /// The `User-Agent`, at most 200 bytes of it.
    pub agent: String,
    /// The name the caller reached us by (the `Host` header): unproven. Displayed, and where a provider or a security key leads back to.
    pub host: String,
    /// The request's id, in the log and on error pages.
    pub request_id: String,
    /// `Idempotency-Key`, where the caller sent one.
    pub idempotency_key: Option<String>,
    /// The media type that was asked for is a file of this kind (`text/csv`).
    pub wants_csv: bool,
    pub(super) params: Vec<(String, String)>,
    pub(super) session_token: Option<String>,
    pub(super) trip: Option<String>,
}

impl Call {
    /// A call of nobody's, for tests of what no route calls by itself.
    #[cfg(test)]
    pub fn for_test(app: App, source: IpAddr) -> Self {
        Self {
            app,
            caller: Caller::default(),
            source,
            agent: String::new(),
            host: crate::test::HOST.to_owned(),
            request_id: String::new(),
            idempotency_key: None,
            wants_csv: false,
            params: vec![],
            session_token: None,
            trip: None,
        }
    }

    /// A parameter of the path, percent-decoded.
    #[must_use]
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The id in the path's parameter `id`.
    ///
    /// # Errors
    /// `NotFound` of `what` when it is not a UUID: there can be no such thing.
    pub fn id(&self, what: &'static str) -> Result<Uuid, Error> {
        let text = self.param("id");
        Uuid::try_parse(text).map_err(|_| Error::not_found(what, text))
    }

    /// Who calls.
    ///
    /// # Errors
    /// `SignIn` when nobody does; `NoAccount` for this machine's operator, who is nobody's account.
    pub fn user(&self) -> Result<&User, Error> {
        self.caller.user.as_ref().ok_or(match self.caller.via {
            Via::Operator | Via::Files => Error::NoAccount,
            Via::Nobody | Via::Session | Via::Token(_) => Error::SignIn,
        })
    }

    /// The caller's session.
    ///
    /// # Errors
    /// `SignIn` for who came with nothing; `InPerson` for who came with a token, `NoAccount` for this machine's operator.
    pub fn held(&self) -> Result<&Held, Error> {
        self.caller.session.as_ref().ok_or(match self.caller.via {
            Via::Operator | Via::Files => Error::NoAccount,
            Via::Token(_) => Error::InPerson,
            Via::Nobody | Via::Session => Error::SignIn,
        })
    }

    /// As [`Caller::in_person`].
    ///
    /// # Errors
    /// `InPerson`.
    pub fn in_person(&self) -> Result<(), Error> {
        self.caller.in_person()
    }

    /// What this browser took along when it went to a provider to sign in.
    #[must_use]
    pub fn trip(&self) -> Option<&str> {
        self.trip.as_deref()
    }

    /// The session's token, for replacing it.
    #[must_use]
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }

    /// The caller as the audit names it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let user = self.caller.user.as_ref().map(|user| Actor::user(user.id, user.name.clone()));
        let actor = match (user, self.caller.via) {
            (_, Via::Operator) => Actor::cli("operator").by("operator"),
            (_, Via::Files) => Actor::cli("admin"),
            (Some(user), Via::Token(id)) => user.by(format!("token:{id}")),
            (Some(user), Via::Session | Via::Nobody) => user.by("session"),
            (None, _) => Actor::nobody(""),
        };
        self.acting(actor)
    }

    /// Someone who acts by this call, though not as its caller: who signs in by it, or tries to.
    #[must_use]
    pub fn acting(&self, actor: Actor) -> Actor {
        actor.seen_from(self.source).with_agent(&self.agent)
    }
}
