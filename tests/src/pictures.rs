//! Pictures of the pages of a running appliance, for the documentation and for whoever looks them all over.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::browser::{Browser, Window};
use crate::in_use::{InUse, Who};

/// The pictures of the documentation: file, page, window. Few and small: they are read on other people's lines.
const CHOSEN: [(&str, &str, Window); 8] = [
    ("diff.png", "diff", Window::DESK),
    ("overview-dark.png", "overview", Window::DESK.dark()),
    ("scan.png", "scan-show-running", Window::DESK),
    ("scan-phone.png", "scan-show", Window::PHONE),
    ("hosts-phone-dark.png", "hosts", Window::PHONE.dark()),
    ("users.png", "user-list", Window::DESK),
    ("audit-entry.png", "audit-entry", Window::DESK),
    ("compliance-phone.png", "compliance", Window::PHONE),
];

/// Every way in which a page is looked at.
const WAYS: [(&str, Window); 5] = [
    ("desk", Window::DESK),
    ("desk-dark", Window::DESK.dark()),
    ("phone", Window::PHONE),
    ("phone-dark", Window::PHONE.dark()),
    ("phone-plain", Window::PHONE.without_scripts()),
];

/// Takes the chosen pictures: what is in the window.
pub fn chosen(url: &str, there: &InUse, folder: &Path) {
    fs::create_dir_all(folder).expect("the folder for the pictures can be made");
    let pages = there.pages();
    for (file, name, window) in CHOSEN {
        let page = pages.iter().find(|page| page.name == name).expect("it is a page of the list");
        let browser = Browser::open(url, window);
        sign_in(&browser, &there.cookies(page.who));
        page.open(&browser);
        write(&folder.join(file), &browser.screenshot());
    }
}

/// Takes every page in every way, whole, into `folder/WAY/PAGE.png`.
pub fn all(url: &str, there: &InUse, folder: &Path) {
    for (way, window) in WAYS {
        let folder = folder.join(way);
        fs::create_dir_all(&folder).expect("the folder for the pictures can be made");
        let browser = Browser::open(url, window);
        let mut who = Who::Visitor;
        for page in there.pages() {
            if page.who != who {
                who = page.who;
                sign_in(&browser, &there.cookies(who));
            }
            page.open(&browser);
            write(&folder.join(format!("{}.png", page.name)), &browser.whole());
        }
    }
}

/// Puts somebody's session into the browser, in the place of the one before.
pub fn sign_in(browser: &Browser, session: &BTreeMap<String, String>) {
    browser.goto("/docs");
    browser.forget();
    for (cookie, value) in session {
        browser.set_cookie(cookie, value);
    }
}

fn write(file: &Path, picture: &[u8]) {
    fs::write(file, picture).expect("a picture can be written");
    println!("  ✓ {}", file.display());
}
