//! `--resume`: a scan that is killed and gone on with.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use portolan_scanner::net::addr_to_u128;

use crate::common::{Namespace, SCANNER, complaint, listen, probe, text};

/// Runs a scan for so long and ends it with this signal; gives what it had written.
fn cut(mut scanner: Command, line: &str, millis: u64, signal: &str) -> String {
    let mut child = scanner
        .arg("probe")
        .args(line.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(millis));
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    let mut written = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut written).unwrap();
    child.wait().unwrap();
    written
}

#[test]
fn a_scan_that_was_killed_and_interrupted_goes_on_and_reports_everything_once() {
    let (_one, one) = listen("127.86.0.77");
    let file = std::env::temp_dir().join(format!("portolan-resume-{}", std::process::id()));
    let name = file.to_str().unwrap();
    let line = format!(
        "--targets 127.86.0.64/26,::1 --ports 1-3000,{} --rate 30000 --host-rate 30000 --preset fast \
         --output csv --resume {name}",
        one.port()
    );
    let scanner = || Command::new(SCANNER);
    let (killed, interrupted) = (cut(scanner(), &line, 2_600, "-KILL"), cut(scanner(), &line, 1_500, "-INT"));
    let other = probe(&line.replace("1-3000", "1-2999"));
    assert!(complaint(&other).contains("is of another scan"), "{}", complaint(&other));
    let last = probe(&line);
    assert_eq!(last.status.code(), Some(0), "{}", complaint(&last));
    let before = complaint(&last).lines().find_map(|line| line.strip_prefix("going on: ")).unwrap();
    let before: u64 = before.split(' ').next().unwrap().parse().unwrap();
    assert!(before > 10_000, "{before} were kept");
    assert!(!file.exists(), "a scan that is done needs no file");
    assert!(complaint(&last).ends_with(" 0 filtered, 0 unreachable, 0 not probed\n"), "{}", complaint(&last));
    let whole = [killed.as_str(), &interrupted, text(&last)].concat();
    let open = format!("127.86.0.77,127.86.0.77,{0},{0},open,syn-ack,", one.port());
    assert_eq!(whole.matches(&open).count(), 1);
    assert_eq!(pairs_told_once(&whole), 65 * 3_001);
}

/// How many pairs of host and port the rows of a CSV hold; none may be there twice, nor the header.
fn pairs_told_once(csv: &str) -> u128 {
    let mut seen = BTreeSet::new();
    let (mut pairs, mut headers) = (0, 0);
    for row in csv.lines().map(|line| line.split(',').collect::<Vec<_>>()) {
        if row[0] == "first_address" {
            headers += 1;
            continue;
        }
        assert!(seen.insert((row[0].to_owned(), row[2].to_owned())), "{row:?} is there twice");
        let number = |text: &str| addr_to_u128(text.parse::<IpAddr>().unwrap());
        let ports = row[3].parse::<u128>().unwrap() - row[2].parse::<u128>().unwrap() + 1;
        pairs += (number(row[1]) - number(row[0]) + 1) * ports;
    }
    assert_eq!(headers, 1);
    pairs
}

/// How many connections were begun in a namespace, as its kernel counts them.
fn connections(namespace: &Namespace) -> u128 {
    let output = namespace.command("cat").arg("/proc/net/snmp").output().unwrap();
    let mut tcp = text(&output).lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let place = tcp.next().unwrap().split(' ').position(|name| name == "ActiveOpens").unwrap();
    tcp.next().unwrap().split(' ').nth(place).unwrap().parse().unwrap()
}

#[test]
fn killed_at_any_moment_a_scan_loses_at_most_a_second_of_probes_and_tells_none_twice() {
    const RATE: u128 = 15_000;
    let Some(namespace) = Namespace::new("resume") else { return };
    namespace.run("ip -6 route add local fd86::/123 dev lo");
    let file = std::env::temp_dir().join(format!("portolan-killed-{}", std::process::id()));
    let line = format!(
        "--targets 127.86.1.0/27,fd86::/123 --own --ports 1-3000 --rate {RATE} --host-rate {RATE} --preset fast \
         --output csv --resume {}",
        file.to_str().unwrap()
    );
    let mut whole = String::new();
    // The moments: a fixed list, so that a failure can be had again.
    let moments = [2_100, 1_050, 2_990, 300, 1_730, 1_990, 1_410, 2_550];
    for moment in moments {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace.0, SCANNER]);
        whole += &cut(command, &line, moment, "-KILL");
    }
    let last = namespace.probe(&line);
    assert_eq!(last.status.code(), Some(0), "{}", complaint(&last));
    whole += text(&last);
    let pairs = pairs_told_once(&whole);
    assert_eq!(pairs, 64 * 3_000);
    let repeated = connections(&namespace) - pairs;
    let bound = u128::try_from(moments.len()).unwrap() * RATE * 11 / 10;
    println!("{repeated} probes were made twice, of {bound} that {} kills may cost", moments.len());
    assert!(repeated <= bound, "{repeated} probes were made twice, the bound is {bound}");
}

#[test]
fn a_file_that_cannot_be_written_ends_the_scan_before_it_begins() {
    let output = probe("--targets 127.0.0.1 --ports 1 --resume /nonexistent/file");
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("--resume: /nonexistent/file cannot be written"));
    assert!(text(&output).is_empty(), "{}", text(&output));
}
