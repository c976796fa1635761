//! A statement as text: a JWT (RFC 7519) signed with Ed25519 (RFC 8037), and nothing else that JOSE knows. Pure: no
//! database, no clock. The algorithm is looked at before the signature, and there is one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::secrets::sha256;
use crate::secrets::signing::{StatementKey, verify};

/// The longest text that is looked at, in bytes.
pub const LONGEST: usize = 8 * 1024;
/// The one algorithm.
const ALGORITHM: &str = "EdDSA";

/// What a statement says. Times are seconds since 1970, as RFC 7519 has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The appliance.
    pub iss: String,
    /// The account.
    pub sub: Uuid,
    /// What the account is called.
    pub name: String,
    /// The system that it is for.
    pub aud: String,
    /// When it was issued.
    pub iat: i64,
    /// From when it holds.
    pub nbf: i64,
    /// When it ends.
    pub exp: i64,
    /// Its id.
    pub jti: Uuid,
    /// What the account may do here, with spaces between (RFC 8693, section 4.2).
    pub scope: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// Why a statement does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not spelled as one.
    Form,
    /// It names another algorithm than ours.
    Algorithm,
    /// It names another key.
    Key,
    /// The signature is not that of the key over this text.
    Signature,
    /// It was made by another appliance.
    Issuer,
    /// It is for another system.
    Audience,
    /// It does not hold yet.
    NotYet,
    /// Its time is over.
    Expired,
    /// It was revoked, or replaced by a newer one.
    Revoked,
    /// Its account is disabled or gone.
    Account,
}

impl Refusal {
    /// The word for it in an answer.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::NotYet => "not-yet",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Account => "account",
        }
    }
}

/// The name of a key: its thumbprint (RFC 7638).
#[must_use]
pub fn key_id(public: &[u8; 32]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public);
    URL_SAFE_NO_PAD.encode(sha256(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes()))
}

/// The public key as a JWK (RFC 8037).
#[must_use]
pub fn public_jwk(public: &[u8; 32]) -> serde_json::Value {
    json!({
        "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(public),
        "kid": key_id(public), "alg": ALGORITHM, "use": "sig",
    })
}

