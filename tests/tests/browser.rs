//! What a person sees, in a real browser: with scripts and without, wide and narrow, light and dark.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use portolan_tests::browser::{Browser, Window};
use portolan_tests::site::{OWNER, PASSWORD};
use portolan_tests::{Site, story};

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

/// `/scans/0193…/hosts?state=open` → `/scans/{}/hosts`: pages of one kind. Ids, numbers and addresses are left out.
fn kind(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let one_of_many = |part: &str| part.contains(|letter: char| letter.is_ascii_digit() || letter == ':');
    let parts = path.split('/').map(|part| if one_of_many(part) { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Every kind of page that links lead to from the first one, with one example each.
fn every_page(browser: &Browser) -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut ahead = VecDeque::from(["/".to_owned()]);
    while let Some(path) = ahead.pop_front() {
        if pages.contains_key(&kind(&path)) {
            continue;
        }
        browser.goto(&path);
        pages.insert(kind(&path), path);
        let links =
            browser.run("return [...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))");
        let links = links.as_array().into_iter().flatten().filter_map(|link| link.as_str());
        let inside = links.filter(|link| {
            link.starts_with('/') && !link.starts_with("/static") && !link.starts_with("/api")
        });
        // What a browser would save instead of show is no page.
        ahead.extend(inside.filter(|link| !link.contains("csv")).map(str::to_owned));
    }
    pages
}

#[test]
fn every_page_is_accessible_wide_and_narrow_light_and_dark() {
    let site = Site::start();
    let owner = site.set_up();
    let told = story::tell(&site, &owner, |_| {});
    assert!(told.exact());
    let desk = Browser::open(&site.url(), Window::DESK);
    sign_in(&desk);
    let mut pages = every_page(&desk);
    pages.insert("/diff".into(), format!("/diff?a={}&b={}", told.first, told.second));
    let kinds: BTreeSet<&str> = pages.keys().map(String::as_str).collect();
    for wanted in [
        "/",
        "/subnets",
        "/subnets/new",
        "/subnets/{}",
        "/subnets/{}/edit",
        "/templates/{}",
        "/scanners/{}",
        "/vantages",
        "/scans/{}",
        "/scans/{}/hosts",
        "/diff",
        "/audit",
        "/access",
        "/docs",
    ] {
        assert!(kinds.contains(wanted), "no link leads to {wanted}: {kinds:?}");
    }
    let mut findings = Vec::new();
    let phone = Browser::open(&site.url(), Window::PHONE.dark());
    sign_in(&phone);
    for path in pages.values() {
        for browser in [&desk, &phone] {
            browser.goto(path);
            findings.extend(browser.accessibility());
            findings.extend(browser.complaints());
            if browser.title().trim().is_empty() || browser.text().contains("Something failed") {
                findings.push(format!("{path}: {}", browser.text()));
            }
            let over = browser.run("return document.documentElement.scrollWidth - innerWidth");
            if over.as_i64().is_some_and(|pixels| pixels > 0) {
                findings.push(format!("{path}: {over} pixels wider than the window"));
            }
        }
    }
    assert!(
        findings.is_empty(),
        "{} findings on {} pages:\n{}",
        findings.len(),
        pages.len(),
        findings.join("\n")
    );
}
