//! Files on a stick, which may have been made to harm: links, pipes, endless files, thousands of names.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::wire::MAX_FRAME;
use crate::work::Error;
use crate::work::folder::{sync_folder, write_synced};
use crate::work::spool::Name;

/// So many names are looked at in a folder, and so many bytes read.
const MOST_NAMES: usize = 100_000;
const MOST_FRAMES: usize = 1_000;
const MOST_BYTES: usize = 64 << 20;

/// `O_NOFOLLOW`: a link is not opened. `O_NONBLOCK`: a pipe does not keep us waiting.
const CAUTIOUSLY: i32 = 0o4_000 | if cfg!(target_arch = "aarch64") { 0o100_000 } else { 0o400_000 };

/// A file's name, and what is in it or why it was not read.
type Found = (String, Result<Vec<u8>, String>);

/// What lies in a folder and is named as a frame, but for results of this program. Nothing below the folder is looked
/// at.
pub fn frames(folder: &Path) -> Result<Vec<Found>, Error> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    let too_much =
        || Error::Other(format!("{}: more lies there than is taken from a stick", folder.display()));
    for (number, entry) in fs::read_dir(folder).map_err(Error::file(folder))?.enumerate() {
        let name = entry.map_err(Error::file(folder))?.file_name();
        if number == MOST_NAMES {
            return Err(too_much());
        }
        let Some(name) =
            name.to_str().filter(|name| Path::new(name).extension().is_some_and(|end| end == "frame"))
        else {
            continue;
        };
        if Name::parse(name).is_some() || name.starts_with('.') {
            continue;
        }
        let frame = read(&folder.join(name));
        bytes += frame.as_ref().map_or(0, Vec::len);
        if found.len() == MOST_FRAMES || bytes > MOST_BYTES {
            return Err(too_much());
        }
        found.push((name.to_owned(), frame));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let open = || -> std::io::Result<File> {
        let file = OpenOptions::new().read(true).custom_flags(CAUTIOUSLY).open(path)?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::ErrorKind::InvalidInput.into()) }
    };
    let mut bytes = Vec::new();
    let limit = MAX_FRAME as u64 + 1;
    open().and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => "not a plain file".into(),
        _ => error.to_string(),
    })?;
    if bytes.len() > MAX_FRAME { Err("larger than a frame can be".into()) } else { Ok(bytes) }
}

/// Puts a file into a folder, whole or not at all; one of this name and size is there already, whole.
pub fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let (path, tmp) = (folder.join(name), folder.join(".portolan.tmp"));
    if fs::symlink_metadata(&path).is_ok_and(|there| there.is_file() && there.len() == bytes.len() as u64) {
        return Ok(());
    }
    let put = || {
        write_synced(&tmp, bytes)?;
        fs::rename(&tmp, &path)?;
        sync_folder(folder)
    };
    put().map_err(|error| {
        // On a full stick there is no use in half a file.
        let _ = fs::remove_file(&tmp);
        Error::file(path)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::testing::temporary;

    #[test]
    fn what_is_not_a_plain_small_file_is_not_read() {
        let (folder, _guard) = temporary("carrier");
        let path = |name: &str| folder.path(name);
        std::os::unix::fs::symlink("/dev/zero", path("link.frame")).unwrap();
        std::os::unix::fs::symlink(path("good.frame"), path("near.frame")).unwrap();
        fs::create_dir(path("folder.frame")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path("pipe.frame")).status().unwrap().success());
        File::create(path("huge.frame")).unwrap().set_len(1 << 40).unwrap();
        for name in ["good.frame", ".hidden.frame", "autorun.inf", &format!("{}-0-0.frame", "0".repeat(64))] {
            fs::write(path(name), b"x").unwrap();
        }
        let mut found = frames(&path("")).unwrap();
        found.sort();
        let why: Vec<_> = found.iter().map(|(name, read)| (name.as_str(), read.as_ref().err())).collect();
        let refused = |what: &str| why.iter().any(|(name, why)| *name == what && why.is_some());
        assert_eq!(found.len(), 6, "{found:?}");
        for name in ["link.frame", "near.frame", "folder.frame", "pipe.frame", "huge.frame"] {
            assert!(refused(name), "{why:?}");
        }
        assert!(!refused("good.frame"));
    }

    #[test]
    fn a_crowd_of_files_is_refused_as_a_whole() {
        let (folder, _guard) = temporary("crowd");
        for number in 0..=MOST_FRAMES {
            fs::write(folder.path(&format!("{number}.frame")), b"").unwrap();
        }
        assert!(frames(&folder.path("")).unwrap_err().to_string().contains("more lies there"));
    }

    #[test]
    fn what_is_put_does_not_follow_links_and_leaves_nothing_half() {
        let (folder, _guard) = temporary("put");
        let kept = folder.path("kept");
        fs::write(&kept, b"mine").unwrap();
        for name in [".portolan.tmp", "a.frame"] {
            std::os::unix::fs::symlink(&kept, folder.path(name)).unwrap();
        }
        put(&folder.path(""), "a.frame", b"results").unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"mine");
        assert_eq!(fs::read(folder.path("a.frame")).unwrap(), b"results");
        fs::create_dir(folder.path("b.frame")).unwrap();
        assert!(put(&folder.path(""), "b.frame", b"results").is_err());
        assert!(!folder.path(".portolan.tmp").exists());
    }
}
