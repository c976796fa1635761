//! What was done at the console, on its way to the audit. It is written down beside the settings and synced before it is done,
//! and goes to the audit as soon as the database opens: at once, as a rule. What a power cut leaves between the two is
//! recorded at the next look, at worst twice; never not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::machine::Machine;
use crate::audit::{Actor, Entry};
use crate::cli::admin::{Files, FilesArgs};
use crate::clock::Timestamp;

/// Something that was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deed {
    /// When, by the clock of that moment.
    pub at: Timestamp,
    /// On which terminal.
    pub on: String,
    /// `machine.…`.
    pub action: String,
    /// What there is to say.
    pub detail: Value,
    /// How it was and how it is, where it changed the settings.
    pub change: Option<(Value, Value)>,
}

impl Deed {
    fn entry(&self) -> Entry {
        let detail = json!({ "done_at": self.at, "detail": self.detail });
        match &self.change {
            Some((before, after)) => {
                Entry::updated("machine", "settings", before, after).action(&self.action).detail(&detail)
            }
            None => Entry::event(&self.action, &detail).on("machine", "this"),
        }
    }

    fn actor(&self) -> Actor {
        let actor = Actor { name: format!("console ({})", self.on), ..Actor::cli("console") };
        actor.with_agent(concat!("portolan-console/", env!("CARGO_PKG_VERSION")))
    }
}

/// Writes it down.
///
/// # Errors
/// Any from the file system: what cannot be written down is not done.
pub fn note(machine: &Machine, deed: &Deed) -> io::Result<()> {
    let mut line = serde_json::to_vec(deed)?;
    line.push(b'\n');
    fs::create_dir_all(&machine.settings)?;
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(machine.unrecorded())?;
    file.write_all(&line)?;
    file.sync_all()
}

/// Brings what was written down to the audit. Where that is not to be opened it waits.
///
/// # Errors
/// In words; what is there stays.
pub fn record(machine: &Machine, data: &FilesArgs) -> Result<(), String> {
    let path = machine.unrecorded();
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let files = Files::open(data).map_err(|error| error.to_string())?;
    for line in text.lines() {
        let (entry, actor) = if let Ok(deed) = serde_json::from_str::<Deed>(line) {
            (deed.entry(), deed.actor())
        } else {
            // A power cut left half of a line: that something was begun is all there is to know.
            let detail = json!({ "bytes": line.len() });
            (Entry::event("machine.unreadable-note", &detail), Actor::cli("console"))
        };
        files
            .wait(files.store.change(&actor, move |_| Ok((entry, ()))))
            .map_err(|error| error.to_string())?;
    }
    fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))
}
