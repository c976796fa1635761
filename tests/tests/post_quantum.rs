//! A scanner built with the feature `pq` and the real ingest agree on a key exchange that a quantum computer does not
//! undo; one without it agrees on X25519.

use std::path::Path;
use std::process::Command;

use portolan_tests::api::text;
use portolan_tests::{Site, binaries};

/// What this program says while it enrols at an appliance of its own.
fn said_at_enrolment(program: &Path) -> String {
    let site = Site::start();
    let owner = site.set_up();
    let added = owner.add_scanner("one", &owner.vantage("Lab"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let token = folder.path().join("token");
    std::fs::write(&token, text(&added, "token")).expect("the folder is ours");
    let output = Command::new(program)
        .args([
            "enrol",
            "--appliance",
            &site.scanners().to_string(),
            "--ca-sha256",
            &text(&added, "ca_sha256"),
        ])
        .args(["--job-key", &text(&added, "job_key"), "--token-file"])
        .arg(token)
        .arg("--dir")
        .arg(folder.path().join("scanner"))
        .output()
        .expect("the scanner starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}\n{said}", output.status);
    said
}

#[test]
fn the_key_exchange_is_told_and_is_the_one_that_was_built_in() {
    let pq = said_at_enrolment(&binaries::static_scanner("portolan-scanner-pq"));
    assert!(pq.contains("TLS 1.3, key exchange X25519MLKEM768"), "{pq}");
    let ring = said_at_enrolment(&binaries::scanner());
    assert!(ring.contains("TLS 1.3, key exchange X25519\n"), "{ring}");
}
