//! Markup and scripts in every text that is kept or sent back, on every page.

use std::collections::BTreeMap;

use portolan_scanner::wire::{self, Hint, HostRecord, Job, PortRecord, Reason, Results, Said, Sample, Text};
use portolan_tests::api::{Template, text};
use portolan_tests::browser::{Browser, Window};
use portolan_tests::by_hand::ByHand;
use portolan_tests::client::encode;
use portolan_tests::http::Request;
use portolan_tests::site::PASSWORD;
use portolan_tests::wait::{PATIENCE, now, wait_until};
use portolan_tests::{Client, Pins, Response, Scanner};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::store;
use crate::world::World;

/// Closes what it stands in, whatever that is, and starts what would run.
const MARKUP: &str =
    "\"' autofocus onfocus=ran=1 ></title></textarea></script><x-evil></x-evil><script>ran=1</script>";
/// The same, as a page may show it.
const HARMLESS: &str = "&lt;x-evil&gt;";

/// No page of ours has any of this; asked of the browser, which has read the page as browsers do.
const FOUND: &str = "return [
    ...document.querySelectorAll('x-evil, [onfocus], [autofocus][onfocus], a[href^=\"javascript:\" i], base, object, embed, iframe'),
].map(element => element.outerHTML.slice(0, 200)).concat(window.ran ? ['it ran'] : [])";

/// A page with the text in it, harmless; whether it has it.
fn harmless(answer: &Response) -> bool {
    assert!(answer.status < 500, "{}", answer.describe());
    let kind = answer.header("content-type").unwrap_or_default().to_owned();
    let body = answer.text();
    if !kind.starts_with("text/html") {
        let plain = [
            "application/json",
            "application/problem+json",
            "text/csv",
            "application/octet-stream",
            "text/plain",
        ];
        assert!(
            body.is_empty() || plain.iter().any(|plain| kind.starts_with(plain)),
            "{kind} {}",
            answer.describe()
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        return false;
    }
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!body.contains("<x-evil"), "{}:\n{body}", answer.asked);
    body.contains(HARMLESS)
}

fn browser_of(world: &World) -> Browser {
    let browser = Browser::open(&world.site.url(), Window::DESK);
    browser.goto("/sign-in");
    for (name, value) in world.owner.cookies() {
        browser.set_cookie(&name, &value);
    }
    browser
}

/// A page without what differs between two of a kind: numbers, ids, and what follows.
fn kind(target: &str) -> String {
    let path = target.split('?').next().unwrap_or(target);
    let words = path
        .split('/')
        .map(|word| if word.contains(|letter: char| letter.is_ascii_digit()) { "*" } else { word });
    words.collect::<Vec<_>>().join("/")
}

/// Opens some of each kind in the browser, and reads what came of them. That the text is harmless in all of them has been
/// read already; a browser reads it as browsers do.
fn walk(browser: &Browser, targets: &[String], of_a_kind: usize) {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for target in targets {
        let seen = kinds.entry(kind(target)).or_default();
        *seen += 1;
        if *seen > of_a_kind {
            continue;
        }
        browser.goto(target);
        assert_eq!(browser.run(FOUND), json!([]), "{target}");
    }
    let complaints = browser.complaints();
    let blocked: Vec<&String> =
        complaints.iter().filter(|line| line.contains("Content Security Policy")).collect();
    assert!(blocked.is_empty(), "the policy had to step in: {blocked:?}");
}

