//! Who acts, and how it was known that it is they.

use std::fmt::Display;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// What kind of actor this is.
    pub kind: ActorKind,
    /// Stable identifier: a user's or scanner's id, else the name.
    pub id: String,
    /// Name as it was at that time.
    pub name: String,
    /// Address the request came from; absent for what the appliance does by itself.
    pub source: Option<IpAddr>,
    /// How it was known who this is: `session`, `token:` with the token's id, `operator`, `cli`, `none`; at a sign-in
    /// what was shown: `password`. A text, so that an older version reads what a newer one wrote.
    pub method: String,
    /// What they called their program (`User-Agent`), at most [`Actor::AGENT`] bytes of it; may be empty.
    pub agent: String,
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
    /// The most bytes of an agent that are kept.
    pub const AGENT: usize = 200;

    fn of(kind: ActorKind, id: impl Display, name: impl Into<String>) -> Self {
        let method = if kind == ActorKind::Cli { "cli" } else { "none" };
        Self {
            kind,
            id: id.to_string(),
            name: name.into(),
            source: None,
            method: method.into(),
            agent: String::new(),
        }
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

    /// The same actor, known in this way.
    #[must_use]
    pub fn by(mut self, method: impl Into<String>) -> Self {
        self.method = method.into();
        self
    }

    /// The same actor, with this program. What is longer than [`Actor::AGENT`] bytes is cut between two letters.
    #[must_use]
    pub fn with_agent(mut self, agent: &str) -> Self {
        self.agent = agent[..agent.floor_char_boundary(Self::AGENT)].to_owned();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_cut_between_two_letters() {
        let agent = |text: &str| Actor::nobody("").with_agent(text).agent;
        assert_eq!(agent("curl/8"), "curl/8");
        assert_eq!(agent(&"a".repeat(500)).len(), 200);
        assert_eq!(agent(&format!("{}é", "a".repeat(199))), "a".repeat(199));
    }

    #[test]
    fn who_is_not_known_by_anything_says_so() {
        for actor in [Actor::nobody("x"), Actor::system("manager"), Actor::user(Uuid::nil(), "ada")] {
            assert_eq!(actor.method, "none");
        }
        assert_eq!(Actor::cli("admin").method, "cli");
    }
}
