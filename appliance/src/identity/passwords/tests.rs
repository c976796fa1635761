//! The ways to a new password, locks, and the work that a try costs.

use super::hash;
use crate::audit::{Actor, Entry};
use crate::test::{HOST, PASSWORD, TestSite};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

const OTHER: &str = "tide table harbour";

async fn grace(site: &TestSite) -> (TestSite, String) {
    let grace = site.person("grace", &["viewer"]).await;
    let id = grace.own_id().await;
    (grace, id)
}

fn twice(password: &str) -> Value {
    json!({ "password": password, "password_again": password })
}

/// The path of a link that sets this account's password.
async fn link(site: &TestSite, id: &str) -> String {
    let answer = site.send_json(Method::POST, &format!("/users/{id}/reset"), &Value::Null).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    answer.json()["url"].as_str().unwrap().strip_prefix(&format!("https://{HOST}")).unwrap().to_owned()
}

#[tokio::test]
async fn a_link_works_once_for_a_day_and_ends_every_session() {
    let site = TestSite::new().await;
    let (grace, id) = grace(&site).await;
    let stranger = site.stranger();
    let path = link(&site, &id).await;
    let newer = link(&site, &id).await;
    assert_eq!(stranger.get(&path).await.status, StatusCode::NOT_FOUND, "a newer one voids it");
    let page = stranger.page(&newer).await;
    assert!(page.text.contains("value=\"grace\"") && page.text.contains("autocomplete=\"new-password\""));
    assert_eq!(stranger.send_json(Method::POST, &newer, &twice("short")).await.fields(), ["password"]);
    let unlike = json!({ "password": OTHER, "password_again": PASSWORD });
    assert_eq!(stranger.send_json(Method::POST, &newer, &unlike).await.fields(), ["password_again"]);
    assert_eq!(grace.get("/me").await.status, StatusCode::OK, "until it is used nothing has changed");
    assert_eq!(stranger.send_json(Method::POST, &newer, &twice(OTHER)).await.status, StatusCode::OK);
    assert_eq!(grace.get("/me").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        stranger.send_json(Method::POST, &newer, &twice(PASSWORD)).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(stranger.sign_in("grace", PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(stranger.sign_in("grace", OTHER).await.status, StatusCode::OK);

    let late = link(&site, &id).await;
    site.hand.advance(super::LINK_LIFETIME);
    assert_eq!(stranger.get(&late).await.status, StatusCode::NOT_FOUND);
    let answer = stranger.send_json(Method::POST, &late, &twice(PASSWORD)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(!answer.text.contains(late.rsplit('/').next().unwrap()), "a refusal does not repeat the secret");
}

#[tokio::test]
async fn a_link_that_comes_twice_at_once_sets_one_password() {
    let site = TestSite::new().await;
    let (_, id) = grace(&site).await;
    let path = link(&site, &id).await;
    let (one, other) = (twice(OTHER), twice(PASSWORD));
    let stranger = site.stranger();
    let both = tokio::join!(
        stranger.send_json(Method::POST, &path, &one),
        stranger.send_json(Method::POST, &path, &other)
    );
    let mut codes = [both.0.status, both.1.status];
    codes.sort();
    assert_eq!(codes, [StatusCode::OK, StatusCode::NOT_FOUND]);
}

#[tokio::test]
async fn a_wrong_link_and_a_wrong_setup_code_are_written_down_and_few_a_minute() {
    let site = TestSite::new().await;
    let told = async |site: &TestSite, why: &str| {
        let told = crate::identity::factors::tests::audit_of(site).await;
        told.matches(&format!("\"why\":\"{why}\"")).count()
    };
    let guesser = site.stranger().seen_from("198.51.100.9");
    let mut codes = vec![];
    for turn in 0..12 {
        let path = format!("/reset/guess{turn}");
        // A look counts for nothing: a page of somebody else's can have a browser do it.
        site.hand.advance(Duration::from_millis(200));
        guesser.get(&path).await;
        site.hand.advance(Duration::from_millis(200));
        codes.push(guesser.send_json(Method::POST, &path, &twice(OTHER)).await.status);
    }
    assert_eq!(codes[..10], [StatusCode::NOT_FOUND; 10]);
    assert_eq!(codes[10..], [StatusCode::TOO_MANY_REQUESTS; 2]);
    assert_eq!(told(&site, "no-such-link").await, 10);

    let site = TestSite::empty();
    let owner =
        |code: &str| json!({ "code": code, "name": "ada", "password": PASSWORD, "password_again": PASSWORD });
    for _ in 0..10 {
        site.hand.advance(Duration::from_millis(200));
        let wrong = site.send_json(Method::POST, "/setup", &owner("WRON-GWRO-NGWR")).await;
        assert_eq!(wrong.fields(), ["code"]);
    }
    let right = site.app.identity.setup_code().to_owned();
    let eleventh = site.send_json(Method::POST, "/setup", &owner(&right)).await;
    assert_eq!(eleventh.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(told(&site, "wrong-code").await, 10);
    let elsewhere = site.seen_from("192.0.2.7").send_json(Method::POST, "/setup", &owner(&right)).await;
    assert_eq!(elsewhere.status, StatusCode::OK, "{}", elsewhere.text);
}

#[tokio::test]
async fn a_services_account_gets_no_password() {
    let site = TestSite::new().await;
    let made = site.send_json(Method::POST, "/users", &json!({ "name": "robot", "kind": "service" })).await;
    let path = format!("/users/{}/reset", made.json()["id"].as_str().unwrap());
    assert_eq!(site.send_json(Method::POST, &path, &Value::Null).await.status, StatusCode::CONFLICT);
    assert_eq!(site.stranger().sign_in("robot", "").await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn ones_own_password_needs_the_old_one_and_ends_the_other_sessions() {
    let site = TestSite::new().await;
    let (mut here, _) = grace(&site).await;
    let mut there = site.stranger();
    let answer = there.sign_in("grace", PASSWORD).await;
    there.take_cookie(&answer);
    let body = |now: &str, new: &str| json!({ "password_now": now, "password": new, "password_again": new });
    let post = |body: Value| async move { body };
    for (now, new, field) in [
        ("wrong", OTHER, "password_now"),
        (PASSWORD, PASSWORD, "password"),
        (PASSWORD, "short", "password"),
        (PASSWORD, "Grace2026202620", "password"),
    ] {
        let answer = here.send_json(Method::POST, "/account/password", &post(body(now, new)).await).await;
        assert_eq!(answer.fields(), [field], "{now} {new}");
    }
    let old = here.cookie().to_owned();
    let answer = here.send_json(Method::POST, "/account/password", &body(PASSWORD, OTHER)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    here.take_cookie(&answer);
    assert_ne!(here.cookie(), old);
    assert_eq!(here.get("/me").await.status, StatusCode::OK);
    assert_eq!(there.get("/me").await.status, StatusCode::UNAUTHORIZED);
    here.set_cookie(&old);
    assert_eq!(here.get("/me").await.status, StatusCode::UNAUTHORIZED, "the secret from before is void");
    assert_eq!(site.stranger().sign_in("grace", OTHER).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_password_that_is_due_is_replaced_before_anything_else() {
    let site = TestSite::new().await;
    let (_, id) = grace(&site).await;
    let edit = json!({ "name": "grace", "roles": ["00000000-0000-7000-8000-000000000003"], "must_change": true, "version": 2 });
    let changed = site.send_json(Method::PUT, &format!("/users/{id}"), &edit).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    let mut person = site.stranger();
    let answer = person.sign_in("grace", PASSWORD).await;
    assert_eq!(answer.json()["stage"], "new-password");
    person.take_cookie(&answer);
    let form = person
        .stranger()
        .post_form("/sign-in", &[("name", "grace"), ("password", PASSWORD), ("next", "/scans")])
        .await;
    assert_eq!(form.header("location"), "/sign-in/new-password?next=%2Fscans");
    for path in ["/me", "/account", "/scans", "/account/password"] {
        let answer = person.get(path).await;
        assert_eq!(
            (answer.status, answer.json()["type"].as_str()),
            (StatusCode::UNAUTHORIZED, Some("/docs/errors#unfinished")),
            "{path}"
        );
    }
    for path in ["/", "/account", "/scans", "/account/password"] {
        let page = person.page(path).await;
        assert!(page.header("location").starts_with("/sign-in/new-password?next="), "{path}");
    }
    for way in ["/account/password", "/account/sessions/end-others"] {
        assert_eq!(
            person.send_json(Method::POST, way, &json!({})).await.status,
            StatusCode::UNAUTHORIZED,
            "{way}"
        );
    }
    let same = person.send_json(Method::POST, "/sign-in/new-password", &twice(PASSWORD)).await;
    assert_eq!(same.fields(), ["password"], "the same again is none");
    let half = person.cookie().to_owned();
    let done = person
        .post_form(
            "/sign-in/new-password",
            &[("password", OTHER), ("password_again", OTHER), ("next", "/scans")],
        )
        .await;
    assert_eq!((done.status, done.header("location")), (StatusCode::SEE_OTHER, "/scans"));
    person.take_cookie(&done);
    assert_eq!(person.get("/scans").await.status, StatusCode::OK);
    let again = person.send_json(Method::POST, "/sign-in/new-password", &twice(PASSWORD)).await;
    assert_eq!(
        again.status,
        StatusCode::CONFLICT,
        "with a whole session it is no way round the old password"
    );
    person.set_cookie(&half);
    assert_eq!(person.get("/scans").await.status, StatusCode::UNAUTHORIZED, "the session got another secret");
}

#[tokio::test]
async fn wrong_passwords_lock_the_network_they_come_from_and_no_other() {
    let site = TestSite::new().await;
    let (_, id) = grace(&site).await;
    let mut guesser = site.stranger();
    guesser.source = [198, 51, 100, 7].into();
    for _ in 0..5 {
        assert_eq!(guesser.sign_in("grace", "wrong").await.fields(), ["password"]);
    }
    let right = guesser.sign_in("grace", PASSWORD).await;
    assert_eq!(right.fields(), ["password"], "the right one is not taken from there, and nothing says why");
    assert_eq!(site.stranger().sign_in("grace", PASSWORD).await.status, StatusCode::OK, "but from elsewhere");
    let page = site.get(&format!("/users/{id}")).await.json();
    assert_eq!((&page["status"], &page["locks"][0]["source"]), (&json!("locked"), &json!("198.51.100.7")));
    assert_eq!(
        guesser.sign_in("ada", PASSWORD).await.status,
        StatusCode::OK,
        "other accounts are as they were"
    );

    let unlocked = site.send_json(Method::POST, &format!("/users/{id}/unlock"), &Value::Null).await;
    assert_eq!(unlocked.json()["status"], "active");
    assert_eq!(guesser.sign_in("grace", PASSWORD).await.status, StatusCode::OK);

    site.hand.advance(Duration::from_secs(60));
    for _ in 0..4 {
        guesser.sign_in("grace", "wrong").await;
    }
    assert_eq!(guesser.sign_in("grace", PASSWORD).await.status, StatusCode::OK, "four are borne");
    for _ in 0..4 {
        guesser.sign_in("grace", "wrong").await;
    }
    assert_eq!(guesser.sign_in("grace", PASSWORD).await.status, StatusCode::OK, "and count in a row only");
    site.hand.advance(Duration::from_secs(60));
    for _ in 0..5 {
        guesser.sign_in("grace", "wrong").await;
    }
    site.hand.advance(Duration::from_secs(15 * 60 - 1));
    assert_eq!(guesser.sign_in("grace", PASSWORD).await.fields(), ["password"]);
    site.hand.advance(Duration::from_secs(1));
    assert_eq!(guesser.sign_in("grace", PASSWORD).await.status, StatusCode::OK, "a lock opens by itself");
}

#[tokio::test]
async fn an_administrator_cannot_be_made_to_lock_others_out_by_their_names() {
    let site = TestSite::new().await;
    // Guesses at the owner's account from many networks: none of them is the owner's.
    for last in 1..=8 {
        let mut guesser = site.stranger();
        guesser.source = [198, 51, 100, last].into();
        for _ in 0..6 {
            guesser.sign_in("ada", "wrong").await;
        }
    }
    assert_eq!(site.stranger().sign_in("ada", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_hash_with_less_work_is_replaced_at_the_next_sign_in() {
    let site = TestSite::new().await;
    let (_, id) = grace(&site).await;
    let (cheap, key) = (hash::cheap(PASSWORD), id.clone());
    let weaken = move |tx: &rusqlite::Transaction| {
        tx.execute("UPDATE user SET password_hash = ? WHERE id = ?", [cheap, key])?;
        Ok((Entry::event("test", &()), ()))
    };
    site.app.store.change(&Actor::system("test"), weaken).await.unwrap();
    let phc = |id: String| {
        let store = site.app.store.clone();
        let read = move |db: &rusqlite::Connection| {
            Ok(db.query_row("SELECT password_hash FROM user WHERE id = ?", [id], |row| {
                row.get::<_, String>(0)
            })?)
        };
        async move { store.read(read).await.unwrap() }
    };
    assert_eq!(site.stranger().sign_in("grace", "wrong").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(hash::outdated(&phc(id.clone()).await), "a wrong one changes nothing");
    assert_eq!(site.stranger().sign_in("grace", PASSWORD).await.status, StatusCode::OK);
    let new = phc(id.clone()).await;
    assert!(!hash::outdated(&new));
    assert_eq!(site.stranger().sign_in("grace", PASSWORD).await.status, StatusCode::OK);
    assert_eq!(phc(id).await, new, "once");
}
