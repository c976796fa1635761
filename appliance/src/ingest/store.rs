//! The SQL of ingest: jobs.db is all it has.

use portolan_scanner::wire::Id;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::verify::{Known, Verified};
use crate::clock::Timestamp;
use crate::error::{Error, Result};

/// The scanner of this certificate.
pub fn by_certificate(db: &Connection, sha256: &str) -> Result<Option<Known>> {
    let sql =
        "SELECT id, api_key_sha256, public_key, binding, revoked FROM scanner WHERE certificate_sha256 = ?";
    let row = |row: &Row| {
        let id: String = row.get(0)?;
        Ok((id, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    };
    let found = db.prepare_cached(sql)?.query_row([sha256], row).optional()?;
    let Some((id, api_key_sha256, public_key, binding, revoked)) = found else { return Ok(None) };
    let id = id.parse().map_err(Error::internal)?;
    Ok(Some(Known { id, api_key_sha256, public_key, binding, revoked }))
}

/// Takes the nonce, and notes that the scanner is there. False when the nonce was taken before.
pub fn take_nonce(tx: &Transaction, verified: &Verified, source: &str, now: Timestamp) -> Result<bool> {
    let scanner = verified.scanner.to_string();
    let new = tx
        .prepare_cached("INSERT OR IGNORE INTO nonce (scanner, nonce, expires_at) VALUES (?, ?, ?)")?
        .execute(params![scanner, verified.nonce, verified.nonce_expires])?;
    tx.prepare_cached("UPDATE presence SET seen_at = ?, source = ? WHERE scanner = ?")?
        .execute(params![now, source, scanner])?;
    Ok(new == 1)
}

/// A heartbeat.
pub fn heard(
    tx: &Transaction,
    scanner: Id,
    source: &str,
    version: &str,
    clock: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let offset = now.micros().saturating_sub(clock.micros());
    tx.prepare_cached(
        "INSERT INTO presence (scanner, seen_at, source, version, clock_offset) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (scanner) DO UPDATE SET seen_at = ?2, source = ?3, version = ?4, clock_offset = ?5",
    )?
    .execute(params![scanner.to_string(), now, source, version, offset])?;
    Ok(())
}

/// The job a scanner holds, else the oldest that is ready for it; nothing for a revoked one.
pub fn job_for(db: &Connection, scanner: Id) -> Result<Option<(String, String)>> {
    let sql = "SELECT hash, frame FROM job WHERE scanner = ?1 AND (state = 'leased' OR (state = 'ready' AND cancel = 0))
                 AND NOT EXISTS (SELECT 1 FROM scanner WHERE id = ?1 AND revoked)
               ORDER BY state = 'leased' DESC, made_at, batch LIMIT 1";
    let row = |row: &Row| Ok((row.get(0)?, row.get(1)?));
    Ok(db.prepare_cached(sql)?.query_row([scanner.to_string()], row).optional()?)
}

/// Says that the scanner waits for work.
pub fn want(tx: &Transaction, scanner: Id, until: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO want (scanner, until) VALUES (?1, ?2) ON CONFLICT (scanner) DO UPDATE SET until = max(until, ?2)",
    )?
    .execute(params![scanner.to_string(), until])?;
    Ok(())
}

/// Says that it waits no more until then; a later wait of the same scanner stands.
pub fn want_no_more(tx: &Transaction, scanner: Id, until: Timestamp) -> Result<()> {
    tx.prepare_cached("DELETE FROM want WHERE scanner = ? AND until <= ?")?
        .execute(params![scanner.to_string(), until])?;
    Ok(())
}

/// Gives the job to its scanner. False when it is no longer to be had.
pub fn lease(tx: &Transaction, hash: &str, now: Timestamp) -> Result<bool> {
    let sql =
        "UPDATE job SET state = 'leased', renewed_at = ? WHERE hash = ? AND state IN ('ready', 'leased')";
    Ok(tx.prepare_cached(sql)?.execute(params![now, hash])? == 1)
}

/// How far a scanner is, as it says.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Probes done.
    pub done: i64,
    /// Open ports found.
    pub open: i64,
    /// Probes per second.
    pub rate: i64,
}

/// A sign of life under a lease. `go`, `pause`, `cancel` or `lost`.
pub fn renew(
    tx: &Transaction,
    hash: &str,
    scanner: Id,
    at: Progress,
    now: Timestamp,
) -> Result<&'static str> {
    let sql = "UPDATE job SET done = ?, open = ?, rate = ?, renewed_at = ? WHERE hash = ? AND scanner = ? AND state = 'leased'
               RETURNING cancel <> 0, pause <> 0";
    let row = |row: &Row| Ok((row.get(0)?, row.get(1)?));
    let told: Option<(bool, bool)> = tx
        .prepare_cached(sql)?
        .query_row(params![at.done, at.open, at.rate, now, hash, scanner.to_string()], row)
        .optional()?;
    Ok(match told {
        None => "lost",
        Some((true, _)) => "cancel",
        Some((_, true)) => "pause",
        Some(_) => "go",
    })
}

/// What every scanner leaves alone, as canonical ranges; nothing before the manager has told it.
pub fn exclusions(db: &Connection) -> Result<Option<String>> {
    let sql = "SELECT ranges FROM exclusions";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?)
}

/// SHA-256 of that, hex.
pub fn exclusions_sha256(db: &Connection) -> Result<Option<String>> {
    let sql = "SELECT sha256 FROM exclusions";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?)
}

