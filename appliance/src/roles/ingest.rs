//! Ingest: what scanners talk to.

use super::supervisor::{Supervisor, Watched};
use super::{Failure, PATIENCE, Stop, onlookers};
use crate::clock::Clock;
use crate::ids::Random;
use crate::ingest::notes::Notes;
use crate::ingest::spool::Spool;
use crate::ingest::{self, Parts};
use crate::jobs::Jobs;
use crate::layout::Layout;
use crate::tls;
use crate::web::{self, Listener, Serving};
use std::time::Duration;

pub async fn run(
    layout: Layout,
    listener: Listener,
    supervisor: Supervisor,
    stop: Stop,
) -> Result<(), Failure> {
    let ready = async {
        let config = tls::wait_for_ingest_config(&layout, PATIENCE).await?;
        Ok::<_, Failure>((config, Jobs::wait(&layout.jobs_db(), PATIENCE).await?))
    };
    let Some(ready) = stop.before(ready).await else { return Ok(()) };
    let (config, jobs) = ready?;
    let spool = Spool::new(layout.spool_tmp(), layout.spool_new());
    spool.sweep()?;
    let (clock, random) = (Clock::system(), Random::system());
    onlookers::leave(&jobs, onlookers::look(), clock.now()).await?;
    let notes = Notes::new(jobs.clone(), clock.clone());
    let router = ingest::router(Parts {
        clock,
        random,
        jobs: jobs.clone(),
        spool,
        notes: notes.clone(),
        stop: stop.clone(),
    });
    println!("portolan: scanners at {}", listener.address);
    let serving = Serving::with(config);
    let answering = tokio::spawn(answer(serving.clone(), jobs, layout, supervisor));
    let served = web::serve(listener, serving, router, stop.asked()).await;
    answering.abort();
    notes.written().await;
    Ok(served?)
}

/// Says so once scanners are answered; on a reload the manager's files are read anew.
async fn answer(serving: Serving, jobs: Jobs, layout: Layout, supervisor: Supervisor) {
    if !serving.begun().await {
        return;
    }
    // Whoever is answered is looked up there. A request of its own would be one more refusal in the audit.
    while !jobs.answers().await {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let alive = move || {
        let jobs = jobs.clone();
        async move { jobs.answers().await }
    };
    let reload = move || {
        let read = tls::ingest_config(&layout).map(|config| serving.renew(config));
        std::future::ready(
            read.inspect_err(|error| tracing::error!(%error, "the certificate cannot be read anew")).is_ok(),
        )
    };
    supervisor.answers(Watched::new("ingest", alive).reloading(reload));
}
