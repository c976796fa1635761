//! The SQL of scans in jobs.db: what scanners want, what they were given, and what of it is in the results.

use crate::clock::Timestamp;
use crate::error::Error;
use rusqlite::{Connection, Row, Transaction, params};
use uuid::Uuid;

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Signed; its scanner has not fetched it.
    Ready,
    /// Its scanner has it.
    Leased,
    /// Its scanner said that it is over.
    Ended,
    /// Its scanner fell silent.
    Lost,
}

/// How a job ended, as its scanner said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnd {
    Done,
    Cancelled,
    Failed,
}

/// A job, and how much of it is in the results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub hash: String,
    pub batch: u32,
    pub epoch: u32,
    pub scanner: Uuid,
    pub state: JobState,
    pub end: Option<(JobEnd, String)>,
    /// Since when its scanner is to stop.
    pub cancel: Option<Timestamp>,
    /// Its scanner is to rest.
    pub pause: bool,
    /// When it is over, whatever its scanner says.
    pub expires_at: Option<Timestamp>,
    /// When it was made, and when its scanner last gave a sign of life under it.
    pub made_at: Timestamp,
    pub renewed_at: Option<Timestamp>,
    /// Probes, open ports and probes per second, as its scanner says.
    pub done: u64,
    pub open: u64,
    pub rate: u64,
    /// Blocks it has, and those whose every part is in the results.
    pub blocks: u64,
    pub loaded_blocks: u64,
    /// In the results: pairs with a result, and open ports. Less than none, where it took the place of more.
    pub loaded_covered: i64,
    pub loaded_open: i64,
}

impl Job {
    /// Whether everything it was to bring is in the results.
    pub fn is_whole(&self) -> bool {
        self.loaded_blocks >= self.blocks
    }

    /// The last sign of life.
    pub fn alive_at(&self) -> Timestamp {
        self.renewed_at.map_or(self.made_at, |renewed| renewed.max(self.made_at))
    }
}

/// Every job of these batches of a scan.
pub fn jobs(db: &Connection, scan: Uuid, batches: &[u32]) -> Result<Vec<Job>, Error> {
    if batches.is_empty() {
        return Ok(Vec::new());
    }
    // A block is whole when its last part is there and as many parts as that one's number says.
    let sql = "
        WITH mine AS MATERIALIZED (
            SELECT j.* FROM json_each(?2) b CROSS JOIN job j ON j.scan = ?1 AND j.batch = b.value),
        block AS (
            SELECT l.job_hash, l.block, count(*) AS parts, max(CASE WHEN l.last THEN l.part + 1 END) AS wanted,
                sum(l.covered) AS covered, sum(l.open) AS open
            FROM mine m CROSS JOIN loaded l ON l.job_hash = m.hash GROUP BY l.job_hash, l.block),
        brought AS (
            SELECT job_hash, count(CASE WHEN parts = wanted THEN 1 END) AS blocks, sum(covered) AS covered,
                sum(open) AS open
            FROM block GROUP BY job_hash)
        SELECT j.hash, j.batch, j.epoch, j.scanner, j.state, j.end_state, j.end_detail, j.cancel, j.made_at,
            j.renewed_at, j.done, j.open, j.rate, j.blocks, coalesce(b.blocks, 0), coalesce(b.covered, 0),
            coalesce(b.open, 0), j.expires_at, j.pause
        FROM mine j LEFT JOIN brought b ON b.job_hash = j.hash ORDER BY j.batch, j.epoch";
    let batches = serde_json::to_string(batches).map_err(Error::internal)?;
    let values = [scan.to_string(), batches];
    Ok(db.prepare_cached(sql)?.query_map(values, job)?.collect::<Result<_, _>>()?)
}

fn job(row: &Row) -> rusqlite::Result<Job> {
    let (state, end): (String, Option<String>) = (row.get(4)?, row.get(5)?);
    let end = match end.as_deref() {
        Some("done") => Some(JobEnd::Done),
        Some("cancelled") => Some(JobEnd::Cancelled),
        Some(_) => Some(JobEnd::Failed),
        None => None,
    };
    let detail: Option<String> = row.get(6)?;
    let scanner: String = row.get(3)?;
    Ok(Job {
        hash: row.get(0)?,
        batch: row.get(1)?,
        epoch: row.get(2)?,
        scanner: Uuid::try_parse(&scanner).unwrap_or_default(),
        state: match state.as_str() {
            "ready" => JobState::Ready,
            "leased" => JobState::Leased,
            "ended" => JobState::Ended,
            _ => JobState::Lost,
        },
        end: end.map(|end| (end, detail.unwrap_or_default())),
        cancel: Some(row.get(7)?).filter(|since| *since > Timestamp::EPOCH),
        expires_at: row.get(17)?,
        pause: row.get(18)?,
        made_at: row.get(8)?,
        renewed_at: row.get(9)?,
        done: row.get(10)?,
        open: row.get(11)?,
        rate: row.get(12)?,
        blocks: row.get(13)?,
        loaded_blocks: row.get(14)?,
        loaded_covered: row.get(15)?,
        loaded_open: row.get(16)?,
    })
}

