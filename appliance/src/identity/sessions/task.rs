//! What the manager does for sessions in the background.

use super::Identity;
use std::time::Duration;

/// How often sessions whose time is over are looked for.
const ROUND: Duration = Duration::from_secs(60);
/// How many of them end in one transaction.
const AT_ONCE: u32 = 500;

/// Ends sessions whose time is over and forgets wrong passwords that no longer count, until it is dropped. Neither
/// worked any more before: this is for the audit and for the size of the tables.
pub async fn keep(identity: Identity) {
    let mut round = tokio::time::interval(ROUND);
    loop {
        round.tick().await;
        if let Err(error) = tidy(&identity).await {
            tracing::error!(%error, "sessions that are over could not be ended; trying again");
        }
    }
}

/// One round.
pub(super) async fn tidy(identity: &Identity) -> crate::error::Result<()> {
    while identity.end_expired(AT_ONCE).await? == AT_ONCE as usize {}
    identity.forget_wrong_passwords().await
}
