//! Where the master key comes from.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{KEY_LEN, MasterKey};
use crate::error::{Error, Result};
use crate::ids::Random;
use crate::layout::{Layout, write_file};

/// Name of the systemd credential.
const CREDENTIAL: &str = "portolan-master-key";

impl MasterKey {
    /// Takes the key from the systemd credential in `credentials` (systemd's `CREDENTIALS_DIRECTORY`), else from
    /// the file in the data folder, which is made when there is no configuration yet that another key might
    /// have closed.
    ///
    /// # Errors
    /// When the key is not 32 bytes, its file may be read by others, or it is gone while config.db is there.
    pub fn find_or_make(layout: &Layout, credentials: Option<&Path>, random: &Random) -> Result<Self> {
        if let Some(path) = credentials.map(|folder| folder.join(CREDENTIAL)).filter(|path| path.exists()) {
            return read(&path);
        }
        let path = layout.master_key();
        match fs::metadata(&path) {
            Ok(file) if file.permissions().mode() & 0o077 != 0 => Err(Error::Unavailable(format!(
                "{0} can be read by others than its owner: anyone may have it. Close it (chmod 600 {0}) and \
                 change what it protected.",
                path.display()
            ))),
            Ok(_) => read(&path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => make(layout, &path, random),
            Err(e) => Err(Error::internal(format!("{}: {e}", path.display()))),
        }
    }
}

impl MasterKey {
    /// Keeps the key in a file that is not there yet, for its owner alone.
    ///
    /// # Errors
    /// Any from the file system.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&self.bytes()[..])?;
        file.sync_all()
    }
}

/// The folder in which systemd put this process's credentials, if it did.
#[must_use]
pub fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

fn make(layout: &Layout, path: &Path, random: &Random) -> Result<MasterKey> {
    if layout.config_db().exists() {
        return Err(Error::Unavailable(format!(
            "{} is there, but the master key that closes its secrets is not: neither the credential \
             {CREDENTIAL} nor {}. Bring the key back, or restore a backup. Where systemd hands it out, a command \
             needs it too: systemd-run --pipe --wait -p LoadCredentialEncrypted={CREDENTIAL} portolan …",
            layout.config_db().display(),
            path.display()
        )));
    }
    let bytes = Zeroizing::new(random.bytes::<KEY_LEN>());
    write_file(path, &bytes[..], 0o600)?;
    Ok(MasterKey::from_bytes(bytes))
}

/// The key in this file.
///
/// # Errors
/// When it cannot be read, or is none.
pub(super) fn read(path: &Path) -> Result<MasterKey> {
    let bytes = fs::read(path).map(Zeroizing::new);
    let bytes = bytes.map_err(|e| Error::internal(format!("{}: {e}", path.display())))?;
    let key = <[u8; KEY_LEN]>::try_from(&bytes[..]).map_err(|_| {
        Error::Unavailable(format!("{} is no master key: it has not {KEY_LEN} bytes", path.display()))
    })?;
    Ok(MasterKey::from_bytes(Zeroizing::new(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, Layout) {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        layout.create().unwrap();
        (root, layout)
    }

    #[test]
    fn the_first_start_makes_a_private_key_and_the_next_finds_it() {
        let (_root, layout) = fresh();
        let first = MasterKey::find_or_make(&layout, None, &Random::system()).unwrap();
        assert_eq!(fs::metadata(layout.master_key()).unwrap().permissions().mode() & 0o777, 0o600);
        let next = MasterKey::find_or_make(&layout, None, &Random::system()).unwrap();
        assert_eq!(first.derive("x"), next.derive("x"));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_root, layout) = fresh();
        write_file(&layout.master_key(), &[1; KEY_LEN], 0o640).unwrap();
        let error = MasterKey::find_or_make(&layout, None, &Random::system()).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_lost_key_is_not_replaced_behind_a_configuration() {
        let (_root, layout) = fresh();
        fs::write(layout.config_db(), "").unwrap();
        let error = MasterKey::find_or_make(&layout, None, &Random::system()).unwrap_err();
        assert!(error.to_string().contains("Bring the key back"), "{error}");
    }

    #[test]
    fn a_credential_comes_before_the_file_and_must_be_whole() {
        let (root, layout) = fresh();
        let folder = root.path().join("credentials");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(CREDENTIAL), [9; KEY_LEN]).unwrap();
        let key = MasterKey::find_or_make(&layout, Some(&folder), &Random::system()).unwrap();
        assert_eq!(key.derive("x"), MasterKey::from_bytes(Zeroizing::new([9; KEY_LEN])).derive("x"));
        assert!(!layout.master_key().exists());
        fs::write(folder.join(CREDENTIAL), [9; 31]).unwrap();
        MasterKey::find_or_make(&layout, Some(&folder), &Random::system()).unwrap_err();
    }
}
