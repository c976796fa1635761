//! Keys and signatures in minisign's files, so that its public tool verifies what we sign, and we what it signs.
//!
//! Ed25519. A signature is either over the BLAKE2b-512 of the file ([`Form::Hashed`], what minisign makes unless it is
//! told otherwise) or over the file itself ([`Form::Legacy`], `minisign -S -l`): the scanner knows only the latter and
//! so needs no second hash function. The trusted comment is signed together with the signature.
//! The format: <https://jedisct1.github.io/minisign/>.

use std::borrow::Cow;
use std::io::{self, Read};

use blake2::digest::consts::U32;
use blake2::{Blake2b, Blake2b512, Digest};
use ed25519_dalek::{Signer, SigningKey};
use portolan_scanner::wire::base64;
use zeroize::Zeroizing;

use crate::ids::Random;
use crate::secrets::signing;

/// What cannot be read or does not hold, in a sentence for whoever gave the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a public key.
    #[error("this is no public key of minisign's form")]
    PublicKey,
    /// Not a secret key.
    #[error("this is no secret key of minisign's form")]
    SecretKey,
    /// The secret key does not open.
    #[error("the password is wrong, or the key file is damaged")]
    Password,
    /// Not a signature.
    #[error("this is no signature of minisign's form")]
    Signature,
    /// Signed by another key.
    #[error("it is signed with another key: {0}")]
    OtherKey(KeyId),
    /// The file is not what was signed.
    #[error("the signature does not fit the file")]
    Mismatch,
    /// The comment is not the one that was signed.
    #[error("the trusted comment was changed")]
    Comment,
    /// A comment that does not fit into a line.
    #[error("a comment is one line of at most 1,000 bytes")]
    CommentForm,
}

/// A key's number: random, to find the right key by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId([u8; 8]);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

/// What is signed of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Its BLAKE2b-512 (`ED`).
    Hashed,
    /// The file itself (`Ed`).
    Legacy,
}

impl Form {
    const fn mark(self) -> [u8; 2] {
        match self {
            Self::Hashed => *b"ED",
            Self::Legacy => *b"Ed",
        }
    }

    fn covered(self, file: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Hashed => Blake2b512::digest(file).to_vec().into(),
            Self::Legacy => file.into(),
        }
    }
}

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its number.
    pub id: KeyId,
    key: [u8; 32],
}

impl PublicKey {
    /// A key file, or its second line alone.
    ///
    /// # Errors
    /// [`Error::PublicKey`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let line = text.lines().find(|line| !line.starts_with("untrusted comment:"));
        let bytes = line.and_then(|line| base64::decode_array::<42>(line.trim()).ok());
        let bytes = bytes.filter(|bytes| bytes.starts_with(b"Ed")).ok_or(Error::PublicKey)?;
        let (mut id, mut key) = ([0; 8], [0; 32]);
        id.copy_from_slice(&bytes[2..10]);
        key.copy_from_slice(&bytes[10..]);
        Ok(Self { id: KeyId(id), key })
    }

    /// The key as one word, as `minisign -P` takes it.
    #[must_use]
    pub fn word(&self) -> String {
        base64::encode(&[b"Ed", &self.id.0[..], &self.key[..]].concat())
    }

    /// The key file.
    #[must_use]
    pub fn file(&self) -> String {
        format!("untrusted comment: minisign public key {}\n{}\n", self.id, self.word())
    }

    /// Checks the signature file of a file; gives its trusted comment and its form.
    ///
    /// # Errors
    /// What does not hold.
    pub fn verify(&self, file: &[u8], signature: &str) -> Result<(String, Form), Error> {
        self.check(signature, |form| Ok(form.covered(file)))
    }

    /// As [`PublicKey::verify`], of a file that is read piece by piece where its signature is over its hash.
    ///
    /// # Errors
    /// What cannot be read, or does not hold.
    pub fn verify_reading(&self, file: &mut impl Read, signature: &str) -> Result<(String, Form), ReadError> {
        self.check(signature, |form| {
            let mut bytes = Vec::new();
            if form == Form::Legacy {
                file.read_to_end(&mut bytes)?;
                return Ok(bytes.into());
            }
            let mut hash = Blake2b512::new();
            bytes.resize(1 << 16, 0);
            loop {
                match file.read(&mut bytes)? {
                    0 => return Ok(hash.finalize().to_vec().into()),
                    read => hash.update(&bytes[..read]),
                }
            }
        })
    }

    fn check<'a, E: From<Error>>(
        &self,
        signature: &str,
        covered: impl FnOnce(Form) -> Result<Cow<'a, [u8]>, E>,
    ) -> Result<(String, Form), E> {
        let mut lines = signature.lines();
        let (Some(_), Some(first), Some(comment), Some(second), None) =
            (lines.next(), lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(Error::Signature.into());
        };
        let comment = comment.strip_prefix("trusted comment: ").ok_or(Error::Signature)?;
        let first = base64::decode_array::<74>(first).map_err(|_| Error::Signature)?;
        let over_comment = base64::decode_array::<64>(second).map_err(|_| Error::Signature)?;
        let (head, tail) = first.split_at(10);
        let form = match &head[..2] {
            b"ED" => Form::Hashed,
            b"Ed" => Form::Legacy,
            _ => return Err(Error::Signature.into()),
        };
        if head[2..] != self.id.0 {
            let mut other = [0; 8];
            other.copy_from_slice(&head[2..]);
            return Err(Error::OtherKey(KeyId(other)).into());
        }
        let over_file: [u8; 64] = tail.try_into().map_err(|_| Error::Signature)?;
        if !signing::verify(&self.key, &covered(form)?, &over_file) {
            return Err(Error::Mismatch.into());
        }
        let signed = [&over_file[..], comment.as_bytes()].concat();
        if !signing::verify(&self.key, &signed, &over_comment) {
            return Err(Error::Comment.into());
        }
        Ok((comment.to_owned(), form))
    }
}

