//! Receivers on the real site, with servers of the test's own on loopback.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Mutex;

use super::store;
use crate::audit::{Actor, Entry};
use crate::test::TestSite;

async fn made(site: &TestSite, kind: &str, address: &str) -> String {
    let secret = if kind == "webhook" { "sixteen letters!" } else { "" };
    let input = json!({ "name": kind, "kind": kind, "address": address, "body": "json", "secret": secret, "enabled": true });
    let answer = site.send_json(Method::POST, "/receivers", &input).await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn shown(site: &TestSite, id: &str) -> Value {
    site.get(&format!("/receivers/{id}")).await.json()
}

async fn write(site: &TestSite, count: usize) {
    let entries = move |_: &rusqlite::Transaction| {
        Ok(((0..count).map(|n| Entry::event("test.done", &json!({ "n": n }))).collect(), ()))
    };
    site.app.store.changes(&Actor::system("test"), entries).await.unwrap();
}

async fn serve_once(site: &TestSite, id: &str) {
    let id = id.parse().unwrap();
    let receiver = site.app.store.read(move |db| store::one(db, id)).await.unwrap();
    site.app.siem.catch_up(receiver).await.unwrap();
}

/// A syslog server over TCP: all that was said to it, whole once its other end was read.
async fn server() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, said) = (listener.local_addr().unwrap().to_string(), Arc::new(Mutex::new(String::new())));
    let heard = Arc::clone(&said);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            heard.lock().await.push_str(&text);
        }
    });
    (address, said)
}

/// The messages in what was said, taken apart by their counts; each one's body.
fn bodies(mut said: &str) -> Vec<Value> {
    let mut bodies = Vec::new();
    while let Some((count, rest)) = said.split_once(' ') {
        let (message, rest) = rest.split_at(count.parse().unwrap());
        bodies.push(serde_json::from_str(message.splitn(8, ' ').nth(7).unwrap()).unwrap());
        said = rest;
    }
    bodies
}

#[tokio::test]
async fn a_receiver_that_was_away_gets_every_entry_once_and_in_order() {
    let site = TestSite::new().await;
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = nowhere.local_addr().unwrap().to_string();
    drop(nowhere);
    let id = made(&site, "syslog-tcp", &away).await;
    write(&site, 1_200).await;
    serve_once(&site, &id).await;
    serve_once(&site, &id).await;
    let failing = shown(&site, &id).await;
    assert_eq!(failing["state"]["tries"], 2, "{failing}");
    assert!(failing["state"]["error"].as_str().unwrap().contains("refused"), "{failing}");

    let (address, said) = server().await;
    let mut input =
        json!({ "name": "back", "kind": "syslog-tcp", "address": address, "body": "json", "enabled": true });
    input["version"] = failing["version"].clone();
    let answer = site.send_json(Method::PUT, &format!("/receivers/{id}"), &input).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    serve_once(&site, &id).await;
    let seqs: Vec<u64> =
        bodies(&said.lock().await).iter().map(|body| body["seq"].as_u64().unwrap()).collect();
    let head = site.app.store.audit_head().await.unwrap().seq;
    assert_eq!(seqs, (seqs[0]..=head).collect::<Vec<_>>());
    let well = shown(&site, &id).await;
    assert_eq!((&well["state"]["waiting"], &well["state"]["error"]), (&json!(0), &json!("")));
    // It begins with its own making; that it failed and recovered is told once.
    let actions: Vec<String> = bodies(&said.lock().await)
        .iter()
        .map(|body| body["entry"]["action"].as_str().unwrap().to_owned())
        .filter(|action| action.starts_with("receiver.") && action != "receiver.viewed")
        .collect();
    assert_eq!(actions, ["receiver.created", "receiver.failing", "receiver.updated", "receiver.recovered"]);
}

#[tokio::test]
async fn a_batch_whose_end_nobody_read_is_sent_again() {
    let site = TestSite::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let id = made(&site, "syslog-tcp", &listener.local_addr().unwrap().to_string()).await;
    // It goes away with what it was told unread, as a server does that is killed: the kernel resets the connection.
    let rude = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        stream.readable().await.unwrap();
        stream.set_zero_linger().unwrap();
    });
    write(&site, 3).await;
    serve_once(&site, &id).await;
    rude.await.unwrap();
    let state = shown(&site, &id).await["state"].clone();
    assert!(state["waiting"].as_u64().unwrap() >= 4 && state["tries"] == 1, "{state}");
}

