//! The gate at the start: a program that was built with a pinned release key serves nobody unless its own signature and
//! those of the libraries that came with it hold.
//!
//! It finds what was damaged, mixed up, or replaced by someone who has not the key. It is no protection from who can
//! replace the program and knows of the gate: nothing that a program says of itself is. That is what the disk's own
//! verification is for.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::minisign::{KeyId, PublicKey, ReadError};

/// The key that releases are signed with, as `minisign -P` takes it, from `PORTOLAN_RELEASE_KEY` of the build.
const PINNED: Option<&str> = option_env!("PORTOLAN_RELEASE_KEY");

/// Names such a key to a program in which none is pinned: to a build of one's own, and to tests. Where one is pinned it is
/// not looked at.
const VARIABLE: &str = "PORTOLAN_RELEASE_KEY";

/// What is known of this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Build {
    /// Signed with this key; the trusted comment of its signature.
    Signed(KeyId, String),
    /// It has no key: it can say nothing of itself.
    Development,
}

/// Why this program does not start.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The pinned key is none.
    #[error("the release key that it was given is no key of minisign's form")]
    Key,
    /// Who it is cannot be found out.
    #[error("its own files cannot be found: {0}")]
    Own(io::Error),
    /// A signature is not there.
    #[error("{}: {source}", .path.display())]
    Missing {
        /// Of the signature.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// A library lost its name meanwhile.
    #[error("{}: it was exchanged while it was looked at", .0.display())]
    Exchanged(PathBuf),
    /// A signature does not hold.
    #[error("{}: {source}", .path.display())]
    Broken {
        /// Of what was signed.
        path: PathBuf,
        /// What is wrong with it.
        source: ReadError,
    },
}

/// Whether a release key was pinned when this program was built.
#[must_use]
pub const fn is_pinned() -> bool {
    PINNED.is_some()
}

/// The release key: the pinned one, or the one named to a program without; none for a development build.
///
/// # Errors
/// [`Refusal::Key`].
pub fn key() -> Result<Option<PublicKey>, Refusal> {
    let word = PINNED.map(str::to_owned).or_else(|| std::env::var(VARIABLE).ok());
    word.map(|word| PublicKey::parse(&word).map_err(|_| Refusal::Key)).transpose()
}

/// Checks the running program, and each library that it runs with and came with it.
///
/// # Errors
/// [`Refusal`]: then nothing may be served.
pub fn pass() -> Result<Build, Refusal> {
    let Some(key) = key()? else { return Ok(Build::Development) };
    let program = std::env::current_exe().map_err(Refusal::Own)?;
    let mapped = || {
        let maps = fs::read_to_string("/proc/self/maps").map_err(Refusal::Own)?;
        Ok(libraries(&maps, &program))
    };
    // What runs, even if another file has its name by now.
    let comment = check(&key, Path::new("/proc/self/exe"), &program)?;
    let libraries = mapped()?;
    for library in &libraries {
        check(&key, library, library)?;
    }
    // A file that was exchanged for another is called something else there: what was checked is what runs.
    if let Some(other) = mapped()?.symmetric_difference(&libraries).next() {
        return Err(Refusal::Exchanged(other.clone()));
    }
    Ok(Build::Signed(key.id, comment))
}

/// Checks a file against the signature beside what is called `name`; gives its trusted comment.
fn check(key: &PublicKey, file: &Path, name: &Path) -> Result<String, Refusal> {
    let mut path = name.as_os_str().to_owned();
    path.push(".minisig");
    let path = PathBuf::from(path);
    let signature = match fs::read_to_string(&path) {
        Ok(signature) => signature,
        Err(source) => return Err(Refusal::Missing { path, source }),
    };
    let verified = File::open(file)
        .map_err(ReadError::from)
        .and_then(|mut file| key.verify_reading(&mut file, &signature));
    let broken = |source| Refusal::Broken { path: name.to_owned(), source };
    verified.map(|(comment, _)| comment).map_err(broken)
}

/// What is mapped, the program aside, and came with it or says so: the files anywhere in its own folder, and DuckDB's
/// library wherever the loader found one. From the text of `/proc/self/maps`, where ` (deleted)` stands behind the name of a
/// file that has lost it, which then has no signature.
fn libraries(maps: &str, program: &Path) -> BTreeSet<PathBuf> {
    let folder = program.parent().unwrap_or(Path::new("/"));
    let ours = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path != program && (path.starts_with(folder) || name.starts_with("libduckdb"))
    };
    // Address, rights, offset, device and inode stand before the path.
    let paths = maps.lines().filter_map(|line| Some(Path::new(&line[line.find('/')?..])));
    paths.filter(|path| ours(path)).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::minisign::{Form, SecretKey};
    use super::*;
    use crate::ids::Random;

    #[test]
    fn a_program_passes_with_its_own_signature_only() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("portolan");
        let signature = folder.path().join("portolan.minisig");
        let key = SecretKey::make(&Random::seeded(1));
        fs::write(&program, "program").unwrap();
        let missing = check(&key.public(), &program, &program).unwrap_err();
        assert!(matches!(missing, Refusal::Missing { .. }), "{missing}");
        fs::write(&signature, key.sign(b"program", Form::Hashed, "portolan 1").unwrap()).unwrap();
        assert_eq!(check(&key.public(), &program, &program).unwrap(), "portolan 1");
        fs::write(&program, "Program").unwrap();
        let broken = check(&key.public(), &program, &program).unwrap_err().to_string();
        assert!(broken.ends_with("portolan: the signature does not fit the file"), "{broken}");
        let other = SecretKey::make(&Random::seeded(2)).public();
        let broken = check(&other, &program, &program).unwrap_err().to_string();
        assert!(broken.contains("another key"), "{broken}");
    }

    #[test]
    fn libraries_that_came_along_are_found_wherever_they_were_loaded_from() {
        let maps = "\
5581d0000000-5581d0400000 r-xp 00000000 fe:01 1234  /usr/lib/portolan/portolan
7f0000000000-7f0004000000 r-xp 00000000 fe:01 1235  /usr/lib/portolan/libduckdb.so
7f0004000000-7f0004100000 r--p 04000000 fe:01 1235  /usr/lib/portolan/libduckdb.so
7f0004100000-7f0004200000 r--p 04000000 fe:01 1230  /usr/lib/portolan/libduckdb.so (deleted)
7f0005000000-7f0005100000 r--p 04000000 fe:01 1236  /usr/lib/portolan/glibc-hwcaps/x86-64-v2/libstdc++.so.6
7f0006000000-7f0006100000 r--p 04000000 fe:01 1237  /srv/libduckdb.so.1
7f0010000000-7f0010200000 r-xp 00000000 fe:01 77    /usr/lib/x86_64-linux-gnu/libc.so.6
7f0010200000-7f0010300000 r-xp 00000000 fe:01 78    /usr/lib/portolans/libm.so.6
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0     [stack]
";
        let found = libraries(maps, Path::new("/usr/lib/portolan/portolan"));
        let all = [
            "/srv/libduckdb.so.1",
            "/usr/lib/portolan/glibc-hwcaps/x86-64-v2/libstdc++.so.6",
            "/usr/lib/portolan/libduckdb.so",
            "/usr/lib/portolan/libduckdb.so (deleted)",
        ];
        assert_eq!(found, all.into_iter().map(PathBuf::from).collect());
    }
}
