//! An update as it comes: a folder, or the same files as one tar archive. The signature of the manifest is checked before the
//! manifest is read, and nothing but what the manifest lists is looked at.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Error;
use super::manifest::{self, Listed, Manifest, RootHash, Version};
use super::names::{ARCHITECTURE, MANIFEST, PRODUCT, SIGNATURE};
use crate::layout::{open_plain, sync_folder};
use crate::releases::minisign::{self, PublicKey};

/// The longest signature that is read, in bytes.
const MAX_SIGNATURE: u64 = 4 << 10;
/// What is copied at once, in bytes.
pub const PIECE: usize = 1 << 20;

/// An update whose signature holds.
#[derive(Debug)]
pub struct Bundle {
    /// What it is.
    pub manifest: Manifest,
    /// The trusted comment of its signature.
    pub comment: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    Archive(PathBuf),
}

impl Bundle {
    /// Reads what an update is, from a folder or an archive, once its signature holds.
    ///
    /// # Errors
    /// [`Error::Refused`] for what is not signed with this key or is no update; [`Error::File`].
    pub fn open(from: &Path, key: &PublicKey) -> Result<Self, Error> {
        let about = fs::metadata(from).map_err(Error::file(from))?;
        let (place, text, signature) = if about.is_dir() {
            let read = |name: &str, most: u64| {
                let path = from.join(name);
                let file = open_plain(&path).map_err(Error::file(&path))?;
                bounded(file, most).map_err(Error::file(&path))
            };
            let (text, signature) = (read(MANIFEST, manifest::MAX as u64)?, read(SIGNATURE, MAX_SIGNATURE)?);
            (Place::Folder(from.to_owned()), text, signature)
        } else {
            let file = open_plain(from).map_err(Error::file(from))?;
            let mut archive = tar::Archive::new(file);
            // Headers as they stand: a name of any length would be read into memory, before anything is signed.
            let mut entries = archive.entries().map_err(Error::file(from))?.raw(true);
            let mut next = |name: &str, most: u64| {
                let entry = entries.next().ok_or_else(|| Error::refused(format!("{name} is not in it")))?;
                let entry = entry.map_err(|_| no_archive(from))?;
                if !is_called(&entry, name) {
                    return Err(no_archive(from));
                }
                bounded(entry, most).map_err(Error::file(from))
            };
            let (text, signature) = (next(MANIFEST, manifest::MAX as u64)?, next(SIGNATURE, MAX_SIGNATURE)?);
            (Place::Archive(from.to_owned()), text, signature)
        };
        let signature = String::from_utf8(signature).map_err(|_| minisign::Error::Signature);
        let verified = signature.and_then(|signature| key.verify(&text, &signature));
        let (comment, _) = verified
            .map_err(|error| Error::refused(format!("the signature of the update does not hold: {error}")))?;
        let manifest = Manifest::parse(&text)
            .map_err(|error| Error::refused(format!("the manifest of the update cannot be read: {error}")))?;
        Ok(Self { manifest, comment, place })
    }

    /// Gives each file of the update to `take`, in the order of [`Manifest::files`], to be read to its end.
    ///
    /// # Errors
    /// What `take` says; and where a file is not there, or is another than the manifest lists.
    pub fn each(
        &self,
        mut take: impl FnMut(&Listed, &mut dyn Read) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match &self.place {
            Place::Folder(folder) => {
                for listed in self.manifest.files() {
                    let path = folder.join(&listed.name);
                    let mut file = open_plain(&path).map_err(Error::file(&path))?;
                    take(listed, &mut file)?;
                }
            }
            Place::Archive(path) => {
                let mut archive = tar::Archive::new(open_plain(path).map_err(Error::file(path))?);
                let entries = archive.entries().map_err(Error::file(path))?.raw(true);
                let mut entries = entries.skip(2);
                for listed in self.manifest.files() {
                    let entry = entries
                        .next()
                        .ok_or_else(|| Error::refused(format!("{} is not in it", listed.name)))?;
                    let mut entry = entry.map_err(|_| no_archive(path))?;
                    if !is_called(&entry, &listed.name) {
                        return Err(no_archive(path));
                    }
                    take(listed, &mut entry)?;
                }
            }
        }
        Ok(())
    }

    /// Reads every file and compares its hash: nothing is written.
    ///
    /// # Errors
    /// [`Error::Refused`] for a file that is not as listed.
    pub fn verify(&self) -> Result<(), Error> {
        self.each(|listed, from| copied(listed, from, |_, _| Ok(())))
    }
}

