use axum::http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::ids::Random;
use crate::secrets::signing::JobKey;

const NOW: Timestamp = Timestamp::from_micros(1_795_341_600_000_000);
const BODY: &[u8] = b"wait: 30\n";
const CERTIFICATE: &[u8] = b"certificate";

/// A request that holds, to be bent.
struct Made {
    known: Known,
    path: &'static str,
    query: Option<&'static str>,
    headers: HeaderMap,
    body: Vec<u8>,
    certificate: Option<&'static [u8]>,
    source: IpAddr,
}

fn key() -> JobKey {
    JobKey::make(&Random::seeded(1))
}

fn known() -> Known {
    Known {
        id: Id::from_bytes([7; 16]),
        api_key_sha256: hex::encode(&sha256(b"pts_key")),
        public_key: base64::encode(&key().public()),
        binding: String::new(),
        revoked: false,
    }
}

fn made_at(created: i64) -> Made {
    let params = Params { created, nonce: "n".repeat(22), keyid: known().id };
    let mut made = Made {
        known: known(),
        path: "/scanner/v1/lease",
        query: None,
        headers: HeaderMap::new(),
        body: BODY.to_vec(),
        certificate: Some(CERTIFICATE),
        source: "10.0.0.9".parse().unwrap(),
    };
    made.sign(&params, &key());
    made
}

fn made() -> Made {
    made_at(NOW.seconds())
}

impl Made {
    fn sign(&mut self, params: &Params, key: &JobKey) {
        let digest = http_signature::digest_to_header(&sha256(&self.body));
        let base = http_signature::base("POST", self.path, self.query, &digest, params);
        let signature = http_signature::signature_to_header(&key.sign(base.as_bytes()));
        self.set("authorization", "Bearer pts_key");
        self.set("content-digest", &digest);
        self.set("signature-input", &params.to_header());
        self.set("signature", &signature);
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
    }

    fn add(&mut self, name: &'static str) {
        let value = self.headers.get(name).unwrap().clone();
        self.headers.append(name, value);
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            method: "POST",
            path: self.path,
            query: self.query,
            headers: &self.headers,
            certificate: self.certificate,
            source: self.source,
        }
    }

    fn verified(&self) -> Result<Verified, Refusal> {
        let asked = self.asked();
        fingerprint(&asked)?;
        claim(&asked, Some(self.known.clone()), NOW)?.hold(&asked, &self.body)
    }

    fn slug(&self) -> &'static str {
        self.verified().map_or_else(|refusal| refusal.status_and_slug().1, |_| "verified")
    }
}

/// What a bent request is refused for.
fn bent(bend: impl FnOnce(&mut Made)) -> &'static str {
    let mut made = made();
    bend(&mut made);
    made.slug()
}

#[test]
fn a_whole_request_is_that_of_its_scanner() {
    let verified = made().verified().unwrap();
    assert_eq!((verified.scanner, verified.public_key), (known().id, key().public()));
    assert_eq!(verified.nonce_expires, NOW + Duration::from_secs(61));
    assert_eq!(bent(|made| made.known.binding = "10.0.0.0/24, ::1".into()), "verified");
}

#[test]
fn each_thing_that_does_not_hold_is_refused_by_its_name() {
    assert_eq!(bent(|made| made.certificate = None), "no-certificate");
    assert_eq!(bent(|made| made.known.revoked = true), "revoked");
    assert_eq!(bent(|made| made.known.binding = "10.0.1.0/24".into()), "wrong-source");
    assert_eq!(bent(|made| made.known.binding = "not ranges".into()), "wrong-source");
    assert_eq!(bent(|made| made.set("authorization", "Bearer pts_other")), "bad-key");
    assert_eq!(bent(|made| made.set("authorization", "pts_key")), "bad-key");
    assert_eq!(bent(|made| drop(made.headers.remove("authorization"))), "bad-key");
    let asked = made();
    let nobody = claim(&asked.asked(), None, NOW).unwrap_err();
    assert_eq!(nobody.status_and_slug(), (401, "unknown-certificate"));
}

#[test]
fn another_scanners_name_is_refused() {
    let params = Params { created: NOW.seconds(), nonce: "n".repeat(22), keyid: Id::from_bytes([8; 16]) };
    assert_eq!(bent(|made| made.sign(&params, &key())), "unknown-certificate");
    let params = Params { keyid: known().id, ..params };
    assert_eq!(bent(|made| made.sign(&params, &JobKey::make(&Random::seeded(2)))), "bad-signature");
}

#[test]
fn whatever_is_signed_cannot_be_changed() {
    assert_eq!(bent(|made| made.path = "/scanner/v1/renew"), "bad-signature");
    assert_eq!(bent(|made| made.query = Some("a=b")), "bad-signature");
    assert_eq!(bent(|made| made.body.push(b'\n')), "bad-signature");
    let other = http_signature::digest_to_header(&sha256(b"wait: 0\n"));
    let both = |made: &mut Made| {
        made.body = b"wait: 0\n".to_vec();
        made.set("content-digest", &other);
    };
    assert_eq!(bent(both), "bad-signature");
    for name in ["signature", "signature-input", "content-digest"] {
        assert_eq!(bent(|made| drop(made.headers.remove(name))), "bad-signature", "{name}");
        assert_eq!(bent(|made| made.add(name)), "bad-signature", "{name} twice");
        assert_eq!(bent(|made| made.set(name, "x")), "bad-signature", "{name}");
    }
}

#[test]
fn the_window_is_sixty_seconds_either_way() {
    for off in [-60, 0, 60] {
        assert_eq!(made_at(NOW.seconds() + off).slug(), "verified", "{off}");
    }
    for off in [-61, 61, i64::MAX / 2, i64::MIN / 2] {
        assert_eq!(made_at(NOW.seconds().saturating_add(off)).slug(), "clock", "{off}");
    }
}

proptest! {
    #[test]
    fn no_header_makes_it_panic_or_believe(
        name in prop::sample::select(vec!["authorization", "content-digest", "signature-input", "signature"]),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        tail in any::<bool>(),
    ) {
        let mut made = made();
        let bytes = if tail { [made.headers[name].as_bytes(), &bytes].concat() } else { bytes };
        prop_assume!(made.headers[name].as_bytes() != bytes);
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            made.headers.insert(HeaderName::from_static(name), value);
            prop_assert!(made.verified().is_err());
        }
    }

    #[test]
    fn no_binding_makes_it_panic(binding in "\\PC{0,40}") {
        let mut made = made();
        made.known.binding = binding;
        let _ = made.verified();
    }
}
