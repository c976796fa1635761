//! Statements as they are asked for and answered.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::noun::Link;

/// A statement as it is kept: that there is one, not its text.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Statement {
    /// Its id (`jti`).
    pub id: Uuid,
    /// The account that it is about.
    pub account: Link,
    /// The system that it is for.
    pub audience: String,
    /// When the first of its line was issued.
    pub began_at: Timestamp,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was revoked, or replaced by a newer one.
    pub revoked_at: Option<Timestamp>,
    /// Whether it holds.
    pub holds: bool,
}

/// A statement that was just issued.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Issued {
    /// The statement: a JWT, signed with Ed25519.
    pub token: String,
    /// Its id.
    pub id: Uuid,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A statement as it is asked for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueInput {
    /// The system that it is for: what that system calls itself.
    pub audience: String,
    /// Minutes that it holds, 1 to 60; 10 when absent.
    #[serde(default)]
    pub minutes: Option<u32>,
    /// What it says that you may do; absent: all that you may.
    #[serde(default)]
    pub scopes: Option<BTreeSet<String>>,
}

/// A statement that is to be renewed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewInput {
    /// The statement. It must still hold; it is replaced.
    #[schemars(extend("format" = "password"))]
    pub token: String,
}

/// A statement that is to be checked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidateInput {
    /// The statement. Whatever else stands here does not hold.
    #[serde(default)]
    pub token: Value,
    /// What the system that asks calls itself. Without it nothing holds: a statement for another system proves nothing.
    #[serde(default)]
    pub audience: Value,
}

/// Whether a statement holds, and then what it says.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Validity {
    /// Whether it holds now, for the system that asked.
    pub valid: bool,
    /// Why not: `form`, `algorithm`, `key`, `signature`, `issuer`, `audience`, `not-yet`, `expired`, `revoked` or
    /// `account`.
    pub reason: Option<&'static str>,
    /// Its id.
    pub id: Option<Uuid>,
    /// The account.
    pub account: Option<Link>,
    /// What it says that the account may do, as far as the account may do it still.
    pub scopes: Option<BTreeSet<String>>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// What the list of statements takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatementQuery {
    /// Words of the account's name or the audience.
    pub q: Option<String>,
    /// `issued_at`, `expires_at`, `audience` or `account`; `-` in front turns it round. The newest first when absent.
    pub sort: Option<String>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}
