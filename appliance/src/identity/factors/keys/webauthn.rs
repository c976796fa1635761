//! What a browser says of a security key, checked (W3C Web Authentication, sections 7.1 and 7.2). Pure: no database,
//! no clock.
//!
//! Why no library does this: `webauthn-rs` links OpenSSL; those without it are young, kept by one person each, and
//! bring another implementation of every signature that aws-lc-rs, linked for TLS, has already. And what is needed is
//! small, because no attestation is asked for: a registration is a public key that the signed-in user brings.

use aws_lc_rs::signature;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value;
use serde::{Deserialize, Serialize};

use crate::secrets;

/// Signature algorithms that are taken, by their COSE numbers, the preferred first.
pub const ALGORITHMS: [i64; 3] = [-7, -8, -257];
/// Most bytes of a credential's id.
const ID_MAX: usize = 1023;

const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const WITH_KEY: u8 = 0x40;
const WITH_EXTENSIONS: u8 = 0x80;

/// What the browser was asked, and where.
pub struct Asked<'a> {
    /// The challenge that was given.
    pub challenge: &'a [u8],
    /// The page's origin: `https://name` with the port, if it is not 443.
    pub origin: &'a str,
    /// The relying party's id: the name alone.
    pub rp: &'a str,
    /// Whether the key must have verified its user, by a PIN or a finger.
    pub verified: bool,
}

/// A key as it was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id, chosen by the key.
    pub id: Vec<u8>,
    /// Its public key.
    pub key: PublicKey,
    /// Its counter of signatures; zero when it keeps none.
    pub count: u32,
    /// It verified its user.
    pub verified: bool,
}

/// A public key; its parts are URL-safe base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "algorithm")]
pub enum PublicKey {
    /// ECDSA over P-256 with SHA-256: an uncompressed point.
    Es256 { point: String },
    /// Ed25519.
    Ed25519 { point: String },
    /// RSA (PKCS #1, version 1.5) with SHA-256.
    Rs256 { modulus: String, exponent: String },
}

/// A signature of a key, as the browser brings it.
pub struct Signed<'a> {
    pub client_data: &'a [u8],
    pub authenticator_data: &'a [u8],
    pub signature: &'a [u8],
}

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("is not what a browser sends")]
    Form,
    #[error("answers another question")]
    Challenge,
    #[error("comes from another page than this one")]
    Origin,
    #[error("is for another site")]
    Site,
    #[error("was made without a touch")]
    Absent,
    #[error("was made without PIN or finger, which is needed here")]
    Unverified,
    #[error("uses a signature that is not taken: ES256, Ed25519 and RS256 are")]
    Algorithm,
    #[error("has a wrong signature")]
    Signature,
    #[error("has a counter that went back: there may be a copy of this key")]
    Count,
}

/// Checks a registration.
///
/// # Errors
/// [`Refused`].
pub fn register(client_data: &[u8], attestation: &[u8], asked: &Asked) -> Result<Registered, Refused> {
    client(client_data, "webauthn.create", asked)?;
    let mut rest = attestation;
    let object: Value = ciborium::from_reader(&mut rest).map_err(|_| Refused::Form)?;
    if !rest.is_empty() {
        return Err(Refused::Form);
    }
    // Format and statement of the attestation are not looked at: whatever they say, nobody here would trust it more.
    let data = only(&object, &Value::from("authData"))?.as_bytes().ok_or(Refused::Form)?;
    let data = Data::read(data, asked)?;
    let (id, key) = data.key.ok_or(Refused::Form)?;
    Ok(Registered { id, key, count: data.count, verified: data.verified })
}

/// Checks a signature by a key whose counter was last `count`; answers its counter now, and whether it verified its
/// user.
///
/// # Errors
/// [`Refused`].
pub fn sign_in(signed: &Signed, key: &PublicKey, count: u32, asked: &Asked) -> Result<(u32, bool), Refused> {
    client(signed.client_data, "webauthn.get", asked)?;
    let data = Data::read(signed.authenticator_data, asked)?;
    let message = [signed.authenticator_data, &secrets::sha256(signed.client_data)].concat();
    key.verify(&message, signed.signature)?;
    if (data.count, count) != (0, 0) && data.count <= count {
        return Err(Refused::Count);
    }
    Ok((data.count, data.verified))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
}

fn client(text: &[u8], what: &str, asked: &Asked) -> Result<(), Refused> {
    let said: ClientData = serde_json::from_slice(text).map_err(|_| Refused::Form)?;
    if said.r#type != what {
        return Err(Refused::Form);
    }
    let challenge = URL_SAFE_NO_PAD.decode(&said.challenge).map_err(|_| Refused::Form)?;
    if !secrets::equal(&challenge, asked.challenge) {
        return Err(Refused::Challenge);
    }
    if said.origin != asked.origin || said.cross_origin {
        return Err(Refused::Origin);
    }
    Ok(())
}

