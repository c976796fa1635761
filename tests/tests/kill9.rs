//! `kill -9` of ingest, manager, dispatcher and scanner at random points of running scans: nothing that was
//! acknowledged is lost, nothing counts twice, and the differences are exact.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use portolan_scanner::wire::hex;
use portolan_tests::api::{Diff, Template, text};
use portolan_tests::listeners::{Listener, alone, quiet_ports};
use portolan_tests::site::ROLES;
use portolan_tests::wait::{pause, wait_until};
use portolan_tests::{Client, Site, binaries};
use serde_json::json;
use sha2::{Digest, Sha256};

/// One kill each. A failure is repeated with the same list.
const SEEDS: [u64; 20] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71];
const VICTIMS: [&str; 4] = ["ingest", "scanner", "manager", "dispatcher"];
const LONG: Duration = Duration::from_secs(180);

/// A few well mixed bits from a seed (the finaliser of `SplitMix64`).
fn mixed(seed: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Who is killed, how long after the last one, and how long it stays dead.
fn plan(seed: u64) -> (&'static str, Duration, Duration) {
    let bits = mixed(seed);
    let victim = VICTIMS[usize::try_from(bits % 4).expect("less than four")];
    (victim, Duration::from_millis(20 + (bits >> 8) % 700), Duration::from_millis((bits >> 32) % 400))
}

/// Keeps a second name of every frame that is seen in the scanner's spool: a frame that has left the spool was
/// acknowledged.
struct Watch {
    kept: PathBuf,
    spool: PathBuf,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Watch {
    fn start(spool: PathBuf, kept: PathBuf) -> Watch {
        fs::create_dir_all(&kept).expect("the folder can be made");
        let stop = Arc::new(AtomicBool::new(false));
        let (from, to, ended) = (spool.clone(), kept.clone(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                for name in frames(&from) {
                    // It may be gone by now, or have its second name already.
                    let _ = fs::hard_link(from.join(&name), to.join(&name));
                }
                pause(Duration::from_millis(1));
            }
        });
        Watch { kept, spool, stop, thread }
    }

    /// Name and hash of every frame seen that was acknowledged.
    fn acknowledged(self) -> BTreeMap<String, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watcher does not panic");
        let waiting = frames(&self.spool);
        let seen = frames(&self.kept).into_iter().filter(|name| !waiting.contains(name));
        seen.map(|name| {
            let frame = fs::read(self.kept.join(&name)).expect("the second name is ours");
            (name, hex::encode(&Sha256::digest(frame)))
        })
        .collect()
    }
}

fn frames(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| Path::new(name).extension().is_some_and(|end| end == "frame")).collect()
}

