//! What the manager does for the audit in the background.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Checkpoints, Why};
use crate::audit::Actor;
use crate::clock::Timestamp;

/// How often the head is signed.
const SIGN: Duration = Duration::from_hours(1);
/// How often the whole chain is checked, beside every start.
const CHECK: Duration = Duration::from_hours(24);
/// How often it is looked whether one of these is due.
const LOOK: Duration = Duration::from_secs(10);

/// Checks the chain at once and daily, signs its head every hour, and once more when `stop` is over: then nothing else
/// may write any more, and a check that still runs is ended.
pub async fn keep(checkpoints: Checkpoints, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    let (mut rhythm, mut look) = (Rhythm::default(), tokio::time::interval(LOOK));
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = look.tick() => drop(rhythm.round(&checkpoints).await),
        }
    }
    checkpoints.end_checks().await;
    signed(&checkpoints, Why::Shutdown).await;
}

/// When each was begun last, by the appliance's clock.
#[derive(Debug, Default)]
struct Rhythm {
    checked: Option<Timestamp>,
    signed: Option<Timestamp>,
}

impl Rhythm {
    /// Does what is due; gives the check that was begun, which goes on by itself.
    async fn round(&mut self, checkpoints: &Checkpoints) -> Option<JoinHandle<()>> {
        let now = checkpoints.clock.now();
        let check = due(&mut self.checked, CHECK, now).then(|| checked(checkpoints)).flatten();
        if due(&mut self.signed, SIGN, now) {
            signed(checkpoints, Why::Hourly).await;
        }
        check
    }
}

/// Whether it is time again, and notes that. A clock that was set back is no reason to wait for the time it once had.
fn due(last: &mut Option<Timestamp>, every: Duration, now: Timestamp) -> bool {
    let due = last.is_none_or(|last| now < last || now >= last + every);
    if due {
        *last = Some(now);
    }
    due
}

/// Begins a check; one that someone else began just now will do as well.
fn checked(checkpoints: &Checkpoints) -> Option<JoinHandle<()>> {
    let task = checkpoints.begin(Actor::system("manager"), None).ok()?;
    Some(tokio::spawn(async move {
        if let Ok(Err(error)) = task.await {
            tracing::error!(%error, "the audit could not be checked");
        }
    }))
}

async fn signed(checkpoints: &Checkpoints, why: Why) {
    if let Err(error) = checkpoints.make(why).await {
        tracing::error!(%error, "the head of the audit could not be signed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Entry;
    use crate::clock::Clock;
    use crate::secrets::MasterKey;
    use crate::secrets::signing::CheckpointKey;
    use crate::store::Store;

    #[tokio::test]
    async fn the_chain_is_checked_at_the_start_and_daily_and_its_head_signed_every_hour() {
        let (clock, hand) = Clock::settable(Timestamp::parse("2026-11-22T12:00:00Z").unwrap());
        let store = Store::in_memory(clock.clone()).unwrap();
        let key = CheckpointKey::of(&MasterKey::from_bytes([7; 32].into()));
        let checkpoints = Checkpoints::new(store.clone(), clock, key);
        let mut rhythm = Rhythm::default();
        let mut tell = vec![];
        // A round every ten minutes, for two days and an hour; something is written before each.
        for round in 0..=49 * 6 {
            let entry = Entry::event("test.done", &());
            store.change(&Actor::system("test"), move |_| Ok((entry, ()))).await.unwrap();
            let before = checkpoints.list(None, 1).await.unwrap().1;
            let check = rhythm.round(&checkpoints).await;
            let signed = checkpoints.list(None, 1).await.unwrap().1 > before;
            assert_eq!(signed, round % 6 == 0, "round {round}");
            if let Some(check) = check {
                check.await.unwrap();
                tell.push(round);
            }
            hand.advance(Duration::from_mins(10));
        }
        assert_eq!(tell, [0, 24 * 6, 48 * 6]);
        let sql = "SELECT count(*) FROM audit_entry WHERE action = 'audit.verified'";
        let verified: u64 = store.read(move |c| Ok(c.query_row(sql, [], |row| row.get(0))?)).await.unwrap();
        assert_eq!(verified, 3, "each check is an entry");
    }

    #[test]
    fn a_clock_that_is_set_back_stops_neither() {
        let at = |hour: u64| Timestamp::EPOCH + Duration::from_hours(hour);
        let mut last = None;
        let told = [100, 101, 123, 124, 3, 4, 27].map(|hour| due(&mut last, CHECK, at(hour)));
        assert_eq!(told, [true, false, false, true, true, false, true]);
    }
}