fn no_archive(path: &Path) -> Error {
    Error::refused(format!(
        "{} is no folder of an update and no archive of one: that has {MANIFEST}, {SIGNATURE} and the files of the \
         manifest, in this order",
        path.display()
    ))
}

fn is_called<R: Read>(entry: &tar::Entry<'_, R>, name: &str) -> bool {
    entry.header().entry_type().is_file() && &*entry.path_bytes() == name.as_bytes()
}

/// All of it; an error when it is longer.
fn bounded(from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        Err(io::Error::other(format!("has more than {most} bytes")))
    } else {
        Ok(bytes)
    }
}

/// Reads a listed file to its end, piece by piece, each with its place in it; it has to have its size and its hash.
///
/// # Errors
/// [`Error::Refused`] when it has not; what `put` says.
pub fn copied(
    listed: &Listed,
    from: &mut dyn Read,
    mut put: impl FnMut(u64, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut piece = vec![0; PIECE];
    let (mut hash, mut at) = (Sha256::new(), 0_u64);
    loop {
        let read = from.read(&mut piece).map_err(Error::file(Path::new(&listed.name)))?;
        if read == 0 {
            break;
        }
        if at + read as u64 > listed.size {
            return Err(Error::refused(format!("{} is longer than the manifest says", listed.name)));
        }
        hash.update(&piece[..read]);
        put(at, &piece[..read])?;
        at += read as u64;
    }
    if at != listed.size || <[u8; 32]>::from(hash.finalize()) != listed.sha256 {
        return Err(Error::refused(format!("{} is not what the manifest lists: it is damaged", listed.name)));
    }
    Ok(())
}

/// What an update is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What it brings.
    pub version: Version,
    /// The oldest version that may go over to it.
    pub from_at_least: Version,
    /// Over every block of the root.
    pub root_hash: RootHash,
    /// The verity tree.
    pub verity: PathBuf,
    /// The root.
    pub root: PathBuf,
    /// The kernel.
    pub uki: PathBuf,
}

/// Makes the folder of an update: its files, the manifest, what `sign` makes of the manifest. `change` may have the last
/// word on the manifest.
///
/// # Errors
/// A file that cannot be read or written, a folder that is there already, or what `sign` says.
pub fn pack(
    parts: Parts,
    change: impl FnOnce(&mut Manifest),
    sign: impl FnOnce(&[u8]) -> Result<String, Error>,
    to: &Path,
) -> Result<Manifest, Error> {
    fs::create_dir(to).map_err(Error::file(to))?;
    let version = &parts.version;
    let put = |from: &Path, name: String| -> Result<Listed, Error> {
        let target = to.join(&name);
        let mut file = File::open(from).map_err(Error::file(from))?;
        let mut out = File::create_new(&target).map_err(Error::file(&target))?;
        let mut hash = Sha256::new();
        let mut piece = vec![0; PIECE];
        let mut size = 0;
        loop {
            let read = file.read(&mut piece).map_err(Error::file(from))?;
            if read == 0 {
                break;
            }
            hash.update(&piece[..read]);
            io::Write::write_all(&mut out, &piece[..read]).map_err(Error::file(&target))?;
            size += read as u64;
        }
        out.sync_all().map_err(Error::file(&target))?;
        Ok(Listed { size, sha256: hash.finalize().into(), name })
    };
    let mut manifest = Manifest {
        product: PRODUCT.to_owned(),
        architecture: ARCHITECTURE.to_owned(),
        from_at_least: parts.from_at_least.clone(),
        config_schema: crate::store::known_schema(),
        jobs_schema: crate::jobs::known_schema(),
        results_schema: crate::results::duckdb::known_schema(),
        root_hash: parts.root_hash,
        verity: put(&parts.verity, format!("portolan_{version}.verity.raw"))?,
        root: put(&parts.root, format!("portolan_{version}.root.raw"))?,
        uki: put(&parts.uki, format!("portolan_{version}.efi"))?,
        version: parts.version,
    };
    change(&mut manifest);
    let text = manifest.encode();
    // What is written must be what is read: a size or a word that the reader refuses is refused here.
    Manifest::parse(text.as_bytes()).map_err(|error| Error::refused(error.to_string()))?;
    let signature = sign(text.as_bytes())?;
    for (name, text) in [(MANIFEST, text), (SIGNATURE, signature)] {
        let path = to.join(name);
        fs::write(&path, text).map_err(Error::file(&path))?;
    }
    sync_folder(to).map_err(Error::file(to))?;
    Ok(manifest)
}

