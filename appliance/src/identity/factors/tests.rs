//! Through the routes: what a person with a second factor, and one who needs one, sees and cannot get around.

use super::totp;
use crate::audit::{Actor, Entry};
use crate::test::{Answered, PASSWORD, TestSite};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

const BASE: &str = "/account/second-factor";

fn unbase32(text: &str) -> Vec<u8> {
    let (mut bits, mut count, mut out) = (0_u32, 0, vec![]);
    for letter in text.bytes().filter(|letter| *letter != b' ') {
        let value = if letter.is_ascii_digit() { letter - b'2' + 26 } else { letter - b'A' };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    out
}

/// The code that a device shows whose clock is `ahead` steps ahead.
fn code(site: &TestSite, secret: &[u8], ahead: i64) -> String {
    let step = totp::step(site.app.clock.now().seconds()) + ahead;
    format!("{:06}", totp::code_at(secret, step))
}

async fn post(site: &TestSite, path: &str, body: Value) -> Answered {
    site.send_json(Method::POST, path, &body).await
}

/// Sets up an app for whoever is signed in: its secret and the recovery codes.
async fn set_up(site: &TestSite, base: &str) -> (Vec<u8>, Answered) {
    assert_eq!(post(site, &format!("{base}/app"), json!({})).await.status, StatusCode::OK);
    let shown = site.get(&format!("{base}/app")).await.json();
    let secret = unbase32(shown["secret"].as_str().unwrap());
    assert_eq!(secret.len(), 20);
    assert!(shown["qr"]["path"].as_str().unwrap().starts_with("M4 4h7"));
    let done = post(site, &format!("{base}/app/confirm"), json!({ "code": code(site, &secret, 0) })).await;
    assert_eq!(done.status, StatusCode::CREATED, "{}", done.text);
    (secret, done)
}

/// A visitor who has given ada's password.
async fn half_in(site: &TestSite) -> TestSite {
    signing_in(site, "ada", PASSWORD).await
}

pub async fn signing_in(site: &TestSite, name: &str, password: &str) -> TestSite {
    let mut visitor = site.stranger();
    let answer = post(&visitor, "/sign-in", json!({ "name": name, "password": password })).await;
    assert_eq!(answer.json()["stage"], "second-factor", "{}", answer.text);
    visitor.take_cookie(&answer);
    visitor
}

async fn give(visitor: &TestSite, code: &str) -> Answered {
    post(visitor, "/sign-in/second-factor", json!({ "code": code })).await
}

/// Every entry of the audit, as it was written.
pub async fn audit_of(site: &TestSite) -> String {
    let sql = "SELECT group_concat(entry, char(10)) FROM audit_entry";
    site.app.store.read(move |db| Ok(db.query_row(sql, [], |row| row.get(0))?)).await.unwrap()
}

/// An account with the password and this role, which asks for a second factor.
pub async fn with_role(site: &TestSite) {
    let role = "00000000-0000-7000-8000-000000000003";
    let change = move |tx: &rusqlite::Transaction| {
        tx.execute_batch(&format!(
            "INSERT INTO user (id, name, password_hash, created_at, updated_at)
               SELECT '019aab00-0000-7000-8000-000000000009', 'grace', password_hash, 0, 0 FROM user LIMIT 1;
             UPDATE role SET second_factor = 1 WHERE id = '{role}';
             INSERT INTO user_role (user, role) VALUES ('019aab00-0000-7000-8000-000000000009', '{role}');"
        ))?;
        Ok((Entry::event("test.made", &()), ()))
    };
    site.app.store.change(&Actor::system("test"), change).await.unwrap();
}

#[tokio::test]
async fn who_has_an_app_is_asked_for_its_code_and_reaches_nothing_before() {
    let site = TestSite::new().await;
    let (secret, _) = set_up(&site, BASE).await;
    let mut visitor = half_in(&site).await;
    for path in ["/subnets", "/me", "/account", BASE] {
        assert_eq!(visitor.get(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let page = visitor.page("/subnets").await;
    assert_eq!(page.header("location"), "/sign-in/second-factor?next=%2Fsubnets");
    assert!(visitor.page("/sign-in/second-factor").await.text.contains("name=\"code\""));

    let used = give(&visitor, &code(&site, &secret, 0)).await;
    assert!(
        used.text.contains("used already"),
        "the code that confirmed it does not work again: {}",
        used.text
    );
    let right = give(&visitor, &code(&site, &secret, 1)).await;
    assert_eq!((right.status, &right.json()["stage"]), (StatusCode::OK, &json!("full")), "{}", right.text);
    let before = visitor.get("/me").await.status;
    assert_eq!(before, StatusCode::UNAUTHORIZED, "the secret from before is worth nothing after");
    visitor.take_cookie(&right);
    assert_eq!(visitor.get("/me").await.status, StatusCode::OK);

    let second = half_in(&site).await;
    assert!(give(&second, &code(&site, &secret, 1)).await.text.contains("used already"));
    assert!(give(&second, "12345").await.fields() == ["code"]);
}

#[tokio::test]
async fn clocks_that_differ_are_told_and_the_code_is_not_taken_even_later() {
    let site = TestSite::new().await;
    let (secret, _) = set_up(&site, BASE).await;
    let visitor = half_in(&site).await;
    let early = code(&site, &secret, 5);
    let told = give(&visitor, &early).await;
    assert_eq!(told.status, StatusCode::UNPROCESSABLE_ENTITY);
    for part in ["about 150 s ahead of the appliance's", "12:00:00 UTC"] {
        assert!(told.text.contains(part), "{part}: {}", told.text);
    }
    let own = site.get(BASE).await.json();
    assert_eq!(own["app"]["clock_ahead_s"], 150, "an administrator sees the offset");
    assert!(audit_of(&site).await.contains("\"device_ahead_s\":150"));
    site.hand.advance(Duration::from_secs(150));
    assert!(give(&visitor, &early).await.text.contains("used already"), "it was given away too early");
    site.hand.advance(Duration::from_secs(60));
    let late = give(&visitor, &code(&site, &secret, -4)).await;
    assert!(late.text.contains("about 120 s behind the appliance's"), "{}", late.text);
    assert_eq!(give(&visitor, &code(&site, &secret, -1)).await.status, StatusCode::OK);
    assert_eq!(site.get(BASE).await.json()["app"]["clock_ahead_s"], -30);
}

#[tokio::test]
async fn a_recovery_code_works_once() {
    let site = TestSite::new().await;
    let (_, done) = set_up(&site, BASE).await;
    let codes: Vec<String> = serde_json::from_value(done.json()["codes"].clone()).unwrap();
    assert_eq!(codes.len(), 10);
    let typed = codes[3].to_ascii_lowercase().replace('-', "");
    assert_eq!(give(&half_in(&site).await, &typed).await.status, StatusCode::OK);
    let again = give(&half_in(&site).await, &codes[3]).await;
    assert!(again.text.contains("none of your recovery codes, or was used"), "{}", again.text);
    assert_eq!(site.get(BASE).await.json()["recovery_left"], 9);
    let new = post(&site, &format!("{BASE}/recovery-codes"), json!({})).await;
    assert_eq!(new.status, StatusCode::CREATED);
    assert_eq!(give(&half_in(&site).await, &codes[4]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let fresh = new.json()["codes"][0].as_str().unwrap().to_owned();
    assert_eq!(give(&half_in(&site).await, &fresh).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_role_that_asks_for_a_factor_leads_to_setting_one_up_before_anything_else() {
    let site = TestSite::new().await;
    with_role(&site).await;
    let mut grace = signing_in(&site, "grace", PASSWORD).await;
    assert_eq!(grace.get("/scans").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(grace.get("/sign-in/second-factor").await.json()["to_set_up"], true);
    let (_, done) = set_up(&grace, "/sign-in/second-factor").await;
    grace.take_cookie(&done);
    assert_eq!(grace.get("/scans").await.status, StatusCode::OK);
    let kept = grace.send_json(Method::DELETE, &format!("{BASE}/app"), &Value::Null).await;
    assert_eq!(kept.status, StatusCode::CONFLICT, "the last one stays while a role asks for it");

    let thief = signing_in(&site, "grace", PASSWORD).await;
    for path in ["app", "keys/options"] {
        let other = post(&thief, &format!("/sign-in/second-factor/{path}"), json!({})).await;
        assert_eq!(other.status, StatusCode::FORBIDDEN, "{path}: a second app is no way around the first");
    }
}

#[tokio::test]
async fn wrong_codes_lock_the_source_that_they_came_from() {
    let site = TestSite::new().await;
    let (secret, _) = set_up(&site, BASE).await;
    site.hand.advance(Duration::from_secs(300));
    let visitor = half_in(&site).await;
    for _ in 0..5 {
        assert_eq!(give(&visitor, "000000").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let locked = give(&visitor, &code(&site, &secret, 0)).await;
    assert!(locked.text.contains("too many were wrong"), "{}", locked.text);
    // Nor does a known password set the count back.
    let refused = post(&site.stranger(), "/sign-in", json!({ "name": "ada", "password": PASSWORD })).await;
    assert_ne!(refused.status, StatusCode::OK, "{}", refused.text);
    site.hand.advance(Duration::from_secs(16 * 60));
    let visitor = half_in(&site).await;
    assert_eq!(give(&visitor, &code(&site, &secret, 0)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn factors_are_removed_after_a_fresh_proof_alone() {
    let site = TestSite::new().await;
    set_up(&site, BASE).await;
    site.hand.advance(Duration::from_secs(6 * 60));
    for (method, path) in [
        (Method::DELETE, "/app"),
        (Method::POST, "/app"),
        (Method::POST, "/recovery-codes"),
        (Method::POST, "/keys/options"),
    ] {
        let stale = site.send_json(method, &format!("{BASE}{path}"), &Value::Null).await;
        assert_eq!(stale.status, StatusCode::FORBIDDEN, "{path}: {}", stale.text);
        assert!(stale.text.contains("prove"), "{path}: {}", stale.text);
    }
    let mut site = site;
    let proved = post(&site, "/prove", json!({ "password": PASSWORD })).await;
    site.take_cookie(&proved);
    let gone = site.send_json(Method::DELETE, &format!("{BASE}/app"), &Value::Null).await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text);
    let own = site.get(BASE).await.json();
    assert_eq!(
        (&own["app"], &own["recovery_left"]),
        (&Value::Null, &json!(0)),
        "codes stand in for nothing now"
    );
}

#[tokio::test]
async fn an_administrator_takes_away_anothers_factors_and_never_sees_them() {
    let site = TestSite::new().await;
    with_role(&site).await;
    let mut grace = signing_in(&site, "grace", PASSWORD).await;
    let (secret, done) = set_up(&grace, "/sign-in/second-factor").await;
    grace.take_cookie(&done);
    let path = "/users/019aab00-0000-7000-8000-000000000009/second-factor";
    assert_eq!(grace.send_json(Method::DELETE, path, &Value::Null).await.status, StatusCode::FORBIDDEN);
    let seen = site.get(path).await;
    assert_eq!(seen.json()["user"]["name"], "grace");
    assert!(!seen.text.contains(&totp::base32(&secret)));
    assert!(site.page(path).await.text.contains("Take them away"));
    assert_eq!(site.send_json(Method::DELETE, path, &Value::Null).await.status, StatusCode::OK);
    let again = signing_in(&site, "grace", PASSWORD).await;
    assert_eq!(again.get("/sign-in/second-factor").await.json()["to_set_up"], true);
}

#[tokio::test]
async fn a_secret_is_shown_until_its_first_code_and_is_nowhere_in_the_clear() {
    let site = TestSite::new().await;
    let (secret, _) = set_up(&site, BASE).await;
    assert_eq!(site.get(&format!("{BASE}/app")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(post(&site, &format!("{BASE}/app"), json!({})).await.status, StatusCode::CONFLICT);
    let text = totp::base32(&secret);
    let sealed: Vec<u8> = {
        let kept =
            site.app.store.read(|db| Ok(db.query_row("SELECT sealed FROM totp", [], |row| row.get(0))?));
        kept.await.unwrap()
    };
    let audit = audit_of(&site).await;
    assert!(!sealed.windows(secret.len()).any(|part| part == secret));
    assert!(!audit.contains(&text) && !audit.contains("ABCD"), "{audit}");
}

#[tokio::test]
async fn a_code_that_came_too_early_stays_refused_after_another_such_code() {
    let site = TestSite::new().await;
    let (secret, _) = set_up(&site, BASE).await;
    let visitor = half_in(&site).await;
    let early = code(&site, &secret, 2);
    assert_eq!(give(&visitor, &early).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    site.hand.advance(Duration::from_secs(60));
    let another = code(&site, &secret, 2);
    assert_eq!(give(&visitor, &another).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(give(&visitor, &early).await.text.contains("used already"));
}

#[tokio::test]
async fn a_secret_that_waits_is_not_shown_to_who_gave_no_more_than_the_password() {
    let site = TestSite::new().await;
    assert_eq!(post(&site, &format!("{BASE}/app"), json!({})).await.status, StatusCode::OK);
    let key = "INSERT INTO security_key (id, user, name, credential_id, credential, created_at)
                 SELECT '019aab00-0000-7000-8000-00000000000a', id, 'blue', x'00', '{}', 0 FROM user";
    sql(&site, key.into()).await;
    let visitor = half_in(&site).await;
    for page in ["/sign-in/second-factor/app", "/account/second-factor/app"] {
        let answer = visitor.get(page).await;
        assert!(!answer.text.contains("otpauth"), "{page}: {}", answer.text);
        assert_ne!(answer.status, StatusCode::OK, "{page}");
    }
    assert_eq!(site.get(&format!("{BASE}/app")).await.status, StatusCode::OK);
}

async fn sql(site: &TestSite, sql: String) {
    let change = move |tx: &rusqlite::Transaction| {
        tx.execute_batch(&sql)?;
        Ok((Entry::event("test.made", &()), ()))
    };
    site.app.store.change(&Actor::system("test"), change).await.unwrap();
}

/// From now on the role viewer asks for a second factor.
async fn viewers_need_one(site: &TestSite) {
    sql(site, "UPDATE role SET second_factor = 1 WHERE name = 'viewer'".into()).await;
}

#[tokio::test]
async fn a_role_that_comes_to_ask_for_a_factor_holds_running_sessions_at_their_next_request() {
    let site = TestSite::new().await;
    let mut grace = site.person("grace", &["viewer"]).await;
    assert_eq!(grace.get("/scans").await.status, StatusCode::OK);
    site.hand.advance(Duration::from_secs(6 * 60));
    viewers_need_one(&site).await;
    let held = grace.get("/scans").await;
    assert_eq!(
        (held.status, &held.json()["type"]),
        (StatusCode::UNAUTHORIZED, &json!("/docs/errors#unfinished"))
    );
    assert_eq!(grace.page("/scans?q=x").await.header("location"), "/sign-in/second-factor?next=%2Fscans");
    let stage = site.get("/sessions?q=grace").await.json()["items"][0]["stage"].clone();
    assert_eq!(stage, "second-factor", "an administrator sees it too");

    // Whoever found the session open is not the one who sets a factor up.
    let asked = grace.page("/sign-in/second-factor?next=%2Fscans").await;
    assert_eq!(asked.header("location"), "/prove?next=%2Fsign-in%2Fsecond-factor%3Fnext%3D%252Fscans");
    for path in ["app", "keys/options"] {
        let stale = post(&grace, &format!("/sign-in/second-factor/{path}"), json!({})).await;
        assert_eq!(stale.json()["type"], "/docs/errors#prove", "{path}");
    }
    assert_eq!(grace.page("/prove").await.status, StatusCode::OK);
    let proved = post(&grace, "/prove", json!({ "password": PASSWORD })).await;
    assert_eq!(proved.status, StatusCode::OK, "{}", proved.text);
    grace.take_cookie(&proved);
    assert_eq!(grace.get("/scans").await.status, StatusCode::UNAUTHORIZED, "a password is one factor");
    let (_, done) = set_up(&grace, "/sign-in/second-factor").await;
    grace.take_cookie(&done);
    assert_eq!(grace.get("/scans").await.status, StatusCode::OK, "led there, and in: nobody is locked out");
}

#[tokio::test]
async fn a_session_in_which_a_factor_was_given_goes_on_and_another_of_the_same_person_is_asked() {
    let site = TestSite::new().await;
    let strong = site.person("grace", &["viewer"]).await;
    let mut weak = site.stranger();
    let answer = weak.sign_in("grace", PASSWORD).await;
    weak.take_cookie(&answer);
    let (secret, _) = set_up(&strong, BASE).await;
    viewers_need_one(&site).await;
    assert_eq!(strong.get("/scans").await.status, StatusCode::OK);
    assert_eq!(weak.get("/scans").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(post(&weak, "/sign-in/second-factor/app", json!({})).await.status, StatusCode::FORBIDDEN);
    let given = give(&weak, &code(&site, &secret, 1)).await;
    assert_eq!(given.status, StatusCode::OK, "{}", given.text);
    weak.take_cookie(&given);
    assert_eq!(weak.get("/scans").await.status, StatusCode::OK);
    // With the role's wish goes what it asked for.
    let third = site.person("alan", &["viewer"]).await;
    assert_eq!(third.get("/scans").await.status, StatusCode::UNAUTHORIZED);
    sql(&site, "UPDATE role SET second_factor = 0".into()).await;
}

#[tokio::test]
async fn a_proof_changes_nothing_about_what_a_session_lacks() {
    let site = TestSite::new().await;
    let mut grace = site.person("grace", &["viewer"]).await;
    viewers_need_one(&site).await;
    let proved = post(&grace, "/prove", json!({ "password": PASSWORD })).await;
    grace.take_cookie(&proved);
    assert_eq!(grace.get("/scans").await.status, StatusCode::UNAUTHORIZED);
    sql(&site, "UPDATE role SET second_factor = 0".into()).await;
    assert_eq!(grace.get("/scans").await.status, StatusCode::OK, "nor does it leave anything behind");
}

#[tokio::test]
async fn administrators_see_the_measured_clocks_and_which_one_is_probably_wrong() {
    let site = TestSite::new().await;
    let at = site.app.clock.now().micros();
    assert_eq!(site.get("/settings/time").await.json()["behind_s"], Value::Null);
    for (name, away) in [("grace", 10), ("alan", 11), ("mary", 10)] {
        let id = site.person(name, &["viewer"]).await.own_id().await;
        let row = format!("VALUES ('{id}', x'00', {at}, {away}, {at})");
        sql(&site, format!("INSERT INTO totp (user, sealed, confirmed_at, away, away_at) {row}")).await;
    }
    let told = site.get("/settings/time").await.json();
    assert_eq!((&told["behind_s"], told["devices"].as_array().unwrap().len()), (&json!(300), 3), "{told}");
    assert!(site.page("/settings/time").await.text.contains("clock is probably wrong"));
    assert_eq!(site.get("/").await.json()["clock_behind_s"], 300);
    let viewer = site.stranger();
    assert_eq!(viewer.get("/settings/time").await.status, StatusCode::UNAUTHORIZED);
    site.hand.advance(Duration::from_secs(31 * 86_400));
    let mut later = site.stranger();
    let answer = later.sign_in("ada", PASSWORD).await;
    later.take_cookie(&answer);
    assert_eq!(later.get("/settings/time").await.json()["devices"], json!([]), "what is old says nothing");
}

#[tokio::test]
async fn a_secret_that_waited_too_long_for_its_first_code_is_neither_shown_nor_taken() {
    let site = TestSite::new().await;
    let app = format!("{BASE}/app");
    assert_eq!(post(&site, &app, json!({})).await.status, StatusCode::OK);
    let secret = unbase32(site.get(&app).await.json()["secret"].as_str().unwrap());
    let prove = async |site: &mut TestSite| {
        let proof = post(site, "/prove", json!({ "password": PASSWORD })).await;
        site.take_cookie(&proof);
    };
    let mut site = site;
    site.hand.advance(Duration::from_secs(15 * 60 - 1));
    prove(&mut site).await;
    assert_eq!(site.get(&app).await.status, StatusCode::OK, "a quarter of an hour is not over");
    site.hand.advance(Duration::from_secs(1));
    assert_eq!(site.get(&app).await.status, StatusCode::NOT_FOUND);
    let late = post(&site, &format!("{app}/confirm"), json!({ "code": code(&site, &secret, 0) })).await;
    assert_eq!(late.status, StatusCode::NOT_FOUND, "{}", late.text);
    assert_eq!(site.get(BASE).await.json()["app"], Value::Null);
    let (_, done) = set_up(&site, BASE).await;
    assert_eq!(done.status, StatusCode::CREATED, "another can be begun");
}
