//! Results: what a scanner saw of one block of a job, signed by the scanner.

use super::error::{line_must, must};
use super::hex::Hex;
use super::lines::{self, Lines, YesNo, line};
use super::{Error, Hint, Id, Job, Reason, State, hint};
use crate::net::{Ports, Range, Ranges};

/// One part of what was seen of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Results {
    /// SHA-256 over the whole frame of the job, signature line included.
    pub job: [u8; 32],
    /// Which block of the job.
    pub block: u64,
    /// Which part of the block, from 0.
    pub part: u32,
    /// Whether it is the block's last part.
    pub last: bool,
    /// Who saw it.
    pub scanner: Id,
    /// When this was written: µs, the scanner's clock.
    pub clock: i64,
    /// What to add to the scanner's clock to get the appliance's, in µs.
    pub offset: i64,
    /// When the block was begun: µs, the scanner's clock.
    pub started: i64,
    /// When the block was ended: µs, the scanner's clock.
    pub ended: i64,
    /// How many pairs of host and port this part speaks of, those not probed included.
    pub probes: u64,
    /// How many connections were attempted, retries included.
    pub sent: u64,
    /// What probing some pairs of the block a second time showed.
    pub sample: Sample,
    /// The hosts, ascending.
    pub hosts: Vec<HostRecord>,
}

/// What probing a random sample a second time showed of how complete the first time was. A part other than a block's
/// first has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// Pairs that were probed a second time, or would have been, had their host not been left alone.
    pub probed: u64,
    /// Of those, how many answered the second time, be it open or closed.
    pub answered: u64,
    /// Of those that answered, how many had not answered the first time, retries included.
    pub missed: u64,
}

impl std::ops::AddAssign for Sample {
    fn add_assign(&mut self, other: Self) {
        self.probed += other.probed;
        self.answered += other.answered;
        self.missed += other.missed;
    }
}

/// What was seen of one host, or alike of each host in a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRecord {
    /// The lowest address.
    pub first: u128,
    /// The highest address; the same if it is one host.
    pub last: u128,
    /// Of every port of the job that no exception names; never [`Reason::SynAck`]. Where every port is an exception
    /// it is [`Reason::NoAnswer`] by convention.
    pub base: Reason,
    /// The other ports, ascending; only for one host.
    pub exceptions: Vec<PortRecord>,
    /// What its open ports said of themselves, if the job wants to know: at most one a port, ascending.
    pub hints: Vec<Hint>,
}

/// A run of ports with another reason than the host's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRecord {
    /// The lowest port. The run stands for those ports of the job that lie in it.
    pub first: u16,
    /// The highest port; the same for an open port, which always stands alone.
    pub last: u16,
    /// Their reason.
    pub reason: Reason,
    /// Of an open port, how long the answer took, in µs; else 0.
    pub rtt_us: u32,
}

impl HostRecord {
    /// Its addresses.
    pub fn range(&self) -> Range {
        Range { first: self.first, last: self.last }
    }

    /// What was seen of this port (of each host of the range): reason, and RTT if it is open.
    pub fn port(&self, port: u16) -> (Reason, u32) {
        let at = self.exceptions.partition_point(|run| run.first <= port);
        match at.checked_sub(1).map(|run| self.exceptions[run]) {
            Some(run) if run.last >= port => (run.reason, run.rtt_us),
            _ => (self.base, 0),
        }
    }

    /// How many pairs of host and port have each state, in the order of [`State::ALL`], given the job's ports.
    pub fn counts(&self, ports: &Ports) -> [u128; 5] {
        let mut counts = [0; 5];
        let mut left = u128::from(ports.count());
        for run in &self.exceptions {
            let of_run = u128::from(ports.count_within(run.first, run.last));
            counts[run.reason.state() as usize] += of_run;
            left = left.saturating_sub(of_run);
        }
        counts[self.base.state() as usize] += left;
        counts.map(|count| count.saturating_mul(self.range().count()))
    }

