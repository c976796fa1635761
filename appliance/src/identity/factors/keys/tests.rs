//! Through the routes, with a security key in software.

use super::webauthn::tests::{Key, ORIGIN, RP, client_data};
use crate::identity::factors::tests::audit_of;
use crate::test::{Answered, PASSWORD, TestSite};
use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const BASE: &str = "/account/second-factor";

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

async fn post(site: &TestSite, path: &str, body: Value) -> Answered {
    site.send_json(Method::POST, path, &body).await
}

async fn challenge(site: &TestSite, path: &str) -> (Vec<u8>, Value) {
    let options = post(site, &format!("{path}/options"), json!({})).await;
    assert_eq!(options.status, StatusCode::OK, "{}", options.text);
    let options = options.json();
    (URL_SAFE_NO_PAD.decode(options["challenge"].as_str().unwrap()).unwrap(), options)
}

async fn add(site: &TestSite, key: &Key) -> Answered {
    let path = format!("{BASE}/keys");
    let (challenge, options) = challenge(site, &path).await;
    assert_eq!(options["rp"]["id"], RP);
    let said = client_data("webauthn.create", &challenge, ORIGIN);
    let new = json!({ "name": "blue", "client_data": text(&said), "attestation": text(&key.attestation(RP)),
                      "transports": "usb,nonsense" });
    post(site, &path, new).await
}

fn answer(key: &mut Key, challenge: &[u8], user_handle: &str) -> Value {
    let said = client_data("webauthn.get", challenge, ORIGIN);
    let (data, signature) = key.sign(RP, &said);
    json!({ "id": text(&key.id), "client_data": text(&said), "authenticator_data": text(&data),
            "signature": text(&signature), "user_handle": user_handle })
}

async fn half_in(site: &TestSite) -> TestSite {
    let mut visitor = site.stranger();
    let answer = post(&visitor, "/sign-in", json!({ "name": "ada", "password": PASSWORD })).await;
    assert_eq!(answer.json()["stage"], "second-factor", "{}", answer.text);
    visitor.take_cookie(&answer);
    visitor
}

async fn handle(site: &TestSite) -> String {
    let me = site.get("/me").await.json();
    let id: uuid::Uuid = me["user"]["id"].as_str().unwrap().parse().unwrap();
    text(id.as_bytes())
}

#[tokio::test]
async fn a_key_is_added_with_recovery_codes_and_then_asked_for() {
    let site = TestSite::new().await;
    let mut key = Key::p256();
    let added = add(&site, &key).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    assert_eq!(added.json()["codes"].as_array().unwrap().len(), 10);
    assert_eq!(site.get(BASE).await.json()["keys"][0]["name"], "blue");
    assert_eq!(add(&site, &key).await.fields(), ["key"], "the same one is not added twice");

    let visitor = half_in(&site).await;
    let (open, options) = challenge(&visitor, "/sign-in/second-factor/key").await;
    assert_eq!(options["allowCredentials"][0]["id"], text(&key.id));
    assert_eq!(options["allowCredentials"][0]["transports"], json!(["usb"]));
    let answered = answer(&mut key, &open, "");
    let elsewhere = half_in(&site).await;
    let stolen = post(&elsewhere, "/sign-in/second-factor/key", answered.clone()).await;
    assert_eq!(stolen.fields(), ["key"], "an answer is for the session that asked: {}", stolen.text);
    let done = post(&visitor, "/sign-in/second-factor/key", answered.clone()).await;
    assert_eq!((done.status, &done.json()["stage"]), (StatusCode::OK, &json!("full")), "{}", done.text);
}

#[tokio::test]
async fn a_key_with_a_pin_signs_in_alone_and_its_answer_works_once() {
    let site = TestSite::new().await;
    let mut key = Key::ed25519();
    add(&site, &key).await;
    let handle = handle(&site).await;
    let mut visitor = site.stranger();
    let (open, options) = challenge(&visitor, "/sign-in/key").await;
    assert_eq!(
        (&options["allowCredentials"], &options["userVerification"]),
        (&json!([]), &json!("required"))
    );
    let answered = answer(&mut key, &open, &handle);
    let done = post(&visitor, "/sign-in/key", answered.clone()).await;
    assert_eq!((done.status, &done.json()["stage"]), (StatusCode::OK, &json!("full")), "{}", done.text);
    assert_eq!(post(&visitor, "/sign-in/key", answered).await.fields(), ["key"], "replayed");
    visitor.take_cookie(&done);
    assert_eq!(visitor.get("/me").await.status, StatusCode::OK);
    assert!(audit_of(&site).await.contains("security-key.used"));
}

#[tokio::test]
async fn alone_needs_the_pin_and_the_right_account() {
    let site = TestSite::new().await;
    let mut key = Key::p256();
    add(&site, &key).await;
    let handle = handle(&site).await;
    let visitor = site.stranger();
    let (open, _) = challenge(&visitor, "/sign-in/key").await;
    let other = text(uuid::Uuid::from_u128(7).as_bytes());
    for whose in ["", other.as_str()] {
        let refused = post(&visitor, "/sign-in/key", answer(&mut key, &open, whose)).await;
        assert_eq!(refused.fields(), ["key"]);
    }
    key.flags = 1;
    let refused = post(&visitor, "/sign-in/key", answer(&mut key, &open, &handle)).await;
    assert!(refused.text.contains("without PIN or finger"), "{}", refused.text);
    let mut strange = Key::p256();
    strange.id = vec![9; 32];
    let refused = post(&visitor, "/sign-in/key", answer(&mut strange, &open, &handle)).await;
    assert!(refused.text.contains("is not known here"), "{}", refused.text);
    key.flags = 5;
    assert_eq!(post(&visitor, "/sign-in/key", answer(&mut key, &open, &handle)).await.status, StatusCode::OK);
    key.count = 0;
    let (open, _) = challenge(&visitor, "/sign-in/key").await;
    let copied = post(&visitor, "/sign-in/key", answer(&mut key, &open, &handle)).await;
    assert!(copied.text.contains("a copy of this key"), "{}", copied.text);
    assert!(audit_of(&site).await.contains("counter that went back"));
}

#[tokio::test]
async fn a_key_is_removed_by_its_owner() {
    let site = TestSite::new().await;
    add(&site, &Key::p256()).await;
    let id = site.get(BASE).await.json()["keys"][0]["id"].as_str().unwrap().to_owned();
    assert!(
        site.page(&format!("{BASE}/keys/{id}/delete")).await.text.contains("Remove the security key “blue”?")
    );
    let gone = site.send_json(Method::DELETE, &format!("{BASE}/keys/{id}"), &Value::Null).await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text);
    let own = site.get(BASE).await.json();
    assert_eq!((&own["keys"], &own["recovery_left"]), (&json!([]), &json!(0)));
    let again = site.send_json(Method::DELETE, &format!("{BASE}/keys/{id}"), &Value::Null).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
}

#[test]
fn a_site_open_by_address_takes_no_keys() {
    for (host, name) in [("Box.example:8443", Some("box.example")), ("localhost", Some("localhost"))] {
        assert_eq!(super::Site::named(host).ok().map(|site| site.name).as_deref(), name);
    }
    assert_eq!(super::Site::named("box.example:8443").ok().unwrap().origin, "https://box.example:8443");
    for host in ["192.0.2.1", "192.0.2.1:8443", "[2001:db8::1]", "[2001:db8::1]:8443", ""] {
        assert!(super::Site::named(host).is_err(), "{host}");
    }
}