#[tokio::test]
async fn a_webhook_is_signed_and_its_answer_decides() {
    let site = TestSite::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let id = made(&site, "webhook", &format!("http://{}/in", listener.local_addr().unwrap())).await;
    let answers = tokio::spawn(async move {
        let mut asked = Vec::new();
        for status in ["503 Later", "204 No Content"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            let body = loop {
                let mut piece = [0; 4096];
                let read = stream.read(&mut piece).await.unwrap();
                text.extend_from_slice(&piece[..read]);
                let so_far = String::from_utf8_lossy(&text).into_owned();
                if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                    if body.len() == length.parse::<usize>().unwrap() {
                        break (head.to_owned(), body.to_owned());
                    }
                }
            };
            asked.push(body);
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    serve_once(&site, &id).await;
    assert_eq!(shown(&site, &id).await["state"]["error"], "the receiver answered 503");
    serve_once(&site, &id).await;
    let asked = answers.await.unwrap();
    assert!(asked[0].0.starts_with("POST /in HTTP/1.1\r\n"), "{}", asked[0].0);
    let signature =
        |head: &str| head.lines().find_map(|l| l.strip_prefix("portolan-signature: ")).unwrap().to_owned();
    assert!(signature(&asked[1].0).starts_with("t=1795348800,v1="));
    let entries: Value = serde_json::from_str(&asked[1].1).unwrap();
    assert_eq!(entries["entries"][0]["entry"]["action"], "receiver.created");
}

#[tokio::test]
async fn a_test_says_how_it_went_and_is_no_entry_of_the_chain() {
    let site = TestSite::new().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = made(&site, "syslog-udp", &socket.local_addr().unwrap().to_string()).await;
    let tested = site.send_json(Method::POST, &format!("/receivers/{udp}/test"), &json!({})).await.json();
    assert_eq!(tested["arrived"], false, "{tested}");
    let mut buffer = [0; 4096];
    let length =
        tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.unwrap().unwrap();
    let text = str::from_utf8(&buffer[..length]).unwrap();
    assert!(text.starts_with("<110>1 2026-11-22T12:00:00.000000Z ") && text.contains(r#""seq":0"#), "{text}");

    let (address, said) = server().await;
    let tcp = made(&site, "syslog-tcp", &address).await;
    let tested = site.send_json(Method::POST, &format!("/receivers/{tcp}/test"), &json!({})).await.json();
    assert_eq!((&tested["arrived"], &tested["words"]), (&json!(true), &json!("The test arrived.")));
    assert_eq!(bodies(&said.lock().await)[0]["entry"]["action"], "receiver.tested");
}

#[tokio::test]
async fn what_cannot_work_is_refused_by_its_field() {
    let site = TestSite::new().await;
    let fields = async |change: Value| {
        let mut input = json!({ "name": "x", "kind": "syslog-tcp", "address": "siem:514", "body": "json" });
        input.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        site.send_json(Method::POST, "/receivers", &input).await.fields()
    };
    assert_eq!(fields(json!({ "address": "siem" })).await, ["address"]);
    assert_eq!(fields(json!({ "address": "siem:514\r\nx: y" })).await, ["address", "address"]);
    assert_eq!(fields(json!({ "kind": "syslog-tls" })).await, ["ca"]);
    assert_eq!(fields(json!({ "ca": "x" })).await, ["ca"]);
    assert_eq!(fields(json!({ "secret": "sixteen letters!" })).await, ["secret"]);
    assert_eq!(
        fields(json!({ "kind": "webhook", "address": "http://siem/", "secret": "short" })).await,
        ["secret"]
    );
    assert_eq!(fields(json!({ "kind": "webhook", "address": "siem:514" })).await, ["address", "secret"]);
}

#[tokio::test]
async fn a_secret_is_shown_nowhere() {
    let site = TestSite::new().await;
    let id = made(&site, "webhook", "http://127.0.0.1:9/in").await;
    for path in
        [format!("/receivers/{id}"), format!("/receivers/{id}/edit"), "/receivers".into(), "/audit".into()]
    {
        assert!(!site.get(&path).await.text.contains("sixteen"), "{path}");
    }
}
