//! The one place that knows the cryptographic library: ring, or with the feature `pq` aws-lc-rs, which offers the
//! same by the same names.

#[cfg(feature = "pq")]
use aws_lc_rs as library;
#[cfg(not(feature = "pq"))]
use ring as library;

#[cfg(feature = "network")]
use library::rand::SecureRandom;
use library::rand::SystemRandom;
use library::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use library::{digest, hmac};

use crate::work::Error;

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// HMAC-SHA-256.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut tag = [0; 32];
    tag.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref());
    tag
}

/// Bytes from the system's generator.
#[cfg(feature = "network")]
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(no_randomness)?;
    Ok(bytes)
}

fn no_randomness(_: library::error::Unspecified) -> Error {
    Error::Other("the system gives no randomness".into())
}

/// Whether this is the key's Ed25519 signature over the message.
pub fn verify(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

/// What TLS is made of here.
#[cfg(feature = "network")]
pub fn provider() -> rustls::crypto::CryptoProvider {
    #[cfg(feature = "pq")]
    return rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "pq"))]
    rustls::crypto::ring::default_provider()
}

/// What TLS to the appliance is made of. With `pq` the key exchange is X25519MLKEM768 and no other, so that an
/// appliance without it is refused and not spoken to less safely.
#[cfg(feature = "network")]
pub fn for_appliance() -> rustls::crypto::CryptoProvider {
    rustls::crypto::CryptoProvider {
        #[cfg(feature = "pq")]
        kx_groups: vec![rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768],
        ..provider()
    }
}

/// The scanner's own key.
#[derive(Debug)]
pub struct Identity(Ed25519KeyPair);

impl Identity {
    /// Makes a key; its PKCS #8 form is to be kept.
    pub fn generate() -> Result<Vec<u8>, Error> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        pkcs8.map(|document| document.as_ref().to_vec()).map_err(no_randomness)
    }

    /// Reads a key that was kept.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Error> {
        let broken = "identity.key cannot be read: remove the folder and enrol anew, with a new token";
        Ed25519KeyPair::from_pkcs8(pkcs8).map(Self).map_err(|_| Error::Other(broken.into()))
    }

    /// Its public half.
    pub fn public_key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        key
    }

    /// Its Ed25519 signature over a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.0.sign(message).as_ref());
        signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    #[test]
    fn a_kept_key_signs_what_its_public_key_verifies() {
        let pkcs8 = Identity::generate().unwrap();
        let identity = Identity::from_pkcs8(&pkcs8).unwrap();
        let signature = identity.sign(b"text");
        assert!(verify(&identity.public_key(), b"text", &signature));
        assert!(!verify(&identity.public_key(), b"test", &signature));
        assert!(Identity::from_pkcs8(&pkcs8[1..]).is_err());
    }

    #[test]
    fn sha_256_is_sha_256() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex::encode(&sha256(b"")), empty);
    }
}
