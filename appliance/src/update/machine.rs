//! The machine that is updated: its disk with two slots, its EFI system partition, and which of both runs.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use super::Error;
use super::gpt::{Partition, Table};
use super::manifest::{RootHash, Version};
use super::names::{EMPTY, KERNELS, Kernel, PRODUCT, ROOT_TYPE, VERITY_TYPE, labelled};

/// Where root leaves the roles word of an update: root's own folder, gone with the next boot.
pub const RUN: &str = "/run/portolan";

/// The machine. What is in it was found once; slots and kernels are read when they are asked for.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The disk with both slots.
    pub disk: PathBuf,
    /// Where the EFI system partition is mounted.
    pub esp: PathBuf,
    /// [`RUN`].
    pub run: PathBuf,
    /// What runs.
    pub running: Version,
    /// Of the root that runs.
    pub root_hash: RootHash,
    /// The program that tells systemd-boot what to prefer; none where nothing is to be told.
    pub bootctl: Option<PathBuf>,
}

/// Where to look, for what is found by itself otherwise.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The disk.
    pub disk: Option<PathBuf>,
    /// The EFI system partition.
    pub esp: Option<PathBuf>,
    /// [`RUN`].
    pub run: Option<PathBuf>,
    /// The version that runs.
    pub running: Option<Version>,
    /// The root hash of what runs.
    pub root_hash: Option<RootHash>,
    /// What speaks to systemd-boot.
    pub bootctl: Option<PathBuf>,
}

/// A root and its verity tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The root.
    pub root: Partition,
    /// The tree.
    pub verity: Partition,
}

impl Slot {
    /// The version in it, as its label says; none when it is empty or was left half written.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        if self.verity.label == EMPTY { None } else { labelled(&self.root.label) }
    }
}

/// Both slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// The one that runs.
    pub running: Slot,
    /// The one that an update goes into.
    pub other: Slot,
}

impl Machine {
    /// Finds what it was not told.
    ///
    /// # Errors
    /// [`Error::Refused`] where this is no machine that is updated so: one that was installed from a package has no slots.
    pub fn find(places: Places) -> Result<Self, Error> {
        let root_hash = match places.root_hash {
            Some(hash) => hash,
            None => root_hash(&fs::read_to_string("/proc/cmdline").unwrap_or_default())?,
        };
        let disk = places.disk.map_or_else(|| disk_of(root_hash), Ok)?;
        let esp = places.esp.or_else(|| {
            ["/efi", "/boot"].map(PathBuf::from).into_iter().find(|path| path.join(KERNELS).is_dir())
        });
        let none =
            || Error::refused(format!("no EFI system partition with {KERNELS} is mounted at /efi or /boot"));
        Ok(Self {
            disk,
            esp: esp.ok_or_else(none)?,
            run: places.run.unwrap_or_else(|| RUN.into()),
            running: places.running.unwrap_or_else(running),
            root_hash,
            bootctl: places.bootctl,
        })
    }

    /// The disk, open.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(&self, write: bool) -> Result<File, Error> {
        OpenOptions::new().read(true).write(write).open(&self.disk).map_err(Error::file(&self.disk))
    }

    /// Which slot runs and which does not. The running one is known by the root hash that the kernel was started with, not by
    /// any label.
    ///
    /// # Errors
    /// [`Error::Refused`] for a disk that has not exactly two roots and two trees, one of each running.
    pub fn slots(&self, table: &Table<'_>) -> Result<Slots, Error> {
        let (root, verity) = self.root_hash.partitions();
        let all = table.partitions();
        let of = |kind, id| {
            let (mut here, mut other): (Vec<_>, Vec<_>) =
                all.iter().filter(|one| one.kind == kind).cloned().partition(|one| one.uuid == id);
            match (here.pop(), other.pop(), here.is_empty() && other.is_empty()) {
                (Some(here), Some(other), true) => Ok((here, other)),
                _ => Err(Error::refused(format!(
                    "{} has no two slots, one of them running: it is no disk that an update goes to",
                    self.disk.display()
                ))),
            }
        };
        let (roots, trees) = (of(ROOT_TYPE, root)?, of(VERITY_TYPE, verity)?);
        Ok(Slots {
            running: Slot { root: roots.0, verity: trees.0 },
            other: Slot { root: roots.1, verity: trees.1 },
        })
    }

    /// The kernels in the EFI system partition, each with its file name.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn kernels(&self) -> Result<Vec<(String, Kernel)>, Error> {
        let folder = self.esp.join(KERNELS);
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(Error::file(&folder))? {
            let name = entry.map_err(Error::file(&folder))?.file_name().to_string_lossy().into_owned();
            if let Some(kernel) = Kernel::of(&name) {
                found.push((name, kernel));
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }
}

