//! Service hints, against peers that behave and peers that do not; over IPv4 and IPv6.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::common::{Block, Link, Said, complaint, job, listen, probe, text};
use portolan_scanner::wire::{self, Job, Preset, Reason};

/// What a connection to a peer brought it: every byte.
type Heard = Receiver<Vec<u8>>;

/// A peer that first does this to each connection, and then reads it to its end.
fn peer(address: &str, first: fn(&mut TcpStream)) -> (SocketAddr, Heard) {
    peer_at(TcpListener::bind((address, 0)).unwrap(), first)
}

fn peer_at(listener: TcpListener, first: fn(&mut TcpStream)) -> (SocketAddr, Heard) {
    let at = listener.local_addr().unwrap();
    let (tell, heard) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            std::thread::spawn(move || {
                first(&mut stream);
                let mut bytes = Vec::new();
                // A reset ends it as well.
                let _ = stream.read_to_end(&mut bytes);
                let _ = tell.send(bytes);
            });
        }
    });
    (at, heard)
}

fn hints(output: &std::process::Output, at: SocketAddr) -> String {
    let line = text(output).lines().find(|line| line.starts_with(&format!("{at} open ")));
    let line = line.unwrap_or_else(|| panic!("{at} in {}{}", text(output), complaint(output)));
    line.split_once(" ms").unwrap().1.trim_start().to_owned()
}

fn scan(address: &str, peers: &[SocketAddr], more: &str) -> std::process::Output {
    let ports: Vec<String> = peers.iter().map(|at| at.port().to_string()).collect();
    probe(&format!("--targets {address} --ports {} --preset fast {more}", ports.join(",")))
}

