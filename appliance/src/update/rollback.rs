//! A trial changes config.db when the new version has a newer schema. So a copy is kept from before, and when the old
//! version boots again it puts the copy back, with every entry of the audit that was written since: the chain stays one.
//!
//! It is done by the manager when it starts, before anything is opened. Killed anywhere it is done again and ends the same.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::json;
use uuid::Uuid;

use super::manifest::Version;
use super::pending::Pending;
use super::trial;
use crate::audit::chain::Head;
use crate::audit::{self, Actor, Entry};
use crate::error::{Error, Result};
use crate::layout::{Layout, sync_folder};
use crate::sqlite::{forget, schema_version};
use crate::store::Store;

/// How many pages are copied at once.
const PAGES: i32 = 1_000;

/// Columns of the audit's two tables: they are the same in every version.
const COPIED: [(&str, &str); 2] = [
    (
        "audit_entry",
        "seq, at, class, actor_kind, actor_id, actor_name, method, agent, source, action, resource, resource_id, \
         outcome, entry, prev_hash, hash",
    ),
    ("audit_checkpoint", "seq, at, why, text"),
];

/// The start of a manager, as an update sees it.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// The data folder.
    pub layout: &'a Layout,
    /// Where it says that there is a trial.
    pub run: &'a Path,
    /// What starts.
    pub running: &'a Version,
    /// This boot.
    pub boot: &'a str,
    /// The newest schema of config.db that it knows.
    pub config_schema: u32,
    /// That of jobs.db.
    pub jobs_schema: u32,
}

/// An update that did not stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// Which.
    pub pending: Pending,
    /// How many entries of the audit came along, where config.db was put back; none where it had not been changed.
    pub restored: Option<u64>,
}

impl Start<'_> {
    /// Before anything is opened: undoes what a trial of another version did; keeps a copy before the schema rises.
    ///
    /// # Errors
    /// Any from files and databases; then nothing may be opened.
    pub fn settle(&self, new: impl FnOnce() -> Uuid) -> Result<Option<Undone>> {
        let pending = Pending::read(self.layout)?;
        let mut undone = None;
        if trial::is_on(self.run) {
            if pending.is_none_or(|pending| pending.version != *self.running) {
                let boot = self.boot.to_owned();
                let noted =
                    Pending { id: new(), version: self.running.clone(), from: None, boot, restored: None };
                noted.write(self.layout)?;
            }
        } else if let Some(pending) = pending {
            if pending.version == *self.running {
                Pending::forget(self.layout)?;
            } else if pending.boot != self.boot || self.boot.is_empty() {
                // A boot that cannot be told is another: what is left alone by mistake leaves a database nobody opens.
                let restored = self.put_back(&pending)?;
                undone = Some(Undone { pending, restored });
            }
        }
        self.keep_copy()?;
        Ok(undone)
    }

    /// The copy of config.db from before this version brought it up to date.
    fn copy_of(&self, version: &Version) -> std::path::PathBuf {
        self.layout.manager().join(format!("before-{version}")).join("config.db")
    }

    fn keep_copy(&self) -> Result<()> {
        let path = self.layout.config_db();
        let found = schema_in(&path)?;
        if found == 0 || found >= self.config_schema {
            return Ok(());
        }
        let copy = self.copy_of(self.running);
        let folder = copy.parent().expect("it was joined to one");
        // One from an earlier update is of no use any more: nothing goes back so far.
        for entry in fs::read_dir(self.layout.manager())? {
            let other = entry?.path();
            let name = other.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("before-") && other != folder {
                fs::remove_dir_all(&other)?;
            }
        }
        fs::create_dir_all(folder)?;
        let unfinished = folder.join("config.db.new");
        forget(&unfinished)?;
        let (from, mut to) = (Connection::open(&path)?, Connection::open(&unfinished)?);
        Backup::new(&from, &mut to)?.run_to_completion(PAGES, std::time::Duration::ZERO, None)?;
        // Alone in its file: what is renamed is all of it.
        to.pragma_update(None, "journal_mode", "delete")?;
        drop((from, to));
        fs::File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, &copy)?;
        sync_folder(folder)?;
        sync_folder(&self.layout.manager())?;
        tracing::info!(copy = %copy.display(), "kept a copy of config.db before its schema rises from {found}");
        Ok(())
    }

    /// Puts the copy back, if this program cannot read what the trial made of config.db. How many entries came along.
    fn put_back(&self, pending: &Pending) -> Result<Option<u64>> {
        let jobs = self.layout.jobs_db();
        if schema_in(&jobs)? > self.jobs_schema {
            // It is made anew.
            for ending in ["db", "db-wal", "db-shm"] {
                forget(&jobs.with_extension(ending))?;
            }
        }
        let path = self.layout.config_db();
        if schema_in(&path)? <= self.config_schema {
            // Also when that is so because it was put back, and what followed was cut off.
            return Ok(pending.restored);
        }
        let copy = self.copy_of(&pending.version);
        if !copy.exists() {
            return Err(Error::Unavailable(format!(
                "{} was brought up to date by version {}, and there is no {} to go back to: start that version, or \
                 restore a backup made by this one",
                path.display(),
                pending.version,
                copy.display()
            )));
        }
        let work = copy.with_file_name("config.db.back");
        forget(&work)?;
        fs::copy(&copy, &work)?;
        let back = Connection::open(&work)?;
        let entries = carry(&back, &path)?;
        sign_ins(&back, &path)?;
        // First: once the file is as it was, nothing else tells that it was another.
        Pending { restored: Some(entries), ..pending.clone() }.write(self.layout)?;
        let mut to = Connection::open(&path)?;
        to.busy_timeout(std::time::Duration::from_secs(10))?;
        Backup::new(&back, &mut to)?.run_to_completion(PAGES, std::time::Duration::from_millis(50), None)?;
        drop((back, to));
        forget(&work)?;
        tracing::warn!(entries, from = %pending.version, "config.db is as it was before the update; the audit goes on");
        Ok(Some(entries))
    }
}