#[test]
fn markup_in_a_text_that_is_kept_stays_text_on_every_page() {
    let world = World::new();
    let kept = store::everywhere(&world, MARKUP);
    for thing in &kept {
        println!("{}: in {}", thing.kind, thing.fields.join(", "));
    }
    assert!(kept.iter().filter(|thing| !thing.fields.is_empty()).count() > 9, "most nouns have a name");
    // What a browser calls itself is on the pages of sessions and of the audit.
    let request = Request::new("POST", "/api/v1/sign-in").header("User-Agent", MARKUP);
    let body = json!({ "name": "owner", "password": PASSWORD }).to_string();
    let _ = world.visitor().send(request.body("application/json", body)).expect(200);

    let (mut shown, mut asked) = (Vec::new(), 0);
    for target in store::every_target(&world, &kept) {
        let answer = world.owner.page(&target);
        asked += 1;
        if harmless(&answer) && answer.status == 200 {
            shown.push(target);
        }
    }
    println!("{asked} answers, {} pages show it", shown.len());
    for thing in kept.iter().filter(|thing| !thing.fields.is_empty() && thing.kind != "statements") {
        let page = format!("/{}/{}", thing.kind, thing.id);
        assert!(shown.contains(&page), "{page} shows what it keeps: {shown:#?}");
    }
    walk(&browser_of(&world), &shown, 8);
}

#[test]
fn markup_that_is_sent_back_at_once_stays_text() {
    let world = World::new();
    let typed = encode(MARKUP);
    let mut shown = Vec::new();
    let mut keep = |target: String, answer: Response| {
        if harmless(&answer) {
            shown.push(target);
        }
    };
    for row in world.reading() {
        let path = world.path(row);
        for parameter in world.operation(row)["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] == "query" {
                let target = format!("{path}?{}={typed}", parameter["name"].as_str().expect("a name"));
                keep(target.clone(), world.owner.page(&target));
            }
        }
        let last = row.path.rfind('{').map(|at| format!("{}{typed}", &row.path[..at]));
        for target in [Some(format!("{path}?{typed}={typed}")), Some(format!("{path}/{typed}")), last]
            .into_iter()
            .flatten()
        {
            keep(target.clone(), world.owner.page(&target));
        }
    }
    walk(&browser_of(&world), &shown, 2);
    // A form that comes back with what was typed; a notice and a theme that someone else has set.
    let mut again = 0;
    for row in world.changing().filter(|row| row.method == "POST") {
        let path = world.path(row);
        let like = world.rows.iter().find(|other| other.path == row.path && other.api && other.changes());
        let fields = like.map(|row| store::texts(&world, row)).unwrap_or_default();
        if fields.is_empty() || row.path == "/sign-out" {
            continue;
        }
        let pairs: Vec<(&str, &str)> =
            fields.iter().map(|field| (field.as_str(), MARKUP)).chain([("x", MARKUP)]).collect();
        again += usize::from(harmless(&world.owner.form(&path, &pairs)));
    }
    assert!(again > 10, "forms come back with what was typed: {again}");
    let request = Request::new("GET", "/sign-in").header("Accept", "text/html");
    let cookies = format!("__Host-notice={typed}; __Host-theme={typed}; __Host-trip={typed}");
    let answer = world.site.visitor().send(request.header("Cookie", &cookies));
    assert!(harmless(&answer), "a notice is shown: {}", answer.text());
}

