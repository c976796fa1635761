//! A small world for tests: one appliance's job key, scanners with keys, jobs, frames.

use ed25519_dalek::{Signer as _, SigningKey};
use portolan_scanner::net::{Ports, Ranges, addr_to_u128};
use portolan_scanner::wire::{
    self, Certificate, Hint, HostRecord, Id, Job, Method, PortRecord, Preset, Reason, Results, Said, Sample,
    Text,
};
use uuid::Uuid;

use crate::ingest::frame::{Frame, JobFrame, Proven};

pub const PORTS: &str = "22,80,443,8000-8009";

/// An id that is told apart by its last byte.
pub fn id(n: u8) -> Id {
    Id::from_bytes([1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, n])
}

pub fn uuid(n: u8) -> Uuid {
    Uuid::from_bytes(*id(n).as_bytes())
}

pub fn address(text: &str) -> u128 {
    addr_to_u128(text.parse().unwrap())
}

pub fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub fn public(n: u8) -> [u8; 32] {
    key(n).verifying_key().to_bytes()
}

/// The seed of the appliance's job key.
pub const JOB_KEY: u8 = 100;

/// A job of scan 1 from vantage 2 for scanner 3; the scanner's number is the seed of its key.
#[derive(Clone)]
pub struct JobOf {
    pub scan: u8,
    pub vantage: u8,
    pub scanner: u8,
    pub batch: u32,
    pub epoch: u32,
    pub targets: &'static str,
    pub ports: &'static str,
    pub block_hosts: u32,
}

impl Default for JobOf {
    fn default() -> Self {
        Self {
            scan: 1,
            vantage: 2,
            scanner: 3,
            batch: 0,
            epoch: 1,
            targets: "10.0.0.0/24",
            ports: PORTS,
            block_hosts: 256,
        }
    }
}

impl JobOf {
    pub fn frame(&self) -> JobFrame {
        self.signed_by(JOB_KEY)
    }

    pub fn signed_by(&self, seed: u8) -> JobFrame {
        let job = Job {
            id: id(9),
            scan: id(self.scan),
            batch: self.batch,
            epoch: self.epoch,
            scanner: id(self.scanner),
            vantage: id(self.vantage),
            issued: 1_000_000,
            expires: 2_000_000,
            preset: Preset::Normal,
            rate: 1000,
            host_rate: 100,
            timeout_ms: 500,
            retries: 1,
            method: Method::Connect,
            hints: true,
            own: false,
            seed: [7; 16],
            block_hosts: self.block_hosts,
            targets: Ranges::parse(self.targets).unwrap(),
            ports: Ports::parse(self.ports).unwrap(),
        };
        JobFrame::parse(&wire::seal(job.encode(), |text| key(seed).sign(text).to_bytes())).unwrap()
    }
}

/// Hosts in one state throughout.
pub fn hosts(first: &str, last: &str, base: Reason) -> HostRecord {
    HostRecord { first: address(first), last: address(last), base, exceptions: Vec::new(), hints: Vec::new() }
}

/// A host that refuses, but for these open ports (RTT: the port's own number).
pub fn host(at: &str, open_ports: &[u16]) -> HostRecord {
    let open =
        |&port: &u16| PortRecord { first: port, last: port, reason: Reason::SynAck, rtt_us: port.into() };
    let exceptions = open_ports.iter().map(open).collect();
    HostRecord { first: address(at), last: address(at), base: Reason::Refused, exceptions, hints: Vec::new() }
}

/// The host, with a word that one of its open ports says.
pub fn says(mut host: HostRecord, port: u16, bytes: &[u8]) -> HostRecord {
    let text = Text::escape(bytes, wire::hint::MAX_TEXT).unwrap();
    host.hints.push(Hint { port, said: Said::Banner(text) });
    host
}

/// The host, with a certificate that one of its open ports shows; its hash is the port's number, again and again.
pub fn shows(mut host: HostRecord, port: u16, subject: &str, names: &[&str], expires: i64) -> HostRecord {
    let text = |text: &str| Text::escape(text.as_bytes(), wire::hint::MAX_NAME).unwrap();
    let leaf = Certificate {
        sha256: [port.to_be_bytes()[1]; 32],
        expires: Some(expires),
        subject: Some(text(subject)),
        names: names.iter().map(|name| text(name)).collect(),
    };
    host.hints.push(Hint { port, said: Said::Certificate(leaf) });
    host
}

/// Results of a job as its scanner would write them.
pub fn results(job: &JobFrame, block: u64, part: u32, last: bool, hosts: Vec<HostRecord>) -> Results {
    let addresses: u128 = hosts.iter().map(|host| host.range().count()).sum();
    Results {
        job: wire::hex::decode(&job.hash()).unwrap(),
        block,
        part,
        last,
        scanner: job.job().scanner,
        clock: 5_000,
        offset: 1_000_000,
        started: 1_000,
        ended: 4_000,
        probes: u64::try_from(addresses).unwrap() * u64::from(job.job().ports.count()),
        sent: 17,
        sample: Sample::default(),
        hosts,
    }
}

pub fn frame_signed_by(seed: u8, results: &Results) -> Frame {
    let frame = wire::seal(results.encode(), |text| key(seed).sign(text).to_bytes());
    Frame::parse(frame.into_bytes()).unwrap()
}

/// A whole block in one part, signed as it should be.
pub fn block(job: &JobFrame, block: u64, hosts: Vec<HostRecord>) -> Proven {
    part(job, block, 0, true, hosts)
}

/// One part of a block, signed as it should be.
pub fn part(job: &JobFrame, block: u64, part: u32, last: bool, hosts: Vec<HostRecord>) -> Proven {
    let seed = job.job().scanner.as_bytes()[15];
    frame_signed_by(seed, &results(job, block, part, last, hosts)).prove(&public(seed), job).unwrap()
}
