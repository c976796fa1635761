//! Ingest: what scanners talk to.

use super::{Failure, PATIENCE, Stop};
use crate::clock::Clock;
use crate::ids::Random;
use crate::ingest::notes::Notes;
use crate::ingest::spool::Spool;
use crate::ingest::{self, Parts};
use crate::jobs::Jobs;
use crate::layout::Layout;
use crate::tls;
use crate::web::{self, Listener};
use std::sync::Arc;

pub async fn run(layout: Layout, listener: Listener, stop: Stop) -> Result<(), Failure> {
    let ready = async {
        let config = tls::wait_for_ingest_config(&layout, PATIENCE).await?;
        Ok::<_, Failure>((config, Jobs::wait(&layout.jobs_db(), PATIENCE).await?))
    };
    let Some(ready) = stop.before(ready).await else { return Ok(()) };
    let (config, jobs) = ready?;
    let spool = Spool::new(layout.spool_tmp(), layout.spool_new());
    spool.sweep()?;
    let (clock, random) = (Clock::system(), Random::system());
    let notes = Notes::new(jobs.clone(), clock.clone());
    let router =
        ingest::router(Parts { clock, random, jobs, spool, notes: notes.clone(), stop: stop.clone() });
    println!("portolan: scanners at {}", listener.address);
    let served = web::serve(listener, Arc::new(config), router, stop.asked()).await;
    notes.written().await;
    Ok(served?)
}
