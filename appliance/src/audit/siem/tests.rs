//! Receivers on the real site, with servers of the test's own on loopback.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Mutex, oneshot};

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
    site.app.siem.catch_up(id.parse().unwrap()).await.unwrap();
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

/// A syslog server that keeps its first connection, read to its end, until it is let go; what was said on each.
struct Holding {
    address: String,
    said: Arc<Mutex<Vec<String>>>,
    /// The first connection was read.
    read: oneshot::Receiver<()>,
    go: oneshot::Sender<()>,
}

async fn holding() -> Holding {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, said) = (listener.local_addr().unwrap().to_string(), Arc::default());
    let (told, read) = oneshot::channel();
    let (go, wait) = oneshot::channel();
    let heard: Arc<Mutex<Vec<String>>> = Arc::clone(&said);
    tokio::spawn(async move {
        let mut first = Some((told, wait));
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            heard.lock().await.push(text);
            if let Some((told, wait)) = first.take() {
                told.send(()).unwrap();
                let _ = wait.await;
            }
        }
    });
    Holding { address, said, read, go }
}

/// Changes a receiver while the first batch of a backlog is under way, and lets that arrive.
async fn changed_in_the_middle(site: &TestSite, change: &Value) -> (String, Arc<Mutex<Vec<String>>>) {
    let Holding { address, said, read, go } = holding().await;
    let id = made(site, "syslog-tcp", &address).await;
    write(site, 1_600).await;
    let (siem, receiver) = (site.app.siem.clone(), id.parse().unwrap());
    let serving = tokio::spawn(async move { siem.catch_up(receiver).await });
    read.await.unwrap();
    let mut input = json!({ "name": "x", "kind": "syslog-tcp", "address": address, "body": "json", "enabled": true, "version": 1 });
    input.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let answer = site.send_json(Method::PUT, &format!("/receivers/{id}"), &input).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    go.send(()).unwrap();
    serving.await.unwrap().unwrap();
    (id, said)
}

#[tokio::test]
async fn a_receiver_that_is_switched_off_in_the_middle_is_sent_nothing_more_and_keeps_its_place() {
    let site = TestSite::new().await;
    let (id, said) = changed_in_the_middle(&site, &json!({ "enabled": false })).await;
    assert_eq!(said.lock().await.len(), 1, "the batch that was under way");
    let state = shown(&site, &id).await["state"].clone();
    assert!(state["waiting"].as_u64().unwrap() >= 1_600, "{state}");
}

#[tokio::test]
async fn a_receiver_that_is_moved_in_the_middle_gets_all_of_it_at_its_new_address() {
    let site = TestSite::new().await;
    let (address, at_new) = server().await;
    let (id, at_old) = changed_in_the_middle(&site, &json!({ "address": address })).await;
    assert_eq!(at_old.lock().await.len(), 1, "the batch that was under way");
    let seqs: Vec<u64> =
        bodies(&at_new.lock().await).iter().map(|body| body["seq"].as_u64().unwrap()).collect();
    let head = site.app.store.audit_head().await.unwrap().seq;
    let first = bodies(&at_old.lock().await[0])[0]["seq"].as_u64().unwrap();
    assert_eq!(seqs, (first..=head).collect::<Vec<_>>(), "from the first that the old one was sent");
    assert_eq!(shown(&site, &id).await["state"]["waiting"], 0);
}

#[tokio::test]
async fn what_stands_behind_a_webhooks_host_is_shown_nowhere_and_stays_when_it_is_not_typed_anew() {
    let site = TestSite::new().await;
    let id = made(&site, "webhook", "http://127.0.0.1:9/services/T0KEN?auth=t0ken").await;
    let mut input = shown(&site, &id).await;
    assert_eq!(input["address"], "http://127.0.0.1:9/…");
    for field in ["id", "state", "updated_at"] {
        input.as_object_mut().unwrap().remove(field);
    }
    let put = async |input: &Value| site.send_json(Method::PUT, &format!("/receivers/{id}"), input).await;
    input["name"] = json!("renamed");
    assert_eq!(put(&input).await.status.as_u16(), 200);
    let kept = {
        let id = id.parse().unwrap();
        site.app.store.read(move |db| store::one(db, id)).await.unwrap().kept.fields.address
    };
    assert_eq!(kept, "http://127.0.0.1:9/services/T0KEN?auth=t0ken");
    // That it was changed is told, to what is not.
    (input["version"], input["address"]) = (json!(2), json!("http://127.0.0.1:9/services/0THER"));
    assert_eq!(put(&input).await.status.as_u16(), 200);
    let entries = site.get("/audit?action=receiver.updated").await.json();
    let entry = site.get(&format!("/audit/{}", entries["items"][0]["seq"])).await.json().to_string();
    assert!(
        entry.contains("secret_path") && entry.contains("(secret)") && !entry.contains("0THER"),
        "{entry}"
    );
    for path in
        [format!("/receivers/{id}"), format!("/receivers/{id}/edit"), "/receivers".into(), "/audit".into()]
    {
        let text = site.get(&path).await.text;
        assert!(!text.to_lowercase().contains("t0ken") && !text.contains("0THER"), "{path}: {text}");
    }
    assert!(!site.get("/receivers?q=0THER").await.text.contains("renamed"), "nor found out by a search");
    (input["version"], input["address"]) = (json!(3), json!("http://127.0.0.2:9/…"));
    assert_eq!(put(&input).await.fields(), ["address"], "what is hidden goes to no other host");
}

#[tokio::test]
async fn where_entries_go_is_said_by_who_may_take_the_audit_away_and_proved_it() {
    let site = TestSite::new().await;
    let role = json!({ "name": "clerk", "scopes": ["receivers:view", "receivers:manage"] });
    let role = site.send_json(Method::POST, "/roles", &role).await;
    assert_eq!(role.status.as_u16(), 201, "{}", role.text);
    let clerk = site.person("clerk", &["clerk"]).await;
    let input = |address: &str, name: &str| json!({ "name": name, "kind": "syslog-tcp", "address": address, "body": "json", "enabled": true, "version": 1 });
    let mut new = input("127.0.0.1:9", "mine");
    new.as_object_mut().unwrap().remove("version");
    assert_eq!(clerk.send_json(Method::POST, "/receivers", &new).await.status.as_u16(), 403);
    let id = made(&site, "syslog-tcp", "127.0.0.1:9").await;
    let path = format!("/receivers/{id}");
    assert_eq!(clerk.send_json(Method::PUT, &path, &input("127.0.0.1:10", "x")).await.status.as_u16(), 403);
    let mut off = input("127.0.0.1:9", "renamed");
    off["enabled"] = json!(false);
    assert_eq!(clerk.send_json(Method::PUT, &path, &off).await.status.as_u16(), 200, "that leads nowhere");
    (off["enabled"], off["version"]) = (json!(true), json!(2));
    assert_eq!(clerk.send_json(Method::PUT, &path, &off).await.status.as_u16(), 403, "this does");
    site.hand.advance(Duration::from_mins(20));
    let unproved = site.send_json(Method::PUT, &path, &off).await;
    assert_eq!(
        unproved.json()["type"].as_str().map(|kind| kind.ends_with("prove")),
        Some(true),
        "{}",
        unproved.text
    );
}
