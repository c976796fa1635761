//! `portolan-scanner probe` by hand, against real listeners on loopback and in namespaces.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Namespace, SCANNER, complaint, listen, probe, text};

#[test]
fn open_ports_are_found_on_ipv4_and_ipv6_and_nothing_else_is() {
    let (_one, one) = listen("127.81.0.2");
    let (_two, two) = listen("127.81.0.2");
    let (_six, six) = listen("::1");
    let ports = format!("{},{},{},1-99", one.port(), two.port(), six.port());
    let output = probe(&format!("--targets 127.81.0.1-127.81.0.3,::1 --ports {ports} --preset fast"));
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let open: BTreeSet<String> = text(&output)
        .lines()
        .filter_map(|line| line.split_once(" open ").filter(|(_, rest)| rest.ends_with(" ms")))
        .map(|(socket, _)| socket.to_owned())
        .collect();
    assert_eq!(open, BTreeSet::from([one, two, six].map(|at| at.to_string())));
    assert!(text(&output).contains("127.81.0.1: every port closed (refused)\n"));
    assert!(text(&output).contains("127.81.0.2: 2 open, 100 closed\n"));
    let last = text(&output).lines().last().unwrap();
    // One of fifty is probed a second time.
    let said = |attempts| format!("4 hosts, 408 probes, {attempts} connection attempts in ");
    assert!(last.starts_with(&said(416)) || last.starts_with(&said(417)), "{last}");
    assert!(last.ends_with(": 3 open, 405 closed, 0 filtered, 0 unreachable, 0 not probed"), "{last}");
}

#[test]
fn that_nobody_reads_what_it_says_aside_is_no_reason_to_end() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(SCANNER);
    command.args("probe --targets 127.81.9.1,::1 --ports 100-104 --preset fast".split(' ')).stderr(writer);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output).contains(": 0 open, 10 closed"), "{}", text(&output));
}

