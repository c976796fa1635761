//! Counting frames: one transaction a batch, through appenders.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ::duckdb::{Appender, Connection, OptionalExt as _, params};
use portolan_scanner::net::Ports;
use portolan_scanner::wire::{HostRecord, Reason, Sample, State, hex};

use super::tally::Tally;
use super::{address, halves, hint, replace};
use crate::ingest::frame::{JobFrame, Proven};
use crate::results::coverage::{self, Known, Taken};
use crate::results::{Brought, Counted, Error, code};

/// How long after its job was over a scanner may still end a block, in µs.
const GRACE: i64 = 60_000_000;

/// Jobs remembered at once; beyond that everything is forgotten and read again as needed.
const REMEMBERED: usize = 64;

/// The one writing connection, and what it remembers of the store so as not to ask for every frame.
pub struct Writer {
    connection: Connection,
    jobs: HashMap<String, KnownJob>,
    sweeps: HashMap<i32, Known>,
    next: Option<Next>,
}

/// A job that the store has.
#[derive(Clone)]
struct KnownJob {
    job: i32,
    sweep: i32,
    /// Blocks and parts already counted.
    parts: HashMap<(u64, u32), KnownPart>,
}

/// A part that the store has: its number, its frame, and what that brought.
#[derive(Clone, Copy)]
struct KnownPart {
    number: i32,
    frame: [u8; 32],
    brought: Brought,
}

impl KnownPart {
    fn counted(&self, new: bool, frame: &[u8; 32]) -> Counted {
        let number = u64::try_from(self.number).expect("numbers begin at 1");
        Counted { new, same: self.frame == *frame, number, brought: self.brought }
    }
}

/// The next free numbers.
#[derive(Clone, Copy)]
struct Next {
    sweep: i32,
    job: i32,
    part: i32,
}

impl Writer {
    pub fn new(connection: Connection) -> Self {
        Self { connection, jobs: HashMap::new(), sweeps: HashMap::new(), next: None }
    }

    /// Drops what is remembered: it may speak of a transaction that never was.
    pub fn forget(&mut self) {
        self.jobs.clear();
        self.sweeps.clear();
        self.next = None;
    }

    pub fn count(&mut self, frames: &[Proven]) -> Result<Vec<Counted>, Error> {
        if self.jobs.len() > REMEMBERED {
            self.forget();
        }
        let counted = self.transaction(frames);
        if counted.is_err() {
            self.forget();
        }
        counted
    }

    fn transaction(&mut self, frames: &[Proven]) -> Result<Vec<Counted>, Error> {
        let Self { connection, jobs, sweeps, next } = self;
        let transaction = connection.transaction()?;
        let mut next = match next {
            Some(next) => *next,
            None => Next::read(&transaction)?,
        };
        for frame in frames {
            if let Entry::Vacant(unknown) = jobs.entry(frame.job().hash()) {
                let known = KnownJob::find_or_add(&transaction, &mut next, frame.job())?;
                if let Entry::Vacant(unknown) = sweeps.entry(known.sweep) {
                    unknown.insert(known_hosts(&transaction, known.sweep)?);
                }
                unknown.insert(known);
            }
        }
        let mut rows = Rows::new(&transaction)?;
        let mut counted = Vec::with_capacity(frames.len());
        for frame in frames {
            let job = jobs.get_mut(&frame.job().hash()).expect("looked up above");
            let hash = frame.frame().hash();
            let free = match job.parts.entry((frame.results().block, frame.results().part)) {
                Entry::Occupied(there) => {
                    counted.push(there.get().counted(false, &hash));
                    continue;
                }
                Entry::Vacant(free) => free,
            };
            let number = next.part;
            next.part += 1;
            let known = sweeps.get_mut(&job.sweep).expect("looked up above");
            let brought = rows.frame((job.job, job.sweep), number, frame, known)?;
            counted.push(free.insert(KnownPart { number, frame: hash, brought }).counted(true, &hash));
        }
        rows.flush()?;
        drop(rows);
        transaction.commit()?;
        self.next = Some(next);
        Ok(counted)
    }
}

impl Next {
    fn read(connection: &Connection) -> Result<Self, Error> {
        let after = |column: &str, table: &str| {
            let sql = format!("SELECT coalesce(max({column}), 0) + 1 FROM {table}");
            connection.query_row(&sql, [], |row| row.get(0))
        };
        Ok(Self { sweep: after("sweep", "sweep")?, job: after("job", "job")?, part: after("part", "part")? })
    }
}

