//! Accounts in every state, with what belongs to them.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::json;

use super::{Ids, LONG, made};
use crate::api::{list, text};
use crate::client::Client;
use crate::site::Site;
use crate::wait::now;

/// The password of all of them.
pub const PASSWORD: &str = "lantern over the mole";

/// Their ids, and the sessions of those who are signed in.
pub struct People {
    pub grace: String,
    pub locked: String,
    pub disabled: String,
    pub link_out: String,
    pub service: String,
    /// The secret of a link that was not opened.
    pub link: String,
    /// One who has an authenticator app, and recovery codes.
    pub with_app: Client,
    /// One who may look at a few things.
    pub viewer: Cookies,
    /// One whose password is right and whose code is missing.
    pub half: Cookies,
    /// One who must replace the password first.
    pub due: Cookies,
    /// One who must set up a second factor first.
    pub bare: Cookies,
}

pub type Cookies = BTreeMap<String, String>;

pub fn fill(site: &Site, owner: &Client, ids: &mut Ids) -> People {
    let role = |name: &str| {
        let roles = owner.get("/roles?limit=100").json();
        let found = list(&roles, "items").iter().find(|role| role["name"] == name);
        text(found.unwrap_or_else(|| panic!("no role {name} in {roles}")), "id")
    };
    let (operator, viewer, compliance) = (role("operator"), role("viewer"), role("compliance"));
    let strict = json!({ "name": "Night shift", "description": "Launches scans and sees what they found, with a second factor.",
        "scopes": ["scans:view", "scans:run", "results:view"], "second_factor": true });
    ids.role_held = made(owner, "/roles", &strict);
    ids.role = made(owner, "/roles", &json!({ "name": "Contractor", "scopes": ["subnets:view"] }));

    let person = |name: &str, display: &str, roles: &[&String]| {
        let body = json!({ "name": name, "display": display, "roles": roles, "email": format!("{name}@plant.example") });
        let id = made(owner, "/users", &body);
        let link = text(&owner.post(&format!("/users/{id}/reset"), &json!({})).json(), "url");
        (id, link.rsplit('/').next().expect("a link has a secret at its end").to_owned())
    };
    let with_password = |name: &str, display: &str, roles: &[&String]| {
        let (id, link) = person(name, display, roles);
        let new = json!({ "password": PASSWORD, "password_again": PASSWORD });
        let _ = site.visitor().post(&format!("/reset/{link}"), &new).expect(200);
        id
    };
    let sign_in = |name: &str, password: &str| {
        let client = site.visitor();
        let _ = client.post("/sign-in", &json!({ "name": name, "password": password }));
        client
    };

    let grace = with_password("grace", "Grace Hopper", &[&operator, &compliance]);
    let app = sign_in("grace", PASSWORD);
    let _ = app.post("/account/second-factor/app", &json!({}));
    let secret = text(&app.get("/account/second-factor/app").json(), "secret");
    let _ = app.post("/account/second-factor/app/confirm", &json!({ "code": code(&secret) })).expect(201);
    with_password("ivy", "Ivy", &[&viewer]);
    let viewer = sign_in("ivy", PASSWORD).cookies();
    with_password("night", "Night watch", &[&ids.role_held]);
    let locked = with_password("alan", "Alan Turing", &[&operator]);
    for _ in 0..5 {
        sign_in("alan", "a guess in the dark");
    }
    let disabled = with_password("konrad", "Konrad Zuse", &[]);
    let _ = owner.post(&format!("/users/{disabled}/disable"), &json!({})).expect(200);
    let due = with_password("edsger", "Edsger Dijkstra", &[&operator]);
    let path = format!("/users/{due}");
    let tag = owner.get(&path).header("etag").expect("an account has a tag").to_owned();
    let change =
        json!({ "name": "edsger", "display": "Edsger Dijkstra", "roles": [operator], "must_change": true });
    let _ = owner.put(&path, &tag, &change).expect(200);
    let (link_out, link) = person(
        "maximiliane.von-und-zu-hohenlohe@engineering.plant-north",
        "Maximiliane von und zu Hohenlohe-Schillingsfürst-Langenburg",
        &[&operator, &compliance],
    );
    let service = json!({ "name": "historian", "display": LONG, "kind": "service", "roles": [operator] });
    let service = made(owner, "/users", &service);
    tokens(owner, &service, ids);
    provider(owner, ids);
    People {
        grace,
        locked,
        disabled,
        link_out,
        service,
        link,
        with_app: app,
        viewer,
        half: sign_in("grace", PASSWORD).cookies(),
        due: sign_in("edsger", PASSWORD).cookies(),
        bare: sign_in("night", PASSWORD).cookies(),
    }
}

