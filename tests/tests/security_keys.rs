//! Security keys in a real browser, with Chromium's virtual authenticator (W3C Web Authentication, section 11).

use portolan_tests::Site;
use portolan_tests::browser::{Browser, Window};
use portolan_tests::site::{OWNER, PASSWORD};
use portolan_tests::wait::{PATIENCE, wait_until};

fn sign_in(browser: &Browser) {
    browser.goto("/sign-in");
    browser.fill("name", OWNER);
    browser.fill("password", PASSWORD);
    browser.follow("Sign in");
}

/// The button stands in a menu that is closed.
fn sign_out(browser: &Browser) {
    browser.run("document.querySelector('form[action=\"/sign-out\"]').submit()");
    wait_until("the sign-in page", PATIENCE, || (browser.path() == "/sign-in").then_some(()));
}

#[test]
fn a_key_is_added_used_after_the_password_and_used_alone() {
    let site = Site::start();
    let _ = site.set_up();
    // Browsers take no key on a site that is open by address.
    let base = site.url().replace("127.0.0.1", "localhost");
    let browser = Browser::open(&base, Window::DESK);
    browser.add_authenticator();
    sign_in(&browser);
    browser.goto("/account/second-factor/keys/new");
    browser.fill("name", "blue");
    browser.submit("form[data-key] button");
    assert!(browser.text().contains("These are shown once"), "{}", browser.text());
    assert_eq!(browser.complaints(), Vec::<String>::new());

    sign_out(&browser);
    sign_in(&browser);
    assert!(browser.path().starts_with("/sign-in/second-factor"), "{}", browser.path());
    browser.submit("form[data-key] button");
    wait_until("home", PATIENCE, || (browser.path() == "/").then_some(()));
    sign_out(&browser);

    browser.goto("/sign-in");
    browser.submit("form[data-key] button");
    wait_until("home", PATIENCE, || (browser.path() == "/").then_some(()));
    assert_eq!(browser.accessibility(), Vec::<String>::new());
    // The same key shows again who it is, before what is dangerous.
    browser.goto("/prove");
    assert_eq!(browser.accessibility(), Vec::<String>::new());
    browser.submit("form[data-key] button");
    wait_until("the account", PATIENCE, || (browser.path() == "/account").then_some(()));
    assert!(browser.text().contains("Proved, for five minutes"), "{}", browser.text());
    browser.goto("/account/second-factor");
    assert!(browser.text().contains("blue"), "{}", browser.text());
    assert_eq!(browser.accessibility(), Vec::<String>::new());

    let by_address = Browser::open(&site.url(), Window::DESK);
    by_address.goto("/sign-in");
    by_address.click("form[data-key] button");
    by_address.wait_for_text("open this site by its name");
}
