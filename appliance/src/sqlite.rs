//! How both SQLite files are opened and used: one writer, a few readers, all on the blocking pool, and
//! migrations that refuse a file newer than this program.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use refinery::Runner;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use tokio::sync::{Mutex, Semaphore};

use crate::error::{Error, Result};
pub use crate::schema::Schema;

/// How many reads run at once; more wait.
const READERS: usize = 4;
/// How long a statement waits for another process's lock.
const BUSY: Duration = Duration::from_secs(10);

/// What this process may do to the file's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The manager: makes the file and brings its schema up to date.
    Owner,
    /// Any other role: the file must be there, with exactly the schema this program knows.
    Guest,
}

/// What becomes of a file that someone takes away from under the processes that have it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is not replaced: what is in it must last.
    Lasting,
    /// It is made anew. So the last to close the old one must not delete the log by its name: that name is the new
    /// one's by then.
    Transient,
}

/// One open SQLite file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    writer: Arc<Mutex<Connection>>,
    /// None for a database in memory: it has one connection, which reads as well.
    readers: Option<Readers>,
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    kind: Kind,
    idle: std::sync::Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Database {
    /// Opens the file, and as [`Opening::Owner`] makes and migrates it.
    ///
    /// # Errors
    /// [`Error::Unavailable`], naming both versions, when the file is newer than this program or, for a guest,
    /// not there or older.
    pub fn open(path: &Path, kind: Kind, opening: Opening, migrations: &Runner) -> Result<Self> {
        if opening == Opening::Owner {
            if kind == Kind::Transient && !path.exists() {
                // What is left of a file that was lost belongs to nothing.
                forget(&beside(path, "-wal")).and_then(|()| forget(&beside(path, "-shm")))?;
            }
            make_file(path).map_err(|e| Error::internal(format!("{}: {e}", path.display())))?;
        } else if std::fs::metadata(path).map_or(0, |file| file.len()) == 0 {
            // Empty, it is being made: a second connection now would keep the owner from setting its journal.
            return Err(Error::Unavailable(format!("{} is not made yet", path.display())));
        }
        let mut writer = connect(path, kind)?;
        bring_up_to(&mut writer, &path.display().to_string(), opening, migrations)?;
        let readers = Readers {
            path: path.to_owned(),
            kind,
            idle: std::sync::Mutex::default(),
            permits: Semaphore::new(READERS),
        };
        Ok(Self(Arc::new(Inner { writer: Arc::new(Mutex::new(writer)), readers: Some(readers) })))
    }

    /// A migrated database in memory, gone when the last clone is.
    ///
    /// # Errors
    /// When a migration does not run.
    pub fn in_memory(migrations: &Runner) -> Result<Self> {
        let mut writer = Connection::open_in_memory()?;
        prepare(&writer)?;
        bring_up_to(&mut writer, "the database in memory", Opening::Owner, migrations)?;
        Ok(Self(Arc::new(Inner { writer: Arc::new(Mutex::new(writer)), readers: None })))
    }

    /// Counts from here on the instructions, in thousands, of SQLite's virtual machine on a database in memory: for
    /// tests that bound work, which a clock on a busy machine cannot.
    #[cfg(test)]
    pub async fn count_work(&self) -> Arc<std::sync::atomic::AtomicU64> {
        let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counter = Arc::clone(&count);
        let note = move || {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            false
        };
        self.with_writer(move |c| Ok(c.progress_handler(1_000, Some(note))?)).await.unwrap();
        count
    }

    /// Runs `f` on the one writing connection, on the blocking pool. A caller that goes away does not stop it.
    ///
    /// # Errors
    /// What `f` returns.
    pub async fn with_writer<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut writer = Arc::clone(&self.0.writer).lock_owned().await;
        blocking(move || f(&mut writer)).await
    }

    /// Runs `f` on a connection that refuses to write, on the blocking pool, inside one read transaction: what
    /// `f` sees does not change while it runs.
    ///
    /// # Errors
    /// What `f` returns.
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Some(readers) = &self.0.readers else {
            return self.with_writer(move |c| read_only(c, f)).await;
        };
        let _permit = readers.permits.acquire().await.expect("the semaphore is never closed");
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let readers = inner.readers.as_ref().expect("seen above");
            let idle = readers.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
            let connection = idle.map_or_else(|| connect(&readers.path, readers.kind), Ok)?;
            let answer = read_only(&connection, f);
            if connection.is_autocommit() {
                readers.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(connection);
            }
            answer
        })
        .await
    }

    /// As [`Database::read`], on a connection of its own, and interrupted when the caller goes away.
    ///
    /// # Errors
    /// What `f` returns.
    pub async fn read_long<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        /// Says so when it is dropped.
        struct Gone(Arc<AtomicBool>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let Some(mut connection) = self.beside()? else { return self.read(f).await };
        let gone = Arc::new(AtomicBool::new(false));
        let caller = Gone(Arc::clone(&gone));
        // Asked every so many instructions: an interrupt between two statements would end neither.
        connection.progress_handler(10_000, Some(move || gone.load(Ordering::Relaxed)))?;
        let answer = blocking(move || read_only(&connection, f)).await;
        drop(caller);
        answer
    }

    /// Whether it can be read. On a connection of its own: all those of the pool may be at long work, and well.
    pub async fn answers(&self) -> bool {
        let database = self.clone();
        let look = |c: &Connection| Ok(c.query_row("SELECT 1", [], |_| Ok(()))?);
        let beside = blocking(move || database.beside()?.map(|c| look(&c)).transpose());
        match beside.await {
            Ok(Some(())) => true,
            Ok(None) => self.read(look).await.is_ok(),
            Err(_) => false,
        }
    }

    /// A connection beside the pool, for who must hold one; `None` for a database in memory.
    ///
    /// # Errors
    /// When the file does not open.
    pub fn beside(&self) -> Result<Option<Connection>> {
        self.0.readers.as_ref().map(|r| connect(&r.path, r.kind)).transpose()
    }
}