fn tokens(owner: &Client, service: &str, ids: &mut Ids) {
    let token = |name: &str, body: serde_json::Value| {
        let mut whole = json!({ "name": name, "scopes": ["scans:view", "results:view", "subnets:view"] });
        whole.as_object_mut().expect("it is one").extend(body.as_object().expect("it is one").clone());
        text(&owner.post("/tokens", &whole).expect(201).json()["item"], "id")
    };
    ids.token =
        token("Nightly export", json!({ "days": 90, "sources": "10.20.4.0/24, 127.0.0.0/8, fd00:20::7" }));
    token("Historian", json!({ "days": 365, "account": service }));
    token("Handover, never ends", json!({}));
    ids.token_revoked = token("Old laptop", json!({ "days": 7 }));
    let _ = owner.post(&format!("/tokens/{}/revoke", ids.token_revoked), &json!({})).expect(200);
    let issued =
        owner.post("/statements", &json!({ "audience": "historian.plant.example" })).expect(201).json();
    let statements = owner.get("/statements").json();
    ids.statement = text(&list(&statements, "items")[0], "id");
    assert!(issued["token"].is_string(), "{issued}");
}

fn provider(owner: &Client, ids: &mut Ids) {
    let ca = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", "-subj", "/CN=Site CA"])
        .args(["-keyout", "/dev/null"])
        .output()
        .expect("openssl is there");
    let ca = String::from_utf8_lossy(&ca.stdout).into_owned();
    let sso = "https://sso.plant.example/realms/site";
    let body = json!({ "name": "Site login", "enabled": true, "issuer": sso, "ca": ca, "client_id": "portolan",
        "client_secret": "the-secret-of-the-client", "authorization_endpoint": format!("{sso}/protocol/openid-connect/auth"),
        "token_endpoint": format!("{sso}/protocol/openid-connect/token"),
        "jwks_uri": format!("{sso}/protocol/openid-connect/certs"),
        "mapping": "cn=operators,ou=plant north,dc=plant,dc=example = operator\nreaders = viewer" });
    ids.provider = made(owner, "/providers", &body);
}

/// The code that an authenticator app shows now for this secret (RFC 6238: SHA-1, 30 s, six digits).
fn code(secret: &str) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String =
        secret.chars().filter_map(|letter| alphabet.find(letter)).map(|five| format!("{five:05b}")).collect();
    let key: String = bits.as_bytes().chunks_exact(4).map(nibble).collect();
    let counter = (now().as_secs() / 30).to_be_bytes();
    let folder = tempfile::TempDir::new().expect("a temporary folder can be made");
    let file = folder.path().join("counter");
    std::fs::write(&file, counter).expect("it can be written");
    let mac = Command::new("openssl")
        .args(["dgst", "-sha1", "-mac", "HMAC", "-macopt", &format!("hexkey:{key}"), "-binary"])
        .arg(&file)
        .output()
        .expect("openssl is there")
        .stdout;
    let at = usize::from(mac[19] & 15);
    let number = u32::from_be_bytes([mac[at], mac[at + 1], mac[at + 2], mac[at + 3]]) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

fn nibble(bits: &[u8]) -> String {
    let value = bits.iter().fold(0, |value, bit| value * 2 + u8::from(*bit == b'1'));
    format!("{value:x}")
}
