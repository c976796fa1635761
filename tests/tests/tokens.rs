//! Tokens against the running appliance: in their header, and the one of this machine's own command line.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use portolan_tests::api::{list, text};
use portolan_tests::http::Request;
use portolan_tests::{Client, Response, Site};
use serde_json::{Value, json};

/// Asks the API with a token and nothing else.
fn with(site: &Site, token: &str, method: &str, path: &str, body: Option<&Value>) -> Response {
    let mut request =
        Request::new(method, &format!("/api/v1{path}")).header("Authorization", &format!("Bearer {token}"));
    if let Some(body) = body {
        request = request.body("application/json", body.to_string());
    }
    site.visitor().send(request)
}

fn operator(site: &Site) -> String {
    let file = site.data().join("manager/run/operator.token");
    let mode = fs::metadata(&file).expect("the manager keeps it while it runs").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let folder = file.parent().expect("it lies in a folder");
    assert_eq!(fs::metadata(folder).expect("it is there").permissions().mode() & 0o777, 0o700);
    fs::read_to_string(file).expect("it is ours").trim_end().to_owned()
}

fn made(owner: &Client, body: &Value) -> Value {
    owner.post("/tokens", body).expect(201).json()
}

#[test]
fn a_script_uses_the_api_with_a_token_until_it_is_revoked() {
    let site = Site::start();
    let owner = site.set_up();
    let wanted = json!({ "name": "Export", "scopes": ["subnets:view", "subnets:manage"], "days": 1 });
    let answer = made(&owner, &wanted);
    let (token, id) = (text(&answer, "token"), text(&answer["item"], "id"));
    let subnet = json!({ "name": "Hall", "cidr": "10.20.0.0/16" });
    let _ = with(&site, &token, "POST", "/subnets", Some(&subnet)).expect(201);
    let _ = with(&site, &token, "GET", "/audit", None).expect(403);
    let stranger = site.visitor();
    let _ = stranger.get(&format!("/me?access_token={token}")).expect(401);
    let entry = &owner.audit("&action=subnet.created")[0];
    assert_eq!(entry["actor"]["method"], json!(format!("token:{id}")), "{entry}");
    let _ = owner.post(&format!("/tokens/{id}/revoke"), &json!({})).expect(200);
    let _ = with(&site, &token, "GET", "/me", None).expect(401);
    assert!(!site.logs().contains(&token), "a token that came in an address is not in the log");
}

#[test]
fn the_local_operator_has_a_token_while_the_manager_runs_and_no_longer() {
    let mut site = Site::start();
    let owner = site.set_up();
    let token = operator(&site);
    let me = with(&site, &token, "GET", "/me", None).expect(200).json();
    assert!(me["user"].is_null() && list(&me, "scopes").len() > 20, "{me}");
    let role = json!({ "name": "Night", "scopes": ["scans:view"] });
    let _ = with(&site, &token, "POST", "/roles", Some(&role)).expect(201);
    let entry = &owner.audit("&action=role.created")[0];
    assert_eq!(entry["actor"]["kind"], json!("cli"), "{entry}");
    // From the same machine, without it: a stranger.
    let _ = site.visitor().get("/me").expect(401);

    site.stop("all");
    assert!(!site.data().join("manager/run/operator.token").exists());
    site.run("all");
    let next = operator(&site);
    assert_ne!(next, token);
    let _ = with(&site, &token, "GET", "/me", None).expect(401);
    let _ = with(&site, &next, "GET", "/me", None).expect(200);
    // Killed, it leaves its file behind, and what is in it is void at the next start.
    site.kill("all");
    assert!(site.data().join("manager/run/operator.token").exists());
    site.run("all");
    let _ = with(&site, &next, "GET", "/me", None).expect(401);
    assert_ne!(operator(&site), next);
}

#[test]
fn a_statement_outlives_a_restart_because_its_key_does() {
    let mut site = Site::start();
    let owner = site.set_up();
    let issued = owner.post("/statements", &json!({ "audience": "historian" })).expect(201).json();
    let keys = site.visitor().get("/jwks.json").expect(200).json();
    site.stop("all");
    site.run("all");
    assert_eq!(site.visitor().get("/jwks.json").expect(200).json(), keys);
    let asked = json!({ "token": issued["token"], "audience": "historian" });
    let answer = site.visitor().post("/tokens/validate", &asked).expect(200).json();
    assert_eq!(answer["valid"], json!(true), "{answer}");
    let garbage = site.visitor().post("/tokens/validate", &json!({ "token": "x", "audience": "historian" }));
    assert_eq!(garbage.expect(200).json()["valid"], json!(false));
}
