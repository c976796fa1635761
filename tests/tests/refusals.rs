//! What must be refused at the scanners' door: each is refused by its name, is in the audit, and on its page.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use portolan_scanner::wire::fields::Fields;
use portolan_scanner::wire::{self, HostRecord, Job, Reason, Results, Sample};
use portolan_tests::api::{Template, list, text};
use portolan_tests::by_hand::ByHand;
use portolan_tests::http::{Endpoint, Request, Response};
use portolan_tests::wait::{PATIENCE, now, wait_until};
use portolan_tests::{Client, Pins, Scanner, Site, tls};
use rusqlite::Connection;
use sha2::{Digest, Sha256};

struct Stage {
    site: Site,
    owner: Client,
    first: ByHand,
    second: ByHand,
    first_id: String,
    first_scanner: Scanner,
    _second_scanner: Scanner,
}

/// A site with two enrolled scanners, neither of them running: the test speaks for them.
fn stage() -> Stage {
    let site = Site::start();
    let owner = site.set_up();
    let vantage = owner.vantage("Lab");
    let enrol = |name: &str| {
        let added = owner.add_scanner(name, &vantage);
        let scanner = Scanner::enrol(name, site.scanners(), &Pins::of(&added), &text(&added, "token"));
        (text(&added["scanner"], "id"), scanner)
    };
    let (first_id, first_scanner) = enrol("first");
    let (_, second_scanner) = enrol("second");
    let first = ByHand::of(&first_scanner, site.scanners());
    let second = ByHand::of(&second_scanner, site.scanners());
    Stage { owner, first, second, first_id, first_scanner, _second_scanner: second_scanner, site }
}

fn heartbeat() -> Vec<u8> {
    format!("version: 0.1.0\nclock: {}\n", now().as_micros()).into_bytes()
}

/// The word that a refusal is named by.
fn slug(answer: &Response) -> String {
    let fields = Fields::parse(&answer.body).unwrap_or_else(|_| panic!("{}", answer.describe()));
    fields.get("error").unwrap_or_else(|| panic!("{}", answer.describe())).to_owned()
}

/// Waits until the audit has a refusal for this reason, and the page of the audit shows it.
fn audited(owner: &Client, reason: &str) {
    let query = format!("action=scanner.refused&outcome=refused&q={reason}");
    let entry = wait_until(&format!("a refusal for {reason} in the audit"), PATIENCE, || {
        owner.audit(&format!("&{query}")).first().cloned()
    });
    let page = owner.page(&format!("/audit?{query}")).expect(200).text();
    assert!(page.contains("scanner.refused"), "{page}");
    let page = owner.page(&format!("/audit/{}", entry["seq"])).expect(200).text();
    assert!(page.contains(reason), "{page}");
}

/// Launches a scan of one host and takes its job by hand.
fn lease(stage: &Stage) -> (String, Job, [u8; 32]) {
    let owner = &stage.owner;
    let template = owner.template(&Template {
        name: "One host",
        subnets: vec![owner.subnet("One", "127.99.0.1/32")],
        port_lists: vec![owner.port_list("Two ports", "7001,7003")],
        scanners: vec![stage.first_id.clone()],
        ..Template::default()
    });
    let scan = owner.launch(&template);
    let answer = wait_until("a job for the first scanner", PATIENCE, || {
        let answer = stage.first.send("/scanner/v1/lease", b"wait: 5\n").expect("ingest answers");
        (answer.status == 200).then_some(answer)
    });
    let signed = wire::split(&answer.body).expect("a job frame");
    (scan, Job::decode(signed.text).expect("a job"), Sha256::digest(&answer.body).into())
}

/// What an honest scanner would say of that job: both ports refused.
fn results(job: &Job, hash: [u8; 32]) -> Results {
    let clock = i64::try_from(now().as_micros()).expect("the clock is not that far");
    let target = job.targets.nth(0).expect("the job has a host");
    Results {
        job: hash,
        block: 0,
        part: 0,
        last: true,
        scanner: job.scanner,
        clock,
        offset: 0,
        started: clock - 2_000_000,
        ended: clock - 1_000_000,
        probes: 2,
        sent: 2,
        sample: Sample::default(),
        hosts: vec![HostRecord {
            first: target,
            last: target,
            base: Reason::Refused,
            exceptions: Vec::new(),
            hints: Vec::new(),
        }],
    }
}

