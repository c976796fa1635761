//! Writing an update. Whatever stops it, and whenever, what runs now boots again: its slot and its kernel are not touched,
//! and nothing else has a kernel until all of it is on disk, was read back, and is as it was signed.
//!
//! The order is the whole of it: the kernels of the other slot go; its label says that it is empty; tree and root are
//! written, synced, and read back; its partitions get the ids and labels of the new version; the kernel is written under a
//! name that does not boot, synced, read back, and renamed.

use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Advice, fadvise, syncfs};

use super::bundle::{Bundle, copied};
use super::gpt::{Partition, Table};
use super::machine::{Machine, Slots};
use super::manifest::{Listed, Manifest, PartUuid};
use super::names::{
    self, ARCHITECTURE, EMPTY, KERNELS, PRODUCT, UNFINISHED, on_trial, root_label, verity_label,
};
use super::{Error, trial};
use crate::ids::Random;
use crate::layout::{Hold, sync_folder};
use crate::results::duckdb;
use crate::{jobs, store};

/// How often a line of progress says how far a file is, in bytes.
const STRIDE: u64 = 16 << 20;

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The slot that does not run is being emptied.
    Emptying,
    /// So many bytes of so many of this part are written.
    Writing(&'static str, u64, u64),
    /// What was written is read from the disk.
    ReadingBack,
    /// The slot gets its name, then the kernel its own.
    Naming,
    /// It is there, and is tried at the next boot.
    Done,
}

impl Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emptying => f.write_str("emptying the slot that does not run"),
            Self::Writing(what, done, all) => {
                write!(
                    f,
                    "writing the {what}: {} of {} MB",
                    done.div_ceil(1_000_000),
                    all.div_ceil(1_000_000)
                )
            }
            Self::ReadingBack => f.write_str("reading back what was written"),
            Self::Naming => f.write_str("naming the slot and its kernel"),
            Self::Done => f.write_str("done: restart to try it"),
        }
    }
}

/// Whether this update may go to this machine. Nothing is written, and its files are not looked at.
///
/// # Errors
/// [`Error::Refused`] with the reason.
pub fn admit(machine: &Machine, manifest: &Manifest, allow_downgrade: bool) -> Result<(), Error> {
    let Manifest { product, architecture, version, from_at_least, .. } = manifest;
    let running = &machine.running;
    if product != PRODUCT {
        return Err(Error::refused(format!("this is an update of {product}, and this is {PRODUCT}")));
    }
    if architecture != ARCHITECTURE {
        return Err(Error::refused(format!(
            "it is for {architecture} machines, and this is one for {ARCHITECTURE}"
        )));
    }
    if version == running {
        return Err(Error::refused(format!("it is version {version}, which runs already")));
    }
    if version < running && !allow_downgrade {
        return Err(Error::refused(format!(
            "it is version {version}, older than {running}, which runs: that has to be asked for (--allow-downgrade)"
        )));
    }
    for (name, brought, here) in [
        ("config.db", manifest.config_schema, store::known_schema()),
        ("jobs.db", manifest.jobs_schema, jobs::known_schema()),
        ("the results store", manifest.results_schema, duckdb::known_schema()),
    ] {
        if brought < here {
            return Err(Error::refused(format!(
                "it reads {name} up to schema {brought}, and it is at {here}: it would never be well. Install that version \
                 anew, and restore a backup that it made"
            )));
        }
    }
    if version > running && running < from_at_least {
        return Err(Error::refused(format!(
            "it goes over from {from_at_least} or newer, and {running} runs: update to {from_at_least} first"
        )));
    }
    if trial::is_on(&machine.run) {
        return Err(Error::refused(
            "the version that runs is itself on trial: wait until it is known to be good, or restart",
        ));
    }
    let disk = machine.open(false)?;
    let slots = machine.slots(&Table::read(&disk)?)?;
    for (what, partition, listed) in
        [("root", &slots.other.root, &manifest.root), ("verity tree", &slots.other.verity, &manifest.verity)]
    {
        fits(partition, what, listed)?;
    }
    if !machine.kernels()?.iter().any(|(_, kernel)| kernel.version == *running) {
        return Err(Error::refused(format!(
            "the kernel of {running}, which runs, is not in {}: with no way back nothing is changed",
            machine.esp.join(KERNELS).display()
        )));
    }
    Ok(())
}

