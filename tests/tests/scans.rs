//! A scan's less happy ends: cancelled half way, its scanner gone for good, seen from two vantages, its list of jobs
//! lost.

use std::fs;
use std::time::Duration;

use portolan_tests::api::{Template, list, number, text};
use portolan_tests::wait::{PATIENCE, wait_until};
use portolan_tests::{Client, Site};
use serde_json::{Value, json};

/// 65,536 hosts with two ports each: seventeen blocks, about a dozen seconds.
fn large(owner: &Client, scanners: Vec<String>) -> String {
    owner.template(&Template {
        name: "Large",
        subnets: vec![owner.subnet("Field", "127.80.0.0/16")],
        port_lists: vec![owner.port_list("Two", "7601-7602")],
        scanners,
        rate: Some(10_000),
        ..Template::default()
    })
}

fn under_way(owner: &Client, scan: &str) -> Value {
    wait_until("a tenth of the scan", PATIENCE, || {
        let now = owner.scan(scan);
        (number(&now["done"]) * 10 > number(&now["probes"])).then_some(now)
    })
}

/// Probes of each state, over all vantages, as the scan's page counts them.
fn covered(scan: &Value) -> u64 {
    let states = ["open", "closed", "filtered", "unreachable"];
    list(scan, "vantages").iter().flat_map(|vantage| states.map(|state| number(&vantage[state]))).sum()
}

#[test]
fn a_cancelled_scan_keeps_what_it_covered_and_says_what_it_did_not() {
    let site = Site::start();
    let owner = site.set_up();
    let (id, _scanner) = owner.enrol(&site, "one", &owner.vantage("Lab"));
    let scan = owner.launch(&large(&owner, vec![id]));
    under_way(&owner, &scan);
    let answer = owner.post(&format!("/scans/{scan}/cancel"), &json!({}));
    assert!(answer.status < 300, "{}", answer.describe());
    let ended = owner.ended(&scan, Duration::from_secs(30), |_| {});
    assert_eq!(text(&ended, "state"), "cancelled", "{ended}");
    let (covered, missing) = (covered(&ended), number(&ended["not_covered_probes"]));
    assert!(covered > 0 && missing > 0, "{ended}");
    assert_eq!(covered + missing, 2 * 65_536, "{ended}");
    // To cancel it again changes nothing, and is told.
    let again = owner.post(&format!("/scans/{scan}/cancel"), &json!({}));
    assert!([200, 409].contains(&again.status), "{}", again.describe());
    assert_eq!(text(&owner.scan(&scan), "state"), "cancelled");
}

#[test]
fn when_a_scanner_is_gone_another_of_its_vantage_finishes() {
    let mut site = Site::fresh().with(&["--lease", "3"]);
    site.run("all");
    let owner = site.set_up();
    let vantage = owner.vantage("Lab");
    let mut pair = [owner.enrol(&site, "first", &vantage), owner.enrol(&site, "second", &vantage)];
    let scan = owner.launch(&large(&owner, pair.iter().map(|(id, _)| id.clone()).collect()));
    let now = under_way(&owner, &scan);
    let holder = text(&list(&now, "batches")[0]["scanner"], "id");
    let (_, scanner) = pair.iter_mut().find(|(id, _)| *id == holder).expect("one of the two has the batch");
    scanner.kill();
    let ended = owner.ended(&scan, Duration::from_secs(90), |_| {});
    assert_eq!(text(&ended, "state"), "completed", "{ended}\n{}", site.logs());
    assert_eq!(covered(&ended), 2 * 65_536, "{ended}");
    let batch = &list(&ended, "batches")[0];
    assert!(number(&batch["epoch"]) >= 2 && batch["scanner"]["id"] != holder.as_str(), "{ended}");
}

#[test]
fn each_vantage_looks_at_the_whole_scope_and_is_counted_apart() {
    let site = Site::start();
    let owner = site.set_up();
    let (inside, _first) = owner.enrol(&site, "inside", &owner.vantage("Inside"));
    let (outside, _second) = owner.enrol(&site, "outside", &owner.vantage("Outside"));
    let scan = owner.launch(&owner.template(&Template {
        name: "Both",
        subnets: vec![owner.subnet("Few", "127.81.0.0/28")],
        port_lists: vec![owner.port_list("Three", "7611-7613")],
        scanners: vec![inside, outside],
        ..Template::default()
    }));
    let ended = owner.ended(&scan, PATIENCE, |_| {});
    assert_eq!(text(&ended, "state"), "completed", "{ended}");
    let vantages = list(&ended, "vantages");
    assert_eq!(vantages.len(), 2, "{ended}");
    assert!(vantages.iter().all(|vantage| number(&vantage["closed"]) == 16 * 3), "{ended}");
    assert_eq!(number(&ended["probes"]), 2 * 16 * 3, "{ended}");
}

#[test]
fn a_lost_jobs_database_costs_time_and_nothing_else() {
    let mut site = Site::start();
    let owner = site.set_up();
    let (id, scanner) = owner.enrol(&site, "one", &owner.vantage("Lab"));
    let scan = owner.launch(&large(&owner, vec![id]));
    under_way(&owner, &scan);
    site.stop("all");
    for file in ["jobs.db", "jobs.db-wal", "jobs.db-shm"] {
        let _ = fs::remove_file(site.data().join("jobs").join(file));
    }
    site.run("all");
    let ended = owner.ended(&scan, Duration::from_secs(120), |_| {});
    assert_eq!(text(&ended, "state"), "completed", "{ended}\n{}\n{}", site.logs(), scanner.log());
    assert_eq!(covered(&ended), 2 * 65_536, "{ended}");
}
