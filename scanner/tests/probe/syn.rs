//! `--syn` and jobs whose method is `syn`, over a cable between two network namespaces.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use portolan_scanner::wire::{Method, Reason};

use crate::common::{Link, Namespace, SCANNER, complaint, job, text};

/// What the far end does with what comes: port 80 is open, 81 closed, 82 silent, 83 and 84 refused by a firewall.
const RULES: &str = "add table inet t\n\
    add chain inet t in { type filter hook input priority 0; }\n\
    add rule inet t in tcp dport 82 drop\n\
    add rule inet t in tcp dport 83 reject with icmpx type admin-prohibited\n\
    add rule inet t in tcp dport 84 reject with icmpx type port-unreachable\n";

/// A firewall that loses one packet of a hundred each way.
const LOSS: &str = "add table inet t\n\
    add chain inet t in { type filter hook input priority 0; }\n\
    add chain inet t out { type filter hook output priority 0; }\n\
    add rule inet t in meta l4proto tcp numgen random mod 100 0 counter drop\n\
    add rule inet t out meta l4proto tcp numgen random mod 100 0 counter drop\n";

/// Two namespaces and a cable; something listens at the far end.
pub struct Site {
    pub near: Namespace,
    pub far: Namespace,
    listener: Child,
}

impl Site {
    pub fn new(name: &str) -> Option<Self> {
        let near = Namespace::new(&format!("{name}-n"))?;
        let far = Namespace::new(&format!("{name}-f"))?;
        near.run(&format!("ip link add cable type veth peer name cable netns {}", far.0));
        for (end, host) in [(&near, 1), (&far, 2)] {
            end.run("ip link set cable up");
            end.run(&format!("ip addr add 10.95.0.{host}/24 dev cable"));
            end.run(&format!("ip addr add fd95::{host}/64 dev cable nodad"));
        }
        near.run("ip route add 10.95.1.0/24 via 10.95.0.2");
        near.run("ip route add fd95:1::/64 via fd95::2");
        far.run("ip route add local 10.95.1.0/24 dev lo");
        far.run("ip -6 route add local fd95:1::/120 dev lo");
        let mut listener = far
            .command(std::env::current_exe().unwrap().to_str().unwrap())
            .args(["--exact", "syn::helper_listens", "--nocapture"])
            .env("PORTOLAN_TEST_LISTEN", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(listener.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("listening")));
        Some(Self { near, far, listener })
    }

    /// A firewall at the far end; false, with the reason printed, where there is none.
    pub fn firewall(&self, rules: &str) -> bool {
        let file = std::env::temp_dir().join(format!("{}.nft", self.far.0));
        std::fs::write(&file, rules).unwrap();
        let done = self.far.command("nft").arg("-f").arg(&file).output();
        std::fs::remove_file(&file).unwrap();
        match done {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => {
                println!("skipped: nft: {error}");
                return false;
            }
        }
        true
    }

