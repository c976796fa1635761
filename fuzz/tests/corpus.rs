//! Every file of the corpus, and the published frames, through what the fuzz targets do.

use std::fs;
use std::path::{Path, PathBuf};

use portolan_fuzz::{TARGETS, frame};

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("it is there").path()).filter(|path| path.is_file()).collect()
}

#[test]
fn the_corpus_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut size = 0;
    for (name, target) in TARGETS {
        let files = files(&root.join("corpus").join(name));
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in files {
            let bytes = fs::read(&file).expect("it can be read");
            size += bytes.len();
            println!("{}", file.display());
            target(&bytes);
        }
    }
    assert!(size < 500_000, "the corpus has {size} bytes");
}

#[test]
fn the_published_frames_hold() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    for file in files(&vectors).into_iter().chain(files(&vectors.join("refused"))) {
        frame(&fs::read(file).expect("it can be read"));
    }
}
