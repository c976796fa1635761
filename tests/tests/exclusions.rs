//! What is excluded and what is paused, as a target sees it: the real appliance, a real scanner, a scan under way.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portolan_tests::api::{Template, id, list, number, text};
use portolan_tests::wait::{PATIENCE, wait_until};
use portolan_tests::{Client, Scanner, Site};
use serde_json::{Value, json};

/// How soon a running probe must leave an address alone.
const SOON: Duration = Duration::from_secs(5);

/// The host that is watched, and one of IPv6.
const TARGET: &str = "127.90.0.5";
const SIX: &str = "::1";

/// Every port of a range of a host is open, and notes when it was connected to.
struct Watched {
    /// Which port, by its place in the range, and when.
    seen: Arc<Mutex<Vec<(usize, Instant)>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watched {
    fn on(host: &str, ports: std::ops::Range<u16>) -> Self {
        let open = |port| {
            let listener =
                TcpListener::bind((host, port)).unwrap_or_else(|error| panic!("{host}:{port}: {error}"));
            listener.set_nonblocking(true).expect("a socket can be so");
            listener
        };
        let listeners: Vec<TcpListener> = ports.map(open).collect();
        let (seen, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (notes, stop) = (Arc::clone(&seen), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                for (port, _) in
                    listeners.iter().enumerate().filter(|(_, listener)| listener.accept().is_ok())
                {
                    notes.lock().unwrap_or_else(PoisonError::into_inner).push((port, Instant::now()));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { seen, over, thread: Some(thread) }
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn last(&self) -> Option<Instant> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).last().map(|(_, at)| *at)
    }

    /// How often each port was connected to.
    fn times(&self, ports: usize) -> Vec<u64> {
        let mut times = vec![0; ports];
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .for_each(|(port, _)| times[*port] += 1);
        times
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A slow scan of sixteen hosts and one of IPv6 x 200 ports, of which the target has had some connections.
fn under_way(site: &Site, ports: &str, watched: &Watched) -> (Client, Scanner, String) {
    let owner = site.set_up();
    let (scanner_id, scanner) = owner.enrol(site, "one", &owner.vantage("Lab"));
    let template = owner.template(&Template {
        name: "Slow",
        subnets: vec![owner.subnet("Field", "127.90.0.0/28"), owner.subnet("Six", "::1/128")],
        port_lists: vec![owner.port_list("Ports", ports)],
        scanners: vec![scanner_id],
        rate: Some(200),
        ..Template::default()
    });
    let scan = owner.launch(&template);
    wait_until("the target to be connected to", PATIENCE, || (watched.count() >= 3).then_some(()));
    (owner, scanner, scan)
}

#[test]
fn an_exclusion_made_while_a_scan_runs_holds_within_five_seconds_and_is_in_the_results() {
    let site = Site::start();
    let watched = Watched::on(TARGET, 21_000..21_200);
    let six = Watched::on(SIX, 21_000..21_200);
    let (owner, scanner, scan) = under_way(&site, "21000-21199", &watched);
    wait_until("the other to be connected to", PATIENCE, || (six.count() > 0).then_some(()));
    let body = json!({ "addresses": format!("{TARGET}, {SIX}, 192.0.2.0/24"), "reason": "it hums" });
    let made = owner.post("/exclusions", &body).expect(201).json();
    let told = Instant::now();
    let ended = owner.ended(&scan, PATIENCE, |_| {});
    assert!(told.elapsed() > SOON, "the scan went on long enough to tell");
    for host in [&watched, &six] {
        let last = host.last().expect("there were connections");
        let late = last.saturating_duration_since(told);
        println!("the last connection came {late:?} after the exclusion, number {}", host.count());
        assert!(late < SOON, "{late:?}\n{}", scanner.log());
        assert!(host.count() < 200, "{}", host.count());
    }
    assert_eq!(text(&ended, "state"), "partial", "{ended}\n{}", scanner.log());
    assert_eq!(text(&ended, "excluded_since"), format!("{SIX}, {TARGET}"), "{ended}");
    assert!(text(&ended, "detail").contains("2 of 17 hosts were excluded after the launch"), "{ended}");
    for target in [TARGET, SIX] {
        let host = owner.get(&format!("/scans/{scan}/hosts/{target}")).expect(200);
        assert!(host.describe().contains("excluded"), "{}", host.describe());
    }
    let covered: u64 = list(&ended, "vantages").iter().map(|vantage| number(&vantage["closed"])).sum();
    assert_eq!(covered, 15 * 200, "every other host is covered: {ended}");

    // The next scan leaves it out from the beginning, and is whole without it.
    let before = (watched.count(), six.count());
    let template = id(&ended["template"]);
    let next = owner.ended(&owner.launch(&template), PATIENCE, |_| {});
    assert_eq!(
        (text(&next, "state").as_str(), text(&next, "excluded").as_str()),
        ("completed", format!("{SIX}, {TARGET}").as_str()),
        "{next}"
    );
    assert_eq!((watched.count(), six.count()), before);
    let _ = owner.delete(&format!("/exclusions/{}", id(&made))).expect(200);
}

#[test]
fn a_paused_scan_sends_nothing_and_a_resumed_one_goes_on_to_its_end() {
    let site = Site::start();
    let watched = Watched::on(TARGET, 21_300..21_500);
    let (owner, scanner, scan) = under_way(&site, "21300-21499", &watched);
    wait_until("the scanner to say how fast it is", PATIENCE, || {
        (number(&owner.scan(&scan)["rate"]) > 0).then_some(())
    });
    let paused = owner.post(&format!("/scans/{scan}/pause"), &json!({})).expect(200).json();
    assert_eq!(text(&paused, "state"), "paused");
    let renewed = |scan: &Value| text(&list(scan, "batches")[0], "renewed_at");
    // The scanner says itself that it sends nothing any more.
    let rests = wait_until("the scanner to rest", PATIENCE, || {
        let now = owner.scan(&scan);
        (number(&now["rate"]) == 0).then_some(now)
    });
    let (count, mut heard) = (watched.count(), renewed(&rests));
    for _ in 0..2 {
        heard = wait_until("a further sign of life", PATIENCE, || {
            Some(renewed(&owner.scan(&scan))).filter(|now| *now != heard)
        });
    }
    assert_eq!(watched.count(), count, "nothing while it rests\n{}", scanner.log());
    assert_eq!(text(&owner.scan(&scan), "state"), "paused");
    let _ = owner.post(&format!("/scans/{scan}/resume"), &json!({})).expect(200);
    wait_until("it to go on", PATIENCE, || (watched.count() > count).then_some(()));
    let ended = owner.ended(&scan, PATIENCE, |_| {});
    assert_eq!(text(&ended, "state"), "completed", "{ended}\n{}", scanner.log());
    // Each port once, but those that the measure of recall looked at a second time.
    let times = watched.times(200);
    assert!(times.iter().all(|times| [1, 2].contains(times)), "{times:?}");
    let sampled: u64 =
        list(&ended, "vantages").iter().map(|vantage| number(&vantage["recall"]["probed"])).sum();
    let twice = times.iter().sum::<u64>() - 200;
    assert!(twice <= sampled, "{twice} ports of this host twice, {sampled} of all in the sample");
}
