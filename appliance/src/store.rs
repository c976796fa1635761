//! config.db: what must last. There is one way to change it, and that way writes the audit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::audit::chain::Head;
use crate::audit::{self, Actor, ActorKind, Entry, wrote};
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::sqlite::{Database, Kind, Opening, Schema};

mod embedded {
    refinery::embed_migrations!("../migrations/config");
}

/// Tables that [`Store::note`] may write: traces of use and proofs, none of them configuration.
const NOTED: [&str; 7] =
    ["session", "session_origin", "audit_checkpoint", "delivery", "lockout", "token_use", "oidc_back"];
/// Columns that it may write in tables that it may not write otherwise: when something was used last.
const NOTED_COLUMNS: [(&str, &str); 1] = [("user", "last_seen")];

/// Columns that a sign-in writes beside them: what of a second factor was used. They are changed while an update is on trial
/// as well, so that who has to look at it can sign in.
const SIGN_IN_COLUMNS: [(&str, &str); 8] = [
    ("totp", "last_step"),
    ("totp", "burnt"),
    ("totp", "away"),
    ("totp", "away_at"),
    ("recovery_code", "used_at"),
    ("security_key", "credential"),
    ("security_key", "last_used"),
    ("security_key", "alone"),
];

/// No authorizer: what a connection may do by itself.
const EVERYTHING: Option<fn(AuthContext<'_>) -> Authorization> = None;

/// The newest schema that this program knows.
#[must_use]
pub fn known_schema() -> u32 {
    crate::sqlite::newest(&embedded::migrations::runner())
}

/// What makes and changes the schema, for tests that add to it.
#[cfg(test)]
pub(crate) fn migrations() -> refinery::Runner {
    embedded::migrations::runner()
}

/// How far the schema of a config.db is what it should be.
///
/// # Errors
/// Any from the database.
pub fn schema(db: &Connection) -> Result<Schema> {
    Schema::of(db, &embedded::migrations::runner())
}

/// The configuration database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
    clock: Clock,
    /// The file that says that an update is on trial.
    trial: Option<Arc<PathBuf>>,
}

impl Store {
    /// Opens config.db: the owner (the manager) makes and migrates it, a guest finds it ready or is refused.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as [`Database::open`] says.
    pub fn open(path: &Path, opening: Opening, clock: Clock) -> Result<Self> {
        let database = Database::open(path, Kind::Lasting, opening, &embedded::migrations::runner())?;
        Ok(Self { database, clock, trial: None })
    }

    /// As [`Store::open`], with other migrations: as a later version opens it.
    #[cfg(test)]
    pub(crate) fn open_with(
        path: &Path,
        opening: Opening,
        clock: Clock,
        migrations: &refinery::Runner,
    ) -> Result<Self> {
        let database = Database::open(path, Kind::Lasting, opening, migrations)?;
        Ok(Self { database, clock, trial: None })
    }

    /// The same, which people change only while this file is not there: it says that an update is on trial, whose changes
    /// would be lost if the version before came back. Their sign-ins and looks are written down all the same.
    #[must_use]
    pub fn unless_on_trial(self, flag: PathBuf) -> Self {
        Self { trial: Some(Arc::new(flag)), ..self }
    }

    /// Whether an update is on trial.
    #[must_use]
    pub fn is_on_trial(&self) -> bool {
        self.trial.as_ref().is_some_and(|flag| flag.exists())
    }

    /// As a guest, opens config.db once the manager has made it ready; asks four times a second.
    ///
    /// # Errors
    /// The last refusal, after `patience`.
    pub async fn wait(path: &Path, clock: Clock, patience: Duration) -> Result<Self> {
        wait(patience, || Self::open(path, Opening::Guest, clock.clone())).await
    }

    /// An empty database in memory, for tests.
    ///
    /// # Errors
    /// When a migration does not run.
    pub fn in_memory(clock: Clock) -> Result<Self> {
        let database = Database::in_memory(&embedded::migrations::runner())?;
        Ok(Self { database, clock, trial: None })
    }

