//! jobs.db: what is transient, and how the roles speak to each other. It can be lost, also while the roles run: the
//! manager then makes it anew, and every role goes over to the new file by itself.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::watch;

use crate::error::Result;
use crate::sqlite::{Database, Kind, Opening, Schema, forget};

mod embedded {
    refinery::embed_migrations!("../migrations/jobs");
}

/// How often another process's writes are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// The newest schema that this program knows.
#[must_use]
pub fn known_schema() -> u32 {
    crate::sqlite::newest(&embedded::migrations::runner())
}

/// How far the schema of a jobs.db is what it should be.
///
/// # Errors
/// Any from the database.
pub fn schema(db: &Connection) -> Result<Schema> {
    Schema::of(db, &embedded::migrations::runner())
}

/// The transient database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Jobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    now: RwLock<Now>,
    /// None in memory, where nothing can be taken away.
    file: Option<(PathBuf, Opening)>,
    changes: watch::Sender<u64>,
    looking: AtomicBool,
}

/// The database that is used now, and which files it has.
#[derive(Clone, Debug)]
struct Now {
    database: Database,
    files: Files,
}

/// Device and inode of the file and of its log: without its log, what was written last is gone as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Files {
    database: Option<(u64, u64)>,
    log: Option<(u64, u64)>,
}

impl Files {
    /// Those that lie at this path.
    fn at(path: &Path) -> Self {
        let id = |path: &Path| std::fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
        Self { database: id(path), log: id(&path.with_extension("db-wal")) }
    }
}

