//! Whether a request is that of a scanner: certificate, address, API key, then the signature over what it asks
//! (RFC 9421). Pure: who is known and what time it is are parameters. Only what is left is asked of jobs.db: that the
//! nonce is new.

use std::net::IpAddr;
use std::str::FromStr as _;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use portolan_scanner::net::{Ranges, addr_to_u128};
use portolan_scanner::wire::http_signature::{self, Params};
use portolan_scanner::wire::{Id, base64, hex};

use super::refusal::Refusal;
use crate::clock::Timestamp;
use crate::secrets::{self, sha256, signing};
use crate::tls;

/// How far the time of a signature may be from the appliance's clock, either way.
pub const WINDOW: Duration = Duration::from_secs(60);

/// What there is of a request before its body.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path, as it was sent.
    pub path: &'a str,
    /// The query without its question mark, as it was sent.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The client certificate, DER.
    pub certificate: Option<&'a [u8]>,
    /// The peer's address.
    pub source: IpAddr,
}

/// A scanner as jobs.db knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The scanner.
    pub id: Id,
    /// SHA-256 of its API key, hex.
    pub api_key_sha256: String,
    /// Its Ed25519 key, base64.
    pub public_key: String,
    /// Ranges its requests may come from; empty: any.
    pub binding: String,
    /// It may not come any more.
    pub revoked: bool,
}

/// A request whose sender is known by certificate and key; the signature is still to be checked against the body.
#[derive(Debug)]
pub struct Claim {
    known: Known,
    params: Params,
    digest: [u8; 32],
    digest_header: String,
    signature: [u8; 64],
}

/// A request that the scanner made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The scanner.
    pub scanner: Id,
    /// Its Ed25519 key.
    pub public_key: [u8; 32],
    /// To be taken once.
    pub nonce: String,
    /// When the nonce may be forgotten.
    pub nonce_expires: Timestamp,
}

/// The fingerprint by which the sender is looked up.
///
/// # Errors
/// [`Refusal::NoCertificate`].
pub fn fingerprint(asked: &Asked) -> Result<String, Refusal> {
    asked.certificate.map(tls::fingerprint).ok_or(Refusal::NoCertificate)
}

/// Checks what can be checked before the body is read. `known` is the scanner whose certificate was shown.
///
/// # Errors
/// The first thing that does not hold.
pub fn claim(asked: &Asked, known: Option<Known>, now: Timestamp) -> Result<Claim, Refusal> {
    let known = known.ok_or(Refusal::UnknownCertificate)?;
    if known.revoked {
        return Err(Refusal::Revoked);
    }
    if !is_bound_to(&known.binding, asked.source) {
        return Err(Refusal::WrongSource);
    }
    let key = one(asked.headers, AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
    let hash = hex::encode(&sha256(key.ok_or(Refusal::BadKey)?.as_bytes()));
    if !secrets::equal(hash.as_bytes(), known.api_key_sha256.as_bytes()) {
        return Err(Refusal::BadKey);
    }
    let header = |name, wrong| one(asked.headers, name).ok_or(Refusal::BadSignature(wrong));
    let params = Params::from_header(header("signature-input", "Signature-Input is missing or there twice")?)
        .map_err(|_| Refusal::BadSignature("Signature-Input is not in the one form taken here"))?;
    if params.keyid != known.id {
        return Err(Refusal::UnknownCertificate);
    }
    let signature = header("signature", "Signature is missing or there twice")?;
    let signature = http_signature::signature_from_header(signature)
        .map_err(|_| Refusal::BadSignature("Signature is not an Ed25519 signature labelled sig1"))?;
    let digest_header = header("content-digest", "Content-Digest is missing or there twice")?.to_owned();
    let digest = http_signature::digest_from_header(&digest_header)
        .map_err(|_| Refusal::BadSignature("Content-Digest is not one SHA-256"))?;
    if params.created.abs_diff(now.seconds()) > WINDOW.as_secs() {
        return Err(Refusal::Clock { now });
    }
    Ok(Claim { known, params, digest, digest_header, signature })
}

impl Claim {
    /// Checks the body against the digest, and the signature over all.
    ///
    /// # Errors
    /// [`Refusal::BadSignature`].
    pub fn hold(self, asked: &Asked, body: &[u8]) -> Result<Verified, Refusal> {
        if sha256(body) != self.digest {
            return Err(Refusal::BadSignature("the body is not the one that Content-Digest names"));
        }
        let public_key = base64::decode_array::<32>(&self.known.public_key)
            .map_err(|_| Refusal::BadSignature("the key of this scanner cannot be read"))?;
        let Asked { method, path, query, .. } = *asked;
        let base = http_signature::base(method, path, query, &self.digest_header, &self.params);
        if !signing::verify(&public_key, base.as_bytes(), &self.signature) {
            return Err(Refusal::BadSignature("it is not that of this scanner over this request"));
        }
        let created = self.params.created.saturating_mul(1_000_000);
        // From then on the window refuses it: a second more, because `created` and the window are in whole seconds.
        let nonce_expires = Timestamp::from_micros(created) + WINDOW + Duration::from_secs(1);
        Ok(Verified { scanner: self.known.id, public_key, nonce: self.params.nonce, nonce_expires })
    }
}

/// The value of a header that is there exactly once, in visible ASCII.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// A binding that cannot be read binds to nowhere.
fn is_bound_to(binding: &str, source: IpAddr) -> bool {
    binding.is_empty() || Ranges::from_str(binding).is_ok_and(|ranges| ranges.contains(addr_to_u128(source)))
}

#[cfg(test)]
#[path = "verify_test.rs"]
mod tests;
