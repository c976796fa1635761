//! Lets a benchmark that links the appliance find the prebuilt DuckDB library at run time, as the appliance does.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DUCKDB_LIB_DIR");
    let folder =
        env::var_os("DUCKDB_LIB_DIR").map(PathBuf::from).and_then(|folder| folder.canonicalize().ok());
    if let Some(folder) = folder {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}
