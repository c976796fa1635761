//! Sign-in by a real provider of OIDC (npm's `oidc-provider`), in a real browser.

use std::fs;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use portolan_tests::browser::{Browser, Window};
use portolan_tests::listeners::free_port;
use portolan_tests::process::Process;
use portolan_tests::site::{OWNER, PASSWORD};
use portolan_tests::wait::{PATIENCE, wait_until};
use portolan_tests::{Client, Site, binaries};
use serde_json::{Value, json};
use tempfile::TempDir;

/// One provider at a time: its port is chosen before it starts, and is in its name.
static ONE: Mutex<()> = Mutex::new(());

/// The provider, and what it says of people.
struct Provider {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
}

impl Provider {
    fn prepare() -> Provider {
        let folder = TempDir::with_prefix("portolan-oidc-").expect("a folder can be made");
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args([
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(folder.path())
            .output()
            .expect("openssl is there");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let provider = Provider { folder, port: free_port(), process: None };
        provider.says("mode", "honest");
        provider
    }

    fn says(&self, file: &str, text: &str) {
        fs::write(self.folder.path().join(file), text).expect("it can be written");
    }

    /// What it tells of grace from now on.
    fn groups(&self, groups: &[&str]) {
        let grace = json!({ "preferred_username": "grace", "name": "Grace Hopper", "groups": groups,
                            "email": "grace@plant.test", "email_verified": true });
        self.says("people.json", &json!({ "grace": grace }).to_string());
    }

    fn start(&mut self, redirect: &str) {
        self.says("redirect", redirect);
        let mut command = Command::new("node");
        command
            .arg(binaries::repository().join("tests/oidc-provider.mjs"))
            .arg(binaries::cache().join("oidc/node_modules"))
            .arg(self.port.to_string())
            .arg(self.folder.path());
        let mut process = Process::start("oidc-provider", &mut command, &self.folder.path().join("log"));
        process.line_after("ready", PATIENCE);
        self.process = Some(process);
    }

    /// Configures it at the site, with its addresses asked from it or typed; gives the address it sends browsers back to.
    fn configure(&self, owner: &Client, site: &str, discovery: bool) -> String {
        let ca = fs::read_to_string(self.folder.path().join("cert.pem")).expect("it was made");
        let issuer = format!("https://localhost:{}", self.port);
        let mut input = json!({ "name": "Site login", "enabled": true, "issuer": issuer, "discovery": discovery,
                                "ca": ca, "client_id": "portolan", "client_secret": "the-secret-of-the-client",
                                "make_accounts": true, "mapping": "ops = operator\nreaders = viewer" });
        if !discovery {
            for (field, path) in [
                ("authorization_endpoint", "auth"),
                ("token_endpoint", "token"),
                ("jwks_uri", "jwks"),
                ("userinfo_endpoint", "me"),
                ("end_session_endpoint", "session/end"),
            ] {
                input[field] = json!(format!("{issuer}/{path}"));
            }
        }
        let made = owner.post("/providers", &input);
        assert_eq!(made.status, 201, "{}", made.describe());
        let id = made.json()["id"].as_str().expect("an id").to_owned();
        format!("{site}sign-in/provider/{id}/back")
    }

    fn printed(&self, line: &str) -> bool {
        self.process.as_ref().is_some_and(|process| process.printed(line).is_some())
    }

    fn came_back(&self) -> String {
        self.process.as_ref().expect("it runs").printed("back ").expect("it sent a browser back")
    }
}

fn me(browser: &Browser) -> Value {
    browser.run("return fetch('/api/v1/me').then(answer => answer.json())")
}

fn may(browser: &Browser, scope: &str) -> bool {
    me(browser)["scopes"].as_array().is_some_and(|scopes| scopes.iter().any(|one| one == scope))
}

/// Proves by the provider that it is still who signed in, as `login` there, and waits for this text.
fn prove(browser: &Browser, login: &str, until: &str) {
    browser.goto("/prove");
    browser.press("Sign in again by Site login");
    wait_until("the provider's form", PATIENCE, || browser.has("[name=login]").then_some(()));
    browser.fill("login", login);
    browser.fill("password", "any");
    browser.submit("button[type=submit]");
    // The provider may ask whether we may know.
    wait_until("what we say", PATIENCE, || {
        let asks = !browser.has("[name=login]") && browser.has("form[action*=\"/interaction/\"]");
        if asks {
            browser.click("button[type=submit]");
        }
        browser.text().contains(until).then_some(())
    });
}

/// Signs in by the provider for the first time: it asks who it is and whether we may know.
fn for_the_first_time(browser: &Browser) {
    browser.goto("/sign-in");
    browser.press("Sign in by Site login");
    wait_until("the provider's form", PATIENCE, || browser.has("[name=login]").then_some(()));
    browser.fill("login", "grace");
    browser.fill("password", "any");
    browser.submit("button[type=submit]");
    let asked = || !browser.has("[name=login]") && browser.has("button[type=submit]");
    wait_until("the provider's question", PATIENCE, || asked().then_some(()));
    browser.click("button[type=submit]");
    wait_until("home", PATIENCE, || (browser.path() == "/").then_some(()));
}

/// Begins at our sign-in page and waits until the browser is at home again, or somewhere with this text.
fn by_provider(browser: &Browser, until: &str) {
    browser.goto("/sign-in");
    browser.press("Sign in by Site login");
    browser.wait_for_text(until);
}

#[test]
fn people_sign_in_by_a_real_provider_and_their_groups_decide_what_they_may() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let site = Site::start();
    let owner = site.set_up();
    let mut provider = Provider::prepare();
    provider.groups(&["ops", "unknown"]);
    let redirect = provider.configure(&owner, &site.url(), true);
    provider.start(&redirect);
    let browser = Browser::open(&site.url(), Window::DESK);

    // The first time the account is made.
    for_the_first_time(&browser);
    assert_eq!(me(&browser)["user"]["name"], "grace");
    assert!(may(&browser, "scans:run"), "{}", me(&browser));
    let first = provider.came_back();

    // The same address again: its state was used, and its browser has nothing of it any more.
    let replayed = site.visitor().page(&first[first.find("/sign-in").unwrap()..]);
    assert_eq!(replayed.status, 409, "{}", replayed.describe());
    browser.goto(&first);
    assert!(browser.text().contains("was not begun in this browser"), "{}", browser.text());

    // Another group there is another role here, at the next sign-in.
    provider.groups(&["readers"]);
    by_provider(&browser, "Grace Hopper");
    assert!(!may(&browser, "scans:run") && may(&browser, "scans:view"), "{}", me(&browser));

    // A token for someone else is not taken.
    provider.says("mode", "wrong-audience");
    by_provider(&browser, "is not taken");
    assert!(browser.text().contains("Invalid audiences"), "{}", browser.text());
    provider.says("mode", "honest");

    // What is dangerous asks again: the provider has her sign in once more, though it knows her.
    provider.groups(&["readers"]);
    by_provider(&browser, "Grace Hopper");
    prove(&browser, "grace", "Proved, for five minutes");
    assert_eq!((browser.path().as_str(), &me(&browser)["user"]["name"]), ("/account", &json!("grace")));
    let proofs = || owner.get("/audit?class=sign-in&action=prove").json()["total"].clone();
    assert_eq!(proofs(), json!(1));
    for mode in ["stale", "silent"] {
        provider.says("mode", mode);
        prove(&browser, "grace", "does not say that you signed in there just now");
    }
    provider.says("mode", "honest");
    prove(&browser, "mallory", "it was someone else who signed in");
    browser.goto("/account");
    assert_eq!(me(&browser)["user"]["name"], "grace", "nor does mallory get her session");
    assert_eq!(proofs(), json!(4), "each is written down, and three were refused");
    prove(&browser, "grace", "Proved, for five minutes");

    // Nobody whose groups give nothing gets an account; grace, who has one, loses what her groups gave.
    provider.groups(&[]);
    by_provider(&browser, "Grace Hopper");
    assert!(!may(&browser, "scans:view"), "{}", me(&browser));

    // Signing out here signs out there, without a question: the provider gets its own token back.
    browser.goto("/account");
    browser.run("document.querySelector('form[action=\"/sign-out\"]').submit()");
    wait_until("our sign-in page, by way of the provider", PATIENCE, || {
        (browser.path() == "/sign-in" && provider.printed("ended")).then_some(())
    });
    browser.press("Sign in by Site login");
    wait_until("the provider, which knows nobody", PATIENCE, || browser.has("[name=login]").then_some(()));

    // With the provider gone the page says so, and passwords still sign in.
    provider.process.take().unwrap().kill();
    by_provider(&browser, "does not answer");
    browser.goto("/sign-in");
    browser.fill("name", OWNER);
    browser.fill("password", PASSWORD);
    browser.follow("Sign in");
    assert_eq!(browser.path(), "/");

    let refused = owner.get("/audit?class=sign-in&outcome=refused").json();
    assert!(refused["total"].as_u64().unwrap() >= 3, "{refused}");
}

#[test]
fn with_addresses_typed_by_hand_people_sign_in_and_what_is_not_for_this_sign_in_is_not_taken() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let site = Site::start();
    let owner = site.set_up();
    let mut provider = Provider::prepare();
    provider.groups(&["ops"]);
    let redirect = provider.configure(&owner, &site.url(), false);
    provider.start(&redirect);
    let browser = Browser::open(&site.url(), Window::DESK);
    for_the_first_time(&browser);
    assert_eq!(me(&browser)["user"]["name"], "grace");
    assert!(may(&browser, "scans:run"), "{}", me(&browser));

    // What an honest provider never says. Each time the sign-in has a state and a nonce of its own.
    for (mode, why) in [
        ("wrong-issuer", "Invalid issuer"),
        ("wrong-nonce", "Invalid nonce"),
        // That of the sign-in before, which was exchanged.
        ("used-code", "it refused the code"),
    ] {
        provider.says("mode", mode);
        by_provider(&browser, "is not taken");
        let said = browser.text();
        assert!(said.contains(why), "{mode}: {said}");
        let refused = owner.get("/audit?class=sign-in&outcome=refused&action=sign-in&limit=1").json();
        let entry = owner.get(&format!("/audit/{}", refused["items"][0]["seq"])).json();
        assert!(entry["detail"].to_string().contains(why), "{mode}: {entry}");
    }
    assert_eq!(me(&browser)["user"]["name"], "grace", "the session from before is not theirs");
}
