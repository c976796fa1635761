//! What is put into a virtual machine: copies of the image's disk with something changed in them, and sticks.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Image, Tools, run};

/// A copy of the image's disk, to change.
pub struct Copy {
    tools: Tools,
    path: PathBuf,
}

impl Copy {
    /// Copies it into this folder.
    pub fn of(image: &Image, folder: &Path) -> Copy {
        let path = folder.join("copy.raw");
        run(Command::new("cp").arg("--sparse=always").arg(image.disk()).arg(&path));
        Copy { tools: image.tools().clone(), path }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the partition of this type begins, in bytes.
    fn begins(&self, kind: &str) -> u64 {
        let output = self.tools.command("sfdisk").arg("--json").arg(&self.path).output().expect("it starts");
        let table: Value = serde_json::from_slice(&output.stdout).expect("sfdisk writes JSON");
        let partitions = table["partitiontable"]["partitions"].as_array().expect("a table has partitions");
        let found = partitions.iter().find(|one| one["type"].as_str() == Some(kind));
        found.expect("an image has one")["start"].as_u64().expect("a number") * 512
    }

    /// Turns one byte of the root over, so many bytes after its beginning.
    pub fn flip_in_root(&self, at: u64) {
        let at = self.begins("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709") + at;
        let file = File::options().read(true).write(true).open(&self.path).expect("the copy is ours");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("the root is longer");
        byte[0] ^= 0xff;
        file.write_all_at(&byte, at).expect("the copy is ours");
    }

    /// Where in the root the data of this file begin.
    pub fn place_in_root(&self, image: &Image, file: &str) -> u64 {
        let mut dump = self.tools.command("dump.erofs");
        let output =
            dump.args(["-e", &format!("--path={file}")]).arg(image.root()).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // `   0:        0..  131072 |  131072 :   8192..  49152 |   40960`
        let mut places = text.lines().filter_map(|line| {
            let (_, physical) = line.trim().strip_prefix("0:")?.split_once(" : ")?;
            physical.split("..").next()?.trim().parse().ok()
        });
        places.next().unwrap_or_else(|| panic!("{file}: {text}"))
    }

    /// Puts another file in the place of one in the firmware's partition.
    pub fn put_beside_the_kernels(&self, file: &Path, at: &str) {
        let esp = self.begins("C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
        let mut copy = self.tools.command("mcopy");
        run(copy
            .arg("-o")
            .arg("-i")
            .arg(format!("{}@@{esp}", self.path.display()))
            .arg(file)
            .arg(format!("::{at}")));
    }
}

/// A stick with these folders and files on it, made in a folder.
pub fn stick(tools: &Tools, folder: &Path, content: &[PathBuf]) -> PathBuf {
    let path = folder.join("stick.raw");
    let file = File::create(&path).expect("the folder is ours");
    file.set_len(512 << 20).expect("a sparse file");
    let mut format = tools.command("mkfs.fat");
    run(format.args(["-F", "32", "-n", "STICK"]).arg(&path));
    for one in content {
        assert!(fs::exists(one).expect("it can be looked at"), "{}", one.display());
        run(tools.command("mcopy").args(["-s", "-i"]).arg(&path).arg(one).arg("::/"));
    }
    path
}
