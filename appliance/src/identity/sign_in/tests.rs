//! Attacks on the sign-in, each as whoever would try it.

use super::{Whose, hash};
use crate::audit::Actor;
use crate::identity::sessions::Checked;
use crate::test::{PASSWORD, TestSite};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::task::{Context, Waker};
use std::time::Duration;

#[tokio::test]
async fn a_session_planted_before_the_sign_in_is_worth_nothing_after_it() {
    let site = TestSite::new().await;
    let mut eve = site.person("eve", &["viewer"]).await;
    let planted = eve.cookie().to_owned();
    // The victim's browser holds eve's cookie, and the victim signs in with it.
    let mut victim = site.stranger();
    victim.set_cookie(&planted);
    let answer = victim.sign_in("ada", PASSWORD).await;
    victim.take_cookie(&answer);
    assert_ne!(victim.cookie(), planted);
    assert_eq!(eve.get("/me").await.status, StatusCode::UNAUTHORIZED, "what was planted is over");
    assert_eq!(victim.get("/me").await.json()["user"]["name"], "ada");
    eve.set_cookie("__Host-session=chosen-by-eve");
    let answer = eve.sign_in("eve", PASSWORD).await;
    assert!(!answer.header("set-cookie").contains("chosen-by-eve"), "a secret is never taken from outside");
}

