//! Counting frames: one transaction a batch, through appenders.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ::duckdb::{Appender, Connection, OptionalExt as _, params};
use portolan_scanner::wire::{HostRecord, Reason, Sample, State, hex};

use super::{address, halves, hint};
use crate::ingest::frame::{JobFrame, Proven};
use crate::results::coverage::Coverage;
use crate::results::{Brought, Counted, Error, code};

/// How long after its job was over a scanner may still end a block, in µs.
const GRACE: i64 = 60_000_000;

/// Jobs remembered at once; beyond that everything is forgotten and read again as needed.
const REMEMBERED: usize = 64;

/// The one writing connection, and what it remembers of the store so as not to ask for every frame.
pub struct Writer {
    connection: Connection,
    jobs: HashMap<String, KnownJob>,
    sweeps: HashMap<i32, Coverage>,
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
                    unknown.insert(coverage(&transaction, known.sweep)?);
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
            let coverage = sweeps.get_mut(&job.sweep).expect("looked up above");
            let brought = rows.frame((job.job, job.sweep), number, frame, coverage)?;
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
            "SELECT p.block, p.number, p.part, p.frame, p.hosts,
                CAST(coalesce(sum(t.probes) FILTER (t.reason // 10 <> 5), 0) AS UBIGINT),
                CAST(coalesce(sum(t.probes) FILTER (t.reason // 10 = 5), 0) AS UBIGINT),
                CAST(coalesce(sum(t.probes) FILTER (t.reason // 10 = 1), 0) AS UBIGINT)
             FROM part p LEFT JOIN tally t ON t.part = p.part WHERE p.job = ? GROUP BY ALL",
        )?;
        let mut rows = statement.query([job])?;
        while let Some(row) = rows.next()? {
            let frame =
                hex::decode(&row.get::<_, String>(3)?).map_err(|_| Error::Broken("the hash of a frame"))?;
            let brought = Brought {
                hosts: row.get(4)?,
                covered: row.get(5)?,
                not_probed: row.get(6)?,
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

fn coverage(connection: &Connection, sweep: i32) -> Result<Coverage, Error> {
    let mut coverage = Coverage::default();
    let mut statement = connection.prepare("SELECT high, first, last FROM span WHERE sweep = ?")?;
    let mut rows = statement.query([sweep])?;
    while let Some(row) = rows.next()? {
        let high = row.get(0)?;
        coverage.take(address(high, row.get(1)?), address(high, row.get(2)?));
    }
    Ok(coverage)
}

/// The appenders of one transaction.
struct Rows<'c> {
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
            part: connection.appender("part")?,
            tally: connection.appender("tally")?,
            span: connection.appender("span")?,
            run: connection.appender("run")?,
            open: connection.appender("open_port")?,
            hint: connection.appender("hint")?,
        })
    }

    fn flush(&mut self) -> Result<(), Error> {
        let Self { part, tally, span, run, open, hint } = self;
        for rows in [part, tally, span, run, open, hint] {
            rows.flush()?;
        }
        Ok(())
    }

    /// Adds what the sweep does not have yet; says what that is.
    fn frame(
        &mut self,
        (job, sweep): (i32, i32),
        part: i32,
        frame: &Proven,
        coverage: &mut Coverage,
    ) -> Result<Brought, Error> {
        let (it, ports) = (frame.results(), &frame.job().job().ports);
        let mut tally = [0_u64; Reason::ALL.len()];
        let mut hosts_for = [0_u64; Reason::ALL.len()];
        let mut hosts = 0;
        for record in &it.hosts {
            let excepted: u32 =
                record.exceptions.iter().map(|run| ports.count_within(run.first, run.last)).sum();
            let rest = u16::try_from(ports.count().saturating_sub(excepted)).expect("at most 65535 ports");
            let mut new = 0;
            for (first, last) in coverage.take(record.first, record.last) {
                // A block is bounded, so its hosts fit 64 bits; check_against has seen that they are of the block.
                new += u64::try_from(last - first).unwrap_or(u64::MAX).saturating_add(1);
                self.spans(sweep, part, first, last, record.base, rest)?;
            }
            if new > 0 {
                self.exceptions(sweep, part, record)?;
                hint::append(&mut self.hint, sweep, part, record)?;
                let base = (record.base, new.saturating_mul(u64::from(rest)));
                let runs = record
                    .exceptions
                    .iter()
                    .map(|run| (run.reason, u64::from(ports.count_within(run.first, run.last))));
                let mut seen = 0_u32;
                for (reason, probes) in std::iter::once(base).chain(runs).filter(|(_, probes)| *probes > 0) {
                    let slot = reason as usize;
                    tally[slot] += probes;
                    if seen & (1 << slot) == 0 {
                        hosts_for[slot] += new;
                        seen |= 1 << slot;
                    }
                }
                hosts += new;
            }
        }
        for (slot, reason) in Reason::ALL.into_iter().enumerate().filter(|(slot, _)| tally[*slot] > 0) {
            self.tally.append_row((part, code::of(reason), tally[slot], hosts_for[slot]))?;
        }
        // Whatever its clock says, a scanner probed after it had the job, and not long after the job was over.
        let (from, until) = (frame.job().job().issued, frame.job().job().expires.saturating_add(GRACE));
        let here = |scanner_time: i64| scanner_time.saturating_add(it.offset).clamp(from, until.max(from));
        let hash = hex::encode(&frame.frame().hash());
        let (started, ended) = (here(it.started), here(it.ended));
        let Sample { probed, answered, missed } = it.sample;
        let row = params![
            part, job, it.block, it.part, it.last, hash, started, ended, it.sent, hosts, probed, answered,
            missed
        ];
        self.part.append_row(row)?;
        let sum = |wanted: fn(State) -> bool| {
            let these = Reason::ALL.into_iter().zip(tally).filter(|(reason, _)| wanted(reason.state()));
            these.map(|(_, probes)| probes).sum()
        };
        Ok(Brought {
            hosts,
            covered: sum(|state| state != State::NotProbed),
            not_probed: sum(|state| state == State::NotProbed),
            open: sum(|state| state == State::Open),
        })
    }

    fn spans(
        &mut self,
        sweep: i32,
        part: i32,
        first: u128,
        last: u128,
        base: Reason,
        rest: u16,
    ) -> Result<(), Error> {
        let mut from = first;
        loop {
            // A row has one upper half, so a span ends where the lower half is full.
            let until = last.min(from | u128::from(u64::MAX));
            let ((high, low), (_, low_last)) = (halves(from), halves(until));
            self.span.append_row((sweep, part, high, low, low_last, code::of(base), rest))?;
            if until == last {
                return Ok(());
            }
            from = until + 1;
        }
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
