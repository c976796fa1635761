//! Secrets: one master key; everything else is derived from it or closed by it.
//!
//! The master key comes from systemd (`LoadCredentialEncrypted=portolan-master-key`, sealed by a TPM where there
//! is one), else from a file that only the manager can read, made at the first start.

pub mod keyring;
mod master;
pub mod rotation;
pub mod signing;

use std::fmt;
use std::sync::Arc;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::ids::Random;
pub use master::credentials_directory;

/// Bytes of the master key and of every derived key.
pub const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;
/// First byte of everything sealed: version, nonce (12 bytes), ciphertext with its tag (16 bytes).
const VERSION: u8 = 1;

/// Labels of derived keys that outlive the master key they were derived from: what they made is kept by others, or
/// cannot be made anew. A new master key seals them ([`rotation`]).
pub const LASTING: [&str; 2] = [signing::CHECKPOINTS, "recovery-codes"];

/// The key that closes all others. Cheap to clone; wiped when the last clone is dropped.
#[derive(Clone)]
pub struct MasterKey(Arc<Inner>);

struct Inner {
    key: Zeroizing<[u8; KEY_LEN]>,
    /// Keys that an older master key gave these labels.
    lasting: Vec<(&'static str, Zeroizing<[u8; KEY_LEN]>)>,
}

/// Something sealed that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// The version byte is none of ours.
    #[error("sealed by a version of Portolan that this one does not know")]
    Version,
    /// Changed, moved to another row, or sealed by another master key.
    #[error("does not open: it was changed, or sealed by another master key")]
    Wrong,
}

impl From<NotOpened> for Error {
    fn from(error: NotOpened) -> Self {
        Self::internal(error)
    }
}

impl MasterKey {
    /// From its bytes.
    #[must_use]
    pub fn from_bytes(bytes: Zeroizing<[u8; KEY_LEN]>) -> Self {
        Self(Arc::new(Inner { key: bytes, lasting: Vec::new() }))
    }

    /// The same, which gives these labels the keys that an older one gave them.
    #[must_use]
    pub fn with_lasting(&self, lasting: Vec<(&'static str, Zeroizing<[u8; KEY_LEN]>)>) -> Self {
        Self(Arc::new(Inner { key: self.0.key.clone(), lasting }))
    }

    fn bytes(&self) -> &[u8; KEY_LEN] {
        &self.0.key
    }

    /// A key for one purpose, by HKDF-SHA256 (RFC 5869) with `portolan-v1 ` and the label as info. The same label
    /// gives the same key for ever; two labels give unrelated keys. One of [`LASTING`] goes on with the key that it had
    /// under an older master key.
    #[must_use]
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; KEY_LEN]> {
        if let Some((_, key)) = self.0.lasting.iter().find(|(lasting, _)| *lasting == label) {
            return key.clone();
        }
        let mut key = Zeroizing::new([0; KEY_LEN]);
        Hkdf::<Sha256>::new(None, self.bytes())
            .expand_multi_info(&[b"portolan-v1 ", label.as_bytes()], &mut key[..])
            .expect("32 bytes are within what HKDF-SHA256 can give");
        key
    }

    /// Closes `plain` with AES-256-GCM. `identity` names the place it is kept at (`table/row/column`) and is
    /// associated data: moved to another row, it does not open.
    #[must_use]
    pub fn seal(&self, identity: &str, plain: &[u8], random: &Random) -> Vec<u8> {
        let nonce = random.bytes::<NONCE_LEN>();
        let closed = self
            .cipher()
            .encrypt(&Nonce::from(nonce), Payload { msg: plain, aad: identity.as_bytes() })
            .expect("AES-GCM takes up to 64 GiB");
        [&[VERSION], &nonce[..], &closed].concat()
    }

    /// Opens what [`MasterKey::seal`] closed under the same identity.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub fn open(&self, identity: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotOpened> {
        let (version, rest) = sealed.split_first().ok_or(NotOpened::Wrong)?;
        if *version != VERSION {
            return Err(NotOpened::Version);
        }
        let (nonce, closed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(NotOpened::Wrong)?;
        self.cipher()
            .decrypt(&Nonce::from(*nonce), Payload { msg: closed, aad: identity.as_bytes() })
            .map(Zeroizing::new)
            .map_err(|_| NotOpened::Wrong)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&Key::<Aes256Gcm>::from(*self.derive("seal")))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// Compares secrets in a time that does not tell where they differ. Lengths are no secret.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// SHA-256. How tokens of 256 random bits are kept: they need no slow hash.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> MasterKey {
        MasterKey::from_bytes(Zeroizing::new([byte; KEY_LEN]))
    }

    #[test]
    fn what_is_sealed_opens_in_its_own_place_only() {
        let random = Random::seeded(1);
        let sealed = key(1).seal("setting/smtp", b"hunter2", &random);
        assert_eq!(&key(1).open("setting/smtp", &sealed).unwrap()[..], b"hunter2");
        assert_eq!(key(1).open("setting/ldap", &sealed), Err(NotOpened::Wrong));
        assert_eq!(key(2).open("setting/smtp", &sealed), Err(NotOpened::Wrong));
        assert_ne!(sealed, key(1).seal("setting/smtp", b"hunter2", &random));
    }

    #[test]
    fn a_changed_or_cut_seal_does_not_open() {
        let sealed = key(1).seal("a", b"hunter2", &Random::seeded(1));
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(key(1).open("a", &bent).is_err(), "byte {at}");
            assert!(key(1).open("a", &sealed[..at]).is_err(), "cut at {at}");
        }
        let mut newer = sealed;
        newer[0] = 2;
        assert_eq!(key(1).open("a", &newer), Err(NotOpened::Version));
    }

    #[test]
    fn labels_give_lasting_and_unrelated_keys() {
        assert_eq!(key(1).derive("cookie"), key(1).derive("cookie"));
        assert_ne!(key(1).derive("cookie"), key(1).derive("seal"));
        assert_ne!(key(1).derive("cookie"), key(2).derive("cookie"));
        // Keys derived once must be found again by every later version.
        let hex = portolan_scanner::wire::hex::encode(&key(1).derive("cookie")[..]);
        assert_eq!(hex, "f7cf3e06f4d01024f494df0f3af6e38b8c6f619dffbc9772efefdbe6ac52eb7b");
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", key(7)), "MasterKey(…)");
    }
}
