//! Who asks a service of this room: a request's caller, or the administrator of the machine, at its command line.

use crate::audit::Actor;
use crate::identity::scopes;
use crate::web::{Call, Caller, Via};
use uuid::Uuid;

/// Who asks. What they may do follows from [`By::caller`] alone, whichever way they came.
pub trait By: Clone + Send + Sync + 'static {
    /// What is known of them.
    fn caller(&self) -> &Caller;

    /// They, as the audit names them.
    fn actor(&self) -> Actor;

    /// Whether this account is their own.
    fn is_own(&self, account: Uuid) -> bool {
        self.caller().is(account)
    }
}

impl By for Call {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn actor(&self) -> Actor {
        Call::actor(self)
    }
}

/// Whoever may open the manager's files on this machine, root and the manager's user, and runs a command on them. They hold
/// every scope, and decide on the owner's account too: they are the way in that is left when all others are lost. That
/// there is always an owner who is neither disabled nor reduced holds for them as for everyone.
#[derive(Clone, Debug)]
pub struct Machine {
    caller: Caller,
    actor: Actor,
}

impl Machine {
    /// Such a one, named so in the audit.
    #[must_use]
    pub fn new(actor: Actor) -> Self {
        let caller = Caller { scopes: scopes::every(), via: Via::Files, ..Caller::default() };
        Self { caller, actor }
    }
}

impl By for Machine {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn actor(&self) -> Actor {
        self.actor.clone()
    }
}
