//! A self-test before a scan: an open and a closed port of loopback go through the same machinery as the scan will, and
//! must come out as what they are. It says nothing of the network, and is no part of the recall.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

use portolan_scanner::net::{Range, addr_to_u128};
use portolan_scanner::wire::{self, HostRecord, Job, Preset, Reason, State};

use super::clock::Clock;
use super::engine::{self, Driver};
use super::guard::Guard;
use super::method::Method;
use super::pace::Instant;
use super::schedule::{Finished, Schedule};

/// Probes loopback of both families, as far as this machine has it; `job` is the one that is to follow.
///
/// # Errors
/// A sentence, if a port was not found to be what it is: then nothing that this program says can be trusted here.
pub fn sing(job: &Job) -> io::Result<()> {
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        // There need not be such a family, nor a port to spare.
        let Ok(closed) = TcpListener::bind((address, 0)).and_then(|closed| closed.local_addr()) else {
            continue;
        };
        let Ok(listener) = TcpListener::bind((address, 0)) else { continue };
        let open = listener.local_addr()?.port();
        if open != closed.port() {
            judge(address, [(open, State::Open), (closed.port(), State::Closed)], job)?;
        }
    }
    Ok(())
}

fn judge(address: IpAddr, ports: [(u16, State); 2], job: &Job) -> io::Result<()> {
    let canary = Job {
        preset: Preset::Fast,
        method: wire::Method::Connect,
        rate: 1_000,
        host_rate: 1_000,
        timeout_ms: 1_000,
        // A busy machine may lose what it sends itself.
        retries: 3,
        hints: false,
        block_hosts: 1,
        targets: Range::single(addr_to_u128(address)).into(),
        ports: ports.iter().map(|(port, _)| (*port, *port)).collect(),
        ..job.clone()
    };
    let mut heard = Vec::new();
    let method = Method::open(&canary, None)?;
    let schedule = Schedule::new(canary, &Guard::default()).map_err(io::Error::other)?;
    engine::run(schedule, method, &mut heard, &Clock::start())?;
    for host in &heard {
        for (port, state) in ports {
            let found = host.port(port).0;
            // Loopback may be down, this machine out of ports, or the user in a hurry: the scan will say that itself.
            let excused = matches!(found, Reason::NetUnreachable | Reason::LocalLimit | Reason::Cancelled);
            if found.state() != state && !excused {
                let what =
                    format!("self-test failed: {address} port {port} is {state}, and was found {found}");
                return Err(io::Error::other(format!("{what}; nothing is probed")));
            }
        }
    }
    Ok(())
}

/// Hears of every host.
impl Driver for Vec<HostRecord> {
    fn block(&mut self, block: &Finished, _clock: &Clock, _now: Instant) -> io::Result<()> {
        self.extend_from_slice(&block.hosts);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::job;

    #[test]
    fn it_sings_here_and_says_what_is_wrong() {
        let job = job("10.0.0.1", "80");
        sing(&job).unwrap();
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let ports = [(open.local_addr().unwrap().port(), State::Closed), (1, State::Closed)];
        let error = judge(address, ports, &job).unwrap_err().to_string();
        assert!(
            error.starts_with("self-test failed: 127.0.0.1 port ") && error.contains("found syn-ack"),
            "{error}"
        );
    }
}
