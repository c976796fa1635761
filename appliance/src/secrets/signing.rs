//! Ed25519: the keys with which the appliance signs jobs and checkpoints, and how signatures of others are checked.

use std::any::type_name;
use std::fmt;
use std::fs;
use std::marker::PhantomData;
use std::path::Path;

use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::MasterKey;
use crate::error::{Error, Result};
use crate::ids::Random;
use crate::layout::write_file;

/// DER of a PKCS#8 private key up to the 32 bytes of an Ed25519 key (RFC 8410, section 7).
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A key that signs one kind of thing; the kind keeps one key from being taken for another.
pub struct Key<Kind>(SigningKey, PhantomData<Kind>);

/// What the manager makes, and the dispatcher, and who imports by stick, use.
pub enum Jobs {}
/// What only the manager has: it follows from the master key.
pub enum Checkpoints {}
/// What only the manager has: it is sealed in config.db.
pub enum Statements {}

/// Signs jobs.
pub type JobKey = Key<Jobs>;
/// Signs checkpoints of the audit.
pub type CheckpointKey = Key<Checkpoints>;
/// Signs statements for other systems of the site.
pub type StatementKey = Key<Statements>;

impl<Kind> Key<Kind> {
    fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(bytes), PhantomData)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl<Kind> Clone for Key<Kind> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<Kind> fmt::Debug for Key<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(…)", type_name::<Self>())
    }
}

impl JobKey {
    /// A new key.
    #[must_use]
    pub fn make(random: &Random) -> Self {
        Self::from_bytes(&Zeroizing::new(random.bytes()))
    }

    /// Reads the key from its file (PKCS#8 PEM).
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it is not there; else when it cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let named = |e: &dyn fmt::Display| Error::internal(format!("{}: {e}", path.display()));
        if !fs::exists(path).map_err(|e| named(&e))? {
            return Err(Error::Unavailable(format!("{} is not made yet", path.display())));
        }
        let pem = fs::read(path).map(Zeroizing::new).map_err(|e| named(&e))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|e| named(&e))?;
        SigningKey::from_pkcs8_der(der.secret_pkcs8_der())
            .map(|key| Self(key, PhantomData))
            .map_err(|e| named(&e))
    }

    /// Writes the key to its file, readable by the file's group (the dispatcher).
    ///
    /// # Errors
    /// Any from the file system.
    pub fn save(&self, path: &Path) -> Result<()> {
        let der = Zeroizing::new([&PKCS8[..], self.0.as_bytes()].concat());
        Ok(write_file(path, Zeroizing::new(pem("PRIVATE KEY", &der)).as_bytes(), 0o640)?)
    }

    /// The key from its file, made there when there is none; and whether it was made.
    ///
    /// # Errors
    /// As [`JobKey::load`] and [`JobKey::save`].
    pub fn load_or_make(path: &Path, random: &Random) -> Result<(Self, bool)> {
        match Self::load(path) {
            Err(Error::Unavailable(_)) => {
                let key = Self::make(random);
                key.save(path)?;
                Ok((key, true))
            }
            other => other.map(|key| (key, false)),
        }
    }
}

/// The label under which the master key gives the key of checkpoints.
pub const CHECKPOINTS: &str = "audit-checkpoint";

impl CheckpointKey {
    /// The one key of this master key, or the one that was put in its place.
    #[must_use]
    pub fn of(master: &MasterKey) -> Self {
        Self::from_bytes(&master.derive(CHECKPOINTS))
    }

    /// The key of these bytes.
    #[must_use]
    pub fn from_secret(bytes: &[u8; 32]) -> Self {
        Self::from_bytes(bytes)
    }
}

impl StatementKey {
    /// A new key, with its bytes, to be sealed.
    #[must_use]
    pub fn make(random: &Random) -> (Self, Zeroizing<[u8; 32]>) {
        let bytes = Zeroizing::new(random.bytes());
        (Self::from_bytes(&bytes), bytes)
    }

    /// The key of these bytes, as they were sealed.
    ///
    /// # Errors
    /// When they are no key.
    pub fn unsealed(bytes: &[u8]) -> Result<Self> {
        let bytes = bytes.try_into().map_err(|_| Error::internal("the statement key has another length"))?;
        Ok(Self::from_bytes(bytes))
    }
}

/// Whether `signature` is that of `public` over `message`, by the strict rule: weak keys and second spellings of
/// a signature are refused.
#[must_use]
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

/// PEM (RFC 7468).
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = portolan_scanner::wire::base64::encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_signs_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job-signing.key");
        assert!(matches!(JobKey::load(&path), Err(Error::Unavailable(_))));
        let (first, made) = JobKey::load_or_make(&path, &Random::system()).unwrap();
        assert!(made);
        let (next, made) = JobKey::load_or_make(&path, &Random::system()).unwrap();
        assert!(!made);
        assert_eq!(first.sign(b"job"), next.sign(b"job"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_signature_holds_for_its_key_and_message_only() {
        let (key, other) = (JobKey::make(&Random::seeded(1)), JobKey::make(&Random::seeded(2)));
        let mut signature = key.sign(b"job");
        assert!(verify(&key.public(), b"job", &signature));
        assert!(!verify(&other.public(), b"job", &signature));
        assert!(!verify(&key.public(), b"jab", &signature));
        signature[0] ^= 1;
        assert!(!verify(&key.public(), b"job", &signature));
        // The neutral element as a key would accept forged signatures.
        let mut weak = [0; 32];
        weak[0] = 1;
        assert!(!verify(&weak, b"job", &[0; 64]));
    }
}
