//! What ingest refused, from jobs.db into the audit. The first of a kind is told at once; what follows within the
//! same minute is counted, and told in one more entry when the minute is over.

use std::time::Duration;

use rusqlite::{Connection, Row, params};
use serde_json::json;

use super::{Fleet, store};
use crate::audit::{Actor, Entry, Outcome};
use crate::clock::Timestamp;
use crate::error::Result;

const MINUTE: Duration = Duration::from_mins(1);

/// Refusals of one source, scanner and reason within one minute.
struct Refused {
    minute: Timestamp,
    source: String,
    scanner: String,
    reason: String,
    detail: String,
    count: i64,
    told: i64,
}

impl Fleet {
    /// Writes what was refused to the audit, then forgets it. Killed in between, an entry may come twice; none is lost.
    pub(super) async fn drain_refusals(&self) -> Result<()> {
        let now = self.0.parts.clock.now();
        for refused in self.0.parts.jobs.read(waiting).await? {
            let over = refused.minute + MINUTE <= now;
            let untold = refused.count - refused.told;
            if refused.told > 0 && !over {
                continue;
            }
            if untold > 0 {
                self.tell(&refused, untold).await?;
            }
            self.0
                .parts
                .jobs
                .write(move |tx| {
                    let Refused { minute, source, scanner, reason, count, .. } = refused;
                    let key = params![minute, source, scanner, reason, count];
                    if over {
                        // Not if there are more by now: they come in the next round.
                        tx.execute(
                            "DELETE FROM refusal
                             WHERE minute = ?1 AND source = ?2 AND scanner = ?3 AND reason = ?4 AND count = ?5",
                            key,
                        )?;
                    }
                    tx.execute(
                        "UPDATE refusal SET told = ?5
                         WHERE minute = ?1 AND source = ?2 AND scanner = ?3 AND reason = ?4",
                        key,
                    )?;
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }

    async fn tell(&self, refused: &Refused, times: i64) -> Result<()> {
        let id = refused.scanner.parse().ok();
        let name = match id {
            Some(id) => self.0.parts.store.read(move |db| Ok(store::scanner(db, id)?.name)).await.ok(),
            None => None,
        };
        let mut actor = match &name {
            Some(name) => Actor::scanner(&refused.scanner, name),
            None => Actor::nobody(""),
        };
        if let Ok(source) = refused.source.parse() {
            actor = actor.seen_from(source);
        }
        let detail = json!({
            "reason": refused.reason,
            "detail": refused.detail,
            "count": times,
            "minute": refused.minute,
        });
        let entry = Entry::sign_in("scanner.refused", &detail)
            .on("scanner", &refused.scanner)
            .outcome(Outcome::Refused);
        self.0.parts.store.change(&actor, move |_| Ok((entry, ()))).await
    }
}

fn waiting(db: &Connection) -> Result<Vec<Refused>> {
    let refused = |row: &Row| {
        Ok(Refused {
            minute: row.get(0)?,
            source: row.get(1)?,
            scanner: row.get(2)?,
            reason: row.get(3)?,
            detail: row.get(4)?,
            count: row.get(5)?,
            told: row.get(6)?,
        })
    };
    let mut statement = db.prepare_cached(
        "SELECT minute, source, scanner, reason, detail, count, told FROM refusal ORDER BY minute, source, reason",
    )?;
    Ok(statement.query_map([], refused)?.collect::<rusqlite::Result<_>>()?)
}