/// Ends a lease; one that is lost or ended already stays as it is. False when there is no such job of this scanner.
pub fn end(
    tx: &Transaction,
    hash: &str,
    scanner: Id,
    state: &str,
    detail: &str,
    now: Timestamp,
) -> Result<bool> {
    let scanner = scanner.to_string();
    tx.prepare_cached(
        "UPDATE job SET state = 'ended', end_state = ?, end_detail = ?, renewed_at = ?
         WHERE hash = ? AND scanner = ? AND state IN ('ready', 'leased')",
    )?
    .execute(params![state, detail, now, hash, scanner])?;
    let sql = "SELECT EXISTS (SELECT 1 FROM job WHERE hash = ? AND scanner = ?)";
    Ok(tx.prepare_cached(sql)?.query_row(params![hash, scanner], |row| row.get(0))?)
}

/// A job's frame, whosever it is and however it ended, and how many bytes of results came for it.
pub fn job_frame(db: &Connection, hash: &str) -> Result<Option<(String, u64)>> {
    let sql = "SELECT frame, bytes FROM job WHERE hash = ?";
    Ok(db.prepare_cached(sql)?.query_row([hash], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// Whether this very frame was accepted for its job before.
pub fn is_kept(db: &Connection, job: &str, frame: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM accepted WHERE job = ? AND frame = ?)";
    Ok(db.prepare_cached(sql)?.query_row([job, frame], |row| row.get(0))?)
}

/// Notes a frame that is kept now, and adds to how many bytes of results came for its job; once for each frame.
pub fn kept(tx: &Transaction, job: &str, frame: &str, bytes: u64) -> Result<()> {
    let sql = "INSERT OR IGNORE INTO accepted (job, frame) VALUES (?, ?)";
    if tx.prepare_cached(sql)?.execute([job, frame])? > 0 {
        tx.prepare_cached("UPDATE job SET bytes = bytes + ? WHERE hash = ?")?.execute(params![bytes, job])?;
    }
    Ok(())
}

/// A token as ingest knows it.
#[derive(Debug)]
pub struct Token {
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// Some key used it.
    pub used: bool,
    /// How often this very key used it, lately.
    pub by_this_key: u32,
    /// Its scanner was revoked.
    pub revoked: bool,
}

/// What is known of a token that this key would use.
pub fn token(db: &Connection, sha256: &str, public_key: &str) -> Result<Option<Token>> {
    let sql = "SELECT t.expires_at, t.used, coalesce(s.revoked, 0),
                 (SELECT count(*) FROM enrolment e
                  WHERE e.token_sha256 = t.sha256 AND e.public_key = ?2 AND e.state = 'granted')
               FROM token t LEFT JOIN scanner s ON s.id = t.scanner WHERE t.sha256 = ?1";
    let row = |row: &Row| {
        Ok(Token {
            expires_at: row.get(0)?,
            used: row.get(1)?,
            revoked: row.get(2)?,
            by_this_key: row.get(3)?,
        })
    };
    Ok(db.prepare_cached(sql)?.query_row([sha256, public_key], row).optional()?)
}

/// An enrolment to be queued.
#[derive(Debug)]
pub struct Enrolment {
    /// Hex.
    pub token_sha256: String,
    /// Base64.
    pub public_key: String,
    /// Base64.
    pub proof: String,
    /// Hex.
    pub api_key_sha256: String,
    /// Of the scanner's program.
    pub version: String,
    /// The peer's address.
    pub source: String,
}

/// Queues it for the manager, in place of one by the same key that was not looked at yet.
pub fn queue(tx: &Transaction, new: &Enrolment, now: Timestamp) -> Result<i64> {
    tx.execute(
        "DELETE FROM enrolment WHERE token_sha256 = ? AND public_key = ? AND state = 'asked'",
        [&new.token_sha256, &new.public_key],
    )?;
    tx.execute(
        "INSERT INTO enrolment (token_sha256, public_key, proof, api_key_sha256, version, source, asked_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            new.token_sha256,
            new.public_key,
            new.proof,
            new.api_key_sha256,
            new.version,
            new.source,
            now
        ],
    )?;
    Ok(tx.last_insert_rowid())
}

/// The manager's answer.
#[derive(Debug)]
pub enum Answered {
    /// What the scanner gets.
    Granted {
        /// Its id.
        scanner: String,
        /// Where it stands.
        vantage: String,
        /// Base64 DER.
        certificate: String,
    },
    /// Why not, in a word.
    Refused(String),
    /// Another request of the same key took its place.
    Gone,
}

/// The answer to a queued enrolment; nothing while there is none.
pub fn answered(db: &Connection, row: i64) -> Result<Option<Answered>> {
    let sql = "SELECT state, scanner, vantage, certificate, refusal FROM enrolment WHERE id = ?";
    let read = |row: &Row| {
        let state: String = row.get(0)?;
        Ok(match state.as_str() {
            "granted" => Some(Answered::Granted {
                scanner: row.get(1)?,
                vantage: row.get(2)?,
                certificate: row.get(3)?,
            }),
            "refused" => Some(Answered::Refused(row.get(4)?)),
            _ => None,
        })
    };
    let found = db.prepare_cached(sql)?.query_row([row], read).optional()?;
    Ok(found.unwrap_or(Some(Answered::Gone)))
}
