//! What can go wrong, as the caller sees it. `web/` maps each case to one status and one page; nothing here
//! knows of HTTP.

use std::error::Error as StdError;

use crate::identity::Stage;
use schemars::JsonSchema;
use serde::Serialize;

/// One field that was refused, and why, in words for the person who typed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// Name of the field as the form and the JSON spell it.
    pub field: String,
    /// What is wrong with it and, where that helps, what would be right.
    pub message: String,
}

/// Everything a service can answer instead of what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing.
    #[error("no {what} {id}")]
    NotFound {
        /// The noun: `subnet`.
        what: &'static str,
        /// What was looked for.
        id: String,
    },
    /// No route has this path.
    #[error("no such page")]
    NoRoute,
    /// The path exists, but not for this method.
    #[error("not with this method")]
    Method,
    /// A changing request that another site's page may have caused.
    #[error("the request did not come from a page of this appliance")]
    CrossSite,
    /// It took longer than a request may.
    #[error("took too long")]
    Timeout,
    /// Fields were refused; nothing was changed.
    #[error("refused: {}", list(.0))]
    Invalid(Vec<FieldError>),
    /// The caller would give, or take, what they do not hold themselves. Told as a refused field, and written down as a
    /// permission denied.
    #[error("refused: {}: {}", .refused.field, .refused.message)]
    Beyond {
        /// The field, and why.
        refused: FieldError,
        /// The scope that they lack.
        scope: String,
    },
    /// It cannot be deleted: others use it.
    #[error("{what} is used by {}", .by.join(", "))]
    InUse {
        /// The thing in use: `subnet "Plant A"`.
        what: String,
        /// Who uses it, in words.
        by: Vec<String>,
    },
    /// It clashes with what is there; the sentence says how.
    #[error("{0}")]
    Conflict(String),
    /// It was changed by someone else since the caller read it.
    #[error("changed by someone else since you opened it")]
    Stale,
    /// The caller is known but may not.
    #[error("not allowed")]
    Forbidden,
    /// The caller must sign in first.
    #[error("sign in first")]
    SignIn,
    /// The caller began to sign in, and something is still missing.
    #[error("finish signing in first: {}", .0.wants())]
    Unfinished(Stage),
    /// The caller must prove again who they are before something this dangerous.
    #[error("prove who you are first")]
    Prove,
    /// The token that was shown is not good, or not from here.
    #[error("the token is not accepted")]
    BadToken,
    /// A person does this, not a token.
    #[error("not with an API token")]
    InPerson,
    /// This needs an account, and this machine's operator is none.
    #[error("this needs an account")]
    NoAccount,
    /// The appliance has no owner yet.
    #[error("not set up yet")]
    Setup,
    /// The body is larger than this route takes.
    #[error("too large")]
    TooLarge,
    /// The body is of a kind this route does not read.
    #[error("this kind of body is not read here")]
    UnsupportedMedia,
    /// The caller accepts nothing this route can write.
    #[error("nothing acceptable to answer with")]
    NotAcceptable,
    /// Too many tries; again after some seconds.
    #[error("too many tries; again in {retry_s} s")]
    RateLimited {
        /// Seconds to wait.
        retry_s: u64,
    },
    /// As much of this is done already as is done at once.
    #[error("as many of these as are made at once are being made")]
    Busy,
    /// An update is on trial, and what is changed now would be lost if the version before came back.
    #[error("an update is on trial: nothing is changed until it is known to be good")]
    OnTrial,
    /// Something needed is not there right now; the sentence says what.
    #[error("{0}")]
    Unavailable(String),
    /// A fault of ours; the cause is for the log only.
    #[error("internal: {0}")]
    Internal(#[source] Box<dyn StdError + Send + Sync>),
}

/// [`std::result::Result`] with our [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

fn list(fields: &[FieldError]) -> String {
    fields.iter().map(|f| format!("{}: {}", f.field, f.message)).collect::<Vec<_>>().join("; ")
}

impl Error {
    /// One refused field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { field: field.into(), message: message.into() }])
    }

    /// The caller lacks `scope`, and so cannot give or take it by this field.
    pub fn beyond(field: &str, scope: &str, message: impl Into<String>) -> Self {
        let refused = FieldError { field: field.to_owned(), message: message.into() };
        Self::Beyond { refused, scope: scope.to_owned() }
    }

    /// There is no `what` of this id.
    pub fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }

    /// `what` cannot go: `by` use it.
    pub fn in_use(what: impl Into<String>, by: Vec<String>) -> Self {
        Self::InUse { what: what.into(), by }
    }

    /// A clash, in a sentence.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::Conflict(detail.into())
    }

    /// A fault of ours, with its cause (an error or a sentence).
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }

    /// For a write that may break a UNIQUE rule: that becomes a refused field, all else stays what it is.
    /// `insert(…).map_err(|e| Error::taken(e, "name", "another subnet has this name"))`
    pub fn taken(error: rusqlite::Error, field: &str, message: &str) -> Self {
        match error.sqlite_error().map(|e| e.extended_code) {
            Some(rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => {
                Self::invalid(field, message)
            }
            _ => error.into(),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                Self::Unavailable("the database is busy; try again".into())
            }
            Some(rusqlite::ErrorCode::DiskFull) => Self::Unavailable("the disk is full".into()),
            _ => Self::internal(error),
        }
    }
}

macro_rules! internal_from {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::internal(error)
            }
        }
    )*};
}
internal_from!(std::io::Error, serde_json::Error, refinery::Error, tokio::task::JoinError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_unique_rule_names_the_field() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (name TEXT UNIQUE) STRICT; INSERT INTO t VALUES ('a')").unwrap();
        let twice = db.execute("INSERT INTO t VALUES ('a')", []).unwrap_err();
        let Error::Invalid(fields) = Error::taken(twice, "name", "taken") else { panic!("not Invalid") };
        assert_eq!(fields[0].field, "name");
        let other = db.execute("INSERT INTO nowhere VALUES ('a')", []).unwrap_err();
        assert!(matches!(Error::taken(other, "name", "taken"), Error::Internal(_)));
    }
}
