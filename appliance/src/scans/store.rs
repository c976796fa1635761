//! The SQL of scans in config.db.

use super::decide::Tally;
use super::plan::Cut;
use super::{Assigned, Batch, Filter, Frozen, Scan, State};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::listing::{Filters, Listing};
use crate::scope::{Manner, Timing};
use crate::web::{ListQuery, Page};
use portolan_scanner::net::{Ports, Ranges};
use portolan_scanner::wire::hex;
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::str::FromStr;
use uuid::Uuid;

const SCAN: &str = "id, template, template_name, frozen_scope, preset, rate, host_rate, timeout_ms, retries, method, \
    hints, own, seed, hosts, probes, state, detail, excluded_since, by_name, created_at, started_at, ended_at";

pub fn insert(
    tx: &Transaction,
    scan: &Scan,
    frozen: &Frozen,
    by: &str,
    key: Option<&str>,
) -> Result<(), Error> {
    tx.execute(
        "INSERT OR IGNORE INTO frozen_scope (sha256, targets, excluded, ports) VALUES (?, ?, ?, ?)",
        params![
            scan.frozen_scope,
            frozen.targets.to_string(),
            frozen.excluded.to_string(),
            frozen.ports.to_string()
        ],
    )?;
    let sql = format!("INSERT INTO scan ({SCAN}, by_id, request_key) VALUES ({}?)", "?, ".repeat(23));
    tx.execute(
        &sql,
        params![
            scan.id.to_string(),
            scan.template.to_string(),
            scan.template_name,
            scan.frozen_scope,
            scan.timing.preset,
            scan.timing.rate,
            scan.timing.host_rate,
            scan.timing.timeout_ms,
            scan.timing.retries,
            scan.manner.method,
            scan.manner.hints,
            scan.manner.own,
            hex::encode(&scan.seed),
            scan.hosts,
            scan.probes,
            scan.state.as_str(),
            scan.detail,
            scan.excluded_since.to_string(),
            scan.by,
            scan.created_at,
            scan.started_at,
            scan.ended_at,
            by,
            key
        ],
    )?;
    Ok(())
}

pub fn insert_scanners(tx: &Transaction, scan: Uuid, scanners: &[Assigned]) -> Result<(), Error> {
    let sql = "INSERT INTO scan_scanner (scan, scanner, vantage, vantage_name) VALUES (?, ?, ?, ?)";
    let mut statement = tx.prepare(sql)?;
    for assigned in scanners {
        let Assigned { scanner, vantage, vantage_name } = assigned;
        statement.execute(params![
            scan.to_string(),
            scanner.to_string(),
            vantage.to_string(),
            vantage_name
        ])?;
    }
    Ok(())
}

pub fn insert_batches(tx: &Transaction, scan: Uuid, cuts: &[Cut], ports: u32) -> Result<(), Error> {
    let sql =
        "INSERT INTO batch (scan, number, vantage, first_host, hosts, probes) VALUES (?, ?, ?, ?, ?, ?)";
    let mut statement = tx.prepare(sql)?;
    for cut in cuts {
        let probes = cut.hosts * u64::from(ports);
        statement.execute(params![
            scan.to_string(),
            cut.number,
            cut.vantage.to_string(),
            cut.first_host,
            cut.hosts,
            probes
        ])?;
    }
    Ok(())
}

/// The scan that this person launched with this key.
pub fn by_key(db: &Connection, by: &str, key: &str) -> Result<Option<Scan>, Error> {
    let sql = format!("SELECT {SCAN} FROM scan WHERE by_id = ? AND request_key = ?");
    Ok(db.query_row(&sql, [by, key], scan_row).optional()?)
}

pub fn scan(db: &Connection, id: Uuid) -> Result<Option<Scan>, Error> {
    let sql = format!("SELECT {SCAN} FROM scan WHERE id = ?");
    Ok(db.query_row(&sql, [id.to_string()], scan_row).optional()?)
}

