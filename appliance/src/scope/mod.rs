//! What scans cover: subnets, port lists, and the templates that join them with scanners and a timing; and what no
//! scan covers.
//!
//! Other rooms ask [`Scope::template`] and [`resolve`]: the latter gives a template's targets and ports as sets, never
//! as a list of addresses.

mod count;
mod exclusions;
mod extent;
mod manner;
mod port_lists;
pub mod port_names;
mod store;
mod subnets;
mod templates;
#[cfg(test)]
mod tests;
mod timing;

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::ids::Ids;
use crate::jobs::Jobs;
use crate::store::Store;

pub use count::Count;
pub use exclusions::{Exclusion, ExclusionInput, ExclusionQuery, in_force, manager_task};
pub use extent::{PROBES_MAX, Resolved, resolve};
pub use manner::{Manner, Method};
pub use port_lists::{PortList, PortListInput, PortListQuery};
pub use store::{templates_of_port_list, templates_of_scanner, templates_of_subnet};
pub use subnets::{Family, Subnet, SubnetInput, SubnetQuery};
pub use templates::{Template, TemplateForm, TemplateInput, TemplateQuery};
pub use timing::{Preset, Timing};

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scope {
    store: Store,
    jobs: Jobs,
    clock: Clock,
    ids: Ids,
    /// One projection at a time, so that an older state is never written over a newer one.
    projecting: Arc<Mutex<()>>,
}

impl Scope {
    /// Works on config.db, and tells in jobs.db what every scanner leaves alone.
    #[must_use]
    pub fn new(store: Store, jobs: Jobs, clock: Clock, ids: Ids) -> Self {
        Self { store, jobs, clock, ids, projecting: Arc::default() }
    }
}
