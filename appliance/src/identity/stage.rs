//! What a sign-in still lacks. A session that is not [`Stage::Full`] reaches only the page that completes it.

use super::users::store;
use super::{factors, roles};
use crate::error::Result;
use rusqlite::Connection;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How far a sign-in has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Done: the session holds what its user may do.
    Full,
    /// A second factor is missing.
    SecondFactor,
    /// The password must be replaced first.
    NewPassword,
}

impl Stage {
    /// The spelling in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::SecondFactor => "second-factor",
            Self::NewPassword => "new-password",
        }
    }

    /// The page that completes it.
    #[must_use]
    pub fn page(self) -> &'static str {
        match self {
            Self::Full => "/",
            Self::SecondFactor => "/sign-in/second-factor",
            Self::NewPassword => "/sign-in/new-password",
        }
    }

    /// What is missing, in words.
    #[must_use]
    pub fn wants(self) -> &'static str {
        match self {
            Self::Full => "Nothing is missing.",
            Self::SecondFactor => "A second factor is missing.",
            Self::NewPassword => "The password must be replaced first.",
        }
    }

    /// Where a session of `user` stands now that was kept at this stage. One that is complete falls back once a role asks
    /// for a second factor, if none was given in it (`strong`): at the next request, not at the next sign-in.
    ///
    /// # Errors
    /// Any from the database.
    pub(super) fn now(self, db: &Connection, user: Uuid, strong: bool) -> Result<Self> {
        match self {
            Self::Full if !strong && roles::second_factor_needed(db, user)? => Ok(Self::SecondFactor),
            kept => Ok(kept),
        }
    }

    /// Where `user` stands after `passed`, which is none right after the name and the password.
    ///
    /// # Errors
    /// Any from the database.
    pub(super) fn after(db: &Connection, user: Uuid, passed: Option<Self>) -> Result<Self> {
        if passed.is_none() && factors::is_needed(db, user)? {
            return Ok(Self::SecondFactor);
        }
        if passed != Some(Self::NewPassword) && store::must_change(db, user)? {
            return Ok(Self::NewPassword);
        }
        Ok(Self::Full)
    }
}

impl ToSql for Stage {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for Stage {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "full" => Ok(Self::Full),
            "second-factor" => Ok(Self::SecondFactor),
            "new-password" => Ok(Self::NewPassword),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}
