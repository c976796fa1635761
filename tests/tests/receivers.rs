//! Audit entries at a real rsyslog, over TLS, through an outage of both sides.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use portolan_tests::api::{number, text};
use portolan_tests::process::Process;
use portolan_tests::wait::wait_until;
use portolan_tests::{Client, Site};
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A CA of the test's own, and a certificate of it for 127.0.0.1.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
        let done = done.expect("openssl is there");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    fs::write(folder.join("leaf.ext"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
        .expect("written");
    openssl("req -x509 -newkey ed25519 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca");
    openssl("req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=log");
    openssl("x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -days 2 -extfile leaf.ext -out leaf.pem");
}

/// rsyslog with its OpenSSL driver; what it receives it writes to `received`, a message a line.
fn rsyslog(folder: &Path, port: u16) -> Process {
    let at = folder.display();
    let config = format!(
        r#"global(workDirectory="{at}" defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{at}/ca.pem"
       defaultNetstreamDriverCertFile="{at}/leaf.pem" defaultNetstreamDriverKeyFile="{at}/leaf.key" maxMessageSize="64k")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
input(type="imtcp" address="127.0.0.1" port="{port}" SupportOctetCountedFraming="on")
template(name="line" type="string" string="%hostname% %app-name% %msgid% %syslogfacility% %msg%\n")
action(type="omfile" file="{at}/received" template="line" flushOnTXEnd="on")
"#
    );
    fs::write(folder.join("rsyslog.conf"), config).expect("written");
    let mut command = Command::new("/usr/sbin/rsyslogd");
    command.args(["-n", "-f"]).arg(folder.join("rsyslog.conf")).arg("-i").arg(folder.join("pid"));
    Process::start("rsyslogd", &mut command, &folder.join("log"))
}

/// What was received: each line's words before the body, and the body.
fn received(folder: &Path) -> Vec<(String, Value)> {
    let text = fs::read_to_string(folder.join("received")).unwrap_or_default();
    let whole = text.lines().filter_map(|line| {
        let at = line.find('{')?;
        Some((line[..at].trim().to_owned(), serde_json::from_str(&line[at..]).ok()?))
    });
    whole.collect()
}

fn receiver(owner: &Client, id: &str) -> Value {
    owner.get(&format!("/receivers/{id}")).json()
}

/// A folder with the certificates of a server, and a port for it.
fn place() -> (TempDir, u16) {
    let folder = TempDir::with_prefix("portolan-syslog-").expect("a folder");
    certificates(folder.path());
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    (folder, port)
}

/// The receiver of the server there; gives its id.
fn plant(owner: &Client, folder: &Path, port: u16) -> String {
    let ca = fs::read_to_string(folder.join("ca.pem")).expect("it was made");
    let address = format!("127.0.0.1:{port}");
    let new = json!({ "name": "Plant", "kind": "syslog-tls", "address": address, "body": "json", "ca": ca, "enabled": true });
    text(&owner.post("/receivers", &new).json(), "id")
}

#[test]
fn a_real_syslog_server_has_every_entry_after_both_sides_were_away() {
    let (folder, port) = place();
    let mut site = Site::start();
    let owner = site.set_up();
    let id = plant(&owner, folder.path(), port);
    // Nobody is there yet.
    wait_until("the first try in vain", PATIENCE, || {
        (number(&receiver(&owner, &id)["state"]["tries"]) > 0).then_some(())
    });
    for number in 0..30 {
        owner.subnet(&format!("S{number}"), &format!("10.{number}.0.0/16"));
    }
    site.kill("all");
    let server = rsyslog(folder.path(), port);
    site.run("all");
    let owner = site.signed_in();
    let caught_up = || {
        let state = receiver(&owner, &id)["state"].clone();
        (number(&state["waiting"]) == 0 && state["failing_since"].is_null()).then_some(state)
    };
    wait_until("all to arrive", PATIENCE, caught_up);
    // The server goes and comes again.
    drop(server);
    owner.subnet("While it was away", "10.200.0.0/16");
    wait_until("it to be missed", PATIENCE, || {
        (number(&receiver(&owner, &id)["state"]["tries"]) > 0).then_some(())
    });
    let server = rsyslog(folder.path(), port);
    let state = wait_until("all to arrive again", PATIENCE, caught_up);

    let received = received(folder.path());
    let mut seqs: Vec<u64> = received.iter().map(|(_, body)| number(&body["seq"])).collect();
    seqs.dedup();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs, (seqs[0]..=number(&state["seq"])).collect::<Vec<_>>(), "{}", server.log_text());
    let made = received.iter().filter(|(_, body)| body["entry"]["action"] == "subnet.created").count();
    assert!(made >= 31, "{made}");
    assert!(
        received.iter().all(|(words, _)| words.contains(" portolan ") && words.ends_with(" 13")),
        "{received:?}"
    );
    // With the hash that the chain has.
    let (_, last) = received.last().expect("some");
    let kept = owner.get(&format!("/audit/{}", last["seq"])).json();
    assert_eq!(kept["hash"], last["hash"], "{kept}");

    let tested = owner.post(&format!("/receivers/{id}/test"), &json!({})).json();
    assert_eq!(tested["arrived"], true, "{tested}");
}