#[tokio::test]
async fn each_step_gives_the_session_another_secret() {
    let site = TestSite::new().await;
    let mut ada = site.stranger();
    let answer = ada.sign_in("ada", PASSWORD).await;
    ada.take_cookie(&answer);
    let before = ada.cookie().to_owned();
    let proof = ada.send_json(Method::POST, "/prove", &json!({ "password": PASSWORD })).await;
    assert_eq!(proof.status, StatusCode::OK, "{}", proof.text);
    ada.take_cookie(&proof);
    assert_ne!(ada.cookie(), before);
    assert_eq!(ada.get("/me").await.status, StatusCode::OK);
    ada.set_cookie(&before);
    assert_eq!(ada.get("/me").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_is_dangerous_asks_again_who_it_is_after_five_minutes() {
    let mut site = TestSite::new().await;
    let made = site.send_json(Method::POST, "/users", &json!({ "name": "grace" })).await.json();
    let path = format!("/users/{}", made["id"].as_str().unwrap());
    site.hand.advance(Duration::from_secs(301));
    let operator = json!(["00000000-0000-7000-8000-000000000002"]);
    let with_role = json!({ "name": "grace", "roles": operator, "version": 1 });
    let viewers_safer = json!({ "name": "viewer", "second_factor": true, "version": 1 });
    for (method, way, body) in [
        (Method::DELETE, path.clone(), json!({})),
        (Method::POST, format!("{path}/reset"), json!({})),
        (Method::POST, format!("{path}/owner"), json!({})),
        (Method::PUT, path.clone(), with_role.clone()),
        (Method::POST, "/users".into(), json!({ "name": "eve", "roles": operator })),
        (Method::DELETE, format!("{path}/password"), json!({})),
        (Method::DELETE, format!("{path}/second-factor"), json!({})),
        (Method::POST, "/tokens".into(), json!({ "name": "t", "scopes": ["scans:view"] })),
        (Method::PUT, "/roles/00000000-0000-7000-8000-000000000003".into(), viewers_safer),
    ] {
        let answer = site.send_json(method.clone(), &way, &body).await;
        assert_eq!(
            (answer.status, answer.json()["type"].clone()),
            (StatusCode::FORBIDDEN, json!("/docs/errors#prove")),
            "{method} {way}"
        );
    }
    let plain = json!({ "name": "grace", "display": "Grace", "version": 1 });
    assert_eq!(
        site.send_json(Method::PUT, &path, &plain).await.status,
        StatusCode::OK,
        "a name is not dangerous"
    );
    let asked = site.post_form(&format!("{path}/delete"), &[]).await;
    let to = format!("/prove?next={}", path.replace('/', "%2F") + "%2Fdelete");
    assert_eq!((asked.status, asked.header("location")), (StatusCode::SEE_OTHER, to.as_str()));
    let form = [
        ("name", "grace"),
        ("display", "Typed <by hand>"),
        ("roles", "00000000-0000-7000-8000-000000000002"),
        ("version", "2"),
    ];
    let kept = site.post_form(&path, &form).await;
    assert_eq!(kept.status, StatusCode::FORBIDDEN);
    assert!(
        kept.text.contains("Typed &lt;by hand&gt;") && kept.text.contains("href=\"/prove\""),
        "{}",
        kept.text
    );

    let wrong = site.send_json(Method::POST, "/prove", &json!({ "password": "wrong" })).await;
    assert_eq!(wrong.fields(), ["password"]);
    assert_eq!(site.send_json(Method::DELETE, &path, &Value::Null).await.status, StatusCode::FORBIDDEN);
    let proof =
        site.post_form("/prove", &[("password", PASSWORD), ("next", &format!("{path}/delete"))]).await;
    assert_eq!(
        (proof.status, proof.header("location")),
        (StatusCode::SEE_OTHER, format!("{path}/delete").as_str())
    );
    let cookies: Vec<_> =
        proof.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    let session = cookies.iter().find(|cookie| cookie.starts_with("__Host-session=")).unwrap();
    let session = session.split(';').next().unwrap().to_owned();
    site.set_cookie(&session);
    assert_eq!(site.send_json(Method::DELETE, &path, &Value::Null).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_proof_leads_back_to_the_page_whose_button_was_pressed_and_nowhere_else() {
    let site = TestSite::new().await;
    site.hand.advance(Duration::from_secs(301));
    let host = crate::test::HOST;
    for (referer, next) in [
        (format!("https://{host}/account/second-factor"), "%2Faccount%2Fsecond-factor"),
        ("https://evil.test/account".to_owned(), "%2Faccount%2Fsecond-factor%2Fapp"),
        (format!("http://{host}/x"), "%2Faccount%2Fsecond-factor%2Fapp"),
    ] {
        let body = Some(("application/x-www-form-urlencoded", vec![]));
        let headers = [("referer", referer.as_str())];
        let path = "/account/second-factor/app";
        let asked = site.send_with(Method::POST, path, "text/html", &headers, body).await;
        assert_eq!(asked.header("location"), format!("/prove?next={next}"), "{referer}");
    }
    // One that only begins like ours is no path, and leads home.
    let headers = [("referer", format!("https://{host}.evil.test/x"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let body = Some(("application/x-www-form-urlencoded", vec![]));
    let asked = site.send_with(Method::POST, "/account/second-factor/app", "text/html", &headers, body).await;
    let page = site.page(asked.header("location")).await.text;
    assert!(page.contains("name=\"next\" value=\"&#x2f;account\""), "{page}");
}

#[tokio::test]
async fn a_guesser_with_a_stolen_session_is_locked_out_of_proving_too() {
    let site = TestSite::new().await;
    for _ in 0..5 {
        assert_eq!(
            site.send_json(Method::POST, "/prove", &json!({ "password": "wrong" })).await.fields(),
            ["password"]
        );
    }
    site.hand.advance(Duration::from_secs(60));
    assert_eq!(
        site.send_json(Method::POST, "/prove", &json!({ "password": PASSWORD })).await.fields(),
        ["password"]
    );
}

#[tokio::test]
async fn of_wrong_ones_that_come_at_once_no_more_are_checked_than_of_those_that_come_in_turn() {
    let site = TestSite::new().await;
    site.person("grace", &["viewer"]).await;
    site.hand.advance(Duration::from_secs(60));
    let guesser = site.seen_from("198.51.100.9").stranger();
    let mut tries = tokio::task::JoinSet::new();
    for turn in 0..10 {
        let guesser = guesser.clone();
        // The last one would be right.
        let password = if turn == 9 { PASSWORD.to_owned() } else { format!("guess {turn}") };
        tries.spawn(async move { guesser.sign_in("grace", &password).await });
    }
    let answers = tries.join_all().await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::UNPROCESSABLE_ENTITY), "{answers:?}");
    let told = crate::identity::factors::tests::audit_of(&site).await;
    let whys = ["wrong-password", "locked"].map(|why| told.matches(&format!("\"why\":\"{why}\"")).count());
    assert_eq!(whys, [5, 5], "{told}");
    // And of one network's, whatever the names, no more than may be wrong in its time: five in half a minute.
    site.hand.advance(Duration::from_secs(30));
    let runs = site.app.identity.password_runs();
    let mut tries = tokio::task::JoinSet::new();
    for turn in 0..10 {
        let guesser = guesser.clone();
        tries.spawn(async move { guesser.sign_in(&format!("user{turn}"), "guess").await.status });
    }
    let codes = tries.join_all().await;
    assert_eq!(codes.iter().filter(|code| **code == StatusCode::TOO_MANY_REQUESTS).count(), 5, "{codes:?}");
    assert_eq!(site.app.identity.password_runs() - runs, 5);
}

/// An answer without what differs from one to the next whatever happens: the request's id.
fn said(answer: &crate::test::Answered) -> (StatusCode, String) {
    (answer.status, answer.text.replace(answer.header("x-request-id"), ""))
}

/// By work, not by the clock: `portolan-bench sign-in` has the times.
#[tokio::test]
async fn nobody_learns_which_accounts_there_are_by_words_or_by_work() {
    let site = TestSite::new().await;
    site.person("grace", &["viewer"]).await;
    let off = site.person("alan", &["viewer"]).await.own_id().await;
    site.send_json(Method::POST, &format!("/users/{off}/disable"), &Value::Null).await;
    site.send_json(Method::POST, "/users", &json!({ "name": "bare" })).await;
    site.send_json(Method::POST, "/users", &json!({ "name": "robot", "kind": "service" })).await;
    site.person("locked", &["viewer"]).await;
    let mut guesser = site.stranger();
    guesser.source = [198, 51, 100, 9].into();
    for _ in 0..5 {
        guesser.sign_in("locked", "wrong").await;
    }
    site.hand.advance(Duration::from_secs(60));
    let cases = [
        ("nobody-has-this-name", PASSWORD),
        ("grace", "not the password"),
        ("alan", PASSWORD),
        ("alan", "not the password"),
        ("bare", PASSWORD),
        ("robot", PASSWORD),
        ("locked", PASSWORD),
        ("", ""),
        ("ada' OR '1'='1", "x"),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (name, password) in cases {
        let runs = site.app.identity.password_runs();
        let head = site.app.store.audit_head().await.unwrap().seq;
        let answer = guesser.sign_in(name, password).await;
        assert_eq!(site.app.identity.password_runs() - runs, 1, "{name}: Argon2 runs once");
        assert_eq!(site.app.store.audit_head().await.unwrap().seq - head, 1, "{name}: one entry");
        seen.insert(said(&answer));
        site.hand.advance(Duration::from_secs(10));
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    let mut pages = std::collections::BTreeSet::new();
    for (name, password) in cases {
        let page = guesser.post_form("/sign-in", &[("name", name), ("password", password)]).await;
        let shown = name.replace('\'', "&#x27;");
        pages.insert(said(&page).1.replace(&format!("value=\"{shown}\""), ""));
        site.hand.advance(Duration::from_secs(10));
    }
    assert_eq!(pages.len(), 1, "the page says the same to all");
    let told = site.get("/audit?action=sign-in&outcome=refused&limit=500").await.text;
    assert!(!told.contains("nobody-has-this-name"), "what was typed as a name may be a password");
}

#[tokio::test]
async fn a_sign_in_leads_to_no_other_site() {
    let site = TestSite::new().await;
    for next in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "/x\r\nSet-Cookie: a=b",
    ] {
        let form = [("name", "ada"), ("password", PASSWORD), ("next", next)];
        let answer = site.stranger().post_form("/sign-in", &form).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/"), "{next:?}");
        let proof = site
            .stranger()
            .page(&format!(
                "/sign-in?next={}",
                form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>()
            ))
            .await;
        assert!(proof.text.contains("name=\"next\" value=\"&#x2f;\""), "{next:?}");
        site.hand.advance(Duration::from_secs(1));
    }
    let form = [("name", "ada"), ("password", PASSWORD), ("next", "/scans?sort=-started")];
    assert_eq!(site.stranger().post_form("/sign-in", &form).await.header("location"), "/scans?sort=-started");
}

#[tokio::test]
async fn what_is_oversized_or_malformed_is_refused_without_work() {
    let site = TestSite::new().await;
    let stranger = site.stranger();
    let runs = site.app.identity.password_runs();
    let huge = json!({ "name": "a", "password": "x".repeat(1024 * 1024) });
    assert_eq!(
        stranger.send_json(Method::POST, "/sign-in", &huge).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    for body in [
        json!({ "name": 1, "password": "x" }),
        json!({ "name": "a" }),
        json!({ "name": "a", "password": ["x"] }),
        json!({ "name": "a", "password": "x", "stage": "full" }),
    ] {
        assert_eq!(
            stranger.send_json(Method::POST, "/sign-in", &body).await.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{body}"
        );
    }
    assert_eq!(site.app.identity.password_runs(), runs);
    let long = json!({ "name": "n".repeat(5000), "password": "p".repeat(5000) });
    assert_eq!(stranger.send_json(Method::POST, "/sign-in", &long).await.fields(), ["password"]);
    let mut odd = stranger.stranger();
    for cookie in [
        "__Host-session=",
        "__Host-session=.",
        "__Host-session=%00.%00",
        &format!("__Host-session={}", "A".repeat(4000)),
    ] {
        odd.set_cookie(cookie);
        assert_eq!(odd.get("/me").await.status, StatusCode::UNAUTHORIZED, "{cookie}");
    }
}

#[tokio::test]
async fn a_secret_in_the_address_is_no_session() {
    let site = TestSite::new().await;
    let secret = site.cookie().strip_prefix("__Host-session=").unwrap().to_owned();
    for path in [format!("/scans?session={secret}"), format!("/scans?token={secret}")] {
        assert_eq!(site.stranger().get(&path).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn two_sign_ins_at_once_by_a_hash_that_is_outdated_both_begin() {
    let site = TestSite::new().await;
    let cheap = hash::cheap(PASSWORD);
    site.sql(&format!("UPDATE user SET password_hash = '{cheap}' WHERE name = 'ada'")).await;
    let (identity, call, nobody) = (&site.app.identity, site.call(), Actor::nobody(""));
    let tried = async || {
        let whose = Whose::Named("ada".to_owned());
        identity.tried(&call, &nobody, "sign-in", whose, PASSWORD.to_owned()).await.unwrap().unwrap()
    };
    let (first, second, third) = (tried().await, tried().await, tried().await);
    for right in [&first, &second] {
        let kept = identity.rehashed(right, PASSWORD.to_owned()).await.unwrap();
        identity.begin(&call, &right.user, Checked::Password(kept)).await.unwrap();
    }
    // One whose password was replaced meanwhile begins none.
    let other = hash::cheap("another password");
    site.sql(&format!("UPDATE user SET password_hash = '{other}' WHERE name = 'ada'")).await;
    let kept = identity.rehashed(&third, PASSWORD.to_owned()).await.unwrap();
    assert!(identity.begin(&call, &third.user, Checked::Password(kept)).await.is_err());
}

#[tokio::test]
async fn a_try_whose_connection_is_cut_counts_all_the_same() {
    let site = TestSite::new().await;
    let (identity, call, nobody) = (&site.app.identity, site.call(), Actor::nobody(""));
    let head = site.app.store.audit_head().await.unwrap().seq;
    let runs = identity.password_runs();
    let whose = Whose::Named("ada".to_owned());
    let mut cut = Box::pin(identity.tried(&call, &nobody, "sign-in", whose, "not hers".to_owned()));
    while identity.password_runs() == runs {
        assert!(cut.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        tokio::task::yield_now().await;
    }
    drop(cut);
    // The next of that network has its turn when that one is over.
    let _turn = identity.0.turns.of(call.source).await.unwrap();
    assert_eq!(site.app.store.audit_head().await.unwrap().seq - head, 1);
    let wrong = |db: &rusqlite::Connection| {
        Ok(db.query_row("SELECT wrong FROM lockout", [], |row| row.get::<_, i64>(0))?)
    };
    assert_eq!(site.app.store.read(wrong).await.unwrap(), 1);
}
