//! The one map from an error to an HTTP answer (RFC 9457).

use crate::error::{Error, FieldError};
use axum::http::StatusCode;
use serde::Serialize;

/// When to try again what is done a few times at once only, in seconds.
const BUSY_S: u64 = 60;

/// The body of an error answer, `application/problem+json`.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// A relative reference to the page that explains this kind of problem.
    pub r#type: String,
    /// The kind in a few words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// This occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The request's id: the log has the cause under it.
    pub instance: String,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    #[serde(skip)]
    pub retry_s: Option<u64>,
}

impl Problem {
    /// What a caller is told of an error. An internal cause goes to the log under the request's id, nowhere else.
    pub fn of(error: Error, request_id: &str) -> Self {
        let mut errors = Vec::new();
        let mut retry_s = None;
        let (status, kind, title, detail) = match error {
            Error::NotFound { what, id } => {
                (404, "not-found", "Not found", Some(format!("There is no {what} {id}.")))
            }
            Error::NoRoute => (404, "not-found", "Not found", Some("There is no such page.".to_owned())),
            Error::Method => (405, "method-not-allowed", "Method not allowed", None),
            Error::Invalid(fields) => {
                errors = fields;
                (422, "invalid", "Check the marked fields", None)
            }
            Error::Beyond { refused, .. } => {
                errors = vec![refused];
                (422, "invalid", "Check the marked fields", None)
            }
            Error::InUse { what, by } => {
                (409, "in-use", "Still in use", Some(format!("{what} is used by {}.", by.join(", "))))
            }
            Error::Conflict(detail) => (409, "conflict", "Not possible now", Some(detail)),
            Error::Stale => (
                412,
                "stale",
                "Changed meanwhile",
                Some(
                    "Someone changed this after you opened it. Open it again and repeat your change."
                        .to_owned(),
                ),
            ),
            Error::SignIn => (401, "sign-in", "Sign in first", None),
            Error::Unfinished(stage) => (
                401,
                "unfinished",
                "Finish signing in",
                Some(format!("{} Go on at {}.", stage.wants(), stage.page())),
            ),
            Error::Prove => (
                403,
                "prove",
                "Prove who you are",
                Some(
                    "This is dangerous: prove at /prove who you are, then do it again. It holds for five minutes."
                        .to_owned(),
                ),
            ),
            Error::Forbidden => {
                (403, "forbidden", "Not allowed", Some("Your role does not allow this.".to_owned()))
            }
            Error::BadToken => (
                401,
                "token",
                "Token refused",
                Some("It is unknown, revoked or expired, or it may not come from this address.".to_owned()),
            ),
            Error::InPerson => {
                (403, "in-person", "Only in person", Some("An API token cannot do this: sign in.".to_owned()))
            }
            Error::NoAccount => (
                403,
                "no-account",
                "Needs an account",
                Some(
                    "This is about the caller's own account, and this machine's operator has none: sign in, or come \
                     with an account's token."
                        .to_owned(),
                ),
            ),
            Error::CrossSite => (
                403,
                "cross-site",
                "Refused",
                Some("The request did not come from a page of this appliance.".to_owned()),
            ),
            Error::Setup => (
                503,
                "setup",
                "Not set up yet",
                Some("Open /setup in a browser and make the owner.".to_owned()),
            ),
            Error::TooLarge => {
                (413, "too-large", "Too large", Some("The body is larger than this takes.".to_owned()))
            }
            Error::UnsupportedMedia => (
                415,
                "unsupported-media",
                "Unsupported media type",
                Some("Send application/json or a form.".to_owned()),
            ),
            Error::NotAcceptable => {
                (406, "not-acceptable", "Not acceptable", Some("This answers JSON or HTML.".to_owned()))
            }
            Error::RateLimited { retry_s: seconds } => {
                retry_s = Some(seconds);
                (429, "rate-limited", "Too many tries", Some(format!("Try again in {seconds} s.")))
            }
            Error::Busy => {
                retry_s = Some(BUSY_S);
                let said = "As many files as are sent at once are being sent. Try again in a minute.";
                (503, "busy", "Busy", Some(said.to_owned()))
            }
            Error::OnTrial => {
                retry_s = Some(BUSY_S);
                let said = "The version that runs since the last start is on trial for some minutes. What is changed now \
                            would be lost if the one before came back, so nothing is. Try again in a minute.";
                (503, "on-trial", "An update is on trial", Some(said.to_owned()))
            }
            Error::Timeout => (503, "timeout", "This took too long", None),
            Error::Unavailable(detail) => (503, "unavailable", "Not available now", Some(detail)),
            Error::Internal(cause) => {
                tracing::error!(request = request_id, cause = %chain(&*cause), "internal error");
                (
                    500,
                    "internal",
                    "Something failed here",
                    Some("The log has the cause under this id.".to_owned()),
                )
            }
        };
        Self {
            r#type: format!("/docs/errors#{kind}"),
            title,
            status,
            detail,
            instance: request_id.to_owned(),
            errors,
            retry_s,
        }
    }

    /// The status as a type.
    pub fn code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_cause_is_never_told() {
        let problem = Problem::of(Error::internal(std::io::Error::other("the key is hunter2")), "r1");
        assert_eq!(problem.status, 500);
        assert!(!serde_json::to_string(&problem).unwrap().contains("hunter2"));
    }
}
