//! Tells the audit of an update. Where config.db does not open, an update may be what helps: what was done is then written
//! down beside the console's settings, and goes to the audit as soon as that opens.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Failure, Files, FilesArgs};
use crate::audit::{Entry, Outcome};
use crate::clock::Clock;
use crate::console::journal::{self, Deed};

/// Who tells.
pub struct Teller {
    files: Option<Files>,
    settings: PathBuf,
}

impl Teller {
    /// With the audit of these files, if it opens.
    pub fn of(args: &FilesArgs, settings: &Path) -> Self {
        let files = Files::open(args);
        let files = files.inspect_err(|error| {
            eprintln!("portolan: the audit is told later, as it does not open: {error}");
        });
        Self { files: files.ok(), settings: settings.to_owned() }
    }

    /// Tells it.
    ///
    /// # Errors
    /// When it can neither be told nor written down: then it is not done.
    pub fn tell(
        &self,
        action: &str,
        detail: &Value,
        outcome: Outcome,
        id: Option<Uuid>,
    ) -> Result<(), Failure> {
        if let Some(files) = &self.files {
            let entry = Entry::event(action, detail).outcome(outcome);
            let entry = entry.on("update", id.map(|id| id.to_string()).unwrap_or_default());
            match files.wait(files.store.change(&files.actor, move |_| Ok((entry, ())))) {
                Ok(()) => return Ok(()),
                Err(error) => eprintln!("portolan: the audit is told later: {error}"),
            }
        }
        let deed = Deed {
            at: Clock::system().now(),
            on: "update".to_owned(),
            action: action.to_owned(),
            detail: json!({ "outcome": outcome.as_str(), "update": id, "detail": detail }),
            change: None,
        };
        journal::note(&self.settings, &deed)
            .map_err(Failure::file(journal::unrecorded(&self.settings).display()))
    }
}
