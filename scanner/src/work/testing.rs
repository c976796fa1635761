//! What several unit tests need.

use std::path::PathBuf;

use super::folder::Folder;
use crate::net::{Ports, Ranges};
use crate::wire::{Id, Job, Method, Preset};

/// Removes its folder when it goes.
pub struct Guard(PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An empty folder of this name.
pub fn temporary(name: &str) -> (Folder, Guard) {
    let path = std::env::temp_dir().join(format!("portolan-link-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    let folder = Folder::at(&path);
    folder.create().expect("the system's temporary folder can be written to");
    (folder, Guard(path))
}

/// A job of five blocks and more for [`SCANNER`].
pub fn job() -> Job {
    Job {
        id: Id::from_bytes([1; 16]),
        scan: Id::from_bytes([2; 16]),
        batch: 0,
        epoch: 0,
        scanner: SCANNER,
        vantage: Id::from_bytes([4; 16]),
        issued: 0,
        expires: i64::MAX,
        preset: Preset::Normal,
        rate: 100,
        host_rate: 10,
        timeout_ms: 500,
        retries: 1,
        method: Method::Connect,
        hints: false,
        own: false,
        seed: [5; 16],
        block_hosts: 2,
        targets: Ranges::parse("127.0.0.0-127.0.0.10").unwrap(),
        ports: Ports::parse("22,80-81").unwrap(),
    }
}

pub const SCANNER: Id = Id::from_bytes([3; 16]);
