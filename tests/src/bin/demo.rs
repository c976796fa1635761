//! `make demo`: a new user's first quarter of an hour, done in half a minute on this machine's loopback.
//!
//! `--exit` ends after the story, successfully only if the differences found are exactly those that were made.
//! `--screenshots FOLDER` fills the appliance further, takes the pictures of the documentation, and ends; `--pages FOLDER`
//! takes every page, wide and narrow, light and dark, with scripts and without.
#![forbid(unsafe_code)]

use std::io::{IsTerminal, Read, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use portolan_tests::Client;
use portolan_tests::api::{Diff, number, text};
use portolan_tests::in_use::InUse;
use portolan_tests::listeners::{Listener, free_port};
use portolan_tests::pictures;
use portolan_tests::site::{OWNER, Site};
use portolan_tests::story::{self, Step, Told};
use serde_json::Value;

const PORT: u16 = 7643;
const USAGE: &str = "usage: portolan-demo [--exit | --screenshots FOLDER | --pages FOLDER]";

/// What is to be done after the story.
enum Then {
    Serve,
    Exit,
    Pictures(PathBuf),
    Pages(PathBuf),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let then = match arguments[..] {
        [] => Then::Serve,
        ["--exit"] => Then::Exit,
        ["--screenshots", folder] => Then::Pictures(folder.into()),
        ["--pages", folder] => Then::Pages(folder.into()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let folder = tempfile::TempDir::with_prefix("portolan-demo-").expect("a temporary folder can be made");
    let wanted = ([127, 0, 0, 1], PORT).into();
    let port = if Listener::bind(wanted).is_ok() { PORT } else { free_port() };
    let site = Site::start_in(folder.path(), ([127, 0, 0, 1], port).into());
    done(&format!("started Portolan with a fresh data folder, {}", site.data().display()));
    let password = password();
    let owner = site.set_up_with(&password);
    done("made the owner with the one-time setup code");
    match then {
        Then::Serve => tell(&site, &owner, Some(&password)),
        Then::Exit => tell(&site, &owner, None),
        Then::Pictures(folder) => {
            pictures::chosen(&site.url(), &InUse::fill(&site, owner, &password), &folder);
            ExitCode::SUCCESS
        }
        Then::Pages(folder) => {
            pictures::all(&site.url(), &InUse::fill(&site, owner, &password), &folder);
            ExitCode::SUCCESS
        }
    }
}

/// Tells the story; with a password, serves until it is interrupted.
fn tell(site: &Site, owner: &Client, serve_as: Option<&str>) -> ExitCode {
    let told = story::tell(site, owner, |step| match step {
        Step::Did(what) => done(&what),
        Step::Scanning(scan) => progress(scan),
    });
    table(&told);
    let exact = told.exact();
    if exact {
        println!("The differences found are exactly those that were made.");
    } else {
        println!("The differences found are NOT those that were made:\n{:#?}", told.truth);
    }
    if let Some(password) = serve_as {
        println!("\n  This page     {}diff?a={}&b={}", site.url(), told.first, told.second);
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

fn wait_for_interrupt() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime needs nothing but a few descriptors");
    let _ = runtime.block_on(tokio::signal::ctrl_c());
    println!();
}
