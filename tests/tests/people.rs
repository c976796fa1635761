//! A person's way in, in a real browser: an account, a link, a password, a proof, the way out.

use portolan_tests::Site;
use portolan_tests::browser::{Browser, Window};
use portolan_tests::site::{OWNER, PASSWORD};

const OWN: &str = "lantern over the mole";

fn sign_in(browser: &Browser, name: &str, password: &str) {
    browser.goto("/sign-in");
    browser.fill("name", name);
    browser.fill("password", password);
    browser.follow("Sign in");
}

/// Makes an account as an administrator does, and gives the link by which its person sets a password.
fn account_with_link(browser: &Browser, name: &str) -> String {
    browser.goto("/users/new");
    browser.fill("name", name);
    browser.fill("display", "Grace Hopper");
    browser.run("document.querySelector('input[name=roles][value$=\"0003\"]').click()");
    browser.follow("Make account");
    assert!(browser.text().contains("Nobody can sign in with it."), "{}", browser.text());
    let page = browser.path();
    browser.goto(&format!("{page}/reset"));
    browser.follow("Make the link");
    browser.text_of("#reset-link").trim().to_owned()
}

fn walk(window: Window) {
    let site = Site::start();
    let _ = site.set_up();
    let owner = Browser::open(&site.url(), window);
    sign_in(&owner, OWNER, PASSWORD);
    let link = account_with_link(&owner, "grace");
    let path = link.split_once("/reset/").map(|(_, token)| format!("/reset/{token}")).expect("a link");
    assert!(!site.logs().contains(&path[7..]), "the link's secret is in a log");

    let grace = Browser::open(&site.url(), window);
    grace.goto(&path);
    grace.fill("password", "Password1234!");
    grace.fill("password_again", "Password1234!");
    grace.follow("Set password");
    assert!(grace.text().contains("tried first"), "{}", grace.text());
    grace.fill("password", OWN);
    grace.fill("password_again", OWN);
    grace.follow("Set password");
    assert_eq!(grace.path(), "/sign-in", "{}", grace.text());
    sign_in(&grace, "grace", OWN);
    assert_eq!(grace.path(), "/");
    grace.goto(&path);
    assert!(grace.text().contains("Not found"), "a link works once");
    grace.goto("/account");
    assert!(grace.text().contains("This one") && grace.text().contains("viewer"), "{}", grace.text());
    grace.goto("/users");
    assert!(grace.text().contains("Not allowed"), "{}", grace.text());
    assert_eq!(grace.complaints().len(), 2, "the spent link and the page that is not hers");

    owner.goto("/users?q=grace");
    owner.follow("Grace Hopper");
    let page = owner.path();
    owner.goto(&format!("{page}/edit"));
    owner.run("document.querySelector('input[name=must_change]').click()");
    owner.follow("Save");
    owner.follow("End them");
    assert!(owner.text().contains("One session is over."), "{}", owner.text());
    grace.goto("/account");
    assert!(grace.path().starts_with("/sign-in"), "{}", grace.path());
    sign_in(&grace, "grace", OWN);
    assert!(grace.path().starts_with("/sign-in/new-password"), "{}", grace.path());
    grace.fill("password", "another tide another day");
    grace.fill("password_again", "another tide another day");
    grace.follow("Replace and go on");
    assert_eq!(grace.path(), "/", "{}", grace.text());

    owner.goto(&page);
    owner.follow("Disable");
    assert!(owner.text().contains("The account is disabled"), "{}", owner.text());
    grace.goto("/account");
    assert!(grace.path().starts_with("/sign-in"), "out at once");
    owner.goto(&format!("{page}/delete"));
    owner.follow("Delete account");
    assert_eq!(owner.path(), "/users", "{}", owner.text());
    assert!(owner.text().contains("is deleted"), "{}", owner.text());
    for browser in [&owner, &grace] {
        assert_eq!(browser.complaints(), Vec::<String>::new());
    }
}

#[test]
fn a_person_comes_in_by_a_link_and_goes_as_an_administrator_says() {
    walk(Window::DESK);
}

#[test]
fn the_same_on_a_phone_without_scripts() {
    walk(Window::PHONE.without_scripts());
}

#[test]
fn axe_finds_nothing_on_the_pages_of_accounts() {
    let site = Site::start();
    let _ = site.set_up();
    for (window, name) in [(Window::DESK, "grace"), (Window::PHONE.dark(), "alan")] {
        let browser = Browser::open(&site.url(), window);
        sign_in(&browser, OWNER, PASSWORD);
        let link = account_with_link(&browser, name);
        assert_eq!(browser.accessibility(), Vec::<String>::new(), "the link");
        browser.goto(&format!("/users?q={name}"));
        assert_eq!(browser.accessibility(), Vec::<String>::new(), "the list");
        browser.follow("Grace Hopper");
        assert_eq!(browser.accessibility(), Vec::<String>::new(), "the account");
        let page = browser.path();
        let token = link.rsplit('/').next().expect("a link");
        for path in [
            "/users/new",
            &format!("{page}/edit"),
            &format!("{page}/delete"),
            &format!("{page}/owner"),
            &format!("/reset/{token}"),
            "/account",
            "/account/password",
            "/prove",
            "/sessions",
            "/settings/sessions",
            "/settings/sessions/edit",
        ] {
            browser.goto(path);
            assert_eq!(browser.accessibility(), Vec::<String>::new(), "{path}");
        }
    }
}
