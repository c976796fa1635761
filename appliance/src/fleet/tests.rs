//! The rules of the fleet, on the real site with databases in memory.

use axum::http::Method;
use portolan_scanner::wire::{base64, enrolment_proof, hex};
use serde_json::{Value, json};

use super::task::{round, step};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::ids::Random;
use crate::secrets::sha256;
use crate::secrets::signing::JobKey;
use crate::test::{PASSWORD, TestSite};

/// A vantage and a scanner in it, with its token.
async fn offered(site: &TestSite) -> (String, String, String) {
    let vantage = site.send_json(Method::POST, "/vantages", &json!({ "name": "Bridge" })).await;
    assert_eq!(vantage.status, 201, "{}", vantage.text);
    let vantage = text(&vantage.json()["id"]);
    let new = json!({ "name": "probe-1", "vantage": vantage, "binding": "10.0.0.0/8" });
    let made = site.send_json(Method::POST, "/scanners", &new).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    (vantage, text(&made["scanner"]["id"]), text(&made["token"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Queues what ingest would queue, lets the manager work, and gives its answer: `granted` or a refusal.
async fn ask(site: &TestSite, token: &str, key: &JobKey) -> String {
    let hash = sha256(token.as_bytes());
    let proof = base64::encode(&key.sign(enrolment_proof(&hash).as_bytes()));
    ask_with(site, token, key, proof).await
}

async fn ask_with(site: &TestSite, token: &str, key: &JobKey, proof: String) -> String {
    let row = queued(site, token, key, proof).await;
    round(&site.app.fleet).await.unwrap();
    answered(site, row).await
}

async fn queued(site: &TestSite, token: &str, key: &JobKey, proof: String) -> i64 {
    let (hash, public) = (hex::encode(&sha256(token.as_bytes())), base64::encode(&key.public()));
    let now = site.app.clock.now();
    let queue = site.app.jobs.write(move |tx| {
        tx.execute(
            "INSERT INTO enrolment (token_sha256, public_key, proof, api_key_sha256, version, source, asked_at)
             VALUES (?, ?, ?, 'aa', '0.1.0', '10.0.0.9', ?)",
            (hash, public, proof, now),
        )?;
        Ok(tx.last_insert_rowid())
    });
    queue.await.unwrap()
}

async fn answered(site: &TestSite, row: i64) -> String {
    let answer = site.app.jobs.read(move |db| {
        let sql = "SELECT state, refusal, certificate FROM enrolment WHERE id = ?";
        Ok(db.query_row(sql, [row], |row| {
            let (state, refusal): (String, Option<String>) = (row.get(0)?, row.get(1)?);
            assert_eq!(state == "granted", row.get::<_, Option<String>>(2)?.is_some());
            Ok(refusal.unwrap_or(state))
        })?)
    });
    answer.await.unwrap()
}

#[tokio::test]
async fn an_enrolment_waits_while_an_update_is_on_trial() {
    let site = TestSite::new().await;
    let (_, _, token) = offered(&site).await;
    let key = JobKey::make(&Random::seeded(3));
    let hash = sha256(token.as_bytes());
    let proof = base64::encode(&key.sign(enrolment_proof(&hash).as_bytes()));
    let row = queued(&site, &token, &key, proof).await;
    step(&site.app.fleet, true).await.unwrap();
    assert_eq!(answered(&site, row).await, "asked");
    step(&site.app.fleet, false).await.unwrap();
    assert_eq!(answered(&site, row).await, "granted");
}

async fn count(site: &TestSite, sql: &'static str) -> i64 {
    site.app.jobs.read(move |db| Ok(db.query_row(sql, [], |row| row.get(0))?)).await.unwrap()
}

/// Actions in the audit, oldest first, without those of setup.
async fn actions(site: &TestSite) -> Vec<String> {
    let read = |db: &rusqlite::Connection| -> Result<Vec<String>> {
        let sql = "SELECT action FROM audit_entry WHERE resource IN ('scanner', 'vantage') AND class <> 'access' ORDER BY seq";
        Ok(db.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    };
    site.app.store.read(read).await.unwrap()
}

async fn heard(site: &TestSite, scanner: &str) {
    let (scanner, now) = (scanner.to_owned(), site.app.clock.now());
    let sql = "INSERT OR REPLACE INTO presence VALUES (?, ?, '10.0.0.9', '0.1.0', 5)";
    site.app.jobs.write(move |tx| Ok(tx.execute(sql, (scanner, now))?)).await.unwrap();
    round(&site.app.fleet).await.unwrap();
}

#[tokio::test]
async fn a_token_is_shown_once_and_never_kept() {
    let site = TestSite::new().await;
    let (_, id, token) = offered(&site).await;
    assert!(token.starts_with("pte_") && token.len() == 47, "{token}");
    let shown = site.get(&format!("/scanners/{id}")).await;
    assert!(!shown.text.contains(&token));
    assert_eq!(shown.json()["state"], "never");
    let entries = site.app.store.read(|db| {
        Ok(db.query_row("SELECT group_concat(entry) FROM audit_entry", [], |row| row.get::<_, String>(0))?)
    });
    assert!(!entries.await.unwrap().contains(&token[4..]));
    assert_eq!(actions(&site).await, ["vantage.created", "scanner.created", "scanner.enrolment-offered"]);
}

#[tokio::test]
async fn the_command_names_the_key_that_signs_jobs() {
    let site = TestSite::new().await;
    let vantage = site.send_json(Method::POST, "/vantages", &json!({ "name": "Bridge" })).await;
    let new = json!({ "name": "probe-1", "vantage": vantage.json()["id"] });
    let made = site.send_json(Method::POST, "/scanners", &new).await.json();
    let key = base64::encode(&site.app.keys.job.public());
    assert_eq!(made["job_key"], key);
    assert!(text(&made["enrol_command"]).contains(&format!(" --job-key {key} ")), "{made}");
}

#[tokio::test]
async fn a_person_sees_the_token_on_a_page_and_a_wrong_form_again() {
    let site = TestSite::new().await;
    let (vantage, ..) = offered(&site).await;
    let page = site.post_form("/scanners", &[("name", "probe-2"), ("vantage", &vantage)]).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("pte_") && page.text.contains("--ca-sha256"));
    let again = site.post_form("/scanners", &[("name", "probe-2"), ("vantage", ""), ("binding", "x")]).await;
    assert_eq!(again.status, 422);
    assert!(again.text.contains("choose a vantage"), "{}", again.text);
    let taken = site.post_form("/scanners", &[("name", "PROBE-2"), ("vantage", &vantage)]).await;
    assert!(taken.status == 422 && taken.text.contains("another scanner has this name"));
    for path in ["/scanners", "/scanners/new", "/vantages", "/vantages/new"] {
        assert_eq!(site.page(path).await.status, 200, "{path}");
    }
    for rest in ["", "/edit", "/delete"] {
        assert_eq!(site.page(&format!("/vantages/{vantage}{rest}")).await.status, 200, "{rest}");
    }
}

#[tokio::test]
async fn a_token_enrols_one_key_which_may_ask_again_until_it_was_heard_of() {
    let site = TestSite::new().await;
    let (_, id, token) = offered(&site).await;
    let (key, other) = (JobKey::make(&Random::seeded(7)), JobKey::make(&Random::seeded(8)));
    assert_eq!(ask(&site, &token, &key).await, "granted");
    let shown = site.get(&format!("/scanners/{id}")).await.json();
    assert_eq!(shown["state"], "offline");
    assert_eq!(shown["public_key"], base64::encode(&key.public()));
    assert_eq!(
        count(&site, "SELECT count(*) FROM scanner WHERE binding = '10.0.0.0/8' AND revoked = 0").await,
        1
    );
    assert_eq!(ask(&site, &token, &other).await, "token-used");
    assert_eq!(ask(&site, &token, &key).await, "granted");

    heard(&site, &id).await;
    assert_eq!(ask(&site, &token, &key).await, "token-used");
    let shown = site.get(&format!("/scanners/{id}")).await.json();
    assert_eq!((&shown["state"], &shown["may_enrol"]), (&json!("online"), &json!(false)));
    assert_eq!((&shown["software"], &shown["clock_offset_us"]), (&json!("0.1.0"), &json!(5)));
    let more = site.send_json(Method::POST, &format!("/scanners/{id}/token"), &json!({})).await;
    assert_eq!(more.status, 409);
    site.hand.advance(std::time::Duration::from_secs(121));
    assert_eq!(site.get(&format!("/scanners/{id}")).await.json()["state"], "offline");
    let told = actions(&site).await;
    assert_eq!(told[3..], ["scanner.enrolled", "scanner.enrolled", "scanner.connected"]);
}

#[tokio::test]
async fn a_token_that_is_unknown_expired_void_or_not_proven_enrols_nobody() {
    let mut site = TestSite::new().await;
    let (_, id, token) = offered(&site).await;
    let key = JobKey::make(&Random::seeded(7));
    assert_eq!(ask(&site, "pte_guessed", &key).await, "token-unknown");
    let forged = base64::encode(&key.sign(b"portolan-enrol-v1\n"));
    assert_eq!(ask_with(&site, &token, &key, forged).await, "bad-proof");
    let next = site.send_json(Method::POST, &format!("/scanners/{id}/token"), &json!({})).await.json();
    assert_eq!(ask(&site, &token, &key).await, "token-unknown");
    site.hand.advance(super::TOKEN_LIFETIME);
    assert_eq!(ask(&site, &text(&next["token"]), &key).await, "token-expired");
    // So long without use the session is over, too.
    let again = site.sign_in("ada", PASSWORD).await;
    site.take_cookie(&again);
    assert_eq!(site.get(&format!("/scanners/{id}")).await.json()["state"], "never");
}

#[tokio::test]
async fn a_revoked_scanner_is_revoked_at_ingest_at_once_and_for_ever() {
    let site = TestSite::new().await;
    let (vantage, id, token) = offered(&site).await;
    let key = JobKey::make(&Random::seeded(7));
    assert_eq!(ask(&site, &token, &key).await, "granted");
    assert_eq!(site.page(&format!("/scanners/{id}/revoke")).await.status, 200);
    let answer = site.post_form(&format!("/scanners/{id}/revoke"), &[]).await;
    assert_eq!(answer.status, 303);
    assert_eq!(count(&site, "SELECT revoked FROM scanner").await, 1);
    assert_eq!(ask(&site, &token, &key).await, "revoked");
    let more = site.send_json(Method::POST, &format!("/scanners/{id}/token"), &json!({})).await;
    assert_eq!(more.status, 409);
    let edit = json!({ "name": "x", "vantage": vantage, "version": 3 });
    assert_eq!(site.send_json(Method::PUT, &format!("/scanners/{id}"), &edit).await.status, 409);
    // The name is free for its replacement, the vantage is still in use by its record.
    let new = json!({ "name": "probe-1", "vantage": vantage });
    assert_eq!(site.send_json(Method::POST, "/scanners", &new).await.status, 201);
    let refused = site.send_json(Method::DELETE, &format!("/vantages/{vantage}"), &Value::Null).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("probe-1"), "{}", refused.text);
}

#[tokio::test]
async fn an_edit_reaches_ingest_and_an_old_version_changes_nothing() {
    let site = TestSite::new().await;
    let (vantage, id, token) = offered(&site).await;
    assert_eq!(ask(&site, &token, &JobKey::make(&Random::seeded(7))).await, "granted");
    let path = format!("/scanners/{id}");
    let version = site.get(&path).await.json()["version"].clone();
    let edit = json!({ "name": "probe-1", "vantage": vantage, "binding": "192.0.2.1", "version": version });
    assert_eq!(site.send_json(Method::PUT, &path, &edit).await.status, 200);
    assert_eq!(count(&site, "SELECT count(*) FROM scanner WHERE binding = '192.0.2.1'").await, 1);
    assert_eq!(site.send_json(Method::PUT, &path, &edit).await.status, 200, "sent twice");
    let late = json!({ "name": "other", "vantage": vantage, "version": version });
    assert_eq!(site.send_json(Method::PUT, &path, &late).await.status, 412);
    let bad = json!({ "name": "", "vantage": vantage, "binding": "10.0.0.0/33", "version": 9 });
    let bad = site.send_json(Method::PUT, &path, &bad).await;
    assert_eq!((bad.status.as_u16(), bad.fields()), (422, vec!["name".to_owned(), "binding".to_owned()]));
    assert_eq!(site.page(&format!("{path}/edit")).await.status, 200);
    assert_eq!(site.page(&path).await.status, 200);
}

#[tokio::test]
async fn a_lost_jobs_db_is_made_anew() {
    let site = TestSite::new().await;
    let (_, _, token) = offered(&site).await;
    assert_eq!(ask(&site, &token, &JobKey::make(&Random::seeded(7))).await, "granted");
    let lose = |tx: &rusqlite::Transaction| Ok(tx.execute_batch("DELETE FROM scanner; DELETE FROM token")?);
    site.app.jobs.write(lose).await.unwrap();
    site.app.fleet.project().await.unwrap();
    assert_eq!(count(&site, "SELECT count(*) FROM scanner").await, 1);
    assert_eq!(count(&site, "SELECT count(*) FROM token WHERE used = 1").await, 1);
}

async fn refused(site: &TestSite, times: i64) {
    let minute = Timestamp::from_micros(site.app.clock.now().micros() / 60_000_000 * 60_000_000);
    let sql = "INSERT INTO refusal (minute, source, scanner, reason, detail, count) VALUES (?1, '10.0.0.9', '', 'bad-key',
                 'd', ?2) ON CONFLICT DO UPDATE SET count = count + ?2";
    site.app.jobs.write(move |tx| Ok(tx.execute(sql, (minute, times))?)).await.unwrap();
    round(&site.app.fleet).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_refusals_is_one_entry_at_once_and_one_when_the_minute_is_over() {
    let site = TestSite::new().await;
    refused(&site, 1).await;
    refused(&site, 40).await;
    refused(&site, 2).await;
    assert_eq!(actions(&site).await, ["scanner.refused"]);
    site.hand.advance(std::time::Duration::from_secs(60));
    round(&site.app.fleet).await.unwrap();
    assert_eq!(actions(&site).await, ["scanner.refused", "scanner.refused"]);
    let counts = site.app.store.read(|db| {
        let sql = "SELECT group_concat(entry ->> '$.detail.count') FROM audit_entry WHERE action = 'scanner.refused'";
        Ok(db.query_row(sql, [], |row| row.get::<_, String>(0))?)
    });
    assert_eq!(counts.await.unwrap(), "1,42");
    assert_eq!(count(&site, "SELECT count(*) FROM refusal").await, 0);
}
