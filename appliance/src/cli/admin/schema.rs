//! `portolan admin schema`: whether the databases are as this version made them, and bringing older ones up to date.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::confirm::Confirm;
use super::files::{Files, FilesArgs, json as as_json, stopped};
use super::{Failure, Outcome, Said};
use crate::audit::Entry;
use crate::error::Error;
use crate::jobs::{self, Jobs};
use crate::layout::Layout;
use crate::results::duckdb::{DuckDb, Limits};
use crate::sqlite::{Opening, Schema, open_read_only};
use crate::store;

/// What can be done with the schema.
#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// Check that the databases are whole, and that nothing but this program shaped them
    ///
    /// Compares every table, index, view and trigger with what the migrations make: so it finds a trigger of the audit
    /// that someone took away. The appliance may be running. It reads alone, and leaves no entry.
    Verify,
    /// Bring databases of an older version up to date
    ///
    /// The appliance does so itself when it starts. There is no way back: keep a copy of the data folder, with which an
    /// older version can start again. The appliance must be stopped.
    Migrate(MigrateArgs),
}

/// How it is confirmed.
#[derive(Args, Debug)]
pub struct MigrateArgs {
    #[command(flatten)]
    confirm: Confirm,
}

/// Runs the command.
///
/// # Errors
/// As the databases say.
pub fn run(args: &FilesArgs, command: &SchemaCommand) -> Outcome {
    match command {
        SchemaCommand::Verify => verify(args),
        SchemaCommand::Migrate(wanted) => migrate(args, wanted),
    }
}

/// The SQLite databases, each with what they should be. jobs.db may be missing: it is made anew.
fn found(args: &FilesArgs) -> Result<Vec<(&'static str, Option<Schema>)>, Failure> {
    let layout = Layout::new(&args.data);
    let config = open_read_only(&layout.config_db()).map_err(|error| {
        let error = std::io::Error::other(error.to_string());
        Failure::file(layout.config_db().display())(error)
    })?;
    let mut all = vec![("config.db", Some(store::schema(&config)?))];
    let jobs_db = layout.jobs_db();
    let jobs = jobs_db.exists().then(|| open_read_only(&jobs_db).and_then(|db| jobs::schema(&db)));
    all.push(("jobs.db", jobs.transpose()?));
    Ok(all)
}

fn verify(args: &FilesArgs) -> Outcome {
    let mut items = Vec::new();
    let mut wrong = Vec::new();
    for (name, schema) in found(args)? {
        let Some(schema) = schema else {
            items.push(json!({ "database": name, "state": "not there; the manager makes it" }));
            continue;
        };
        let mut item = as_json(&schema)?;
        item["database"] = json!(name);
        let state = if schema.found < schema.known {
            format!("older: schema {}, this program knows {}", schema.found, schema.known)
        } else if schema.wrong.is_empty() {
            "as it should be".to_owned()
        } else {
            schema.wrong.join("; ")
        };
        if state != "as it should be" {
            wrong.push(format!("{name}: {state}"));
        }
        item["state"] = json!(state);
        items.push(item);
    }
    if wrong.is_empty() {
        Ok(Said::list(items, &["database", "found", "known", "state"]))
    } else {
        Err(Failure::Wrong(wrong.join("\n")))
    }
}

fn migrate(args: &FilesArgs, wanted: &MigrateArgs) -> Outcome {
    let _held = stopped(args)?;
    let older: Vec<(&str, Schema)> = found(args)?
        .into_iter()
        .filter_map(|(name, schema)| Some((name, schema.filter(|schema| schema.found < schema.known)?)))
        .collect();
    if !older.is_empty() {
        let names: Vec<String> = older
            .iter()
            .map(|(name, schema)| format!("{name} from schema {} to {}", schema.found, schema.known))
            .collect();
        wanted.confirm.ask(&format!("This brings {} up to date", names.join(", ")))?;
    }
    let files = Files::open_as(args, Opening::Owner)?;
    if files.layout.jobs_db().exists() {
        drop(Jobs::open(&files.layout.jobs_db(), Opening::Owner)?);
    }
    let results = files.layout.results();
    if results.exists() {
        let done = DuckDb::open(&results, Limits::default()).and_then(DuckDb::close);
        done.map_err(Error::from)?;
    }
    let steps: Vec<Value> = older
        .iter()
        .map(|(name, schema)| json!({ "database": name, "from": schema.found, "to": schema.known }))
        .collect();
    if steps.is_empty() {
        return Ok(Said::new("every database is up to date", json!({ "items": steps })));
    }
    let entry = Entry::event("schema.migrated", &json!({ "databases": steps }));
    files.wait(files.store.change(&files.actor, move |_| Ok((entry, ()))))?;
    Ok(Said::list(steps, &["database", "from", "to"]))
}