/// Why a file that is read does not verify.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] Error),
}

/// How dear it is to try a password: scrypt's parameters as libsodium counts them, which is how the file names them.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    operations: u64,
    memory: u64,
}

impl Cost {
    /// What minisign takes: 1 GiB and some seconds.
    pub const SENSITIVE: Self = Self { operations: 1 << 25, memory: 1 << 30 };

    /// The parameters (log N, r, p) that libsodium picks; `None` for what no machine has room for.
    fn parameters(self) -> Option<(u8, u32, u32)> {
        let operations = self.operations.max(1 << 15);
        let block = 8_u64;
        let scarce_memory = operations >= self.memory / 32;
        let rounds = if scarce_memory { self.memory / (block * 128) } else { operations / (block * 4) };
        let log_n = (1..63).find(|log_n| 1_u64 << log_n > rounds / 2)?;
        let parallel =
            if scarce_memory { (operations / 4 / (1 << log_n)).min(0x3fff_ffff) / block } else { 1 };
        // 2^22 blocks are 4 GiB.
        (log_n <= 22).then_some((log_n, 8, u32::try_from(parallel.max(1)).ok()?))
    }

    fn stream(self, password: &[u8], salt: &[u8]) -> Option<Zeroizing<[u8; 104]>> {
        let (log_n, r, p) = self.parameters()?;
        let mut stream = Zeroizing::new([0; 104]);
        scrypt::scrypt(password, salt, &scrypt::Params::new(log_n, r, p).ok()?, &mut stream[..]).ok()?;
        Some(stream)
    }
}

