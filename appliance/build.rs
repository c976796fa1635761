//! Finds the DuckDB library before the linker does: a missing one is explained, a present one is found again
//! at run time (an rpath to the folder it lies in).

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    // Migrations are embedded by a macro that cannot see a new file by itself.
    println!("cargo::rerun-if-changed=../migrations");
    println!("cargo::rerun-if-env-changed=DUCKDB_LIB_DIR");
    println!("cargo::rerun-if-env-changed=PORTOLAN_RPATH");
    println!("cargo::rerun-if-env-changed=PORTOLAN_RELEASE_KEY");
    if let Ok(key) = env::var("PORTOLAN_RELEASE_KEY")
        && !(key.len() == 56 && key.starts_with("RW"))
    {
        println!(
            "cargo::error=PORTOLAN_RELEASE_KEY is the second line of a public key of `portolan sign keygen`"
        );
        return ExitCode::FAILURE;
    }
    if env::var_os("CARGO_FEATURE_BUNDLED").is_some() {
        return ExitCode::SUCCESS;
    }
    let folder = env::var_os("DUCKDB_LIB_DIR").map_or_else(PathBuf::new, PathBuf::from);
    let library = folder.join("libduckdb.so");
    println!("cargo::rerun-if-changed={}", library.display());
    let Ok(library) = library.canonicalize() else {
        explain(&folder);
        return ExitCode::FAILURE;
    };
    // A package says where its library lies (`$ORIGIN`: beside the program); else it stays where it is.
    let here = || library.parent().unwrap_or(Path::new("/")).display().to_string();
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", env::var("PORTOLAN_RPATH").unwrap_or_else(|_| here()));
    ExitCode::SUCCESS
}

/// Says what to do, in the lines that cargo shows of a failed build script.
fn explain(folder: &Path) {
    let lines = [
        format!("There is no libduckdb.so in {}. Two ways on:", folder.display()),
        "  make duckdb                      fetches the prebuilt library with npm, checks it: seconds, 24 MB"
            .into(),
        "  cargo build --features bundled   compiles DuckDB from source: about 46 CPU-minutes, once".into(),
        "`make` alone picks the first where npm is there. DUCKDB_LIB_DIR may name another folder.".into(),
    ];
    for line in lines {
        println!("cargo::error={line}");
    }
}
