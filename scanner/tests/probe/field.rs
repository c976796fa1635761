//! What a scan finds out beyond its ports, over a cable between two network namespaces: how much the network loses, that a
//! host opens everything, that one suffers.

use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use portolan_scanner::recall::recall_at_least;
use portolan_scanner::wire::{Reason, Sample, State};

use crate::common::{Link, SCANNER, complaint, job, text};
use crate::syn::Site;

/// Every fifth SYN is lost, by chance.
const LOSS: &str = "add table inet t\n\
    add chain inet t in { type filter hook input priority 0; }\n\
    add rule inet t in tcp flags syn numgen random mod 5 0 drop\n";

/// Two hosts where port 80 answers for every port, as a SYN proxy does.
const OPEN_ALL: &str = "add table inet t\n\
    add chain inet t pre { type nat hook prerouting priority dstnat; }\n\
    add rule inet t pre ip daddr 10.95.1.5 tcp dport 1-65535 redirect to :80\n\
    add rule inet t pre ip6 daddr fd95:1::5 tcp dport 1-65535 redirect to :80\n";

/// Two hosts that answer some two hundred times, and then no more; what is sent to them after that is counted.
const COLLAPSE: &str = "add table inet t\n\
    add chain inet t in { type filter hook input priority 0; }\n\
    add rule inet t in ip daddr 10.95.1.5 tcp flags syn quota over 12000 bytes counter drop\n\
    add rule inet t in ip6 daddr fd95:1::5 tcp flags syn quota over 16000 bytes counter drop\n";

/// Held by each of these tests: what one sends would keep the answers of another from being heard in time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A scan by each method.
fn by_each_method(site: &Site, line: &str) -> [Output; 2] {
    ["", "--syn"].map(|method| site.near.probe(&format!("--preset fast {method} {line}")))
}

/// What a report says of a host as a whole.
fn summary<'a>(output: &'a Output, address: &str) -> &'a str {
    let start = format!("{address}: ");
    let line = text(output).lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("{address} is not in {}{}", text(output), complaint(output)))
}

/// The network loses a fifth of what is sent, so a probe that is not repeated finds four fifths. The bound of the sample is
/// above the truth in one scan of twenty: of four one or two may be, and none may be far from it.
#[test]
fn the_recall_that_is_said_is_not_above_what_is_found_under_loss() {
    let _alone = alone();
    let Some(site) = Site::new("field-loss") else { return };
    if !site.firewall(LOSS) {
        return;
    }
    let mut above = 0;
    for targets in ["10.95.1.0/26", "fd95:1::/122"] {
        for seed in 1..=2 {
            let mut job = job(targets, "2000-2199");
            (job.seed, job.timeout_ms, job.rate, job.host_rate) = ([seed; 16], 150, 20_000, 20_000);
            let child = Link::start_by(site.near.command(SCANNER), &[], &format!("{}.\n", job.encode()));
            let (blocks, end) = child.finish();
            assert_eq!(end, "done");
            let (mut sample, mut counts) = (Sample::default(), [0; 5]);
            for block in &blocks {
                block.check(&job);
                sample += block.sample;
                for host in &block.hosts {
                    counts.iter_mut().zip(host.counts(&job.ports)).for_each(|(sum, count)| *sum += count);
                }
            }
            // Every port there is closed, and would say so. What the second looks found is no merit of the first.
            let share = |part: u128| f64::from(u32::try_from(part).unwrap());
            let answered = counts[State::Closed as usize] - u128::from(sample.missed);
            let truth = share(answered) / share(job.probes());
            let bound = recall_at_least(&sample).unwrap();
            println!("{targets}: {truth:.4} was found, at least {bound:.4} is said: {sample:?}");
            assert!(sample.missed > 0 && sample.answered > 150, "{sample:?}");
            // A busy machine loses some more.
            assert!((0.6..0.85).contains(&truth), "{truth}");
            assert!((truth - 0.15..truth + 0.05).contains(&bound), "{bound} of {truth}");
            above += u32::from(bound > truth);
        }
    }
    assert!(above <= 2, "{above} of four bounds are above the truth");
}