#[test]
fn json_lines_say_the_same() {
    let (_one, one) = listen("127.81.1.1");
    let (_six, six) = listen("::1");
    let ports = format!("1-10,{},{}", one.port(), six.port());
    let output = probe(&format!("--targets 127.81.1.0/30,::1 --ports {ports} --json --preset fast"));
    let lines: Vec<&str> = text(&output).lines().collect();
    assert!(lines.iter().all(|line| line.starts_with('{') && line.ends_with('}')));
    for at in [one, six] {
        let (ip, port) = (at.ip(), at.port());
        let port = format!(r#""address":"{ip}","port":{port},"state":"open","reason":"syn-ack""#);
        assert_eq!(lines.iter().filter(|line| line.contains(&port)).count(), 1);
    }
    let last = lines.last().unwrap();
    assert!(
        last.starts_with(r#"{"type":"summary","end":"done","hosts":5,"hosts_not_reached":0,"probes":60,"#)
    );
    assert!(last.contains(r#""open":2,"closed":58,"filtered":0,"unreachable":0,"not_probed":0"#), "{last}");
}

#[test]
fn an_excluded_address_is_not_touched() {
    let (open, at) = listen("127.81.2.2");
    let (open_six, six) = listen("::1");
    open.set_nonblocking(true).unwrap();
    open_six.set_nonblocking(true).unwrap();
    let ports = format!("{},{}", at.port(), six.port());
    let line = format!("--targets 127.81.2.0/29,::1 --exclude 127.81.2.2,::1 --ports {ports} --preset fast");
    let output = probe(&line);
    assert!(
        text(&output).ends_with("14 closed, 0 filtered, 0 unreachable, 0 not probed\n"),
        "{}",
        text(&output)
    );
    assert!(open.accept().is_err() && open_six.accept().is_err(), "nobody connected");
}

#[test]
fn a_wrong_command_line_names_the_flag_and_does_nothing() {
    for (line, sentence) in [
        ("--targets 10.0.0.0/33 --ports 1", "--targets: \"10.0.0.0/33\" is not a subnet"),
        (
            "--targets ::/0 --ports 1-65535",
            "--targets: 340282366920938463463374607431768211455 hosts x 65535 ports are",
        ),
        ("--targets 127.0.0.1 --ports 0,70000,http", "--ports: \"0\" is not a port"),
        ("--targets 127.0.0.1 --ports 80 --rate fast", "--rate: \"fast\" is not a number"),
        ("", "--targets: "),
        ("--job job.txt", "\"--job\" is not a flag"),
    ] {
        let output = probe(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert_eq!(text(&output), "", "{line}");
        assert!(complaint(&output).contains(sentence), "{line}: {}", complaint(&output));
    }
}

#[test]
fn a_rate_is_kept() {
    let line = "--targets 127.81.3.1-127.81.3.3,::1 --ports 1-100 --rate 400 --preset normal";
    let mut child =
        Command::new(SCANNER).arg("probe").args(line.split(' ')).stdout(Stdio::piped()).spawn().unwrap();
    // What it could have run but had to wait for a processor, in nanoseconds: a busy machine is no fault of it.
    let (file, mut kept_waiting) = (format!("/proc/{}/schedstat", child.id()), 0);
    while child.try_wait().unwrap().is_none() {
        let words = std::fs::read_to_string(&file).unwrap_or_default();
        kept_waiting = words.split(' ').nth(1).map_or(kept_waiting, |nanos| nanos.parse().unwrap());
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let last = text(&output).lines().last().unwrap();
    let (said, _) = last.split_once(" s: ").unwrap();
    let (said, took) = said.rsplit_once(" connection attempts in ").unwrap();
    assert!(said.ends_with(" 408"), "{last}");
    let took: f64 = took.parse().unwrap();
    let alone = Duration::from_secs_f64(took).saturating_sub(Duration::from_nanos(kept_waiting));
    assert!(took >= 0.9, "it is in tenths of a second, cut: {last}");
    assert!(alone < Duration::from_millis(2_500), "{last}, of which it waited {kept_waiting} ns");
}

#[test]
fn an_interrupt_ends_in_order_and_says_what_was_not_probed() {
    let mut child = Command::new(SCANNER)
        .args(["probe", "--targets", "127.81.4.1-127.81.4.255,::1", "--ports", "1-10000", "--rate", "2000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut announced = String::new();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    errors.read_line(&mut announced).unwrap();
    assert!(announced.starts_with("256 hosts x 10000 ports: 2560000 probes, preset normal"), "{announced}");
    std::thread::sleep(Duration::from_millis(500));
    let asked = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(2));
    let said = text.lines().find(|line| line.starts_with("interrupted: ")).unwrap();
    assert!(said.contains(" of 2560000 probes were not made, among them every port of "), "{said}");
    let numbers: Vec<u64> = text
        .lines()
        .last()
        .unwrap()
        .rsplit(": ")
        .next()
        .unwrap()
        .split(", ")
        .map(|part| part.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers.iter().sum::<u64>(), 2_560_000, "the five states are every probe there is: {text}");
    assert!(numbers[1] > 100 && numbers[4] > 2_000_000, "{numbers:?}");
}

#[test]
fn memory_does_not_grow_with_the_scope() {
    let Some(space) = Namespace::new("memory") else { return };
    space.run("ip -6 route add local fd81::/104 dev lo");
    for targets in ["127.0.0.0/8", "fd81::/104"] {
        let mut child = space
            .command(SCANNER)
            .args(["probe", "--own", "--targets", targets, "--ports", "1-65535", "--preset", "fast"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_secs(2));
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        child.wait().unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
        let kib: u64 = peak.strip_suffix(" kB").unwrap().parse().unwrap();
        assert!(kib <= 16 * 1024, "{peak} for 10^12 probes of {targets}");
    }
}

#[test]
fn few_descriptors_make_it_slower_not_wrong() {
    let (_open, at) = listen("127.81.5.9");
    let (_six, six) = listen("::1");
    let ports = format!("1-200,{},{}", at.port(), six.port());
    let line = format!(
        "ulimit -n 40; exec {SCANNER} probe --targets 127.81.5.0/28,::1 --ports {ports} --preset fast"
    );
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    assert!(text(&output).contains("2 open, 3432 closed, 0 filtered, 0 unreachable, 0 not probed"));
}

#[test]
fn a_network_that_says_no_is_unreachable_with_its_reason_and_one_that_says_nothing_filtered() {
    let Some(space) = Namespace::new("states") else { return };
    space.run("ip link add portolan0 type veth peer name portolan1");
    space.run("ip address add 10.99.0.1/24 dev portolan0");
    space.run("ip -6 address add fd99::1/64 dev portolan0 nodad");
    space.run("ip link set portolan0 up");
    space.run("ip link set portolan1 up");
    space.run("ip neighbor add 10.99.0.2 lladdr 02:00:00:00:00:02 dev portolan0 nud permanent");
    space.run("ip -6 neighbor add fd99::2 lladdr 02:00:00:00:00:02 dev portolan0 nud permanent");
    space.run("ip route add unreachable 10.99.1.0/24");
    space.run("ip route add prohibit 10.99.2.0/24");
    space.run("ip -6 route add unreachable fd99:1::/64");
    space.run("ip -6 route add prohibit fd99:2::/64");
    let targets = "10.99.0.2,fd99::2,10.99.1.1,10.99.2.1,10.99.3.1,127.0.0.1,fd99:1::1,fd99:2::1,fd99:3::1";
    let output =
        space.probe(&format!("--targets {targets} --ports 1-20 --timeout 150 --retries 1 --preset fast"));
    for line in [
        "10.99.0.2: every port filtered (no-answer)",
        "fd99::2: every port filtered (no-answer)",
        "10.99.1.1: every port unreachable (host-unreachable)",
        "10.99.2.1: every port unreachable (prohibited)",
        "10.99.3.1: every port unreachable (net-unreachable)",
        "127.0.0.1: every port closed (refused)",
        "fd99:1::1: every port unreachable (host-unreachable)",
        "fd99:2::1: every port unreachable (prohibited)",
        "fd99:3::1: every port unreachable (net-unreachable)",
    ] {
        assert!(text(&output).lines().any(|said| said == line), "{line} is missing in\n{}", text(&output));
    }
    let last = text(&output).lines().last().unwrap();
    assert!(
        last.contains("180 probes, 22"),
        "what was silent was tried twice, and a few a second time: {last}"
    );
    assert!(last.ends_with("0 open, 20 closed, 40 filtered, 120 unreachable, 0 not probed"), "{last}");
}

/// Not a test of its own: what [`source_ports_that_ran_out_are_waited_for`] runs inside its namespace.
#[test]
fn helper_listens() {
    if std::env::var_os("PORTOLAN_TEST_LISTEN").is_none() {
        return;
    }
    for port in 1..=30 {
        let listener = std::net::TcpListener::bind(("::", port)).unwrap();
        std::thread::spawn(move || listener.incoming().for_each(drop));
    }
    println!("listening");
    let mut end = String::new();
    std::io::stdin().read_to_string(&mut end).unwrap();
}

#[test]
fn source_ports_that_ran_out_are_waited_for() {
    let Some(space) = Namespace::new("ports") else { return };
    let mut helper = space
        .command(std::env::current_exe().unwrap().to_str().unwrap())
        .args(["--exact", "by_hand::helper_listens", "--nocapture"])
        .env("PORTOLAN_TEST_LISTEN", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(helper.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().ends_with("listening")));
    // Two source ports in all, and an orderly close keeps one for each port that was open.
    space.run("sysctl -qw net.ipv4.ip_local_port_range=40000\t40001");
    for round in 0..4 {
        let output = space.probe("--targets 127.0.0.1,::1 --ports 1-40 --preset normal");
        let last = text(&output).lines().last().unwrap();
        assert!(
            last.ends_with("60 open, 20 closed, 0 filtered, 0 unreachable, 0 not probed"),
            "{round}: {last}"
        );
    }
    drop(helper.stdin.take());
    helper.wait().unwrap();
}

/// Reads lines until one says that probes wait for sockets.
fn until_short(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> bool {
    lines.any(|line| line.unwrap().contains("no socket or port to spare: what cannot go yet waits"))
}

/// A scan that is under way, and what it says aside.
fn under_way(mut command: Command, line: &str) -> (Child, impl Iterator<Item = std::io::Result<String>>) {
    command.arg("probe").args(line.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    (child, lines)
}

#[test]
fn descriptors_that_are_taken_away_while_it_scans_are_waited_for_and_nothing_is_lost() {
    // Of both families; each connection that was open takes a new socket, as its close is an orderly one.
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || listener.incoming().all(|stream| tell.send(stream.is_ok()).is_ok()));
    let line = format!("--targets 127.81.6.0/25,::1 --ports {port} --rate 20 --preset normal");
    let (child, mut said) = under_way(Command::new(SCANNER), &line);
    let limit = |number: &str| {
        let process = child.id().to_string();
        let done = Command::new("prlimit").args(["--pid", &process, &format!("--nofile={number}:")]).status();
        assert!(done.unwrap().success(), "{number} for {process}");
    };
    (0..10).for_each(|_| assert!(heard.recv().unwrap()));
    limit("3");
    assert!(until_short(&mut said), "nothing was said of it");
    limit("1024");
    let said: Vec<String> = said.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{said:?}");
    let all = "129 open, 0 closed, 0 filtered, 0 unreachable, 0 not probed\n";
    assert!(text(&output).ends_with(all), "{}{said:?}", text(&output));
}

/// Not a test of its own: takes every source port of its namespace, until its input ends.
#[test]
fn helper_takes_ports() {
    if std::env::var_os("PORTOLAN_TEST_PORTS").is_none() {
        return;
    }
    let _taken = [40_000, 40_001].map(|port| TcpListener::bind(("::", port)).unwrap());
    println!("taken");
    std::io::stdin().read_to_string(&mut String::new()).unwrap();
}

#[test]
fn ports_that_sockets_of_others_hold_are_waited_for_and_nothing_is_lost() {
    let Some(space) = Namespace::new("held") else { return };
    space.run("sysctl -qw net.ipv4.ip_local_port_range=40000\t40001");
    let mut helper = space
        .command(std::env::current_exe().unwrap().to_str().unwrap())
        .args(["--exact", "by_hand::helper_takes_ports", "--nocapture"])
        .env("PORTOLAN_TEST_PORTS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(helper.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().ends_with("taken")));
    let line = "--targets 127.0.0.1,::1 --ports 1-40 --preset normal";
    let (child, mut said) = under_way(space.command(SCANNER), line);
    assert!(until_short(&mut said), "nothing was said of it");
    drop(helper.stdin.take());
    helper.wait().unwrap();
    let said: Vec<String> = said.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{said:?}");
    let all = "0 open, 80 closed, 0 filtered, 0 unreachable, 0 not probed\n";
    assert!(text(&output).ends_with(all), "{}{said:?}", text(&output));
}
