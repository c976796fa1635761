//! The data folder: the one spelling of its paths, and how it is made.
//!
//! One process may run every role, or three users run one each. In the second case an installer (tmpfiles.d)
//! has made the folders with their owners and groups beforehand: [`Layout::create`] makes what is missing and
//! leaves alone what is there.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};

/// Where everything lies under one data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

macro_rules! paths {
    ($($(#[$doc:meta])* $name:ident = $path:literal;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(&self) -> PathBuf {
            self.root.join($path)
        }
    )*};
}

impl Layout {
    /// The layout under `root`; nothing is touched.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The data folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    paths! {
        /// What only the manager may see.
        manager = "manager";
        /// The release of the scanner that is handed out, where no other folder is named.
        releases = "releases";
        /// The master key, where no systemd credential gives it.
        master_key = "manager/master.key";
        /// The master key that is to take its place, while that is under way.
        next_master_key = "manager/master.key.next";
        /// Held by the manager while it runs, and by whoever needs it stopped.
        manager_lock = "manager/lock";
        /// What is noted of an update that is not known to be good.
        pending_update = "manager/update.pending";
        /// What the manager keeps only while it runs.
        runtime = "manager/run";
        /// The token of this machine's own command line.
        operator_token = "manager/run/operator.token";
        /// Where that finds the pages, and the SHA-256 of their certificate.
        operator_pages = "manager/run/pages";
        /// How others reach this appliance: for its own command line and console.
        told = "manager/run/told.json";
        /// The setup code of this start, while there is no owner.
        setup_code = "manager/run/setup-code";
        /// The results store; one process may have it open.
        results = "manager/results.duckdb";
        /// Every frame ever accepted, compressed.
        evidence = "manager/evidence";
        /// The folder of the configuration database.
        config = "config";
        /// What must last: configuration, scans, audit.
        config_db = "config/config.db";
        /// The folder of the transient database.
        jobs = "jobs";
        /// What may be lost and is made anew.
        jobs_db = "jobs/jobs.db";
        /// What the manager makes for the dispatcher.
        dispatcher = "dispatcher";
        /// Signs jobs (PKCS#8 PEM).
        job_signing_key = "dispatcher/job-signing.key";
        /// What the manager makes for ingest.
        ingest = "ingest";
        /// The key of the scanner-facing TLS leaf (PKCS#8 PEM).
        ingest_key = "ingest/leaf.key";
        /// The scanner-facing TLS leaf (PEM).
        ingest_leaf = "ingest/leaf.pem";
        /// The certificate of our CA (PEM).
        ingest_ca = "ingest/ca.pem";
        /// The folder frames come in by.
        spool = "spool";
        /// Frames being written by ingest.
        spool_tmp = "spool/tmp";
        /// Frames being written by an import in the manager.
        spool_import = "spool/import";
        /// Frames accepted and not yet loaded.
        spool_new = "spool/new";
        /// Frames that were acknowledged and yet could not be loaded, with the reason beside each.
        spool_bad = "spool/bad";
    }

    /// Makes every folder that is missing. A folder that is there keeps its owner, group and mode.
    ///
    /// # Errors
    /// When a folder cannot be made, or something else is in its place; the error names the path.
    pub fn create(&self) -> io::Result<()> {
        let folders = [
            (self.root.clone(), 0o711),
            (self.manager(), 0o700),
            (self.runtime(), 0o700),
            (self.evidence(), 0o700),
            (self.config(), 0o2770),
            (self.jobs(), 0o2770),
            (self.dispatcher(), 0o2750),
            (self.ingest(), 0o2750),
            // Ingest makes nothing here: a link in the place of `bad` would have the manager write elsewhere.
            (self.spool(), 0o2750),
            (self.spool_tmp(), 0o700),
            (self.spool_import(), 0o700),
            (self.spool_new(), 0o2770),
            (self.spool_bad(), 0o700),
        ];
        for (path, mode) in folders {
            make_folder(&path, mode).map_err(|e| named(&path, &e))?;
        }
        Ok(())
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Ok(()),
        Ok(_) => {
            Err(io::Error::new(io::ErrorKind::NotADirectory, "there is something here that is not a folder"))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(mode & 0o700).create(path)?;
            // mkdir(2) takes off the umask and never sets the set-group-id bit: say it again.
            fs::set_permissions(path, Permissions::from_mode(mode))
        }
        Err(e) => Err(e),
    }
}