/// Writes an update that was admitted.
///
/// # Errors
/// What stopped it; what runs now boots again.
pub fn apply(
    machine: &Machine,
    bundle: &Bundle,
    random: &Random,
    tell: &mut dyn FnMut(Progress),
) -> Result<(), Error> {
    let manifest = &bundle.manifest;
    fs::create_dir_all(&machine.run).map_err(Error::file(&machine.run))?;
    let lock = machine.run.join("update.lock");
    let held = Hold::take(&lock).map_err(Error::file(&lock))?;
    let _held = held.ok_or_else(|| Error::refused("another update is being written"))?;
    let disk = machine.open(true)?;
    let mut table = Table::read(&disk)?;
    let slots = machine.slots(&table)?;
    tell(Progress::Emptying);
    // First: a kernel whose slot is being written over must not be there to boot.
    retire(machine)?;
    empty(&mut table, &slots, random)?;
    let mut unfinished = None;
    let outcome = bundle.each(|listed, from| {
        if listed == &manifest.uki {
            unfinished = Some(kernel(machine, listed, from, tell)?);
            return Ok(());
        }
        let (what, to) = if listed == &manifest.root {
            ("root", &slots.other.root)
        } else {
            ("verity tree", &slots.other.verity)
        };
        write(&disk, to, (what, listed), from, tell)
    });
    let finished = outcome.and_then(|()| {
        disk.sync_all().map_err(Error::file(&machine.disk))?;
        tell(Progress::ReadingBack);
        for (to, listed) in [(&slots.other.verity, &manifest.verity), (&slots.other.root, &manifest.root)] {
            read_back(machine, to, listed)?;
        }
        tell(Progress::Naming);
        let (root, verity) = manifest.root_hash.partitions();
        let labels = (root_label(&manifest.version), verity_label(&manifest.version));
        table.rename(&[
            (slots.other.root.index, root, &labels.0),
            (slots.other.verity.index, verity, &labels.1),
        ])?;
        publish(machine, manifest)
    });
    if finished.is_err() {
        // What cannot boot may as well not lie there; that it does is no harm.
        let _ = fs::remove_file(machine.esp.join(KERNELS).join(UNFINISHED));
    } else {
        tell(Progress::Done);
    }
    finished
}

/// Takes every kernel out of the EFI system partition but that of what runs.
fn retire(machine: &Machine) -> Result<(), Error> {
    let folder = machine.esp.join(KERNELS);
    for (name, kernel) in machine.kernels()? {
        if kernel.version != machine.running {
            let path = folder.join(name);
            fs::remove_file(&path).map_err(Error::file(&path))?;
        }
    }
    settle(&folder)
}

/// Says of the slot that nothing is in it, and takes away the ids by which a kernel would find it.
fn empty(table: &mut Table<'_>, slots: &Slots, random: &Random) -> Result<(), Error> {
    let (root, verity) = (PartUuid(random.bytes()), PartUuid(random.bytes()));
    let other = &slots.other;
    Ok(table.rename(&[(other.root.index, root, EMPTY), (other.verity.index, verity, EMPTY)])?)
}

