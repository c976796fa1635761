//! Tests of network and disk: each asks its question, and says in a line what came of it. Nothing is asked but of servers and
//! gateways that the settings or the network named.

use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::machine::Machine;
use super::settings::{Server, Settings};
use crate::clock::{Clock, Timestamp};
use crate::layout::open_plain;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that is read of the data, in bytes.
const READ: u64 = 4 << 30;

/// Network: links, gateways, servers of names, servers of time.
#[must_use]
pub fn network(machine: &Machine, settings: &Settings, clock: &Clock) -> Vec<String> {
    let mut lines = Vec::new();
    for link in machine.links() {
        let signal = match machine.carrier(&link) {
            Some(true) => "has a signal",
            Some(false) => "NO SIGNAL: cable, switch?",
            None => "is down",
        };
        lines.push(format!("link      {link}: {signal}"));
    }
    let gateways = gateways(machine);
    if gateways.is_empty() {
        lines.push("gateway   none: only the networks of its own links are reached".to_owned());
    }
    for (gateway, link) in gateways {
        let answers = if neighbour(machine, gateway, &link) { "answers" } else { "NO ANSWER" };
        lines.push(format!("gateway   {gateway} on {link}: {answers}"));
    }
    let servers = name_servers(machine, settings);
    if servers.is_empty() {
        lines.push("names     no server: names are not found, addresses work".to_owned());
    }
    for server in servers {
        let answer = asked(SocketAddr::new(server, 53), &NAME_QUESTION);
        lines.push(match answer {
            Ok(answer) if answer.len() >= 12 && answer[..2] == NAME_QUESTION[..2] => {
                format!("names     {server}: answers")
            }
            Ok(_) => format!("names     {server}: answers, and not as a server of names"),
            Err(error) => format!("names     {server}: NO ANSWER ({error})"),
        });
    }
    if settings.ntp.is_empty() {
        lines.push("time      no server: the clock is set by hand".to_owned());
    }
    lines.extend(settings.ntp.iter().map(|server| time(server, clock)));
    lines
}

/// Gateways as the kernel has them, with their links.
fn gateways(machine: &Machine) -> Vec<(IpAddr, String)> {
    let mut found = Vec::new();
    for family in ["-4", "-6"] {
        for line in machine.run("ip", &[family, "route", "show", "default"]).out.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let after = |word: &str| words.iter().skip_while(|found| **found != word).nth(1).copied();
            if let (Some(Ok(via)), Some(link)) = (after("via").map(str::parse), after("dev")) {
                found.push((via, link.to_owned()));
            }
        }
    }
    found
}

/// Whether a neighbour answers on the wire: a datagram makes the kernel ask for it.
fn neighbour(machine: &Machine, address: IpAddr, link: &str) -> bool {
    let any: IpAddr = if address.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    if let Ok(socket) = UdpSocket::bind((any, 0)) {
        // Port 9 discards. Whether it was sent shows in what the kernel then knows.
        let _ = socket.send_to(&[], (address, 9));
    }
    let known = || {
        let text = machine.run("ip", &["neigh", "show", "to", &address.to_string(), "dev", link]).out;
        text.contains("lladdr") && !text.contains("FAILED") && !text.contains("INCOMPLETE")
    };
    (0..10).any(|_| {
        let known = known();
        if !known {
            std::thread::sleep(PATIENCE / 10);
        }
        known
    })
}

/// Who is asked for names: those of the settings, else those that resolved was told of.
fn name_servers(machine: &Machine, settings: &Settings) -> Vec<IpAddr> {
    if !settings.dns.is_empty() {
        return settings.dns.clone();
    }
    let text = Machine::says(&machine.run.join("systemd/resolve/resolv.conf"));
    let words = text.lines().filter_map(|line| line.strip_prefix("nameserver "));
    words
        .filter_map(|word| word.trim().parse().ok())
        .filter(|address: &IpAddr| !address.is_loopback())
        .collect()
}

/// Who is responsible for the root (RFC 1035): every server of names has an answer, if only a refusal.
const NAME_QUESTION: [u8; 17] = [0x50, 0x6f, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1];

fn asked(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(server)?;
    socket.send(question)?;
    let mut answer = vec![0; 1500];
    let count = socket.recv(&mut answer)?;
    answer.truncate(count);
    Ok(answer)
}

fn time(server: &Server, clock: &Clock) -> String {
    let line = |what: String| format!("time      {server}: {what}");
    let address = match server {
        Server::At(address) => Some(SocketAddr::new(*address, 123)),
        Server::Named(name) => (name.to_string(), 123).to_socket_addrs().ok().and_then(|mut all| all.next()),
    };
    let Some(address) = address else { return line("THE NAME IS NOT FOUND".to_owned()) };
    // SNTP (RFC 4330): version 4, client.
    let mut question = [0; 48];
    question[0] = 0x23;
    match asked(address, &question) {
        Err(error) => line(format!("NO ANSWER ({error})")),
        Ok(answer) => match told(&answer) {
            None => line("answers, and does not know the time itself".to_owned()),
            Some(at) => line(format!("answers; this clock differs by {} s", seconds(clock.now(), at))),
        },
    }
}

