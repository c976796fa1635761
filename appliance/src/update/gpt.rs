//! The partition table of the disk, as far as an update needs it: which partitions there are, and giving one another id and
//! label. Sizes and places are never changed.
//!
//! A table stands twice on a disk. What changes is written to the second first, synced, then to the first, synced: a power
//! cut leaves at least one of them whole, and who reads takes the whole one. UEFI specification 2.10, chapter 5.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::manifest::PartUuid;

/// The only size of a sector that is read; that of every disk the appliance is installed on.
pub const SECTOR: u64 = 512;
/// The most entries that a table may have.
const MAX_ENTRIES: u32 = 1_024;
/// The letters of a label.
const LABEL: usize = 36;

/// What is wrong with a table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk.
    #[error("the disk: {0}")]
    Io(#[from] io::Error),
    /// Neither table is whole.
    #[error("there is no partition table here that is whole")]
    NoTable,
    /// There is no such partition.
    #[error("the partition is not there any more")]
    Gone,
    /// The label has too many letters.
    #[error("a label has at most {LABEL} letters")]
    Label,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its place in the table, from 0.
    pub index: usize,
    /// What it is for.
    pub kind: PartUuid,
    /// Its id.
    pub uuid: PartUuid,
    /// Its label.
    pub label: String,
    /// Where it begins, in bytes.
    pub start: u64,
    /// How long it is, in bytes.
    pub size: u64,
}

/// One of the two tables.
#[derive(Clone)]
struct Copy {
    header: Vec<u8>,
    /// Where the header stands, in sectors.
    at: u64,
    /// Where the entries stand, in sectors.
    entries_at: u64,
}

/// A disk's table, open for changes.
pub struct Table<'a> {
    disk: &'a File,
    /// The second, then the first: the order in which they are written.
    copies: [Copy; 2],
    entries: Vec<u8>,
    entry: usize,
}

impl<'a> Table<'a> {
    /// Reads a disk's table: the first, or the second where the first is damaged.
    ///
    /// # Errors
    /// [`Error::NoTable`], [`Error::Io`].
    pub fn read(disk: &'a File) -> Result<Self, Error> {
        let size = io::Seek::seek(&mut &*disk, io::SeekFrom::End(0))?;
        let last = (size / SECTOR).checked_sub(1).ok_or(Error::NoTable)?;
        let first = whole(disk, 1, last);
        let found = match first {
            Some(found) => found,
            None => whole(disk, last, last).ok_or(Error::NoTable)?,
        };
        let (copy, entries) = found;
        let entry = usize::try_from(number32(&copy.header, 84)).map_err(|_| Error::NoTable)?;
        let sectors = (entries.len() as u64).div_ceil(SECTOR);
        let (this, other) = (copy.at, number64(&copy.header, 32));
        let (primary, backup) = if this == 1 { (1, other) } else { (other, this) };
        if primary != 1 || backup > last || backup <= sectors {
            return Err(Error::NoTable);
        }
        let of = |at: u64, alternate: u64, entries_at: u64| {
            let mut header = copy.header.clone();
            header[24..32].copy_from_slice(&at.to_le_bytes());
            header[32..40].copy_from_slice(&alternate.to_le_bytes());
            header[72..80].copy_from_slice(&entries_at.to_le_bytes());
            Copy { header, at, entries_at }
        };
        // Where it is not known, it is where everyone puts it.
        let (firsts, seconds) = match whole(disk, backup, last) {
            Some((second, _)) if this == 1 => (copy.entries_at, second.entries_at),
            _ if this == 1 => (copy.entries_at, backup - sectors),
            _ => (2, copy.entries_at),
        };
        let copies = [of(backup, 1, seconds), of(1, backup, firsts)];
        Ok(Self { disk, copies, entries, entry })
    }

