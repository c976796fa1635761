//! A job: what a scanner is to probe, signed by the appliance.

use super::error::{line_must, must};
use super::hex::Hex;
use super::lines::{self, Lines, YesNo};
use super::{Error, Id, Method, Preset};
use crate::net::{Permutation, Ports, Range, Ranges};

/// What one scanner is to probe, and how gently.
///
/// The hosts of a job are its targets in ascending order; they go in blocks of [`Job::block_hosts`], numbered from 0
/// in that order, walked in the order of [`Job::walk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// This job's own name.
    pub id: Id,
    /// The scan it is a part of.
    pub scan: Id,
    /// Which part of the scan.
    pub batch: u32,
    /// Counts up when the batch is given to another scanner.
    pub epoch: u32,
    /// Who is to do it.
    pub scanner: Id,
    /// From where it is seen.
    pub vantage: Id,
    /// When it was made: µs UTC, the appliance's clock.
    pub issued: i64,
    /// When it must not run any more: µs UTC, the appliance's clock.
    pub expires: i64,
    /// The manner of probing.
    pub preset: Preset,
    /// How a port is asked.
    pub method: Method,
    /// Probes per second over all hosts; at least 1.
    pub rate: u32,
    /// Probes per second to one host; at least 1.
    pub host_rate: u32,
    /// How long an answer is waited for, in milliseconds; at least 1.
    pub timeout_ms: u32,
    /// How often a probe without answer is sent again.
    pub retries: u32,
    /// Whether what open ports say first is noted. Never done with [`Preset::Gentle`].
    pub hints: bool,
    /// Whether the scanner's own addresses and the appliance's, if they are among the targets, are probed too.
    pub own: bool,
    /// The key of every random order of this job.
    pub seed: [u8; 16],
    /// Hosts a block; at least 1.
    pub block_hosts: u32,
    /// The hosts; at least one.
    pub targets: Ranges,
    /// The ports of every host; at least one.
    pub ports: Ports,
}

impl Job {
    /// The text to be signed.
    pub fn encode(&self) -> String {
        let mut text = lines::begin("job");
        let out = &mut text;
        lines::header(out, "id", self.id);
        lines::header(out, "scan", self.scan);
        lines::header(out, "batch", self.batch);
        lines::header(out, "epoch", self.epoch);
        lines::header(out, "scanner", self.scanner);
        lines::header(out, "vantage", self.vantage);
        lines::header(out, "issued", self.issued);
        lines::header(out, "expires", self.expires);
        lines::header(out, "preset", self.preset);
        lines::header(out, "method", self.method);
        lines::header(out, "rate", self.rate);
        lines::header(out, "host-rate", self.host_rate);
        lines::header(out, "timeout-ms", self.timeout_ms);
        lines::header(out, "retries", self.retries);
        lines::header(out, "hints", YesNo(self.hints));
        lines::header(out, "own", YesNo(self.own));
        lines::header(out, "seed", Hex(self.seed));
        lines::header(out, "block-hosts", self.block_hosts);
        out.push('\n');
        for range in self.targets.iter() {
            lines::line(out, format_args!("target {range}"));
        }
        lines::line(out, format_args!("ports {}", self.ports));
        text
    }

    /// Reads the signed part of a job frame.
    ///
    /// # Errors
    /// Anything that [`Job::encode`] would not write, or that [`Job::check`] refuses.
    pub fn decode(text: &str) -> Result<Self, Error> {
        let mut lines = Lines::of_kind(text, "job")?;
        let mut job = Self {
            id: lines.header("id")?,
            scan: lines.header("scan")?,
            batch: lines.header("batch")?,
            epoch: lines.header("epoch")?,
            scanner: lines.header("scanner")?,
            vantage: lines.header("vantage")?,
            issued: lines.header("issued")?,
            expires: lines.header("expires")?,
            preset: lines.header("preset")?,
            method: lines.header("method")?,
            rate: lines.header("rate")?,
            host_rate: lines.header("host-rate")?,
            timeout_ms: lines.header("timeout-ms")?,
            retries: lines.header("retries")?,
            hints: lines.header::<YesNo>("hints")?.0,
            own: lines.header::<YesNo>("own")?.0,
            seed: lines.header::<Hex<16>>("seed")?.0,
            block_hosts: lines.header("block-hosts")?,
            targets: Ranges::new(),
            ports: Ports::default(),
        };
        lines.blank()?;
        (job.targets, job.ports) = body(lines)?;
        job.check()?;
        if job.encode() == text { Ok(job) } else { Err(Error::NotCanonical) }
    }

