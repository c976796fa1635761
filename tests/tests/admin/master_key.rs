//! `portolan admin master-key rotate`, whole and killed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use portolan_tests::{Client, Site};
use serde_json::{Value, json};

use crate::Admin;

/// Writes a key as the appliance does: for its owner alone.
fn put(path: &Path, key: &[u8]) {
    fs::write(path, key).expect("it is written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// What outlives a rotation, as it is seen from outside.
fn lasting(site: &mut Site, owner: &Client) -> Value {
    json!({
        "certificate": site.process("all").printed("portolan: certificate sha256 "),
        "statements": owner.get("/jwks.json").json(),
        "checkpoints": owner.get("/audit/checkpoints").expect(200).json()["key"],
    })
}

#[test]
fn a_new_master_key_opens_everything_and_what_others_keep_stays() {
    let mut site = Site::start();
    let owner = site.set_up();
    let issued = owner
        .post("/statements", &json!({ "audience": "historian", "scopes": ["scans:view"] }))
        .expect(201)
        .json();
    let webhook = json!({
        "name": "siem", "kind": "webhook", "address": "http://127.0.0.1:9/", "body": "json",
        "secret": "sixteen letters and more", "enabled": false,
    });
    let _ = owner.post("/receivers", &webhook).expect(201);
    let _ = owner.post("/audit/checkpoints", &json!({})).expect(201);
    let before = lasting(&mut site, &owner);
    site.stop("all");
    let admin = Admin::of(&site);
    let key = fs::read(site.data().join("manager/master.key")).expect("it is there");
    admin.run(&["master-key", "rotate"]).refused(2, "say --yes");
    assert_eq!(fs::read(site.data().join("manager/master.key")).expect("it is there"), key);
    let saved = site.data().with_file_name("old.key");
    let path = saved.to_str().expect("UTF-8");
    let rotated = admin.run(&["--json", "master-key", "rotate", "--save-old", path, "--yes"]).json();
    assert_eq!(fs::read(&saved).expect("it is there"), key);
    admin.run(&["master-key", "rotate", "--save-old", path, "--yes"]).refused(4, path);
    assert_eq!((&rotated["sealed_anew"]["receiver"], &rotated["sessions_ended"]), (&json!(1), &json!(1)));
    assert_ne!(fs::read(site.data().join("manager/master.key")).expect("it is there"), key);
    assert_eq!(admin.told(0), ["key.master-rotated"]);

    site.run("all");
    assert_eq!(owner.get("/me").status, 401, "sessions are over");
    let owner = site.signed_in();
    assert_eq!(lasting(&mut site, &owner), before);
    let asked = json!({ "token": issued["token"], "audience": "historian" });
    assert_eq!(site.visitor().post("/tokens/validate", &asked).json()["valid"], true);
    assert!(admin.run(&["audit", "verify"]).done().out.starts_with("ok: "));
    // With the key of before, it says what is the matter.
    site.stop("all");
    fs::write(site.data().join("manager/master.key"), &key).expect("it is written");
    let said = admin.run(&["master-key", "rotate", "--yes"]);
    said.refused(4, "no master key that is here opens");
}

#[test]
fn killed_at_any_moment_of_a_rotation_the_appliance_starts() {
    let mut site = Site::start();
    let owner = site.set_up();
    let before = lasting(&mut site, &owner);
    site.stop("all");
    let admin = Admin::of(&site);
    let (key, next) = (site.data().join("manager/master.key"), site.data().join("manager/master.key.next"));
    let rotate = ["master-key", "rotate", "--yes"];

    // Between the steps, which leave these files: before the commit, and after it.
    let old = fs::read(&key).expect("it is there");
    put(&next, &[7; 32]);
    starts(&mut site, &before);
    assert!(!next.exists() && fs::read(&key).expect("it is there") == old);
    admin.run(&rotate).done();
    let new = fs::read(&key).expect("it is there");
    put(&next, &new);
    put(&key, &old);
    starts(&mut site, &before);
    assert!(!next.exists() && fs::read(&key).expect("it is there") == new);
    // The next command finishes it as a start does.
    fs::rename(&key, &next).expect("it is moved");
    put(&key, &old);
    admin.run(&rotate).done();
    starts(&mut site, &before);

    // Wherever it is by then.
    let begun = Instant::now();
    admin.run(&rotate).done();
    let whole = begun.elapsed();
    for part in 1..=6 {
        let mut command = admin.command(&rotate);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        thread::sleep(whole * part / 7);
        let _ = child.kill();
        let _ = child.wait();
        starts(&mut site, &before);
    }
    assert!(admin.run(&["audit", "verify"]).done().out.starts_with("ok: "));
}

/// Starts, takes the owner's password, has its keys, and stops.
fn starts(site: &mut Site, before: &Value) {
    site.run("all");
    let owner = site.signed_in();
    assert_eq!(lasting(site, &owner), *before);
    site.stop("all");
}