    /// Adds its body lines.
    pub fn write(&self, text: &mut String) {
        let word = if self.first == self.last { "host" } else { "hosts" };
        line(text, format_args!("{word} {} {} {}", self.range(), self.base.state(), self.base));
        let mut hints = self.hints.iter().peekable();
        for run in &self.exceptions {
            let (state, reason) = (run.reason.state(), run.reason);
            if state == State::Open {
                line(text, format_args!("port {} {state} {reason} {}", run.first, run.rtt_us));
                hints.next_if(|hint| hint.port == run.first).into_iter().for_each(|hint| hint.write(text));
            } else if run.first == run.last {
                line(text, format_args!("port {} {state} {reason}", run.first));
            } else {
                line(text, format_args!("port {}-{} {state} {reason}", run.first, run.last));
            }
        }
    }
}

impl Results {
    /// The text to be signed.
    pub fn encode(&self) -> String {
        let mut text = lines::begin("results");
        let out = &mut text;
        lines::header(out, "job", Hex(self.job));
        lines::header(out, "block", self.block);
        lines::header(out, "part", self.part);
        lines::header(out, "last", YesNo(self.last));
        lines::header(out, "scanner", self.scanner);
        lines::header(out, "clock", self.clock);
        lines::header(out, "offset", self.offset);
        lines::header(out, "started", self.started);
        lines::header(out, "ended", self.ended);
        lines::header(out, "probes", self.probes);
        lines::header(out, "sent", self.sent);
        lines::header(out, "sample-probed", self.sample.probed);
        lines::header(out, "sample-answered", self.sample.answered);
        lines::header(out, "sample-missed", self.sample.missed);
        out.push('\n');
        for host in &self.hosts {
            host.write(out);
        }
        text
    }

    /// Reads the signed part of a results frame.
    ///
    /// # Errors
    /// Anything that [`Results::encode`] would not write: hosts ascend, ports ascend, state and reason agree.
    pub fn decode(text: &str) -> Result<Self, Error> {
        let mut lines = Lines::of_kind(text, "results")?;
        let mut results = Self {
            job: lines.header::<Hex<32>>("job")?.0,
            block: lines.header("block")?,
            part: lines.header("part")?,
            last: lines.header::<YesNo>("last")?.0,
            scanner: lines.header("scanner")?,
            clock: lines.header("clock")?,
            offset: lines.header("offset")?,
            started: lines.header("started")?,
            ended: lines.header("ended")?,
            probes: lines.header("probes")?,
            sent: lines.header("sent")?,
            sample: Sample {
                probed: lines.header("sample-probed")?,
                answered: lines.header("sample-answered")?,
                missed: lines.header("sample-missed")?,
            },
            hosts: Vec::new(),
        };
        lines.blank()?;
        results.hosts = parse_hosts(lines.rest())?;
        if results.encode() == text { Ok(results) } else { Err(Error::NotCanonical) }
    }

    /// The hosts this part speaks of.
    pub fn targets(&self) -> Ranges {
        self.hosts.iter().map(HostRecord::range).collect()
    }

    /// Whether it can be an answer to this job (whose hash the caller has compared): the scanner is the job's, the
    /// hosts are of the block, the ports are the job's, the probes are counted right; and a block's only part holds
    /// the whole block.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] with the first thing found.
    pub fn check_against(&self, job: &Job) -> Result<(), Error> {
        must(self.scanner == job.scanner, "the job is another scanner's")?;
        must(self.block < job.blocks(), "the job has no such block")?;
        must(self.started <= self.ended, "the block ended before it began")?;
        let (block, targets) = (job.block_targets(self.block), self.targets());
        // Without these two, a block could be delivered in four thousand million parts.
        must(!self.hosts.is_empty(), "a part holds at least one host")?;
        must(u128::from(self.part) < block.count(), "a block has no more parts than hosts")?;
        let inside = |host: &HostRecord| block.contains_range(host.range());
        must(self.hosts.iter().all(inside), "a host is not in the block")?;
        let only = self.part == 0 && self.last;
        must(!only || targets == block, "the only part of a block must hold all its hosts")?;
        let ports = u128::from(job.ports.count());
        let Sample { probed, answered, missed } = self.sample;
        let bounded = u128::from(probed) <= block.count().saturating_mul(ports) && answered <= probed;
        let agree = bounded && missed <= answered && (self.part == 0 || probed == 0);
        must(agree, "the counts of the sample do not agree")?;
        let known = |run: &PortRecord| job.ports.contains(run.first) && job.ports.contains(run.last);
        let mut runs = self.hosts.iter().flat_map(|host| &host.exceptions);
        must(runs.all(known), "a port is not among the job's")?;
        let silent = self.hosts.iter().all(|host| host.hints.is_empty());
        must(job.hints || silent, "the job wants no hints")?;
        let probes = targets.count().saturating_mul(ports);
        must(probes == u128::from(self.probes), "the number of probes is not hosts times ports")
    }
}

