//! The image of the tests, and the tools that it was made with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binaries::cache;

/// The tree of tools: Debian 13 with QEMU and its firmware, beside whatever this machine runs.
#[derive(Clone, Debug)]
pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// A file of it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// A program of it, run with its own loader and libraries: no root and no mounts are needed.
    pub fn command(&self, program: &str) -> Command {
        let libraries = self.at("usr/lib/x86_64-linux-gnu");
        let mut command = Command::new(self.at("usr/lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path");
        command.arg(format!("{0}:{0}/swtpm:{0}/systemd", libraries.display()));
        command.arg(
            ["usr/bin", "usr/sbin"]
                .map(|folder| self.at(folder).join(program))
                .into_iter()
                .find(|path| path.exists())
                .unwrap_or_else(|| panic!("the tools have no {program}")),
        );
        command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
        if program.starts_with("qemu-system") {
            command.arg("-L").arg(self.at("usr/share/qemu")).arg("-L").arg(self.at("usr/share/seabios"));
        }
        command
    }
}

/// An image of the tests, as `image/build.sh test` left it.
#[derive(Clone, Debug)]
pub struct Image {
    folder: PathBuf,
    version: String,
    tools: Tools,
}

impl Image {
    /// The image of the tests; `None`, said loudly, where none could be made.
    pub fn of_tests() -> Option<Image> {
        let folder = cache().join("image");
        let out = folder.join("test/out");
        let Ok(version) = fs::read_to_string(out.join("version")) else {
            eprintln!(
                "NOT TESTED: there is no image; `make image-of-tests` makes it, as root and with a mirror of Debian"
            );
            return None;
        };
        let tools = Tools { folder: folder.join("tools") };
        Some(Image { folder: out, version: version.trim().to_owned(), tools })
    }

    /// What it calls itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The whole disk, raw.
    pub fn disk(&self) -> PathBuf {
        self.folder.join(format!("portolan_{}.raw", self.version))
    }

    /// Its root alone.
    pub fn root(&self) -> PathBuf {
        self.part(".root-x86-64.raw")
    }

    /// Its kernel with initrd and command line.
    pub fn kernel(&self) -> PathBuf {
        self.folder.join(format!("portolan_{}.efi", self.version))
    }

    fn part(&self, ending: &str) -> PathBuf {
        let mut entries =
            fs::read_dir(&self.folder).expect("it was made").flatten().map(|entry| entry.path());
        let found = entries.find(|path| path.to_string_lossy().ends_with(ending));
        found.unwrap_or_else(|| panic!("{} has no {ending}", self.folder.display()))
    }

    /// Another image of the tests, made beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        cache().join("image").join(name)
    }

    /// The tools it was made with.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The same with another disk.
    #[must_use]
    pub fn with_folder(&self, folder: &Path) -> Image {
        Image { folder: folder.to_owned(), ..self.clone() }
    }
}
