//! How long a sign-in takes over HTTPS, beside the Argon2 that it is made of, in the same run; and whether its time tells
//! which accounts there are.

#![expect(clippy::cast_precision_loss, reason = "figures for a table")]

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use portolan_tests::http::Request;
use portolan_tests::site::{OWNER, PASSWORD};
use portolan_tests::{Client, Line, Site};
use serde_json::json;

use crate::measure::{Draws, quantile, slower};
use crate::scan::table;

/// Wrong tries that one source has in a minute; those that lock an account are five.
const WRONG_ONES: usize = 10;
const LOCKING: usize = 5;
/// How often the samples are drawn again, for the bounds of a difference.
const DRAWN_AGAIN: usize = 2_000;

/// What is asked for.
struct Options {
    tries: usize,
    write: Option<PathBuf>,
}

/// Runs `sign-in [--tries N] [--write FILE]`.
pub fn run(words: &[&str]) -> Result<(), String> {
    let mut options = Options { tries: 400, write: None };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word}: a value is missing"))?;
        match *word {
            "--tries" => {
                let tries = value.parse().ok().filter(|tries| (10..=10_000).contains(tries));
                options.tries =
                    tries.ok_or(format!("{word}: {value:?} is not a number from 10 to 10,000"))?;
            }
            "--write" => options.write = Some(value.into()),
            _ => return Err(format!("{word}: not known")),
        }
    }
    let machine = table::machine();
    let site = Site::start();
    let owner = site.set_up();
    let latency = latency(&site, options.tries)?;
    let kinds = kinds(&site, &owner, options.tries)?;
    let sections =
        [latency_section(&latency, options.tries, &machine), kinds_section(&kinds, options.tries, &machine)];
    for section in &sections {
        print!("{section}");
        if let Some(page) = &options.write {
            table::write(page, table::SIGN_IN, section)?;
        }
    }
    Ok(())
}

/// Milliseconds of each try.
struct Latency {
    bare: Vec<f64>,
    page: Vec<f64>,
    one: Vec<f64>,
    four: Vec<f64>,
    /// Seconds that all of `four` took.
    four_wall: f64,
    /// The parameters of the hash, as it says them.
    parameters: String,
}

/// A source that nobody has come from yet: what is limited by source limits nothing here.
struct Sources(u32);

impl Sources {
    fn next(&mut self) -> IpAddr {
        self.0 += 1;
        let [_, high, middle, low] = self.0.to_be_bytes();
        IpAddr::from([127, 64 + high, middle, low])
    }
}

fn millis(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1_000.0
}

fn sign_in(name: &str, password: &str) -> Request {
    let body = json!({ "name": name, "password": password }).to_string();
    Request::new("POST", "/api/v1/sign-in")
        .header("Sec-Fetch-Site", "same-origin")
        .body("application/json", body)
}

/// Sends it on a new connection; milliseconds from before the connection to after the answer.
fn timed(site: &Site, source: IpAddr, request: &Request, wanted: u16) -> Result<f64, String> {
    let mut line = Line::new(site.visitor().endpoint().clone(), Some(source));
    let started = Instant::now();
    let answer = line.send(request).map_err(|error| error.to_string())?;
    let took = millis(started);
    if answer.status == wanted { Ok(took) } else { Err(answer.describe()) }
}