#[test]
fn what_a_peer_says_first_is_shown_escaped_and_nothing_is_said_to_it() {
    for address in ["127.87.0.1", "::1"] {
        let (ssh, ssh_heard) = peer(address, |stream| drop(stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n")));
        let (garbage, _) = peer(address, |stream| drop(stream.write_all(b"\x1b[2J\x1b]0;\x07\0\xff\\<b>")));
        let (endless, _) = peer(address, |stream| while stream.write_all(&[b'A'; 4096]).is_ok() {});
        let (slow, _) = peer(address, |stream| {
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        let (gone, _) = peer(address, |stream| drop(stream.shutdown(std::net::Shutdown::Both)));
        let begun = Instant::now();
        let output = scan(address, &[ssh, garbage, endless, slow, gone], "--hints");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert_eq!(hints(&output, ssh), "says SSH-2.0-OpenSSH_9.2\\x0d\\x0a");
        assert_eq!(hints(&output, garbage), "says \\x1b[2J\\x1b]0;\\x07\\x00\\xff\\\\<b>");
        assert_eq!(hints(&output, endless), format!("says {}", "A".repeat(256)));
        assert!(["says x", "says xx"].contains(&hints(&output, slow).as_str()), "{}", hints(&output, slow));
        assert_eq!(hints(&output, gone), "");
        let mut shown = text(&output).chars().filter(|c| *c != '≥');
        assert!(shown.all(|c| c == '\n' || (' '..='~').contains(&c)));
        for _ in 0..2 {
            assert_eq!(
                ssh_heard.recv_timeout(Duration::from_secs(5)).unwrap(),
                b"",
                "it is only listened to"
            );
        }
        assert!(ssh_heard.try_recv().is_err(), "one connection for the probe, one for the hint");
    }
}

#[test]
fn without_the_flag_a_peer_sees_one_connection_and_not_a_byte() {
    for address in ["127.87.1.1", "::1"] {
        let (silent, heard) = peer(address, |_| ());
        assert_eq!(hints(&scan(address, &[silent], ""), silent), "");
        assert_eq!(heard.recv_timeout(Duration::from_secs(5)).unwrap(), b"");
        assert!(heard.try_recv().is_err());
    }
}

#[test]
fn a_silent_peer_is_asked_for_its_certificate_and_left_if_it_has_none() {
    for address in ["127.87.2.1", "::1"] {
        let (silent, heard) = peer(address, |_| ());
        let (deaf, _) = peer(address, |stream| {
            let mut hello = [0; 100];
            let _ = stream.read(&mut hello);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        let begun = Instant::now();
        let output = scan(address, &[silent, deaf], "--hints");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert_eq!((hints(&output, silent), hints(&output, deaf)), (String::new(), String::new()));
        let mut told = [heard.recv().unwrap(), heard.recv().unwrap()];
        told.sort();
        assert_eq!(told[0], b"", "the probe itself");
        if cfg!(feature = "network") {
            assert_eq!(told[1][..3], [0x16, 3, 1], "a TLS record with a handshake");
        } else {
            assert_eq!(told[1], b"", "without TLS there is nothing to ask");
        }
    }
}

#[test]
fn nothing_is_asked_behind_a_fragile_port() {
    // The port is given, so the address is one where nobody listens on it: another suite may run beside this one.
    let free = |last| TcpListener::bind((Ipv4Addr::new(127, 88, 0, last), 9_100)).ok();
    let listener = (1..=254).find_map(free).expect("an address whose port 9100 is free");
    let (printer, heard) = peer_at(listener, |stream| drop(stream.write_all(b"ready")));
    let output = scan(&printer.ip().to_string(), &[printer], "--hints");
    assert_eq!(hints(&output, printer), "");
    assert_eq!(heard.recv_timeout(Duration::from_secs(5)).unwrap(), b"");
    assert!(heard.try_recv().is_err(), "it is not even connected to again");
}

#[test]
fn gentle_refuses_hints_by_hand_and_in_a_job() {
    let output = probe("--targets 127.87.4.1 --ports 1 --preset gentle --hints");
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint(&output).contains("--hints: preset gentle asks nothing"), "{}", complaint(&output));
    let job = Job { hints: true, preset: Preset::Gentle, ..job("127.87.4.1", "1") };
    let (blocks, end) = Link::start(&job, "").finish();
    assert!(blocks.is_empty());
    assert!(end.contains("preset gentle takes no hints"), "{end}");
}

/// What a block says that a port says of itself.
fn said(block: &Block, at: SocketAddr) -> Option<wire::Said> {
    let hints = block.hosts.iter().flat_map(|host| &host.hints);
    hints.filter(|hint| hint.port == at.port()).map(|hint| hint.said.clone()).next()
}

#[test]
fn a_job_has_hints_if_it_wants_them() {
    let greet: fn(&mut TcpStream) = |stream| drop(stream.write_all(b"220 mail\r\n"));
    for (address, wanted) in [("127.87.5.1", true), ("::1", true), ("127.87.5.1", false)] {
        let (at, _) = peer(address, greet);
        let job = Job { hints: wanted, ..job(address, &at.port().to_string()) };
        let (blocks, end) = Link::start(&job, "").finish();
        assert_eq!(end, "done");
        blocks[0].check(&job);
        let text = match said(&blocks[0], at) {
            Some(wire::Said::Banner(text)) => Some(text.as_str().to_owned()),
            other => other.map(|said| format!("{said:?}")),
        };
        assert_eq!(text.as_deref(), wanted.then_some("220 mail\\x0d\\x0a"));
        assert_eq!(blocks[0].sent, if wanted { 2 } else { 1 });
    }
}

#[test]
fn an_open_port_is_told_of_when_the_scan_is_cancelled_while_it_is_listened_to() {
    for address in ["127.87.6.1", "::1"] {
        let (_silent, at) = listen(address);
        let job = Job { hints: true, ..job(address, &format!("1-9,{}", at.port())) };
        let mut link = Link::start(&job, "");
        while !matches!(link.say(), Some(Said::Progress(_))) {}
        link.order("cancel");
        let (blocks, end) = link.finish();
        assert_eq!((end.as_str(), blocks.len()), ("cancelled", 1));
        assert_eq!((blocks[0].says(at), said(&blocks[0], at)), (Some(Reason::SynAck), None));
    }
}

#[cfg(feature = "network")]
mod tls {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn openssl(folder: &Path, line: &str) -> String {
        let output = Command::new("openssl").args(line.split(' ')).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A server of OpenSSL; killed when it goes.
    struct Server(Child, SocketAddr);

    impl Server {
        fn start(folder: &Path, address: &str, more: &str) -> Self {
            let mut child = Command::new("openssl")
                .args(["s_server", "-accept", address])
                .args(more.split(' '))
                .current_dir(folder)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let at = lines.find_map(|line| line.unwrap().strip_prefix("ACCEPT ")?.parse().ok()).unwrap();
            // It must not wait for a reader.
            std::thread::spawn(move || lines.for_each(drop));
            Self(child, at)
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_server_is_known_by_its_certificate_whatever_tls_it_speaks() {
        if Command::new("openssl").arg("version").output().is_err() {
            println!("skipped: openssl is not installed here");
            return;
        }
        let folder = std::env::temp_dir().join(format!("portolan-hints-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let folder = Folder(folder);
        for (name, key) in [("rsa", "rsa:2048"), ("ec", "ed25519")] {
            let line = format!(
                "req -x509 -newkey {key} -nodes -keyout {name}.key -out {name}.pem -days 400 -utf8 \
                 -subj /C=DE/O=Süd,\u{a0}Werft/CN={name}.example \
                 -addext subjectAltName=DNS:{name}.example,DNS:*.{name}.example,IP:10.0.0.7,IP:2001:db8::7"
            );
            openssl(&folder.0, &line);
        }
        for address in ["127.87.7.1", "::1"] {
            let socket = if address == "::1" { "[::1]:0" } else { "127.87.7.1:0" };
            let server = |more: &str| Server::start(&folder.0, socket, more);
            let servers = [
                ("rsa", server("-cert rsa.pem -key rsa.key -tls1_2")),
                ("rsa", server("-cert rsa.pem -key rsa.key -tls1_3")),
                ("ec", server("-cert ec.pem -key ec.key -tls1_2 -Verify 1")),
                ("ec", server("-cert ec.pem -key ec.key -tls1_3 -Verify 1")),
            ];
            let peers: Vec<SocketAddr> = servers.iter().map(|(_, server)| server.1).collect();
            let output = scan(address, &peers, "--hints");
            for (name, server) in &servers {
                let pem = format!("x509 -in {name}.pem -noout");
                let print = openssl(&folder.0, &format!("{pem} -fingerprint -sha256"));
                let print = print.trim().split_once('=').unwrap().1.replace(':', "").to_lowercase();
                let end = openssl(&folder.0, &format!("{pem} -enddate -dateopt iso_8601"));
                let day = end.trim().strip_prefix("notAfter=").unwrap().split_once(' ').unwrap().0;
                let expected = format!(
                    "TLS CN={name}.example,O=S\\xc3\\xbcd\\\\,\\xc2\\xa0Werft,C=DE; \
                     for {name}.example *.{name}.example 10.0.0.7 2001:db8::7; until {day}; SHA-256 {print}"
                );
                assert_eq!(hints(&output, server.1), expected, "{}", complaint(&output));
            }
        }
    }
}
