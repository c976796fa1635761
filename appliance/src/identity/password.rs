//! Passwords: Argon2id (RFC 9106) as PHC strings, checked off the async threads and few at a time.

use crate::error::Error;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// OWASP 2023: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes under way at once: bounds the memory that sign-ins can take.
const AT_ONCE: usize = 4;

/// Fewest characters of a password.
pub const MIN: usize = 12;
/// Most bytes of a password.
pub const MAX: usize = 256;

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// What an unknown user's password is checked against, so that the answer takes as long.
    dummy: Arc<OnceLock<String>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), dummy: Arc::new(OnceLock::new()) }
    }
}

impl Passwords {
    /// The PHC string of this password.
    ///
    /// # Errors
    /// `Internal` when the hash cannot be made (no memory).
    pub async fn hash(&self, password: String) -> Result<String, Error> {
        self.blocking(move || hash(&password)).await?
    }

    /// Whether `password` is the one behind `phc`. Without a hash (an unknown user) it takes as long and is false.
    ///
    /// # Errors
    /// `Internal` when a stored hash cannot be read.
    pub async fn verify(&self, password: String, phc: Option<String>) -> Result<bool, Error> {
        let dummy = self.dummy.clone();
        self.blocking(move || {
            let known = phc.is_some();
            let phc = match phc {
                Some(phc) => phc,
                None => match dummy.get() {
                    Some(dummy) => dummy.clone(),
                    None => dummy.get_or_init(|| hash("no one's password").unwrap_or_default()).clone(),
                },
            };
            let hash = PasswordHash::new(&phc).map_err(|error| Error::internal(error.to_string()))?;
            Ok(argon2()?.verify_password(password.as_bytes(), &hash).is_ok() && known)
        })
        .await?
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = self.turns.clone().acquire_owned().await.map_err(Error::internal)?;
        crate::blocking::run(move || {
            let _turn = turn;
            work()
        })
        .await
    }
}

/// What is wrong with a new password, in words.
pub fn refusal(password: &str) -> Option<String> {
    let length = password.chars().count();
    if length < MIN {
        Some(format!("has {length} characters; {MIN} is the least"))
    } else if password.len() > MAX {
        Some(format!("is longer than {MAX} bytes"))
    } else {
        None
    }
}

fn hash(password: &str) -> Result<String, Error> {
    let hash =
        argon2()?.hash_password(password.as_bytes()).map_err(|error| Error::internal(error.to_string()))?;
    Ok(hash.to_string())
}

fn argon2() -> Result<Argon2<'static>, Error> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_an_unknown_user_never_passes() {
        let passwords = Passwords::default();
        let phc = passwords.hash("correct horse battery".into()).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(passwords.verify("correct horse battery".into(), Some(phc.clone())).await.unwrap());
        assert!(!passwords.verify("correct horse batterz".into(), Some(phc)).await.unwrap());
        assert!(!passwords.verify("no one's password".into(), None).await.unwrap());
    }

    #[test]
    fn a_password_is_refused_by_its_length() {
        assert!(refusal("short").is_some());
        assert!(refusal(&"x".repeat(300)).is_some());
        assert_eq!(refusal("twelve chars"), None);
    }
}
