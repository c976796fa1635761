//! The rules of statements, through the routes.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::audit::{Actor, Entry};
use crate::identity::scopes::Builtin;
use crate::secrets::signing::verify;
use crate::test::TestSite;

async fn post(site: &TestSite, path: &str, body: &Value) -> (StatusCode, Value) {
    // Each of these routes is limited by source.
    site.hand.advance(Duration::from_millis(100));
    let answer = site.send_json(Method::POST, &format!("/api/v1{path}"), body).await;
    (answer.status, answer.json())
}

async fn issued(site: &TestSite, body: &Value) -> (String, String) {
    let (status, answer) = post(site, "/statements", body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    (answer["token"].as_str().unwrap().to_owned(), answer["id"].as_str().unwrap().to_owned())
}

/// Whether it holds for the historian, and why not.
async fn validity(site: &TestSite, token: &Value) -> (bool, String) {
    let asked = json!({ "token": token, "audience": "historian" });
    let (status, answer) = post(&site.stranger(), "/tokens/validate", &asked).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    (answer["valid"].as_bool().unwrap(), answer["reason"].as_str().unwrap_or_default().to_owned())
}

fn no(reason: &str) -> (bool, String) {
    (false, reason.to_owned())
}

fn yes() -> (bool, String) {
    (true, String::new())
}

#[tokio::test]
async fn a_statement_is_checked_offline_with_the_public_key_and_by_asking() {
    let site = TestSite::new().await;
    let grace = site.with_roles("grace", &[Builtin::Viewer.id()]).await;
    let (token, id) = issued(&grace, &json!({ "audience": "historian", "scopes": ["scans:view"] })).await;
    let keys = site.stranger().get("/api/v1/jwks.json").await.json();
    let key = &keys["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["d"]), (&json!("OKP"), &json!("Ed25519"), &Value::Null));
    let public: [u8; 32] = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap().try_into().unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature: [u8; 64] = URL_SAFE_NO_PAD.decode(signature).unwrap().try_into().unwrap();
    assert!(verify(&public, signed.as_bytes(), &signature));
    let part = |at: usize| -> Value {
        let part = signed.split('.').nth(at).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(part(0), json!({ "alg": "EdDSA", "typ": "JWT", "kid": key["kid"] }));
    let claims = part(1);
    assert_eq!(
        (&claims["aud"], &claims["jti"], &claims["scope"]),
        (&json!("historian"), &json!(id), &json!("scans:view"))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);

    let asked = json!({ "token": token, "audience": "historian" });
    let (_, answer) = post(&site.stranger(), "/tokens/validate", &asked).await;
    assert_eq!((&answer["valid"], &answer["account"]["name"]), (&json!(true), &json!("grace")));
    assert_eq!(answer["scopes"], json!(["scans:view"]));
    assert_eq!(site.stranger().get("/api/v1/jwks.json").await.json(), keys, "the key stays");
}

#[tokio::test]
async fn garbage_does_not_hold_and_is_no_error() {
    let site = TestSite::new().await;
    let (token, _) = issued(&site, &json!({ "audience": "historian" })).await;
    let bent = format!("{}A", &token[..token.len() - 1]);
    for garbage in [
        json!(null),
        json!(""),
        json!("x"),
        json!("a.b.c"),
        json!("é"),
        json!(7),
        json!([token]),
        json!({ "a": token }),
        json!(true),
        json!(bent),
        json!(format!("{token}.{token}")),
        json!("A".repeat(100_000)),
        json!(format!(" {token}")),
    ] {
        let (valid, reason) = validity(&site, &garbage).await;
        assert!(!valid && !reason.is_empty(), "{garbage}");
    }
    assert_eq!(validity(&site, &json!(token)).await, yes());
    // A token of the API is no statement, and the answer says nothing about it.
    let made = post(&site, "/tokens", &json!({ "name": "x", "scopes": ["scans:view"] })).await.1;
    assert_eq!(validity(&site, &made["token"]).await, no("form"));
    for asked in [json!({}), json!({ "token": token }), json!({ "token": token, "audience": 7 })] {
        let (status, answer) = post(&site.stranger(), "/tokens/validate", &asked).await;
        assert_eq!((status, &answer["valid"]), (StatusCode::OK, &json!(false)), "{asked}");
    }
}

#[tokio::test]
async fn it_holds_for_its_audience_until_its_end_and_not_when_revoked() {
    let site = TestSite::new().await;
    let (token, _) = issued(&site, &json!({ "audience": "historian", "minutes": 2 })).await;
    let (other, _) = issued(&site, &json!({ "audience": "cmdb" })).await;
    let (gone, id) = issued(&site, &json!({ "audience": "historian" })).await;
    assert_eq!(validity(&site, &json!(other)).await, no("audience"));
    let path = format!("/statements/{id}/revoke");
    assert!(site.page(&path).await.text.contains("until its end"));
    assert_eq!(post(&site, &path, &Value::Null).await.0, StatusCode::OK);
    assert_eq!(validity(&site, &json!(gone)).await, no("revoked"));
    assert_eq!(validity(&site, &json!(token)).await, yes());
    site.hand.advance(Duration::from_secs(120));
    assert_eq!(validity(&site, &json!(token)).await, no("expired"));
}

#[tokio::test]
async fn one_of_another_appliance_or_of_the_future_does_not_hold() {
    let (site, other) = (TestSite::new().await, TestSite::new().await);
    issued(&other, &json!({ "audience": "historian" })).await;
    let (token, _) = issued(&other, &json!({ "audience": "historian" })).await;
    // Both sites draw their keys from the same seed, but not at the same draw.
    assert_ne!(site.app.ids.new(), site.app.ids.new());
    assert_eq!(validity(&site, &json!(token)).await, no("key"));
    // A clock that was set back makes what was issued before one of the future.
    let (token, _) = issued(&site, &json!({ "audience": "historian" })).await;
    let now = site.app.clock.now();
    site.hand.set(now - Duration::from_secs(30));
    // The limit on tries is by source, and knows this one's from a time that is yet to come.
    let elsewhere = site.seen_from("192.0.2.7");
    assert_eq!(validity(&elsewhere, &json!(token)).await, no("not-yet"));
}

#[tokio::test]
async fn what_the_account_lost_is_not_said_any_more_and_a_disabled_one_not_at_all() {
    let site = TestSite::new().await;
    let grace = site.with_roles("grace", &[Builtin::Viewer.id()]).await;
    let (token, _) = issued(&grace, &json!({ "audience": "historian" })).await;
    let run = |sql: &'static str| {
        let store = site.app.store.clone();
        async move {
            let change = move |tx: &rusqlite::Transaction| {
                tx.execute_batch(sql)?;
                Ok((Entry::event("test.made", &()), ()))
            };
            store.change(&Actor::system("test"), change).await.unwrap();
        }
    };
    run("DELETE FROM user_role").await;
    let asked = json!({ "token": token, "audience": "historian" });
    let (_, answer) = post(&site.stranger(), "/tokens/validate", &asked).await;
    assert_eq!((&answer["valid"], &answer["scopes"]), (&json!(true), &json!([])));
    run("UPDATE user SET status = 'disabled' WHERE name = 'grace'").await;
    assert_eq!(validity(&site, &json!(token)).await, no("account"));
    run("DELETE FROM user WHERE name = 'grace'").await;
    assert_eq!(validity(&site, &json!(token)).await, no("account"));
}

#[tokio::test]
async fn a_renewal_replaces_the_statement_until_its_line_is_twelve_hours_old() {
    let site = TestSite::new().await;
    let (first, _) = issued(&site, &json!({ "audience": "historian", "minutes": 60 })).await;
    let stranger = site.stranger();
    let (status, answer) = post(&stranger, "/statements/renew", &json!({ "token": first })).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let mut token = answer["token"].clone();
    assert_eq!(validity(&site, &json!(first)).await, no("revoked"));
    assert_eq!(validity(&site, &token).await, yes());
    let again = post(&stranger, "/statements/renew", &json!({ "token": first })).await;
    assert_eq!(again.0, StatusCode::UNAUTHORIZED, "what was replaced renews nothing");
    let mut renewals = 0;
    loop {
        site.hand.advance(Duration::from_secs(3000));
        let (status, answer) = post(&stranger, "/statements/renew", &json!({ "token": token })).await;
        if status == StatusCode::CONFLICT {
            break;
        }
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        token = answer["token"].clone();
        renewals += 1;
    }
    assert_eq!(renewals, 13, "13 x 50 minutes and the hour that it holds: within twelve hours");
    for garbage in ["", "x", "a.b.c"] {
        let (status, _) = post(&stranger, "/statements/renew", &json!({ "token": garbage })).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{garbage}");
    }
}

#[tokio::test]
async fn a_statement_says_no_more_than_its_caller_may_and_is_asked_for_in_plain_fields() {
    let site = TestSite::new().await;
    let grace = site.with_roles("grace", &[Builtin::Viewer.id()]).await;
    for (body, field) in [
        (json!({ "audience": "h", "scopes": ["users:manage"] }), "scopes"),
        (json!({ "audience": " " }), "audience"),
        (json!({ "audience": "h", "minutes": 0 }), "minutes"),
        (json!({ "audience": "h", "minutes": 61 }), "minutes"),
        (json!({ "audience": "h", "sub": "x" }), "sub"),
        (json!({ "audience": "h", "exp": 4_000_000_000_u32 }), "exp"),
    ] {
        let (status, answer) = post(&grace, "/statements", &body).await;
        assert_eq!((status.as_u16(), &answer["errors"][0]["field"]), (422, &json!(field)), "{body}");
    }
    let local = site.stranger().showing(&site.app.tokens.operator.renew());
    assert_eq!(post(&local, "/statements", &json!({ "audience": "h" })).await.0, StatusCode::CONFLICT);
    assert_eq!(
        post(&site.stranger(), "/statements", &json!({ "audience": "h" })).await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_statement_about_another_is_not_there_for_who_may_not_see_it() {
    let site = TestSite::new().await;
    let (token, id) = issued(&site, &json!({ "audience": "historian" })).await;
    let mallory = site.with_roles("mallory", &[Builtin::Operator.id()]).await;
    let path = format!("/statements/{id}/revoke");
    assert_eq!(mallory.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(post(&mallory, &path, &Value::Null).await.0, StatusCode::NOT_FOUND);
    assert_eq!(mallory.get("/statements").await.json()["total"], json!(0));
    assert_eq!(validity(&site, &json!(token)).await, yes());
    let admin = site.with_roles("root", &[Builtin::Admin.id()]).await;
    assert_eq!(admin.get("/statements").await.json()["total"], json!(1));
    assert_eq!(post(&admin, &path, &Value::Null).await.0, StatusCode::OK);
    assert_eq!(validity(&site, &json!(token)).await, no("revoked"));
}

#[tokio::test]
async fn one_that_ends_by_its_time_leaves_an_entry_and_one_that_was_revoked_no_second_one() {
    let site = TestSite::new().await;
    let (_, ended) = issued(&site, &json!({ "audience": "historian", "minutes": 5 })).await;
    let (_, revoked) = issued(&site, &json!({ "audience": "historian", "minutes": 5 })).await;
    let (_, holds) = issued(&site, &json!({ "audience": "historian", "minutes": 30 })).await;
    post(&site, &format!("/statements/{revoked}/revoke"), &Value::Null).await;
    site.hand.advance(Duration::from_mins(6));
    site.app.statements.forget_ended().await.unwrap();
    site.app.statements.forget_ended().await.unwrap();
    let kept = site.get("/statements").await.json();
    assert_eq!((kept["items"].as_array().unwrap().len(), &kept["items"][0]["id"]), (1, &json!(holds)));
    let told = site.get("/audit?action=statement.expired").await.json();
    let told = told["items"].as_array().unwrap();
    assert_eq!((told.len(), &told[0]["resource_id"]), (1, &json!(ended)));
    let entry = site.get(&format!("/audit/{}", told[0]["seq"])).await.json().to_string();
    assert!(entry.contains("\"manager\"") && entry.contains("\"account\":\"ada\""), "{entry}");
}

#[tokio::test]
async fn asking_for_the_public_key_writes_nothing_once_the_appliance_has_begun() {
    let site = TestSite::new().await;
    site.app.statements.ready().await.unwrap();
    let before = site.app.store.audit_head().await.unwrap();
    assert_eq!(site.stranger().get("/api/v1/jwks.json").await.status, StatusCode::OK);
    assert_eq!(site.app.store.audit_head().await.unwrap(), before);
}

/// The owner's API token with this more; how a script comes with it, and its id.
async fn asking(site: &TestSite, name: &str, more: &Value) -> (TestSite, String) {
    let mut body = json!({ "name": name, "scopes": ["scans:view"] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, made) = post(site, "/tokens", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let script = site.stranger().showing(made["token"].as_str().unwrap());
    (script, made["item"]["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_a_token_asked_for_ends_with_the_token() {
    let site = TestSite::new().await;
    let (script, id) = asking(&site, "revoked", &json!({})).await;
    let (token, _) = issued(&script, &json!({ "audience": "historian" })).await;
    let (status, next) = post(&site.stranger(), "/statements/renew", &json!({ "token": token })).await;
    assert_eq!(status, StatusCode::CREATED, "{next}");
    let (own, _) = issued(&site, &json!({ "audience": "historian" })).await;
    let (gone, revoked) = post(&site, &format!("/tokens/{id}/revoke"), &json!({})).await;
    assert_eq!(gone, StatusCode::OK, "{revoked}");
    // The one before it too, by the line that it is of.
    assert_eq!(validity(&site, &next["token"]).await, no("revoked"));
    let (status, _) = post(&site.stranger(), "/statements/renew", &json!({ "token": next["token"] })).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(validity(&site, &json!(own)).await, yes(), "what the person asked for stays");
    let told = crate::identity::factors::tests::audit_of(&site).await;
    assert!(told.contains("\"statements\":1"), "{told}");

    // However the token ended: its own entry is not needed.
    let (script, id) = asking(&site, "elsewhere", &json!({})).await;
    let (token, _) = issued(&script, &json!({ "audience": "historian" })).await;
    site.sql(&format!("UPDATE token SET revoked_at = 1 WHERE id = '{id}'")).await;
    assert_eq!(validity(&site, &json!(token)).await, no("revoked"));

    // By its time: also for who checks offline.
    let (script, _) = asking(&site, "short", &json!({ "days": 1 })).await;
    site.hand.advance(Duration::from_secs(86_400 - 300));
    let (token, _) = issued(&script, &json!({ "audience": "historian", "minutes": 60 })).await;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let lasts = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!((1..=300).contains(&lasts), "{lasts}");
    site.hand.advance(Duration::from_secs(300));
    assert_eq!(validity(&site, &json!(token)).await, no("expired"));
    assert_eq!(
        post(&site.stranger(), "/statements/renew", &json!({ "token": token })).await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn what_a_token_asked_for_is_renewed_only_from_where_the_token_may_come() {
    let site = TestSite::new().await;
    let (script, _) = asking(&site, "bound", &json!({ "sources": "192.0.2.1" })).await;
    let (token, _) = issued(&script, &json!({ "audience": "historian" })).await;
    let renew = json!({ "token": token });
    let elsewhere = site.stranger().seen_from("192.0.2.9");
    assert_eq!(post(&elsewhere, "/statements/renew", &renew).await.0, StatusCode::UNAUTHORIZED);
    let asked = json!({ "token": token, "audience": "historian" });
    let (_, answer) = post(&elsewhere, "/tokens/validate", &asked).await;
    assert_eq!(answer["valid"], true, "another system asks from where it stands: {answer}");
    assert_eq!(post(&site.stranger(), "/statements/renew", &renew).await.0, StatusCode::CREATED);
}
