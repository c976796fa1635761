//! `--resume`: a scan that is killed and gone on with.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{SCANNER, complaint, listen, probe, text};

/// Runs a scan for so long and ends it with this signal; gives what it had written.
fn cut(line: &str, millis: u64, signal: &str) -> String {
    let mut child = Command::new(SCANNER)
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
        "--targets 127.86.0.64/26 --ports 1-3000,{} --rate 30000 --host-rate 30000 --preset fast \
         --output csv --resume {name}",
        one.port()
    );
    let (killed, interrupted) = (cut(&line, 2_600, "-KILL"), cut(&line, 1_500, "-INT"));
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
    let mut seen = BTreeSet::new();
    let (mut pairs, mut headers) = (0, 0);
    for row in whole.lines().map(|line| line.split(',').collect::<Vec<_>>()) {
        if row[0] == "first_address" {
            headers += 1;
            continue;
        }
        assert!(seen.insert((row[0].to_owned(), row[2].to_owned())), "{row:?} is there twice");
        let number = |text: &str| u64::from(u32::from(text.parse::<std::net::Ipv4Addr>().unwrap()));
        let ports = row[3].parse::<u64>().unwrap() - row[2].parse::<u64>().unwrap() + 1;
        pairs += (number(row[1]) - number(row[0]) + 1) * ports;
    }
    assert_eq!((headers, pairs), (1, 64 * 3_001));
}
