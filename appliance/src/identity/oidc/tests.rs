//! Providers as they are configured; what follows from what one says is tried against a real one (`tests/tests/oidc.rs`).

use crate::test::{Answered, PASSWORD, TestSite};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) fn input() -> Value {
    let ca = rcgen::generate_simple_self_signed(["sso.test".to_owned()]).unwrap().cert.pem();
    json!({ "name": "Site login", "enabled": true, "issuer": "https://127.0.0.1:1/", "discovery": true,
            "client_id": "portolan", "client_secret": "hunter2", "ca": ca, "mapping": "ops = operator" })
}

pub(super) async fn post(site: &TestSite, path: &str, body: &Value) -> Answered {
    site.send_json(Method::POST, path, body).await
}

#[tokio::test]
async fn a_provider_is_configured_changed_and_deleted_and_its_secret_is_shown_nowhere() {
    let site = TestSite::new().await;
    let made = post(&site, "/providers", &input()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let made = made.json();
    let path = format!("/providers/{}", made["id"].as_str().unwrap());
    let wanted = (json!(true), json!("ops = operator"), json!("groups"), json!("email profile"));
    let shown = |provider: &Value| {
        let of = |name: &str| provider[name].clone();
        (of("has_secret"), of("mapping"), of("claim"), of("scopes"))
    };
    assert_eq!(shown(&made), wanted);
    let host = format!("https://{}/sign-in", crate::test::HOST);
    assert!(made["redirect_uri"].as_str().unwrap().starts_with(&host), "{made}");
    let mut edit = input();
    edit["client_secret"] = json!("");
    edit["version"] = json!(1);
    edit["ca"] = made["ca"].clone();
    edit["enabled"] = json!(false);
    let edited = site.send_json(Method::PUT, &path, &edit).await;
    assert_eq!(shown(&edited.json()), wanted, "the secret stays: {}", edited.text);
    assert!(!site.page("/sign-in").await.text.contains("Site login"), "it is not offered");
    for page in [path.clone(), "/providers".into(), format!("{path}/edit"), "/audit?limit=500".into()] {
        assert!(!site.page(&page).await.text.contains("hunter2"), "{page}");
    }
    let sealed: Vec<u8> = {
        let read = |db: &rusqlite::Connection| {
            Ok(db.query_row("SELECT sealed FROM oidc_provider", [], |row| row.get(0))?)
        };
        site.app.store.read(read).await.unwrap()
    };
    assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
    assert_eq!(site.send_json(Method::DELETE, &path, &Value::Null).await.status, StatusCode::OK);
    assert_eq!(site.get(&path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_a_provider_cannot_be_made_of_names_its_field() {
    let site = TestSite::new().await;
    for (field, value) in [
        ("name", json!("")),
        ("issuer", json!("http://sso.test")),
        ("issuer", json!("https://user@sso.test")),
        ("client_id", json!("")),
        ("ca", json!("no certificate")),
        ("mapping", json!("ops")),
        ("mapping", json!("ops = nobody")),
    ] {
        let mut bad = input();
        bad[field] = value;
        let answer = post(&site, "/providers", &bad).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (StatusCode::UNPROCESSABLE_ENTITY, vec![field.to_owned()])
        );
    }
    let mut bad = input();
    bad["discovery"] = json!(false);
    let fields = post(&site, "/providers", &bad).await.fields();
    assert_eq!(fields, ["authorization_endpoint", "token_endpoint", "jwks_uri"]);
}

#[tokio::test]
async fn a_provider_that_is_down_is_said_to_be_and_the_password_still_signs_in() {
    let site = TestSite::new().await;
    let made = post(&site, "/providers", &input()).await.json();
    let id = made["id"].as_str().unwrap();
    let visitor = site.stranger();
    assert!(visitor.page("/sign-in").await.text.contains("Sign in by Site login"));
    let down = post(&visitor, &format!("/sign-in/provider/{id}"), &json!({})).await;
    assert_eq!(down.status, StatusCode::SERVICE_UNAVAILABLE, "{}", down.text);
    assert!(down.text.contains("cannot reach 127.0.0.1:1"), "{}", down.text);
    assert_eq!(
        post(&site, &format!("/providers/{id}/try"), &json!({})).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let right = json!({ "name": "ada", "password": PASSWORD });
    assert_eq!(post(&visitor, "/sign-in", &right).await.status, StatusCode::OK);
}

/// A trip to this provider with this state, as its browser keeps it.
fn packed(site: &TestSite, provider: &str, state: &str) -> String {
    let began = site.app.clock.now();
    let trip = super::flow::Trip {
        provider: provider.parse().unwrap(),
        state: state.to_owned(),
        nonce: "n".into(),
        verifier: "v".into(),
        next: "/".into(),
        began,
        until: began + Duration::from_secs(600),
        proves: None,
    };
    format!("__Host-trip={}", site.app.oidc.packed(&trip).unwrap())
}

#[tokio::test]
async fn what_comes_back_uncalled_for_takes_no_try_and_is_held_against_nobody() {
    let site = TestSite::new().await;
    let made = post(&site, "/providers", &input()).await.json();
    let provider = made["id"].as_str().unwrap();
    let back = format!("/sign-in/provider/{provider}/back");
    let visitor = site.stranger();
    let come = async |query: &str, cookie: &str| {
        site.hand.advance(Duration::from_secs(1));
        let path = format!("{back}{query}");
        visitor.send_with(Method::GET, &path, "application/json", &[("cookie", cookie)], None).await
    };
    let before = site.app.store.audit_head().await.unwrap().seq;
    let own = packed(&site, provider, "own");
    for _ in 0..4 {
        for (query, cookie) in [
            ("", "a=b"),
            ("?code=a&state=b", "a=b"),
            ("?error=access_denied&state=b", "__Host-trip=AAAA"),
            // Another page's link, while this browser is out: it does not know the state.
            ("?code=a&state=b", &own),
        ] {
            let refused = come(query, cookie).await;
            assert_eq!(refused.status, StatusCode::CONFLICT, "{query}: {}", refused.text);
            assert!(refused.text.contains("was not begun in this browser"), "{}", refused.text);
        }
    }
    assert_eq!(site.app.store.audit_head().await.unwrap().seq, before);
    let right = json!({ "name": "ada", "password": PASSWORD });
    assert_eq!(post(&visitor, "/sign-in", &right).await.status, StatusCode::OK, "nobody is locked out by it");

    // Whoever was sent out and comes back refused is told of, and counted.
    let mut codes = Vec::new();
    for n in 0..12 {
        let cookie = packed(&site, provider, &n.to_string());
        codes.push(come(&format!("?error=access_denied&state={n}"), &cookie).await.status);
    }
    let (refused, limited) = (StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((codes[0], codes[11]), (refused, limited), "{codes:?}");
    let told = codes.iter().filter(|code| **code == refused).count();
    let audit = crate::identity::factors::tests::audit_of(&site).await;
    assert_eq!(audit.matches("refused: access_denied").count(), told);
}

#[tokio::test]
async fn passwords_can_be_left_to_the_owner_and_switched_off_by_nobody_who_came_by_one() {
    let site = TestSite::new().await;
    let off = post(&site, "/providers/local", &json!({ "local": "off", "version": 0 })).await;
    assert_eq!(off.fields(), ["local"], "{}", off.text);
    let owner = post(&site, "/providers/local", &json!({ "local": "owner-only", "version": 0 })).await;
    assert_eq!(owner.status, StatusCode::OK, "{}", owner.text);
    let right = json!({ "name": "ada", "password": PASSWORD });
    assert_eq!(post(&site.stranger(), "/sign-in", &right).await.status, StatusCode::OK);
    site.hand.advance(Duration::from_secs(6 * 60));
    let stale = post(&site, "/providers/local", &json!({ "local": "on", "version": 1 })).await;
    assert_eq!(stale.status, StatusCode::FORBIDDEN, "a fresh proof is needed: {}", stale.text);
}

pub(super) async fn sql(site: &TestSite, sql: String) {
    site.sql(&sql).await;
}

/// A person who came by this provider, and holds the role operator by its word.
pub(super) async fn came_by(site: &TestSite, provider: &str, name: &str) -> TestSite {
    let person = site.person(name, &["viewer"]).await;
    let id = person.own_id().await;
    sql(
        site,
        format!(
            "INSERT INTO oidc_link (provider, subject, user, created_at) VALUES ('{provider}', '{name}', '{id}', 0);
             INSERT INTO user_role (user, role, origin, provider)
               SELECT '{id}', id, 'oidc', '{provider}' FROM role WHERE name = 'operator';
             UPDATE session SET method = 'oidc' WHERE user = '{id}';
             INSERT INTO session_origin (session, provider)
               SELECT id_hash, '{provider}' FROM session WHERE user = '{id}';"
        ),
    )
    .await;
    assert!(person.get("/me").await.text.contains("scans:run"));
    person
}

#[tokio::test]
async fn with_a_provider_goes_what_stands_on_its_word() {
    for deleted in [true, false] {
        let site = TestSite::new().await;
        let made = post(&site, "/providers", &input()).await.json();
        let provider = made["id"].as_str().unwrap().to_owned();
        let path = format!("/providers/{provider}");
        let grace = came_by(&site, &provider, "grace").await;
        let id = grace.own_id().await;
        let other = site.person("alan", &["operator"]).await;
        let bare = site.person("bare", &[]).await.own_id().await;
        sql(
            &site,
            format!(
                "UPDATE user SET password_hash = NULL WHERE id = '{bare}';
                 INSERT INTO oidc_link (provider, subject, user, created_at) VALUES ('{provider}', 'bare', '{bare}', 0)"
            ),
        )
        .await;
        let shown = site.get(&path).await.json();
        let counts = ["people", "holders", "sessions", "only_way"].map(|name| shown[name].as_u64().unwrap());
        assert_eq!(counts, [2, 1, 1, 1]);
        let page = site.page(&format!("{path}/delete")).await.text;
        assert!(
            page.contains("Lose the roles that it gave") && page.contains("<dd>1 account</dd>"),
            "{page}"
        );
        let done = if deleted {
            site.send_json(Method::DELETE, &path, &Value::Null).await
        } else {
            let mut edit = input();
            (edit["version"], edit["enabled"], edit["ca"]) = (json!(1), json!(false), made["ca"].clone());
            edit["client_secret"] = json!("");
            site.send_json(Method::PUT, &path, &edit).await
        };
        assert_eq!(done.status, StatusCode::OK, "{}", done.text);
        assert_eq!(grace.get("/me").await.status, StatusCode::UNAUTHORIZED, "a session by its word is over");
        let account = site.get(&format!("/users/{id}")).await.json();
        assert_eq!(account["provider_roles"], json!([]));
        assert_eq!(account["roles"][0]["name"], "viewer", "what was given here stays");
        assert!(other.get("/me").await.text.contains("scans:run"), "and so does everyone else");
        let audit = site.get(&format!("/audit?resource_id={id}&action=user.provider-roles")).await.json();
        assert_eq!(audit["total"], 1, "{audit}");
        if !deleted {
            assert_eq!(site.get(&path).await.json()["holders"], 0);
        }
    }
}

#[tokio::test]
async fn who_signs_in_by_a_password_is_as_it_was_decided() {
    let site = TestSite::new().await;
    site.person("grace", &["viewer"]).await;
    for (local, owner, other) in [("owner-only", true, false), ("off", false, false), ("on", true, true)] {
        let value = format!("{{\"local\":\"{local}\"}}");
        let sql_text =
            format!("INSERT OR REPLACE INTO setting (name, value) VALUES ('local-sign-in', '{value}')");
        sql(&site, sql_text).await;
        for (name, may) in [("ada", owner), ("grace", other)] {
            let answer = site.stranger().sign_in(name, PASSWORD).await;
            assert_eq!(answer.status == StatusCode::OK, may, "{local} {name}: {}", answer.text);
            if !may {
                assert_eq!(answer.fields(), ["password"], "and says no more than of a wrong one");
            }
        }
        site.hand.advance(Duration::from_secs(3600));
    }
}

#[tokio::test]
async fn only_a_provider_that_knows_the_caller_is_asked_who_they_are() {
    let site = TestSite::new().await;
    let made = post(&site, "/providers", &input()).await.json();
    let provider = made["id"].as_str().unwrap().to_owned();
    let grace = came_by(&site, &provider, "grace").await;
    let alan = site.person("alan", &["viewer"]).await;
    let ask = format!("/prove/provider/{provider}");
    assert!(grace.page("/prove").await.text.contains(&ask));
    assert!(!alan.page("/prove").await.text.contains(&ask));
    // It is down here: asked all the same.
    assert_eq!(post(&grace, &ask, &json!({})).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(post(&alan, &ask, &json!({})).await.status, StatusCode::NOT_FOUND);
    assert_eq!(post(&site.stranger(), &ask, &json!({})).await.status, StatusCode::UNAUTHORIZED);
    // Who has a provider that is offered can do without a password; not once it is no longer offered.
    assert!(grace.page("/account").await.text.contains("Remove password"));
    sql(&site, "UPDATE oidc_provider SET enabled = 0".into()).await;
    let last = grace.send_json(Method::DELETE, "/account/password", &Value::Null).await;
    assert_eq!(last.status, StatusCode::CONFLICT, "{}", last.text);
    sql(&site, "UPDATE oidc_provider SET enabled = 1".into()).await;
    let path = format!("/users/{}/password", grace.own_id().await);
    let gone = site.send_json(Method::DELETE, &path, &Value::Null).await;
    assert_eq!((gone.status, &gone.json()["methods"]), (StatusCode::OK, &json!(["oidc"])), "{}", gone.text);
}

#[tokio::test]
async fn a_state_that_came_back_does_not_come_back_again_not_even_after_a_restart() {
    let site = TestSite::new().await;
    let oidc = &site.app.oidc;
    let now = site.app.clock.now();
    let provider = site.app.ids.new();
    let trip = |state: &str| super::flow::Trip {
        provider,
        state: state.to_owned(),
        nonce: "n".into(),
        verifier: "v".into(),
        next: "/".into(),
        began: now,
        until: now + Duration::from_secs(600),
        proves: None,
    };
    let (one, two) = (oidc.packed(&trip("one")).unwrap(), oidc.packed(&trip("two")).unwrap());
    let parts = || super::Parts {
        store: site.app.store.clone(),
        clock: site.app.clock.clone(),
        ids: site.app.ids.clone(),
        random: oidc.0.parts.random.clone(),
        master: oidc.0.parts.master.clone(),
        identity: site.app.identity.clone(),
    };
    let come = async |oidc: &super::Oidc, cookie: &str, state: &str, at| {
        let Ok(trip) = oidc.brought(Some(cookie), Some(state)) else { return false };
        oidc.ends(&trip, provider, at).await.is_ok()
    };
    assert!(!come(oidc, &one, "two", now).await, "the answer to another question");
    let (first, second) = tokio::join!(come(oidc, &one, "one", now), come(oidc, &one, "one", now));
    assert_ne!(first, second, "of two at once, one");
    let restarted = super::Oidc::new(parts());
    assert!(!come(&restarted, &one, "one", now).await);
    assert!(come(&restarted, &two, "two", now).await, "what is under way goes on after a restart");
    let late = now + Duration::from_secs(601);
    let three = oidc.packed(&super::flow::Trip { until: late + Duration::from_secs(600), ..trip("three") });
    assert!(come(oidc, &three.unwrap(), "three", late).await);
    let kept =
        |db: &rusqlite::Connection| Ok(db.query_row("SELECT count(*) FROM oidc_back", [], |row| row.get(0))?);
    let kept: u64 = site.app.store.read(kept).await.unwrap();
    assert_eq!(kept, 1, "what could no longer come back is forgotten");
}
