//! A security key in software, and what of its answers is refused.

use super::*;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use ed25519_dalek::Signer as _;
use serde_json::json;

pub const ORIGIN: &str = "https://portolan.test";
pub const RP: &str = "portolan.test";

enum Secret {
    P256(EcdsaKeyPair),
    Ed25519(ed25519_dalek::SigningKey),
}

/// A security key in software.
pub struct Key {
    secret: Secret,
    pub id: Vec<u8>,
    pub count: u32,
    pub flags: u8,
}

impl Key {
    pub fn p256() -> Self {
        let secret = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self { secret: Secret::P256(secret), id: vec![7; 32], count: 1, flags: PRESENT | VERIFIED }
    }

    pub fn ed25519() -> Self {
        let secret = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
        Self { secret: Secret::Ed25519(secret), ..Self::p256() }
    }

    fn data(&self, rp: &str, flags: u8, more: &[u8]) -> Vec<u8> {
        [&secrets::sha256(rp.as_bytes())[..], &[flags], &self.count.to_be_bytes(), more].concat()
    }

    fn cose(&self) -> Value {
        let pairs = match &self.secret {
            Secret::P256(pair) => {
                let point = pair.public_key().as_ref();
                vec![
                    (1, Value::from(2)),
                    (3, Value::from(-7)),
                    (-1, Value::from(1)),
                    (-2, Value::from(&point[1..33])),
                    (-3, Value::from(&point[33..])),
                ]
            }
            Secret::Ed25519(secret) => vec![
                (1, Value::from(1)),
                (3, Value::from(-8)),
                (-1, Value::from(6)),
                (-2, Value::from(&secret.verifying_key().to_bytes()[..])),
            ],
        };
        Value::Map(pairs.into_iter().map(|(label, value)| (Value::from(label), value)).collect())
    }

    /// The attestation object of a registration.
    pub fn attestation(&self, rp: &str) -> Vec<u8> {
        let mut more = [0; 16].to_vec();
        more.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        more.extend(&self.id);
        ciborium::into_writer(&self.cose(), &mut more).unwrap();
        let data = self.data(rp, self.flags | WITH_KEY, &more);
        let object = Value::Map(vec![
            (Value::from("fmt"), Value::from("none")),
            (Value::from("attStmt"), Value::Map(vec![])),
            (Value::from("authData"), Value::from(data)),
        ]);
        let mut out = Vec::new();
        ciborium::into_writer(&object, &mut out).unwrap();
        out
    }

    /// Authenticator data and signature of a sign-in; the counter goes on by one.
    pub fn sign(&mut self, rp: &str, client_data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        self.count += 1;
        self.sign_as_is(rp, client_data)
    }

    fn sign_as_is(&self, rp: &str, client_data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let data = self.data(rp, self.flags, &[]);
        let message = [&data[..], &secrets::sha256(client_data)].concat();
        let signature = match &self.secret {
            Secret::P256(pair) => pair.sign(&SystemRandom::new(), &message).unwrap().as_ref().to_vec(),
            Secret::Ed25519(secret) => secret.sign(&message).to_bytes().to_vec(),
        };
        (data, signature)
    }
}

pub fn client_data(what: &str, challenge: &[u8], origin: &str) -> Vec<u8> {
    json!({ "type": what, "challenge": URL_SAFE_NO_PAD.encode(challenge), "origin": origin, "other": 1 })
        .to_string()
        .into_bytes()
}

fn asked(challenge: &[u8]) -> Asked<'_> {
    Asked { challenge, origin: ORIGIN, rp: RP, verified: true }
}

fn registered(key: &Key) -> Registered {
    let said = client_data("webauthn.create", b"c1", ORIGIN);
    register(&said, &key.attestation(RP), &asked(b"c1")).unwrap()
}

fn tried(key: &mut Key, known: &Registered, said: &[u8], asked: &Asked) -> Result<(u32, bool), Refused> {
    let (data, signature) = key.sign(RP, said);
    let signed = Signed { client_data: said, authenticator_data: &data, signature: &signature };
    sign_in(&signed, &known.key, known.count, asked)
}

#[test]
fn a_key_that_was_registered_signs_in() {
    for mut key in [Key::p256(), Key::ed25519()] {
        let known = registered(&key);
        assert_eq!((known.id.as_slice(), known.count, known.verified), (&[7; 32][..], 1, true));
        let text = serde_json::to_string(&known.key).unwrap();
        assert_eq!(serde_json::from_str::<PublicKey>(&text).unwrap(), known.key);
        let said = client_data("webauthn.get", b"c2", ORIGIN);
        assert_eq!(tried(&mut key, &known, &said, &asked(b"c2")), Ok((2, true)));
    }
}

