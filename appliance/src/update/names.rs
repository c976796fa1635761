//! What an update's parts are called on the disk and in the EFI system partition: the one place for it. The definition of
//! the image (`image/`) says the same.

use super::manifest::{PartUuid, Version};

/// What updates are updates of.
pub const PRODUCT: &str = "portolan";
/// The machines that this program runs on, as a manifest names them.
pub const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") { "x86-64" } else { std::env::consts::ARCH };
/// The manifest, in a folder or as the first file of an archive.
pub const MANIFEST: &str = "portolan-update";
/// Its signature, beside it or second.
pub const SIGNATURE: &str = "portolan-update.minisig";
/// The label of a slot with nothing in it.
pub const EMPTY: &str = "_empty";
/// How often a new version is tried before the old one boots again.
pub const TRIES: u32 = 3;
/// The folder of the kernels, in the EFI system partition.
pub const KERNELS: &str = "EFI/Linux";
/// A kernel while it is written: nothing that boots, as its name does not end in `.efi`.
pub const UNFINISHED: &str = "portolan.new";

/// The type of a partition with a root file system for x86-64, as the Discoverable Partitions Specification has it.
pub const ROOT_TYPE: PartUuid = PartUuid([
    0x4f, 0x68, 0xbc, 0xe3, 0xe8, 0xcd, 0x4d, 0xb1, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09,
]);
/// The type of a partition with its verity tree.
pub const VERITY_TYPE: PartUuid = PartUuid([
    0x2c, 0x73, 0x57, 0xed, 0xeb, 0xd2, 0x46, 0xd9, 0xae, 0xc1, 0x23, 0xd4, 0x37, 0xec, 0x2b, 0xf5,
]);

/// The label of a root of this version.
#[must_use]
pub fn root_label(version: &Version) -> String {
    format!("portolan_{version}")
}

/// The label of its verity tree: at most 36 letters, which is what a label takes.
#[must_use]
pub fn verity_label(version: &Version) -> String {
    format!("portolan_{version}_verity")
}

/// The version in the label of a root.
#[must_use]
pub fn labelled(label: &str) -> Option<Version> {
    label.strip_prefix("portolan_")?.parse().ok()
}

/// The file name of a kernel that is on trial for so many times.
#[must_use]
pub fn on_trial(version: &Version) -> String {
    format!("portolan_{version}+{TRIES}-0.efi")
}

/// The file name of a kernel that is known to be good.
#[must_use]
pub fn blessed(version: &Version) -> String {
    format!("portolan_{version}.efi")
}

/// What systemd-boot is told to match a kernel of this version by, on trial or not: releases of it differ in whether the name
/// that they match has the tries in it. None of another version, whose number goes on where this one ends.
#[must_use]
pub fn pattern(version: &Version) -> String {
    format!("portolan_{version}[+.]*efi")
}

/// A kernel by the name of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Of which version.
    pub version: Version,
    /// How often it may still be tried; none for one that is known to be good.
    pub tries: Option<u32>,
}

impl Kernel {
    /// Reads `portolan_1.2.3.efi`, `portolan_1.2.3+3.efi`, `portolan_1.2.3+2-1.efi`; none for any other file.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let middle = name.strip_prefix("portolan_")?.strip_suffix(".efi")?;
        let Some((version, counters)) = middle.split_once('+') else {
            return Some(Self { version: middle.parse().ok()?, tries: None });
        };
        let left = counters.split_once('-').map_or(counters, |(left, _)| left);
        Some(Self { version: version.parse().ok()?, tries: Some(left.parse().ok()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernels_name_says_its_version_and_its_tries() {
        let version: Version = "1.2.3".parse().unwrap();
        let kernel = |tries| Some(Kernel { version: version.clone(), tries });
        assert_eq!(Kernel::of("portolan_1.2.3.efi"), kernel(None));
        assert_eq!(Kernel::of("portolan_1.2.3+3.efi"), kernel(Some(3)));
        assert_eq!(Kernel::of("portolan_1.2.3+2-1.efi"), kernel(Some(2)));
        assert_eq!(Kernel::of(&on_trial(&version)), kernel(Some(3)));
        assert_eq!(Kernel::of(&blessed(&version)), kernel(None));
        for other in ["portolan_1.2.3.new", "linux_1.2.3.efi", "portolan_1.2.3+x.efi", "portolan_.efi"] {
            assert_eq!(Kernel::of(other), None, "{other}");
        }
        assert_eq!(labelled(&root_label(&version)), Some(version));
        assert!(verity_label(&"9999.9999.9999.9999".parse().unwrap()).len() <= 36);
    }

    #[test]
    fn the_types_are_those_of_the_specification() {
        assert_eq!(ROOT_TYPE.to_string(), "4f68bce3-e8cd-4db1-96e7-fbcaf984b709");
        assert_eq!(VERITY_TYPE.to_string(), "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5");
    }
}
