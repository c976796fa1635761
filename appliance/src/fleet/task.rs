//! What the manager does for the fleet in the background.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::store::{self, ScannerRow};
use super::{Fleet, projection};
use crate::audit::{Actor, Entry};
use crate::error::Result;

/// A round is made at least this often, and after every write to jobs.db.
const ROUND: Duration = Duration::from_secs(5);
/// Not more often than this: every request of a scanner writes to jobs.db.
const REST: Duration = Duration::from_millis(50);
/// How long what is over is kept, so that a clock set back revives nothing.
const KEPT: Duration = Duration::from_secs(600);

/// Performs enrolments, keeps the projection equal to config.db, tells refusals to the audit and tidies jobs.db, until
/// it is dropped. Every change of the fleet projects itself: the projection of each round is for what went wrong.
pub async fn manager_task(fleet: Fleet) {
    let mut watch = fleet.0.parts.jobs.watch();
    let mut projected = None::<Instant>;
    loop {
        let mut done = Ok(());
        if projected.is_none_or(|at| at.elapsed() >= ROUND) {
            done = fleet.project().await;
            projected = done.is_ok().then(Instant::now);
        }
        if let Err(error) = done.and(round(&fleet).await) {
            tracing::error!(%error, "the fleet's background task failed; trying again");
        }
        tokio::time::sleep(REST).await;
        watch.changed_within(ROUND).await;
    }
}

/// What [`manager_task`] does whenever something was written to jobs.db.
pub(super) async fn round(fleet: &Fleet) -> Result<()> {
    step(fleet, fleet.0.parts.store.is_on_trial()).await
}

/// The same, while an update is on trial or not. What is enrolled in a trial the version before might not know of: it waits,
/// and the scanner asks again.
pub(super) async fn step(fleet: &Fleet, on_trial: bool) -> Result<()> {
    if !on_trial {
        fleet.perform_enrolments().await?;
    }
    fleet.confirm().await?;
    fleet.drain_refusals().await?;
    fleet.tidy().await
}

impl Fleet {
    /// Scanners that were heard of for the first time since they enrolled: from now on their token is spent.
    async fn confirm(&self) -> Result<()> {
        let fresh = |row: &ScannerRow| row.confirmed_at.is_none() && row.revoked_at.is_none();
        let rows = self.0.parts.store.read(store::scanners).await?;
        let unconfirmed: Vec<ScannerRow> = rows.into_iter().filter(fresh).collect();
        if unconfirmed.is_empty() {
            return Ok(());
        }
        let seen = self.0.parts.jobs.read(projection::seen).await?;
        for row in unconfirmed {
            let (Some(seen), Some(enrolled_at)) = (seen.get(&row.id).cloned(), row.enrolled_at) else {
                continue;
            };
            if seen.at < enrolled_at {
                continue;
            }
            let mut actor = Actor::scanner(row.id, &row.name);
            if let Ok(source) = seen.source.parse() {
                actor = actor.seen_from(source);
            }
            let now = self.0.parts.clock.now();
            let id = row.id;
            self.0
                .parts
                .store
                .changes(&actor, move |tx| {
                    let before = store::scanner(tx, id)?;
                    if !fresh(&before) {
                        return Ok((vec![], ()));
                    }
                    let after = ScannerRow { confirmed_at: Some(now), ..before.clone() };
                    store::update_scanner(tx, &after, now)?;
                    let entry = Entry::updated("scanner", id, &before, &after)
                        .action("scanner.connected")
                        .detail(&json!({ "software": seen.version }));
                    Ok((vec![entry], ()))
                })
                .await?;
        }
        Ok(())
    }

    /// Deletes nonces, answered enrolments and waits that are over. Writes only where there is something to delete.
    async fn tidy(&self) -> Result<()> {
        const OVER: [&str; 3] =
            ["nonce WHERE expires_at < ?", "enrolment WHERE asked_at < ?", "want WHERE until < ?"];
        let before = self.0.parts.clock.now() - KEPT;
        // Nonces alone come with every request: they are deleted by the thousand, not one by one.
        let any = self.0.parts.jobs.read(move |db| {
            let mut any = false;
            for (table, least) in OVER.into_iter().zip([1_000_i64, 1, 1]) {
                let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1000)");
                any |= db.query_row(&sql, [before], |row| row.get::<_, i64>(0))? >= least;
            }
            Ok(any)
        });
        if !any.await? {
            return Ok(());
        }
        self.0
            .parts
            .jobs
            .write(move |tx| {
                for table in OVER {
                    tx.execute(&format!("DELETE FROM {table}"), [before])?;
                }
                Ok(())
            })
            .await
    }
}
