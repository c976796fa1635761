//! The calls, in process: the router over databases in memory, and scanners that sign by hand.

use std::fs;

use axum::http::Request as HttpRequest;
use portolan_scanner::wire::http_signature::{self, Params as Signed};
use portolan_scanner::wire::{Reason, base64, enrolment_proof, hex};
use rusqlite::params;
use tower::ServiceExt as _;

use super::*;
use crate::clock::Hand;
use crate::clock::Timestamp;
use crate::fleet::manager_task;
use crate::results::fixture::{self, JobOf, frame_signed_by, hosts, id, public, results};
use crate::secrets::sha256;
use crate::secrets::signing;
use crate::test::TestSite;

struct Door {
    router: Router,
    jobs: Jobs,
    hand: Hand,
    clock: Clock,
    root: tempfile::TempDir,
    asker: crate::roles::Asker,
}

/// A scanner of the fixture: its number is the seed of its key.
#[derive(Clone, Copy)]
struct Scanner(u8);

struct Answered {
    status: u16,
    text: String,
}

impl Answered {
    fn get(&self, key: &str) -> String {
        Fields::parse(self.text.as_bytes()).unwrap().get(key).unwrap_or_default().to_owned()
    }

    fn slug(&self) -> (u16, String) {
        (self.status, self.get("error"))
    }
}

impl Door {
    async fn new() -> Self {
        let (clock, hand) = Clock::settable(Timestamp::from_micros(1_795_341_600_000_000));
        let door = Self::over(Jobs::in_memory().unwrap(), clock, hand);
        for scanner in [Scanner(3), Scanner(4)] {
            let (id, key) = (id(scanner.0).to_string(), base64::encode(&public(scanner.0)));
            let (api, certificate) = (hash(&scanner.api_key()), tls_name(&scanner.certificate()));
            door.write(move |tx| {
                let sql = "INSERT INTO scanner (id, vantage, api_key_sha256, certificate_sha256, public_key)
                           VALUES (?, 'v', ?, ?, ?)";
                tx.execute(sql, params![id, api, certificate, key])
            })
            .await;
        }
        door
    }

    fn over(jobs: Jobs, clock: Clock, hand: Hand) -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["tmp", "new"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let spool = Spool::new(root.path().join("tmp"), root.path().join("new"));
        let (asker, stop) = Stop::channel();
        let notes = Notes::new(jobs.clone(), clock.clone());
        let parts =
            Parts { clock: clock.clone(), random: Random::seeded(5), jobs: jobs.clone(), spool, notes, stop };
        Self { router: router(parts), jobs, hand, clock, root, asker }
    }

    async fn write(
        &self,
        f: impl FnOnce(&rusqlite::Transaction) -> rusqlite::Result<usize> + Send + 'static,
    ) {
        self.jobs.write(|tx| Ok(f(tx)?)).await.unwrap();
    }

    async fn text(&self, sql: &'static str) -> String {
        self.jobs.read(move |db| Ok(db.query_row(sql, [], |row| row.get(0))?)).await.unwrap()
    }

