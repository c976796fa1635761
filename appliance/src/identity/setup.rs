//! The first owner: made once, by whoever can read the code that the start printed.

use super::passwords::rules;
use super::sessions::Checked;
use super::users::{Fields, Kind, input, store};
use super::{Identity, SignedIn, User};
use crate::audit::{Actor, Entry};
use crate::error::Error;
use crate::ids::Random;
use crate::noun::Refusals;
use crate::secrets;
use crate::web::Call;
use std::sync::atomic::Ordering;

/// The first owner, as the setup wizard asks for it.
pub struct NewOwner {
    /// The one-time code that the start printed.
    pub code: String,
    /// The name used to sign in.
    pub name: String,
    /// The name shown; the sign-in name when empty.
    pub display: String,
    /// The password.
    pub password: String,
    /// The password once more.
    pub password_again: String,
}

impl Identity {
    /// Whether there is no user yet, so that the setup wizard is all there is.
    ///
    /// # Errors
    /// The database's.
    pub async fn needs_setup(&self) -> Result<bool, Error> {
        if self.0.set_up.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let any = self.0.store.read(store::any).await?;
        self.0.set_up.store(any, Ordering::Relaxed);
        Ok(!any)
    }

    /// The one-time code for the setup wizard: for the console and the log of this start.
    #[must_use]
    pub fn setup_code(&self) -> &str {
        &self.0.setup_code
    }

    /// Makes the owner and signs in: only while there is no user, only with the code.
    ///
    /// # Errors
    /// `NotFound` once there is a user; `Invalid` with every field that is wrong; `RateLimited` after too many wrong codes.
    pub async fn set_up(&self, call: &Call, new: NewOwner) -> Result<SignedIn, Error> {
        if !self.needs_setup().await? {
            return Err(Error::not_found("page", "setup"));
        }
        self.0.wrong.check(call.source)?;
        if !fits(&new.code, &self.0.setup_code) {
            let entry = Entry::sign_in("setup", &serde_json::json!({ "why": "wrong-code" }));
            self.wrong(call, "setup-code", entry).await?;
        }
        let fields = owner(&new, &self.0.setup_code)?;
        let hash = self.0.passwords.hash(new.password).await?;
        let checked = Checked::Password(hash.clone());
        let (id, now) = (self.0.ids.new(), self.0.clock.now());
        let (name, display) = (fields.name.clone(), fields.display.clone());
        let user = User { id, name, display, owner: true, created_at: now };
        let actor = call.acting(Actor::user(user.id, user.name.clone()).by("setup-code"));
        self.0
            .store
            .change(&actor, move |tx| {
                if store::any(tx)? {
                    return Err(Error::not_found("page", "setup"));
                }
                store::insert(tx, &store::New { id, password_hash: Some(&hash), owner: true, now }, &fields)?;
                let detail = serde_json::json!({ "owner": true });
                Ok((Entry::created("user", id, &fields).detail(&detail), ()))
            })
            .await?;
        self.0.set_up.store(true, Ordering::Relaxed);
        self.begin(call, &user, checked).await
    }
}

/// Whether this is the code, however it was typed.
fn fits(typed: &str, code: &str) -> bool {
    secrets::equal(typed.trim().to_ascii_uppercase().as_bytes(), code.as_bytes())
}

fn owner(new: &NewOwner, code: &str) -> Result<Fields, Error> {
    let mut refusals = Refusals::new();
    if !fits(&new.code, code) {
        refusals.say("code", "is not the code that this start printed on the console and in the log");
    }
    let name = input::name(&mut refusals, &new.name);
    let display = input::display(&mut refusals, &new.display, &name);
    rules::check(&mut refusals, &name, &new.password, &new.password_again);
    let kind = Kind::Person;
    refusals.end_with(Some(Fields {
        name,
        display,
        email: String::new(),
        kind,
        must_change: false,
        roles: vec![],
    }))
}

/// Twelve letters and digits that cannot be mistaken for one another, in three groups: 60 bits.
pub fn code(random: &Random) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let letters: Vec<char> =
        random.bytes::<12>().iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> NewOwner {
        NewOwner {
            code: " abcd-efgh-jklm ".into(),
            name: "ada".into(),
            display: String::new(),
            password: "correct horse battery".into(),
            password_again: "correct horse battery".into(),
        }
    }

    #[test]
    fn an_owner_needs_the_code_a_plain_name_and_a_good_password_twice() {
        let fields = |new: &NewOwner| -> Vec<String> {
            match owner(new, "ABCD-EFGH-JKLM") {
                Err(Error::Invalid(fields)) => fields.into_iter().map(|error| error.field).collect(),
                other => {
                    assert_eq!(other.unwrap().display, "ada");
                    vec![]
                }
            }
        };
        assert!(fields(&new()).is_empty());
        assert_eq!(fields(&NewOwner { code: "AAAA".into(), ..new() }), ["code"]);
        assert_eq!(fields(&NewOwner { name: "a b".into(), ..new() }), ["name"]);
        assert_eq!(fields(&NewOwner { name: "ada\r\nx: y".into(), ..new() }), ["name"]);
        assert_eq!(fields(&NewOwner { password: "short".into(), ..new() }), ["password"]);
        assert_eq!(fields(&NewOwner { password: "password1234".into(), ..new() }), ["password"]);
        assert_eq!(fields(&NewOwner { password_again: "other".into(), ..new() }), ["password_again"]);
    }

    #[test]
    fn a_setup_code_is_readable_and_never_the_same_twice() {
        let one = code(&Random::seeded(1));
        assert_eq!(one.len(), 14);
        assert!(!one.contains(['0', 'O', '1', 'I']));
        assert_ne!(one, code(&Random::seeded(2)));
    }
}
