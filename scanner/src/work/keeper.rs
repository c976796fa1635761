//! Keeps what the probe finds: blocks become signed frames in the spool, each exactly once.

use std::fs::File;

use super::child::Head;
use super::journal::{Done, Journal};
use super::spool::Name;
use super::{Desk, Error};
use crate::wire::{HostRecord, Job, MAX_FRAME, Reason, Results, Sample, results, seal};

/// A part of a block is sent when its text is longer than this. One host more takes at most 2.4 MB for its
/// ports and half a MiB for their hints, so that a frame stays below its limit.
const PART: usize = 1 << 20;

/// How many finished blocks go into the spool at once, at most.
const GROUP: usize = 64;

/// Takes the blocks of a job, line by line.
pub struct Keeper<'a> {
    desk: &'a Desk<'a>,
    job: &'a Job,
    pub hash: [u8; 32],
    pub journal: &'a mut Journal,
    /// The block that is being read.
    open: Option<Block>,
    /// Blocks that are whole, but not yet in the spool.
    finished: Vec<Block>,
    /// What was said so far of what the probe needs to go on, as it is handed back.
    state: String,
}

impl<'a> Keeper<'a> {
    pub fn new(desk: &'a Desk<'a>, job: &'a Job, hash: [u8; 32], journal: &'a mut Journal) -> Self {
        Self { desk, job, hash, journal, open: None, finished: Vec::new(), state: String::new() }
    }

    /// Begins a block; they come in the order of the walk.
    pub fn begin(&mut self, head: Head) -> Result<(), Error> {
        if self.open.is_some() || self.journal.after(self.finished.len()) != Some(head.block) {
            return Err(Error::Probe(format!("it began block {} out of turn", head.block)));
        }
        self.open = Some(Block { head, ..Block::default() });
        Ok(())
    }

    /// Takes a body line of the block that was begun.
    pub fn add(&mut self, line: &str) -> Result<(), Error> {
        let out_of_turn = || Error::Probe("it spoke of a host outside a block".into());
        let mut block = self.open.take().ok_or_else(out_of_turn)?;
        let prepared = if block.text.len() > PART && line.starts_with("host") {
            self.prepare(&mut block, false)
        } else if block.text.len() > MAX_FRAME {
            Err(Error::Probe("it said more of one host than there are ports".into()))
        } else {
            Ok(())
        };
        block.text.push_str(line);
        block.text.push('\n');
        self.open = Some(block);
        prepared
    }

    /// Takes a line of what the probe needs to go on. It is kept with the last one, after the blocks that went before are.
    pub fn state(&mut self, line: &str) -> Result<(), Error> {
        self.state += &format!("state {line}\n");
        if self.state.len() > 2 * MAX_FRAME {
            return Err(Error::Probe("it said more of its state than it takes back".into()));
        }
        if line == "." {
            self.commit()?;
            self.journal.keep(&std::mem::take(&mut self.state))?;
        }
        Ok(())
    }

    /// Throws away a block that was begun but not finished.
    pub fn abandon(&mut self) {
        self.state.clear();
        if let Some(block) = self.open.take() {
            self.desk.spool.discard(&block.parts);
        }
    }

    /// Writes the part that was read, signed.
    fn prepare(&self, block: &mut Block, last: bool) -> Result<(), Error> {
        let wrong = |error: crate::wire::Error| Error::Probe(format!("block {}: {error}", block.head.block));
        let hosts = results::parse_hosts(&block.text).map_err(wrong)?;
        let first = hosts.first().map(|host| host.first);
        if block.reached.is_some_and(|reached| first.is_none_or(|first| first <= reached)) {
            return Err(Error::Probe(format!("block {}: hosts do not ascend", block.head.block)));
        }
        let mut part = Results {
            job: self.hash,
            block: block.head.block,
            part: u32::try_from(block.parts.len()).unwrap_or(u32::MAX),
            last,
            scanner: self.job.scanner,
            clock: self.desk.clock.now(),
            offset: self.desk.clock.offset(),
            started: block.head.started,
            ended: block.head.ended,
            probes: 0,
            sent: if block.parts.is_empty() { block.head.sent } else { 0 },
            sample: if block.parts.is_empty() { block.head.sample } else { Sample::default() },
            hosts,
        };
        block.cancelled |= part.hosts.iter().any(is_cancelled);
        let count = part.targets().count();
        part.probes =
            u64::try_from(count.saturating_mul(u128::from(self.job.ports.count()))).unwrap_or(u64::MAX);
        part.check_against(self.job).map_err(wrong)?;
        block.hosts += count;
        block.probes += part.probes;
        block.open += part.hosts.iter().map(open_ports).sum::<u64>();
        block.reached = part.hosts.last().map(|host| host.last);
        let name = Name { job: self.hash, block: block.head.block, part: part.part };
        let frame = seal(part.encode(), |text| self.desk.identity.sign(text));
        block.parts.push(name);
        block.files.push(self.desk.spool.prepare(&name, &frame)?);
        block.text.clear();
        Ok(())
    }

    /// Ends the block that was begun; it is in the spool after the next [`Keeper::commit`]. If nobody `cancelled`, a
    /// probe that did not do all of it was stopped from outside, and the block is to be probed again.
    pub fn finish(&mut self, cancelled: bool) -> Result<(), Error> {
        let mut block =
            self.open.take().ok_or_else(|| Error::Probe("it ended a block that was not begun".into()))?;
        let whole = self.prepare(&mut block, true).and_then(|()| self.check(&block, cancelled));
        if whole.is_err() {
            self.desk.spool.discard(&block.parts);
            return whole;
        }
        self.finished.push(block);
        if self.finished.len() < GROUP { Ok(()) } else { self.commit() }
    }

    fn check(&self, block: &Block, cancelled: bool) -> Result<(), Error> {
        if block.cancelled && !cancelled {
            return Err(Error::Probe("it was stopped from outside".into()));
        }
        if block.hosts != self.job.block_targets(block.head.block).count() {
            return Err(Error::Probe(format!("block {}: hosts are missing", block.head.block)));
        }
        Ok(())
    }

    /// Puts the finished blocks into the spool. Many at once cost the disk little more than one.
    pub fn commit(&mut self) -> Result<(), Error> {
        if self.finished.is_empty() {
            return Ok(());
        }
        let mut finished = std::mem::take(&mut self.finished);
        let files: Vec<File> = finished.iter_mut().flat_map(|block| block.files.drain(..)).collect();
        self.desk.spool.settle(&files)?;
        let done = |block: &Block| Done { block: block.head.block, probes: block.probes, open: block.open };
        self.journal.note(&finished.iter().map(done).collect::<Vec<_>>())?;
        let names: Vec<Name> = finished.iter().flat_map(|block| block.parts.iter().copied()).collect();
        self.desk.spool.publish(&names)
    }
}

/// A block that is being read.
#[derive(Debug, Default)]
struct Block {
    head: Head,
    /// The body lines of the part that is being read.
    text: String,
    parts: Vec<Name>,
    files: Vec<File>,
    hosts: u128,
    probes: u64,
    open: u64,
    /// Something of it was not probed because the job ended early.
    cancelled: bool,
    /// The last host of the parts before.
    reached: Option<u128>,
}

fn open_ports(host: &HostRecord) -> u64 {
    host.exceptions.iter().filter(|run| run.reason == Reason::SynAck).count() as u64
}

fn is_cancelled(host: &HostRecord) -> bool {
    let early = |reason| matches!(reason, Reason::Cancelled | Reason::Expired);
    early(host.base) || host.exceptions.iter().any(|run| early(run.reason))
}
