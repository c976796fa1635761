//! The audit: who did what to which resource, when, from where, and what exactly changed.
//!
//! Every change of config.db carries its [`Entry`] in the same transaction ([`crate::store::Store::change`]).
//! The entries form a chain ([`chain`]) that anyone can check without this program's help; signed heads of it
//! ([`checkpoint`]) show that its end is there and that it was not written anew.

mod actor;
#[cfg(test)]
mod attacks;
pub mod chain;
pub mod checkpoint;
pub mod checkpoints;
pub mod compliance;
mod diff;
pub mod export;
pub mod filter;
#[cfg(test)]
mod mutations_test;
mod names;
pub mod query;
pub mod routes;
pub mod siem;
pub mod store;
mod trail;
pub mod wrote;

use std::fmt::Display;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
pub use actor::{Actor, ActorKind};
pub use diff::{Change, diff};
pub use filter::Filter;
pub use trail::Trail;

/// What kind of entry it is: each kind has its own page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Something was done.
    #[default]
    Change,
    /// Someone showed who they are, or tried to, or no longer counts as known.
    SignIn,
    /// Something was looked at, or asked for and not allowed.
    Access,
}

impl Class {
    /// The spelling in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::SignIn => "sign-in",
            Self::Access => "access",
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    #[default]
    Done,
    /// It was not allowed.
    Refused,
    /// It was tried and did not work.
    Failed,
}

impl Outcome {
    /// The spelling in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What happened, as the room that did it says; time and actor are added when it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    class: Class,
    action: String,
    resource: String,
    resource_id: String,
    outcome: Outcome,
    changes: Vec<Change>,
    detail: Value,
}

impl Entry {
    /// A resource was made: every field is a change from nothing.
    pub fn created(resource: &str, id: impl Display, after: &impl Serialize) -> Self {
        Self::changed("created", resource, id, diff(&Value::Null, &json(after)))
    }

    /// A resource was changed: the fields that differ.
    pub fn updated(
        resource: &str,
        id: impl Display,
        before: &impl Serialize,
        after: &impl Serialize,
    ) -> Self {
        Self::changed("updated", resource, id, diff(&json(before), &json(after)))
    }

    /// A resource was deleted: every field is a change to nothing.
    pub fn deleted(resource: &str, id: impl Display, before: &impl Serialize) -> Self {
        Self::changed("deleted", resource, id, diff(&json(before), &Value::Null))
    }

    /// Something happened that is not a change of fields: `sign-in.failed`, `scan.launched`. The part before the
    /// dot names the resource unless [`Entry::on`] says otherwise. Secrets in `detail` are masked.
    pub fn event(action: &str, detail: &impl Serialize) -> Self {
        let (resource, _) = action.split_once('.').unwrap_or((action, ""));
        Self {
            class: Class::Change,
            action: action.into(),
            resource: resource.into(),
            resource_id: String::new(),
            outcome: Outcome::Done,
            changes: Vec::new(),
            detail: diff::masked(json(detail)),
        }
    }

    fn changed(verb: &str, resource: &str, id: impl Display, changes: Vec<Change>) -> Self {
        Self {
            class: Class::Change,
            action: format!("{resource}.{verb}"),
            resource: resource.into(),
            resource_id: id.to_string(),
            outcome: Outcome::Done,
            changes,
            detail: Value::Null,
        }
    }

    /// Someone showed who they are, tried to, or no longer counts as known. Otherwise as [`Entry::event`].
    pub fn sign_in(action: &str, detail: &impl Serialize) -> Self {
        Self { class: Class::SignIn, ..Self::event(action, detail) }
    }

    /// Something was looked at, or asked for and not allowed. Otherwise as [`Entry::event`].
    pub fn access(action: &str, detail: &impl Serialize) -> Self {
        Self { class: Class::Access, ..Self::event(action, detail) }
    }

    /// Names the resource it is about.
    #[must_use]
    pub fn on(mut self, resource: &str, id: impl Display) -> Self {
        self.resource = resource.into();
        self.resource_id = id.to_string();
        self
    }

    /// Replaces the verb: `Entry::updated(…).action("scanner.revoked")`.
    #[must_use]
    pub fn action(mut self, action: &str) -> Self {
        self.action = action.into();
        self
    }

    /// Says how it ended, when not well.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Adds what the fields do not say. Secrets are masked.
    #[must_use]
    pub fn detail(mut self, detail: &impl Serialize) -> Self {
        self.detail = diff::masked(json(detail));
        self
    }

    fn record(self, actor: &Actor, at: Timestamp) -> Record {
        Record {
            at,
            class: self.class,
            actor: actor.clone(),
            action: self.action,
            resource: self.resource,
            resource_id: self.resource_id,
            outcome: self.outcome,
            changes: self.changes,
            detail: self.detail,
        }
    }
}

/// A value that cannot be written as JSON is itself worth an entry, not a failed change.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_else(|e| Value::String(format!("not written: {e}")))
}

/// An entry as it stands in the chain: exactly what the hash covers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// What kind of entry it is.
    pub class: Class,
    /// Who.
    pub actor: Actor,
    /// What was done: `subnet.created`.
    pub action: String,
    /// To what kind of thing: `subnet`.
    pub resource: String,
    /// To which; may be empty.
    pub resource_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Field by field, what changed.
    pub changes: Vec<Change>,
    /// What the fields do not say; null when there is nothing.
    pub detail: Value,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_entry_says_who_what_and_how() {
        let actor = Actor::user(Uuid::nil(), "ada")
            .seen_from("::ffff:10.0.0.7".parse().unwrap())
            .by("session")
            .with_agent("curl/8");
        let entry = Entry::sign_in("sign-in.failed", &json!({ "password": "hunter2", "tries": 3 }))
            .on("user", "ada")
            .outcome(Outcome::Refused);
        let record = entry.record(&actor, Timestamp::EPOCH);
        let text = serde_json::to_string(&record).unwrap();
        assert!(!text.contains("hunter2"));
        assert_eq!((record.class, record.actor.method.as_str()), (Class::SignIn, "session"));
        assert_eq!(record.actor.source, Some("10.0.0.7".parse().unwrap()));
        assert_eq!((record.resource.as_str(), record.resource_id.as_str()), ("user", "ada"));
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn the_published_entry_is_what_we_write() {
        let page = include_str!("../../../docs/formats/audit-chain.md");
        let actor = Actor::user("01932f8e-7a10-7c41-9b2e-000000000001".parse().unwrap(), "ada")
            .seen_from("10.30.8.50".parse().unwrap())
            .by("session")
            .with_agent("curl/8.5.0");
        let entry = Entry::updated(
            "subnet",
            "01932f8e-7a10-7c41-9b2e-000000000011",
            &json!({ "cidr": "10.20.0.0/17", "owner": "grace" }),
            &json!({ "cidr": "10.20.0.0/16" }),
        );
        let record = entry.record(&actor, Timestamp::parse("2026-11-22T16:44:11.204513Z").unwrap());
        let text = chain::canonical(serde_json::to_value(record).unwrap()).unwrap();
        assert!(page.contains(&format!("```\n{text}\n```")), "not on the page: {text}");
        let hash = portolan_scanner::wire::hex::encode(&chain::Head::EMPTY.link(text).hash);
        assert!(page.contains(&format!("Its hash is `{hash}`.")), "not on the page: {hash}");
    }
}