/// Authenticator data (section 6.1).
struct Data {
    count: u32,
    verified: bool,
    key: Option<(Vec<u8>, PublicKey)>,
}

impl Data {
    fn read(bytes: &[u8], asked: &Asked) -> Result<Self, Refused> {
        let (site, rest) = bytes.split_first_chunk::<32>().ok_or(Refused::Form)?;
        let (flags, rest) = rest.split_first().ok_or(Refused::Form)?;
        let (count, mut rest) = rest.split_first_chunk::<4>().ok_or(Refused::Form)?;
        let has = |flag: u8| flags & flag != 0;
        if *site != secrets::sha256(asked.rp.as_bytes()) {
            return Err(Refused::Site);
        }
        if !has(PRESENT) {
            return Err(Refused::Absent);
        }
        if asked.verified && !has(VERIFIED) {
            return Err(Refused::Unverified);
        }
        if has(BACKED_UP) && !has(ELIGIBLE) {
            return Err(Refused::Form);
        }
        let key = has(WITH_KEY).then(|| credential(&mut rest)).transpose()?;
        if has(WITH_EXTENSIONS) {
            let more: Value = ciborium::from_reader(&mut rest).map_err(|_| Refused::Form)?;
            more.as_map().ok_or(Refused::Form)?;
        }
        if !rest.is_empty() {
            return Err(Refused::Form);
        }
        Ok(Self { count: u32::from_be_bytes(*count), verified: has(VERIFIED), key })
    }
}

fn credential(rest: &mut &[u8]) -> Result<(Vec<u8>, PublicKey), Refused> {
    let (_model, after) = rest.split_first_chunk::<16>().ok_or(Refused::Form)?;
    let (length, after) = after.split_first_chunk::<2>().ok_or(Refused::Form)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 || length > ID_MAX || length > after.len() {
        return Err(Refused::Form);
    }
    let (id, after) = after.split_at(length);
    *rest = after;
    let key: Value = ciborium::from_reader(&mut *rest).map_err(|_| Refused::Form)?;
    Ok((id.to_vec(), PublicKey::read(&key)?))
}

/// The value of a key that stands in a map once.
fn only<'a>(map: &'a Value, key: &Value) -> Result<&'a Value, Refused> {
    let mut found = map.as_map().ok_or(Refused::Form)?.iter().filter(|(name, _)| name == key);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Ok(value),
        _ => Err(Refused::Form),
    }
}

impl PublicKey {
    /// From a COSE key (RFC 9053).
    fn read(key: &Value) -> Result<Self, Refused> {
        let number = |label: i64| {
            let value = only(key, &Value::from(label))?.as_integer().ok_or(Refused::Form)?;
            i64::try_from(value).map_err(|_| Refused::Form)
        };
        let bytes =
            |label: i64| only(key, &Value::from(label))?.as_bytes().map(Vec::as_slice).ok_or(Refused::Form);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let long = |bytes: &[u8]| if bytes.len() == 32 { Ok(()) } else { Err(Refused::Form) };
        // 1: kind of key, 3: algorithm; -1: curve or modulus, -2 and -3: coordinates or exponent.
        match (number(1)?, number(3)?) {
            (2, -7) if number(-1)? == 1 => {
                let (x, y) = (bytes(-2)?, bytes(-3)?);
                long(x).and(long(y))?;
                Ok(Self::Es256 { point: text(&[&[4], x, y].concat()) })
            }
            (1, -8) if number(-1)? == 6 => {
                let x = bytes(-2)?;
                long(x)?;
                Ok(Self::Ed25519 { point: text(x) })
            }
            (3, -257) => Ok(Self::Rs256 { modulus: text(bytes(-1)?), exponent: text(bytes(-2)?) }),
            _ => Err(Refused::Algorithm),
        }
    }

    fn verify(&self, message: &[u8], signed: &[u8]) -> Result<(), Refused> {
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Refused::Form);
        let verified = match self {
            Self::Es256 { point } => {
                signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, bytes(point)?)
                    .verify(message, signed)
            }
            Self::Ed25519 { point } => {
                signature::UnparsedPublicKey::new(&signature::ED25519, bytes(point)?).verify(message, signed)
            }
            Self::Rs256 { modulus, exponent } => {
                let key = signature::RsaPublicKeyComponents { n: bytes(modulus)?, e: bytes(exponent)? };
                key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signed)
            }
        };
        verified.map_err(|_| Refused::Signature)
    }
}

#[cfg(test)]
#[path = "webauthn_test.rs"]
pub mod tests;
