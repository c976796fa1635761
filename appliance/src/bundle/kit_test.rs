//! What a kit is, and that nothing changes where it is refused.

use axum::http::Method;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::ids::Random;
use crate::releases::minisign::{Form, SecretKey};
use crate::test::TestSite;

/// A site with a vantage, and a signed release.
async fn ready() -> (TestSite, TempDir, Releases) {
    let site = TestSite::new().await;
    let made = site.send_json(Method::POST, "/vantages", &json!({ "name": "Engine room" })).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let folder = tempfile::tempdir().unwrap();
    let key = SecretKey::make(&Random::seeded(1));
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    put("portolan-scanner", "program");
    put("scanner.pub", &key.public().file());
    put("portolan-scanner.minisig", &key.sign(b"program", Form::Legacy, "x").unwrap());
    let releases = Releases::new(folder.path().to_owned(), site.app.releases.handed_out().0.clone());
    (site, folder, releases)
}

async fn new(fleet: &Fleet) -> For {
    let vantage = vantage(fleet, None).await.unwrap();
    let name = free_name(fleet, &vantage.name).await.unwrap();
    For::New(ScannerInput { name, vantage: vantage.id, ..ScannerInput::default() })
}

#[tokio::test]
async fn a_kit_has_all_that_a_scanner_is_installed_from_and_its_script_knows_the_appliance() {
    let (site, root, releases) = ready().await;
    let (fleet, to) = (&site.app.fleet, root.path().join("kit"));
    let actor = Actor::cli("admin");
    let whom = new(fleet).await;
    let written = write((fleet, &releases), &actor, whom, (&to, false), "PEM\n").await.unwrap();
    assert!(written.kept_to_owner);
    let mut there: Vec<String> =
        fs::read_dir(&to).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    let mut wanted = FILES.map(str::to_owned);
    wanted.sort();
    assert_eq!(there, wanted);
    let text = |name: &str| fs::read_to_string(to.join(name)).unwrap();
    let script = text("install.sh");
    for line in ["kit='yes'\n", "appliance='portolan.test:8443'\n", "ca_sha256='abab"] {
        assert!(script.contains(line), "{line}");
    }
    assert!(!releases.script().await.unwrap().contains("kit='yes'"));
    assert_eq!(text("token").trim(), written.enrolment.token);
    assert!(!text("README.txt").contains(&written.enrolment.token));
    assert_eq!(written.enrolment.scanner.name, "Engine room");

    // The next is another scanner, and does not take the place of this one without a word.
    let whom = new(fleet).await;
    let refused = write((fleet, &releases), &actor, whom, (&to, false), "PEM\n").await.err().unwrap();
    assert!(refused.to_string().contains("install.sh"), "{refused}");
    let id = scanner(fleet, "engine ROOM").await.unwrap();
    let again = write((fleet, &releases), &actor, For::Known(id), (&to, true), "PEM\n").await.unwrap();
    assert_ne!(again.enrolment.token, written.enrolment.token);
    assert_eq!(fleet.scanners().await.unwrap().len(), 1);
    assert_eq!(free_name(fleet, "Engine room").await.unwrap(), "Engine room 2");
}

#[tokio::test]
async fn a_release_without_a_signature_makes_no_kit_and_no_scanner() {
    let (site, root, releases) = ready().await;
    fs::remove_file(root.path().join("scanner.pub")).unwrap();
    let (fleet, to) = (&site.app.fleet, root.path().join("kit"));
    let head = site.app.store.audit_head().await.unwrap().seq;
    let whom = new(fleet).await;
    let refused =
        write((fleet, &releases), &Actor::cli("admin"), whom, (&to, false), "").await.err().unwrap();
    assert!(refused.to_string().contains("not signed"), "{refused}");
    assert!(!to.exists());
    assert_eq!(site.app.store.audit_head().await.unwrap().seq, head);
    assert!(fleet.scanners().await.unwrap().is_empty());
}

#[tokio::test]
async fn one_of_several_vantages_is_named_and_what_is_none_is_told() {
    let (site, _root, _) = ready().await;
    let fleet = &site.app.fleet;
    assert_eq!(vantage(fleet, Some("engine room")).await.unwrap().name, "Engine room");
    let made = site.send_json(Method::POST, "/vantages", &json!({ "name": "Bridge" })).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let refused = |said| async move { format!("{:?}", vantage(fleet, said).await.unwrap_err()) };
    assert!(refused(None).await.contains("name one of: Bridge, Engine room"));
    assert!(refused(Some("Brig")).await.contains("Brig is none of"));
    assert!(matches!(scanner(fleet, "nobody").await, Err(Error::NotFound { .. })));
}

#[test]
fn a_certificate_that_is_not_the_one_told_of_is_not_carried_away() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("ca.pem");
    let ca = tls::Ca::make(&Random::system()).unwrap();
    fs::write(&path, ca.certificate_pem()).unwrap();
    assert_eq!(certificate(&path, &ca.fingerprint()).unwrap(), ca.certificate_pem());
    certificate(&path, &"00".repeat(32)).unwrap_err();
    certificate(&root.path().join("none"), &ca.fingerprint()).unwrap_err();
}