/// Brings what the audit has in `newer` beyond the copy into the copy, row by row as it is, and checks the whole of it.
fn carry(back: &Connection, newer: &Path) -> Result<u64> {
    let old = audit::store::head(back)?;
    back.execute("ATTACH DATABASE ? AS newer", [newer.to_string_lossy()])?;
    let known = "SELECT hash FROM newer.audit_entry WHERE seq = ?";
    let known: Option<[u8; 32]> = back.query_row(known, [old.seq], |row| row.get(0)).optional()?;
    if old != Head::EMPTY && known != Some(old.hash) {
        return Err(Error::internal("the copy of config.db is not from before this audit"));
    }
    for (table, columns) in COPIED {
        let sql = format!(
            "INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}
             WHERE seq > (SELECT coalesce(max(seq), 0) FROM main.{table}) ORDER BY seq"
        );
        back.execute(&sql, [])?;
    }
    let head = "SELECT seq, hash FROM newer.audit_entry ORDER BY seq DESC LIMIT 1";
    let head = back.query_row(head, [], |row| Ok(Head { seq: row.get(0)?, hash: row.get(1)? }));
    let head = head.optional()?.unwrap_or(Head::EMPTY);
    back.execute_batch("DETACH DATABASE newer")?;
    match audit::store::verify(back, [head])? {
        Ok(_) => {}
        // It was broken before: that is for `portolan audit verify` to say, and no reason not to start.
        Err(broken) => tracing::error!(%broken, "the audit that was carried over is not whole"),
    }
    Ok(head.seq - old.seq)
}

/// What must not come back with the copy: sessions, which may have been ended since; locks that were opened and codes that
/// were not yet used. A column that the newer version has no more says nothing.
const USED: [&str; 5] = [
    "UPDATE main.recovery_code AS old SET used_at = (SELECT used_at FROM newer.recovery_code AS new
       WHERE new.user = old.user AND new.hash = old.hash)
     WHERE used_at IS NULL AND EXISTS (SELECT 1 FROM newer.recovery_code AS new
       WHERE new.user = old.user AND new.hash = old.hash)",
    "UPDATE main.totp AS old SET (last_step, burnt, away, away_at) =
       (SELECT last_step, burnt, away, away_at FROM newer.totp AS new WHERE new.user = old.user)
     WHERE EXISTS (SELECT 1 FROM newer.totp AS new WHERE new.user = old.user AND new.last_step >= old.last_step)",
    "UPDATE main.security_key AS old SET (credential, last_used, alone) =
       (SELECT credential, last_used, alone FROM newer.security_key AS new WHERE new.id = old.id)
     WHERE EXISTS (SELECT 1 FROM newer.security_key AS new WHERE new.id = old.id)",
    "INSERT OR REPLACE INTO main.lockout (user, source, wrong, until)
     SELECT user, source, wrong, until FROM newer.lockout WHERE user IN (SELECT id FROM main.user)",
    "INSERT OR IGNORE INTO main.oidc_back (state, until) SELECT state, until FROM newer.oidc_back",
];

/// Ends every session in the copy, and brings what of sign-ins was used meanwhile into it.
fn sign_ins(back: &Connection, newer: &Path) -> Result<()> {
    back.execute_batch("DELETE FROM session_origin; DELETE FROM session;")?;
    back.execute("ATTACH DATABASE ? AS newer", [newer.to_string_lossy()])?;
    for sql in USED {
        if let Err(error) = back.execute(sql, []) {
            tracing::warn!(%error, "something that signs in may be as it was before the update");
        }
    }
    Ok(back.execute_batch("DETACH DATABASE newer")?)
}

/// The schema of a database; 0 where there is none.
fn schema_in(path: &Path) -> Result<u32> {
    match fs::metadata(path) {
        Ok(about) if about.len() > 0 => {}
        Ok(_) => return Ok(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    }
    let found = schema_version(&Connection::open(path)?)?;
    Ok(u32::try_from(found).unwrap_or(0))
}

/// Once config.db is open: tells the audit of what was undone, once however often it is tried, and forgets it.
///
/// # Errors
/// Of the database.
pub async fn tell(store: &Store, layout: &Layout, running: &Version, undone: Undone) -> Result<()> {
    let Undone { pending, restored } = undone;
    let id = pending.id.to_string();
    let detail = json!({
        "from": pending.version.to_string(),
        "to": running.to_string(),
        "configuration_put_back": restored.is_some(),
        "entries_carried_over": restored.unwrap_or(0),
    });
    let actor = Actor::system("manager");
    store
        .changes(&actor, move |tx| {
            let sql = "SELECT 1 FROM audit_entry WHERE action = 'system.rolled-back' AND resource_id = ?";
            let told = tx.query_row(sql, [&id], |_| Ok(())).optional()?.is_some();
            let entry = Entry::event("system.rolled-back", &detail).on("update", &id);
            Ok((if told { vec![] } else { vec![entry] }, ()))
        })
        .await?;
    Ok(Pending::forget(layout)?)
}

#[cfg(test)]
#[path = "rollback_test.rs"]
mod tests;