/// The newest ended scan of the same template that was launched before this one.
pub fn before(db: &Connection, scan: &Scan) -> Result<Option<Uuid>, Error> {
    let sql = "SELECT id FROM scan WHERE template = ? AND created_at < ? AND ended_at IS NOT NULL
               ORDER BY created_at DESC, id DESC LIMIT 1";
    let id = db
        .prepare_cached(sql)?
        .query_row(params![scan.template.to_string(), scan.created_at], |row| parsed(row, "id"));
    Ok(id.optional()?)
}

/// Scans in which something can still happen, oldest first.
pub fn open_scans(db: &Connection) -> Result<Vec<Scan>, Error> {
    let sql = format!("SELECT {SCAN} FROM scan WHERE ended_at IS NULL ORDER BY created_at, id LIMIT 10000");
    Ok(db.prepare_cached(&sql)?.query_map([], scan_row)?.collect::<Result<_, _>>()?)
}

/// Those of these scans that ended before this time.
pub fn ended_before(db: &Connection, scans: &[Uuid], before: Timestamp) -> Result<Vec<Uuid>, Error> {
    let mut statement = db.prepare("SELECT EXISTS (SELECT 1 FROM scan WHERE id = ? AND ended_at < ?)")?;
    let mut old = Vec::new();
    for scan in scans {
        if statement.query_row(params![scan.to_string(), before], |row| row.get(0))? {
            old.push(*scan);
        }
    }
    Ok(old)
}

/// How scans are listed. One that has not started sorts by its launch, as the list shows it.
const LISTING: Listing = Listing {
    name: "scans",
    table: "scan",
    search: &["template_name"],
    sorts: &[("started_at", "created_at"), ("template", "template_name"), ("state", "state")],
};

/// One page of scans.
pub fn list(db: &Connection, query: &ListQuery, filter: &Filter) -> Result<Page<Scan>, Error> {
    let mut filters = Filters::default();
    if let Some(state) = filter.state {
        filters = filters.only("state = ?", [Value::Text(state.as_str().to_owned())]);
    }
    if let Some(template) = filter.template {
        filters = filters.only("template = ?", [Value::Text(template.to_string())]);
    }
    LISTING.page(db, query, filters, scan_row)
}

pub fn frozen(db: &Connection, scan: Uuid) -> Result<Option<Frozen>, Error> {
    let sql = "SELECT f.* FROM scan s JOIN frozen_scope f ON f.sha256 = s.frozen_scope WHERE s.id = ?";
    let frozen = |row: &Row| {
        Ok(Frozen {
            targets: parsed(row, "targets")?,
            excluded: parsed(row, "excluded")?,
            ports: parsed::<Ports>(row, "ports")?,
        })
    };
    Ok(db.query_row(sql, [scan.to_string()], frozen).optional()?)
}

pub fn scanners(db: &Connection, scan: Uuid) -> Result<Vec<Assigned>, Error> {
    let sql =
        "SELECT scanner, vantage, vantage_name FROM scan_scanner WHERE scan = ? ORDER BY vantage, scanner";
    let assigned = |row: &Row| {
        Ok(Assigned {
            scanner: parsed(row, "scanner")?,
            vantage: parsed(row, "vantage")?,
            vantage_name: row.get("vantage_name")?,
        })
    };
    Ok(db.prepare_cached(sql)?.query_map([scan.to_string()], assigned)?.collect::<Result<_, _>>()?)
}

const BATCH: &str = "SELECT number, vantage, first_host, hosts, probes, state, epoch, scanner, covered, open, detail FROM batch";

fn batch_row(row: &Row) -> rusqlite::Result<Batch> {
    Ok(Batch {
        number: row.get("number")?,
        vantage: parsed(row, "vantage")?,
        first_host: row.get("first_host")?,
        hosts: row.get("hosts")?,
        probes: row.get("probes")?,
        state: word(row, "state")?,
        epoch: row.get("epoch")?,
        scanner: row.get::<_, Option<String>>("scanner")?.and_then(|id| Uuid::try_parse(&id).ok()),
        covered: row.get("covered")?,
        open: row.get("open")?,
        detail: row.get("detail")?,
    })
}