/// Which frame was counted how often, of all scans.
fn counted(data: &Path) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for scan in fs::read_dir(data.join("manager/evidence")).expect("there is evidence").flatten() {
        let lines = fs::read_to_string(scan.path().join("counted")).expect("each scan has its list");
        // A line may be written again after a kill: it says the same then, number and all.
        let lines: BTreeSet<&str> = lines.lines().collect();
        for line in lines {
            let hash = line.split(' ').nth(1).expect("a number and a hash");
            *counts.entry(hash.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Everything that the API says of a scan's hosts.
fn hosts(owner: &Client, scan: &str) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = owner.get(&format!("/scans/{scan}/hosts?limit=500{cursor}")).expect(200).json();
        all.extend(page["items"].as_array().expect("a page has items").iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[test]
fn twenty_kills_lose_nothing_and_count_nothing_twice() {
    let mut site = Site::fresh().with(&["--lease", "5"]);
    for role in ROLES {
        site.run(role);
    }
    let owner = site.set_up();
    let (scanner_id, mut scanner) = owner.enrol(&site, "survivor", &owner.vantage("Lab"));
    let _alone = alone();
    let everywhere = ["0.0.0.0".parse().expect("an address"), "::".parse().expect("an address")];
    let ports = quiet_ports(&everywhere, 7800, 2);
    // Two ports of 65,537 hosts go in seventeen blocks.
    let slow = Template {
        name: "Under fire",
        subnets: vec![owner.subnet("Field", "127.78.0.0/16"), owner.subnet("Six", "::1/128")],
        port_lists: vec![owner.port_list("Ports", &format!("{},{}", ports[0], ports[1]))],
        scanners: vec![scanner_id],
        rate: Some(6_000),
        ..Template::default()
    };
    let fast = owner.template(&Template { name: "Before", rate: Some(30_000), ..slow.clone() });
    let template = owner.template(&slow);
    let at = |number: u16, port: usize| {
        let [high, low] = (number * 601 + 1).to_be_bytes();
        SocketAddr::from(([127, 78, high, low], ports[port]))
    };
    let open = |addresses: &[SocketAddr]| -> Vec<Listener> {
        addresses.iter().map(|address| Listener::on(&address.to_string())).collect()
    };
    let stays: Vec<_> = (0..50).map(|n| at(n, usize::from(n) % 2)).collect();
    let goes: Vec<_> = (50..80).map(|n| at(n, usize::from(n) % 2)).collect();
    let comes: Vec<_> = (70..100).map(|n| at(n, usize::from(n + 1) % 2)).collect();
    let _staying = open(&stays);
    let going = open(&goes);
    let quiet = owner.launch(&fast);
    assert_eq!(text(&owner.ended(&quiet, LONG, |_| {}), "state"), "completed");
    drop(going);
    let _coming = open(&comes);

    let watch = Watch::start(scanner.dir().join("spool"), scanner.dir().with_file_name("kept"));
    let mut scans = vec![owner.launch(&template)];
    for seed in SEEDS {
        let (victim, after, dead) = plan(seed);
        pause(after);
        if victim == "scanner" {
            scanner.kill();
            pause(dead);
            scanner.run();
        } else {
            site.kill(victim);
            pause(dead);
            site.run(victim);
        }
        let current = scans.last().expect("there is one");
        if owner.scan(current)["ended_at"].is_string() {
            scans.push(owner.launch(&template));
        }
    }

    let truth = Diff {
        opened: comes.iter().copied().collect(),
        closed: goes.iter().copied().collect(),
        changed: 0,
        not_comparable: 0,
        same: (65_537 * 2 - comes.len() - goes.len()) as u64,
    };
    for scan in &scans {
        let ended = owner.ended(scan, LONG, |_| {});
        assert_eq!(text(&ended, "state"), "completed", "{ended}\n{}\n{}", site.logs(), scanner.log());
        assert_eq!(owner.diff(&quiet, scan), truth, "scan {scan}");
    }
    let spool = scanner.dir().join("spool");
    wait_until("the scanner's spool to be empty", LONG, || frames(&spool).is_empty().then_some(()));
    assert_eq!(frames(&spool.join("refused")), BTreeSet::new(), "{}", scanner.log());

    let acknowledged = watch.acknowledged();
    assert!(acknowledged.len() >= 12, "only {} frames were seen", acknowledged.len());
    let counted = counted(site.data());
    for (name, hash) in &acknowledged {
        assert_eq!(counted.get(hash), Some(&1), "{name} was acknowledged");
    }
    assert!(counted.values().all(|times| *times == 1), "{counted:?}");

    // The store made anew from the evidence says the same.
    let before: Vec<_> = scans.iter().map(|scan| hosts(&owner, scan)).collect();
    site.stop("manager");
    let run = |arguments: &[&str]| {
        let output =
            std::process::Command::new(binaries::portolan()).args(arguments).arg(site.data()).output();
        let output = output.expect("portolan runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["results", "rebuild", "--data"]);
    run(&["audit", "verify", "--data"]);
    site.run("manager");
    let after: Vec<_> = scans.iter().map(|scan| hosts(&owner, scan)).collect();
    assert_eq!(json!(after), json!(before));
}
