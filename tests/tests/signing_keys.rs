//! New keys for what the appliance signs: what the old ones signed counts as far as it can.

use std::fs;
use std::process::{Command, Output};

use portolan_tests::api::text;
use portolan_tests::{Client, Site, binaries};
use serde_json::{Value, json};

fn portolan(site: &Site, words: &[&str]) -> Output {
    let mut command = Command::new(binaries::portolan());
    command.args(words).arg("--data").arg(site.data()).output().expect("portolan starts")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The entry of the only such action.
fn told(owner: &Client, action: &str) -> String {
    let found = owner.audit(&format!("&action={action}"));
    assert_eq!(found.len(), 1, "{found:?}");
    owner.get(&format!("/audit/{}", found[0]["seq"])).json().to_string()
}

#[test]
fn a_checkpoint_of_the_old_key_goes_on_to_count_and_the_renewal_outlives_a_rotation() {
    let mut site = Site::start();
    let owner = site.set_up();
    let old = owner.post("/audit/checkpoints", &json!({})).expect(201).json();
    let kept = site.data().with_file_name("old.txt");
    fs::write(&kept, text(&old, "text")).expect("it is written");
    let was = text(&owner.get("/audit/checkpoints").json(), "key");
    let renew = ["admin", "--json", "signing-key", "renew", "checkpoints", "--yes"];
    assert_eq!(portolan(&site, &renew).status.code(), Some(5), "it runs");
    site.stop("all");
    let renewed = portolan(&site, &renew);
    assert!(renewed.status.success(), "{}", said(&renewed));
    let keys: Value = serde_json::from_slice(&renewed.stdout).expect("JSON");
    assert_eq!(keys["old"], was);
    let rotated = portolan(&site, &["admin", "master-key", "rotate", "--yes"]);
    assert!(rotated.status.success(), "{}", said(&rotated));

    site.run("all");
    let owner = site.signed_in();
    let now = text(&owner.get("/audit/checkpoints").json(), "key");
    assert_eq!(keys["new"], now);
    assert_ne!(now, was);
    let entry = told(&owner, "key.checkpoint-renewed");
    assert!(entry.contains(&was) && entry.contains(&now), "{entry}");
    let tested = owner.post("/audit/checkpoints/test", &json!({ "checkpoint": old["text"] })).json();
    assert_eq!(tested["whole"], true, "{tested}");

    let kept = kept.to_str().expect("UTF-8");
    let verified = portolan(&site, &["audit", "verify", "--checkpoint", kept, "--key", &now]);
    assert!(
        verified.status.success() && said(&verified).contains("holds the checkpoint"),
        "{}",
        said(&verified)
    );
    let with_old = portolan(&site, &["audit", "verify", "--key", &was]);
    assert!(
        with_old.status.code() == Some(1) && said(&with_old).contains("was renewed"),
        "{}",
        said(&with_old)
    );
    let export = site.data().with_file_name("audit.jsonl");
    let export = export.to_str().expect("UTF-8");
    let taken = portolan(&site, &["audit", "export", "--output", export]);
    assert!(taken.status.success(), "{}", said(&taken));
    let mut verify = Command::new(binaries::portolan());
    let verified =
        verify.args(["verify", export, "--key", &now, "--checkpoint", kept]).output().expect("it starts");
    assert!(
        verified.status.success() && said(&verified).contains("holds 1 checkpoint"),
        "{}",
        said(&verified)
    );
}

#[test]
fn a_statement_of_the_old_key_holds_no_more() {
    let mut site = Site::start();
    let owner = site.set_up();
    let issued = owner.post("/statements", &json!({ "audience": "historian" })).expect(201).json();
    let before = owner.get("/jwks.json").json();
    let asked = json!({ "token": issued["token"], "audience": "historian" });
    assert_eq!(owner.post("/tokens/validate", &asked).json()["valid"], true);
    site.stop("all");
    let renewed = portolan(&site, &["admin", "signing-key", "renew", "statements", "--yes"]);
    assert!(renewed.status.success(), "{}", said(&renewed));
    site.run("all");
    let owner = site.signed_in();
    assert_ne!(owner.get("/jwks.json").json(), before);
    let answer = owner.post("/tokens/validate", &asked).json();
    assert_eq!((&answer["valid"], &answer["reason"]), (&json!(false), &json!("key")), "{answer}");
    let entry = told(&owner, "key.statement-renewed");
    assert!(entry.contains(r#""old":{"#) && entry.contains(r#""new":{"#), "{entry}");
}