    async fn send(&self, request: HttpRequest<Body>) -> Answered {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answered { status, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn call(&self, scanner: Scanner, call: &str, body: &str) -> Answered {
        self.send(scanner.request(&self.clock, call, body)).await
    }

    /// A job of the fixture, ready for its scanner.
    async fn offer(&self, of: JobOf) -> String {
        let job = of.frame();
        let (hash, text) = (job.hash(), job.text().to_owned());
        let (scanner, batch) = (id(of.scanner).to_string(), of.batch);
        let row = hash.clone();
        self.write(move |tx| {
            let sql = "INSERT INTO job (hash, scan, batch, epoch, scanner, vantage, frame, blocks, probes, state, made_at)
                       VALUES (?, 's', ?, 1, ?, 'v', ?, 1, 1, 'ready', 0)";
            tx.execute(sql, params![row, batch, scanner, text])
        })
        .await;
        hash
    }

    fn spooled(&self) -> usize {
        fs::read_dir(self.root.path().join("new")).unwrap().count()
    }
}

impl Scanner {
    fn api_key(self) -> String {
        format!("pts_{}", self.0)
    }

    fn certificate(self) -> Vec<u8> {
        vec![self.0; 9]
    }

    fn request(self, clock: &Clock, call: &str, body: &str) -> HttpRequest<Body> {
        let params = Signed {
            created: clock.now().seconds(),
            nonce: hex::encode(&Random::system().bytes::<16>()),
            keyid: id(self.0),
        };
        self.request_with(&params, call, body)
    }

    fn request_with(self, params: &Signed, call: &str, body: &str) -> HttpRequest<Body> {
        use ed25519_dalek::Signer as _;
        let path = format!("/scanner/v1/{call}");
        let digest = http_signature::digest_to_header(&sha256(body.as_bytes()));
        let base = http_signature::base("POST", &path, None, &digest, params);
        let signature = fixture::key(self.0).sign(base.as_bytes()).to_bytes();
        let mut tls = TlsInfo::default();
        tls.peer_certificates = vec![self.certificate()];
        request(&path, body)
            .header("authorization", format!("Bearer {}", self.api_key()))
            .header("content-digest", digest)
            .header("signature-input", params.to_header())
            .header("signature", http_signature::signature_to_header(&signature))
            .extension(Arc::new(tls))
            .body(Body::from(body.to_owned()))
            .unwrap()
    }
}

fn request(path: &str, body: &str) -> axum::http::request::Builder {
    HttpRequest::post(path)
        .header("content-length", body.len())
        .extension(ConnectInfo(SocketAddr::from(([10, 0, 0, 9], 4000))))
}

fn hash(text: &str) -> String {
    hex::encode(&sha256(text.as_bytes()))
}

fn tls_name(certificate: &[u8]) -> String {
    crate::tls::fingerprint(certificate)
}

#[tokio::test]
async fn a_scanner_enrols_and_is_heard_of() {
    let site = TestSite::new().await;
    let door = Door::over(site.app.jobs.clone(), site.app.clock.clone(), site.hand.clone());
    let managing = tokio::spawn(manager_task(site.app.fleet.clone()));
    let vantage = site.send_json(Method::POST, "/vantages", &serde_json::json!({ "name": "Bridge" })).await;
    let new = serde_json::json!({ "name": "probe-1", "vantage": vantage.json()["id"] });
    let offered = site.send_json(Method::POST, "/scanners", &new).await.json();
    let token = offered["token"].as_str().unwrap();

    let key = signing::JobKey::make(&Random::seeded(9));
    let proof = key.sign(enrolment_proof(&sha256(token.as_bytes())).as_bytes());
    let body = Fields::new()
        .with("token", token)
        .with("public-key", base64::encode(&key.public()))
        .with("proof", base64::encode(&proof))
        .with("version", "0.1.0")
        .to_string();
    let enrol = |body: &str| request("/scanner/v1/enrol", body).body(Body::from(body.to_owned())).unwrap();
    let first = door.send(enrol(&body)).await;
    assert_eq!(first.status, 200, "{}", first.text);
    // The answer may have been lost: the same key asks again, and its first API key is void.
    let granted = door.send(enrol(&body)).await;
    assert_eq!(granted.status, 200, "{}", granted.text);
    assert_ne!(first.get("api-key"), granted.get("api-key"));
    assert_eq!(granted.get("scanner"), offered["scanner"]["id"].as_str().unwrap());
    assert!(!granted.text.contains("job-key"), "{}", granted.text);

    let params = Signed {
        created: door.clock.now().seconds(),
        nonce: "n".repeat(22),
        keyid: granted.get("scanner").parse().unwrap(),
    };
    let beat = |api_key: String| {
        let body = format!("version: 0.1.0\nclock: {}\n", door.clock.now().micros() - 7);
        let digest = http_signature::digest_to_header(&sha256(body.as_bytes()));
        let base = http_signature::base("POST", "/scanner/v1/heartbeat", None, &digest, &params);
        let mut tls = TlsInfo::default();
        tls.peer_certificates = vec![base64::decode(&granted.get("certificate")).unwrap()];
        request("/scanner/v1/heartbeat", &body)
            .header("authorization", format!("Bearer {api_key}"))
            .header("content-digest", digest)
            .header("signature-input", params.to_header())
            .header("signature", http_signature::signature_to_header(&key.sign(base.as_bytes())))
            .extension(Arc::new(tls))
            .body(Body::from(body))
            .unwrap()
    };
    assert_eq!(door.send(beat(first.get("api-key"))).await.slug(), (401, "bad-key".to_owned()));
    let answer = door.send(beat(granted.get("api-key"))).await;
    assert_eq!(
        (answer.status, answer.get("now")),
        (200, door.clock.now().micros().to_string()),
        "{}",
        answer.text
    );
    assert_eq!(door.send(beat(granted.get("api-key"))).await.slug(), (401, "replayed".to_owned()));

    let path = format!("/scanners/{}", granted.get("scanner"));
    let shown = site.get(&path).await.json();
    assert_eq!((shown["state"].as_str(), shown["clock_offset_us"].as_i64()), (Some("online"), Some(7)));
    assert_eq!(shown["source"], "10.0.0.9");
    // Once it was heard of, its token is spent; and what was refused is in the audit.
    let mut watch = door.jobs.watch();
    while site.get(&path).await.json()["may_enrol"] == true {
        watch.changed_within(Duration::from_millis(50)).await;
    }
    assert_eq!(door.send(enrol(&body)).await.slug(), (403, "token-used".to_owned()));
    let told = || {
        site.app.store.read(|db| {
        let sql = "SELECT group_concat(entry ->> '$.detail.reason') FROM audit_entry WHERE action = 'scanner.refused'";
        Ok(db.query_row(sql, [], |row| row.get::<_, Option<String>>(0))?.unwrap_or_default())
    })
    };
    while told().await.unwrap() != "bad-key,replayed,token-used" {
        watch.changed_within(Duration::from_millis(50)).await;
    }
    managing.abort();
}

#[tokio::test]
async fn a_token_nobody_offered_is_refused_before_anything_is_queued() {
    let door = Door::new().await;
    let body = "token: pte_x\npublic-key: a\nproof: b\nversion: 1\n";
    let answer = door.send(request("/scanner/v1/enrol", body).body(Body::from(body)).unwrap()).await;
    assert_eq!(answer.slug(), (403, "token-unknown".to_owned()));
    assert_eq!(door.text("SELECT CAST(count(*) AS TEXT) FROM enrolment").await, "0");
}

#[tokio::test]
async fn a_job_is_leased_again_until_it_is_ended_or_lost() {
    let (door, scanner) = (Door::new().await, Scanner(3));
    assert_eq!(door.call(scanner, "lease", "wait: 0\n").await.status, 204);
    let job = door.offer(JobOf::default()).await;
    let other = door.offer(JobOf { batch: 1, ..JobOf::default() }).await;
    let leased = door.call(scanner, "lease", "wait: 30\n").await;
    assert_eq!((leased.status, hash(&leased.text)), (200, job.clone()));
    assert_eq!(hash(&door.call(scanner, "lease", "wait: 30\n").await.text), job);
    assert_eq!(door.text("SELECT CAST(count(*) AS TEXT) FROM want").await, "0");

    let renew = format!("job: {job}\ndone: 5\nopen: 1\nrate: 100\n");
    assert_eq!(door.call(scanner, "renew", &renew).await.get("state"), "go");
    assert_eq!(door.call(Scanner(4), "renew", &renew).await.get("state"), "lost");
    let waiting = format!("job: {other}\ndone: 5\nopen: 1\nrate: 100\n");
    assert_eq!(door.call(scanner, "renew", &waiting).await.get("state"), "lost", "it was not given out");
    door.write(|tx| tx.execute("UPDATE job SET cancel = 1 WHERE batch = 0", [])).await;
    assert_eq!(door.call(scanner, "renew", &renew).await.get("state"), "cancel");
    assert_eq!(
        door.text("SELECT done || '/' || open || '/' || rate FROM job WHERE batch = 0").await,
        "5/1/100"
    );

    let end = format!("job: {job}\nstate: cancelled\ndetail: as asked\n");
    assert_eq!(door.call(Scanner(4), "end", &end).await.slug(), (409, "unknown-job".to_owned()));
    for _ in 0..2 {
        assert_eq!(door.call(scanner, "end", &end).await.get("ok"), "yes");
    }
    assert_eq!(
        door.text("SELECT state || ' ' || end_state || ' ' || end_detail FROM job WHERE batch = 0").await,
        "ended cancelled as asked"
    );
    assert_eq!(door.call(scanner, "renew", &renew).await.get("state"), "lost");
    assert_eq!(hash(&door.call(scanner, "lease", "wait: 30\n").await.text), other);
    assert_eq!(
        door.call(scanner, "end", &end.replace("cancelled", "well")).await.slug(),
        (400, "malformed".to_owned())
    );
}

#[tokio::test]
async fn a_renewal_tells_what_to_leave_alone_and_when_to_rest() {
    let (door, scanner) = (Door::new().await, Scanner(3));
    let job = door.offer(JobOf::default()).await;
    door.call(scanner, "lease", "wait: 0\n").await;
    let renew = format!("job: {job}\ndone: 5\nopen: 1\nrate: 100\n");
    let answer = door.call(scanner, "renew", &renew).await;
    assert_eq!(answer.text, "state: go\n", "before the manager has told it, nothing is known");
    assert_eq!(door.call(scanner, "exclusions", "").await.slug(), (503, "unavailable".to_owned()));
    door.write(|tx| tx.execute("INSERT INTO exclusions VALUES (1, 'abc', '10.0.0.5, fd00::/64')", [])).await;
    door.write(|tx| tx.execute("UPDATE job SET pause = 1", [])).await;
    assert_eq!(door.call(scanner, "renew", &renew).await.text, "state: pause\nexclusions: abc\n");
    assert_eq!(door.call(scanner, "exclusions", "").await.text, "10.0.0.5, fd00::/64");
    door.write(|tx| tx.execute("UPDATE job SET cancel = 1", [])).await;
    assert_eq!(door.call(scanner, "renew", &renew).await.get("state"), "cancel");
}

#[tokio::test]
async fn who_waits_for_work_is_woken_by_it_and_by_a_stop() {
    let (door, scanner) = (Door::new().await, Scanner(3));
    let waits = |door: &Door| {
        let (router, request) = (door.router.clone(), scanner.request(&door.clock, "lease", "wait: 30\n"));
        tokio::spawn(router.oneshot(request))
    };
    let waiting = waits(&door);
    let mut watch = door.jobs.watch();
    while door.text("SELECT CAST(count(*) AS TEXT) FROM want").await == "0" {
        watch.changed().await;
    }
    door.offer(JobOf::default()).await;
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    door.write(|tx| tx.execute("DELETE FROM job", [])).await;
    let waiting = waits(&door);
    door.asker.ask();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 204);
}

#[tokio::test]
async fn a_wait_that_is_over_does_not_end_a_later_one() {
    let (door, scanner) = (Door::new().await, Scanner(3));
    let now = door.clock.now();
    let (early, late) = (now + Duration::from_secs(1), now + Duration::from_secs(30));
    door.jobs.write(move |tx| store::want(tx, id(scanner.0), early)).await.unwrap();
    door.jobs.write(move |tx| store::want(tx, id(scanner.0), late)).await.unwrap();
    door.jobs.write(move |tx| store::want_no_more(tx, id(scanner.0), early)).await.unwrap();
    assert_eq!(door.text("SELECT CAST(count(*) AS TEXT) FROM want").await, "1");
    door.jobs.write(move |tx| store::want_no_more(tx, id(scanner.0), late)).await.unwrap();
    assert_eq!(door.text("SELECT CAST(count(*) AS TEXT) FROM want").await, "0");
}

#[tokio::test]
async fn results_are_kept_before_the_receipt_and_only_from_their_own_scanner() {
    let door = Door::new().await;
    let job = JobOf::default().frame();
    door.offer(JobOf::default()).await;
    let all = vec![hosts("10.0.0.0", "10.0.0.255", Reason::NoAnswer)];
    let text = |frame: &frame::Frame| String::from_utf8(frame.bytes().to_vec()).unwrap();
    let whole = frame_signed_by(3, &results(&job, 0, 0, true, all.clone()));
    let receipt = door.call(Scanner(3), "results", &text(&whole)).await;
    assert_eq!((receipt.status, receipt.get("frame")), (200, hex::encode(&whole.hash())), "{}", receipt.text);
    assert_eq!(door.call(Scanner(3), "results", &text(&whole)).await.status, 200, "sent twice");
    assert_eq!(door.spooled(), 1);
    let size = whole.bytes().len().to_string();
    assert_eq!(door.text("SELECT CAST(bytes AS TEXT) FROM job").await, size, "and counted once");
    door.write(|tx| tx.execute("UPDATE job SET bytes = 1 << 60", [])).await;
    let full = door.call(Scanner(3), "results", &text(&whole)).await;
    assert_eq!(full.status, 200, "a receipt that was lost is given again, whatever there is of the job");

    assert_eq!(
        door.call(Scanner(4), "results", &text(&whole)).await.slug(),
        (422, "unknown-scanner".to_owned())
    );
    let forged = frame_signed_by(4, &results(&job, 0, 0, true, all.clone()));
    assert_eq!(
        door.call(Scanner(3), "results", &text(&forged)).await.slug(),
        (422, "bad-signature".to_owned())
    );
    let tampered = text(&whole).replace("no-answer", "reset-late");
    assert_eq!(door.call(Scanner(3), "results", &tampered).await.slug(), (422, "malformed".to_owned()));
    let other = JobOf { batch: 7, ..JobOf::default() }.frame();
    let unknown = frame_signed_by(3, &results(&other, 0, 0, true, all));
    assert_eq!(
        door.call(Scanner(3), "results", &text(&unknown)).await.slug(),
        (409, "unknown-job".to_owned())
    );
    assert_eq!(door.spooled(), 1);
}

#[tokio::test]
async fn what_is_refused_changes_nothing_and_is_noted_with_its_source() {
    let (door, scanner) = (Door::new().await, Scanner(3));
    let beat = "version: 0.1.0\nclock: 5\n";
    let late = scanner.request(&door.clock, "heartbeat", beat);
    door.hand.advance(Duration::from_secs(61));
    let refused = door.send(late).await;
    assert_eq!(refused.slug(), (401, "clock".to_owned()));
    assert_eq!(refused.get("now"), door.clock.now().micros().to_string());
    let bare = request("/scanner/v1/heartbeat", beat).body(Body::from(beat)).unwrap();
    assert_eq!(door.send(bare).await.slug(), (401, "no-certificate".to_owned()));
    assert_eq!(
        door.call(Scanner(5), "heartbeat", beat).await.slug(),
        (401, "unknown-certificate".to_owned())
    );
    door.write(|tx| tx.execute("UPDATE scanner SET revoked = 1", [])).await;
    assert_eq!(door.call(scanner, "heartbeat", beat).await.slug(), (401, "revoked".to_owned()));
    assert_eq!(door.text("SELECT CAST(count(*) AS TEXT) FROM presence").await, "0");
    let mut watch = door.jobs.watch();
    let noted = "SELECT coalesce(group_concat(reason || ' ' || source || ' ' || (scanner <> ''), ', '), '')
                 FROM (SELECT * FROM refusal ORDER BY reason)";
    let all =
        "clock 10.0.0.9 1, no-certificate 10.0.0.9 0, revoked 10.0.0.9 1, unknown-certificate 10.0.0.9 0";
    while door.text(noted).await != all {
        watch.changed().await;
    }
}

#[tokio::test]
async fn what_is_no_call_is_not_answered_as_one() {
    let (door, scanner) = (Door::new().await, Scanner(3));
    assert_eq!(door.call(scanner, "nothing", "").await.slug(), (404, "not-found".to_owned()));
    let get =
        HttpRequest::get("/scanner/v1/lease").extension(ConnectInfo(SocketAddr::from(([10, 0, 0, 9], 1))));
    assert_eq!(
        door.send(get.body(Body::empty()).unwrap()).await.slug(),
        (405, "method-not-allowed".to_owned())
    );
    for (call, body) in
        [("lease", "wait: soon\n"), ("renew", "job: x\n"), ("heartbeat", "version: 1\n"), ("end", "\u{1}")]
    {
        assert_eq!(door.call(scanner, call, body).await.slug(), (400, "malformed".to_owned()), "{call}");
    }
    let much = "x".repeat(MAX_BODY + 1);
    assert_eq!(door.call(scanner, "renew", &much).await.slug(), (413, "too-large".to_owned()));
}

#[tokio::test]
async fn strangers_who_are_slow_hold_no_place_of_a_scanner_and_not_for_long() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let door = Door::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let service = door.router.clone().into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(async move { axum::serve(listener, service).await });
    // A head, and never a body: from eight addresses, as many as there are places for strangers.
    let mut held = Vec::new();
    for n in 0..128 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 3, 1 + n / 16], 0))).unwrap();
        let mut stream = socket.connect(at).await.unwrap();
        let head = "POST /scanner/v1/enrol HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let stranger = || request("/scanner/v1/enrol", "").body(Body::empty()).unwrap();
    while door.send(stranger()).await.status != 429 {
        tokio::task::yield_now().await;
    }
    let beat = "version: 0.1.0\nclock: 5\n";
    assert_eq!(door.call(Scanner(3), "heartbeat", beat).await.status, 200, "scanners have their own places");
    for stream in &mut held {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408");
    }
    assert_eq!(door.send(stranger()).await.status, 400, "the places are free again");
    serving.abort();
}
