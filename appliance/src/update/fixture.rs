//! What the tests of updates have under them: a disk with a partition table, an EFI system partition as a folder, updates.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::bundle::{self, Parts};
use super::gpt::SECTOR;
use super::machine::Machine;
use super::manifest::{Manifest, RootHash, Version};
use super::names::{self, ROOT_TYPE, VERITY_TYPE};
use crate::ids::Random;
use crate::releases::minisign::SecretKey;

/// The root hash of what runs.
pub const RUNNING: RootHash = RootHash([0xa1; 32]);
/// How large a slot's root is, in bytes.
pub const ROOT: u64 = 512 << 10;
const VERITY: u64 = 64 << 10;

/// A disk with the six partitions of an installed appliance, made by hand: the running slot first.
pub fn disk(folder: &Path) -> PathBuf {
    let path = folder.join("disk");
    let esp =
        [0xc1, 0x2a, 0x73, 0x28, 0xf8, 0x1f, 0x11, 0xd2, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
    let (root, verity) = RUNNING.partitions();
    let parts: [([u8; 16], [u8; 16], &str, u64); 6] = [
        (esp, [1; 16], "esp", 1 << 20),
        (VERITY_TYPE.0, verity.0, "portolan_0.1.0_verity", VERITY),
        (ROOT_TYPE.0, root.0, "portolan_0.1.0", ROOT),
        (VERITY_TYPE.0, [2; 16], names::EMPTY, VERITY),
        (ROOT_TYPE.0, [3; 16], names::EMPTY, ROOT),
        ([9; 16], [4; 16], "var", 1 << 20),
    ];
    let mut entries = vec![0; 128 * 128];
    let mut next = 2048;
    for (entry, (kind, id, label, size)) in entries.chunks_exact_mut(128).zip(parts) {
        let swapped = |b: [u8; 16]| {
            let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
            order.map(|at| b[at])
        };
        entry[..16].copy_from_slice(&swapped(kind));
        entry[16..32].copy_from_slice(&swapped(id));
        entry[32..40].copy_from_slice(&u64::to_le_bytes(next));
        next += size / SECTOR;
        entry[40..48].copy_from_slice(&(next - 1).to_le_bytes());
        next = next.next_multiple_of(64);
        for (place, letter) in entry[56..].chunks_exact_mut(2).zip(label.encode_utf16()) {
            place.copy_from_slice(&letter.to_le_bytes());
        }
    }
    let last = next + 64;
    let file = File::create(&path).unwrap();
    file.set_len((last + 1) * SECTOR).unwrap();
    let mut protective = [0; 512];
    protective[446 + 2] = 2;
    protective[446 + 4] = 0xee;
    protective[446 + 8..446 + 12].copy_from_slice(&1_u32.to_le_bytes());
    protective[446 + 12..446 + 16].copy_from_slice(&u32::try_from(last).unwrap().to_le_bytes());
    protective[510..].copy_from_slice(&[0x55, 0xaa]);
    file.write_all_at(&protective, 0).unwrap();
    for (at, other, entries_at) in [(1, last, 2), (last, 1, last - 32)] {
        let mut header = [0; 512];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&0x1_0000_u32.to_le_bytes());
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        for (place, value) in [(24, at), (32, other), (40, 34), (48, last - 33), (72, entries_at)] {
            header[place..place + 8].copy_from_slice(&u64::to_le_bytes(value));
        }
        header[56..72].fill(5);
        for (place, value) in [(80, 128), (84, 128), (88, crc32fast::hash(&entries))] {
            header[place..place + 4].copy_from_slice(&u32::to_le_bytes(value));
        }
        let sum = crc32fast::hash(&header[..92]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        file.write_all_at(&header, at * SECTOR).unwrap();
        file.write_all_at(&entries, entries_at * SECTOR).unwrap();
    }
    path
}

/// A machine that runs 0.1.0 from the first slot of such a disk.
pub fn machine(folder: &Path) -> Machine {
    let esp = folder.join("esp");
    fs::create_dir_all(esp.join(names::KERNELS)).unwrap();
    fs::write(esp.join(names::KERNELS).join("portolan_0.1.0.efi"), "the kernel that runs").unwrap();
    let run = folder.join("run");
    fs::create_dir_all(&run).unwrap();
    Machine { disk: disk(folder), esp, run, running: version("0.1.0"), root_hash: RUNNING, bootctl: None }
}

/// A version.
pub fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// The key that updates of these tests are signed with.
pub fn key() -> SecretKey {
    SecretKey::make(&Random::seeded(77))
}

/// The bytes of an update's three files: verity, root, kernel.
pub fn bytes(of: &str) -> [Vec<u8>; 3] {
    let filled = |name: &str, length: usize| -> Vec<u8> {
        let seed = Sha256::digest(format!("{name} of {of}"));
        seed.iter().copied().cycle().take(length).collect()
    };
    [filled("verity", 60_000), filled("root", 400_000), filled("kernel", 30_000)]
}

/// An update to this version, as a folder, signed.
pub fn update(folder: &Path, of: &str) -> PathBuf {
    changed(folder, of, |_| {})
}

/// The same, with something changed before it was signed.
pub fn changed(folder: &Path, of: &str, change: impl FnOnce(&mut Manifest)) -> PathBuf {
    let to = folder.join(format!("update-{of}"));
    let from = folder.join(format!("parts-{of}"));
    fs::create_dir_all(&from).unwrap();
    let files = ["verity.raw", "root.raw", "kernel.efi"].map(|name| from.join(name));
    for (path, bytes) in files.iter().zip(bytes(of)) {
        fs::write(path, bytes).unwrap();
    }
    let hash = RootHash(Sha256::digest(of.as_bytes()).into());
    let [verity, root, uki] = files;
    let parts =
        Parts { version: version(of), from_at_least: version("0.1.0"), root_hash: hash, verity, root, uki };
    bundle::pack(
        parts,
        change,
        |text| Ok(key().sign(text, crate::releases::minisign::Form::Hashed, "test")?),
        &to,
    )
    .unwrap();
    to
}