fn latency(site: &Site, tries: usize) -> Result<Latency, String> {
    let hash = owners_hash(site)?;
    let known = PasswordHash::new(&hash).map_err(|error| error.to_string())?;
    let params = Params::try_from(&known).map_err(|error| error.to_string())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut sources = Sources(0);
    let (right, page) =
        (sign_in(OWNER, PASSWORD), Request::new("GET", "/sign-in").header("Accept", "text/html"));
    let mut found = Latency {
        bare: Vec::new(),
        page: Vec::new(),
        one: Vec::new(),
        four: Vec::new(),
        four_wall: 0.0,
        parameters: hash.split('$').nth(3).unwrap_or_default().to_owned(),
    };
    // In turn, so that whatever else the machine does falls on all of them.
    for _ in 0..tries {
        let started = Instant::now();
        argon2.verify_password(PASSWORD.as_bytes(), &known).map_err(|error| error.to_string())?;
        found.bare.push(millis(started));
        found.page.push(timed(site, sources.next(), &page, 200)?);
        found.one.push(timed(site, sources.next(), &right, 200)?);
    }
    let started = Instant::now();
    let four = std::thread::scope(|scope| {
        let workers = (0..4).map(|worker| {
            let right = &right;
            let mut sources = Sources(0x10_0000 * (worker + 1));
            scope.spawn(move || {
                (0..tries / 4).map(|_| timed(site, sources.next(), right, 200)).collect::<Result<Vec<_>, _>>()
            })
        });
        let workers: Vec<_> = workers.collect();
        workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| "a worker failed".to_owned())?)
            .collect::<Result<Vec<_>, _>>()
    });
    found.four = four?.concat();
    found.four_wall = started.elapsed().as_secs_f64();
    Ok(found)
}

/// The very hash that the appliance checks a password against: its parameters are those of the appliance.
fn owners_hash(site: &Site) -> Result<String, String> {
    let path = site.data().join("config/config.db");
    let read = || {
        let db = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        db.query_row("SELECT password_hash FROM user WHERE is_owner", [], |row| row.get(0))
    };
    read().map_err(|error: rusqlite::Error| error.to_string())
}

/// Puts a hash in the place of this account's that an earlier version with less work would have made.
fn age(site: &Site, id: &str) -> Result<(), String> {
    let params = Params::new(8 * 1024, 1, 1, None).map_err(|error| error.to_string())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password_with_salt(PASSWORD.as_bytes(), b"an older salt of ours");
    let hash = hash.map_err(|error| error.to_string())?.to_string();
    let write = || {
        let db = rusqlite::Connection::open(site.data().join("config/config.db"))?;
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        db.execute("UPDATE user SET password_hash = ? WHERE id = ?", [hash.as_str(), id])
    };
    let rows = write().map_err(|error: rusqlite::Error| error.to_string())?;
    if rows == 1 { Ok(()) } else { Err(format!("there is no account {id}")) }
}

/// Milliseconds of each try of a name of one kind.
struct Kind {
    what: &'static str,
    name: &'static str,
    times: Vec<f64>,
}

/// Tries names of each kind with a wrong password, in turn and in another order each time. A try is on a connection that is
/// open already and from a source of its own, so that no limit and no lock comes into it, but for the account that is
/// locked on purpose.
fn kinds(site: &Site, owner: &Client, tries: usize) -> Result<Vec<Kind>, String> {
    let id = |name: &str, kind: &str| {
        let made = owner.post("/users", &json!({ "name": name, "kind": kind }));
        made.json()["id"].as_str().map(str::to_owned).ok_or(made.describe())
    };
    let with_password = |name: &str| -> Result<String, String> {
        let id = id(name, "person")?;
        let link = owner.post(&format!("/users/{id}/reset"), &json!({}));
        let link = link.json()["url"].as_str().and_then(|url| url.rsplit('/').next().map(str::to_owned));
        let twice = json!({ "password": PASSWORD, "password_again": PASSWORD });
        let set = site.visitor().post(&format!("/reset/{}", link.ok_or("no link")?), &twice);
        if set.status == 200 { Ok(id) } else { Err(set.describe()) }
    };
    with_password("known")?;
    with_password("locked")?;
    age(site, &with_password("older")?)?;
    id("service", "service")?;
    let off = with_password("disabled")?;
    let off = owner.post(&format!("/users/{off}/disable"), &json!({}));
    if off.status != 200 {
        return Err(off.describe());
    }
    let kind = |what, name| Kind { what, name, times: Vec::with_capacity(tries) };
    let mut kinds = vec![
        kind("nobody has the name", "nobody-has-this-name"),
        kind("the same again, which shows the noise", "nor-has-anyone-that"),
        kind("a person", "known"),
        kind("disabled", "disabled"),
        kind("a service, without a password", "service"),
        kind("locked, for the address it is tried from", "locked"),
        kind("a person whose hash was made with less work (m=8192,t=1)", "older"),
    ];
    let (mut sources, mut draws) = (Sources(0x50_0000), Draws::seeded(7));
    let (mut locked_from, mut left) = (sources.next(), 0);
    for _ in 0..tries {
        let mut order: Vec<usize> = (0..kinds.len()).collect();
        (1..order.len()).rev().for_each(|at| order.swap(at, draws.below(at + 1)));
        for at in order {
            let Kind { name, times, .. } = &mut kinds[at];
            let mut source = sources.next();
            if *name == "locked" {
                if left == 0 {
                    locked_from = source;
                    left = WRONG_ONES - LOCKING;
                    for _ in 0..LOCKING {
                        timed(site, source, &sign_in(name, "wrong"), 422)?;
                    }
                }
                left -= 1;
                source = locked_from;
            }
            let mut line = Line::new(site.visitor().endpoint().clone(), Some(source));
            let opened =
                line.send(&Request::new("GET", "/api/v1/jwks.json")).map_err(|error| error.to_string())?;
            if opened.status != 200 {
                return Err(opened.describe());
            }
            let wrong = sign_in(name, "not the password");
            let started = Instant::now();
            let answer = line.send(&wrong).map_err(|error| error.to_string())?;
            times.push(millis(started));
            if answer.status != 422 {
                return Err(answer.describe());
            }
        }
    }
    Ok(kinds)
}

