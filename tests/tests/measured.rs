//! What a scan measures beside open and closed, from a real scanner to the page: what ports say, and how complete it is.

use portolan_tests::api::{Template, list, text};
use portolan_tests::browser::{Browser, Window};
use portolan_tests::listeners::{Listener, alone, quiet_ports};
use portolan_tests::site::{OWNER, PASSWORD};
use portolan_tests::wait::PATIENCE;
use portolan_tests::{Client, Site};

/// A page that is also a formula, an escape sequence, and a script.
const RUDE: &[u8] = b"=1+1 <script>document.title = 'taken'</script>\x1b[2J\r\n";
const ESCAPED: &str = r"=1+1 <script>document.title = 'taken'</script>\x1b[2J\x0d\x0a";

fn scanned(owner: &Client, site: &Site, port: u16, hints: bool) -> String {
    let scanner = owner.enrol(site, "one", &owner.vantage("Lab"));
    let template = owner.template(&Template {
        name: "Spoken to",
        subnets: vec![owner.subnet("Few", "127.82.0.0/28")],
        port_lists: vec![owner.port_list("Some", &format!("{port},{}-{}", port + 1, port + 9))],
        scanners: vec![scanner.0],
        hints,
        ..Template::default()
    });
    let scan = owner.launch(&template);
    let ended = owner.ended(&scan, PATIENCE, |_| {});
    assert_eq!(text(&ended, "state"), "completed", "{ended}");
    assert_eq!((&ended["method"], &ended["hints"]), (&"connect".into(), &hints.into()), "{ended}");
    let recall = &list(&ended, "vantages")[0]["recall"];
    // Every address of it answers, so some of the sample does.
    let number = |field: &str| recall[field].as_u64().expect("a number");
    assert!(number("probed") > 0 && number("answered") > 0, "{recall}");
    assert!(
        recall["at_least_percent"].as_f64().is_some_and(|bound| bound > 0.0 && bound < 100.0),
        "{recall}"
    );
    assert!(text(recall, "words").contains("recall ≥ "), "{recall}");
    scan
}

#[test]
fn what_a_port_says_is_on_its_page_in_the_search_and_in_the_file_as_text_only() {
    let _alone = alone();
    let site = Site::start();
    let owner = site.set_up();
    let port = quiet_ports(&["127.82.0.3".parse().expect("an address")], 7_900, 1)[0];
    let open = Listener::saying(([127, 82, 0, 3], port).into(), RUDE).expect("the port was free");
    let scan = scanned(&owner, &site, port, true);
    drop(open);

    let host = owner.get(&format!("/scans/{scan}/hosts/127.82.0.3")).expect(200).json();
    assert_eq!(host["items"][0]["open"][0]["hint"]["says"], ESCAPED, "{host}");
    let file = owner.get(&format!("/scans/{scan}/hosts.csv?state=open")).expect(200).text();
    assert!(file.contains("\"'=1+1 <script>"), "no spreadsheet runs it: {file}");
    let found = owner.get("/search?q=DOCUMENT.title").expect(200).json();
    assert_eq!(found["groups"][0]["title"], "Service hints", "{found}");

    for window in [Window::DESK, Window::PHONE.dark()] {
        let browser = Browser::open(&site.url(), window);
        browser.goto("/sign-in");
        browser.fill("name", OWNER);
        browser.fill("password", PASSWORD);
        browser.follow("Sign in");
        for path in [
            format!("/scans/{scan}/hosts/127.82.0.3"),
            format!("/scans/{scan}/hosts"),
            format!("/scans/{scan}"),
        ] {
            browser.goto(&path);
            assert_ne!(browser.title(), "taken");
            assert_eq!((browser.accessibility(), browser.complaints()), (vec![], vec![]), "{path}");
        }
        browser.goto(&format!("/scans/{scan}/hosts/127.82.0.3"));
        // The page leaves out the end of the line, which almost everything said has.
        let line = ESCAPED.trim_end_matches(r"\x0d\x0a");
        assert!(browser.text().contains(line), "{}", browser.text());
        browser.goto(&format!("/scans/{scan}/hosts?reason=bored"));
        assert!(browser.text().contains("This filter cannot be read"), "{}", browser.text());
        assert_eq!(browser.accessibility(), Vec::<String>::new());
    }
}

#[test]
fn a_port_that_is_not_asked_says_nothing() {
    let _alone = alone();
    let site = Site::start();
    let owner = site.set_up();
    let port = quiet_ports(&["127.82.0.3".parse().expect("an address")], 7_940, 1)[0];
    let _open = Listener::saying(([127, 82, 0, 3], port).into(), RUDE).expect("the port was free");
    let scan = scanned(&owner, &site, port, false);
    let host = owner.get(&format!("/scans/{scan}/hosts/127.82.0.3")).expect(200).json();
    assert_eq!(host["items"][0]["open"][0]["hint"], serde_json::Value::Null, "{host}");
}