fn find_batches(
    db: &Connection,
    condition: &str,
    values: &[&dyn rusqlite::ToSql],
) -> Result<Vec<Batch>, Error> {
    let mut statement = db.prepare_cached(&format!("{BATCH} WHERE {condition}"))?;
    Ok(statement.query_map(values, batch_row)?.collect::<Result<_, _>>()?)
}

/// Every batch of a scan: as many as its plan has for each of its vantages.
pub fn batches(db: &Connection, scan: Uuid) -> Result<Vec<Batch>, Error> {
    find_batches(db, "scan = ? ORDER BY number", &[&scan.to_string()])
}

/// Those that run.
pub fn running(db: &Connection, scan: Uuid) -> Result<Vec<Batch>, Error> {
    find_batches(db, "scan = ? AND state = 'running' ORDER BY number", &[&scan.to_string()])
}

/// Those that wait although a job was signed for them before.
pub fn tried(db: &Connection, scan: Uuid) -> Result<Vec<Batch>, Error> {
    let condition = "scan = ? AND state = 'waiting' AND epoch > 0 ORDER BY number";
    find_batches(db, condition, &[&scan.to_string()])
}

/// Those that wait in a vantage.
pub fn waiting(db: &Connection, scan: Uuid, vantage: Uuid) -> Result<Vec<Batch>, Error> {
    let condition = "scan = ? AND vantage = ? AND state = 'waiting' ORDER BY number";
    find_batches(db, condition, &[&scan.to_string(), &vantage.to_string()])
}

/// The first that waits in a vantage and was not last given to this scanner; with `again`, the first of those that were.
pub fn next_batch(
    db: &Connection,
    scan: Uuid,
    vantage: Uuid,
    scanner: Uuid,
    again: bool,
) -> Result<Option<Batch>, Error> {
    let condition =
        "scan = ? AND vantage = ? AND state = 'waiting' AND (scanner IS ?) = ? ORDER BY number LIMIT 1";
    let values: [&dyn rusqlite::ToSql; 4] =
        [&scan.to_string(), &vantage.to_string(), &scanner.to_string(), &again];
    Ok(find_batches(db, condition, &values)?.pop())
}

/// Whether something waits in a vantage.
pub fn is_waiting(db: &Connection, scan: Uuid, vantage: Uuid) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM batch WHERE scan = ? AND vantage = ? AND state = 'waiting')";
    let values = [scan.to_string(), vantage.to_string()];
    Ok(db.prepare_cached(sql)?.query_row(values, |row| row.get(0))?)
}

/// Whether no batch of a scan can change any more.
pub fn is_over(db: &Connection, scan: Uuid) -> Result<bool, Error> {
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM batch WHERE scan = ?1 AND state = 'running')
               AND NOT EXISTS (SELECT 1 FROM batch WHERE scan = ?1 AND state = 'waiting')";
    Ok(db.prepare_cached(sql)?.query_row([scan.to_string()], |row| row.get(0))?)
}

/// What the batches of a scan come to.
pub fn tally(db: &Connection, scan: Uuid) -> Result<Tally, Error> {
    let sql = "SELECT count(*), count(CASE WHEN state <> 'done' THEN 1 END), coalesce(sum(covered), 0),
                 (SELECT detail FROM batch WHERE scan = ?1 AND state = 'given-up' ORDER BY number DESC LIMIT 1)
               FROM batch WHERE scan = ?1";
    let tally = |row: &Row| {
        Ok(Tally {
            batches: row.get(0)?,
            not_done: row.get(1)?,
            covered: row.get(2)?,
            why: row.get(3)?,
            excluded: 0,
        })
    };
    Ok(db.prepare_cached(sql)?.query_row([scan.to_string()], tally)?)
}

