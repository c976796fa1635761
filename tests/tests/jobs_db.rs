//! jobs.db may be lost at any time: it is made anew, and scans that run go on to their end.

use std::fs;
use std::time::Duration;

use portolan_tests::api::{Template, number, text};
use portolan_tests::site::ROLES;
use portolan_tests::wait::{pause, wait_until};
use portolan_tests::{Client, Scanner, Site};

const LONG: Duration = Duration::from_secs(120);

/// A scan of 256 hosts x 4 ports that takes a few seconds and is under way.
fn under_way(site: &Site) -> (Client, Scanner, String) {
    let owner = site.set_up();
    let (id, scanner) = owner.enrol(site, "one", &owner.vantage("Lab"));
    let template = owner.template(&Template {
        name: "Slow",
        subnets: vec![owner.subnet("Field", "127.79.0.0/24")],
        port_lists: vec![owner.port_list("Ports", "7901-7904")],
        scanners: vec![id],
        rate: Some(200),
        ..Template::default()
    });
    let scan = owner.launch(&template);
    wait_until("the scan to run", LONG, || (number(&owner.scan(&scan)["done"]) > 0).then_some(()));
    (owner, scanner, scan)
}

fn remove(site: &Site, names: &[&str]) {
    for name in names {
        fs::remove_file(site.data().join("jobs").join(name)).ok();
    }
}

fn goes_on(site: &Site, owner: &Client, scanner: &Scanner, scan: &str) {
    let ended = owner.ended(scan, LONG, |_| {});
    assert_eq!(text(&ended, "state"), "completed", "{ended}\n{}\n{}", site.logs(), scanner.log());
}

#[test]
fn a_jobs_db_that_was_lost_while_nothing_ran_is_made_anew() {
    // With the log of the old one still there: SQLite would write it into the new one.
    for lost in [&["jobs.db"][..], &["jobs.db", "jobs.db-wal", "jobs.db-shm"]] {
        let mut site = Site::start();
        let (_, scanner, scan) = under_way(&site);
        site.kill("all");
        remove(&site, lost);
        site.run("all");
        let owner = site.signed_in();
        goes_on(&site, &owner, &scanner, &scan);
    }
}

#[test]
fn a_jobs_db_that_is_taken_away_from_running_roles_is_made_anew() {
    for lost in [&["jobs.db"][..], &["jobs.db", "jobs.db-wal", "jobs.db-shm"]] {
        let site = Site::start_roles();
        let (owner, scanner, scan) = under_way(&site);
        remove(&site, lost);
        goes_on(&site, &owner, &scanner, &scan);
    }
}

#[test]
fn a_role_that_is_started_again_after_jobs_db_was_lost_finds_the_others() {
    for role in ROLES {
        let mut site = Site::start_roles();
        let (owner, scanner, scan) = under_way(&site);
        remove(&site, &["jobs.db", "jobs.db-wal", "jobs.db-shm"]);
        pause(Duration::from_millis(30));
        site.kill(role);
        site.run(role);
        let owner = if role == "manager" { site.signed_in() } else { owner };
        goes_on(&site, &owner, &scanner, &scan);
    }
}
