//! Starting and stopping: one process or three, a first start and a later one.

use portolan_tests::Site;
use portolan_tests::site::ROLES;
use serde_json::json;

#[test]
fn the_first_visit_is_the_setup_and_then_it_is_gone() {
    let mut site = Site::start();
    let visitor = site.visitor();
    let first = visitor.page("/").expect(303);
    assert_eq!(first.header("location"), Some("/setup"));
    let mut wrong = json!({
        "code": "AAAA-AAAA", "name": "owner", "password": "long enough for this", "password_again": "long enough for this",
    });
    assert!(visitor.post("/setup", &wrong).expect(422).text().contains("code"));
    let _ = site.set_up();
    wrong["code"] = json!(site.setup_code());
    let _ = visitor.post("/setup", &wrong).expect(404);
    assert_eq!(visitor.page("/access").expect(303).header("location").map(|to| &to[..8]), Some("/sign-in"));

    site.stop("all");
    site.run("all");
    let _ = site.visitor().page("/setup").expect(404);
    let me = site.signed_in().get("/me").expect(200).json();
    assert_eq!(me["user"]["name"], "owner");
}

#[test]
fn three_processes_start_in_any_order_and_stop_orderly() {
    let mut site = Site::start_roles();
    let _ = site.set_up().get("/me").expect(200);
    for role in ROLES {
        site.stop(role);
    }
    site.run("ingest");
    site.run("dispatcher");
    site.run("manager");
    let _ = site.signed_in().get("/me").expect(200);
}
