use super::*;
use crate::ids::Random;
use minisign::SecretKey;
use tempfile::TempDir;

fn facts() -> Facts {
    Facts {
        appliance: "portolan.test:8443".into(),
        ca_sha256: "ab".repeat(32),
        job_key: "pR8vX1m0cQeT5sJw7uYb2NfKd4hLzA9iG6oVtS3xEkU=".into(),
        pages: "https://portolan.test".into(),
        pages_pin: "sha256//pR8vX1m0cQeT5sJw7uYb2NfKd4hLzA9iG6oVtS3xEkU=".into(),
    }
}

fn folder() -> (TempDir, Releases) {
    let folder = tempfile::tempdir().unwrap();
    let releases = Releases::new(folder.path().to_owned(), facts());
    (folder, releases)
}

async fn refused(releases: &Releases) -> Error {
    releases.release().await.err().expect("it was handed out")
}

#[tokio::test]
async fn a_release_is_handed_out_only_with_a_signature_that_holds() {
    let (folder, releases) = folder();
    let put = |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).unwrap();
    assert!(matches!(refused(&releases).await, Error::NotFound { .. }));
    let key = SecretKey::make(&Random::seeded(1));
    put("portolan-scanner", b"program");
    assert!(releases.release().await.unwrap().signed.is_none());
    put("scanner.pub", key.public().file().as_bytes());
    assert!(refused(&releases).await.to_string().contains("no signature"));
    put("portolan-scanner.minisig", key.sign(b"program", Form::Hashed, "").unwrap().as_bytes());
    assert!(refused(&releases).await.to_string().contains("--legacy"));
    put("portolan-scanner.minisig", key.sign(b"program", Form::Legacy, "x").unwrap().as_bytes());
    assert_eq!(releases.release().await.unwrap().signed.as_ref().unwrap().key, key.public());
    // The files are looked at again when they change.
    put("portolan-scanner", b"another program");
    assert!(refused(&releases).await.to_string().contains("does not fit"));
    put("scanner.pub", b"no key");
    assert!(refused(&releases).await.to_string().contains("scanner.pub"));
    put("scanner.pub", &[b'x'; 5_000]);
    assert!(refused(&releases).await.to_string().contains("scanner.pub is too large"));
}

#[tokio::test]
async fn a_release_that_is_held_back_is_not_read_anew_for_everyone_who_asks() {
    let (folder, releases) = folder();
    let key = SecretKey::make(&Random::seeded(1));
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    put("portolan-scanner", "program");
    put("scanner.pub", &key.public().file());
    put("portolan-scanner.minisig", &key.sign(b"PROGRAM", Form::Legacy, "x").unwrap());
    let why = refused(&releases).await.to_string();
    let path = folder.path().join("portolan-scanner.minisig");
    let then = fs::metadata(&path).unwrap().modified().unwrap();
    put("portolan-scanner.minisig", &key.sign(b"program", Form::Legacy, "x").unwrap());
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(then).unwrap();
    assert_eq!(refused(&releases).await.to_string(), why, "it looks as it did: it is not read");
    file.set_modified(then + std::time::Duration::from_secs(1)).unwrap();
    assert!(releases.release().await.is_ok());
}

#[tokio::test]
async fn the_script_carries_the_facts_and_nothing_that_a_shell_would_run() {
    let (folder, releases) = folder();
    fs::write(folder.path().join("portolan-scanner"), b"program").unwrap();
    let script = releases.script().await.unwrap();
    for line in ["appliance='portolan.test:8443'\n", "pages='https://portolan.test'\n", "scanner_pub=''\n"] {
        assert!(script.contains(line), "{line}");
    }
    assert!(script.contains(&format!("scanner_sha256='{}'\n", hex::encode(&sha256(b"program")))));
    assert!(script.starts_with("#!/bin/sh\n") && script.ends_with("main \"$@\"\n"));
    let evil = Facts { pages: "https://x';reboot;'".into(), ..facts() };
    let refused = Releases::new(folder.path().to_owned(), evil).script().await.unwrap_err();
    assert!(refused.to_string().contains("pages"), "{refused}");
}

#[test]
fn the_line_pins_the_pages_key() {
    let (_folder, releases) = folder();
    assert_eq!(
        releases.install_command(),
        "curl -kfsS --pinnedpubkey 'sha256//pR8vX1m0cQeT5sJw7uYb2NfKd4hLzA9iG6oVtS3xEkU=' \
         https://portolan.test/install.sh | sudo sh"
    );
}