#[test]
fn a_request_that_is_not_the_scanners_own_is_refused() {
    let stage = stage();
    let Stage { owner, first, second, site, .. } = &stage;
    let send = |hand: &ByHand| hand.send("/scanner/v1/heartbeat", &heartbeat()).expect("ingest answers");
    let _ = send(first).expect(200);

    let request = first.request("/scanner/v1/heartbeat", &heartbeat());
    let _ = first.endpoint.send(&request).expect("ingest answers").expect(200);
    let again = first.endpoint.send(&request).expect("ingest answers").expect(401);
    assert_eq!(slug(&again), "replayed");

    let mut changed = first.request("/scanner/v1/heartbeat", &heartbeat());
    changed.body = b"version: 9.9.9\nclock: 0\n".to_vec();
    let answer = first.endpoint.send(&changed).expect("ingest answers").expect(401);
    assert_eq!(slug(&answer), "bad-signature");

    let forged = ByHand { key: SigningKey::from_bytes(&[7; 32]), ..first.clone() };
    assert_eq!(slug(&send(&forged).expect(401)), "bad-signature");
    let wrong_key = ByHand { api_key: second.api_key.clone(), ..first.clone() };
    assert_eq!(slug(&send(&wrong_key).expect(401)), "bad-key");
    // The first one's secrets, but for its certificate: who comes is known by that.
    let wrong_certificate = ByHand { endpoint: second.endpoint.clone(), ..first.clone() };
    assert_eq!(slug(&send(&wrong_certificate).expect(401)), "bad-key");
    let wrong_name = ByHand { id: second.id, ..first.clone() };
    assert_eq!(slug(&send(&wrong_name).expect(401)), "unknown-certificate");
    let late = ByHand { ahead: -3600, ..first.clone() };
    let answer = send(&late).expect(401);
    assert_eq!(slug(&answer), "clock");
    assert!(
        Fields::parse(&answer.body).is_ok_and(|fields| fields.get("now").is_some()),
        "{}",
        answer.describe()
    );

    let ca = std::fs::read(stage.first_scanner.dir().join("ca.der")).expect("an enrolled scanner has the CA");
    let nameless = tls::trusting(&ca, None).expect("the CA is a certificate");
    let endpoint = Endpoint { address: site.scanners(), tls: Some((nameless, "portolan-ingest".into())) };
    let bare = ByHand { endpoint, ..first.clone() };
    assert_eq!(slug(&send(&bare).expect(401)), "no-certificate");

    for reason in ["replayed", "bad-signature", "bad-key", "unknown-certificate", "clock", "no-certificate"] {
        audited(owner, reason);
    }
}

#[test]
fn a_frame_that_is_not_the_scanners_own_is_refused_and_the_true_one_is_counted_once() {
    let stage = stage();
    let Stage { owner, first, second, .. } = &stage;
    let (scan, job, hash) = lease(&stage);
    let honest = results(&job, hash);
    let send = |hand: &ByHand, frame: &str| {
        hand.send("/scanner/v1/results", frame.as_bytes()).expect("ingest answers")
    };

    // The second scanner under the first one's name, with its own signature and with its own request.
    let answer = send(second, &second.seal(honest.encode()));
    assert!((400..500).contains(&answer.status), "{}", answer.describe());
    let under_own_name = Results { scanner: second.id, ..honest.clone() };
    let answer = send(second, &second.seal(under_own_name.encode()));
    assert!((400..500).contains(&answer.status), "{}", answer.describe());
    // The first scanner's request with a frame that someone else sealed, and one changed after it was sealed.
    let answer = send(first, &second.seal(honest.encode()));
    assert!((400..500).contains(&answer.status), "{}", answer.describe());
    let sealed = first.seal(honest.encode());
    let tampered = sealed.replace("closed refused", "filtered no-answer");
    let answer = send(first, &tampered);
    assert!((400..500).contains(&answer.status), "{}", answer.describe());
    // A frame about hosts that the job does not name.
    let mut elsewhere = honest.clone();
    elsewhere.hosts[0].first += 1;
    elsewhere.hosts[0].last += 1;
    let answer = send(first, &first.seal(elsewhere.encode()));
    assert!((400..500).contains(&answer.status), "{}", answer.describe());

    // The true one, twice: acknowledged both times, counted once.
    let _ = send(first, &sealed).expect(200);
    let _ = send(first, &sealed).expect(200);
    let hash = wire::hex::encode(&hash);
    let end = format!("job: {hash}\nstate: done\ndetail: by hand\n");
    let _ = first.send("/scanner/v1/end", end.as_bytes()).expect("ingest answers").expect(200);
    let ended = owner.ended(&scan, PATIENCE, |_| {});
    assert_eq!(text(&ended, "state"), "completed", "{ended}");
    let hosts = owner.get(&format!("/scans/{scan}/hosts")).expect(200).json();
    let hosts = list(&hosts, "items");
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    assert!(
        hosts[0].to_string().contains("refused") && !hosts[0].to_string().contains("no-answer"),
        "{hosts:?}"
    );
    wait_until("a refusal of each scanner's frames in the audit", PATIENCE, || {
        let entries = owner.audit("&action=scanner.refused&outcome=refused");
        let by = |name: &str| entries.iter().any(|entry| entry["actor"]["name"] == name);
        (by("first") && by("second")).then_some(())
    });
}