/// Makes one file of an update's folder: a tar archive that any tool lists, with the manifest first. The same folder gives
/// the same bytes.
///
/// # Errors
/// A file that cannot be read or written.
pub fn archive(folder: &Path, manifest: &Manifest, to: &Path) -> Result<(), Error> {
    let out = File::create_new(to).map_err(Error::file(to))?;
    let mut builder = tar::Builder::new(out);
    let names = [MANIFEST, SIGNATURE].into_iter().chain(manifest.files().map(|listed| listed.name.as_str()));
    for name in names {
        let path = folder.join(name);
        let mut file = File::open(&path).map_err(Error::file(&path))?;
        let mut header = tar::Header::new_ustar();
        header.set_size(file.metadata().map_err(Error::file(&path))?.len());
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, name, &mut file).map_err(Error::file(to))?;
    }
    let out = builder.into_inner().map_err(Error::file(to))?;
    out.sync_all().map_err(Error::file(to))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::ids::Random;
    use crate::releases::minisign::SecretKey;

    #[test]
    fn a_folder_and_its_archive_are_one_update() {
        let folder = tempfile::tempdir().unwrap();
        let update = fixture::update(folder.path(), "0.2.0");
        let key = fixture::key().public();
        let bundle = Bundle::open(&update, &key).unwrap();
        bundle.verify().unwrap();
        let one = folder.path().join("portolan-0.2.0.update");
        archive(&update, &bundle.manifest, &one).unwrap();
        let packed = Bundle::open(&one, &key).unwrap();
        assert_eq!((&packed.manifest, &packed.comment), (&bundle.manifest, &bundle.comment));
        packed.verify().unwrap();
        let mut all = Vec::new();
        let take = |_: &Listed, from: &mut dyn Read| {
            from.read_to_end(&mut all).unwrap();
            Ok(())
        };
        packed.each(take).unwrap();
        assert_eq!(all, fixture::bytes("0.2.0").concat());
    }

    #[test]
    fn a_name_that_an_archive_says_in_a_header_of_its_own_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        let mut put = |kind: tar::EntryType, name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, bytes).unwrap();
        };
        put(tar::EntryType::GNULongName, "long", MANIFEST.as_bytes());
        put(tar::EntryType::Regular, "short", b"a manifest");
        builder.finish().unwrap();
        let said = Bundle::open(&path, &fixture::key().public()).unwrap_err().to_string();
        assert_eq!(said, no_archive(&path).to_string());
    }

    #[test]
    fn a_link_or_a_pipe_on_a_stick_is_neither_followed_nor_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let update = fixture::update(folder.path(), "0.2.0");
        let (manifest, link) = (update.join(MANIFEST), folder.path().join("elsewhere"));
        fs::rename(&manifest, &link).unwrap();
        std::os::unix::fs::symlink(&link, &manifest).unwrap();
        let refused = || Bundle::open(&update, &fixture::key().public()).unwrap_err().to_string();
        assert!(refused().contains("no file"), "{}", refused());
        fs::remove_file(&manifest).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&manifest).status().unwrap();
        assert!(made.success());
        assert!(refused().contains("no file"), "{}", refused());
    }

    #[test]
    fn what_is_not_signed_with_the_key_is_not_read_any_further() {
        let folder = tempfile::tempdir().unwrap();
        let update = fixture::update(folder.path(), "0.2.0");
        let refused = |key: &SecretKey| Bundle::open(&update, &key.public()).unwrap_err().to_string();
        assert!(refused(&SecretKey::make(&Random::seeded(5))).contains("another key"));
        let path = update.join(MANIFEST);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("0.2.0", "0.3.0")).unwrap();
        assert!(refused(&fixture::key()).contains("does not fit the file"));
        fs::write(&path, "no manifest, and signed by nobody").unwrap();
        assert!(refused(&fixture::key()).contains("does not fit the file"), "not: cannot be read");
        fs::write(&path, vec![b'x'; 100_000]).unwrap();
        assert!(refused(&fixture::key()).contains("has more than"));
    }

    #[test]
    fn a_file_that_is_another_longer_shorter_or_missing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let update = fixture::update(folder.path(), "0.2.0");
        let bundle = Bundle::open(&update, &fixture::key().public()).unwrap();
        let path = update.join(&bundle.manifest.root.name);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[200_000] ^= 1;
        for (bytes, why) in [
            (flipped, "damaged"),
            (good[..good.len() - 1].to_vec(), "damaged"),
            ([&good[..], b"x"].concat(), "longer"),
        ] {
            fs::write(&path, bytes).unwrap();
            let said = bundle.verify().unwrap_err().to_string();
            assert!(said.contains(why) && said.contains("root.raw"), "{said}");
        }
        fs::remove_file(&path).unwrap();
        assert!(bundle.verify().is_err());
    }
}
