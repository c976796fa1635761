//! What a handler answers, and the same with its type erased.

use super::stream::{self, Writer};
use crate::error::Error;
use axum::body::Body;
use axum::body::Bytes;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

/// What every handler returns.
pub type Answer<T> = Result<Reply<T>, Error>;

/// A successful answer: a value, and how it is to be presented.
pub struct Reply<T> {
    value: T,
    pub(super) dress: Dress,
}

/// How an answer is presented, apart from its value.
#[derive(Default)]
pub(super) struct Dress {
    pub status: Option<StatusCode>,
    pub location: Option<String>,
    pub notice: Option<String>,
    pub version: Option<i64>,
    pub session: Option<SessionCookie>,
    pub theme: Option<String>,
    pub trip: Option<String>,
    pub file: Option<File>,
    pub viewed: Option<&'static str>,
}

/// A change to the session cookie.
pub(super) enum SessionCookie {
    Set(String),
    Clear,
}

/// A body that is neither JSON nor a page.
pub(super) struct File {
    pub media: &'static str,
    pub name: String,
    pub content: Content,
}

/// Where a file's bytes come from.
pub(super) enum Content {
    Whole(Bytes),
    /// Is made while it is sent, by who holds one of the few permits for it.
    Made(Box<dyn FnOnce(OwnedSemaphorePermit) -> Body + Send>),
}

/// An answer with its type erased.
pub(super) struct Outcome {
    pub value: Value,
    pub dress: Dress,
}

impl<T> Reply<T> {
    /// 200 with this value.
    pub fn ok(value: T) -> Self {
        Self { value, dress: Dress::default() }
    }

    /// 201 for a script; for a person a redirect to the new thing.
    pub fn created(location: impl Into<String>, value: T) -> Self {
        let mut reply = Self::done(location, "Created.", value);
        reply.dress.status = Some(StatusCode::CREATED);
        reply
    }

    /// 201 for a script; for a person the row's own page, now: for what holds a secret that is told once.
    pub fn once(value: T) -> Self {
        let mut reply = Self::ok(value);
        reply.dress.status = Some(StatusCode::CREATED);
        reply
    }

    /// 200 for a script; for a person a redirect with a notice.
    pub fn done(location: impl Into<String>, notice: impl Into<String>, value: T) -> Self {
        let mut reply = Self::ok(value);
        reply.dress.location = Some(location.into());
        reply.dress.notice = Some(notice.into());
        reply
    }

    /// A redirect without a notice, for a person; 200 for a script.
    pub fn redirect(location: impl Into<String>, value: T) -> Self {
        let mut reply = Self::ok(value);
        reply.dress.location = Some(location.into());
        reply
    }

    /// Says something above the page.
    #[must_use]
    pub fn notice(mut self, notice: impl Into<String>) -> Self {
        self.dress.notice = Some(notice.into());
        self
    }

    /// The row's version: an `ETag` on JSON.
    #[must_use]
    pub fn version(mut self, version: i64) -> Self {
        self.dress.version = Some(version);
        self
    }

    /// Sets the session cookie to this token.
    #[must_use]
    pub fn start_session(mut self, token: String) -> Self {
        self.dress.session = Some(SessionCookie::Set(token));
        self
    }

    /// Removes the session cookie.
    #[must_use]
    pub fn end_session(mut self) -> Self {
        self.dress.session = Some(SessionCookie::Clear);
        self
    }

    /// What the browser takes along to a provider; none: it is back.
    #[must_use]
    pub fn trip(mut self, trip: Option<String>) -> Self {
        self.dress.trip = Some(trip.unwrap_or_default());
        self
    }

    /// What this answer shows is not for everyone, though its row is: a look at it is an entry, as [`super::Routes::viewed`]
    /// says of a row whose every answer is so. The answer to a change is one only where nothing was left to change.
    #[must_use]
    pub fn viewed(mut self, resource: &'static str) -> Self {
        self.dress.viewed = Some(resource);
        self
    }

    /// Remembers the chosen theme in a cookie.
    #[must_use]
    pub fn theme(mut self, theme: impl Into<String>) -> Self {
        self.dress.theme = Some(theme.into());
        self
    }

    /// Answers with a file instead of the value, sent while `work` writes it on the blocking pool; it is a download
    /// of this name.
    #[must_use]
    pub fn file<E: std::error::Error + Send + Sync + 'static>(
        mut self,
        media: &'static str,
        name: String,
        work: impl FnOnce(&mut Writer) -> Result<(), E> + Send + 'static,
    ) -> Self {
        self.dress.file =
            Some(File { media, name, content: Content::Made(Box::new(|permit| stream::body(permit, work))) });
        self
    }
}

impl<T> Reply<T> {
    /// Answers with a file that is there as a whole instead of the value: no thread waits for a slow reader.
    #[must_use]
    pub fn whole(mut self, media: &'static str, name: &str, bytes: impl Into<Bytes>) -> Self {
        self.dress.file = Some(File { media, name: name.to_owned(), content: Content::Whole(bytes.into()) });
        self
    }
}

impl<T: Serialize> Reply<T> {
    pub(super) fn erase(self) -> Result<Outcome, Error> {
        let value = serde_json::to_value(self.value).map_err(Error::internal)?;
        Ok(Outcome { value, dress: self.dress })
    }
}
