//! Migrations of the results store: refinery's own runner, taught DuckDB.

use ::duckdb::Connection;
use refinery_core::traits::sync::{Migrate, Query, Transaction};
use refinery_core::{Migration, Runner};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::results::Error;

mod embedded {
    refinery::embed_migrations!("../migrations/results");
}

/// The newest schema that this program knows.
#[must_use]
pub fn known() -> u32 {
    crate::sqlite::newest(&embedded::migrations::runner())
}

/// Brings the schema up to date.
///
/// # Errors
/// [`Error::Newer`] when the file has migrations that this program does not know.
pub fn run(connection: &mut Connection) -> Result<(), Error> {
    run_with(connection, embedded::migrations::runner())
}

fn run_with(connection: &mut Connection, runner: Runner) -> Result<(), Error> {
    let known = runner.get_migrations().iter().map(Migration::version).max().unwrap_or(0);
    let mut runner = runner.set_abort_missing(true).set_abort_divergent(true).set_grouped(true);
    runner.set_migration_table_name("schema_history");
    let mut adapter = Adapter(connection);
    let found =
        runner.get_last_applied_migration(&mut adapter).ok().flatten().map_or(0, |last| last.version());
    if found > known {
        return Err(Error::Newer { found: i64::from(found), known: i64::from(known) });
    }
    runner.run(&mut adapter)?;
    Ok(())
}

/// DuckDB's connection in refinery's terms. Schema changes are transactional here as in SQLite.
struct Adapter<'c>(&'c mut Connection);

impl Transaction for Adapter<'_> {
    type Error = ::duckdb::Error;

    fn execute<'a, T: Iterator<Item = &'a str>>(&mut self, queries: T) -> Result<usize, Self::Error> {
        let transaction = self.0.transaction()?;
        let mut count = 0;
        for query in queries {
            transaction.execute_batch(query)?;
            count += 1;
        }
        transaction.commit()?;
        Ok(count)
    }
}

impl Query<Vec<Migration>> for Adapter<'_> {
    fn query(&mut self, query: &str) -> Result<Vec<Migration>, Self::Error> {
        let mut statement = self.0.prepare(query)?;
        let rows = statement.query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
        })?;
        rows.map(|row| {
            let (version, name, applied, checksum) = row?;
            let applied = OffsetDateTime::parse(&applied, &Rfc3339).map_err(|error| bad(2, error))?;
            Ok(Migration::applied(version, name, applied, checksum.parse().map_err(|error| bad(3, error))?))
        })
        .collect()
    }
}

fn bad(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> ::duckdb::Error {
    ::duckdb::Error::FromSqlConversionFailure(column, ::duckdb::types::Type::Text, Box::new(error))
}

impl Migrate for Adapter<'_> {}

#[cfg(test)]
mod test {
    use super::*;

    fn runner(up_to: i32) -> Runner {
        let one = |n: i32| {
            Migration::unapplied(&format!("V{n}__step"), &format!("CREATE TABLE step{n} (x INTEGER)"))
                .unwrap()
        };
        Runner::new(&(1..=up_to).map(one).collect::<Vec<_>>())
    }

    #[test]
    fn each_migration_runs_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        run_with(&mut connection, runner(1)).unwrap();
        run_with(&mut connection, runner(2)).unwrap();
        run_with(&mut connection, runner(2)).unwrap();
        connection.execute_batch("SELECT * FROM step1, step2").unwrap();
    }

    #[test]
    fn a_newer_store_is_refused_and_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        run_with(&mut connection, runner(3)).unwrap();
        let refused = run_with(&mut connection, runner(2)).unwrap_err();
        assert!(matches!(refused, Error::Newer { found: 3, known: 2 }), "{refused}");
        connection.execute_batch("SELECT * FROM step3").unwrap();
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = [
            Migration::unapplied("V1__good", "CREATE TABLE good (x INTEGER)").unwrap(),
            Migration::unapplied("V2__bad", "CREATE TABEL bad (x INTEGER)").unwrap(),
        ];
        assert!(run_with(&mut connection, Runner::new(&steps)).is_err());
        assert!(connection.execute_batch("SELECT * FROM good").is_err());
    }
}
