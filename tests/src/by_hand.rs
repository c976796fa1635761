//! A scanner's requests and frames made by hand, right or wrong: what an attacker with some of a scanner's secrets
//! could send. A request is signed as `docs/formats/scanner-api` says.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signer, SigningKey};
use portolan_scanner::wire::{self, Id, http_signature};
use sha2::{Digest, Sha256};

use crate::http::{Endpoint, Request, Response};
use crate::scanner::Scanner;
use crate::wait::now;

/// The secrets of an enrolled scanner, each replaceable.
#[derive(Clone)]
pub struct ByHand {
    /// Where requests go, with the client certificate that is shown.
    pub endpoint: Endpoint,
    /// The scanner it says it is.
    pub id: Id,
    /// The API key.
    pub api_key: String,
    /// Signs requests and frames.
    pub key: SigningKey,
    /// Seconds that its clock is ahead.
    pub ahead: i64,
}

impl ByHand {
    /// With the secrets in this scanner's folder.
    pub fn of(scanner: &Scanner, appliance: SocketAddr) -> ByHand {
        let dir = scanner.dir();
        let key = SigningKey::from_pkcs8_der(&fs::read(dir.join("identity.key")).expect("the key is there"));
        ByHand {
            endpoint: scanner.endpoint(appliance),
            id: scanner_id(dir),
            api_key: fs::read_to_string(dir.join("api.key")).expect("the API key is there").trim().to_owned(),
            key: key.expect("the key is PKCS#8"),
            ahead: 0,
        }
    }

    /// A signed request, ready to be sent once, twice, or changed.
    pub fn request(&self, path: &str, body: &[u8]) -> Request {
        let digest = http_signature::digest_to_header(&Sha256::digest(body).into());
        let created = i64::try_from(now().as_secs()).expect("the clock is not that far") + self.ahead;
        let params = http_signature::Params { created, nonce: nonce(), keyid: self.id };
        let base = http_signature::base("POST", path, None, &digest, &params);
        let signature = self.key.sign(base.as_bytes()).to_bytes();
        Request::new("POST", path)
            .header("Authorization", &format!("Bearer {}", self.api_key))
            .header("Content-Digest", &digest)
            .header("Signature-Input", &params.to_header())
            .header("Signature", &http_signature::signature_to_header(&signature))
            .body("text/plain; charset=utf-8", body)
    }

    /// Signs and sends.
    pub fn send(&self, path: &str, body: &[u8]) -> io::Result<Response> {
        self.endpoint.send(&self.request(path, body))
    }

    /// A frame under this scanner's signature.
    pub fn seal(&self, unsigned: String) -> String {
        wire::seal(unsigned, |covered| self.key.sign(covered).to_bytes())
    }
}

/// The id in `link.conf`.
pub fn scanner_id(dir: &Path) -> Id {
    let text = fs::read_to_string(dir.join("link.conf")).expect("an enrolled scanner has link.conf");
    let id = text.lines().find_map(|line| line.strip_prefix("scanner: "));
    id.unwrap_or_else(|| panic!("no scanner in {text}")).parse().expect("the id is a UUID")
}

fn nonce() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("hand-{:0>40}", format!("{:x}-{:x}-{count}", now().as_nanos(), std::process::id()))
}
