//! The audit as an auditor takes it away: exported from a running appliance, checked with nothing but the file and the key.

use std::fs;
use std::path::Path;
use std::process::Command;

use portolan_tests::{Site, binaries};
use serde_json::json;

/// What `portolan verify` says of a file, and its exit code.
fn verify(file: &Path, more: &[&str]) -> (String, i32) {
    let output = Command::new(binaries::portolan())
        .arg("verify")
        .arg(file)
        .args(more)
        // Another machine: nothing of the appliance is there.
        .env_clear()
        .current_dir("/")
        .output()
        .expect("portolan runs");
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), output.status.code().unwrap_or(-1))
}

#[test]
fn an_export_is_checked_on_another_machine_and_a_changed_one_is_found() {
    let site = Site::start();
    let owner = site.set_up();
    let wrong = site.visitor().post("/sign-in", &json!({ "name": "ada", "password": "not this one" }));
    assert_eq!(wrong.status, 422);
    owner.subnet("Plant", "10.7.0.0/16");
    let state = owner.get("/audit/checkpoints").expect(200).json();
    let key = state["key"].as_str().expect("the key is on the page").to_owned();
    let _ = owner.post("/audit/checkpoints", &json!({})).expect(201);
    let folder = tempfile::tempdir().expect("a folder");
    let kept = folder.path().join("kept.txt");
    let made = owner.get("/audit/checkpoints").expect(200).json();
    fs::write(&kept, made["last"]["text"].as_str().expect("a text")).expect("it is kept");
    for format in ["jsonl", "csv"] {
        for (filter, says) in
            [(json!({}), "ok: the whole audit"), (json!({ "class": "sign-in" }), "not proven")]
        {
            let mut body = filter.clone();
            body["format"] = json!(format);
            let export = owner.post("/audit/export", &body).expect(200).text();
            let file = folder.path().join(format!("export.{format}"));
            fs::write(&file, &export).expect("it is saved");
            let kept = kept.to_str().expect("a path in UTF-8");
            let (said, code) = verify(&file, &["--key", &key, "--checkpoint", kept]);
            println!("$ portolan verify export.{format} --key {key} --checkpoint kept.txt\n{said}");
            assert!(said.starts_with("ok: ") && said.contains(says) && code == 0, "{said}");
            assert!(said.contains("holds 1 checkpoint kept elsewhere"), "{said}");
            let (said, code) = verify(&file, &[]);
            assert!(
                said.contains(&format!("compare its key with the one you noted: {key}")) && code == 0,
                "{said}"
            );

            let changed = export.replacen("refused", "failed", 1);
            assert_ne!(changed, export, "a refused sign-in is shown");
            fs::write(&file, changed).expect("it is saved");
            let (said, code) = verify(&file, &["--key", &key]);
            println!("{said}");
            assert!(said.starts_with("broken: ") && code == 1, "{said}");
            let end = export.trim_end().rfind('\n').expect("it has lines");
            fs::write(&file, &export[..=end]).expect("it is saved");
            let (said, code) = verify(&file, &["--key", &key]);
            assert!(said.starts_with("broken: ") && code == 1, "{said}");
        }
    }
    let other = folder.path().join("other");
    fs::write(&other, "hello\n").expect("it is saved");
    let (said, code) = verify(&other, &[]);
    assert!(said.contains("is not an export of the audit") && code == 4, "{said}");
    let (said, code) = verify(&folder.path().join("nowhere"), &[]);
    assert!(said.contains("nowhere") && code == 4, "{said}");

    let told = owner.audit("&action=audit.exported");
    assert_eq!(told.len(), 4, "each export is itself an entry");
    let looks = owner.audit("&class=access&action=audit.viewed");
    assert_eq!(looks.len(), 1, "the list was read often, and told of once");
}
