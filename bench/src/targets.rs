//! What is scanned: 256 hosts with 1,000 ports, eight of them open, other ones on each host.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// The hosts.
pub const SUBNET: &str = "10.98.0.0/24";
/// Their ports.
pub const PORTS: &str = "1-1000";
/// How many pairs of host and port that is.
pub const PROBES: u32 = 256 * 1_000;

/// How many ports are open on each host.
const OPEN: usize = 8;

/// What there is to be found.
pub fn truth() -> BTreeSet<SocketAddrV4> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut found = BTreeSet::new();
    for host in 0..=255 {
        let mut ports = BTreeSet::new();
        while ports.len() < OPEN {
            // xorshift64: any spread will do, as long as it is the same each time.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ports.insert(u16::try_from(state % 1_000 + 1).expect("at most 1000"));
        }
        found.extend(ports.into_iter().map(|port| SocketAddrV4::new(Ipv4Addr::new(10, 98, 0, host), port)));
    }
    found
}

/// Listens on all of it until the standard input ends; says `listening` when it does.
///
/// # Errors
/// A sentence, if it cannot listen.
pub fn serve() -> Result<(), String> {
    let listen = |at: SocketAddrV4| {
        let listener = TcpListener::bind(at).map_err(|error| format!("{at}: {error}"))?;
        listener.set_nonblocking(true).map_err(|error| format!("{at}: {error}"))?;
        Ok(listener)
    };
    let listeners: Vec<TcpListener> = truth().into_iter().map(listen).collect::<Result<_, String>>()?;
    println!("listening");
    let (end, ended) = channel::<()>();
    thread::spawn(move || {
        let mut nothing = Vec::new();
        // However the input ends, it is the end.
        let _ = io::stdin().read_to_end(&mut nothing);
        drop(end);
    });
    while ended.recv_timeout(Duration::from_millis(500)) == Err(RecvTimeoutError::Timeout) {
        for listener in &listeners {
            while listener.accept().is_ok() {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_its_own_eight_ports_open() {
        let truth = truth();
        assert_eq!(truth.len(), 256 * OPEN);
        let of = |host| {
            truth.iter().filter(|at| at.ip().octets()[3] == host).map(SocketAddrV4::port).collect::<Vec<_>>()
        };
        assert_eq!(of(7).len(), OPEN);
        assert_ne!(of(7), of(8));
    }
}
