//! What the unit tests of this folder share.

use portolan_scanner::net::{Ports, Ranges};
use portolan_scanner::wire::{Id, Job, Method, Preset};

/// A job over these, in one block, quick and without retries.
pub fn job(targets: &str, ports: &str) -> Job {
    let nobody = Id::from_bytes([0; 16]);
    Job {
        id: nobody,
        scan: nobody,
        batch: 0,
        epoch: 0,
        scanner: nobody,
        vantage: nobody,
        issued: 0,
        expires: 1,
        preset: Preset::Fast,
        rate: 1_000_000,
        host_rate: 1_000_000,
        timeout_ms: 100,
        retries: 0,
        method: Method::Connect,
        hints: false,
        own: false,
        seed: [7; 16],
        block_hosts: 1_000,
        targets: Ranges::parse(targets).unwrap(),
        ports: Ports::parse(ports).unwrap(),
    }
}