/// A secret key.
pub struct SecretKey {
    id: KeyId,
    key: SigningKey,
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SecretKey {
    /// A new one.
    #[must_use]
    pub fn make(random: &Random) -> Self {
        let seed = Zeroizing::new(random.bytes::<32>());
        Self { id: KeyId(random.bytes()), key: SigningKey::from_bytes(&seed) }
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey { id: self.id, key: self.key.verifying_key().to_bytes() }
    }

    /// Reads a key file; asks for the password when it is sealed by one.
    ///
    /// # Errors
    /// [`Error::SecretKey`], [`Error::Password`], or what asking said.
    pub fn parse<E: From<Error>>(
        text: &str,
        password: impl FnOnce() -> Result<Zeroizing<String>, E>,
    ) -> Result<Self, E> {
        let line = text.lines().find(|line| !line.starts_with("untrusted comment:"));
        let bytes = line.and_then(|line| base64::decode_array::<158>(line.trim()).ok());
        let bytes = Zeroizing::new(bytes.ok_or(Error::SecretKey)?);
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        let mut secret = Zeroizing::new([0; 104]);
        secret.copy_from_slice(&bytes[54..]);
        let sealed = match (&bytes[..2], &bytes[2..4], &bytes[4..6]) {
            (b"Ed", b"Sc", b"B2") => true,
            (b"Ed", [0, 0], b"B2") => false,
            _ => return Err(Error::SecretKey.into()),
        };
        if sealed {
            let cost = Cost { operations: number(38), memory: number(46) };
            let stream = cost.stream(password()?.as_bytes(), &bytes[6..38]).ok_or(Error::SecretKey)?;
            secret.iter_mut().zip(stream.iter()).for_each(|(byte, mask)| *byte ^= mask);
            if checksum(&secret[..72]) != secret[72..] {
                return Err(Error::Password.into());
            }
        }
        let (mut id, mut seed) = ([0; 8], Zeroizing::new([0; 32]));
        id.copy_from_slice(&secret[..8]);
        seed.copy_from_slice(&secret[8..40]);
        let key = SigningKey::from_bytes(&seed);
        if key.verifying_key().to_bytes() != secret[40..72] {
            return Err(Error::SecretKey.into());
        }
        Ok(Self { id: KeyId(id), key })
    }

    /// The key file; sealed by a password, or readable by whoever has the file.
    ///
    /// # Panics
    /// For a cost that no machine has room for: it is one of ours.
    #[must_use]
    pub fn file(&self, password: Option<(&str, Cost)>, random: &Random) -> Zeroizing<String> {
        let key = Zeroizing::new(self.key.to_keypair_bytes());
        let mut secret = Zeroizing::new([&self.id.0[..], &key[..], &[0; 32]].concat());
        let (mut kind, mut salt, mut cost) = ([0; 2], [0; 32], Cost { operations: 0, memory: 0 });
        if let Some((password, asked)) = password {
            (kind, salt, cost) = (*b"Sc", random.bytes(), asked);
            let sum = checksum(&secret[..72]);
            secret[72..].copy_from_slice(&sum);
            let stream = cost.stream(password.as_bytes(), &salt).expect("our own cost is within bounds");
            secret.iter_mut().zip(stream.iter()).for_each(|(byte, mask)| *byte ^= mask);
        }
        let (operations, memory) = (cost.operations.to_le_bytes(), cost.memory.to_le_bytes());
        let parts = [b"Ed", &kind[..], b"B2", &salt, &operations, &memory, &secret];
        let bytes = Zeroizing::new(parts.concat());
        let what = if password.is_some() { "encrypted secret key" } else { "secret key" };
        format!("untrusted comment: minisign {what} {}\n{}\n", self.id, base64::encode(&bytes)).into()
    }

    /// The signature file of a file.
    ///
    /// # Errors
    /// [`Error::CommentForm`].
    pub fn sign(&self, file: &[u8], form: Form, comment: &str) -> Result<String, Error> {
        if comment.len() > 1_000 || comment.chars().any(char::is_control) {
            return Err(Error::CommentForm);
        }
        let over_file = self.key.sign(&form.covered(file)).to_bytes();
        let over_comment = self.key.sign(&[&over_file[..], comment.as_bytes()].concat()).to_bytes();
        let first = [&form.mark()[..], &self.id.0, &over_file].concat();
        Ok(format!(
            "untrusted comment: signature by key {}\n{}\ntrusted comment: {comment}\n{}\n",
            self.id,
            base64::encode(&first),
            base64::encode(&over_comment)
        ))
    }
}

/// BLAKE2b-256 over the algorithm, the number and the key: tells a wrong password.
fn checksum(number_and_key: &[u8]) -> [u8; 32] {
    let mut hash = Blake2b::<U32>::new();
    hash.update(b"Ed");
    hash.update(number_and_key);
    hash.finalize().into()
}

#[cfg(test)]
#[path = "minisign_test.rs"]
mod tests;
