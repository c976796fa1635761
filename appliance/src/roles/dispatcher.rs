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
    let ready = async {
        let store = Store::wait(&layout.config_db(), clock.clone(), PATIENCE).await?;
        let jobs = Jobs::wait(&layout.jobs_db(), PATIENCE).await?;
        let key = store::wait(PATIENCE, || JobKey::load(&layout.job_signing_key())).await?;
        Ok::<_, Failure>((store, jobs, key))
    };
    let Some(ready) = stop.before(ready).await else { return Ok(()) };
    let (store, jobs, key) = ready?;
    let ids = Ids::with(clock.clone(), Random::system());
    let dispatcher = Dispatcher { store, jobs, clock, ids, key, lease };
    // Dropped wherever it is: all it decides follows from the databases.
    stop.before(dispatcher.run()).await;
    Ok(())
}