/// Writes a whole file so that a crash leaves the old one or the new one, never half of it: beside it first,
/// synced, renamed, the folder synced. The file has exactly `mode`, whatever the umask.
///
/// # Errors
/// Any from the file system; the error names the path.
pub fn write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let write = || {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let beside = path.with_file_name(format!(".{name}.new"));
        match fs::remove_file(&beside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        sync_folder(path.parent().ok_or(io::ErrorKind::InvalidInput)?)
    };
    write().map_err(|e| named(path, &e))
}

/// Opens no symbolic link.
const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
/// Waits for nobody at the other end of a pipe.
const NO_WAIT: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Opens a file to read it that someone may have put there who is not to be trusted: its last part is no link, and it is no
/// pipe, socket or device.
///
/// # Errors
/// Of kind [`io::ErrorKind::PermissionDenied`] for what is no plain file; else any from the file system.
pub fn open_plain(path: &Path) -> io::Result<File> {
    let no_file =
        || io::Error::new(io::ErrorKind::PermissionDenied, "is a link, a pipe or a device, and no file");
    let (link, nobody) = (rustix::io::Errno::LOOP, rustix::io::Errno::NXIO);
    let file = match OpenOptions::new().read(true).custom_flags(NO_LINK | NO_WAIT).open(path) {
        Ok(file) => file,
        Err(e) if [link, nobody].iter().any(|errno| e.raw_os_error() == Some(errno.raw_os_error())) => {
            return Err(no_file());
        }
        Err(e) => return Err(e),
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(no_file()) }
}

/// A lock that one process has at a time; it ends with the process, also if that is killed.
#[derive(Debug)]
pub struct Hold {
    _locked: File,
}

impl Hold {
    /// Takes the lock on this file, which is made if need be; none while another has it.
    ///
    /// # Errors
    /// Any from the file system; the error names the path.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(NO_LINK);
        let file = options.open(path).map_err(|e| named(path, &e))?;
        give(&file, path).map_err(|e| named(path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _locked: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(named(path, &e)),
        }
    }
}

/// Gives a file to the owner of its folder: what root makes at the command line is for the role that lives there.
/// Whoever is not root can give nothing away, and leaves it.
///
/// # Errors
/// Any from the file system; the error names the path.
pub fn adopt(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).custom_flags(NO_LINK).open(path);
    file.and_then(|file| give(&file, path)).map_err(|e| named(path, &e))
}

/// The folder's owner may have put something else in the place of the file: what is given away is the open file, and no
/// link of any kind to a file elsewhere.
fn give(file: &File, path: &Path) -> io::Result<()> {
    let folder = fs::metadata(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
    let about = file.metadata()?;
    if (about.uid(), about.gid()) == (folder.uid(), folder.gid()) {
        return Ok(());
    }
    if !about.is_file() || about.nlink() != 1 {
        return Err(io::Error::other("is a link, or no file: look at who put it there"));
    }
    match fchown(file, Some(folder.uid()), Some(folder.gid())) {
        Err(e) if e.kind() != io::ErrorKind::PermissionDenied => Err(e),
        _ => Ok(()),
    }
}

/// Syncs a folder, so that the names in it are on disk.
///
/// # Errors
/// Any from the file system.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_fresh_folder_is_made_with_the_modes_the_roles_need() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path().join("data"));
        layout.create().unwrap();
        assert_eq!(mode(&layout.manager()), 0o700);
        assert_eq!(mode(&layout.config()), 0o2770);
        assert_eq!(mode(&layout.jobs()), 0o2770);
        assert_eq!(mode(&layout.dispatcher()), 0o2750);
        assert_eq!(mode(&layout.spool()), 0o2750);
        assert_eq!(mode(&layout.spool_new()), 0o2770);
        layout.create().unwrap();
    }

    #[test]
    fn what_an_installer_prepared_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        make_folder(&layout.jobs(), 0o2775).unwrap();
        layout.create().unwrap();
        assert_eq!(mode(&layout.jobs()), 0o2775);
    }

    #[test]
    fn one_holds_a_lock_at_a_time_and_no_link_is_taken_for_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("lock");
        let held = Hold::take(&path).unwrap().unwrap();
        assert!(Hold::take(&path).unwrap().is_none());
        drop(held);
        assert!(Hold::take(&path).unwrap().is_some());
        let elsewhere = root.path().join("elsewhere");
        fs::write(&elsewhere, "x").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        Hold::take(&path).unwrap_err();
        adopt(&path).unwrap_err();
        adopt(&elsewhere).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_named() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        fs::write(layout.config(), "x").unwrap();
        let error = layout.create().unwrap_err().to_string();
        assert!(error.contains("/config: there is something here"), "{error}");
    }

    #[test]
    fn a_written_file_has_its_mode_and_replaces_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        write_file(&path, b"one", 0o600).unwrap();
        write_file(&path, b"two", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(mode(&path), 0o640);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