    /// Every partition.
    #[must_use]
    pub fn partitions(&self) -> Vec<Partition> {
        let entries = self.entries.chunks_exact(self.entry).enumerate();
        let used = entries.filter(|(_, entry)| entry[..16] != [0; 16]);
        used.filter_map(|(index, entry)| {
            let (first, last) = (number64(entry, 32), number64(entry, 40));
            let size = last.checked_sub(first)?.checked_add(1)?.checked_mul(SECTOR)?;
            let label: Vec<u16> =
                entry[56..56 + 2 * LABEL].chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
            let end = label.iter().position(|letter| *letter == 0).unwrap_or(LABEL);
            Some(Partition {
                index,
                kind: uuid(&entry[..16]),
                uuid: uuid(&entry[16..32]),
                label: String::from_utf16_lossy(&label[..end]),
                start: first.checked_mul(SECTOR)?,
                size,
            })
        })
        .collect()
    }

    /// Gives partitions another id and label, all in one; it is on disk when this returns.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Label`], [`Error::Io`]. After the last, which of both the disk has is not known.
    pub fn rename(&mut self, names: &[(usize, PartUuid, &str)]) -> Result<(), Error> {
        for (index, uuid, label) in names {
            let letters: Vec<u16> = label.encode_utf16().collect();
            if letters.len() > LABEL {
                return Err(Error::Label);
            }
            let place = index * self.entry;
            let entry = self.entries.get_mut(place..place + self.entry).ok_or(Error::Gone)?;
            if entry[..16] == [0; 16] {
                return Err(Error::Gone);
            }
            entry[16..32].copy_from_slice(&mixed(uuid.0));
            entry[56..56 + 2 * LABEL].fill(0);
            for (place, letter) in entry[56..].chunks_exact_mut(2).zip(letters) {
                place.copy_from_slice(&letter.to_le_bytes());
            }
        }
        self.write()
    }

    fn write(&mut self) -> Result<(), Error> {
        let sum = crc32fast::hash(&self.entries);
        for copy in &mut self.copies {
            copy.header[88..92].copy_from_slice(&sum.to_le_bytes());
            let sum = sum_of(&copy.header);
            copy.header[16..20].copy_from_slice(&sum.to_le_bytes());
            // Sector by sector, those alone that differ: what is not written cannot be torn.
            for (at, sector) in (copy.entries_at..).zip(self.entries.chunks(512)) {
                put(self.disk, at, sector)?;
            }
            put(self.disk, copy.at, &copy.header)?;
            self.disk.sync_all()?;
        }
        Ok(())
    }
}

fn put(disk: &File, sector: u64, bytes: &[u8]) -> io::Result<()> {
    let mut there = vec![0; bytes.len()];
    disk.read_exact_at(&mut there, sector * SECTOR)?;
    if there == bytes { Ok(()) } else { disk.write_all_at(bytes, sector * SECTOR) }
}

/// The table whose header is in this sector, if it is whole.
fn whole(disk: &File, at: u64, last: u64) -> Option<(Copy, Vec<u8>)> {
    let mut sector = [0; 512];
    if disk.read_exact_at(&mut sector, at * SECTOR).is_err() {
        return None;
    }
    let length = number32(&sector, 12) as usize;
    if !sector.starts_with(b"EFI PART") || !(92..=512).contains(&length) {
        return None;
    }
    let header = sector.to_vec();
    let (count, size) = (number32(&header, 80), number32(&header, 84));
    let entries_at = number64(&header, 72);
    let proper = sum_of(&header) == number32(&header, 16)
        && number64(&header, 24) == at
        && (1..=MAX_ENTRIES).contains(&count)
        && [128, 256, 512].contains(&size)
        && entries_at <= last;
    if !proper {
        return None;
    }
    let mut entries = vec![0; count as usize * size as usize];
    if disk.read_exact_at(&mut entries, entries_at * SECTOR).is_err() {
        return None;
    }
    let whole = crc32fast::hash(&entries) == number32(&header, 88);
    whole.then_some((Copy { header, at, entries_at }, entries))
}

