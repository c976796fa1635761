//! Files that ingest wrote: read and put aside as what someone may have made who has taken it over.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use portolan_scanner::wire::{MAX_FRAME, hex};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fsync, open, openat, renameat, unlinkat};
use sha2::{Digest as _, Sha256};

use crate::layout::open_plain;

/// The file, but never more than shows that it is too large for a frame. A link is not followed, and a pipe is not waited
/// for.
///
/// # Errors
/// Of kind [`io::ErrorKind::PermissionDenied`] for what will never be readable as a frame; else any of the disk.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_plain(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_FRAME as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Moves a file into the folder, with the reason beside it. The folder is no link, and a name that ingest would not have
/// given becomes its hash: so nothing is written but there, and over nothing but what was put aside before.
///
/// # Errors
/// Any of the file system.
pub fn set_aside(path: &Path, folder: &Path, reason: &str) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = open(folder, flags, Mode::empty())?;
    let name = name_of(path)?;
    let beside = format!("{name}.reason");
    match unlinkat(&folder, &beside, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&folder, &beside, flags, Mode::RUSR | Mode::WUSR)?);
    writeln!(file, "{reason}")?;
    file.sync_all()?;
    renameat(CWD, path, &folder, &name)?;
    Ok(fsync(&folder)?)
}

/// The name of a frame is the SHA-256 of its bytes, in 64 digits; of any other, the SHA-256 of the name.
fn name_of(path: &Path) -> io::Result<String> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let digits = name.to_str().filter(|name| name.len() == 64);
    let digits = digits.filter(|name| name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    Ok(digits.map_or_else(|| hex::encode(&Sha256::digest(name.as_bytes())), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_or_a_pipe_in_the_spool_is_neither_followed_nor_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("frame"), "frame").unwrap();
        assert_eq!(read(&at("frame")).unwrap(), b"frame");
        symlink(at("frame"), at("link")).unwrap();
        rustix::fs::mkfifoat(CWD, at("pipe"), Mode::RWXU).unwrap();
        for name in ["link", "pipe", "."] {
            assert_eq!(read(&at(name)).unwrap_err().kind(), io::ErrorKind::PermissionDenied, "{name}");
        }
    }

    #[test]
    fn what_is_put_aside_has_a_name_of_a_frame_and_goes_through_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["new", "config", "bad"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("config/config.db"), "accounts").unwrap();
        fs::write(at("new/config.db"), "forged").unwrap();
        symlink(at("config"), at("link")).unwrap();
        set_aside(&at("new/config.db"), &at("link"), "not a frame").unwrap_err();
        assert_eq!(fs::read(at("config/config.db")).unwrap(), b"accounts");
        assert_eq!(fs::read_dir(at("config")).unwrap().count(), 1);

        // Twice: killed in between, it is done again.
        for _ in 0..2 {
            fs::write(at("new/config.db"), "forged").unwrap();
            set_aside(&at("new/config.db"), &at("bad"), "not a frame").unwrap();
        }
        let name = hex::encode(&Sha256::digest(b"config.db"));
        assert_eq!(fs::read(at("bad").join(&name)).unwrap(), b"forged");
        assert_eq!(fs::read_to_string(at("bad").join(name + ".reason")).unwrap(), "not a frame\n");
        assert_eq!(fs::read_dir(at("bad")).unwrap().count(), 2);

        let frame = "0a".repeat(32);
        fs::write(at("new").join(&frame), "frame").unwrap();
        set_aside(&at("new").join(&frame), &at("bad"), "unknown job").unwrap();
        assert!(at("bad").join(&frame).is_file());
    }
}