impl KnownJob {
    fn find_or_add(connection: &Connection, next: &mut Next, frame: &JobFrame) -> Result<Self, Error> {
        let known = connection
            .query_row("SELECT job, sweep FROM job WHERE hash = ?", [frame.hash()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((job, sweep)) = known else { return Self::add(connection, next, frame) };
        let mut parts = HashMap::new();
        let mut statement = connection.prepare(
            "SELECT p.block, p.number, p.part, p.frame, p.hosts, p.replaced,
                CAST(coalesce(sum(t.probes) FILTER (t.reason // 10 <> 5), 0) AS BIGINT),
                CAST(coalesce(sum(t.probes) FILTER (t.reason // 10 = 1), 0) AS BIGINT)
             FROM part p LEFT JOIN tally t ON t.part = p.part WHERE p.job = ? GROUP BY ALL",
        )?;
        let mut rows = statement.query([job])?;
        while let Some(row) = rows.next()? {
            let frame =
                hex::decode(&row.get::<_, String>(3)?).map_err(|_| Error::Broken("the hash of a frame"))?;
            let brought = Brought {
                hosts: row.get(4)?,
                replaced: row.get(5)?,
                covered: row.get(6)?,
                open: row.get(7)?,
            };
            parts.insert((row.get(0)?, row.get(1)?), KnownPart { number: row.get(2)?, frame, brought });
        }
        Ok(Self { job, sweep, parts })
    }

    fn add(connection: &Connection, next: &mut Next, frame: &JobFrame) -> Result<Self, Error> {
        let it = frame.job();
        let (scan, vantage) = (it.scan.to_string(), it.vantage.to_string());
        let sweep = connection
            .query_row("SELECT sweep FROM sweep WHERE scan = ? AND vantage = ?", [&scan, &vantage], |row| {
                row.get(0)
            })
            .optional()?;
        let sweep = if let Some(sweep) = sweep {
            sweep
        } else {
            let sweep = next.sweep;
            next.sweep += 1;
            connection.execute("INSERT INTO sweep VALUES (?, ?, ?)", params![sweep, scan, vantage])?;
            sweep
        };
        let job = next.job;
        next.job += 1;
        connection.execute(
            "INSERT INTO job VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                job,
                frame.hash(),
                sweep,
                it.scanner.to_string(),
                it.batch,
                it.epoch,
                it.ports.to_string()
            ],
        )?;
        Ok(Self { job, sweep, parts: HashMap::new() })
    }
}

fn known_hosts(connection: &Connection, sweep: i32) -> Result<Known, Error> {
    let mut known = Known::default();
    let mut statement = connection.prepare("SELECT high, first, last, holed FROM span WHERE sweep = ?")?;
    let mut rows = statement.query([sweep])?;
    while let Some(row) = rows.next()? {
        let high = row.get(0)?;
        known.take(address(high, row.get(1)?), address(high, row.get(2)?), row.get(3)?);
    }
    Ok(known)
}

/// Whether some port's turn had not come yet.
fn is_holed(record: &HostRecord, rest: u16) -> bool {
    (rest > 0 && coverage::is_hole(record.base))
        || record.exceptions.iter().any(|run| coverage::is_hole(run.reason))
}

/// How many ports of a host are in its base state.
fn rest(record: &HostRecord, ports: &Ports) -> u16 {
    let excepted: u32 = record.exceptions.iter().map(|run| ports.count_within(run.first, run.last)).sum();
    u16::try_from(ports.count().saturating_sub(excepted)).expect("at most 65535 ports")
}

/// The appenders of one transaction.
struct Rows<'c> {
    connection: &'c Connection,
    part: Appender<'c>,
    tally: Appender<'c>,
    span: Appender<'c>,
    run: Appender<'c>,
    open: Appender<'c>,
    hint: Appender<'c>,
}

impl<'c> Rows<'c> {
    fn new(connection: &'c Connection) -> Result<Self, Error> {
        Ok(Self {
            connection,
            part: connection.appender("part")?,
            tally: connection.appender("tally")?,
            span: connection.appender("span")?,
            run: connection.appender("run")?,
            open: connection.appender("open_port")?,
            hint: connection.appender("hint")?,
        })
    }

    fn flush(&mut self) -> Result<(), Error> {
        let Self { connection: _, part, tally, span, run, open, hint } = self;
        for rows in [part, tally, span, run, open, hint] {
            rows.flush()?;
        }
        Ok(())
    }

    /// Adds what the sweep does not have yet, or has worse; says what that is.
    fn frame(
        &mut self,
        (job, sweep): (i32, i32),
        part: i32,
        frame: &Proven,
        known: &mut Known,
    ) -> Result<Brought, Error> {
        let (it, ports) = (frame.results(), &frame.job().job().ports);
        let take = |record: &HostRecord| {
            let rest = rest(record, ports);
            (rest, known.take(record.first, record.last, is_holed(record, rest)))
        };
        // A frame names a host once, so all that it replaces can go before any of it comes.
        let taken: Vec<(u16, Taken)> = it.hosts.iter().map(take).collect();
        let void: Vec<_> = taken.iter().flat_map(|(_, taken)| taken.replaced.iter().copied()).collect();
        let mut tally = Tally::default();
        if !void.is_empty() {
            self.flush()?;
            replace::take_back(self.connection, sweep, &void, &mut tally)?;
        }
        let mut counted = 0;
        for (record, (rest, Taken { hosts, .. })) in it.hosts.iter().zip(&taken) {
            if hosts.is_empty() {
                continue;
            }
            // A block is bounded, so its hosts fit 64 bits; check_against has seen that they are of the block.
            let count = u64::try_from(coverage::count(hosts)).unwrap_or(u64::MAX);
            self.spans((sweep, part), hosts, record, *rest)?;
            self.exceptions(sweep, part, record)?;
            hint::append(&mut self.hint, sweep, part, record)?;
            let exceptions =
                record.exceptions.iter().map(|run| (run.reason, ports.count_within(run.first, run.last)));
            let reasons = std::iter::once((record.base, u32::from(*rest))).chain(exceptions);
            tally.add(i64::try_from(count).unwrap_or(i64::MAX), reasons);
            counted += count;
        }
        let replaced = u64::try_from(coverage::count(&void)).unwrap_or(u64::MAX);
        let brought = Brought {
            hosts: counted - replaced,
            replaced,
            covered: tally.pairs(|state| state != State::NotProbed),
            open: tally.pairs(|state| state == State::Open),
        };
        for (reason, probes, hosts) in tally.rows() {
            self.tally.append_row((part, code::of(reason), probes, hosts))?;
        }
        // Whatever its clock says, a scanner probed after it had the job, and not long after the job was over.
        let (from, until) = (frame.job().job().issued, frame.job().job().expires.saturating_add(GRACE));
        let here = |scanner_time: i64| scanner_time.saturating_add(it.offset).clamp(from, until.max(from));
        let hash = hex::encode(&frame.frame().hash());
        let (started, ended) = (here(it.started), here(it.ended));
        let Sample { probed, answered, missed } = it.sample;
        self.part.append_row(params![
            part,
            job,
            it.block,
            it.part,
            it.last,
            hash,
            started,
            ended,
            it.sent,
            brought.hosts,
            brought.replaced,
            probed,
            answered,
            missed
        ])?;
        Ok(brought)
    }

    fn spans(
        &mut self,
        (sweep, part): (i32, i32),
        hosts: &[(u128, u128)],
        record: &HostRecord,
        rest: u16,
    ) -> Result<(), Error> {
        let (base, holed) = (code::of(record.base), is_holed(record, rest));
        for &(first, last) in hosts {
            let mut from = first;
            loop {
                // A row has one upper half, so a span ends where the lower half is full.
                let until = last.min(from | u128::from(u64::MAX));
                let ((high, low), (_, low_last)) = (halves(from), halves(until));
                self.span.append_row((sweep, part, high, low, low_last, base, rest, holed))?;
                if until == last {
                    break;
                }
                from = until + 1;
            }
        }
        Ok(())
    }

    fn exceptions(&mut self, sweep: i32, part: i32, record: &HostRecord) -> Result<(), Error> {
        let (high, low) = halves(record.first);
        for run in &record.exceptions {
            if run.reason == Reason::SynAck {
                self.open.append_row((sweep, part, high, low, run.first, run.rtt_us))?;
            } else {
                self.run.append_row((sweep, high, low, run.first, run.last, code::of(run.reason)))?;
            }
        }
        Ok(())
    }
}
