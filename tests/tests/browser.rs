//! What a person sees, in a real browser: with scripts and without, wide and narrow, light and dark.

use portolan_tests::Site;
use portolan_tests::browser::{Browser, Window};
use portolan_tests::site::{OWNER, PASSWORD};

fn sign_in(browser: &Browser) {
    browser.goto("/sign-in");
    browser.fill("name", OWNER);
    browser.fill("password", PASSWORD);
    browser.press("Sign in");
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
    browser.press("Make the owner and sign in");
    assert_eq!(browser.value("name"), OWNER, "what was typed stays: {}", browser.text());
    browser.fill("code", site.setup_code());
    browser.fill("password", PASSWORD);
    browser.fill("password_again", PASSWORD);
    browser.press("Make the owner and sign in");
    assert_eq!(browser.path(), "/", "{}", browser.text());
    browser.goto("/sign-in");
    browser.fill("name", OWNER);
    browser.fill("password", "not this one");
    browser.press("Sign in");
    assert!(browser.text().contains("does not fit"), "{}", browser.text());
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
