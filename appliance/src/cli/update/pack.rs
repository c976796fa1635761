//! `portolan update pack`: an update of an image's parts, as the build of an image makes it.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::sign;
use super::{Failure, Outcome, Said};
use crate::releases::minisign::Form;
use crate::update::Error;
use crate::update::bundle::{self, Parts};
use crate::update::manifest::{RootHash, Version};

/// What it is made of.
#[derive(Args, Debug)]
pub struct PackArgs {
    /// The version that it brings: that of the image
    #[arg(long, value_name = "VERSION")]
    version: Version,
    /// The oldest version that may go over to it
    #[arg(long, value_name = "VERSION", default_value = "0")]
    from_at_least: Version,
    /// The top hash of the verity tree
    #[arg(long, value_name = "HEX")]
    hash: RootHash,
    /// The root file system
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// Its verity tree
    #[arg(long, value_name = "FILE")]
    verity: PathBuf,
    /// The kernel with the top hash in its command line
    #[arg(long, value_name = "FILE")]
    uki: PathBuf,
    /// The secret half of the release key; its password is asked for
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The folder to make: what is copied onto a stick
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The same as one file as well
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
}

/// Makes it.
///
/// # Errors
/// A file, the key, or a folder that is there already.
pub fn run(args: &PackArgs) -> Outcome {
    let hash = args.hash.to_string();
    let kernel = fs::read(&args.uki).map_err(Error::file(&args.uki))?;
    // A kernel that wants another root would never boot from this one.
    if !kernel.windows(hash.len()).any(|window| window == hash.as_bytes()) {
        let why = format!("{} has not the root hash {hash} in its command line", args.uki.display());
        return Err(Failure::Wrong(why));
    }
    let key = sign::secret(&args.key).map_err(|failure| Failure::Wrong(failure.to_string()))?;
    let parts = Parts {
        version: args.version.clone(),
        from_at_least: args.from_at_least.clone(),
        root_hash: args.hash,
        verity: args.verity.clone(),
        root: args.root.clone(),
        uki: args.uki.clone(),
    };
    let comment = format!("portolan {} update", args.version);
    let sign = |text: &[u8]| Ok(key.sign(text, Form::Hashed, &comment)?);
    let manifest = bundle::pack(parts, |_| {}, sign, &args.to)?;
    let mut text = format!("{}: update to version {}", args.to.display(), manifest.version);
    if let Some(archive) = &args.archive {
        bundle::archive(&args.to, &manifest, archive)?;
        text.push_str(&format!("\n{}: the same as one file", archive.display()));
    }
    Ok(Said::new(text, json!({ "version": manifest.version.to_string(), "folder": args.to })))
}
