//! Updates of a whole machine: another root beside the one that runs, tried at the next boot, and kept only if it is well.
//!
//! An update is a folder or an archive with a signed [`manifest`]: a root, its verity tree, and the kernel that has the
//! tree's top hash in its command line. [`apply`] writes root and tree into the slot that does not run and the kernel into the
//! EFI system partition, where systemd-boot counts its tries. The [`gate`] says whether what was tried is well; while it has
//! not, the configuration is not changed ([`trial`]). What a trial did to config.db can be undone
//! ([`rollback`]).
//!
//! One key is trusted, the one that is pinned in the program. Nothing is ever fetched.

pub mod apply;
pub mod bundle;
#[cfg(test)]
pub(crate) mod fixture;
pub mod gpt;
pub mod machine;
pub mod manifest;
pub mod names;
pub mod pending;
pub mod rollback;
pub mod state;
pub mod trial;

use std::io;
use std::path::{Path, PathBuf};

use crate::releases::minisign;

/// Why an update is not taken, or not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rules or the facts are against it, in a sentence.
    #[error("{0}")]
    Refused(String),
    /// A file or a disk.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is the matter with it.
        source: io::Error,
    },
    /// The partition table.
    #[error(transparent)]
    Table(#[from] gpt::Error),
    /// A key or a signature, where one is made.
    #[error(transparent)]
    Signing(#[from] minisign::Error),
}

impl Error {
    /// A refusal, in a sentence.
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// For `map_err` of what was done with this file.
    pub fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path: path.to_owned(), source }
    }
}
