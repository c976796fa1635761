//! A provider as it is configured, checked.

use super::http::Client;
use super::{Fields, store};
use crate::error::Result;
use crate::noun::{Link, Refusals};
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The most groups that give roles.
const MAPPINGS: usize = 200;

/// A group of the provider, and the role that it gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mapping {
    /// The claim's value.
    pub value: String,
    /// The role.
    pub role: Uuid,
}

/// How a provider is asked, and what its word is worth.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the form, apart from the others")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// Who it says it is: an https address.
    pub issuer: String,
    /// Its ends are asked from it (`/.well-known/openid-configuration`).
    pub discovery: bool,
    /// Where browsers are sent to; without discovery.
    pub authorization_endpoint: String,
    /// Where a code is exchanged; without discovery.
    pub token_endpoint: String,
    /// Where its public keys are; without discovery.
    pub jwks_uri: String,
    /// Where it says more of a person; may be empty.
    pub userinfo_endpoint: String,
    /// Where browsers sign out there; may be empty.
    pub end_session_endpoint: String,
    /// What this appliance is called there.
    pub client_id: String,
    /// Certificates that its own is checked by, PEM.
    pub ca: String,
    /// What is asked for, beside `openid`.
    pub scopes: String,
    /// The claim whose values give roles.
    pub claim: String,
    /// Which value gives which role.
    pub roles: Vec<Mapping>,
    /// An account here with the e-mail address that it has verified is theirs. Never the owner's.
    pub link_by_email: bool,
    /// Who has no account here gets one, if a group of theirs gives a role.
    pub make_accounts: bool,
    /// Who comes from it is asked for a second factor here too.
    pub second_factor: bool,
}

/// A provider as it is made or changed.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the form, apart from the others")]
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderInput {
    /// What the button on the sign-in page calls it.
    pub name: String,
    /// Whether it is offered.
    #[serde(default)]
    pub enabled: bool,
    /// Who it says it is: an https address.
    pub issuer: String,
    /// Ask it for its ends.
    #[serde(default)]
    pub discovery: bool,
    /// Where browsers are sent to; without discovery.
    #[serde(default)]
    pub authorization_endpoint: String,
    /// Where a code is exchanged; without discovery.
    #[serde(default)]
    pub token_endpoint: String,
    /// Where its public keys are; without discovery.
    #[serde(default)]
    pub jwks_uri: String,
    /// Where it says more of a person; without discovery, may be empty.
    #[serde(default)]
    pub userinfo_endpoint: String,
    /// Where browsers sign out there; without discovery, may be empty.
    #[serde(default)]
    pub end_session_endpoint: String,
    /// What this appliance is called there.
    pub client_id: String,
    /// The secret shared with it; empty for a change: the one that is kept stays.
    #[serde(default)]
    #[schemars(extend("format" = "password"))]
    pub client_secret: String,
    /// Certificates that its own is checked by, PEM.
    pub ca: String,
    /// What is asked for, beside `openid`: `email profile` when empty.
    #[serde(default)]
    pub scopes: String,
    /// The claim whose values give roles; `groups` when empty.
    #[serde(default)]
    pub claim: String,
    /// One line each: `value = role`.
    #[serde(default)]
    pub mapping: String,
    /// An account here with the e-mail address that it has verified is theirs.
    #[serde(default)]
    pub link_by_email: bool,
    /// Who has no account here gets one.
    #[serde(default)]
    pub make_accounts: bool,
    /// Who comes from it is asked for a second factor here too.
    #[serde(default)]
    pub second_factor: bool,
    /// For a change to another issuer: forget who of its people is who here.
    #[serde(default)]
    pub forget_links: bool,
    /// For a change: the version that was read (JSON may say it as `If-Match`).
    #[serde(default)]
    pub version: Option<i64>,
}

