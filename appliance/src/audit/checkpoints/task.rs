//! What the manager does for the audit in the background.

use std::future::Future;
use std::time::Duration;

use super::{Checkpoints, Why};
use crate::audit::Actor;

/// How often the head is signed.
const SIGN: Duration = Duration::from_hours(1);
/// How often the whole chain is checked, beside every start.
const CHECK: Duration = Duration::from_hours(24);

/// Checks the chain at once and daily, signs its head every hour, and once more when `stop` is over: then nothing else
/// may write any more, and a check that still runs is ended.
pub async fn keep(checkpoints: Checkpoints, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    let (mut sign, mut check) = (tokio::time::interval(SIGN), tokio::time::interval(CHECK));
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = check.tick() => checked(&checkpoints),
            _ = sign.tick() => signed(&checkpoints, Why::Hourly).await,
        }
    }
    checkpoints.end_checks().await;
    signed(&checkpoints, Why::Shutdown).await;
}

/// Begins a check; one that someone else began just now will do as well.
fn checked(checkpoints: &Checkpoints) {
    let Ok(task) = checkpoints.begin(Actor::system("manager"), None) else { return };
    tokio::spawn(async move {
        if let Ok(Err(error)) = task.await {
            tracing::error!(%error, "the audit could not be checked");
        }
    });
}

async fn signed(checkpoints: &Checkpoints, why: Why) {
    if let Err(error) = checkpoints.make(why).await {
        tracing::error!(%error, "the head of the audit could not be signed");
    }
}
