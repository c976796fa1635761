//! What an account is made of, checked.

use super::Kind;
use crate::noun::{Link, Refusals};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The most characters of a sign-in name, and of an e-mail address.
const NAME_MAX: usize = 64;
const EMAIL_MAX: usize = 254;
/// The most characters of the name shown.
const DISPLAY_MAX: usize = 100;

/// An account as it is made or changed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountInput {
    /// The name used to sign in: 1 to 64 letters, digits, `.`, `_`, `-` and `@`.
    pub name: String,
    /// The name shown; the sign-in name when empty.
    #[serde(default)]
    pub display: String,
    /// The e-mail address; may be empty.
    #[serde(default)]
    pub email: String,
    /// `person` (signs in) or `service` (comes with a token). Chosen once.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Its roles.
    #[serde(default)]
    pub roles: Vec<Uuid>,
    /// For a change: whether the password must be replaced at the next sign-in.
    #[serde(default)]
    pub must_change: bool,
    /// For a change: the version that was read (JSON may say it as `If-Match`).
    #[serde(default)]
    pub version: Option<i64>,
}

/// What whoever makes an account decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fields {
    /// The name used to sign in.
    pub name: String,
    /// The name shown.
    pub display: String,
    /// The e-mail address; may be empty.
    pub email: String,
    /// Whether a person or a program uses it.
    pub kind: Kind,
    /// Whether the password must be replaced at the next sign-in.
    pub must_change: bool,
    /// Its roles, by name.
    pub roles: Vec<Link>,
}

impl Fields {
    /// The fields of an account of this kind; `known` are all the roles there are.
    pub fn check(input: &AccountInput, kind: Kind, known: &[Link]) -> (Self, Refusals) {
        let mut refusals = Refusals::new();
        let name = name(&mut refusals, &input.name);
        let display = display(&mut refusals, &input.display, &name);
        let email = input.email.trim().to_owned();
        let whole = |(local, domain): (&str, &str)| !local.is_empty() && !domain.is_empty();
        let odd = |letter: char| letter.is_control() || letter.is_whitespace() || "<>,;\"()".contains(letter);
        if !email.is_empty()
            && (email.len() > EMAIL_MAX || email.contains(odd) || !email.rsplit_once('@').is_some_and(whole))
        {
            refusals.say("email", "is not an e-mail address such as ada@example.org");
        }
        if input.must_change && kind == Kind::Service {
            refusals.say("must_change", "a service has no password");
        }
        let mut roles: Vec<Link> = Vec::new();
        for id in &input.roles {
            match known.iter().find(|role| role.id == *id) {
                Some(role) if !roles.contains(role) => roles.push(role.clone()),
                Some(_) => {}
                None => refusals.say("roles", format!("there is no role {id}")),
            }
        }
        roles.sort_by(|one, other| one.name.cmp(&other.name));
        (Self { name, display, email, kind, must_change: input.must_change, roles }, refusals)
    }
}

/// A sign-in name: what neither a header, a path nor an eye can take for something else.
pub fn name(refusals: &mut Refusals, typed: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "._-@".contains(letter);
    if typed.is_empty() || typed.len() > NAME_MAX || !typed.chars().all(fits) {
        refusals.say("name", format!("takes 1 to {NAME_MAX} letters, digits, '.', '_', '-' and '@'"));
    }
    typed.to_owned()
}

/// The name shown: the sign-in name where nothing was typed.
pub fn display(refusals: &mut Refusals, typed: &str, name: &str) -> String {
    if typed.trim().is_empty() { name.to_owned() } else { refusals.line("display", typed, DISPLAY_MAX) }
}