/// The numbers of what was received, each once.
fn numbers(folder: &Path) -> Vec<u64> {
    let mut seqs: Vec<u64> = received(folder).iter().map(|(_, body)| number(&body["seq"])).collect();
    seqs.sort_unstable();
    seqs.dedup();
    seqs
}

#[test]
fn nothing_is_missing_at_a_real_syslog_server_that_is_restarted_while_entries_come() {
    let (folder, port) = place();
    let site = Site::start();
    let owner = site.set_up();
    let id = plant(&owner, folder.path(), port);
    // Stopped and started all the time, at moments of its own, while there is always more to send.
    let (over, restarts) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let restarting = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let mut server = rsyslog(folder.path(), port);
                let before = numbers(folder.path()).len();
                wait_until("something to arrive", PATIENCE, || {
                    (numbers(folder.path()).len() > before || over.load(Ordering::Relaxed)).then_some(())
                });
                server.stop(PATIENCE);
                restarts.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut written = 0;
        while (written < 300 || restarts.load(Ordering::Relaxed) < 4) && !restarting.is_finished() {
            owner.subnet(&format!("S{written}"), &format!("10.{}.{}.0/24", written / 200, written % 200));
            written += 1;
        }
        over.store(true, Ordering::Relaxed);
        restarting.join().expect("it restarts");
    });
    let server = rsyslog(folder.path(), port);
    let state = wait_until("all to arrive", Duration::from_secs(330), || {
        let state = receiver(&owner, &id)["state"].clone();
        (number(&state["waiting"]) == 0 && state["failing_since"].is_null()).then_some(state)
    });
    let seqs = wait_until("rsyslog to write it down", PATIENCE, || {
        let seqs = numbers(folder.path());
        (seqs.last().copied() >= Some(number(&state["seq"]))).then_some(seqs)
    });
    let all: Vec<u64> = (seqs[0]..=*seqs.last().expect("some")).collect();
    assert_eq!(seqs, all, "after {restarts:?} restarts: {}", server.log_text());
}

#[test]
fn a_server_of_another_ca_is_told_nothing() {
    let folder = TempDir::with_prefix("portolan-syslog-").expect("a folder");
    let other = TempDir::with_prefix("portolan-syslog-").expect("a folder");
    certificates(folder.path());
    certificates(other.path());
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let site = Site::start();
    let owner = site.set_up();
    let ca = fs::read_to_string(other.path().join("ca.pem")).expect("it was made");
    let _server = rsyslog(folder.path(), port);
    let made = owner.post(
        "/receivers",
        &json!({ "name": "Plant", "kind": "syslog-tls", "address": format!("127.0.0.1:{port}"), "body": "json", "ca": ca, "enabled": true }),
    );
    let id = text(&made.json(), "id");
    let error = wait_until("it to be refused", PATIENCE, || {
        let error = text(&receiver(&owner, &id)["state"], "error");
        error.contains("certificate").then_some(error)
    });
    assert!(received(folder.path()).is_empty(), "{error}");
}