fn latency_section(found: &Latency, tries: usize, machine: &str) -> String {
    let mut text = format!(
        "### Latency\n\nArgon2id with `{}`; {tries} of each, in turn, each sign-in on a new TLS connection.\n{machine}\n\n\
         | what | p50 ms | p95 ms | of the bare Argon2 |\n|---|---:|---:|---:|\n",
        found.parameters
    );
    let bare = quantile(&found.bare, 0.5);
    let four = format!("a sign-in, four at once: {:.0} a second", found.four.len() as f64 / found.four_wall);
    for (what, times) in [
        ("Argon2 alone: the same password against the same hash", &found.bare),
        ("the sign-in page: a TLS connection and no password", &found.page),
        ("a sign-in by password", &found.one),
        (four.as_str(), &found.four),
    ] {
        let (middle, late) = (quantile(times, 0.5), quantile(times, 0.95));
        let ratio = middle / bare;
        writeln!(text, "| {what} | {middle:.1} | {late:.1} | {ratio:.2} × |")
            .expect("writing to a String does not fail");
    }
    text + "\n"
}

fn kinds_section(kinds: &[Kind], tries: usize, machine: &str) -> String {
    let mut text = format!(
        "### Whether the time tells who has an account\n\n{tries} tries of each with a wrong password, in turn, on open connections.\n\
         {machine}\n\n| the name that is tried | p25 ms | p50 ms | p75 ms | median apart ms (95 %) | slower than nobody's |\n\
         |---|---:|---:|---:|---:|---:|\n"
    );
    let nobody = &kinds[0].times;
    let mut draws = Draws::seeded(11);
    for (at, Kind { what, times, .. }) in kinds.iter().enumerate() {
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|part| quantile(times, part));
        let apart = if at == 0 {
            "| | |".to_owned()
        } else {
            let apart = middle - quantile(nobody, 0.5);
            let again = |draws: &mut Draws, times: &[f64]| {
                let drawn: Vec<f64> = (0..times.len()).map(|_| times[draws.below(times.len())]).collect();
                quantile(&drawn, 0.5)
            };
            let apart_again: Vec<f64> =
                (0..DRAWN_AGAIN).map(|_| again(&mut draws, times) - again(&mut draws, nobody)).collect();
            let (from, to) = (quantile(&apart_again, 0.025), quantile(&apart_again, 0.975));
            format!("| {apart:+.3} ({from:+.3} to {to:+.3}) | {:.1} % |", 100.0 * slower(times, nobody))
        };
        writeln!(text, "| {what} | {low:.2} | {middle:.2} | {high:.2} {apart}")
            .expect("writing to a String does not fail");
    }
    text + "\n"
}
