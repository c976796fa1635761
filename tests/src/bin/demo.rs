//! `make demo`: a new user's first quarter of an hour, done in half a minute on this machine's loopback.
//!
//! `--exit` ends after the story, successfully only if the differences found are exactly those that were made.
//! `--screenshots FOLDER` takes the pictures of the README besides, and ends.
#![forbid(unsafe_code)]

use std::io::{IsTerminal, Read, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portolan_tests::api::{Diff, number, text};
use portolan_tests::browser::{Browser, Window};
use portolan_tests::listeners::{Listener, free_port};
use portolan_tests::site::{OWNER, Site};
use portolan_tests::story::{self, Step, Told};
use serde_json::Value;

const PORT: u16 = 7643;

fn main() -> ExitCode {
    let mut exit = false;
    let mut pictures = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), pictures.is_none()) {
            ("--exit", _) => exit = true,
            ("--screenshots", true) => pictures = arguments.next().map(PathBuf::from),
            _ => {
                eprintln!("usage: portolan-demo [--exit] [--screenshots FOLDER]");
                return ExitCode::from(2);
            }
        }
    }
    run(exit, pictures.as_deref())
}

fn run(exit: bool, pictures: Option<&Path>) -> ExitCode {
    let folder = tempfile::TempDir::with_prefix("portolan-demo-").expect("a temporary folder can be made");
    let wanted = ([127, 0, 0, 1], PORT).into();
    let port = if Listener::bind(wanted).is_ok() { PORT } else { free_port() };
    let site = Site::start_in(folder.path(), ([127, 0, 0, 1], port).into());
    done(&format!("started Portolan with a fresh data folder, {}", site.data().display()));
    let password = password();
    let owner = site.set_up_with(&password);
    done("made the owner with the one-time setup code");

    let told = story::tell(&site, &owner, |step| match step {
        Step::Did(what) => done(&what),
        Step::Scanning(scan) => progress(scan),
    });
    table(&told);
    let path = format!("diff?a={}&b={}", told.first, told.second);
    if let Some(pictures) = pictures {
        let session = owner.cookies();
        photograph(&site.url(), &session, &path, &told, pictures);
    }
    let exact = told.exact();
    if exact {
        println!("The differences found are exactly those that were made.");
    } else {
        println!("The differences found are NOT those that were made:\n{:#?}", told.truth);
    }
    if !exit && pictures.is_none() {
        println!("\n  This page     {}{path}", site.url());
        println!("  Sign in as    {OWNER}");
        println!("  Password      {password}");
        println!("\nThe certificate is the appliance's own: the browser will ask. Ctrl-C ends the demo and");
        println!("removes its folder.");
        wait_for_interrupt();
    }
    if exact { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn done(what: &str) {
    println!("  ✓ {what}");
}

/// One line that is written over and over on a terminal; elsewhere only a scan's end is told.
fn progress(scan: &Value) {
    let (state, done, all) = (text(scan, "state"), number(&scan["done"]), number(&scan["probes"]));
    let line = format!("scan {state}: {done} of {all} probes, {} open", number(&scan["open"]));
    let ended = scan["ended_at"].is_string();
    if stdout().is_terminal() {
        print!("\r\x1b[K  {} {line}{}", if ended { "✓" } else { "…" }, if ended { "\n" } else { "" });
        let _ = stdout().flush();
    } else if ended {
        println!("  ✓ {line}");
    }
}

fn table(told: &Told) {
    let Diff { opened, closed, changed, not_comparable, same } = &told.found;
    println!("\n  what            address and port");
    println!("  --------------  ----------------------------------------");
    for (what, sockets) in [("opened", opened), ("closed", closed)] {
        for socket in sockets {
            println!("  {what:<14}  {socket}");
        }
    }
    println!("  not comparable  {not_comparable} ports of the two moles, covered by one scan only");
    println!("  changed         {changed} ports, between two states that are not open");
    println!("  same            {same} ports\n");
}

/// Twelve random bytes: the demo's owner must not have a password that everyone knows.
fn password() -> String {
    let mut bytes = [0; 12];
    let mut random = std::fs::File::open("/dev/urandom").expect("a Linux machine has /dev/urandom");
    random.read_exact(&mut bytes).expect("/dev/urandom does not end");
    portolan_scanner::wire::hex::encode(&bytes)
}

fn photograph(
    url: &str,
    session: &std::collections::BTreeMap<String, String>,
    diff: &str,
    told: &Told,
    folder: &Path,
) {
    std::fs::create_dir_all(folder).expect("the folder for the pictures can be made");
    let scan = format!("scans/{}", told.second);
    let pictures = [
        ("diff.png", diff, Window::DESK),
        ("overview-dark.png", "", Window::DESK.dark()),
        ("scan-phone.png", scan.as_str(), Window::PHONE),
    ];
    for (name, path, window) in pictures {
        let browser = Browser::open(url, window);
        browser.goto("/sign-in");
        for (cookie, value) in session {
            browser.set_cookie(cookie, value);
        }
        browser.goto(&format!("/{path}"));
        let file = folder.join(name);
        std::fs::write(&file, browser.screenshot()).expect("a picture can be written");
        println!("  ✓ {}", file.display());
    }
}

fn wait_for_interrupt() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime needs nothing but a few descriptors");
    let _ = runtime.block_on(tokio::signal::ctrl_c());
    println!();
}
