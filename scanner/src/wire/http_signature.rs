//! The signature of a scanner's request: HTTP Message Signatures (RFC 9421) with Ed25519, in the one form used here.
//!
//! Covered are method, path, query and `Content-Digest`; not the authority, because a scanner may dial through NAT.

use super::{Error, Id, base64};

const COVERED: &str = r#"("@method" "@path" "@query" "content-digest")"#;

/// The parameters of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// When it was made: seconds UTC, by the appliance's clock as the scanner knows it.
    pub created: i64,
    /// Used once: 22 to 64 characters of `A-Za-z0-9_-`.
    pub nonce: String,
    /// The scanner.
    pub keyid: Id,
}

impl Params {
    /// The value of the header `Signature-Input`.
    pub fn to_header(&self) -> String {
        format!("sig1={}", self.value())
    }

    fn value(&self) -> String {
        let Self { created, nonce, keyid } = self;
        format!("{COVERED};created={created};nonce=\"{nonce}\";keyid=\"{keyid}\";alg=\"ed25519\"")
    }

    /// Reads the value of the header `Signature-Input`; only what [`Params::to_header`] writes is taken.
    ///
    /// # Errors
    /// [`Error::Value`].
    pub fn from_header(header: &str) -> Result<Self, Error> {
        let read = || {
            let rest = header.strip_prefix("sig1=")?.strip_prefix(COVERED)?.strip_prefix(";created=")?;
            let (created, rest) = rest.split_once(";nonce=\"")?;
            let (nonce, rest) = rest.split_once("\";keyid=\"")?;
            let keyid = rest.strip_suffix("\";alg=\"ed25519\"")?;
            let url_safe = nonce.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if !url_safe || !(22..=64).contains(&nonce.len()) {
                return None;
            }
            Some(Self { created: created.parse().ok()?, nonce: nonce.to_owned(), keyid: keyid.parse().ok()? })
        };
        read()
            .filter(|params: &Self| params.to_header() == header)
            .ok_or_else(|| Error::value("signature-input", header))
    }
}

/// What is signed: the signature base of RFC 9421, section 2.5. `query` comes without its question mark;
/// `content_digest` is the header's value.
pub fn base(method: &str, path: &str, query: Option<&str>, content_digest: &str, params: &Params) -> String {
    let query = query.unwrap_or_default();
    let params = params.value();
    format!(
        "\"@method\": {method}\n\"@path\": {path}\n\"@query\": ?{query}\n\"content-digest\": {content_digest}\n\
         \"@signature-params\": {params}"
    )
}

/// The value of the header `Content-Digest` (RFC 9530) for a body with this SHA-256.
pub fn digest_to_header(sha256: &[u8; 32]) -> String {
    format!("sha-256=:{}:", base64::encode(sha256))
}

/// Reads the value of the header `Content-Digest`.
///
/// # Errors
/// [`Error::Value`] for anything but one SHA-256.
pub fn digest_from_header(header: &str) -> Result<[u8; 32], Error> {
    between(header, "sha-256=:").ok_or_else(|| Error::value("content-digest", header))
}

/// The value of the header `Signature`.
pub fn signature_to_header(signature: &[u8; 64]) -> String {
    format!("sig1=:{}:", base64::encode(signature))
}

/// Reads the value of the header `Signature`.
///
/// # Errors
/// [`Error::Value`] for anything but one Ed25519 signature under the label `sig1`.
pub fn signature_from_header(header: &str) -> Result<[u8; 64], Error> {
    between(header, "sig1=:").ok_or_else(|| Error::value("signature", header))
}

fn between<const N: usize>(header: &str, start: &str) -> Option<[u8; N]> {
    base64::decode_array(header.strip_prefix(start)?.strip_suffix(':')?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn params() -> Params {
        Params {
            created: 1_700_000_000,
            nonce: "abcdefghijklmnopqrstuv".into(),
            keyid: Id::from_bytes([7; 16]),
        }
    }

    #[test]
    fn the_base_is_that_of_rfc_9421() {
        assert_eq!(
            base("POST", "/scanner/v1/lease", None, "sha-256=:AA:", &params()),
            "\"@method\": POST\n\"@path\": /scanner/v1/lease\n\"@query\": ?\n\"content-digest\": sha-256=:AA:\n\
             \"@signature-params\": (\"@method\" \"@path\" \"@query\" \"content-digest\");created=1700000000;\
             nonce=\"abcdefghijklmnopqrstuv\";keyid=\"07070707-0707-0707-0707-070707070707\";alg=\"ed25519\""
        );
        assert!(base("GET", "/", Some("a=b"), "", &params()).contains("\"@query\": ?a=b\n"));
    }

    #[test]
    fn headers_have_one_spelling() {
        let header = params().to_header();
        assert_eq!(Params::from_header(&header), Ok(params()));
        for bad in [
            header.replace("sig1", "sig2"),
            header.replace("created=", "created=+"),
            header.replace(" \"content-digest\"", ""),
            header.replace("qrstuv", "q"),
            header.replace("qrstuv", "q\u{e9}stuv"),
            format!("{header};tag=\"x\""),
            format!("{header}, {header}"),
        ] {
            assert!(Params::from_header(&bad).is_err(), "{bad}");
        }
        assert_eq!(digest_from_header(&digest_to_header(&[1; 32])), Ok([1; 32]));
        assert_eq!(signature_from_header(&signature_to_header(&[2; 64])), Ok([2; 64]));
        assert!(digest_from_header("sha-512=:AAAA:").is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics(tail in "\\PC{0,80}") {
            let _ = Params::from_header(&tail);
            let _ = Params::from_header(&format!("sig1={COVERED};created={tail}"));
            let _ = signature_from_header(&format!("sig1=:{tail}:"));
        }
    }
}
