//! The dispatcher: batches and leases. Opens config.db, jobs.db and its signing key, nothing else.

use super::supervisor::{Supervisor, Watched};
use super::{Failure, PATIENCE, Stop, onlookers};
use crate::clock::Clock;
use crate::ids::{Ids, Random};
use crate::jobs::Jobs;
use crate::layout::Layout;
use crate::scans::dispatcher::Dispatcher;
use crate::secrets::signing::JobKey;
use crate::store::{self, Store};
use std::time::Duration;
use tokio::sync::watch;

pub async fn run(layout: Layout, lease: Duration, supervisor: Supervisor, stop: Stop) -> Result<(), Failure> {
    let clock = Clock::system();
    let ready = async {
        let store = Store::wait(&layout.config_db(), clock.clone(), PATIENCE).await?;
        let jobs = Jobs::wait(&layout.jobs_db(), PATIENCE).await?;
        let key = store::wait(PATIENCE, || JobKey::load(&layout.job_signing_key())).await?;
        Ok::<_, Failure>((store, jobs, key))
    };
    let Some(ready) = stop.before(ready).await else { return Ok(()) };
    let (store, jobs, key) = ready?;
    onlookers::tell(&store, "dispatcher", onlookers::look()).await?;
    let ids = Ids::with(clock.clone(), Random::system());
    let dispatcher = Dispatcher { store, jobs, clock, ids, key, lease };
    let (rounds, done) = watch::channel(0_u64);
    let round = move || {
        // It answers when the first round is done; it is alive as long as another one follows.
        if *done.borrow() == 0 {
            let done = done.clone();
            supervisor.answers(Watched::new("dispatcher", move || {
                let mut done = done.clone();
                done.mark_unchanged();
                async move { done.changed().await.is_ok() }
            }));
        }
        rounds.send_modify(|n| *n += 1);
    };
    // Dropped wherever it is: all it decides follows from the databases.
    stop.before(dispatcher.run(round)).await;
    Ok(())
}