    fn probe(&self, line: &str) -> Output {
        self.near.probe(&format!("--syn --preset fast --output csv {line}"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

/// Not a test of its own: what listens at the far end, on every address there.
#[test]
fn helper_listens() {
    if std::env::var_os("PORTOLAN_TEST_LISTEN").is_none() {
        return;
    }
    let ports = [80, 1_001, 1_017, 1_042, 1_099];
    let _listeners = ports.map(|port| std::net::TcpListener::bind(("::", port)).unwrap());
    let mail = std::net::TcpListener::bind(("::", 25)).unwrap();
    std::thread::spawn(move || {
        for stream in mail.incoming() {
            // Whoever only asks whether it is open has gone by then.
            let _ = stream.unwrap().write_all(b"220 mail\r\n");
        }
    });
    println!("listening");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// What was found: `first address, first port, last port, state, reason`, with spaces.
fn found(output: &Output) -> Vec<String> {
    let columns = |line: &str| {
        let words: Vec<&str> = line.split(',').collect();
        [&words[..1], &words[2..6]].concat().join(" ")
    };
    let mut lines: Vec<String> = text(output).lines().skip(1).map(columns).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn every_way_a_port_can_be_is_told_over_ipv4_and_ipv6() {
    let Some(site) = Site::new("syn-ways") else { return };
    if !site.firewall(RULES) {
        return;
    }
    let targets = ["10.95.0.2", "10.95.1.7", "fd95::2", "fd95:1::7"];
    let silent = ["10.95.0.9", "fd95::9"];
    let output = site.probe(&format!(
        "--targets {},{} --ports 80-84 --retries 1 --timeout 300",
        targets.join(","),
        silent.join(",")
    ));
    let all = found(&output);
    println!("{}\n{}", text(&output), complaint(&output));
    for target in targets {
        for (port, what) in [
            (80, "open syn-ack"),
            (81, "closed refused"),
            (82, "filtered no-answer"),
            (83, "unreachable prohibited"),
            (84, "unreachable port-unreachable"),
        ] {
            let expected = format!("{target} {port} {port} {what}");
            assert!(all.contains(&expected), "{expected} is not in {all:?}");
        }
    }
    for target in silent {
        let expected = format!("{target} 80 84 unreachable host-unreachable");
        assert!(all.contains(&expected), "{expected} is not in {all:?}");
    }
    assert!(!complaint(&output).contains("not counted"), "nothing came that was not asked for");
}

#[test]
fn what_is_lost_on_the_way_is_asked_again() {
    let Some(site) = Site::new("syn-loss") else { return };
    if !site.firewall(LOSS) {
        return;
    }
    let output =
        site.probe("--targets 10.95.1.0/28,fd95:1::/124 --ports 1000-1099 --retries 4 --timeout 200");
    let open = found(&output).iter().filter(|line| line.ends_with("open syn-ack")).count();
    let closed = found(&output).iter().any(|line| line.ends_with("no-answer"));
    assert!((open, closed) == (32 * 4, false), "{open} open\n{}{}", text(&output), complaint(&output));
}

#[test]
fn what_it_finds_open_is_listened_to() {
    let Some(site) = Site::new("syn-hints") else { return };
    let output = site.probe("--targets 10.95.0.2,fd95::2 --ports 24,25,80 --hints");
    for address in ["10.95.0.2", "fd95::2"] {
        let row = |port| {
            let start = format!("{address},{address},{port},{port},open,syn-ack,");
            let row = text(&output).lines().find(|line| line.starts_with(&start));
            row.unwrap_or_else(|| panic!("{start} in {}{}", text(&output), complaint(&output))).to_owned()
        };
        assert!(row(25).ends_with(r#","says 220 mail\x0d\x0a""#), "{}", row(25));
        assert!(row(80).ends_with(','), "it is silent: {}", row(80));
    }
    assert!(!complaint(&output).contains("connecting instead"), "{}", complaint(&output));
}

#[test]
fn a_rule_that_chooses_another_table_divides_the_targets_too() {
    let Some(site) = Site::new("syn-rule") else { return };
    for (ip, half, gateway) in [("ip", "10.95.1.128/25", "10.95.0.9"), ("ip -6", "fd95:1::8/125", "fd95::9")]
    {
        site.near.run(&format!("{ip} rule add to {half} lookup 95"));
        site.near.run(&format!("{ip} route add default via {gateway} table 95"));
    }
    let output = site.probe("--targets 10.95.1.127-10.95.1.128,fd95:1::7-fd95:1::8 --ports 80");
    let expected = [
        "10.95.1.127 80 80 open syn-ack",
        "10.95.1.128 80 80 unreachable host-unreachable",
        "fd95:1::7 80 80 open syn-ack",
        "fd95:1::8 80 80 unreachable host-unreachable",
    ];
    assert_eq!(found(&output), expected, "{}", complaint(&output));
}

#[test]
fn this_machine_itself_is_connected_to() {
    let Some(site) = Site::new("syn-own") else { return };
    let output = site.probe("--targets 127.0.0.1,10.95.0.1,10.95.0.2,fd95::1 --ports 80 --own");
    assert_eq!(
        found(&output),
        [
            "10.95.0.1 80 80 closed refused",
            "10.95.0.2 80 80 open syn-ack",
            "127.0.0.1 80 80 closed refused",
            "fd95::1 80 80 closed refused"
        ],
        "{}",
        complaint(&output)
    );
    assert!(complaint(&output).contains("connecting to 10.95.0.1, 127.0.0.1, fd95::1: this machine itself"));
}

#[test]
fn without_the_capability_it_says_so_and_connects() {
    let Some(site) = Site::new("syn-cap") else { return };
    let output = site
        .near
        .command("setpriv")
        .args(["--bounding-set=-net_raw", "--inh-caps=-net_raw", SCANNER, "probe"])
        .args("--syn --targets 10.95.0.2,fd95::2 --ports 80-81 --output csv".split(' '))
        .output()
        .unwrap();
    assert!(
        complaint(&output).contains("syn needs CAP_NET_RAW; connecting instead\n"),
        "{}",
        complaint(&output)
    );
    let ways = |at: &str| [format!("{at} 80 80 open syn-ack"), format!("{at} 81 81 closed refused")];
    assert_eq!(found(&output), [ways("10.95.0.2"), ways("fd95::2")].concat());
}

#[test]
fn a_job_can_want_it_and_its_probe_is_confined() {
    let Some(site) = Site::new("syn-job") else { return };
    let mut job = job("10.95.0.2-10.95.0.3,10.95.1.0/30,fd95:1::/126", "79-81");
    job.method = Method::Syn;
    // Each of them answers; on a busy machine not at once.
    job.timeout_ms = 5_000;
    let (blocks, end) =
        Link::start_by(site.near.command(SCANNER), &[], &format!("{}.\n", job.encode())).finish();
    assert_eq!(end, "done");
    for block in &blocks {
        block.check(&job);
    }
    let says = |at: &str| blocks.iter().find_map(|block| block.says(at.parse().unwrap()));
    for at in ["10.95.0.2:80", "10.95.1.3:80", "[fd95:1::1]:80"] {
        assert_eq!(says(at), Some(Reason::SynAck), "{at}");
    }
    assert_eq!(says("10.95.1.3:81"), Some(Reason::Refused));
    assert_eq!(says("10.95.0.3:80"), Some(Reason::HostUnreachable));

    (job.rate, job.block_hosts) = (2, 1_000);
    let mut link = Link::start_by(site.near.command(SCANNER), &[], &format!("{}.\n", job.encode()));
    let begun = Instant::now();
    let status = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", link.child.id())).unwrap();
        if status.contains("Seccomp:\t2") {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{status}");
        std::thread::sleep(Duration::from_millis(5));
    };
    for set in ["CapPrm", "CapEff", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000\n")), "{status}");
    }
    link.order("cancel");
    assert_eq!(link.finish().1, "cancelled");
}
