//! Where the binaries under test lie.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The appliance: `PORTOLAN_BIN`, else `portolan` beside the test binary's target folder.
pub fn portolan() -> PathBuf {
    binary("PORTOLAN_BIN", "portolan")
}

/// The scanner: `PORTOLAN_SCANNER_BIN`, else `portolan-scanner` in the same folder.
pub fn scanner() -> PathBuf {
    binary("PORTOLAN_SCANNER_BIN", "portolan-scanner")
}

/// A static scanner that `make scanner-all` built: `portolan-scanner`, `portolan-scanner-none` and so on.
pub fn static_scanner(name: &str) -> PathBuf {
    let path = scanner().with_file_name("../static").join(name);
    assert!(path.is_file(), "{} is not there: run `make scanner-all` first", path.display());
    path
}

/// A folder kept between runs for what the tests fetched or installed: `~/.cache/portolan`.
pub fn cache() -> PathBuf {
    let base = env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let base =
        base.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".cache"));
    base.join("portolan")
}

/// The repository's root.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the repository")
        .to_path_buf()
}

/// A copy of the appliance in this folder, with the library that it needs: any user may run it there, whoever the
/// build's own folder belongs to.
pub fn for_everyone(folder: &Path) -> PathBuf {
    let copy = folder.join("portolan");
    fs::copy(portolan(), &copy).expect("the program can be copied");
    let library = repository().join(".duckdb/libduckdb.so");
    if library.exists() {
        fs::copy(library, folder.join("libduckdb.so")).expect("the library can be copied");
    }
    copy
}

fn binary(variable: &str, name: &str) -> PathBuf {
    let path = env::var_os(variable).map_or_else(|| beside(name), PathBuf::from);
    assert!(path.is_file(), "{} is not there: run `make build` first, or set {variable}", path.display());
    path
}

/// `target/debug/deps/test-hash` → `target/debug/name`; a binary of this crate lies in `target/debug` itself.
fn beside(name: &str) -> PathBuf {
    let own = env::current_exe().expect("a running program has a path");
    let folder = own.parent().expect("a file has a folder");
    if folder.ends_with("deps") { folder.with_file_name(name) } else { folder.join(name) }
}