/// The version of the image that runs; of the program, where it was not installed as an image.
#[must_use]
pub fn running() -> Version {
    let about = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let own = || env!("CARGO_PKG_VERSION").parse().expect("the version of this crate is one");
    image_version(&about).unwrap_or_else(own)
}

/// The version that `os-release` tells of, where it is one of ours.
fn image_version(about: &str) -> Option<Version> {
    let value = |name: &str| {
        let line = about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim().trim_matches('"').to_owned())
    };
    (value("IMAGE_ID")? == PRODUCT).then(|| value("IMAGE_VERSION")?.parse().ok()).flatten()
}

/// The root hash that the kernel was started with.
fn root_hash(line: &str) -> Result<RootHash, Error> {
    let word = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("roothash="));
    let none = "this system was not started from a slot with a root hash: what was installed from a package is updated by \
                the package";
    word.and_then(|word| word.parse().ok()).ok_or_else(|| Error::refused(none))
}

/// The disk that the running root is a partition of.
fn disk_of(hash: RootHash) -> Result<PathBuf, Error> {
    let link = Path::new("/dev/disk/by-partuuid").join(hash.partitions().0.to_string());
    let device = fs::canonicalize(&link).map_err(Error::file(&link))?;
    let name = device.file_name().unwrap_or_default();
    let about = Path::new("/sys/class/block").join(name);
    let about = fs::canonicalize(&about).map_err(Error::file(&about))?;
    let disk = about.parent().and_then(Path::file_name);
    disk.map(|name| Path::new("/dev").join(name))
        .ok_or_else(|| Error::refused("the disk of the root is not found"))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_running_slot_is_known_by_its_root_hash_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut machine = fixture::machine(folder.path());
        let disk = machine.open(true).unwrap();
        let mut table = Table::read(&disk).unwrap();
        let slots = machine.slots(&table).unwrap();
        assert_eq!((slots.running.root.index, slots.running.verity.index), (2, 1));
        assert_eq!((slots.other.root.index, slots.other.verity.index), (4, 3));
        assert_eq!((slots.running.version(), slots.other.version()), (Some(fixture::version("0.1.0")), None));
        let (root, _) = fixture::RUNNING.partitions();
        table.rename(&[(4, root, "twice")]).unwrap();
        assert!(machine.slots(&table).is_err(), "two with one id");
        machine.root_hash = RootHash([0; 32]);
        assert!(machine.slots(&table).is_err(), "none that runs");
    }

    #[test]
    fn what_runs_is_found_in_what_the_system_says() {
        let hash = "ab".repeat(32);
        assert_eq!(root_hash(&format!("ro roothash={hash} quiet\n")).unwrap().to_string(), hash);
        assert!(root_hash("ro root=/dev/sda1").unwrap_err().to_string().contains("package"));
        assert_eq!(
            image_version("ID=debian\nIMAGE_ID=portolan\nIMAGE_VERSION=\"1.4\"\n"),
            Some(fixture::version("1.4"))
        );
        assert_eq!(image_version("IMAGE_ID=other\nIMAGE_VERSION=1.4\n"), None);
        assert_eq!(image_version("ID=debian\n"), None);
    }
}
