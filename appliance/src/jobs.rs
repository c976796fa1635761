//! jobs.db: what is transient, and how the roles speak to each other. It can be lost and is made anew.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::watch;

use crate::error::Result;
use crate::sqlite::{Database, Opening};

mod embedded {
    refinery::embed_migrations!("../migrations/jobs");
}

/// How often another process's writes are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// The transient database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Jobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    changes: watch::Sender<u64>,
    looking: AtomicBool,
}

impl Jobs {
    /// Opens jobs.db: the owner (the manager) makes and migrates it, a guest finds it ready or is refused.
    ///
    /// # Errors
    /// [`crate::error::Error::Unavailable`] as [`Database::open`] says.
    pub fn open(path: &Path, opening: Opening) -> Result<Self> {
        Ok(Self::over(Database::open(path, opening, &embedded::migrations::runner())?))
    }

    /// As a guest, opens jobs.db once the manager has made it ready; asks four times a second.
    ///
    /// # Errors
    /// The last refusal, after `patience`.
    pub async fn wait(path: &Path, patience: Duration) -> Result<Self> {
        crate::store::wait(patience, || Self::open(path, Opening::Guest)).await
    }

    /// An empty database in memory, for tests.
    ///
    /// # Errors
    /// When a migration does not run.
    pub fn in_memory() -> Result<Self> {
        Ok(Self::over(Database::in_memory(&embedded::migrations::runner())?))
    }

    fn over(database: Database) -> Self {
        Self(Arc::new(Inner { database, changes: watch::Sender::new(0), looking: AtomicBool::new(false) }))
    }

    /// Reads. `f` runs on the blocking pool, on a connection that cannot write, in one transaction.
    ///
    /// # Errors
    /// What `f` returns.
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.0.database.read(f).await
    }

    /// Writes, in one transaction. No audit: nothing here is a record.
    ///
    /// # Errors
    /// What `f` returns; then nothing was written.
    pub async fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Transaction) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let answer = self
            .0
            .database
            .with_writer(move |connection| {
                let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let answer = f(&tx)?;
                tx.commit()?;
                Ok(answer)
            })
            .await?;
        self.0.changes.send_modify(|n| *n += 1);
        Ok(answer)
    }

    /// A watch over writes by this and any other process, from now on. Make it before looking at the database,
    /// then nothing is missed: `let mut watch = jobs.watch(); loop { work().await; watch.changed().await; }`
    #[must_use]
    pub fn watch(&self) -> Watch {
        let watch = Watch(self.0.changes.subscribe());
        if !self.0.looking.swap(true, Ordering::SeqCst) {
            tokio::spawn(look(Arc::downgrade(&self.0)));
        }
        watch
    }

    /// The next write after this call. A write before it is missed: a loop wants [`Jobs::watch`].
    pub async fn changed(&self) {
        self.watch().changed().await;
    }
}

/// Resolves when jobs.db has changed; see [`Jobs::watch`].
#[derive(Debug)]
pub struct Watch(watch::Receiver<u64>);

impl Watch {
    /// Waits for a write since the watch was made or last resolved, at most 250 ms after it was committed.
    /// Waits for ever when the database is closed.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// As [`Watch::changed`], but no longer than `limit`; says whether there was a write.
    pub async fn changed_within(&mut self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.changed()).await.is_ok()
    }
}

/// Looks at SQLite's own counter of other connections' commits, on a connection of its own, until the last
/// [`Jobs`] is gone.
async fn look(jobs: std::sync::Weak<Inner>) {
    let mut beside: Option<Connection> = None;
    let mut last = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(inner) = jobs.upgrade() else { return };
        let looked = tokio::task::spawn_blocking(move || {
            if beside.is_none() {
                beside = inner.database.beside()?;
            }
            let Some(connection) = &beside else { return Ok::<_, crate::error::Error>(None) };
            let version: i64 = connection.query_row("PRAGMA data_version", [], |row| row.get(0))?;
            Ok(Some((version, beside)))
        });
        match looked.await {
            Ok(Ok(Some((version, connection)))) => {
                beside = connection;
                if last.replace(version) != Some(version)
                    && let Some(inner) = jobs.upgrade()
                {
                    inner.changes.send_modify(|n| *n += 1);
                }
            }
            // In memory there is no other process to look for.
            Ok(Ok(None)) => return,
            Ok(Err(error)) => {
                tracing::warn!(%error, "jobs.db could not be watched; trying again");
                (beside, last) = (None, None);
            }
            Err(error) => {
                tracing::error!(%error, "the watch over jobs.db failed");
                (beside, last) = (None, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(scanner: &'static str) -> impl FnOnce(&Transaction) -> Result<usize> + Send + 'static {
        move |tx| Ok(tx.execute("INSERT INTO want (scanner, until) VALUES (?, 0)", [scanner])?)
    }

    #[tokio::test]
    async fn a_write_elsewhere_wakes_a_watch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let manager = Jobs::open(&path, Opening::Owner).unwrap();
        let ingest = Jobs::wait(&path, Duration::ZERO).await.unwrap();
        let mut watch = manager.watch();
        // The first look counts as a change: what was written before it cannot be told from what came after.
        watch.changed().await;
        ingest.write(want("a")).await.unwrap();
        assert!(watch.changed_within(Duration::from_secs(5)).await);
        let seen =
            manager.read(|c| Ok(c.query_row("SELECT scanner FROM want", [], |r| r.get::<_, String>(0))?));
        assert_eq!(seen.await.unwrap(), "a");
    }

    #[tokio::test]
    async fn an_own_write_wakes_a_watch_at_once_and_none_leaves_it_asleep() {
        let jobs = Jobs::in_memory().unwrap();
        let mut watch = jobs.watch();
        assert!(!watch.changed_within(Duration::ZERO).await);
        jobs.write(want("a")).await.unwrap();
        assert!(watch.changed_within(Duration::ZERO).await);
        jobs.write(want("a")).await.unwrap_err();
        assert!(!watch.changed_within(Duration::ZERO).await);
    }
}
