//! The dispatcher: batches and leases. Opens config.db, jobs.db and its signing key, nothing else.

use super::{Failure, PATIENCE, Stop};
use crate::clock::Clock;
use crate::ids::{Ids, Random};
use crate::jobs::Jobs;
use crate::layout::Layout;
use crate::scans::dispatcher::Dispatcher;
use crate::secrets::signing::JobKey;
use crate::store::{self, Store};
use std::time::Duration;

pub async fn run(layout: Layout, lease: Duration, stop: Stop) -> Result<(), Failure> {
    let clock = Clock::system();
    let store = Store::wait(&layout.config_db(), clock.clone(), PATIENCE).await?;
    let jobs = Jobs::wait(&layout.jobs_db(), PATIENCE).await?;
    let key = store::wait(PATIENCE, || JobKey::load(&layout.job_signing_key())).await?;
    let ids = Ids::with(clock.clone(), Random::system());
    let dispatcher = Dispatcher { store, jobs, clock, ids, key, lease };
    tokio::select! {
        () = dispatcher.run() => {}
        () = stop.asked() => {}
    }
    Ok(())
}