/// The statement, signed.
#[must_use]
pub fn sign(key: &StatementKey, claims: &Claims) -> String {
    let header = json!({ "alg": ALGORITHM, "typ": "JWT", "kid": key_id(&key.public()) });
    let text = format!("{}.{}", encoded(&header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn encoded(value: &impl Serialize) -> String {
    URL_SAFE_NO_PAD
        .encode(serde_json::to_vec(value).expect("texts, numbers and ids are always written as JSON"))
}

/// What must be true of a statement beside its signature.
pub struct Wanted<'a> {
    /// Who made it.
    pub issuer: &'a str,
    /// Whom it is for; none: whoever.
    pub audience: Option<&'a str>,
    /// The time, in seconds since 1970.
    pub now: i64,
}

/// What a statement says, if it holds.
///
/// # Errors
/// The first reason why it does not, in the order of [`Refusal`].
pub fn read(public: &[u8; 32], text: &str, wanted: &Wanted) -> Result<Claims, Refusal> {
    if text.len() > LONGEST {
        return Err(Refusal::Form);
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(Refusal::Form)?;
    let (header, claims) = signed.split_once('.').ok_or(Refusal::Form)?;
    // First of all what it claims to be: nothing else of it decides how it is checked. A header with more in it than
    // ours (`crit`, `jwk`, `b64`) is not one of ours.
    let algorithm: serde_json::Value = decoded(header)?;
    if algorithm.get("alg").and_then(|alg| alg.as_str()) != Some(ALGORITHM) {
        return Err(Refusal::Algorithm);
    }
    let header: Header = serde_json::from_value(algorithm).map_err(|_| Refusal::Form)?;
    if header.kid != key_id(public) {
        return Err(Refusal::Key);
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::Form)?;
    let signature: [u8; 64] = signature.try_into().map_err(|_| Refusal::Signature)?;
    if !verify(public, signed.as_bytes(), &signature) {
        return Err(Refusal::Signature);
    }
    let claims: Claims = decoded(claims)?;
    if header.typ != "JWT" {
        return Err(Refusal::Form);
    }
    if claims.iss != wanted.issuer {
        return Err(Refusal::Issuer);
    }
    if wanted.audience.is_some_and(|audience| claims.aud != audience) {
        return Err(Refusal::Audience);
    }
    if claims.nbf > wanted.now || claims.iat > wanted.now {
        return Err(Refusal::NotYet);
    }
    if claims.exp <= wanted.now {
        return Err(Refusal::Expired);
    }
    Ok(claims)
}

fn decoded<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Form)?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::Form)
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use serde_json::Value;
    use sha2::Sha256;

    use super::*;
    use crate::ids::Random;

    const NOW: i64 = 1_795_350_000;

    fn key() -> StatementKey {
        StatementKey::make(&Random::seeded(1)).0
    }

    fn claims() -> Claims {
        Claims {
            iss: "https://portolan.test".into(),
            sub: Uuid::from_u128(7),
            name: "ada".into(),
            aud: "historian".into(),
            iat: NOW - 10,
            nbf: NOW - 10,
            exp: NOW + 600,
            jti: Uuid::from_u128(9),
            scope: "scans:view".into(),
        }
    }

    fn check(text: &str) -> Result<Claims, Refusal> {
        let wanted = Wanted { issuer: "https://portolan.test", audience: Some("historian"), now: NOW };
        read(&key().public(), text, &wanted)
    }

    /// A statement with another header, its signature made by `sign`.
    fn forged(header: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let text = format!("{}.{}", encoded(header), encoded(&claims()));
        let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
        format!("{text}.{signature}")
    }

    #[test]
    fn a_statement_that_was_signed_here_holds() {
        assert_eq!(check(&sign(&key(), &claims())), Ok(claims()));
    }

    #[test]
    fn no_other_algorithm_is_taken_whatever_its_signature() {
        let public = key().public();
        let kid = key_id(&public);
        let hmac = |bytes: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&public).unwrap();
            mac.update(bytes);
            mac.finalize().into_bytes().to_vec()
        };
        let ours = |bytes: &[u8]| key().sign(bytes).to_vec();
        let header = |alg: Value| json!({ "alg": alg, "typ": "JWT", "kid": kid });
        for (name, text) in [
            ("none", forged(&header(json!("none")), |_| vec![])),
            ("None, signed", forged(&header(json!("None")), ours)),
            ("HS256 by the public key", forged(&header(json!("HS256")), hmac)),
            ("HS256, signed by the key", forged(&header(json!("HS256")), ours)),
            ("ES256", forged(&header(json!("ES256")), ours)),
            ("lower case", forged(&header(json!("eddsa")), ours)),
            ("a list", forged(&header(json!(["EdDSA"])), ours)),
            ("absent", forged(&json!({ "typ": "JWT", "kid": kid }), ours)),
        ] {
            assert_eq!(check(&text), Err(Refusal::Algorithm), "{name}");
        }
        // Ours by name, but an HMAC in the place of the signature.
        assert_eq!(check(&forged(&header(json!("EdDSA")), hmac)), Err(Refusal::Signature));
    }

    #[test]
    fn a_header_that_brings_its_own_key_or_conditions_is_none_of_ours() {
        let (other, _) = StatementKey::make(&Random::seeded(2));
        let signed = |header: Value| forged(&header, |bytes| other.sign(bytes).to_vec());
        let (kid, theirs) = (key_id(&key().public()), key_id(&other.public()));
        for (header, why) in [
            (json!({ "alg": "EdDSA", "typ": "JWT", "kid": theirs }), Refusal::Key),
            (json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid }), Refusal::Signature),
            (
                json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid, "jwk": public_jwk(&other.public()) }),
                Refusal::Form,
            ),
            (
                json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid, "crit": ["b64"], "b64": false }),
                Refusal::Form,
            ),
            (json!({ "alg": "EdDSA", "typ": "JWT" }), Refusal::Form),
        ] {
            assert_eq!(check(&signed(header.clone())), Err(why), "{header}");
        }
    }

    #[test]
    fn one_that_is_over_or_to_come_or_of_others_does_not_hold() {
        let with = |change: fn(&mut Claims)| {
            let mut claims = claims();
            change(&mut claims);
            check(&sign(&key(), &claims))
        };
        assert_eq!(with(|claims| claims.exp = NOW), Err(Refusal::Expired));
        assert_eq!(with(|claims| claims.exp = NOW + 1).map(|claims| claims.exp), Ok(NOW + 1));
        assert_eq!(with(|claims| claims.nbf = NOW + 1), Err(Refusal::NotYet));
        assert_eq!(with(|claims| claims.iat = NOW + 1), Err(Refusal::NotYet));
        assert_eq!(with(|claims| claims.aud = "historian2".into()), Err(Refusal::Audience));
        assert_eq!(with(|claims| claims.iss = "https://elsewhere.test".into()), Err(Refusal::Issuer));
    }

    #[test]
    fn whatever_is_bent_or_cut_off_does_not_hold() {
        let text = sign(&key(), &claims());
        for at in 0..text.len() {
            let mut bent = text.clone().into_bytes();
            bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
            assert!(check(&String::from_utf8(bent).unwrap()).is_err(), "byte {at}");
            assert!(check(&text[..at]).is_err(), "cut at {at}");
        }
        for garbage in
            ["", ".", "..", "...", "a.b.c", "é.é.é", &"A".repeat(LONGEST + 1), &format!("{text}.x")]
        {
            assert!(check(garbage).is_err(), "{garbage}");
        }
    }

    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        // The example of RFC 8037, appendix A.3.
        let x = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert_eq!(key_id(&x.try_into().unwrap()), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
