//! The harness itself: a check that cannot fail proves nothing.

use portolan_tests::Listener;
use portolan_tests::browser::{Browser, Window};
use std::net::TcpStream;

#[test]
fn axe_finds_a_fault_where_there_is_one() {
    let browser = Browser::open("", Window::DESK);
    browser.goto(
        "data:text/html,<html><title>A page</title><body><main><h1>x</h1><img src='x'></main></body></html>",
    );
    let findings = browser.accessibility().join("\n");
    assert!(findings.contains("image-alt") && findings.contains("html-has-lang"), "{findings}");
    browser.goto(
        "data:text/html,<html lang=en><title>A page</title><body><main><h1>x</h1></main></body></html>",
    );
    assert_eq!(browser.accessibility(), Vec::<String>::new());
}

#[test]
fn scripts_run_in_a_window_only_when_they_may() {
    let page = "data:text/html,<html lang=en><title>x</title><p>none</p><script>document.title='ran'</script></html>";
    for (window, title) in [(Window::DESK, "ran"), (Window::PHONE.without_scripts().dark(), "x")] {
        let browser = Browser::open("", window);
        browser.goto(page);
        assert_eq!(browser.title(), title);
        assert_eq!(browser.run("return innerWidth"), window.width);
        assert_eq!(browser.run("return matchMedia('(prefers-color-scheme: dark)').matches"), window.dark);
    }
}

#[test]
fn a_dropped_listener_is_closed() {
    let listener = Listener::on("127.77.9.9:0");
    let address = listener.address();
    assert!(TcpStream::connect(address).is_ok());
    drop(listener);
    assert!(TcpStream::connect(address).is_err());
}