/// What the batches of a scan brought that do not run: pairs with a result, and open ports.
pub fn brought(db: &Connection, scan: Uuid) -> Result<(u64, u64), Error> {
    let sql = "SELECT coalesce(sum(covered), 0), coalesce(sum(open), 0) FROM batch WHERE scan = ? AND state <> 'running'";
    Ok(db.prepare_cached(sql)?.query_row([scan.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Writes where a batch stands; says whether it was open until now, so that an end is written once.
pub fn update_batch(tx: &Transaction, scan: Uuid, batch: &Batch) -> Result<bool, Error> {
    let changed = tx
        .prepare_cached(
            "UPDATE batch SET state = ?, epoch = ?, scanner = ?, covered = ?, open = ?, detail = ?
         WHERE scan = ? AND number = ? AND state IN ('waiting', 'running')",
        )?
        .execute(params![
            batch.state.as_str(),
            batch.epoch,
            batch.scanner.map(|id| id.to_string()),
            batch.covered,
            batch.open,
            batch.detail,
            scan.to_string(),
            batch.number
        ])?;
    Ok(changed == 1)
}

/// Lets a scan rest or go on.
pub fn pause(tx: &Transaction, scan: Uuid, state: State) -> Result<(), Error> {
    tx.execute("UPDATE scan SET state = ? WHERE id = ?", [state.as_str(), &scan.to_string()])?;
    Ok(())
}

/// Writes what of a scan's targets was excluded by the time it ended.
pub fn set_excluded_since(tx: &Transaction, scan: Uuid, excluded: &Ranges) -> Result<(), Error> {
    let sql = "UPDATE scan SET excluded_since = ? WHERE id = ?";
    tx.execute(sql, [excluded.to_string(), scan.to_string()])?;
    Ok(())
}

/// Writes where a scan stands. Its start and its end are each written once; one that is to stop does not run again.
pub fn set_state(
    tx: &Transaction,
    scan: Uuid,
    state: State,
    detail: Option<&str>,
    at: Option<Timestamp>,
) -> Result<(), Error> {
    let (started, ended) = match state {
        State::Running => (at, None),
        State::Completed | State::Partial | State::Cancelled | State::Failed => (None, at),
        State::Queued | State::Paused | State::Cancelling => (None, None),
    };
    tx.execute(
        "UPDATE scan SET state = ?1, detail = coalesce(?2, detail), started_at = coalesce(started_at, ?3),
         ended_at = coalesce(ended_at, ?4) WHERE id = ?5 AND NOT (?1 = 'running' AND state <> 'queued')",
        params![state.as_str(), detail, started, ended, scan.to_string()],
    )?;
    Ok(())
}

fn scan_row(row: &Row) -> rusqlite::Result<Scan> {
    let seed: String = row.get("seed")?;
    let wrong = |_| rusqlite::Error::InvalidColumnType(0, "seed".to_owned(), Type::Text);
    Ok(Scan {
        id: parsed(row, "id")?,
        template: parsed(row, "template")?,
        template_name: row.get("template_name")?,
        frozen_scope: row.get("frozen_scope")?,
        timing: Timing {
            preset: row.get("preset")?,
            rate: row.get("rate")?,
            host_rate: row.get("host_rate")?,
            timeout_ms: row.get("timeout_ms")?,
            retries: row.get("retries")?,
        },
        manner: Manner::read(row)?,
        seed: hex::decode(&seed).map_err(wrong)?,
        hosts: row.get("hosts")?,
        probes: row.get("probes")?,
        state: word(row, "state")?,
        detail: row.get("detail")?,
        excluded_since: parsed(row, "excluded_since")?,
        by: row.get("by_name")?,
        created_at: row.get("created_at")?,
        started_at: row.get("started_at")?,
        ended_at: row.get("ended_at")?,
    })
}

fn parsed<T: FromStr>(row: &Row, column: &str) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

fn word<T: FromStr<Err = ()>>(row: &Row, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|()| rusqlite::Error::InvalidColumnType(0, text, Type::Text))
}