fn write(
    disk: &File,
    to: &Partition,
    (what, listed): (&'static str, &Listed),
    from: &mut dyn Read,
    tell: &mut dyn FnMut(Progress),
) -> Result<(), Error> {
    fits(to, what, listed)?;
    let mut told = 0;
    copied(listed, from, |at, piece| {
        disk.write_all_at(piece, to.start + at).map_err(|error| Error::Table(error.into()))?;
        let done = at + piece.len() as u64;
        if done >= told + STRIDE || done == listed.size {
            told = done;
            tell(Progress::Writing(what, done, listed.size));
        }
        Ok(())
    })
}

/// That it does not go on into the next partition, whoever admitted it.
fn fits(to: &Partition, what: &str, listed: &Listed) -> Result<(), Error> {
    if listed.size <= to.size {
        return Ok(());
    }
    Err(Error::refused(format!(
        "its {what} has {} bytes, and the slot for it {}: install anew to have larger slots",
        listed.size, to.size
    )))
}

/// Writes the kernel under a name that does not boot, and reads it back.
fn kernel(
    machine: &Machine,
    listed: &Listed,
    from: &mut dyn Read,
    tell: &mut dyn FnMut(Progress),
) -> Result<(), Error> {
    let path = machine.esp.join(KERNELS).join(UNFINISHED);
    let mut file = File::create(&path).map_err(Error::file(&path))?;
    copied(listed, from, |_, piece| file.write_all(piece).map_err(Error::file(&path)))?;
    file.sync_all().map_err(Error::file(&path))?;
    tell(Progress::Writing("kernel", listed.size, listed.size));
    let mut file = File::open(&path).map_err(Error::file(&path))?;
    forget(&file);
    copied(listed, &mut file, |_, _| Ok(()))
}

fn read_back(machine: &Machine, partition: &Partition, listed: &Listed) -> Result<(), Error> {
    fits(partition, &listed.name, listed)?;
    let mut disk = machine.open(false)?;
    forget(&disk);
    disk.seek(io::SeekFrom::Start(partition.start)).map_err(Error::file(&machine.disk))?;
    copied(listed, &mut disk.take(listed.size), |_, _| Ok(())).map_err(|error| match error {
        Error::Refused(_) => Error::refused(format!(
            "{} reads another {} than was written",
            machine.disk.display(),
            listed.name
        )),
        other => other,
    })
}

/// What was written is to come from the disk, not from memory. A wish: where it is not heard, the comparison is weaker.
fn forget(file: &File) {
    let _ = fadvise(file, 0, None, Advice::DontNeed);
}

/// From here on it boots.
fn publish(machine: &Machine, manifest: &Manifest) -> Result<(), Error> {
    let folder = machine.esp.join(KERNELS);
    prefer(machine, manifest)?;
    let path = folder.join(on_trial(&manifest.version));
    fs::rename(folder.join(UNFINISHED), &path).map_err(Error::file(&path))?;
    settle(&folder)
}

/// systemd-boot takes the newest version by itself. An older one it is told of, for one boot: whether that one is kept is
/// decided by the gate.
fn prefer(machine: &Machine, manifest: &Manifest) -> Result<(), Error> {
    let Some(program) = &machine.bootctl else { return Ok(()) };
    tell_loader(program, &["set-default", ""])?;
    if manifest.version < machine.running {
        tell_loader(program, &["set-oneshot", &names::pattern(&manifest.version)])?;
    }
    Ok(())
}

/// Tells systemd-boot something by its own program.
///
/// # Errors
/// [`Error::Refused`] with what that said.
pub fn tell_loader(program: &Path, words: &[&str]) -> Result<(), Error> {
    let said = Command::new(program).args(words).output().map_err(Error::file(program))?;
    if said.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&said.stderr).trim().to_owned();
    Err(Error::refused(format!("systemd-boot cannot be told {words:?}: {why}")))
}

/// Names in a folder of the EFI system partition are on disk when this returns: that file system has no journal.
fn settle(folder: &Path) -> Result<(), Error> {
    sync_folder(folder).map_err(Error::file(folder))?;
    let open = File::open(folder).map_err(Error::file(folder))?;
    syncfs(open).map_err(|error| Error::file(folder)(error.into()))
}

#[cfg(test)]
#[path = "apply_test.rs"]
mod tests;