#[test]
fn a_revoked_scanner_is_refused_from_that_moment() {
    let stage = stage();
    let Stage { owner, first, .. } = &stage;
    let send = || first.send("/scanner/v1/heartbeat", &heartbeat()).expect("ingest answers");
    let _ = send().expect(200);
    let answer = owner.post(&format!("/scanners/{}/revoke", stage.first_id), &serde_json::json!({}));
    assert!(answer.status < 300, "{}", answer.describe());
    let refused = wait_until("the first scanner to be refused", Duration::from_secs(5), || {
        let answer = send();
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(slug(&refused.expect(401)), "revoked");
    audited(owner, "revoked");
    let page = owner.page("/scanners").expect(200).text();
    assert!(page.to_lowercase().contains("revoked"), "{page}");
}

#[test]
fn a_token_is_good_once_and_for_its_time() {
    let mut site = Site::start();
    let owner = site.set_up();
    let vantage = owner.vantage("Lab");
    let added = owner.add_scanner("first", &vantage);
    let (pins, token) = (Pins::of(&added), text(&added, "token"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let enrol = |site: &Site, name: &str, token: &str| {
        let output = Scanner::try_enrol(&folder.path().join(name), site.scanners(), &pins, token);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (enrolled, said) = enrol(&site, "one", &token);
    assert!(enrolled, "{said}");
    let (enrolled, said) = enrol(&site, "two", &token);
    assert!(!enrolled && said.contains("token-used"), "{said}");
    let (enrolled, said) = enrol(&site, "three", &format!("{}Z", &token[..token.len() - 1]));
    assert!(!enrolled && said.contains("token-unknown"), "{said}");
    let other = Pins { ca_sha256: "0".repeat(64), ..pins.clone() };
    let wrong_ca = Scanner::try_enrol(&folder.path().join("four"), site.scanners(), &other, &token);
    assert!(!wrong_ca.status.success(), "another CA than the pinned one was trusted");

    // An hour later: the clock cannot be turned, but the hour that the token has can be.
    let late = text(&owner.add_scanner("late", &vantage), "token");
    site.stop("all");
    let db = Connection::open(site.data().join("config/config.db")).expect("config.db opens");
    let changed = db.execute("UPDATE enrolment_token SET expires_at = made_at + 1 WHERE used_at IS NULL", []);
    assert_eq!(changed.expect("the table is there"), 1);
    drop(db);
    site.run("all");
    let (enrolled, said) = enrol(&site, "five", &late);
    assert!(!enrolled && said.contains("token-expired"), "{said}");

    let owner = site.signed_in();
    for reason in ["token-used", "token-unknown", "token-expired"] {
        audited(&owner, reason);
    }
}

#[test]
fn nothing_is_at_the_scanners_door_but_the_scanner_api() {
    let stage = stage();
    for target in ["/", "/subnets", "/api/v1/subnets", "/scanner/v1/nothing"] {
        let answer = stage.first.endpoint.send(&Request::new("GET", target)).expect("ingest answers");
        assert!([401, 404, 405].contains(&answer.status), "{}", answer.describe());
    }
}