/// The time in an answer of SNTP; none from a server that has no time itself.
fn told(answer: &[u8]) -> Option<Timestamp> {
    /// From 1900 to 1970, in seconds.
    const EPOCH: i64 = 2_208_988_800;
    let stratum = *answer.get(1)?;
    let at = u32::from_be_bytes(answer.get(40..44)?.try_into().ok()?);
    let parts = u32::from_be_bytes(answer.get(44..48)?.try_into().ok()?);
    if !(1..=15).contains(&stratum) || at == 0 {
        return None;
    }
    // From 2036 on the seconds begin anew (RFC 4330, section 3).
    let era = if at & 0x8000_0000 == 0 { 1_i64 << 32 } else { 0 };
    let micros = (i64::from(at) + era - EPOCH) * 1_000_000 + ((i64::from(parts) * 1_000_000) >> 32);
    Some(Timestamp::from_micros(micros))
}

fn seconds(ours: Timestamp, theirs: Timestamp) -> String {
    let tenths = (ours.micros() - theirs.micros()) / 100_000;
    format!("{}{}.{}", if tenths < 0 { "-" } else { "+" }, tenths.abs() / 10, tenths.abs() % 10)
}

/// Disks: what is free where the data are, and whether all of them can be read.
#[must_use]
pub fn disks(data: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    match rustix::fs::statvfs(data) {
        Ok(about) => {
            let mib = |blocks: u64| blocks.saturating_mul(about.f_frsize) >> 20;
            let (free, all) = (mib(about.f_bavail), mib(about.f_blocks));
            let word = if free < all / 10 { " LITTLE" } else { "" };
            lines.push(format!("space     {}: {free} MiB free of {all} MiB{word}", data.display()));
        }
        Err(error) => lines.push(format!("space     {}: {error}", data.display())),
    }
    let mut found = Found::default();
    read_all(data, &mut found);
    let mib = found.bytes >> 20;
    lines.push(format!(
        "reading   {} files, {mib} MiB read, {} with errors",
        found.files,
        found.broken.len()
    ));
    if found.bytes >= READ {
        lines.push(format!("reading   stopped after {} MiB: there is more", READ >> 20));
    }
    lines.extend(found.broken.iter().take(10).map(|broken| format!("BROKEN    {broken}")));
    lines
}

#[derive(Default)]
struct Found {
    files: u64,
    bytes: u64,
    broken: Vec<String>,
}

/// Reads every file below, links left alone.
fn read_all(folder: &Path, found: &mut Found) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return found.broken.push(format!("{}: {error}", folder.display())),
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Ok(about) = path.symlink_metadata() else { continue };
        if found.bytes >= READ {
            return;
        }
        if about.is_dir() {
            read_all(&path, found);
        } else if about.is_file() {
            found.files += 1;
            match read(&path) {
                Ok(bytes) => found.bytes += bytes,
                // What was taken away meanwhile is not broken.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found.broken.push(format!("{}: {error}", path.display())),
            }
        }
    }
}

fn read(path: &Path) -> io::Result<u64> {
    let mut file = open_plain(path)?;
    let (mut part, mut all) = (vec![0; 1 << 20], 0);
    while all < READ {
        match file.read(&mut part)? {
            0 => break,
            count => all += count as u64,
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_time_is_understood_on_both_sides_of_2036_and_one_without_time_is_not() {
        let mut answer = [0; 48];
        answer[1] = 2;
        answer[40..44].copy_from_slice(&3_972_931_200_u32.to_be_bytes());
        answer[44..48].copy_from_slice(&0x8000_0000_u32.to_be_bytes());
        assert_eq!(told(&answer).unwrap(), Timestamp::from_micros(1_763_942_400_500_000));
        answer[40..44].copy_from_slice(&1_u32.to_be_bytes());
        assert_eq!(told(&answer).unwrap().micros() / 1_000_000, (1 << 32) + 1 - 2_208_988_800);
        answer[1] = 16;
        assert_eq!(told(&answer), None);
        assert_eq!(told(&[2; 20]), None);
        let second = |number: i64| Timestamp::from_micros(number * 1_000_000);
        assert_eq!(seconds(second(10), second(12)), "-2.0");
        assert_eq!(seconds(second(10), Timestamp::from_micros(9_700_000)), "+0.3");
    }

    #[test]
    fn every_file_of_the_data_is_read_and_links_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("below")).unwrap();
        fs::write(root.path().join("below/one"), vec![1; 3 << 20]).unwrap();
        fs::write(root.path().join("two"), "2").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("link")).unwrap();
        let lines = disks(root.path());
        assert!(lines[0].contains("MiB free of"), "{lines:?}");
        assert_eq!(lines[1], "reading   2 files, 3 MiB read, 0 with errors");
        let gone = disks(&root.path().join("none"));
        assert!(gone.iter().any(|line| line.starts_with("BROKEN")), "{gone:?}");
    }
}