    /// Reads. `f` runs on the blocking pool, on a connection that cannot write, in one transaction.
    ///
    /// # Errors
    /// What `f` returns.
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.database.read(f).await
    }

    /// Whether it can be read.
    pub async fn answers(&self) -> bool {
        self.database.answers().await
    }

    /// As [`Store::read`], for what may take minutes: on a connection of its own, so that nobody waits for it, and ended
    /// when its caller goes away.
    ///
    /// # Errors
    /// What `f` returns.
    pub async fn read_long<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.database.read_long(f).await
    }

    /// Changes something, and says so in the audit, in one transaction: both or neither.
    ///
    /// # Errors
    /// What `f` returns; then nothing was changed and nothing said.
    pub async fn change<T: Send + 'static>(
        &self,
        actor: &Actor,
        f: impl FnOnce(&Transaction) -> Result<(Entry, T)> + Send + 'static,
    ) -> Result<T> {
        self.changes(actor, move |tx| f(tx).map(|(entry, answer)| (vec![entry], answer))).await
    }

    /// As [`Store::change`], for what takes several entries, or none when nothing turned out to change.
    ///
    /// # Errors
    /// What `f` returns; and a change without an entry is refused as a fault of ours.
    pub async fn changes<T: Send + 'static>(
        &self,
        actor: &Actor,
        f: impl FnOnce(&Transaction) -> Result<(Vec<Entry>, T)> + Send + 'static,
    ) -> Result<T> {
        let (actor, at) = (actor.clone(), self.clock.now());
        let person = matches!(actor.kind, ActorKind::User | ActorKind::Nobody | ActorKind::Cli);
        let held_back = person && self.is_on_trial();
        let counted = |(entries, answer): (Vec<Entry>, T)| {
            let any = !entries.is_empty();
            (entries, (answer, any))
        };
        let f = move |tx: &Transaction| f(tx).map(counted);
        let (answer, any) = self
            .database
            .with_writer(move |connection| {
                // Left behind by a note that panicked, it would refuse everything from here on.
                connection.authorizer(EVERYTHING)?;
                if held_back {
                    change_on_trial(connection, &actor, at, f)
                } else {
                    change(connection, &actor, at, f)
                }
            })
            .await?;
        if any {
            wrote::wrote();
        }
        Ok(answer)
    }

    /// Writes traces of use that need no audit entry of their own (a session was seen); SQLite itself refuses a
    /// write to any other table.
    ///
    /// # Errors
    /// What `f` returns.
    pub async fn note<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Transaction) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.database
            .with_writer(move |connection| {
                // What was prepared before was allowed before: only statements prepared from here on are asked.
                connection.flush_prepared_statement_cache();
                connection.authorizer(Some(only_noted))?;
                let answer = note(connection, f);
                connection.authorizer(EVERYTHING)?;
                answer
            })
            .await
    }

    /// Where the audit chain ends now.
    ///
    /// # Errors
    /// Any from the database.
    pub async fn audit_head(&self) -> Result<Head> {
        self.read(audit::store::head).await
    }

    /// The database itself, for tests that bound work.
    #[cfg(test)]
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// The clock that stamps the audit.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

fn change<T>(
    connection: &mut Connection,
    actor: &Actor,
    at: Timestamp,
    f: impl FnOnce(&Transaction) -> Result<(Vec<Entry>, T)>,
) -> Result<T> {
    let rows = connection.total_changes();
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (entries, answer) = f(&tx)?;
    if entries.is_empty() && tx.total_changes() != rows {
        return Err(Error::internal("a change came without its audit entry"));
    }
    for entry in entries {
        audit::store::append(&tx, actor, at, entry)?;
    }
    tx.commit()?;
    Ok(answer)
}

/// As [`change`], for what leaves the configuration alone; SQLite itself refuses the rest.
fn change_on_trial<T>(
    connection: &mut Connection,
    actor: &Actor,
    at: Timestamp,
    f: impl FnOnce(&Transaction) -> Result<(Vec<Entry>, T)>,
) -> Result<T> {
    let refused = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&refused);
    // What was prepared before was allowed before.
    connection.flush_prepared_statement_cache();
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        let allowed = only_told(context);
        if allowed != Authorization::Allow {
            seen.store(true, Ordering::Relaxed);
        }
        allowed
    }))?;
    let answer = change(connection, actor, at, f);
    connection.authorizer(EVERYTHING)?;
    if refused.load(Ordering::Relaxed) { Err(Error::OnTrial) } else { answer }
}

/// What stays possible while an update is on trial: traces of use, and the audit with its index of words.
fn only_told(context: AuthContext<'_>) -> Authorization {
    let allowed = match context.action {
        AuthAction::Insert { table_name } => {
            table_name == "audit_entry" || table_name.starts_with("audit_text")
        }
        AuthAction::Update { table_name, column_name } => {
            SIGN_IN_COLUMNS.contains(&(table_name, column_name)) || table_name.starts_with("audit_text_")
        }
        AuthAction::Delete { table_name } => table_name.starts_with("audit_text_"),
        AuthAction::Pragma { pragma_name, .. } => pragma_name == "data_version",
        _ => false,
    };
    if allowed { Authorization::Allow } else { only_noted(context) }
}

fn note<T>(connection: &mut Connection, f: impl FnOnce(&Transaction) -> Result<T>) -> Result<T> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let answer = f(&tx)?;
    tx.commit()?;
    Ok(answer)
}

fn only_noted(context: AuthContext<'_>) -> Authorization {
    let allowed = match context.action {
        AuthAction::Read { .. }
        | AuthAction::Select
        | AuthAction::Recursive
        | AuthAction::Function { .. }
        | AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. } => true,
        AuthAction::Insert { table_name } | AuthAction::Delete { table_name } => NOTED.contains(&table_name),
        AuthAction::Update { table_name, column_name } => {
            NOTED.contains(&table_name) || NOTED_COLUMNS.contains(&(table_name, column_name))
        }
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

/// Tries until it is no longer [`Error::Unavailable`] or patience ends.
pub(crate) async fn wait<T>(patience: Duration, mut open: impl FnMut() -> Result<T>) -> Result<T> {
    let until = tokio::time::Instant::now() + patience;
    loop {
        match open() {
            Err(Error::Unavailable(_)) if tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            other => return other,
        }
    }
}

#[cfg(test)]
#[path = "store_test.rs"]
mod tests;
