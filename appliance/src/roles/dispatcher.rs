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
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
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
    let steps = std::env::var_os("RUNTIME_DIRECTORY").map(|folder| Steps::in_folder(Path::new(&folder)));
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
        if let Some(steps) = &steps {
            steps.count(*done.borrow(), Instant::now());
        }
    };
    // Dropped wherever it is: all it decides follows from the databases.
    stop.before(dispatcher.run(round)).await;
    Ok(())
}

/// Where others of this machine see that it does something: a number in a file of its own folder of this boot, which is no
/// disk. It has no port that could be asked.
struct Steps {
    path: PathBuf,
    written: Mutex<Option<Instant>>,
}

impl Steps {
    /// How long it says nothing new.
    const PAUSE: Duration = Duration::from_secs(3);

    fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join("steps"), written: Mutex::default() }
    }

    fn count(&self, steps: u64, now: Instant) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.is_some_and(|then| now.duration_since(then) < Self::PAUSE) {
            return;
        }
        *written = Some(now);
        // For another role to read, whatever the umask.
        let tell = || {
            fs::write(&self.path, format!("{steps}\n"))?;
            fs::set_permissions(&self.path, fs::Permissions::from_mode(0o644))
        };
        if let Err(error) = tell() {
            tracing::warn!(%error, path = %self.path.display(), "the steps are not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_from_time_to_time() {
        let folder = tempfile::tempdir().unwrap();
        let (steps, begin) = (Steps::in_folder(folder.path()), Instant::now());
        let told = || fs::read_to_string(folder.path().join("steps")).unwrap();
        steps.count(1, begin);
        steps.count(2, begin + Duration::from_secs(1));
        assert_eq!(told(), "1\n");
        steps.count(3, begin + Steps::PAUSE);
        assert_eq!(told(), "3\n");
    }
}
