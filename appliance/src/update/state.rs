//! What the machine has in its slots.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Error;
use super::gpt::Table;
use super::machine::Machine;
use super::trial;

/// Both slots, and what may boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    /// The version that runs.
    pub running: String,
    /// The version in the slot that does not run; none when that is empty.
    pub other: Option<String>,
    /// The kernels that may boot, as their files are called: `+3-0` has three tries left.
    pub kernels: Vec<String>,
    /// Whether what runs is on trial.
    pub trial: bool,
}

impl State {
    /// Reads it.
    ///
    /// # Errors
    /// A disk or a folder that cannot be read.
    pub fn of(machine: &Machine) -> Result<Self, Error> {
        let disk = machine.open(false)?;
        let slots = machine.slots(&Table::read(&disk)?)?;
        Ok(Self {
            running: machine.running.to_string(),
            other: slots.other.version().map(|version| version.to_string()),
            kernels: machine.kernels()?.into_iter().map(|(name, _)| name).collect(),
            trial: trial::is_on(&machine.run),
        })
    }
}