    /// Whether it can be done at all: there are hosts and ports, no rate is 0, it ends after it begins, and its
    /// probes can be counted in 63 bits.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] with the first thing found.
    pub fn check(&self) -> Result<(), Error> {
        must(!self.targets.is_empty() && !self.ports.is_empty(), "a job needs targets and ports")?;
        let some =
            [self.rate, self.host_rate, self.timeout_ms, self.block_hosts].iter().all(|number| *number > 0);
        must(some, "rate, host-rate, timeout-ms and block-hosts are at least 1")?;
        must(!self.hints || self.preset != Preset::Gentle, "preset gentle takes no hints")?;
        must(self.expires > self.issued, "a job expires after it is issued")?;
        must(self.probes() <= i64::MAX as u128, "a job has at most 9223372036854775807 probes")
    }

    /// Hosts a block that suit a job of so many ports: 2^17 probes or a single host, and at most 4,096 hosts, so
    /// that a probe keeps several blocks in a few MiB and a part of the results is small.
    pub const fn block_hosts_for(ports: u32) -> u32 {
        let hosts = (1 << 17) / if ports == 0 { 1 } else { ports };
        match hosts {
            0 => 1,
            1..=4_096 => hosts,
            _ => 4_096,
        }
    }

    /// How many hosts.
    pub fn hosts(&self) -> u128 {
        self.targets.count()
    }

    /// How many blocks: every one has [`Job::block_hosts`] hosts but the last, which has the rest.
    pub fn blocks(&self) -> u64 {
        u64::try_from(self.hosts().div_ceil(u128::from(self.block_hosts.max(1)))).unwrap_or(u64::MAX)
    }

    /// The hosts of a block; empty if there is no such block.
    pub fn block_targets(&self, block: u64) -> Ranges {
        let size = u128::from(self.block_hosts);
        self.targets.slice(u128::from(block).saturating_mul(size), size)
    }

    /// How many probes: hosts times ports, `u128::MAX` if that is more.
    pub fn probes(&self) -> u128 {
        self.hosts().saturating_mul(u128::from(self.ports.count()))
    }

    /// The order in which blocks are walked: step `i` is block `walk().at(i)`.
    pub fn walk(&self) -> Permutation {
        Permutation::new(self.seed, u128::from(self.blocks()))
    }

    /// The order of the pairs inside a block: pair `k` of hosts x ports is host `k / ports` (its place in
    /// [`Job::block_targets`]) and port `k % ports` (its place in [`Job::ports`]).
    pub fn pairs(&self, block: u64) -> Permutation {
        let hosts = self.block_targets(block).count();
        let key = Permutation::key_for(self.seed, block);
        Permutation::new(key, hosts.saturating_mul(u128::from(self.ports.count())))
    }
}

fn body(mut lines: Lines<'_>) -> Result<(Ranges, Ports), Error> {
    let mut targets: Vec<Range> = Vec::new();
    let mut number = 0;
    while let Some(line) = lines.next()? {
        number += 1;
        let wrong = |what| Error::Body { line: number, what };
        if let Some(written) = line.strip_prefix("target ") {
            let range: Range = written.parse().map_err(|_| wrong("not a target range"))?;
            let ascends = targets.last().is_none_or(|before| before.last < range.first);
            line_must(number)(ascends, "targets ascend and do not overlap")?;
            targets.push(range);
        } else if let Some(written) = line.strip_prefix("ports ") {
            let ports = Ports::parse(written).map_err(|_| wrong("not a port list"))?;
            line_must(number + 1)(lines.next()?.is_none(), "nothing belongs after the ports")?;
            return Ok((targets.into_iter().collect(), ports));
        } else {
            return Err(wrong("\"target …\" or \"ports …\" belongs here"));
        }
    }
    Err(Error::Truncated)
}