impl Inner {
    fn now(&self) -> Now {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Jobs {
    /// Opens jobs.db: the owner (the manager) makes and migrates it, a guest finds it ready or is refused. One that was
    /// left half made by a kill is made anew: there is no record in it.
    ///
    /// # Errors
    /// [`crate::error::Error::Unavailable`] as [`Database::open`] says.
    pub fn open(path: &Path, opening: Opening) -> Result<Self> {
        let opened = match (open(path, opening), opening) {
            // A newer program's is unavailable, and left alone.
            (Err(error), Opening::Owner) if !matches!(error, crate::error::Error::Unavailable(_)) => {
                tracing::warn!(path = %path.display(), %error, "jobs.db cannot be used; making a new one");
                forget(path)?;
                open(path, opening)?
            }
            (opened, _) => opened?,
        };
        Ok(Self::over(opened, Some((path.to_owned(), opening))))
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
        let database = Database::in_memory(&embedded::migrations::runner())?;
        Ok(Self::over(Now { database, files: Files::default() }, None))
    }

    fn over(now: Now, file: Option<(PathBuf, Opening)>) -> Self {
        let (changes, looking) = (watch::Sender::new(0), AtomicBool::new(false));
        Self(Arc::new(Inner { now: RwLock::new(now), file, changes, looking }))
    }

    /// The database itself, for tests that bound work.
    #[cfg(test)]
    pub(crate) fn database(&self) -> Database {
        self.0.now().database
    }

    /// Reads. `f` runs on the blocking pool, on a connection that cannot write, in one transaction.
    ///
    /// # Errors
    /// What `f` returns.
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.0.now().database.read(f).await
    }

    /// Whether it can be read.
    pub async fn answers(&self) -> bool {
        self.0.now().database.answers().await
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
            .now()
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

fn open(path: &Path, opening: Opening) -> Result<Now> {
    let database = Database::open(path, Kind::Transient, opening, &embedded::migrations::runner())?;
    Ok(Now { database, files: Files::at(path) })
}

/// What is looked at, between two looks.
#[derive(Default)]
struct Look {
    /// A connection of its own.
    beside: Option<Connection>,
    last: Option<i64>,
}

/// Looks at SQLite's own counter of other connections' commits, and at the file itself, until the last [`Jobs`] is
/// gone.
async fn look(jobs: std::sync::Weak<Inner>) {
    let mut look = Look::default();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(inner) = jobs.upgrade() else { return };
        if inner.file.is_none() {
            // In memory there is no other process to look for.
            return;
        }
        let looked = tokio::task::spawn_blocking(move || {
            let changed = look.once(&inner);
            (look, changed.map(|changed| changed.then_some(inner)))
        });
        look = match looked.await {
            Ok((look, Ok(changed))) => {
                if let Some(inner) = changed {
                    inner.changes.send_modify(|n| *n += 1);
                }
                look
            }
            Ok((_, Err(error))) => {
                tracing::warn!(%error, "jobs.db could not be watched; trying again");
                Look::default()
            }
            Err(error) => {
                tracing::error!(%error, "the watch over jobs.db failed");
                Look::default()
            }
        };
    }
}

impl Look {
    /// Whether something was written since the last time.
    fn once(&mut self, inner: &Inner) -> Result<bool> {
        let Some((path, opening)) = &inner.file else { return Ok(false) };
        let (there, had) = (Files::at(path), inner.now().files);
        if there != had || there.database.is_none() {
            // It was taken away. Whoever went on with the old file would speak to nobody.
            match opening {
                Opening::Owner => forget(path)?,
                // The manager makes another one in a moment.
                Opening::Guest if there.database.is_none() || there.database == had.database => {
                    return Ok(false);
                }
                Opening::Guest => {}
            }
            let fresh = open(path, *opening)?;
            tracing::warn!(path = %path.display(), "jobs.db was lost; going on with a new one");
            *inner.now.write().unwrap_or_else(PoisonError::into_inner) = fresh;
            *self = Self::default();
        }
        if self.beside.is_none() {
            self.beside = inner.now().database.beside()?;
        }
        let Some(connection) = &self.beside else { return Ok(false) };
        let version: i64 = connection.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        Ok(self.last.replace(version) != Some(version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(scanner: &'static str) -> impl FnOnce(&Transaction) -> Result<usize> + Send + 'static {
        move |tx| Ok(tx.execute("INSERT INTO want (scanner, until) VALUES (?, 0)", [scanner])?)
    }

    #[tokio::test]
    async fn a_file_left_half_made_by_a_kill_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let half = Connection::open(&path).unwrap();
        half.execute_batch("CREATE TABLE scanner (id TEXT) STRICT").unwrap();
        drop(half);
        let jobs = Jobs::open(&path, Opening::Owner).unwrap();
        jobs.write(want("s")).await.unwrap();
        assert_eq!(wanting(&jobs).await, Some(1));
    }

    #[tokio::test]
    async fn a_link_in_its_place_is_taken_away_and_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("jobs.db"), folder.path().join("config.db"));
        drop(Jobs::open(&other, Opening::Owner).unwrap());
        let before = std::fs::read(&other).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let jobs = Jobs::open(&path, Opening::Owner).unwrap();
        jobs.write(want("s")).await.unwrap();
        assert_eq!(wanting(&jobs).await, Some(1));
        assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(std::fs::read(&other).unwrap(), before);
    }

    /// None in the moment in which there is no file.
    async fn wanting(jobs: &Jobs) -> Option<i64> {
        jobs.read(|c| Ok(c.query_row("SELECT count(*) FROM want", [], |r| r.get(0))?)).await.ok()
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

    #[tokio::test]
    async fn a_file_that_is_taken_away_is_made_anew_and_everyone_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let manager = Jobs::open(&path, Opening::Owner).unwrap();
        let ingest = Jobs::wait(&path, Duration::ZERO).await.unwrap();
        let (mut managing, mut serving) = (manager.watch(), ingest.watch());
        ingest.write(want("old")).await.unwrap();
        managing.changed().await;
        serving.changed().await;
        for round in 0..3 {
            let had = manager.0.now().files;
            std::fs::remove_file(&path).unwrap();
            if round > 0 {
                // It may be the log of the new one by now.
                let _ = std::fs::remove_file(folder.path().join("jobs.db-wal"));
            }
            while manager.0.now().files == had
                || manager.0.now().files != Files::at(&path)
                || ingest.0.now().files != manager.0.now().files
            {
                serving.changed_within(LOOK).await;
            }
            ingest.write(want("new")).await.unwrap();
            managing.changed().await;
            assert_eq!((wanting(&manager).await, wanting(&ingest).await), (Some(1), Some(1)));
            // A third comes: the logs of the file that was lost are not its own.
            let dispatcher = Jobs::wait(&path, Duration::ZERO).await.unwrap();
            assert_eq!(wanting(&dispatcher).await, Some(1));
        }
    }
}
