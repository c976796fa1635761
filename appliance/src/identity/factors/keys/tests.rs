//! Through the routes, with a security key in software.

use super::webauthn::tests::{Key, ORIGIN, RP, client_data};
use crate::identity::factors::tests::{audit_of, signing_in, with_role};
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

async fn make_token(site: &TestSite) -> Answered {
    site.hand.advance(std::time::Duration::from_secs(1));
    let name = site.app.ids.new().to_string();
    post(site, "/tokens", json!({ "name": name, "scopes": ["scans:view"] })).await
}

#[tokio::test]
async fn a_key_with_a_pin_proves_that_it_is_still_you_and_one_without_does_not() {
    let mut site = TestSite::new().await;
    let mut key = Key::p256();
    add(&site, &key).await;
    let grace = site.person("grace", &["viewer"]).await;
    site.hand.advance(std::time::Duration::from_secs(6 * 60));
    assert_eq!(make_token(&site).await.json()["type"], "/docs/errors#prove");
    let page = site.page("/prove?next=%2Ftokens%2Fnew").await.text;
    assert!(page.contains("name=\"authenticator_data\"") && page.contains("name=\"password\""), "{page}");

    let (open, options) = challenge(&site, "/prove/key").await;
    let keys = (&options["userVerification"], &options["allowCredentials"][0]["id"]);
    assert_eq!(keys, (&json!("required"), &json!(text(&key.id))));
    key.flags = 1;
    let held = post(&site, "/prove/key", answer(&mut key, &open, "")).await;
    assert!(held.text.contains("without PIN or finger"), "{}", held.text);
    key.flags = 5;
    let (alone, _) = challenge(&site, "/sign-in/key").await;
    let other = post(&site, "/prove/key", answer(&mut key, &alone, "")).await;
    assert_eq!(other.fields(), ["key"], "an answer to another question: {}", other.text);
    assert_eq!(post(&grace, "/prove/key/options", json!({})).await.status, StatusCode::CONFLICT);
    let hers = post(&grace, "/prove/key", answer(&mut key, &open, "")).await;
    assert_eq!(hers.fields(), ["key"], "a key of someone else: {}", hers.text);

    let answered = answer(&mut key, &open, "");
    let before = site.cookie().to_owned();
    let proved = post(&site, "/prove/key", answered.clone()).await;
    assert_eq!(proved.status, StatusCode::OK, "{}", proved.text);
    site.take_cookie(&proved);
    assert_ne!(site.cookie(), before, "under a new secret");
    assert_eq!(make_token(&site).await.status, StatusCode::CREATED);
    assert_eq!(post(&site, "/prove/key", answered).await.fields(), ["key"], "replayed");
    let audit = audit_of(&site).await;
    assert!(audit.contains("\"action\":\"prove\"") && audit.contains("\"key\":\"blue\""), "{audit}");
}

