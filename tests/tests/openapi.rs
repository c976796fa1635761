//! The OpenAPI document of the running appliance, against the specification: by the validator that its makers point to.

use portolan_tests::{Site, binaries::cache};
use std::process::Command;

#[test]
fn the_document_is_valid_openapi_3_1() {
    let site = Site::start();
    let client = site.set_up();
    let document = client.get("/openapi.json").expect(200);
    assert_eq!(document.json()["openapi"], "3.1.0");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, document.text()).unwrap();
    let validator = cache().join("openapi/bin/openapi-spec-validator");
    let told = Command::new(&validator)
        .args(["--schema", "3.1", "--validation-errors", "all"])
        .arg(&file)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; `make setup` installs it", validator.display()));
    let said = String::from_utf8_lossy(&told.stdout).into_owned() + &String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{said}");
}