/// The checksum of a header, its own field taken as zero.
fn sum_of(header: &[u8]) -> u32 {
    let length = (number32(header, 12) as usize).clamp(20, header.len());
    let mut bytes = header[..length].to_vec();
    bytes[16..20].fill(0);
    crc32fast::hash(&bytes)
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn number64(bytes: &[u8], at: usize) -> u64 {
    u64::from(number32(bytes, at)) | u64::from(number32(bytes, at + 4)) << 32
}

fn uuid(bytes: &[u8]) -> PartUuid {
    let mut own = [0; 16];
    own.copy_from_slice(bytes);
    PartUuid(mixed(own))
}

/// To and from the way a table has an id: its first three parts with their bytes the other way round.
fn mixed(b: [u8; 16]) -> [u8; 16] {
    [b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use std::fs;

    fn open(path: &std::path::Path) -> File {
        fs::OpenOptions::new().read(true).write(true).open(path).unwrap()
    }

    #[test]
    fn a_partition_gets_another_id_and_label_and_stays_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = fixture::disk(folder.path());
        let disk = open(&path);
        let mut table = Table::read(&disk).unwrap();
        let before = table.partitions();
        let uuid = PartUuid([7; 16]);
        table.rename(&[(before[2].index, uuid, "portolan_9")]).unwrap();
        for spoiled in [None, Some(1), Some(2)] {
            // The first table, its header or its entries gone, is in the second as well.
            if let Some(sector) = spoiled {
                disk.write_all_at(&[0xee; 512], sector * SECTOR).unwrap();
            }
            let after = Table::read(&disk).unwrap().partitions();
            assert_eq!((after[2].uuid, after[2].label.as_str()), (uuid, "portolan_9"));
            assert_eq!((after[2].start, after[2].size), (before[2].start, before[2].size));
            assert_eq!((&after[..2], &after[3..]), (&before[..2], &before[3..]));
        }
        // And a write brings the first back.
        Table::read(&disk).unwrap().rename(&[(before[2].index, uuid, "again")]).unwrap();
        let last = fs::metadata(&path).unwrap().len() - SECTOR;
        disk.write_all_at(&[0xee; 512], last).unwrap();
        assert_eq!(Table::read(&disk).unwrap().partitions()[2].label, "again");
    }

    #[test]
    fn what_was_made_here_is_what_sfdisk_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = fixture::disk(folder.path());
        let disk = open(&path);
        let mut table = Table::read(&disk).unwrap();
        let index = table.partitions()[3].index;
        let id = PartUuid(std::array::from_fn(|at| u8::try_from(at).unwrap() + 1));
        table.rename(&[(index, id, "portolan_1.2.3_verity")]).unwrap();
        let Ok(said) = std::process::Command::new("sfdisk").arg("--json").arg(&path).output() else {
            eprintln!("NOT TESTED: there is no sfdisk here");
            return;
        };
        assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
        let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        let theirs: Vec<_> = said["partitiontable"]["partitions"].as_array().unwrap().iter().collect();
        for (ours, theirs) in Table::read(&disk).unwrap().partitions().iter().zip(&theirs) {
            assert_eq!(theirs["uuid"].as_str().unwrap().to_lowercase(), ours.uuid.to_string());
            assert_eq!(theirs["type"].as_str().unwrap().to_lowercase(), ours.kind.to_string());
            assert_eq!(theirs["name"].as_str().unwrap_or_default(), ours.label);
            assert_eq!(theirs["start"].as_u64().unwrap() * SECTOR, ours.start);
            assert_eq!(theirs["size"].as_u64().unwrap() * SECTOR, ours.size);
        }
        assert_eq!(theirs.len(), 6);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        for bytes in [vec![], vec![0; 100], vec![0xff; 1 << 20]] {
            fs::write(&path, bytes).unwrap();
            assert!(Table::read(&open(&path)).is_err());
        }
    }
}