#[tokio::test]
async fn a_password_can_go_once_another_way_in_has_worked_and_the_last_way_in_never() {
    let site = TestSite::new().await;
    let mut grace = site.person("grace", &["viewer"]).await;
    let id = grace.own_id().await;
    let remove = async |who: &TestSite, path: &str| who.send_json(Method::DELETE, path, &Value::Null).await;
    let mut key = Key::p256();
    add(&grace, &key).await;
    let early = remove(&grace, "/account/password").await;
    assert_eq!(early.status, StatusCode::CONFLICT, "nobody knows yet that the key can: {}", early.text);
    assert!(grace.page("/account/password/delete").await.text.contains("The password is the last way in"));
    let handle = handle(&grace).await;
    let (open, _) = challenge(&site.stranger(), "/sign-in/key").await;
    let done = post(&site.stranger(), "/sign-in/key", answer(&mut key, &open, &handle)).await;
    grace.take_cookie(&done);
    assert!(grace.page("/account").await.text.contains("Remove password"));

    let other = site.person("alan", &["viewer"]).await;
    assert_eq!(remove(&other, &format!("/users/{id}/password")).await.status, StatusCode::FORBIDDEN);
    site.hand.advance(std::time::Duration::from_secs(6 * 60));
    assert_eq!(remove(&grace, "/account/password").await.json()["type"], "/docs/errors#prove");
    let (open, _) = challenge(&grace, "/prove/key").await;
    let proved = post(&grace, "/prove/key", answer(&mut key, &open, "")).await;
    grace.take_cookie(&proved);
    let gone = remove(&grace, "/account/password").await;
    assert_eq!(
        (gone.status, &gone.json()["methods"]),
        (StatusCode::OK, &json!(["security-key"])),
        "{}",
        gone.text
    );
    assert_eq!(grace.get("/scans").await.status, StatusCode::OK, "this session goes on");
    assert_eq!(site.stranger().sign_in("grace", PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        !grace.page("/prove").await.text.contains("name=\"password\""),
        "it is not asked for what is not there"
    );
    let again = remove(&grace, "/account/password").await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    let key = grace.get(BASE).await.json()["keys"][0]["id"].as_str().unwrap().to_owned();
    let last = remove(&grace, &format!("{BASE}/keys/{key}")).await;
    assert!(last.status == StatusCode::CONFLICT && last.text.contains("last way in"), "{}", last.text);
    assert!(audit_of(&site).await.contains("user.password-removed"));
}

#[tokio::test]
async fn the_owner_keeps_a_password_whatever_else_signs_in() {
    let mut site = TestSite::new().await;
    let mut key = Key::ed25519();
    add(&site, &key).await;
    let handle = handle(&site).await;
    let (open, _) = challenge(&site.stranger(), "/sign-in/key").await;
    let done = post(&site.stranger(), "/sign-in/key", answer(&mut key, &open, &handle)).await;
    site.take_cookie(&done);
    let kept = site.send_json(Method::DELETE, "/account/password", &Value::Null).await;
    assert_eq!(kept.status, StatusCode::CONFLICT, "{}", kept.text);
    let path = format!("/users/{}/password", site.own_id().await);
    assert_eq!(site.send_json(Method::DELETE, &path, &Value::Null).await.status, StatusCode::CONFLICT);
    assert!(site.page("/account/password/delete").await.text.contains("The owner keeps a password"));
    assert_eq!(site.stranger().sign_in("ada", PASSWORD).await.json()["stage"], "second-factor");
}

/// Someone with a key that has signed in alone, in the session that it began.
async fn with_a_key(site: &TestSite, who: &TestSite, mut key: Key) -> TestSite {
    assert_eq!(add(who, &key).await.status, StatusCode::CREATED);
    let handle = handle(who).await;
    let mut visitor = site.stranger();
    let (open, _) = challenge(&visitor, "/sign-in/key").await;
    let done = post(&visitor, "/sign-in/key", answer(&mut key, &open, &handle)).await;
    visitor.take_cookie(&done);
    visitor
}

async fn key_path(who: &TestSite) -> String {
    format!("{BASE}/keys/{}", who.get(BASE).await.json()["keys"][0]["id"].as_str().unwrap())
}

#[tokio::test]
async fn of_the_last_two_ways_in_that_are_taken_at_once_one_stays() {
    for turn in [false, true] {
        let site = TestSite::new().await;
        let grace = with_a_key(&site, &site.person("grace", &["viewer"]).await, Key::p256()).await;
        let path = key_path(&grace).await;
        let key = grace.send_json(Method::DELETE, &path, &Value::Null);
        let password = grace.send_json(Method::DELETE, "/account/password", &Value::Null);
        let (key, password) = if turn {
            let (password, key) = tokio::join!(password, key);
            (key, password)
        } else {
            tokio::join!(key, password)
        };
        let mut said = [key.status, password.status];
        said.sort();
        assert_eq!(said, [StatusCode::OK, StatusCode::CONFLICT], "{}\n{}", key.text, password.text);
    }
}

#[tokio::test]
async fn while_passwords_sign_in_nobody_the_last_key_is_not_taken() {
    let site = TestSite::new().await;
    let mut second = Key::p256();
    second.id = vec![9; 32];
    let owner = with_a_key(&site, &site, second).await;
    let grace = with_a_key(&site, &site.person("grace", &["viewer"]).await, Key::p256()).await;
    let path = format!("/users/{}/second-factor", grace.own_id().await);
    let off = "INSERT OR REPLACE INTO setting (name, value) VALUES ('local-sign-in', '{\"local\":\"off\"}')";
    site.sql(off).await;
    for last in [
        owner.send_json(Method::DELETE, &key_path(&owner).await, &Value::Null).await,
        grace.send_json(Method::DELETE, &key_path(&grace).await, &Value::Null).await,
    ] {
        assert_eq!(last.status, StatusCode::CONFLICT, "{}", last.text);
        assert!(last.text.contains("last way in"), "{}", last.text);
    }
    assert_eq!(grace.get(BASE).await.json()["keys"].as_array().unwrap().len(), 1);
    let own = format!("/users/{}/second-factor", owner.own_id().await);
    let own = site.send_json(Method::DELETE, &own, &Value::Null).await;
    assert!(own.status == StatusCode::CONFLICT && own.text.contains("last way in"), "{}", own.text);

    // A key that was stolen is another matter: its bearer is the one who must not get in.
    let taken = site.send_json(Method::DELETE, &path, &Value::Null).await;
    assert_eq!((taken.status, &taken.json()["last_way"]), (StatusCode::OK, &json!(true)), "{}", taken.text);
    assert!(audit_of(&site).await.contains("\"last_way\":true"));
    assert_eq!(grace.get(BASE).await.json()["keys"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn anothers_last_key_is_taken_unless_nobody_who_may_do_everything_would_get_in() {
    let site = TestSite::new().await;
    let mut second = Key::p256();
    second.id = vec![9; 32];
    let admin = with_a_key(&site, &site.person("edsger", &["admin"]).await, second).await;
    let grace = with_a_key(&site, &site.person("grace", &["admin"]).await, Key::p256()).await;
    let path = async |who: &TestSite| format!("/users/{}/second-factor", who.own_id().await);
    let off = "INSERT OR REPLACE INTO setting (name, value) VALUES ('local-sign-in', '{\"local\":\"off\"}')";
    site.sql(off).await;
    let first = site.send_json(Method::DELETE, &path(&grace).await, &Value::Null).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text);
    let edsger = admin.own_id().await;
    let last = site.send_json(Method::DELETE, &path(&admin).await, &Value::Null).await;
    assert!(last.status == StatusCode::CONFLICT && last.text.contains("last way in"), "{}", last.text);

    // Nothing holds back the administrator of the machine, who is the way in that is left.
    let machine = crate::identity::Machine::new(crate::audit::Actor::system("test"));
    let done = site.app.identity.reset_factors(&machine, edsger.parse().unwrap()).await.unwrap();
    assert!(done.last_way);
}

#[tokio::test]
async fn a_key_that_was_no_way_in_goes_whatever_is_left() {
    let site = TestSite::new().await;
    let grace = site.person("grace", &["viewer"]).await;
    add(&grace, &Key::p256()).await;
    let off = "INSERT OR REPLACE INTO setting (name, value) VALUES ('local-sign-in', '{\"local\":\"off\"}')";
    site.sql(off).await;
    let gone = grace.send_json(Method::DELETE, &key_path(&grace).await, &Value::Null).await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text);
}

#[tokio::test]
async fn of_two_sign_ins_that_wait_for_a_first_factor_one_sets_it_up() {
    for _ in 0..5 {
        let site = TestSite::new().await;
        with_role(&site).await;
        let set_up = async |key: Key| {
            let visitor = signing_in(&site, "grace", PASSWORD).await;
            let path = "/sign-in/second-factor/keys";
            let (challenge, _) = challenge(&visitor, path).await;
            let said = client_data("webauthn.create", &challenge, ORIGIN);
            let new = json!({ "name": "blue", "client_data": text(&said),
                              "attestation": text(&key.attestation(RP)), "transports": "usb" });
            (visitor, path, new)
        };
        let (hers, path, her_key) = set_up(Key::p256()).await;
        let mut other = Key::ed25519();
        other.id = vec![8; 32];
        let (thiefs, _, thiefs_key) = set_up(other).await;
        let (one, other) = tokio::join!(post(&hers, path, her_key), post(&thiefs, path, thiefs_key));
        let mut answers = [one.status, other.status];
        answers.sort();
        assert_eq!(answers, [StatusCode::CREATED, StatusCode::FORBIDDEN], "{} {}", one.text, other.text);
    }
}
