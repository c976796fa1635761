//! Argon2id (RFC 9106) as PHC strings, off the async threads and few at a time.

use crate::error::Error;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Semaphore;

/// OWASP 2023: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes under way at once: bounds the memory that sign-ins can take.
const AT_ONCE: usize = 4;
/// What a password is checked against where there is none: as much work as a real one, and the hash of nothing known.
const DUMMY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cG9ydG9sYW4tZHVtbXktMQ$dGhlcmUgaXMgbm8gcGFzc3dvcmQgYmVoaW5kIHRoaXM";
/// For work whose outcome nobody looks at.
const NO_SALT: &[u8] = b"portolan-no-salt";

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    runs: Arc<AtomicU64>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), runs: Arc::default() }
    }
}

impl Passwords {
    /// The PHC string of this password.
    ///
    /// # Errors
    /// `Internal` when the hash cannot be made (no memory).
    pub async fn hash(&self, password: String) -> Result<String, Error> {
        self.run(move || hash(&password)).await?
    }

    /// Whether `password` is the one behind `phc`. Without a hash (an unknown user, an account without a password) it
    /// takes as long and is false. For a wrong one against a hash that was made with less work, the rest of what is due
    /// today is done too: its answer is to come neither sooner nor later than that of an unknown name, as nearly as can be.
    ///
    /// # Errors
    /// `Internal` when a stored hash cannot be read.
    pub async fn verify(&self, password: String, phc: Option<String>) -> Result<bool, Error> {
        let runs = self.runs.clone();
        self.run(move || {
            let fits = |phc: &str| -> Result<bool, Error> {
                let hash = PasswordHash::new(phc).map_err(|error| Error::internal(error.to_string()))?;
                Ok(argon2()?.verify_password(password.as_bytes(), &hash).is_ok())
            };
            let right = fits(phc.as_deref().unwrap_or(DUMMY))? && phc.is_some();
            if let Some(rest) = phc.as_deref().filter(|_| !right).and_then(rest) {
                runs.fetch_add(1, Ordering::SeqCst);
                let rest = Argon2::new(Algorithm::Argon2id, Version::V0x13, rest);
                let done = rest.hash_password_into(password.as_bytes(), NO_SALT, &mut [0; 32]);
                done.map_err(|error| Error::internal(error.to_string()))?;
            }
            Ok(right)
        })
        .await?
    }

    /// How many times Argon2 has run: what an answer costs, whatever the clock says.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let turn = self.turns.clone().acquire_owned().await.map_err(Error::internal)?;
        self.runs.fetch_add(1, Ordering::SeqCst);
        crate::blocking::run(move || {
            let _turn = turn;
            work()
        })
        .await
    }
}

/// Whether this hash was made with less work than one made now would be.
#[must_use]
pub fn outdated(phc: &str) -> bool {
    let Ok(hash) = PasswordHash::new(phc) else { return true };
    let Ok(params) = Params::try_from(&hash) else { return true };
    hash.algorithm.as_str() != "argon2id"
        || params.m_cost() < MEMORY_KIB
        || params.t_cost() < PASSES
        || params.p_cost() < LANES
}

/// What is left of the work that is due today after this hash was computed, if that is worth doing. What Argon2 takes goes by
/// the memory that it passes over: its size, as often as it is passed.
fn rest(phc: &str) -> Option<Params> {
    let work = |params: &Params| u64::from(params.m_cost()) * u64::from(params.t_cost());
    let done = Params::try_from(&PasswordHash::new(phc).ok()?).map_or(0, |params| work(&params));
    let left = (u64::from(MEMORY_KIB) * u64::from(PASSES)).checked_sub(done)?;
    let memory = u32::try_from(left / u64::from(PASSES)).ok()?;
    // Argon2 itself takes no less memory than eight KiB a lane.
    Params::new(memory, PASSES, LANES, None).ok()
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

/// A hash as an earlier version with less work would have made it.
#[cfg(test)]
pub fn cheap(password: &str) -> String {
    let params = Params::new(8 * 1024, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(password.as_bytes()).unwrap().to_string()
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
        assert!(!passwords.verify("there is no password behind this".into(), None).await.unwrap());
        assert_eq!(passwords.runs(), 4);
    }

    #[test]
    fn the_dummy_takes_the_work_of_a_hash_made_now() {
        let dummy = PasswordHash::new(DUMMY).unwrap();
        let params = Params::try_from(&dummy).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (MEMORY_KIB, PASSES, LANES));
        let real = hash("x").unwrap();
        let real = PasswordHash::new(&real).unwrap();
        let long = |hash: &PasswordHash| hash.hash.as_ref().map(|output| output.as_bytes().len());
        assert_eq!(long(&dummy), long(&real));
    }

    #[tokio::test]
    async fn a_hash_with_less_work_is_still_read_and_known_as_outdated() {
        let passwords = Passwords::default();
        let old = cheap("correct horse battery");
        assert!(outdated(&old));
        assert!(passwords.verify("correct horse battery".into(), Some(old.clone())).await.unwrap());
        assert_eq!(passwords.runs(), 1);
        assert!(!passwords.verify("wrong".into(), Some(old)).await.unwrap());
        assert_eq!(passwords.runs(), 3, "a wrong one takes the work that is due today, too");
        assert!(!outdated(&passwords.hash("correct horse battery".into()).await.unwrap()));
        assert!(outdated("garbage"));
    }

    #[test]
    fn a_wrong_one_costs_as_much_whatever_the_hash_was_made_with() {
        let with =
            |m, t| Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(m, t, 1, None).unwrap());
        let phc = |m, t| with(m, t).hash_password(b"x").unwrap().to_string();
        let due = MEMORY_KIB * PASSES;
        for (m, t) in [(8 * 1024, 1), (8, 1), (19 * 1024, 1), (12 * 1024, 3), (MEMORY_KIB - 1, PASSES)] {
            let done = rest(&phc(m, t)).map_or(0, |rest| rest.m_cost() * rest.t_cost()) + m * t;
            assert!(done.abs_diff(due) < 16, "{m} KiB, {t} passes: {done} of {due}");
        }
        for (m, t) in [(MEMORY_KIB, PASSES), (46 * 1024, 1), (MEMORY_KIB, PASSES + 1)] {
            assert!(rest(&phc(m, t)).is_none(), "{m} KiB, {t} passes");
        }
    }
}
