//! The audit: who did what to which resource, when, from where, and what exactly changed.
//!
//! Every change of config.db carries its [`Entry`] in the same transaction ([`crate::store::Store::change`]).
//! The entries form a chain ([`chain`]) that anyone can check without this program's help; signed heads of it
//! ([`checkpoint`]) show that its end is there and that it was not written anew.

pub mod chain;
pub mod checkpoint;
pub mod checkpoints;
mod diff;
mod names;
pub mod routes;
pub mod store;

use std::fmt::Display;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::clock::Timestamp;
pub use diff::{Change, diff};

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// What kind of actor this is.
    pub kind: ActorKind,
    /// Stable identifier: a user's or scanner's id, else the name.
    pub id: String,
    /// Name as it was at that time.
    pub name: String,
    /// Address the request came from; absent for what the appliance does by itself.
    pub source: Option<IpAddr>,
}

/// Kinds of [`Actor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ActorKind {
    /// Someone who signed in.
    User,
    /// Someone who did not (a refused sign-in, a refused scanner).
    Nobody,
    /// A part of the appliance.
    System,
    /// An enrolled scanner.
    Scanner,
    /// Someone at the command line of the appliance.
    Cli,
}

impl ActorKind {
    /// The spelling in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Nobody => "nobody",
            Self::System => "system",
            Self::Scanner => "scanner",
            Self::Cli => "cli",
        }
    }
}

impl Actor {
    fn of(kind: ActorKind, id: impl Display, name: impl Into<String>) -> Self {
        Self { kind, id: id.to_string(), name: name.into(), source: None }
    }

    /// A signed-in user.
    pub fn user(id: Uuid, name: impl Into<String>) -> Self {
        Self::of(ActorKind::User, id, name)
    }

    /// Someone unknown; `name` is what they called themselves, if anything.
    pub fn nobody(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::of(ActorKind::Nobody, "", name)
    }

    /// A part of the appliance: `manager`, `dispatcher`.
    #[must_use]
    pub fn system(part: &str) -> Self {
        Self::of(ActorKind::System, part, part)
    }

    /// An enrolled scanner.
    pub fn scanner(id: impl Display, name: impl Into<String>) -> Self {
        Self::of(ActorKind::Scanner, id, name)
    }

    /// Someone at the appliance's command line.
    pub fn cli(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::of(ActorKind::Cli, name.clone(), name)
    }

    /// The same actor, seen from this address. IPv4-mapped addresses become IPv4.
    #[must_use]
    pub fn seen_from(mut self, source: IpAddr) -> Self {
        self.source = Some(source.to_canonical());
        self
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
            action: format!("{resource}.{verb}"),
            resource: resource.into(),
            resource_id: id.to_string(),
            outcome: Outcome::Done,
            changes,
            detail: Value::Null,
        }
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

    use super::*;

    #[test]
    fn an_entry_says_who_what_and_how() {
        let actor = Actor::user(Uuid::nil(), "ada").seen_from("::ffff:10.0.0.7".parse().unwrap());
        let entry = Entry::event("sign-in.failed", &json!({ "password": "hunter2", "tries": 3 }))
            .on("user", "ada")
            .outcome(Outcome::Refused);
        let record = entry.record(&actor, Timestamp::EPOCH);
        let text = serde_json::to_string(&record).unwrap();
        assert!(!text.contains("hunter2"));
        assert_eq!(record.actor.source, Some("10.0.0.7".parse().unwrap()));
        assert_eq!((record.resource.as_str(), record.resource_id.as_str()), ("user", "ada"));
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
