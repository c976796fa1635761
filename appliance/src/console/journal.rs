//! What was done at the console, on its way to the audit. It is written down beside the settings and synced before it is done,
//! and goes to the audit as soon as the database opens: at once, as a rule. What a power cut leaves between the two is
//! recorded at the next look, and at worst the one that was being told of stands there twice.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::audit::{Actor, Entry};
use crate::cli::admin::{Files, FilesArgs};
use crate::clock::Timestamp;
use crate::layout::{sync_folder, write_file};

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

/// Where it is written down, in the folder of the settings.
#[must_use]
pub fn unrecorded(settings: &Path) -> PathBuf {
    settings.join("unrecorded.jsonl")
}

/// Two consoles, and an update, have one file: who writes it, or takes something out of it, does so alone.
fn alone(settings: &Path) -> io::Result<File> {
    fs::create_dir_all(settings)?;
    let path = settings.join("unrecorded.lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.lock()?;
    Ok(file)
}

/// Writes it down.
///
/// # Errors
/// Any from the file system: what cannot be written down is not done.
pub fn note(settings: &Path, deed: &Deed) -> io::Result<()> {
    let mut line = serde_json::to_vec(deed)?;
    line.push(b'\n');
    let _alone = alone(settings)?;
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(unrecorded(settings))?;
    file.write_all(&line)?;
    file.sync_all()?;
    sync_folder(settings)
}

/// Brings what was written down to the audit. Where that is not to be opened it waits.
///
/// # Errors
/// In words; what is not in the audit yet stays.
pub fn record(settings: &Path, data: &FilesArgs) -> Result<(), String> {
    let path = unrecorded(settings);
    if !path.exists() {
        return Ok(());
    }
    let named = |error: io::Error| format!("{}: {error}", path.display());
    let files = Files::open(data).map_err(|error| error.to_string())?;
    let _alone = alone(settings).map_err(named)?;
    let text = match fs::read_to_string(&path) {
        // The other console was first.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(named)?,
    };
    taken_down(&path, &text, |entry, actor| {
        files.wait(files.store.change(actor, move |_| Ok((entry, ())))).map_err(|error| error.to_string())
    })
}

/// Tells each line, and takes it out of the file before the next.
fn taken_down(
    path: &Path,
    text: &str,
    mut tell: impl FnMut(Entry, &Actor) -> Result<(), String>,
) -> Result<(), String> {
    let mut rest = text;
    while let Some((line, after)) = rest.split_once('\n').or_else(|| (!rest.is_empty()).then_some((rest, "")))
    {
        let (entry, actor) = if let Ok(deed) = serde_json::from_str::<Deed>(line) {
            (deed.entry(), deed.actor())
        } else {
            // A power cut left half of a line: that something was begun is all there is to know.
            let detail = json!({ "bytes": line.len() });
            (Entry::event("machine.unreadable-note", &detail), Actor::cli("console"))
        };
        tell(entry, &actor)?;
        rest = after;
        let cut =
            if rest.is_empty() { fs::remove_file(path) } else { write_file(path, rest.as_bytes(), 0o600) };
        cut.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(action: &str) -> Deed {
        Deed {
            at: Timestamp::EPOCH,
            on: "tty1".to_owned(),
            action: action.to_owned(),
            detail: json!({}),
            change: None,
        }
    }

    #[test]
    fn what_is_in_the_audit_leaves_the_file_also_when_a_later_line_cannot_follow() {
        let folder = tempfile::tempdir().unwrap();
        for action in ["machine.one", "machine.two", "machine.three"] {
            note(folder.path(), &deed(action)).unwrap();
        }
        let path = unrecorded(folder.path());
        let text = || fs::read_to_string(&path).unwrap();
        let mut told = 0;
        let refused = taken_down(&path, &text(), |_, _| {
            told += 1;
            if told == 2 { Err("closed".to_owned()) } else { Ok(()) }
        });
        assert_eq!(refused, Err("closed".to_owned()));
        assert!(!text().contains("machine.one") && text().contains("machine.two"), "{}", text());
        taken_down(&path, &text(), |_, _| Ok(())).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn two_consoles_lose_no_line_of_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = unrecorded(folder.path());
        let (mut told, all) = (0, 60);
        let mut drain = || {
            let _alone = alone(folder.path()).unwrap();
            let text = fs::read_to_string(&path).unwrap_or_default();
            let tell = |_: Entry, _: &Actor| {
                told += 1;
                Ok(())
            };
            taken_down(&path, &text, tell).unwrap();
        };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..all / 2 {
                        note(folder.path(), &deed("machine.noted")).unwrap();
                    }
                });
            }
            for _ in 0..all / 2 {
                drain();
            }
        });
        drain();
        assert_eq!((told, path.exists()), (all, false));
    }
}
