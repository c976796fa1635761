//! What ingest may know: the scanners' public keys and hashes, and the tokens' hashes, kept in jobs.db equal to
//! config.db. And what ingest says of the scanners' presence, read back.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, Transaction, params};
use uuid::Uuid;

use super::Fleet;
use super::store::{self, ScannerRow, TokenRow};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::noun::Key;

/// A row as jobs.db has it, by its key.
type Rows<T> = BTreeMap<String, T>;

#[derive(Clone, PartialEq, Eq)]
struct Known {
    vantage: String,
    api_key: String,
    certificate: String,
    public_key: String,
    binding: String,
    revoked: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Token {
    scanner: String,
    expires_at: Timestamp,
    used: bool,
}

/// The last sign of life of a scanner.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub at: Timestamp,
    pub source: String,
    pub version: String,
    pub clock_offset: i64,
}

impl Fleet {
    /// Makes jobs.db say of scanners and tokens what config.db says. Writes only what differs; may be repeated at will.
    ///
    /// # Errors
    /// The databases'.
    pub async fn project(&self) -> Result<()> {
        let _one = self.0.projecting.lock().await;
        let (scanners, tokens) =
            self.0.parts.store.read(|db| Ok((store::scanners(db)?, store::tokens(db)?))).await?;
        let wanted: Rows<Known> = scanners.into_iter().filter_map(known).collect();
        let offered: Rows<Token> = tokens.into_iter().map(token).collect();
        let (there, open) = self.0.parts.jobs.read(|db| Ok((known_now(db)?, tokens_now(db)?))).await?;
        if there == wanted && open == offered {
            return Ok(());
        }
        self.0
            .parts
            .jobs
            .write(move |tx| {
                for id in there.keys().filter(|id| !wanted.contains_key(*id)) {
                    tx.execute("DELETE FROM scanner WHERE id = ?", [id])?;
                    tx.execute("DELETE FROM presence WHERE scanner = ?", [id])?;
                }
                for (id, row) in wanted.iter().filter(|(id, row)| there.get(*id) != Some(row)) {
                    put_known(tx, id, row)?;
                }
                for sha256 in open.keys().filter(|sha256| !offered.contains_key(*sha256)) {
                    tx.execute("DELETE FROM token WHERE sha256 = ?", [sha256])?;
                }
                for (sha256, row) in offered.iter().filter(|(sha256, row)| open.get(*sha256) != Some(row)) {
                    put_token(tx, sha256, row)?;
                }
                Ok(())
            })
            .await
    }
}

/// A scanner that has not enrolled has nothing that ingest could check.
fn known(row: ScannerRow) -> Option<(String, Known)> {
    let known = Known {
        vantage: row.vantage.id.to_string(),
        api_key: row.api_key_sha256?,
        certificate: row.certificate_sha256?,
        public_key: row.public_key?,
        binding: row.binding,
        revoked: row.revoked_at.is_some(),
    };
    Some((row.id.to_string(), known))
}

fn token(row: TokenRow) -> (String, Token) {
    let used = row.used_at.is_some();
    (row.sha256, Token { scanner: row.scanner.to_string(), expires_at: row.expires_at, used })
}

fn known_now(db: &Connection) -> Result<Rows<Known>> {
    let sql =
        "SELECT id, vantage, api_key_sha256, certificate_sha256, public_key, binding, revoked FROM scanner";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let known = Known {
            vantage: row.get(1)?,
            api_key: row.get(2)?,
            certificate: row.get(3)?,
            public_key: row.get(4)?,
            binding: row.get(5)?,
            revoked: row.get(6)?,
        };
        Ok((row.get(0)?, known))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn tokens_now(db: &Connection) -> Result<Rows<Token>> {
    let mut statement = db.prepare_cached("SELECT sha256, scanner, expires_at, used FROM token")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, Token { scanner: row.get(1)?, expires_at: row.get(2)?, used: row.get(3)? }))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn put_known(tx: &Transaction, id: &str, row: &Known) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO scanner (id, vantage, api_key_sha256, certificate_sha256, public_key, binding, revoked)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET vantage = ?2, api_key_sha256 = ?3, certificate_sha256 = ?4, public_key = ?5,
           binding = ?6, revoked = ?7",
    )?
    .execute(params![id, row.vantage, row.api_key, row.certificate, row.public_key, row.binding, row.revoked])?;
    Ok(())
}

fn put_token(tx: &Transaction, sha256: &str, row: &Token) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO token (sha256, scanner, expires_at, used) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (sha256) DO UPDATE SET scanner = ?2, expires_at = ?3, used = ?4",
    )?
    .execute(params![sha256, row.scanner, row.expires_at, row.used])?;
    Ok(())
}

/// The last signs of life, by scanner.
pub(super) fn seen(db: &Connection) -> Result<HashMap<Uuid, Seen>> {
    let mut statement =
        db.prepare_cached("SELECT scanner, seen_at, source, version, clock_offset FROM presence")?;
    let rows = statement.query_map([], |row| {
        let seen =
            Seen { at: row.get(1)?, source: row.get(2)?, version: row.get(3)?, clock_offset: row.get(4)? };
        Ok((row.get::<_, Key>(0)?.0, seen))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