#[test]
fn another_challenge_page_site_or_purpose_is_refused() {
    let mut key = Key::p256();
    let known = registered(&key);
    let mut tried = |said: &[u8], asked: &Asked| tried(&mut key, &known, said, asked).unwrap_err();
    let get = |challenge: &[u8], origin: &str| client_data("webauthn.get", challenge, origin);
    assert_eq!(tried(&get(b"c1", ORIGIN), &asked(b"c2")), Refused::Challenge);
    assert_eq!(tried(&get(b"", ORIGIN), &asked(b"c2")), Refused::Challenge);
    assert_eq!(tried(&get(b"c2", "https://evil.test"), &asked(b"c2")), Refused::Origin);
    assert_eq!(tried(&get(b"c2", "http://portolan.test"), &asked(b"c2")), Refused::Origin);
    assert_eq!(tried(&client_data("webauthn.create", b"c2", ORIGIN), &asked(b"c2")), Refused::Form);
    let other = Asked { rp: "other.test", ..asked(b"c2") };
    assert_eq!(tried(&get(b"c2", ORIGIN), &other), Refused::Site);
    let cross = String::from_utf8(get(b"c2", ORIGIN)).unwrap().replace("\"other\":1", "\"crossOrigin\":true");
    assert_eq!(tried(cross.as_bytes(), &asked(b"c2")), Refused::Origin);
    assert_eq!(tried(b"{", &asked(b"c2")), Refused::Form);
}

#[test]
fn a_touch_is_always_needed_and_a_pin_where_it_is_asked() {
    let mut key = Key::p256();
    let known = registered(&key);
    let said = client_data("webauthn.get", b"c2", ORIGIN);
    key.flags = PRESENT;
    assert_eq!(tried(&mut key, &known, &said, &asked(b"c2")), Err(Refused::Unverified));
    let lenient = Asked { verified: false, ..asked(b"c2") };
    assert_eq!(tried(&mut key, &known, &said, &lenient), Ok((3, false)));
    key.flags = VERIFIED;
    assert_eq!(tried(&mut key, &known, &said, &lenient), Err(Refused::Absent));
    key.flags = PRESENT | BACKED_UP;
    assert_eq!(tried(&mut key, &known, &said, &lenient), Err(Refused::Form));
}

#[test]
fn a_signature_by_another_key_or_over_other_bytes_is_refused() {
    let (mut key, other) = (Key::p256(), Key::p256());
    let (known, strange) = (registered(&key), registered(&other));
    let said = client_data("webauthn.get", b"c2", ORIGIN);
    assert_eq!(tried(&mut key, &strange, &said, &asked(b"c2")), Err(Refused::Signature));
    let (data, signature) = key.sign(RP, &said);
    let bent = |at: usize, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let verify = |client_data: &[u8], authenticator_data: &[u8], signature: &[u8]| {
        let signed = Signed { client_data, authenticator_data, signature };
        sign_in(&signed, &known.key, known.count, &asked(b"c2"))
    };
    verify(&said, &data, &signature).unwrap();
    assert_eq!(verify(&said, &data, &bent(10, &signature)), Err(Refused::Signature));
    assert_eq!(verify(&said, &bent(36, &data), &signature), Err(Refused::Signature));
    let spaced = [&said[..], b" "].concat();
    assert_eq!(verify(&spaced, &data, &signature), Err(Refused::Signature));
    assert_eq!(verify(&said, &data, &[]), Err(Refused::Signature));
}

#[test]
fn a_counter_that_does_not_go_on_tells_of_a_copy() {
    let mut key = Key::p256();
    let known = Registered { count: 5, ..registered(&key) };
    let said = client_data("webauthn.get", b"c2", ORIGIN);
    key.count = 4;
    assert_eq!(tried(&mut key, &known, &said, &asked(b"c2")), Err(Refused::Count));
    key.count = 5;
    assert_eq!(tried(&mut key, &known, &said, &asked(b"c2")), Ok((6, true)));
    // A key that keeps none says zero for ever.
    let none = Registered { count: 0, ..known };
    let data = Key { count: 0, ..key }.sign_as_is(RP, &said);
    let signed = Signed { client_data: &said, authenticator_data: &data.0, signature: &data.1 };
    assert_eq!(sign_in(&signed, &none.key, none.count, &asked(b"c2")), Ok((0, true)));
}

#[test]
fn cut_or_lengthened_bytes_are_refused_and_never_panic() {
    let key = Key::p256();
    let said = client_data("webauthn.create", b"c1", ORIGIN);
    let whole = key.attestation(RP);
    for at in 0..whole.len() {
        assert!(register(&said, &whole[..at], &asked(b"c1")).is_err(), "cut at {at}");
    }
    assert_eq!(register(&said, &[&whole[..], &[0]].concat(), &asked(b"c1")), Err(Refused::Form));
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bent = whole.clone();
            bent[at] ^= 1 << bit;
            let _ = register(&said, &bent, &asked(b"c1"));
        }
    }
    let deep = vec![0x81; 100_000];
    assert_eq!(register(&said, &deep, &asked(b"c1")), Err(Refused::Form));
}
