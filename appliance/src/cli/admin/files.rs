//! The files that commands work on, opened: config.db beside a running appliance, or without one.

use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{Failure, who};
use crate::audit::{Actor, Trail};
use crate::clock::Clock;
use crate::error::{Error, Result as Served};
use crate::identity::{Identity, Machine};
use crate::ids::{Ids, Random};
use crate::layout::{Hold, Layout};
use crate::sqlite::Opening;
use crate::store::Store;
use crate::update::{machine, trial};
use crate::web::Page;

/// Where the files are, and how answers are printed.
#[derive(Args, Clone, Debug)]
pub struct FilesArgs {
    /// The data folder
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/portolan")]
    pub data: PathBuf,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// The files, open, and who works on them.
pub struct Files {
    /// Runs what waits.
    pub runtime: Runtime,
    /// Where everything lies.
    pub layout: Layout,
    /// config.db.
    pub store: Store,
    /// Tells the time.
    pub clock: Clock,
    /// Makes ids.
    pub ids: Ids,
    /// Source of secrets.
    pub random: Random,
    /// Who runs the command.
    pub by: Machine,
    /// The same, for the audit.
    pub actor: Actor,
}

impl Files {
    /// Opens them; the appliance may be running.
    ///
    /// # Errors
    /// When there is no appliance here, whoever runs this may not, or the schema is another one.
    pub fn open(args: &FilesArgs) -> Result<Self, Failure> {
        Self::open_as(args, Opening::Guest)
    }

    /// The same, as one who may bring the schema up to date.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub fn open_as(args: &FilesArgs, opening: Opening) -> Result<Self, Failure> {
        let layout = Layout::new(&args.data);
        reachable(&layout)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(Failure::file("a runtime"))?;
        let (clock, random, actor) = (Clock::system(), Random::system(), who::actor());
        let store = Store::open(&layout.config_db(), opening, clock.clone())?;
        let store = store.unless_on_trial(trial::flag(Path::new(machine::RUN)));
        let ids = Ids::with(clock.clone(), random.clone());
        Ok(Self { runtime, layout, store, clock, ids, random, by: Machine::new(actor.clone()), actor })
    }

    /// The service of accounts. It signs nobody in: the key of sessions is the manager's alone, this one opens none.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let no_session = self.random.bytes();
        Identity::new(
            self.store.clone(),
            self.clock.clone(),
            self.ids.clone(),
            self.random.clone(),
            no_session,
        )
    }

    /// Waits for what a service does.
    ///
    /// # Errors
    /// What it says.
    pub fn wait<T>(&self, work: impl Future<Output = Served<T>>) -> Result<T, Failure> {
        Ok(self.runtime.block_on(work)?)
    }

    /// Leaves the entry of a look at what is not for everyone, as the page of it does.
    ///
    /// # Errors
    /// The database's: what cannot be written down is not shown.
    pub fn looked(&self, resource: &str, id: &str, command: &str) -> Result<(), Failure> {
        let trail = Trail::new(self.store.clone(), self.clock.clone());
        let action = format!("{resource}.viewed");
        let route = format!("portolan admin {command}");
        self.wait(trail.accessed(&self.actor, &action, (resource, id), &route))
    }

    /// Every page of a list, as JSON.
    ///
    /// # Errors
    /// What the list says.
    pub fn every<T: Serialize, F: Future<Output = Served<Page<T>>>>(
        &self,
        mut page: impl FnMut(Option<String>) -> F,
    ) -> Result<Vec<Value>, Failure> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let Page { items, next, .. } = self.wait(page(cursor))?;
            for item in &items {
                all.push(json(item)?);
            }
            match next {
                Some(next) => cursor = Some(next),
                None => return Ok(all),
            }
        }
    }
}

/// Says what is missing before SQLite does, which knows no reason. Being let into the manager's own folder is asked too:
/// config.db is shared with the dispatcher, whose user is no administrator for that.
fn reachable(layout: &Layout) -> Result<(), Failure> {
    let not_yours = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(
            error.kind(),
            "is not there: name the data folder of an appliance that has been started once, by --data DIR",
        ),
        io::ErrorKind::PermissionDenied => io::Error::new(
            error.kind(),
            "is not yours to open: run this as root, or as the user of the manager",
        ),
        _ => error,
    };
    let (path, folder) = (layout.config_db(), layout.manager());
    let opened = File::options().read(true).write(true).open(&path);
    opened.map_err(|error| Failure::file(path.display())(not_yours(error)))?;
    fs::read_dir(&folder).map(drop).map_err(|error| Failure::file(folder.display())(not_yours(error)))
}

/// Holds the place of the manager, so that it does not run and does not start meanwhile.
///
/// # Errors
/// [`Failure::Running`] when it runs.
pub fn stopped(args: &FilesArgs) -> Result<Hold, Failure> {
    let layout = Layout::new(&args.data);
    reachable(&layout)?;
    let path = layout.manager_lock();
    let held = Hold::take(&path).map_err(Failure::file(path.display()))?;
    held.ok_or_else(|| {
        Failure::Running(format!(
            "the manager of {} runs, and this needs it stopped: stop the appliance first (systemctl stop \
             portolan.target), and start it again afterwards",
            layout.root().display()
        ))
    })
}

/// A value as JSON.
///
/// # Errors
/// When it cannot be written so.
pub fn json(value: &impl Serialize) -> Result<Value, Failure> {
    Ok(serde_json::to_value(value).map_err(Error::from)?)
}
