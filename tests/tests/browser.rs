//! What a person sees, in a real browser: with scripts and without, wide and narrow, light and dark.

use std::collections::BTreeSet;

use portolan_tests::api::{list, text};
use portolan_tests::browser::{Browser, Window};
use portolan_tests::in_use::{InUse, Who};
use portolan_tests::site::{OWNER, PASSWORD};
use portolan_tests::{Site, pictures};

fn sign_in(browser: &Browser) {
    browser.goto("/sign-in");
    browser.fill("name", OWNER);
    browser.fill("password", PASSWORD);
    browser.follow("Sign in");
}

#[test]
fn a_new_user_sets_up_signs_out_and_signs_in_without_scripts() {
    let site = Site::start();
    let browser = Browser::open(&site.url(), Window::PHONE.without_scripts());
    browser.goto("/");
    assert_eq!(browser.path(), "/setup");
    browser.fill("code", "ABCD-EFGH");
    browser.fill("name", OWNER);
    browser.fill("password", PASSWORD);
    browser.fill("password_again", PASSWORD);
    browser.follow("Make the owner and sign in");
    assert_eq!(browser.value("name"), OWNER, "what was typed stays: {}", browser.text());
    browser.fill("code", site.setup_code());
    browser.fill("password", PASSWORD);
    browser.fill("password_again", PASSWORD);
    browser.follow("Make the owner and sign in");
    assert_eq!(browser.path(), "/", "{}", browser.text());
    browser.goto("/sign-in");
    browser.fill("name", OWNER);
    browser.fill("password", "not this one");
    browser.follow("Sign in");
    assert!(browser.text().contains("Does not fit the name"), "{}", browser.text());
    sign_in(&browser);
    assert_eq!(browser.path(), "/");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn axe_finds_nothing_on_the_pages_before_sign_in() {
    let site = Site::start();
    for window in [Window::DESK, Window::PHONE.dark()] {
        let browser = Browser::open(&site.url(), window);
        browser.goto("/setup");
        assert_eq!(browser.accessibility(), Vec::<String>::new());
        browser.press("Make the owner and sign in");
        assert_eq!(browser.accessibility(), Vec::<String>::new());
    }
    let _ = site.set_up();
    let browser = Browser::open(&site.url(), Window::DESK);
    for path in ["/sign-in", "/docs", "/docs/index", "/nothing-here"] {
        browser.goto(path);
        assert_eq!(browser.accessibility(), Vec::<String>::new(), "{path}");
    }
}

/// Makes, finds, changes and deletes a subnet as a person does it.
fn keep_subnets(browser: &Browser) {
    sign_in(browser);
    browser.goto("/subnets");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    browser.goto("/subnets/new");
    browser.fill("name", "Plant");
    browser.fill("cidr", "10.7.0.1/16");
    browser.submit("main form [type=submit]");
    assert_eq!(browser.value("name"), "Plant", "what was typed stays");
    assert!(browser.text().contains("10.7.0.0/16"), "the canonical form is named: {}", browser.text());
    browser.fill("cidr", "10.7.0.0/16");
    browser.submit("main form [type=submit]");
    browser.wait_for_text("10.7.0.0/16");
    assert!(!browser.path().ends_with("/new"), "{}", browser.text());
    let shown = browser.path();

    browser.goto("/subnets?q=plant");
    assert!(browser.text_of("main").contains("Plant"), "{}", browser.text());
    browser.goto("/subnets?q=ship");
    assert!(!browser.text_of("main").contains("10.7.0.0/16"), "{}", browser.text());

    browser.goto(&format!("{shown}/edit"));
    browser.fill("name", "Plant, hall 2");
    browser.submit("main form [type=submit]");
    browser.wait_for_text("Plant, hall 2");
    browser.goto(&format!("{shown}/delete"));
    assert!(browser.text().contains("Plant, hall 2"), "the question names it: {}", browser.text());
    browser.submit("main form [type=submit]");
    browser.goto("/subnets");
    assert!(!browser.text_of("main").contains("Plant, hall 2"), "{}", browser.text());
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn subnets_are_kept_with_scripts_and_without() {
    let site = Site::start();
    let _ = site.set_up();
    keep_subnets(&Browser::open(&site.url(), Window::DESK));
    keep_subnets(&Browser::open(&site.url(), Window::PHONE.without_scripts()));
}

/// What is no page, or is a page only once: before there is an owner, on the way back from a provider, with a security
/// key plugged in. Those have tests of their own.
const NO_PAGES: [&str; 12] = [
    "/scans/{id}/hosts.csv",
    "/diff.csv",
    "/install.sh",
    "/scanner/portolan-scanner",
    "/scanner/portolan-scanner.minisig",
    "/scanner/scanner.pub",
    "/me",
    "/jwks.json",
    "/setup",
    "/sign-in/provider/{id}/back",
    "/account/second-factor/keys/{id}/delete",
    "/sign-in/second-factor/app",
];

/// The route that a path belongs to: of those with as many parts, the one with the fewest of them left open.
fn route<'a>(routes: &'a [String], path: &str) -> Option<&'a str> {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let open = |part: &&str| part.starts_with('{');
    let fits = |route: &&String| {
        let any = route
            .split_once("{*")
            .is_some_and(|(start, _)| path.len() > start.len() && path.starts_with(start));
        let same = route.split('/').count() == path.split('/').count();
        any || same
            && route.split('/').zip(path.split('/')).all(|(wanted, part)| open(&wanted) || wanted == part)
    };
    let found = routes.iter().filter(fits).min_by_key(|route| route.split('/').filter(open).count());
    found.map(String::as_str)
}

#[test]
fn every_page_is_accessible_wide_and_narrow_light_and_dark() {
    let site = Site::start();
    let owner = site.set_up();
    let there = InUse::fill(&site, owner, PASSWORD);
    let table = there.owner.get("/access").expect(200).json();
    let pages = list(&table, "rows").iter().filter(|row| row["method"] == "GET");
    let routes: Vec<String> = pages.map(|row| text(row, "path")).collect();
    let mut unseen: BTreeSet<&str> =
        routes.iter().map(String::as_str).filter(|route| !NO_PAGES.contains(route)).collect();
    let mut findings = Vec::new();
    for window in [Window::DESK, Window::PHONE.dark()] {
        let browser = Browser::open(&site.url(), window);
        let mut who = Who::Visitor;
        for page in there.pages() {
            if page.who != who {
                who = page.who;
                pictures::sign_in(&browser, &there.cookies(who));
            }
            page.open(&browser);
            let expected = page.name.starts_with("error-") || page.name.ends_with("-gone");
            let found = browser.findings();
            findings.extend(found.into_iter().filter(|one| !(expected && one.contains("Failed to load"))));
            for path in [browser.path().as_str(), page.path.as_str()] {
                if let Some(route) = route(&routes, path) {
                    unseen.remove(route);
                }
            }
        }
    }
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    assert!(unseen.is_empty(), "no page of tests/src/in_use/pages.rs is at {unseen:?}");
}
