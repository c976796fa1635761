//! What the manager does for receivers in the background.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::Connection;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::message::Message;
use super::{RECEIVERS_MAX, Siem, State, store};
use crate::audit::chain::Link;
use crate::audit::{Actor, Entry, Outcome};
use crate::clock::Timestamp;
use crate::error::Result;

/// How often the chain is looked at for new entries.
const ROUND: Duration = Duration::from_secs(1);
/// The most entries of a batch: a receiver that was away for days is given these at a time, and nothing is read ahead.
const BATCH: usize = 500;
/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// Sends each receiver what it does not have, until it is dropped.
pub async fn keep(siem: Siem) {
    let mut under_way = BTreeSet::<Uuid>::new();
    let mut sending = JoinSet::new();
    loop {
        match due(&siem).await {
            Ok(receivers) => {
                for id in receivers {
                    if under_way.insert(id) {
                        let siem = siem.clone();
                        sending.spawn(async move { (id, siem.catch_up(id).await) });
                    }
                }
            }
            Err(error) => tracing::error!(%error, "receivers of the audit could not be read"),
        }
        let round = tokio::time::sleep(ROUND);
        tokio::pin!(round);
        loop {
            tokio::select! {
                () = &mut round => break,
                Some(ended) = sending.join_next() => match ended {
                    Ok((id, outcome)) => {
                        under_way.remove(&id);
                        if let Err(error) = outcome {
                            tracing::error!(%error, receiver = %id, "a receiver of the audit could not be served");
                        }
                    }
                    Err(error) => {
                        // Whose it was is not told: each may begin again, and something may come twice.
                        under_way.clear();
                        tracing::error!(%error, "the sending of audit entries ended");
                    }
                },
            }
        }
    }
}

/// The receivers that lack something and are not resting after a failure.
async fn due(siem: &Siem) -> Result<Vec<Uuid>> {
    let now = siem.clock.now();
    siem.store
        .read(move |db| {
            let mut due = Vec::new();
            for receiver in store::enabled(db, RECEIVERS_MAX)? {
                let state = store::state(db, receiver.kept.id)?;
                // A clock that was set back is no reason to wait for the time it once had.
                let rested =
                    state.failing_since.is_none_or(|since| now < since || now >= since + rest(state.tries));
                if state.waiting > 0 && rested {
                    due.push(receiver.kept.id);
                }
            }
            Ok(due)
        })
        .await
}

/// How long after its first failure a receiver that failed so often is tried again: the gaps double up to [`WAIT_MAX`].
fn rest(tries: u64) -> Duration {
    (0..tries)
        .map(|tried| WAIT_MAX.min(ROUND * 2u32.saturating_pow(u32::try_from(tried).unwrap_or(u32::MAX))))
        .sum()
}

/// What comes next for a receiver, read at one moment.
struct Turn {
    receiver: store::Receiver,
    failing_since: Option<Timestamp>,
    links: Vec<Link>,
}

/// None when there is nothing to be done: it has all, is switched off, or is gone.
fn next(db: &Connection, id: Uuid) -> Result<Option<Turn>> {
    let Some(receiver) = store::find(db, id)?.filter(|receiver| receiver.kept.fields.enabled) else {
        return Ok(None);
    };
    let State { seq, failing_since, .. } = store::state(db, id)?;
    let links = store::after(db, seq, BATCH)?;
    Ok((!links.is_empty()).then_some(Turn { receiver, failing_since, links }))
}

impl Siem {
    /// Sends a receiver batch after batch until it has all, or one does not arrive. Each batch goes where the receiver is
    /// when it begins; one that was under way while the receiver was changed counts for nothing, so the receiver as it is
    /// now gets it too.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn catch_up(&self, id: Uuid) -> Result<()> {
        while let Some(turn) = self.store.read(move |db| next(db, id)).await? {
            let Turn { receiver, failing_since, links } = turn;
            let (target, which) = (self.target(&receiver)?, (id, receiver.kept.version));
            let last = links.last().map_or(0, |link| link.seq);
            let messages: Vec<Message> = links.into_iter().map(Message::of).collect::<Result<_>>()?;
            let now = self.clock.now();
            match target.send(&self.host, &messages, now).await {
                Ok(()) => {
                    let kept = self.store.note(move |tx| store::arrived(tx, which, last, now)).await?;
                    if let Some(since) = failing_since.filter(|_| kept) {
                        self.tell(id, Outcome::Done, &serde_json::json!({ "failed_since": since })).await?;
                    }
                }
                Err(failure) => {
                    let error = failure.to_string();
                    let said = error.clone();
                    let kept = self.store.note(move |tx| store::failed(tx, which, &said, now)).await?;
                    if kept && failing_since.is_none() {
                        self.tell(id, Outcome::Failed, &serde_json::json!({ "error": error })).await?;
                    }
                    if kept {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// That a receiver began to fail, or works again: once each, not for every try.
    async fn tell(&self, id: Uuid, outcome: Outcome, detail: &serde_json::Value) -> Result<()> {
        let action = if outcome == Outcome::Done { "receiver.recovered" } else { "receiver.failing" };
        let entry = Entry::event(action, detail).on("receiver", id).outcome(outcome);
        self.store.change(&Actor::system("manager"), move |_| Ok((entry, ()))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gaps_between_tries_grow_to_five_minutes() {
        let since: Vec<u64> = (0..12).map(|tries| rest(tries).as_secs()).collect();
        assert_eq!(since, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111]);
    }
}