pub(super) fn check(db: &Connection, input: &ProviderInput) -> Result<Fields> {
    let mut refusals = Refusals::new();
    let name = refusals.name(&input.name);
    let client_id = refusals.line("client_id", &input.client_id, 200);
    let ca = input.ca.trim().replace("\r\n", "\n");
    if ca.len() > 100_000 {
        refusals.say("ca", "is longer than 100,000 bytes");
    } else if let Err(why) = Client::trusting(&ca) {
        refusals.say("ca", why);
    }
    let mut url = |field: &str, typed: &str, needed: bool| {
        let typed = typed.trim();
        let fits = openidconnect::IssuerUrl::new(typed.to_owned()).is_ok()
            && typed.starts_with("https://")
            && typed.len() <= 1_000
            // What a parser of addresses would drop, a line end, is not kept either.
            && typed.bytes().all(|byte| byte.is_ascii_graphic() && !b"#@".contains(&byte));
        if !(fits || typed.is_empty() && !needed) {
            refusals.say(field, "is an address that begins with https://");
        }
        typed.to_owned()
    };
    let by_hand = !input.discovery;
    let mut settings = Settings {
        issuer: url("issuer", &input.issuer, true),
        discovery: input.discovery,
        authorization_endpoint: url("authorization_endpoint", &input.authorization_endpoint, by_hand),
        token_endpoint: url("token_endpoint", &input.token_endpoint, by_hand),
        jwks_uri: url("jwks_uri", &input.jwks_uri, by_hand),
        userinfo_endpoint: url("userinfo_endpoint", &input.userinfo_endpoint, false),
        end_session_endpoint: url("end_session_endpoint", &input.end_session_endpoint, false),
        client_id,
        ca,
        scopes: or(&input.scopes, "email profile"),
        claim: or(&input.claim, "groups"),
        roles: vec![],
        link_by_email: input.link_by_email,
        make_accounts: input.make_accounts,
        second_factor: input.second_factor,
    };
    let word = |text: &str| {
        text.len() <= 500 && text.chars().all(|letter| letter.is_ascii_graphic() || letter == ' ')
    };
    if !word(&settings.scopes) {
        refusals.say("scopes", "are words with spaces between");
    }
    if !word(&settings.claim) {
        refusals.say("claim", "is the name of a claim, such as groups");
    }
    if input.client_secret.len() > 1_000 {
        refusals.say("client_secret", "is longer than 1,000 bytes");
    }
    settings.roles = mappings(&mut refusals, &input.mapping, &store::role_names(db)?);
    let fields = Fields { name, enabled: input.enabled, settings };
    refusals.end_with(Some(fields))
}

fn or(typed: &str, other: &str) -> String {
    let typed = typed.split_whitespace().collect::<Vec<_>>().join(" ");
    if typed.is_empty() { other.to_owned() } else { typed }
}

fn mappings(refusals: &mut Refusals, typed: &str, known: &[Link]) -> Vec<Mapping> {
    let mut found: Vec<Mapping> = Vec::new();
    for line in typed.lines().map(str::trim).filter(|line| !line.is_empty()) {
        // From the right: a group's name may have an = (an LDAP name), a role's seldom.
        let Some((value, role)) = line.rsplit_once('=') else {
            refusals.say("mapping", format!("“{line}” is not of the form group = role"));
            break;
        };
        let (value, role) = (value.trim().to_owned(), role.trim());
        match known.iter().find(|link| link.name.eq_ignore_ascii_case(role)) {
            Some(link) if !value.is_empty() => {
                let mapping = Mapping { value, role: link.id };
                if !found.contains(&mapping) {
                    found.push(mapping);
                }
            }
            Some(_) => refusals.say("mapping", format!("“{line}” names no group")),
            None => refusals.say("mapping", format!("there is no role “{role}”")),
        }
        if found.len() > MAPPINGS {
            refusals.say("mapping", format!("has more than {MAPPINGS} lines"));
            break;
        }
    }
    found
}

/// The mapping as its form has it.
pub(super) fn written(roles: &[Mapping], known: &[Link]) -> String {
    let line = |mapping: &Mapping| {
        let role = known.iter().find(|link| link.id == mapping.role)?;
        Some(format!("{} = {}", mapping.value, role.name))
    };
    roles.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_read_and_written_back() {
        let known = [("admin", 1), ("Night shift", 2)]
            .map(|(name, id)| Link { id: Uuid::from_u128(id), name: name.to_owned() });
        let mut refusals = Refusals::new();
        let typed = " cn=ops,dc=plant = night shift\r\nadmins=admin\n\nadmins=admin";
        let read = mappings(&mut refusals, typed, &known);
        refusals.end().unwrap();
        assert_eq!(written(&read, &known), "cn=ops,dc=plant = Night shift\nadmins = admin");
        for wrong in ["admins", "= admin", "x = nobody"] {
            let mut refusals = Refusals::new();
            mappings(&mut refusals, wrong, &known);
            assert!(refusals.end().is_err(), "{wrong}");
        }
    }
}
