//! What open ports said of themselves: written, read, found.

use ::duckdb::{Appender, Connection, Row, params};
use portolan_scanner::wire::{self, HostRecord, hex};

use super::read::uuid;
use super::{address, halves};
use crate::clock::Timestamp;
use crate::results::{Certificate, Error, Hint, Hinted, Said};

/// The columns of a hint, in the order that [`read`] takes them.
pub const COLUMNS: &str = "port, says, sha256, expires, subject, names";

/// Adds what a host's open ports said.
pub fn append(rows: &mut Appender, sweep: i32, part: i32, record: &HostRecord) -> Result<(), Error> {
    let (high, low) = halves(record.first);
    for hint in &record.hints {
        let (mut says, mut sha256, mut expires, mut subject) = (None, None, None, None);
        let mut names = String::new();
        match &hint.said {
            wire::Said::Banner(text) => says = Some(text.as_str()),
            wire::Said::Certificate(leaf) => {
                sha256 = Some(hex::encode(&leaf.sha256));
                expires = leaf.expires;
                subject = leaf.subject.as_ref().map(wire::Text::as_str);
                // An escaped text holds no line feed.
                names = leaf.names.iter().map(wire::Text::as_str).collect::<Vec<_>>().join("\n");
            }
        }
        rows.append_row(params![sweep, part, high, low, hint.port, says, sha256, expires, subject, names])?;
    }
    Ok(())
}

/// A hint whose columns begin at `at`.
pub fn read(row: &Row<'_>, at: usize) -> Result<Hint, Error> {
    let port = row.get(at)?;
    if let Some(says) = row.get(at + 1)? {
        return Ok(Hint { port, said: Said::Banner(says) });
    }
    let sha256: Option<String> = row.get(at + 2)?;
    let expires: Option<i64> = row.get(at + 3)?;
    let names: String = row.get(at + 5)?;
    let certificate = Certificate {
        sha256: sha256.ok_or(Error::Broken("a hint"))?,
        expires: expires.map(Timestamp::from_micros),
        subject: row.get(at + 4)?,
        names: names.lines().map(str::to_owned).collect(),
    };
    Ok(Hint { port, said: Said::Certificate(certificate) })
}

pub fn find(connection: &Connection, text: &str, limit: usize) -> Result<Vec<Hinted>, Error> {
    let mut statement = connection.prepare(&format!(
        "SELECT w.scan, w.vantage, h.high, h.low, p.ended, {COLUMNS}
         FROM hint h JOIN sweep w USING (sweep) JOIN part p USING (part)
         WHERE contains(lower(concat_ws(chr(10), h.says, h.subject, h.names, h.sha256)), lower(?))
         QUALIFY row_number() OVER (PARTITION BY w.vantage, h.high, h.low, h.port ORDER BY p.ended DESC, p.part DESC) = 1
         ORDER BY p.ended DESC, h.high, h.low, h.port, w.sweep LIMIT {limit}"
    ))?;
    let mut rows = statement.query([text])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Hinted {
            scan: uuid(row, 0)?,
            vantage: uuid(row, 1)?,
            address: address(row.get(2)?, row.get(3)?),
            ended: Timestamp::from_micros(row.get(4)?),
            hint: read(row, 5)?,
        });
    }
    Ok(found)
}