/// Scanners that wait for work now and have none, who waited longest first.
pub fn wanting(db: &Connection, now: Timestamp) -> Result<Vec<Uuid>, Error> {
    let sql = "SELECT w.scanner FROM want w JOIN scanner s ON s.id = w.scanner AND s.revoked = 0
               WHERE w.until > ? AND NOT EXISTS
                   (SELECT 1 FROM job j WHERE j.scanner = w.scanner AND j.state IN ('ready', 'leased'))
               ORDER BY w.until LIMIT 1000";
    ids(db, sql, &[&now])
}

/// Scanners that work or wait for work.
pub fn at_work(db: &Connection, now: Timestamp) -> Result<Vec<Uuid>, Error> {
    let sql = "SELECT scanner FROM want WHERE until > ?
               UNION SELECT scanner FROM job WHERE state IN ('ready', 'leased')";
    ids(db, sql, &[&now])
}

fn ids(db: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<Uuid>, Error> {
    let mut statement = db.prepare_cached(sql)?;
    let texts = statement.query_map(values, |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    Ok(texts.iter().filter_map(|id| Uuid::try_parse(id).ok()).collect())
}

/// A job as the dispatcher has signed it.
pub struct NewJob<'a> {
    pub hash: &'a str,
    pub job: &'a portolan_scanner::wire::Job,
    pub frame: &'a str,
    pub made_at: Timestamp,
}

/// Hands a job to its scanner, which wants none any more.
pub fn offer(tx: &Transaction, new: &NewJob) -> Result<(), Error> {
    let NewJob { hash, job, frame, made_at } = new;
    let probes = i64::try_from(job.probes()).unwrap_or(i64::MAX);
    tx.execute(
        "INSERT INTO job (hash, scan, batch, epoch, scanner, vantage, frame, blocks, probes, state, made_at,
           expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'ready', ?, ?)",
        params![
            hash,
            job.scan.to_string(),
            job.batch,
            job.epoch,
            job.scanner.to_string(),
            job.vantage.to_string(),
            frame,
            job.blocks(),
            probes,
            made_at,
            Timestamp::from_micros(job.expires)
        ],
    )?;
    tx.execute("DELETE FROM want WHERE scanner = ?", [job.scanner.to_string()])?;
    Ok(())
}

/// The lease is over: whatever its scanner still does under it, it is told that it lost it.
pub fn lose(tx: &Transaction, hash: &str) -> Result<(), Error> {
    tx.execute("UPDATE job SET state = 'lost' WHERE hash = ? AND state IN ('ready', 'leased')", [hash])?;
    Ok(())
}

/// Its scanner is told to stop at its next sign of life.
pub fn cancel(tx: &Transaction, hash: &str, now: Timestamp) -> Result<(), Error> {
    tx.execute("UPDATE job SET cancel = ? WHERE hash = ? AND cancel = 0", params![now, hash])?;
    Ok(())
}

/// Its scanner is told to rest, or to go on, at its next sign of life.
pub fn pause(tx: &Transaction, hash: &str, rest: bool) -> Result<(), Error> {
    tx.execute("UPDATE job SET pause = ? WHERE hash = ?", params![rest, hash])?;
    Ok(())
}

/// Changes nothing that counts, so that whoever watches looks again.
pub fn nudge(tx: &Transaction) -> Result<(), Error> {
    tx.execute("DELETE FROM want WHERE until < 0", [])?;
    Ok(())
}

/// Pairs of host and port of a scan that are in the results, over all vantages.
pub fn swept(db: &Connection, scan: Uuid) -> Result<u64, Error> {
    let sql = "SELECT coalesce(sum(covered), 0) FROM swept WHERE scan = ?";
    Ok(db.prepare_cached(sql)?.query_row([scan.to_string()], |row| row.get(0))?)
}

/// Scans that jobs.db knows of.
pub fn scans(db: &Connection) -> Result<Vec<Uuid>, Error> {
    ids(db, "SELECT DISTINCT scan FROM job", &[])
}

/// Removes everything about these scans.
pub fn forget(tx: &Transaction, scans: &[Uuid]) -> Result<(), Error> {
    for scan in scans {
        let scan = scan.to_string();
        for (table, job) in [("loaded", "job_hash"), ("accepted", "job")] {
            let sql = format!("DELETE FROM {table} WHERE {job} IN (SELECT hash FROM job WHERE scan = ?)");
            tx.execute(&sql, [&scan])?;
        }
        tx.execute("DELETE FROM job WHERE scan = ?", [&scan])?;
        tx.execute("DELETE FROM swept WHERE scan = ?", [&scan])?;
    }
    Ok(())
}
