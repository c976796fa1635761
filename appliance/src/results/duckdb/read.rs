//! Questions to the store. Each runs on a connection of its own and sees one state of it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use ::duckdb::types::ToSql;
use ::duckdb::{Connection, Row, params_from_iter};
use portolan_scanner::net::{Ports, Range};
use portolan_scanner::wire::Sample;
use uuid::Uuid;

use super::filter::{CloneSql as _, Filter};
use super::{address, halves, hint};
use crate::clock::Timestamp;
use crate::results::coverage::Coverage;
use crate::results::portset::Run;
use crate::results::{
    Error, HostQuery, Moment, Observation, OfReason, OpenPort, OpenPorts, Part, Place, SeenQuery, Sweep, code,
};

/// Up to so many hosts the exceptions are asked for by address, beyond it by the stretch that they lie in.
const FEW: usize = 1_000;

pub fn parts(connection: &Connection, scan: Uuid) -> Result<Vec<Part>, Error> {
    let mut statement = connection.prepare(
        "SELECT j.hash, p.block, p.number, p.frame, p.final, p.hosts
         FROM part p JOIN job j USING (job) JOIN sweep w USING (sweep) WHERE w.scan = ? ORDER BY p.part",
    )?;
    let rows = statement.query_map([scan.to_string()], |row| {
        Ok(Part {
            job: row.get(0)?,
            block: row.get(1)?,
            part: row.get(2)?,
            frame: row.get(3)?,
            last: row.get(4)?,
            hosts: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn sweeps(connection: &Connection, scan: Uuid) -> Result<Vec<Sweep>, Error> {
    let mut statement = connection.prepare(
        "SELECT w.vantage, CAST(sum(p.hosts) AS UBIGINT),
           CAST(least(sum(p.sent), 18446744073709551615) AS UBIGINT), min(p.started), max(p.ended),
           -- The sample of a part that brought no host speaks of answers that another delivery gave.
           CAST(least(coalesce(sum(p.sample_probed) FILTER (p.hosts + p.replaced > 0), 0), 18446744073709551615) AS UBIGINT),
           CAST(least(coalesce(sum(p.sample_answered) FILTER (p.hosts + p.replaced > 0), 0), 18446744073709551615) AS UBIGINT),
           CAST(least(coalesce(sum(p.sample_missed) FILTER (p.hosts + p.replaced > 0), 0), 18446744073709551615) AS UBIGINT)
         FROM sweep w JOIN job j USING (sweep) JOIN part p USING (job) WHERE w.scan = ? GROUP BY w.vantage
         ORDER BY min(w.sweep)",
    )?;
    let rows = statement.query_map([scan.to_string()], |row| {
        Ok(Sweep {
            vantage: uuid(row, 0)?,
            hosts: row.get(1)?,
            sent: row.get(2)?,
            started: Timestamp::from_micros(row.get(3)?),
            ended: Timestamp::from_micros(row.get(4)?),
            reasons: Vec::new(),
            sample: Sample { probed: row.get(5)?, answered: row.get(6)?, missed: row.get(7)? },
        })
    })?;
    let mut sweeps: Vec<Sweep> = rows.collect::<Result<_, _>>()?;
    let mut statement = connection.prepare(
        "SELECT w.vantage, t.reason, CAST(sum(t.probes) AS HUGEINT), CAST(sum(t.hosts) AS UBIGINT)
         FROM sweep w JOIN job j USING (sweep) JOIN part p USING (job) JOIN tally t USING (part)
         WHERE w.scan = ? GROUP BY ALL HAVING sum(t.probes) > 0 ORDER BY ALL",
    )?;
    let mut rows = statement.query([scan.to_string()])?;
    while let Some(row) = rows.next()? {
        let vantage = uuid(row, 0)?;
        let probes = u128::try_from(row.get::<_, i128>(2)?).unwrap_or(0);
        if let Some(sweep) = sweeps.iter_mut().find(|sweep| sweep.vantage == vantage) {
            sweep.reasons.push(OfReason { reason: reason(row.get(1)?)?, probes, hosts: row.get(3)? });
        }
    }
    Ok(sweeps)
}

pub fn covered(connection: &Connection, scan: Uuid, vantage: Uuid) -> Result<Vec<Range>, Error> {
    let mut statement = connection.prepare(
        "SELECT s.high, s.first, s.last FROM span s JOIN sweep w USING (sweep) WHERE w.scan = ? AND w.vantage = ?",
    )?;
    let mut rows = statement.query([scan.to_string(), vantage.to_string()])?;
    let mut coverage = Coverage::default();
    while let Some(row) = rows.next()? {
        let high = row.get(0)?;
        coverage.take(address(high, row.get(1)?), address(high, row.get(2)?));
    }
    Ok(coverage.iter().map(|(first, last)| Range { first, last }).collect())
}

pub fn open_ports(connection: &Connection, scans: &[Uuid]) -> Result<Vec<OpenPorts>, Error> {
    if scans.is_empty() {
        return Ok(Vec::new());
    }
    let marks = vec!["?"; scans.len()].join(", ");
    // Scans without an open port are there with zero, for they say something too.
    let mut statement = connection.prepare(&format!(
        "SELECT w.scan, w.vantage, count(o.port), count(DISTINCT (o.high, o.low)) FILTER (o.port IS NOT NULL)
         FROM sweep w LEFT JOIN open_port o USING (sweep) WHERE w.scan IN ({marks})
         GROUP BY w.sweep, w.scan, w.vantage ORDER BY w.sweep"
    ))?;
    let scans = scans.iter().map(Uuid::to_string);
    let rows = statement.query_map(params_from_iter(scans), |row| {
        Ok(OpenPorts { scan: uuid(row, 0)?, vantage: uuid(row, 1)?, open: row.get(2)?, hosts: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What [`observations`] reads, and from where.
pub const COLUMNS: &str = "s.sweep, w.scan, w.vantage, s.high, s.first, s.last, s.base, s.rest, j.ports, p.started, p.ended
     FROM span s JOIN sweep w ON w.sweep = s.sweep JOIN part p ON p.part = s.part JOIN job j ON j.job = p.job";

pub fn hosts(connection: &Connection, query: &HostQuery) -> Result<Vec<Observation>, Error> {
    let mut filter = Filter::of(connection, query)?;
    if let Some(Place { address, sweep }) = query.after {
        let (high, low) = halves(address);
        filter.and(
            "(s.high > ? OR (s.high = ? AND (s.first > ? OR (s.first = ? AND s.sweep > ?))))",
            [&high, &high, &low, &low, &sweep],
        );
    }
    let sql = format!(
        "SELECT {COLUMNS} WHERE {} ORDER BY s.high, s.first, s.sweep LIMIT {}",
        filter.sql, query.limit
    );
    observations(connection, &sql, &filter.values, query.hints)
}

pub fn hosts_total(connection: &Connection, query: &HostQuery) -> Result<u64, Error> {
    let filter = Filter::of(connection, query)?;
    let sql = format!("SELECT count(*) FROM (SELECT {COLUMNS} WHERE {})", filter.sql);
    Ok(connection.query_row(&sql, params_from_iter(&filter.values), |row| row.get(0))?)
}

pub fn host(connection: &Connection, query: &SeenQuery) -> Result<Vec<Observation>, Error> {
    let (mut sql, mut values) = seen(query);
    if let Some(Moment { ended, sweep }) = query.after {
        sql = format!("SELECT * FROM ({sql}) WHERE ended < ? OR (ended = ? AND sweep < ?)");
        values.extend([ended.micros().boxed(), ended.micros().boxed(), sweep.boxed()]);
    }
    let sql = format!("{sql} ORDER BY ended DESC, sweep DESC LIMIT {}", query.limit);
    let mut observations = observations(connection, &sql, &values, true)?;
    for observation in &mut observations {
        observation.hosts = Range::single(query.address);
    }
    Ok(observations)
}

pub fn host_total(connection: &Connection, query: &SeenQuery) -> Result<u64, Error> {
    let (sql, values) = seen(query);
    let sql = format!("SELECT count(*) FROM ({sql})");
    Ok(connection.query_row(&sql, params_from_iter(&values), |row| row.get(0))?)
}

/// The spans that hold a host.
fn seen(query: &SeenQuery) -> (String, Vec<Box<dyn ToSql>>) {
    let (high, low) = halves(query.address);
    let mut sql = format!("SELECT {COLUMNS} WHERE s.high = ? AND s.first <= ? AND s.last >= ?");
    let mut values = vec![high.boxed(), low.boxed(), low.boxed()];
    if let Some(scan) = query.scan {
        sql += " AND w.scan = ?";
        values.push(scan.to_string().boxed());
    }
    if query.newest {
        sql += " QUALIFY row_number() OVER (PARTITION BY w.vantage ORDER BY p.ended DESC, s.sweep DESC) = 1";
    }
    (sql, values)
}

/// Reads spans, then what belongs to each of them.
pub fn observations(
    connection: &Connection,
    sql: &str,
    values: &[Box<dyn ToSql>],
    hints: bool,
) -> Result<Vec<Observation>, Error> {
    let mut lists: HashMap<String, Arc<Ports>> = HashMap::new();
    let mut found = Vec::new();
    {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            found.push(observation(row, &mut lists)?);
        }
    }
    // Only a host by itself can have exceptions.
    let mut by_host: HashMap<(i32, u128), usize> = HashMap::new();
    for (index, it) in found.iter().enumerate() {
        if it.hosts.first == it.hosts.last && u32::from(it.rest) < it.ports.count() {
            by_host.insert((it.sweep, it.hosts.first), index);
        }
    }
    let Some(stretch) = stretch(by_host.keys()) else { return Ok(found) };
    let mut statement = connection.prepare(&format!(
        "SELECT sweep, high, low, first, last, reason FROM run WHERE {stretch} ORDER BY ALL"
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(&index) = by_host.get(&(row.get(0)?, address(row.get(1)?, row.get(2)?))) {
            let run: Run = (row.get(3)?, row.get(4)?);
            found[index].runs.push((run, reason(row.get(5)?)?));
        }
    }
    let mut statement = connection.prepare(&format!(
        "SELECT sweep, high, low, port, rtt FROM open_port WHERE {stretch} ORDER BY ALL"
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(&index) = by_host.get(&(row.get(0)?, address(row.get(1)?, row.get(2)?))) {
            found[index].open.push(OpenPort { port: row.get(3)?, rtt_us: row.get(4)? });
        }
    }
    if !hints {
        return Ok(found);
    }
    let mut statement = connection.prepare(&format!(
        "SELECT sweep, high, low, {} FROM hint WHERE {stretch} ORDER BY sweep, high, low, port",
        hint::COLUMNS
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(&index) = by_host.get(&(row.get(0)?, address(row.get(1)?, row.get(2)?))) {
            found[index].hints.push(hint::read(row, 3)?);
        }
    }
    Ok(found)
}

/// A condition that holds for the exceptions of these hosts, and for few others. Numbers only, so they stand in it.
fn stretch<'a>(hosts: impl ExactSizeIterator<Item = &'a (i32, u128)> + Clone) -> Option<String> {
    let few = hosts.len() <= FEW;
    let first = halves(hosts.clone().map(|host| host.1).min()?);
    let last = halves(hosts.clone().map(|host| host.1).max()?);
    let mut sweeps: Vec<i32> = hosts.clone().map(|host| host.0).collect();
    sweeps.sort_unstable();
    sweeps.dedup();
    let list = |numbers: Vec<String>| numbers.join(", ");
    let mut sql = format!("sweep IN ({})", list(sweeps.iter().map(i32::to_string).collect()));
    let _ = write!(sql, " AND high BETWEEN {} AND {}", first.0, last.0);
    if first.0 == last.0 {
        let _ = write!(sql, " AND low BETWEEN {} AND {}", first.1, last.1);
    }
    if few {
        let _ =
            write!(sql, " AND low IN ({})", list(hosts.map(|host| halves(host.1).1.to_string()).collect()));
    }
    Some(sql)
}

fn observation(row: &Row<'_>, lists: &mut HashMap<String, Arc<Ports>>) -> Result<Observation, Error> {
    let text: String = row.get(8)?;
    let ports = if let Some(ports) = lists.get(&text) {
        ports.clone()
    } else {
        let ports = Arc::new(ports(&text)?);
        lists.insert(text, ports.clone());
        ports
    };
    let high = row.get(3)?;
    Ok(Observation {
        sweep: row.get(0)?,
        scan: uuid(row, 1)?,
        vantage: uuid(row, 2)?,
        hosts: Range { first: address(high, row.get(4)?), last: address(high, row.get(5)?) },
        base: reason(row.get(6)?)?,
        rest: row.get(7)?,
        ports,
        runs: Vec::new(),
        open: Vec::new(),
        hints: Vec::new(),
        started: Timestamp::from_micros(row.get(9)?),
        ended: Timestamp::from_micros(row.get(10)?),
    })
}

pub fn ports(text: &str) -> Result<Ports, Error> {
    Ports::parse(text).map_err(|_| Error::Broken("a list of ports"))
}

fn reason(number: u8) -> Result<portolan_scanner::wire::Reason, Error> {
    code::reason(number).ok_or(Error::Broken("the number of a reason"))
}

pub fn uuid(row: &Row<'_>, column: usize) -> ::duckdb::Result<Uuid> {
    let text: String = row.get(column)?;
    Uuid::parse_str(&text).map_err(|error| {
        ::duckdb::Error::FromSqlConversionFailure(column, ::duckdb::types::Type::Text, Box::new(error))
    })
}