#[test]
fn a_host_that_opens_everything_is_reported_so_and_its_neighbour_as_it_is() {
    let _alone = alone();
    let Some(site) = Site::new("field-open") else { return };
    if !site.firewall(OPEN_ALL) {
        return;
    }
    let targets = "--targets 10.95.1.5,10.95.1.6,fd95:1::5,fd95:1::6";
    for output in by_each_method(&site, &format!("{targets} --ports 1-1000,1001 --rate 10000 --timeout 300"))
    {
        for host in ["10.95.1.", "fd95:1::"] {
            let said = summary(&output, &format!("{host}5"));
            assert_eq!(said, "every port not probed (open-all)", "{}", complaint(&output));
            assert_eq!(summary(&output, &format!("{host}6")), "3 open, 998 closed");
            let note = format!("{host}5 opens every port it is asked for");
            assert!(complaint(&output).contains(&note), "{}", complaint(&output));
        }
        let open =
            text(&output).lines().filter(|line| line.contains(" open ") && line.contains(" ms")).count();
        assert_eq!(open, 6, "{}", text(&output));
    }
}

#[test]
fn a_host_that_falls_silent_while_it_is_scanned_is_left_alone() {
    let _alone = alone();
    for method in ["", "--syn"] {
        let Some(site) = Site::new("field-silent") else { return };
        if !site.firewall(COLLAPSE) {
            return;
        }
        let targets = "--targets 10.95.1.5,10.95.1.6,fd95:1::5,fd95:1::6";
        let pace = "--host-rate 500 --timeout 200 --retries 1";
        let output = site.near.probe(&format!("--preset fast {method} {targets} --ports 2000-2999 {pace}"));
        for host in ["10.95.1.", "fd95:1::"] {
            let said = summary(&output, &format!("{host}5"));
            let left = said.split(", ").find_map(|part| part.strip_suffix(" not probed"));
            let left: u32 = left.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
            assert!((200..800).contains(&left), "{said}");
            // On a busy machine some of its answers are lost, but it is not left alone.
            let said = summary(&output, &format!("{host}6"));
            assert!(said.contains("closed") && !said.contains("not probed"), "{said} {}", complaint(&output));
            let note = format!("{host}5 shows distress: it answered ");
            assert!(complaint(&output).contains(&note), "{}", complaint(&output));
        }
        // What reached it in vain is what it takes to tell silence from filtered ports: nothing came after that.
        let counted = site.far.command("nft").args(["list", "ruleset"]).output().unwrap();
        let counts: Vec<u32> = text(&counted)
            .split("counter packets ")
            .skip(1)
            .map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(counts.len(), 2);
        assert!(counts.iter().all(|count| (20..700).contains(count)), "{counts:?}");
    }
}

#[test]
fn a_host_that_becomes_slow_while_it_is_scanned_is_left_alone() {
    let _alone = alone();
    let Some(site) = Site::new("field-slow") else { return };
    let line = "probe --preset fast --targets 10.95.1.5,fd95:1::5 --ports 2000-3999 --host-rate 300 --timeout 5000 --retries 2";
    let mut child = site
        .near
        .command(SCANNER)
        .args(line.split(' '))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("firewalls on the way")), "it is about to begin");
    // Their answers are 54 and 74 bytes: some twenty of each go in a second, the others wait for their turn.
    site.far.run("tc qdisc add dev cable root handle 1: htb default 1");
    site.far.run("tc class add dev cable parent 1: classid 1:1 htb rate 17280bit burst 100 cburst 100");
    let said: Vec<String> = said.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    for host in ["10.95.1.5", "fd95:1::5"] {
        let note = format!("{host} shows distress: it answers far later than its ");
        assert!(said.iter().any(|line| line.contains(&note)), "{said:?}");
        let all = summary(&output, host);
        let left = all.split(", ").find_map(|part| part.strip_suffix(" not probed"));
        assert!(left.is_some_and(|left| left.parse::<u32>().unwrap() > 300), "{all}");
        assert!(!all.contains("open"), "{all}");
    }
}

#[test]
fn a_job_reaches_the_scanners_own_addresses_only_if_it_says_so() {
    let _alone = alone();
    let Some(site) = Site::new("field-own") else { return };
    for own in [false, true] {
        let mut job = job("10.95.0.1-10.95.0.2,fd95::1-fd95::2", "25,81");
        job.own = own;
        let child = Link::start_by(site.near.command(SCANNER), &[], &format!("{}.\n", job.encode()));
        let (blocks, end) = child.finish();
        assert_eq!(end, "done");
        let says = |at: &str| blocks.iter().find_map(|block| block.says(at.parse().unwrap())).unwrap();
        for near in ["10.95.0.1:25", "[fd95::1]:25"] {
            assert_eq!(says(near), if own { Reason::Refused } else { Reason::Excluded }, "{near}");
        }
        for far in ["10.95.0.2:25", "[fd95::2]:25"] {
            assert_eq!(says(far), Reason::SynAck, "{far}");
        }
    }
}