/// What a scanner says of a host that answers like this, and what it calls its own program.
fn scanned(world: &World) -> String {
    let added = world.owner.add_scanner("by-hand", &world.ids["vantages"]);
    let scanner = Scanner::enrol("by-hand", world.site.scanners(), &Pins::of(&added), &text(&added, "token"));
    let hand = ByHand::of(&scanner, world.site.scanners());
    let clock = || i64::try_from(now().as_micros()).expect("the clock is not that far");
    // Printable ASCII of at most so many bytes is all that a version can be.
    let beat = format!("version: {}\nclock: {}\n", &MARKUP[..40], clock());
    let answer = hand.send("/scanner/v1/heartbeat", beat.as_bytes()).expect("ingest answers");
    if answer.status != 200 {
        let beat = format!("version: 0.1.0\nclock: {}\n", clock());
        let _ = hand.send("/scanner/v1/heartbeat", beat.as_bytes()).expect("ingest answers").expect(200);
    }
    let template = world.owner.template(&Template {
        name: "One host",
        subnets: vec![world.owner.subnet("One", "127.99.0.1/32")],
        port_lists: vec![world.owner.port_list("Two ports", "7001,7003")],
        scanners: vec![text(&added["scanner"], "id")],
        hints: true,
        ..Template::default()
    });
    let scan = world.owner.launch(&template);
    let frame = wait_until("a job", PATIENCE, || {
        let answer = hand.send("/scanner/v1/lease", b"wait: 5\n").expect("ingest answers");
        (answer.status == 200).then_some(answer.body)
    });
    let job = Job::decode(wire::split(&frame).expect("a frame").text).expect("a job");
    let target = job.targets.nth(0).expect("the job has a host");
    let hash: [u8; 32] = Sha256::digest(&frame).into();
    let said = Text::escape(format!("=cmd {MARKUP}").as_bytes(), 256).expect("it is not empty");
    let results = Results {
        job: hash,
        block: 0,
        part: 0,
        last: true,
        scanner: job.scanner,
        clock: clock(),
        offset: 0,
        started: clock() - 2_000_000,
        ended: clock() - 1_000_000,
        probes: 2,
        sent: 2,
        sample: Sample::default(),
        hosts: vec![HostRecord {
            first: target,
            last: target,
            base: Reason::Refused,
            exceptions: vec![PortRecord { first: 7001, last: 7001, reason: Reason::SynAck, rtt_us: 90 }],
            hints: vec![Hint { port: 7001, said: Said::Banner(said) }],
        }],
    };
    let sealed = hand.seal(results.encode());
    let _ = hand.send("/scanner/v1/results", sealed.as_bytes()).expect("ingest answers").expect(200);
    let end = format!("job: {}\nstate: done\ndetail: by hand\n", wire::hex::encode(&hash));
    let _ = hand.send("/scanner/v1/end", end.as_bytes()).expect("ingest answers").expect(200);
    let _ = world.owner.ended(&scan, PATIENCE, |_| {});
    scan
}

#[test]
fn what_a_hostile_port_or_scanner_says_stays_text() {
    let world = World::new();
    let scan = scanned(&world);
    let targets = [
        format!("/scans/{scan}"),
        format!("/scans/{scan}/hosts"),
        format!("/scans/{scan}/hosts/127.99.0.1"),
        "/hosts/127.99.0.1".into(),
        "/search?q=x-evil".into(),
        "/search?q=127.99.0.1".into(),
        "/scanners".into(),
        "/".into(),
    ];
    let shown = targets.iter().filter(|target| harmless(&world.owner.page(target).expect(200))).count();
    assert!(shown > 2, "the hint is on its pages: {shown}");
    walk(&browser_of(&world), &targets, 8);
    let table = world.owner.get(&format!("/scans/{scan}/hosts.csv")).expect(200).text();
    assert!(table.contains("\"'=cmd "), "what a spreadsheet would run is defused: {table}");
}

#[test]
fn an_address_that_is_a_script_is_none() {
    let world = World::new();
    let refused = |client: &Client, path: &str, body: Value| {
        let answer = client.post(path, &body).expect(422);
        assert!(!answer.json()["errors"][0]["field"].is_null(), "{}", answer.describe());
    };
    for address in [
        "javascript:alert(1)",
        "JavaScript:alert(1)//https://x",
        "data:text/html,<x>",
        "file:///etc/passwd",
        "https://x/\r\nA:b",
        "https://x/\ta",
    ] {
        let mut hook = crate::world::receiver(address);
        hook["name"] = json!("Other");
        refused(&world.owner, "/receivers", hook);
        for field in [
            "issuer",
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "userinfo_endpoint",
            "end_session_endpoint",
        ] {
            let mut login = crate::world::provider();
            let by_hand = json!("https://127.0.0.1:1/x");
            for end in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
                login[end] = by_hand.clone();
            }
            (login["name"], login["discovery"], login[field]) =
                (json!("Other"), json!(false), json!(address));
            refused(&world.owner, "/providers", login);
        }
    }
}