fn read_only<T>(connection: &Connection, f: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    /// Ends the read even when `f` panics.
    struct Reading<'c>(&'c Connection);
    impl Drop for Reading<'_> {
        fn drop(&mut self) {
            if let Err(error) = self.0.execute_batch("ROLLBACK; PRAGMA query_only = off") {
                tracing::warn!(%error, "a read did not end cleanly");
            }
        }
    }
    connection.execute_batch("PRAGMA query_only = on; BEGIN DEFERRED")?;
    let _reading = Reading(connection);
    f(connection)
}

/// Runs blocking work where it may block. The only `spawn_blocking` for SQL.
async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(f).await?
}

/// Removes a file, if it is there.
pub(crate) fn forget(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::internal(format!("{}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Makes the file with mode 0660, whatever the umask: SQLite gives its `-wal` and `-shm` the same mode and
/// group, and every role of the folder's group must be able to write them.
fn make_file(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o660).open(path) {
        Ok(file) => file.set_permissions(Permissions::from_mode(0o660)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

fn connect(path: &Path, kind: Kind) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | NO_LINK;
    let connection = Connection::open_with_flags(no_link(path), flags)?;
    prepare(&connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, kind == Kind::Transient)?;
    Ok(connection)
}

/// A role that shares the folder, and that someone has taken over, could put a link to another file in the place of this one.
const NO_LINK: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX.union(OpenFlags::SQLITE_OPEN_NOFOLLOW);

/// SQLite then refuses a link anywhere in the path, but that of the folder is the administrator's.
fn no_link(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// Opens a file only to read it, also one that another process writes, and one in a folder that cannot be
/// written (then whoever wrote it must have closed it).
///
/// # Errors
/// When it is not there or is no database.
pub fn open_read_only(path: &Path) -> Result<Connection> {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
    match look(Connection::open_with_flags(no_link(path), READ_ONLY)?) {
        // Without its side files a WAL database needs to make them, unless it is known not to change.
        Err(e)
            if matches!(e.sqlite_error_code(), Some(CannotOpen | ReadOnly))
                && !beside(path, "-wal").exists() =>
        {
            Ok(open_unchanging(path)?)
        }
        other => Ok(other?),
    }
}

const READ_ONLY: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(NO_LINK);

fn open_unchanging(path: &Path) -> rusqlite::Result<Connection> {
    let name = no_link(path).to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    look(Connection::open_with_flags(format!("file:{name}?immutable=1"), flags)?)
}

/// The first read is what really opens the file.
fn look(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(BUSY)?;
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
    Ok(connection)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

pub(crate) fn prepare(connection: &Connection) -> Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_prepared_statement_cache_capacity(128);
    // recursive_triggers makes REPLACE fire the triggers that guard the audit against deletion.
    // synchronous=FULL in both files: what was answered must outlast a power cut. For jobs.db that is the used
    // enrolment token and the nonce: with NORMAL the last commits could be rolled back by a power cut, and a
    // replayed request or token would be taken a second time after the restart.
    connection.execute_batch(
        "PRAGMA journal_mode = wal;
         PRAGMA synchronous = full;
         PRAGMA foreign_keys = on;
         PRAGMA recursive_triggers = on;
         PRAGMA cell_size_check = on;",
    )?;
    Ok(())
}

/// The newest of these migrations; 0 for none.
pub(crate) fn newest(migrations: &Runner) -> u32 {
    let newest = migrations.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0);
    u32::try_from(newest).unwrap_or(0)
}

pub(crate) fn bring_up_to(
    connection: &mut Connection,
    name: &str,
    opening: Opening,
    migrations: &Runner,
) -> Result<()> {
    let known = i32::try_from(newest(migrations)).unwrap_or(i32::MAX);
    let found = schema_version(connection)?;
    if found > known {
        return Err(Error::Unavailable(format!(
            "{name} has schema {found}, made by a newer Portolan; this one knows schemas up to {known}. \
             Start the newer version, or restore a backup made by this one."
        )));
    }
    match opening {
        Opening::Owner => migrations.run(connection).map(drop).map_err(Error::from),
        Opening::Guest if found < known => Err(Error::Unavailable(format!(
            "{name} has schema {found}; this program needs {known}. The manager brings it up to date."
        ))),
        Opening::Guest => Ok(()),
    }
}

/// The newest migration in the file; 0 when there is none.
pub(crate) fn schema_version(connection: &Connection) -> Result<i32> {
    let history = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'refinery_schema_history'";
    if connection.query_row(history, [], |_| Ok(())).optional()?.is_none() {
        return Ok(0);
    }
    let newest = "SELECT coalesce(max(version), 0) FROM refinery_schema_history";
    Ok(connection.query_row(newest, [], |row| row.get(0))?)
}

#[cfg(test)]
#[path = "sqlite_test.rs"]
mod tests;
