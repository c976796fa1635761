//! The session's token: a random secret and a signature over it. The database has the secret's hash only.

use crate::ids::Random;
use crate::secrets;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Makes and reads session tokens.
#[derive(Clone)]
pub struct Tokens {
    key: [u8; 32],
}

/// A new session: the token for the cookie and the hash for the row.
pub struct Minted {
    /// `secret.signature`, both URL-safe base64.
    pub token: String,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
}

impl Tokens {
    /// Tokens signed with this key, derived from the master key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// A new session.
    #[must_use]
    pub fn mint(&self, random: &Random) -> Minted {
        let secret = random.bytes::<32>();
        let token =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(self.sign(&secret)));
        Minted { token, hash: Sha256::digest(secret).into() }
    }

    /// The row's hash for a token that we signed; none for any other text.
    #[must_use]
    pub fn read(&self, token: &str) -> Option<[u8; 32]> {
        let (secret, signature) = token.split_once('.')?;
        let secret: [u8; 32] = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        secrets::equal(&self.sign(&secret), &signature).then(|| Sha256::digest(secret).into())
    }

    fn sign(&self, secret: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(b"portolan-session-v1");
        mac.update(secret);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_signed_here_is_read() {
        let tokens = Tokens::new([1; 32]);
        let minted = tokens.mint(&Random::seeded(1));
        assert_eq!(tokens.read(&minted.token), Some(minted.hash));
        assert_eq!(Tokens::new([2; 32]).read(&minted.token), None);
        let mut forged = minted.token.clone();
        forged.replace_range(0..1, if forged.starts_with('A') { "B" } else { "A" });
        assert_eq!(tokens.read(&forged), None);
        assert_eq!(tokens.read("garbage"), None);
    }
}