const DISAGREE: &str = "state and reason do not agree";
const ONE_BY_ONE: &str = "open ports are written one by one";

/// Reads body lines; also what the probe prints for a finished block.
///
/// # Errors
/// [`Error::Body`] with the line that cannot stand where it stands.
pub fn parse_hosts(body: &str) -> Result<Vec<HostRecord>, Error> {
    let mut hosts: Vec<HostRecord> = Vec::new();
    let mut lines = Lines::new(body);
    let (mut number, mut hinted) = (0, 0);
    while let Some(line) = lines.next()? {
        number += 1;
        let wrong = |what| Error::Body { line: number, what };
        let must = line_must(number);
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or(wrong("a word is missing"));
        match word()? {
            kind @ ("host" | "hosts") => {
                let range: Range = word()?.parse().map_err(|_| wrong("not an address or a range"))?;
                let base = state_and_reason(word()?, word()?).ok_or(wrong(DISAGREE))?;
                let one = range.first == range.last;
                must((kind == "host") == one, "\"host\" has one address, \"hosts\" a range")?;
                must(base != Reason::SynAck, ONE_BY_ONE)?;
                let ascends = hosts.last().is_none_or(|before| before.last < range.first);
                must(ascends, "hosts ascend and do not overlap")?;
                let (exceptions, hints) = (Vec::new(), Vec::new());
                hosts.push(HostRecord { first: range.first, last: range.last, base, exceptions, hints });
                hinted = 0;
            }
            "port" => {
                let host = hosts.last_mut().filter(|host| host.first == host.last);
                let host = host.ok_or(wrong("a port belongs to the one host before it"))?;
                let (first, last) = port_run(word()?).ok_or(wrong("not a port or a range of ports"))?;
                let reason = state_and_reason(word()?, word()?).ok_or(wrong(DISAGREE))?;
                let open = reason == Reason::SynAck;
                must(!open || first == last, ONE_BY_ONE)?;
                let rtt_us = if open { lines::value("rtt", word()?)? } else { 0 };
                must(reason != host.base, "an exception differs from its host")?;
                let ascends = host.exceptions.last().is_none_or(|before| before.last < first);
                must(ascends, "ports ascend and do not overlap")?;
                host.exceptions.push(PortRecord { first, last, reason, rtt_us });
            }
            word if hint::is_hint(word) => {
                let host = hosts.last_mut().ok_or(wrong("a hint belongs to the open port before it"))?;
                hint::read(host, line, wrong)?;
                hinted += line.len() + 1;
                must(hinted <= hint::MAX_HINTS, "more hints than a host may have")?;
                continue;
            }
            _ => return Err(wrong("\"host …\", \"port …\" or a hint belongs here")),
        }
        must(words.next().is_none(), "too many words")?;
    }
    Ok(hosts)
}

fn state_and_reason(state: &str, reason: &str) -> Option<Reason> {
    reason.parse::<Reason>().ok().filter(|reason| reason.state().as_str() == state)
}

fn port_run(text: &str) -> Option<(u16, u16)> {
    let ports = Ports::parse(text).ok()?;
    let mut runs = ports.iter();
    let run = runs.next()?;
    (runs.next().is_none() && ports.to_string() == text).then_some(run)
}
