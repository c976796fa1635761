//! Providers as they are configured; what follows from what one says is tried against a real one (`tests/tests/oidc.rs`).

use crate::test::{Answered, PASSWORD, TestSite};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

fn input() -> Value {
    let ca = rcgen::generate_simple_self_signed(["sso.test".to_owned()]).unwrap().cert.pem();
    json!({ "name": "Site login", "enabled": true, "issuer": "https://127.0.0.1:1/", "discovery": true,
            "client_id": "portolan", "client_secret": "hunter2", "ca": ca, "mapping": "ops = operator" })
}

async fn post(site: &TestSite, path: &str, body: &Value) -> Answered {
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

#[tokio::test]
async fn what_comes_back_uncalled_for_is_refused_and_written_down() {
    let site = TestSite::new().await;
    let made = post(&site, "/providers", &input()).await.json();
    let back = format!("/sign-in/provider/{}/back", made["id"].as_str().unwrap());
    let visitor = site.stranger();
    for query in ["", "?code=a&state=b", "?error=access_denied&state=b"] {
        let refused = visitor.get(&format!("{back}{query}")).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{query}: {}", refused.text);
        assert!(refused.text.contains("was not begun in this browser"), "{}", refused.text);
    }
    let forged = visitor
        .send_with(
            Method::GET,
            &format!("{back}?code=a&state=b"),
            "application/json",
            &[("cookie", "__Host-trip=AAAA")],
            None,
        )
        .await;
    assert_eq!(forged.status, StatusCode::CONFLICT);
    let audit = crate::identity::factors::tests::audit_of(&site).await;
    assert_eq!(audit.matches("was not begun in this browser").count(), 4);
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
