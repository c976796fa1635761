//! Why a scanner's request is refused: one type, one map to status and word.

use portolan_scanner::wire;
use portolan_scanner::wire::fields::Fields;

use super::frame;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::fleet::enrolment;

/// Why a request is not answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No client certificate was shown.
    #[error("this call needs the client certificate that enrolment gave out")]
    NoCertificate,
    /// The certificate is none of a known scanner, or of another one than the request names.
    #[error("the client certificate is not that of the scanner named")]
    UnknownCertificate,
    /// The scanner was revoked.
    #[error("this scanner was revoked")]
    Revoked,
    /// The request comes from an address that the scanner is not bound to.
    #[error("this scanner's requests may not come from this address")]
    WrongSource,
    /// The API key is missing or not this scanner's.
    #[error("the API key is not that of this scanner")]
    BadKey,
    /// Signature, digest, or their form.
    #[error("the request's signature does not hold: {0}")]
    BadSignature(&'static str),
    /// The time of the signature is outside the window.
    #[error("the signature's time is more than 60 s away from this appliance's clock")]
    Clock {
        /// The appliance's time, so that the scanner can put its own right.
        now: Timestamp,
    },
    /// The nonce was used before.
    #[error("this request was made before")]
    Replayed,
    /// The scanner may not enrol.
    #[error(transparent)]
    Enrolment(#[from] enrolment::Refusal),
    /// A results frame that does not hold.
    #[error(transparent)]
    Frame(#[from] frame::Refusal),
    /// Its job has brought more bytes than its results can come to.
    #[error("this job has brought more than its results can come to ({0} bytes): no more of it is taken")]
    OverBudget(u64),
    /// There is no such job of this scanner.
    #[error("there is no such job of this scanner")]
    UnknownJob,
    /// The body is not what the call takes.
    #[error("the body cannot be read: {0}")]
    Malformed(#[from] wire::Error),
    /// The body is larger than the call takes.
    #[error("the body is larger than this call takes")]
    TooLarge,
    /// There is no such call.
    #[error("there is no such call")]
    NotFound,
    /// The call is made by POST.
    #[error("calls are made by POST")]
    Method,
    /// Too many requests at once.
    #[error("too many requests at once from this address")]
    Busy,
    /// The body did not come in time.
    #[error("the request took too long")]
    Timeout,
    /// A fault of ours; the cause is for the log only.
    #[error("the appliance cannot do this now")]
    Ours(#[from] Error),
}

impl Refusal {
    /// The HTTP status, and one word for the answer, the audit and the count of a flood.
    #[must_use]
    pub fn status_and_slug(&self) -> (u16, &'static str) {
        match self {
            Self::NoCertificate => (401, "no-certificate"),
            Self::UnknownCertificate => (401, "unknown-certificate"),
            Self::Revoked => (401, "revoked"),
            Self::WrongSource => (401, "wrong-source"),
            Self::BadKey => (401, "bad-key"),
            Self::BadSignature(_) => (401, "bad-signature"),
            Self::Clock { .. } => (401, "clock"),
            Self::Replayed => (401, "replayed"),
            Self::Enrolment(refusal) => (403, refusal.slug()),
            Self::Frame(refusal) => (frame_status(refusal), refusal.slug()),
            Self::OverBudget(_) => (413, "over-budget"),
            Self::UnknownJob => (409, "unknown-job"),
            Self::Malformed(_) => (400, "malformed"),
            Self::TooLarge => (413, "too-large"),
            Self::NotFound => (404, "not-found"),
            Self::Method => (405, "method-not-allowed"),
            Self::Busy => (429, "busy"),
            Self::Timeout => (408, "timeout"),
            Self::Ours(_) => (503, "unavailable"),
        }
    }

    /// Whether the audit is to hear of it: whatever speaks against the one who asked. Not what is merely malformed, too
    /// much, or a fault of ours.
    #[must_use]
    pub fn is_for_the_audit(&self) -> bool {
        match self {
            Self::NoCertificate
            | Self::UnknownCertificate
            | Self::Revoked
            | Self::WrongSource
            | Self::BadKey
            | Self::BadSignature(_)
            | Self::Clock { .. }
            | Self::Replayed
            | Self::Enrolment(_)
            | Self::Frame(_)
            | Self::OverBudget(_) => true,
            Self::UnknownJob
            | Self::Malformed(_)
            | Self::TooLarge
            | Self::NotFound
            | Self::Method
            | Self::Busy
            | Self::Timeout
            | Self::Ours(_) => false,
        }
    }

    /// The body of the answer.
    #[must_use]
    pub fn body(&self) -> Fields {
        let (_, slug) = self.status_and_slug();
        let body = Fields::new().with("error", slug).with("detail", self);
        match self {
            Self::Clock { now } => body.with("now", now.micros()),
            Self::Busy | Self::Ours(_) => body.with("retry-after", 5),
            _ => body,
        }
    }
}

fn frame_status(refusal: &frame::Refusal) -> u16 {
    match refusal {
        frame::Refusal::TooLarge(_) => 413,
        frame::Refusal::UnknownJob(_) | frame::Refusal::WrongScanner(_) => 409,
        frame::Refusal::Malformed(_)
        | frame::Refusal::UnknownScanner(_)
        | frame::Refusal::BadSignature(_)
        | frame::Refusal::BadJob(_)
        | frame::Refusal::Mismatch(_) => 422,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_ours_tells_nothing_and_a_wrong_clock_tells_the_time() {
        let ours = Refusal::from(Error::internal("the key is hunter2")).body().to_string();
        assert!(!ours.contains("hunter2"), "{ours}");
        let clock = Refusal::Clock { now: Timestamp::from_micros(5) }.body();
        assert_eq!((clock.get("error"), clock.get("now")), (Some("clock"), Some("5")));
    }
}
