//! Who may be looking into this process: a debugger, or code that was loaded in front of its own. Said in the log and in
//! the audit; a warning only, as an administrator may have his reasons.

use std::env;
use std::fs;

use rusqlite::{Connection, OptionalExtension as _};
use serde_json::json;

use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::jobs::Jobs;
use crate::store::Store;

/// Variables by which the loader puts other code before a program's own.
const VARIABLES: [&str; 3] = ["LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH"];

/// What there is now, in words; empty when there is nothing. Each is said in the log.
#[must_use]
pub fn look() -> Vec<String> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let variable = |name: &str| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let found = find(&read("/proc/self/status"), &read("/etc/ld.so.preload"), variable);
    for what in &found {
        tracing::warn!(what, "someone may be looking into this process");
    }
    found
}

fn find(status: &str, preload: &str, variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map_or("0", str::trim);
    if tracer != "0" {
        found.push(format!("a debugger is attached: process {tracer}"));
    }
    for name in VARIABLES {
        if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
            found.push(format!("{name} is set: {value}"));
        }
    }
    let lines = preload.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let listed: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    if !listed.is_empty() {
        found.push(format!("/etc/ld.so.preload names {}", listed.join(" ")));
    }
    found
}

/// Tells the audit what a role found at its start.
///
/// # Errors
/// Of the database.
pub async fn tell(store: &Store, role: &str, found: Vec<String>) -> Result<(), Error> {
    if found.is_empty() {
        return Ok(());
    }
    let entry = Entry::event("program.watched", &json!({ "role": role, "found": found })).on("program", role);
    store.change(&Actor::system(role), move |_| Ok((entry, ()))).await
}

/// Leaves what ingest found where the manager looks for it: ingest cannot write the audit.
///
/// # Errors
/// Of the database.
pub async fn leave(jobs: &Jobs, found: Vec<String>, at: Timestamp) -> Result<(), Error> {
    if found.is_empty() {
        return Ok(());
    }
    let found = serde_json::to_string(&found).map_err(Error::internal)?;
    let sql = "INSERT INTO watched (one, found, at) VALUES (1, ?, ?)
               ON CONFLICT (one) DO UPDATE SET found = excluded.found, at = excluded.at";
    jobs.write(move |tx| Ok(tx.execute(sql, (found, at)).map(drop)?)).await
}

/// In the manager: brings to the audit what ingest left, now and whenever it leaves more. Until it is dropped.
pub async fn keep(store: Store, jobs: Jobs) {
    let mut watch = jobs.watch();
    loop {
        if let Err(error) = bring(&store, &jobs).await {
            tracing::error!(%error, "what ingest found at its start could not be told the audit");
        }
        watch.changed().await;
    }
}

async fn bring(store: &Store, jobs: &Jobs) -> Result<(), Error> {
    let one = |c: &Connection| {
        c.query_row("SELECT found FROM watched", [], |row| row.get::<_, String>(0)).optional()
    };
    let Some(found) = jobs.read(move |c| Ok(one(c)?)).await? else { return Ok(()) };
    // What is no list was not written by our ingest: it is told as it is.
    let list = serde_json::from_str(&found).unwrap_or_else(|_| vec![found.chars().take(1_000).collect()]);
    tell(store, "ingest", list).await?;
    jobs.write(move |tx| Ok(tx.execute("DELETE FROM watched WHERE found = ?", [found]).map(drop)?)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_debugger_and_what_is_loaded_in_front_are_found() {
        let nothing = |_: &str| None;
        assert_eq!(find("Name:\tx\nTracerPid:\t0\n", "# a remark\n\n", nothing), [""; 0]);
        let found = find("TracerPid:\t12\n", "/lib/a.so # spy\n", |name| {
            (name == "LD_PRELOAD").then(|| "b.so".to_owned())
        });
        assert_eq!(
            found,
            [
                "a debugger is attached: process 12",
                "LD_PRELOAD is set: b.so",
                "/etc/ld.so.preload names /lib/a.so"
            ]
        );
    }

    #[tokio::test]
    async fn what_ingest_finds_reaches_the_audit_once() {
        let store = Store::in_memory(Clock::fixed(Timestamp::EPOCH)).unwrap();
        let jobs = Jobs::in_memory().unwrap();
        leave(&jobs, Vec::new(), Timestamp::EPOCH).await.unwrap();
        bring(&store, &jobs).await.unwrap();
        assert_eq!(store.audit_head().await.unwrap().seq, 0);
        // Twice before the manager looks: ingest was started again.
        for _ in 0..2 {
            leave(&jobs, vec!["LD_PRELOAD is set: b.so".into()], Timestamp::EPOCH).await.unwrap();
        }
        for _ in 0..2 {
            bring(&store, &jobs).await.unwrap();
        }
        assert_eq!(store.audit_head().await.unwrap().seq, 1);
        let sql = "SELECT entry FROM audit_entry";
        let entry: String = store.read(move |c| Ok(c.query_row(sql, [], |row| row.get(0))?)).await.unwrap();
        assert!(entry.contains("program.watched") && entry.contains("b.so"), "{entry}");
    }
}
